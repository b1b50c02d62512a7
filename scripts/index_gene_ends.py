"""Build the small STAR index that the strand of the reads is found with."""

from pathlib import Path
from typing import TYPE_CHECKING

from _shared.given_index import cut_short
from _shared.jobs import job
from _shared.logs import UserError
from _shared.star import StarError, run_star, scratch_in

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake


def main(*, gene_ends: Path, star_params: Path, index: Path, threads: int) -> None:
    """Build the index of the ends of genes.

    Raises
    ------
    UserError
        If STAR gives up or is killed, or the disk is full.
    """
    with scratch_in(index.parent) as scratch:
        options = {
            "runMode": "genomeGenerate",
            "runThreadN": threads,
            "genomeDir": index,
            "genomeFastaFiles": gene_ends,
            "parametersFiles": star_params,
            "outTmpDir": scratch / "tmp",
        }
        try:
            run_star(options, scratch=scratch)
        except StarError as error:
            remedy = error.remedy("index_gene_ends")
            raise UserError(f"index_gene_ends: {error}; {remedy}.") from None
    if told := cut_short(index):
        raise UserError(
            f"index_gene_ends: STAR wrote too little: {told}; the disk of "
            "results/reference is full, most likely; make room."
        )


if "snakemake" in globals():
    with job(snakemake):
        main(
            gene_ends=Path(snakemake.input.gene_ends),
            star_params=Path(snakemake.input.star_params),
            index=Path(snakemake.output.index),
            threads=snakemake.threads,
        )
