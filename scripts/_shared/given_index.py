"""A STAR index that was built before: whether it is that of a reference."""

import csv
import re
import subprocess
from collections import Counter
from pathlib import Path

from _shared.annotation import read_genes
from _shared.logs import UserError

BUILD_ANEW = "give an index of these files, or leave index_genome: index empty"


def genome_parameters(index: Path) -> dict[str, str]:
    """Return the parameters that an index was built with.

    Raises
    ------
    UserError
        If files of an index are missing.
    """
    needed = ["genomeParameters.txt", "Genome", "SA", "SAindex", "chrName.txt"]
    needed += ["chrLength.txt", "geneInfo.tab", "transcriptInfo.tab", "exonInfo.tab"]
    for name in needed:
        if not (index / name).is_file():
            of_genes = name.endswith(".tab")
            raise UserError(
                f"index_genome: index: {index}: {name} is missing; "
                + ("it was built without a GTF; " if of_genes else "")
                + f"{BUILD_ANEW}."
            )
    return _written_parameters(index)


def _written_parameters(index: Path) -> dict[str, str]:
    file = index / "genomeParameters.txt"
    # also the bits of an entry, which stand in a comment: ### GstrandBit 33
    text = file.read_text().replace("### ", "") if file.is_file() else ""
    pairs = (line.split(None, 1) for line in text.splitlines())
    return {pair[0]: pair[1].strip() for pair in pairs if len(pair) == 2}


def cut_short(index: Path) -> str:
    """Return what of an index is shorter than its parameters say, "" if nothing is.

    STAR ends without an error when the disk is full.
    """
    parameters = _written_parameters(index)
    needed = {"genomeSAindexNbases", "GstrandBit", "genomeFileSizes"}
    if missing := needed - parameters.keys():
        return f"genomeParameters.txt lacks {', '.join(sorted(missing))}"
    bases = int(parameters["genomeSAindexNbases"])
    prefixes, bits = (4 ** (bases + 1) - 4) // 3, int(parameters["GstrandBit"]) + 3
    genome, suffixes = map(int, parameters["genomeFileSizes"].split())
    # lengths stand before the packed entries, and 8 bytes more are kept behind them
    sizes = {"SAindex": 8 * (bases + 2) + (prefixes - 1) * bits // 8 + 8}
    sizes |= {"Genome": genome, "SA": suffixes}
    for name, size in sizes.items():
        file = index / name
        found = file.stat().st_size if file.is_file() else 0
        if found < size:
            return f"{name} has {found:,} of {size:,} bytes"
    return ""


def supported_version() -> str:
    """Return the version of an index that the installed STAR reads."""
    text = subprocess.run(
        ["STAR", "--help"], check=True, capture_output=True, text=True
    ).stdout
    return re.search(r"^versionGenome\s+(\S+)", text, re.MULTILINE)[1]


def difference(ours: Counter, theirs: Counter) -> str:
    """Return how many items stand on one side only, with an example; "" if none."""
    told = []
    for only, side in ((ours - theirs, "the reference"), (theirs - ours, "the index")):
        if only:
            told.append(f"{only.total()} only in {side} ({next(iter(only))[0]})")
    return " and ".join(told)


def table(path: Path) -> list[list[str]]:
    """Return the rows of a table of STAR's, which begins with their number."""
    return [line.split("\t") for line in path.read_text().splitlines()[1:]]


def shape(exons: list[tuple[int, int]]) -> tuple[int, ...]:
    """Return first and last bases of exons, counted from the start of the first."""
    start = min(exons)[0]
    return tuple(base - start for exon in sorted(exons) for base in exon)


def check_given(
    index: Path, *, annotation: Path, contigs: Path, genes: set[str]
) -> dict[str, str]:
    """Return the parameters of a given index that fits the reference.

    Raises
    ------
    UserError
        If it was built by another version of STAR, or from other files.
    """
    where = f"index_genome: index: {index}"
    parameters = genome_parameters(index)
    version, supported = parameters.get("versionGenome", "none"), supported_version()
    if version != supported:
        raise UserError(
            f"{where}: has version {version}, and the installed STAR reads version "
            f"{supported}; {BUILD_ANEW}."
        )
    if told := cut_short(index):
        raise UserError(f"{where}: is cut short: {told}; copy it again.")
    with contigs.open(newline="") as handle:
        rows = csv.DictReader(handle, delimiter="\t")
        ours = Counter((row["contig"], row["length"]) for row in rows)
    names = (index / "chrName.txt").read_text().split()
    lengths = (index / "chrLength.txt").read_text().split()
    if told := difference(ours, Counter(zip(names, lengths, strict=True))):
        raise UserError(f"{where}: other contigs than the FASTA: {told}; {BUILD_ANEW}.")
    theirs = Counter((row[0],) for row in table(index / "geneInfo.tab"))
    if told := difference(Counter((name,) for name in genes), theirs):
        raise UserError(
            f"{where}: other genes than the filtered GTF: {told}; set check_reference: "
            f"biotypes as for the index ([]: all genes), or {BUILD_ANEW}."
        )
    with annotation.open("rb") as lines:
        in_gtf = read_genes(lines, source=annotation)
    of_gtf = (t for gene in in_gtf.values() for t in gene.transcripts)
    ours = Counter((t.transcript_id, *shape(t.exons)) for t in of_gtf)
    exons = [(int(row[0]), int(row[1])) for row in table(index / "exonInfo.tab")]
    theirs = Counter(
        (row[0], *shape(exons[int(row[6]) : int(row[6]) + int(row[5])]))
        for row in table(index / "transcriptInfo.tab")
    )
    if told := difference(ours, theirs):
        raise UserError(
            f"{where}: other transcripts than the GTF: {told}; {BUILD_ANEW}."
        )
    return parameters
