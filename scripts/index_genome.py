"""Build the STAR index that the machine has room for, or check a given one."""

import csv
import json
import logging
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from _shared.given_index import check_given, cut_short
from _shared.jobs import job
from _shared.logs import UserError
from _shared.machine import free_disk, free_memory
from _shared.predictions import (
    SPARSITIES,
    build_disk,
    build_memory,
    sorting_limit,
    sparsity_for,
)
from _shared.star import StarError, run_star, scratch_in

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("index_genome")

GZIP_MAGIC = b"\x1f\x8b"
MAKE_ROOM = "the disk of results/reference is full, most likely; make room"


def sizes_of(reference: dict, *, overhang: int) -> dict[str, int]:
    """Return what the predictions need to know of a checked reference."""
    return {
        "n_bases": reference["padded_length"],
        "n_junctions": reference["n_junctions"],
        "overhang": overhang,
    }


def planned(
    sizes: dict[str, int], *, wanted: int | None, memory_mb: int, disk_mb: int
) -> dict:
    """Return the sparsity to build with, why, and the memory and disk that it takes.

    Raises
    ------
    UserError
        If the index does not fit into memory or disk.
    """
    sparsity = wanted or sparsity_for(memory_mb, **sizes)
    if sparsity is None or build_memory(sparsity=sparsity, **sizes) > memory_mb:
        least = wanted or SPARSITIES[-1]
        raise UserError(
            f"index_genome: the index of {sizes['n_bases']:,} bases takes "
            f"{build_memory(sparsity=least, **sizes):,} MB to build with "
            f"genomeSAsparseD {least}, and {memory_mb:,} MB are there; "
            + (
                "leave genomeSAsparseD null for a sparser one, "
                if least < SPARSITIES[-1]
                else "use a larger machine, "
            )
            + "or give an index built elsewhere (index_genome: index)."
        )
    disk = build_disk(sparsity=sparsity, **sizes)
    if disk > disk_mb:
        raise UserError(
            f"index_genome: the index takes {disk:,} MB of disk while it is built, and "
            f"{disk_mb:,} MB are free in results/reference; make room."
        )
    why = "set by index_genome: genomeSAsparseD"
    if not wanted:
        full = build_memory(**sizes)
        why = f"{full:,} MB for a full index, {memory_mb:,} MB are there"
    return {
        "genomeSAsparseD": sparsity,
        "why": why,
        "predicted_memory_mb": build_memory(sparsity=sparsity, **sizes),
        "available_memory_mb": memory_mb,
        "predicted_disk_mb": disk,
        "free_disk_mb": disk_mb,
    }


def build(
    *,
    fasta: Path,
    annotation: Path,
    star_params: Path,
    index: Path,
    plan: dict,
    n_bases: int,
    overhang: int,
    threads: int,
) -> None:
    """Build an index as planned.

    Raises
    ------
    UserError
        If STAR gives up or is killed, or the disk is full.
    """
    with scratch_in(index.parent) as scratch:
        with fasta.open("rb") as handle:
            gzipped = handle.read(2) == GZIP_MAGIC
        if gzipped:
            # STAR does not read a gzipped genome
            plain = scratch / "genome.fa"
            with plain.open("wb") as target:
                code = subprocess.run(["gzip", "-cd", fasta], stdout=target).returncode
            if code:
                raise UserError(f"{fasta}: could not be unpacked; {MAKE_ROOM}.")
        limit = sorting_limit(plan["available_memory_mb"], n_bases=n_bases)
        options = {
            "runMode": "genomeGenerate",
            "runThreadN": threads,
            "genomeDir": index,
            "genomeFastaFiles": plain if gzipped else fasta,
            "sjdbGTFfile": annotation,
            "sjdbOverhang": overhang,
            "genomeSAsparseD": plan["genomeSAsparseD"],
            "limitGenomeGenerateRAM": limit,
            "parametersFiles": star_params,
            "outTmpDir": scratch / "tmp",
        }
        try:
            run_star(options, scratch=scratch)
        except StarError as error:
            remedy = error.remedy("index_genome")
            remedy += " or set genomeSAsparseD" * error.killed
            raise UserError(f"index_genome: {error}; {remedy}.") from None
    if told := cut_short(index):
        raise UserError(f"index_genome: STAR wrote too little: {told}; {MAKE_ROOM}.")


def link(given: Path, *, index: Path) -> None:
    """Make an index of links to the files of another one."""
    index.mkdir()
    for file in given.iterdir():
        if file.is_file() and not file.name.startswith("."):
            (index / file.name).symlink_to(file.resolve())


def main(
    *,
    fasta: Path,
    annotation: Path,
    contigs: Path,
    genes: Path,
    star_params: Path,
    reference: Path,
    given: Path | None,
    settings: dict,
    memory_mb: int,
    threads: int,
    index: Path,
    version: Path,
    facts: Path,
) -> None:
    """Build or link the index, write STAR's version and what was decided.

    `memory_mb` is what the job was given; what the machine has free may be less.
    """
    command = ["STAR", "--version"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    version.write_text(said)
    overhang, warnings = settings["sjdbOverhang"], []
    if given:
        with genes.open(newline="") as handle:
            ids = {row["gene_id"] for row in csv.DictReader(handle, delimiter="\t")}
        parameters = check_given(
            given, annotation=annotation, contigs=contigs, genes=ids
        )
        if parameters.get("sjdbOverhang") != str(overhang):
            warnings.append(
                f"the given index has sjdbOverhang {parameters.get('sjdbOverhang')}, "
                f"index_genome: sjdbOverhang is {overhang}; the index counts."
            )
        link(given, index=index)
        sparsity = int(parameters.get("genomeSAsparseD", 1))
        plan = {"genomeSAsparseD": sparsity, "why": "the given index"}
    else:
        sizes = sizes_of(json.loads(reference.read_text()), overhang=overhang)
        plan = planned(
            sizes,
            wanted=settings["genomeSAsparseD"],
            memory_mb=min(memory_mb, free_memory() or memory_mb),
            disk_mb=free_disk(index.parent),
        )
        logger.info("genomeSAsparseD %s: %s", plan["genomeSAsparseD"], plan["why"])
        if plan["genomeSAsparseD"] > 1 and not settings["genomeSAsparseD"]:
            warnings.append(
                f"a sparse index (genomeSAsparseD {plan['genomeSAsparseD']}): "
                f"{plan['why']}; alignment takes longer."
            )
        build(
            fasta=fasta,
            annotation=annotation,
            star_params=star_params,
            index=index,
            plan=plan,
            n_bases=sizes["n_bases"],
            overhang=overhang,
            threads=threads,
        )
    for warning in warnings:
        logger.warning("%s", warning)
    plan |= {
        "star_version": said.strip(),
        "given": str(given) if given else None,
        "bytes": sum(file.stat().st_size for file in index.iterdir()),
        "warnings": warnings,
    }
    facts.write_text(json.dumps(plan, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            fasta=Path(snakemake.input.fasta),
            annotation=Path(snakemake.input.annotation),
            contigs=Path(snakemake.input.contigs),
            genes=Path(snakemake.input.genes),
            star_params=Path(snakemake.input.star_params),
            reference=Path(snakemake.input.reference),
            given=Path(snakemake.input.index) if snakemake.input.index else None,
            settings=snakemake.params.settings,
            memory_mb=snakemake.resources.mem_mb,
            threads=snakemake.threads,
            index=Path(snakemake.output.index),
            version=Path(snakemake.output.version),
            facts=Path(snakemake.output.facts),
        )
