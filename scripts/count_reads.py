"""Align a sample's reads and count UMIs per barcode and gene, in one run of STAR."""

import errno
import json
import logging
import shutil
import sys
import tempfile
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import pysam
from xopen import xopen

from _shared.derived_list import derive_list
from _shared.feeding import in_cells, run_fed, sample_streams
from _shared.jobs import job
from _shared.logs import UserError
from _shared.machine import check_room
from _shared.predictions import star_disk, star_memory
from _shared.star import environment
from _shared.star_failures import DISK_FULL, failure
from _shared.star_output import check_complete, check_features, pack_raw, write_empty

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("count_reads")

# adapters and barcodes that reads of full-length plates have not, what STAR refuses for
# them, and what it crashes on
NOT_FOR_PLATES = ("clipAdapterType", "soloCBmatchWLtype")
NOT_FOR_PLATES += ("soloUMIfiltering", "soloMultiMappers", "soloCellReadStats")
NO_FEATURE_OF_PLATES = "Velocyto"
SAM_TAGS, PLATE_TAGS = ("NH", "HI", "AS", "nM", "GX", "GN"), ("RG",)
BARCODE_TAGS = ("CR", "CY", "UR", "UY", "CB", "UB")


def parse_params(text: str) -> dict[str, list[str]]:
    """Return the options in a file for STAR's `--parametersFiles`."""
    lines = (line.split() for line in text.splitlines() if line.strip())
    return {name: values for name, *values in lines}


def star_options(settings: dict, geometry: dict[str, list[str]]) -> dict[str, list]:
    """Return STAR's options for the section `count_reads` and a sample's geometry.

    What the geometry (star.params) says goes before the section: a chemistry that needs
    other matching rules than the default has them in the registry.
    """
    is_plate = geometry["soloType"] == ["SmartSeq"]
    options = {
        name: value if isinstance(value, list) else [value]
        for name, value in settings.items()
        if name != "bam"
    }
    options |= {"soloCellFilter": ["None"], "soloCellReadStats": ["Standard"]}
    # folders as the umask says, not for the owner alone
    options["runDirPerm"] = ["All_RWX"]
    if is_plate:
        options = {k: v for k, v in options.items() if k not in NOT_FOR_PLATES}
        options["soloFeatures"] = [
            feature
            for feature in settings["soloFeatures"]
            if feature != NO_FEATURE_OF_PLATES
        ]
    options |= {"outSAMtype": ["None"]}
    for position in geometry.get("soloUMIposition", []):
        # without it STAR takes the UMI for one of 10 bases when it drops those of one
        # repeated base, and in the tag UB
        _, first, _, last = map(int, position.split("_"))
        options["soloUMIlen"] = [last - first + 1]
    if settings["bam"] != "none":
        options["outSAMtype"] = ["BAM", "SortedByCoordinate"]
        options["outSAMunmapped"] = ["Within"]
        own = PLATE_TAGS if is_plate else BARCODE_TAGS
        options["outSAMattributes"] = [*SAM_TAGS, *own]
    return options | geometry


def star_command(options: dict[str, list]) -> list[str]:
    """Return the command line of STAR with these options."""
    command = ["STAR"]
    for name, values in options.items():
        command += [f"--{name}", *map(str, values)]
    return command


def manifest(cells: list[str], paths: list[str]) -> str:
    """Return STAR's manifest of a plate whose cells all come through the same pipes.

    The first line names the pipes. The text in them says where the other cells begin,
    so their files are empty.
    """
    rows = [paths, *([["/dev/null"] * len(paths)] * (len(cells) - 1))]
    mates = [row if len(row) == 2 else [*row, "-"] for row in rows]
    return "".join(
        "\t".join([*row, cell]) + "\n" for row, cell in zip(mates, cells, strict=True)
    )


def keep_alignments(star: Path, kept: Path, *, fasta: Path | None) -> None:
    """Move STAR's BAM to where it is kept, as CRAM if the name says so.

    CRAM needs the genome, to be written and to be read.
    """
    bam = star / "Aligned.sortedByCoord.out.bam"
    if kept.suffix == ".bam":
        bam.rename(kept)
        return
    genome = star / "genome.fa"
    with xopen(fasta, "rb", threads=0) as source, genome.open("wb") as target:
        shutil.copyfileobj(source, target, 1 << 20)
    pysam.faidx(str(genome))
    pysam.view("-C", "-T", str(genome), "-o", str(kept), str(bam), catch_stdout=False)


def names_of_cells(lanes: list[dict]) -> dict[bytes, bytes]:
    """Return the names of a plate's cells by the fixed barcode that stands for each."""
    return {
        lane["barcode"][0]["literal"].encode(): lane["cell"].encode()
        for lane in lanes
        if lane["cell"] and lane["barcode"] and "literal" in lane["barcode"][0]
    }


def own_list(
    lanes: list[dict], geometry: dict[str, list[str]], *, preview_reads: int | None
) -> bytes | None:
    """Return the barcode list of a chemistry that comes without one, None for others.

    It has the codes that stand for the cells of a plate, or is made of the reads.
    """
    if geometry.get("soloCBwhitelist") != ["None"]:
        return None
    if codes := names_of_cells(lanes):
        return b"".join(code + b"\n" for code in codes)
    *_, barcode = sample_streams(lanes, preview_reads=preview_reads, by_cell=False)
    derived = derive_list(
        chain.from_iterable(barcode),
        start=int(geometry["soloCBstart"][0]) - 1,
        length=int(geometry["soloCBlen"][0]),
    )
    logger.info(
        "no barcode list: of %d barcodes in the reads %d are taken for others with one "
        "base misread",
        derived.n_seen,
        derived.n_misread,
    )
    return derived.text


def check_room_for(
    sample: str,
    index: Path,
    *,
    n_reads: int,
    threads: int,
    settings: dict,
    folder: Path,
) -> None:
    """Raise `UserError` if memory or disk is too small for what is about to be done."""
    parts = (index / name for name in ("Genome", "SA", "SAindex"))
    check_room(
        f"counting the reads of sample {sample}",
        memory_mb=star_memory(
            index_bytes=sum(part.stat().st_size for part in parts),
            n_reads=n_reads,
            threads=threads,
        ),
        disk_mb=star_disk(
            n_reads=n_reads,
            n_features=len(settings["soloFeatures"]),
            keeps_alignments=settings["bam"] != "none",
        ),
        folder=folder,
    )


def run_star(
    lanes: list[dict],
    options: dict[str, list],
    *,
    preview_reads: int | None,
    mem_mb: int,
) -> int:
    """Run STAR on the reads of the lanes; return how many of them it was not given.

    Raises
    ------
    UserError
        If STAR fails, or the reads cannot be read.
    """
    is_plate = options["soloType"] == ["SmartSeq"]
    streams = sample_streams(lanes, preview_reads=preview_reads, by_cell=is_plate)
    with tempfile.TemporaryDirectory() as scratch:
        table, said = Path(scratch, "manifest.tsv"), Path(scratch, "stderr.txt")

        def command_for(paths: list[str]) -> list[str]:
            if not is_plate:
                return star_command(options | {"readFilesIn": paths})
            table.write_text(manifest([cell for cell, _ in in_cells(lanes)], paths))
            # STAR makes named pipes of its own here, which network disks cannot hold
            own = {"readFilesManifest": [table], "outTmpDir": [f"{scratch}/star"]}
            return star_command(options | own)

        with said.open("w") as stderr:
            code = run_fed(
                command_for,
                streams,
                stdout=sys.stderr,
                stderr=stderr,
                env=environment(),
            )
        words = said.read_text(errors="replace")
    print(words, file=sys.stderr)
    if code:
        raise UserError(failure(code, words, mem_mb=mem_mb))
    return sum(getattr(part, "left_out", 0) for part in streams[0])


def main(
    *,
    sample: str,
    inspection: Path,
    integrity: Path,
    chemistry: Path,
    star_params: Path,
    index: Path,
    genes: Path,
    fasta: Path | None,
    settings: dict,
    preview_reads: int | None,
    threads: int,
    mem_mb: int,
    solo: Path,
    summary: Path,
    alignments: Path | None,
) -> None:
    """Write STAR's counts, its summary and, if asked for, its alignments.

    STAR works in a folder `star` beside them. A sample that was set aside gets
    matrices without barcodes.
    """
    facts, checked, probed = (
        json.loads(path.read_text()) for path in (inspection, integrity, chemistry)
    )
    if not (facts["ok"] and checked["ok"] and probed["ok"]):
        logger.warning("not counted: the reads were set aside")
        write_empty(solo, features=settings["soloFeatures"], genes=genes)
        for file in filter(None, (summary, alignments)):
            file.write_text("")
        return
    check_room_for(
        sample,
        index,
        n_reads=checked["n_reads"],
        threads=threads,
        settings=settings,
        folder=solo.parent,
    )
    star = solo.with_name("star")
    star.mkdir()
    geometry = parse_params(star_params.read_text())
    options = star_options(settings, geometry)
    options |= {"runThreadN": [threads], "genomeDir": [index]}
    options |= {"outFileNamePrefix": [f"{star}/"]}
    if alignments:
        # the rest is for the index and the counting
        options["limitBAMsortRAM"] = [mem_mb * 500_000]
    try:
        barcodes = own_list(facts["lanes"], geometry, preview_reads=preview_reads)
        if barcodes is not None:
            options["soloCBwhitelist"] = [star / "barcodes.txt"]
            (star / "barcodes.txt").write_bytes(barcodes)
        left_out = run_star(
            facts["lanes"], options, preview_reads=preview_reads, mem_mb=mem_mb
        )
        check_complete(star, expected=checked["n_reads"] - left_out)
        multi_mappers = options.get("soloMultiMappers", ["Unique"])
        check_features(star / "Solo.out", shared_out=multi_mappers != ["Unique"])
        for raw in sorted(star.glob("Solo.out/*/raw")):
            pack_raw(raw, names=names_of_cells(facts["lanes"]))
        if alignments:
            keep_alignments(star, alignments, fasta=fasta)
        (star / "Log.final.out").rename(summary)
        (star / "Solo.out").rename(solo)
    except UserError as error:
        raise UserError(f"sample {sample}: {error}") from None
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise UserError(f"sample {sample}: the disk is full; {DISK_FULL}.") from None
    finally:
        shutil.rmtree(star, ignore_errors=True)


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            inspection=Path(snakemake.input.inspection),
            integrity=Path(snakemake.input.integrity),
            chemistry=Path(snakemake.input.chemistry),
            star_params=Path(snakemake.input.star_params),
            index=Path(snakemake.input.index),
            genes=Path(snakemake.input.genes),
            fasta=Path(snakemake.input.fasta) if snakemake.input.fasta else None,
            settings=snakemake.params.settings,
            preview_reads=snakemake.params.preview_reads,
            threads=snakemake.threads,
            mem_mb=snakemake.resources.mem_mb,
            solo=Path(snakemake.output.solo),
            summary=Path(snakemake.output.summary),
            alignments=Path(snakemake.output.alignments)
            if snakemake.output.alignments
            else None,
        )
