"""Tell cells from empty droplets in a matrix that the user gave."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy import sparse

from _shared.calling import Calling, call_barcodes, totals_of, write_calling
from _shared.cell_callers import Call, CallSettings
from _shared.jobs import job
from _shared.matrices import emptiness, read_matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("call_given")

# a matrix of called cells: somebody else has called them
GIVEN = "given"


def given_cells(counts: sparse.csr_matrix, said: str) -> Calling:
    """Take all barcodes of a matrix of called cells, those without counts too."""
    totals = totals_of(counts)
    evidence = [said, "each barcode was called a cell before, so each is one"]
    everyone = np.ones(len(totals), dtype=bool)
    return Calling(
        totals=totals,
        seen=everyone,
        is_cell=everyone,
        calls={GIVEN: Call(is_cell=everyone, settings="", evidence=evidence)},
        chosen=GIVEN,
        evidence=evidence,
    )


def main(
    *, counts: Path, settings: CallSettings, outputs: dict[str, Path], seed: int
) -> None:
    """Call cells if the matrix holds all droplets; write barcodes and the evidence."""
    # which genes are mitochondrial plays no part here
    matrix, barcodes, _ = read_matrix(counts, re.compile(r"(?!)"))
    is_raw, said = emptiness(matrix)
    if is_raw:
        calling = call_barcodes(matrix, settings, seed=seed)
        calling.evidence.insert(0, said)
    else:
        calling = given_cells(matrix, said)
    logger.info("%d cells; %s", calling.is_cell.sum(), "; ".join(calling.evidence))
    write_calling(
        calling,
        barcodes,
        settings=settings,
        outputs=outputs,
        matrix="all droplets" if is_raw else "called cells",
        species=None,
    )


if "snakemake" in globals():
    with job(snakemake):
        main(
            counts=Path(snakemake.input.counts),
            settings=CallSettings(**snakemake.params.settings),
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            seed=snakemake.params.seed,
        )
