"""Read every file of a sample to its end, once: find faults, count, judge quality."""

import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pysam

from _shared.bad_reads import (
    COPY_AGAIN,
    BadReadsError,
    refuse_old_qualities,
    set_aside,
)
from _shared.chemistries import barcode_read_length, most_short
from _shared.fastq import DAMAGED, Reads, open_reads, scan_fastq
from _shared.feeding import SECONDARY_OR_SUPPLEMENTARY, reads_per_lane
from _shared.jobs import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("check_reads")

# reads per sample, spread over all of its files, whose quality is judged
N_JUDGED = 200_000
UNTRIMMED = "Give the reads as they came from the sequencer, untrimmed."
# sequali draws its page even into /dev/null, which takes longer than to judge the reads
JUDGE = (
    "import sequali.__main__ as it; it.write_html_report = lambda *_: None; it.main()"
)

NAME = re.compile(rb"@([^\0- ]*)")
MATE = re.compile(r"[-./:_][123]$")
# raw barcode and UMI of a 10x BAM, and their qualities
TAGS = ("CR", "UR", "CY", "UY")

# what was read, by file: one `Reads` per mate, of a BAM the barcode and the cDNA read
Found = dict[str, list[Reads]]


def forward_qualities(read: pysam.AlignedSegment) -> str:
    """Return the qualities in the order in which they were sequenced."""
    return read.query_qualities_str[:: -1 if read.is_reverse else 1]


def scan_bam(file: Path, *, every: int, n_reads: int | None) -> list[Reads]:
    """Read a 10x BAM to its end; return what was seen of barcode and cDNA reads.

    Primary records only, and of mates the second, as they are counted.

    Raises
    ------
    BadReadsError
        If the file is damaged or a read lacks barcode or UMI.
    """
    barcode, cdna = Reads(), Reads()
    try:
        with pysam.AlignmentFile(file, check_sq=False) as records:
            wanted = (
                read
                for read in records.fetch(until_eof=True)
                if not (read.flag & SECONDARY_OR_SUPPLEMENTARY or read.is_read1)
            )
            for number, read in enumerate(islice(wanted, n_reads)):
                missing = [tag for tag in TAGS if not read.has_tag(tag)]
                if missing:
                    raise BadReadsError(
                        f"{file}: read {number + 1:,} has no tag {missing[0]}",
                        "Give the BAM as Cell Ranger wrote it, or the FASTQ files.",
                    )
                letters = read.get_tag("CR") + read.get_tag("UR")
                barcode.lengths[len(letters)] += 1
                cdna.lengths[read.query_length] += 1
                if number % every == 0:
                    name = read.query_name
                    marks = read.get_tag("CY") + read.get_tag("UY")
                    barcode.sample.append(f"@{name}\n{letters}\n+\n{marks}\n".encode())
                    letters, marks = (
                        read.get_forward_sequence(),
                        forward_qualities(read),
                    )
                    cdna.sample.append(f"@{name}\n{letters}\n+\n{marks}\n".encode())
    except DAMAGED as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise BadReadsError(f"{file} is damaged: {said}", COPY_AGAIN) from None
    barcode.n_reads, cdna.n_reads = barcode.lengths.total(), cdna.lengths.total()
    return [barcode, cdna]


def pieces_of(lane: dict) -> list[dict]:
    """Return the pieces of a lane that are cut from files."""
    return [piece for piece in [*lane["barcode"], *lane["cdna"]] if "file" in piece]


def mates_by_file(lane: dict) -> dict[str, int]:
    """Return a lane's FASTQ files, and how many mates each holds."""
    known = {piece["file"]: piece["of"] for piece in pieces_of(lane)}
    return dict.fromkeys(lane["files"], 1) | known


def scan(lanes: list[dict], *, every: int, n_reads: int | None, threads: int) -> Found:
    """Read the files of all lanes to their end.

    Raises
    ------
    BadReadsError
        For the first file, in the order of the sheet, that is bad; tells how many more
        there are.
    """

    def attempt(file: str, n_mates: int) -> list[Reads] | BadReadsError:
        try:
            if n_mates:
                return scan_fastq(
                    Path(file), n_mates=n_mates, every=every, n_reads=n_reads
                )
            return scan_bam(Path(file), every=every, n_reads=n_reads)
        except BadReadsError as bad:
            logger.error("%s. %s", bad, bad.hint)
            return bad

    files: dict[str, int] = {}
    for lane in lanes:
        files |= {lane["bam"]: 0} if lane["bam"] else mates_by_file(lane)
    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(attempt, files, files.values())
        found = dict(zip(files, results, strict=True))
    faults = [one for one in found.values() if isinstance(one, BadReadsError)]
    if len(faults) > 1:
        more = f"{len(faults) - 1} more of {len(files)} files of the sample are bad"
        raise BadReadsError(f"{faults[0]} ({more})", faults[0].hint)
    if faults:
        raise faults[0]
    return found


def names_of(file: str, mate: int, n_mates: int) -> Iterator[str]:
    """Return the names of one mate of a file."""
    with open_reads(Path(file)) as lines:
        for line in islice(lines, 4 * mate, None, 4 * n_mates):
            yield NAME.match(line)[1].decode(errors="replace")


def unpaired(
    first: tuple[str, int], other: tuple[str, int], found: Found
) -> BadReadsError:
    """Return where the reads of two mates, each a file and its number, part."""
    streams = [names_of(file, mate, len(found[file])) for file, mate in (first, other)]
    for number, (one, two) in enumerate(zip(*streams, strict=False), start=1):
        if MATE.sub("", one) != MATE.sub("", two):
            return BadReadsError(
                f"{first[0]} and {other[0]} do not pair: read {number:,} is {one} in "
                f"the one and {two} in the other",
                "Give the files of one lane in each row of the read sheet, as they "
                "came from the sequencer.",
            )
    (n_fewer, fewer), (n_more, more) = sorted(
        (found[file][mate].n_reads, file) for file, mate in (first, other)
    )
    return BadReadsError(
        f"{fewer} has fewer reads than {more}: {n_fewer:,} and {n_more:,}",
        "Copy both again: the reads pair as far as the shorter file goes.",
    )


def check_pairs(lane: dict, found: Found) -> None:
    """Raise `BadReadsError` unless the reads of all files of a lane pair by name."""
    if lane["bam"]:
        return
    mates = [(file, mate) for file in lane["files"] for mate in range(len(found[file]))]
    seen = [
        (found[file][mate].n_reads, found[file][mate].names) for file, mate in mates
    ]
    for other, facts in zip(mates, seen, strict=True):
        if facts != seen[0]:
            raise unpaired(mates[0], other, found)


def needed_lengths(lane: dict, chemistry: dict) -> dict[tuple[str, int], int]:
    """Return how long the reads must be, by file and mate, that hold the barcode."""
    needed: dict[tuple[str, int], int] = {}
    left = barcode_read_length(chemistry)
    for piece in lane["barcode"]:
        if "literal" in piece:
            left -= len(piece["literal"])
            continue
        length = left if piece["length"] is None else piece["length"]
        left -= length
        key = piece["file"], piece["mate"]
        needed[key] = max(needed.get(key, 0), piece["start"] + length)
    return needed


def check_lengths(lane: dict, found: Found, chemistry: dict) -> list[str]:
    """Return warnings of barcode reads that are too short and will be lost.

    Raises
    ------
    BadReadsError
        If there are many of them, or a read without a base, at which STAR stops.
    """
    warnings = []
    for piece in pieces_of(lane):
        n_empty = found[piece["file"]][piece["mate"]].lengths[0]
        if n_empty:
            raise BadReadsError(
                f"{piece['file']} has {n_empty:,} empty reads", UNTRIMMED
            )
    for (file, mate), needed in needed_lengths(lane, chemistry).items():
        reads = found[file][mate]
        n_short = sum(n for length, n in reads.lengths.items() if length < needed)
        told = (
            f"{n_short:,} of {reads.n_reads:,} barcode reads of {file} are shorter "
            f"than the {needed} nt that the chemistry needs"
        )
        if n_short > most_short(chemistry) * reads.n_reads:
            raise BadReadsError(told, UNTRIMMED)
        if n_short:
            warnings.append(f"{told}; they are lost")
    return warnings


def check_qualities(file: str, reads: Reads) -> None:
    """Raise `BadReadsError` if the qualities of the sample are in Phred+64."""
    letters = set().union(*(record.split(b"\n")[3] for record in reads.sample))
    if letters:
        refuse_old_qualities(file, lowest=min(letters), highest=max(letters))


def joined(pieces: list[dict], found: Found) -> Iterator[bytes]:
    """Return the sampled records of a read that is made of pieces, as FASTQ text."""
    pieces = [piece for piece in pieces if "file" in piece]
    parts = [
        slice(p["start"], p["length"] and p["start"] + p["length"]) for p in pieces
    ]
    for records in zip(
        *(found[p["file"]][p["mate"]].sample for p in pieces), strict=True
    ):
        if parts == [slice(0, None)]:
            yield records[0]
            continue
        lines = [record.split(b"\n") for record in records]
        sequence, quality = (
            b"".join(of[n][part] for of, part in zip(lines, parts, strict=True))
            for n in (1, 3)
        )
        yield b"%b\n%b\n+\n%b\n" % (lines[0][0], sequence, quality)


def quality_sample(lanes: list[dict], found: Found) -> dict[str, bytes]:
    """Return the sampled barcode reads and cDNA reads of all lanes as FASTQ text."""
    barcode: list[bytes] = []
    cdna: list[bytes] = []
    for lane in lanes:
        if lane["bam"]:
            barcode += found[lane["bam"]][0].sample
            cdna += found[lane["bam"]][1].sample
            continue
        barcode += joined(lane["barcode"], found)
        for piece in lane["cdna"]:
            cdna += joined([piece], found)
    return {"barcode": b"".join(barcode), "cdna": b"".join(cdna)}


def judge(reads: bytes, report: Path) -> None:
    """Write sequali's JSON about reads; without any, an empty one.

    Barcode and cDNA reads are no mates of one fragment, so each is judged alone.
    """
    report.write_text("{}\n")
    if not reads:
        return
    command = [sys.executable, "-c", JUDGE, "--threads", "1"]
    # the reads are a sample already: look at all of them
    command += ["--overrepresentation-sample-every", "1"]
    command += ["--outdir", str(report.parent), "--json", report.name]
    command += ["--html", "/dev/null", "/dev/stdin"]
    subprocess.run(
        command, input=reads, check=True, stdout=sys.stderr, stderr=sys.stderr
    )


def facts_of(lanes: list[dict], found: Found) -> dict:
    """Return what is told of good reads: numbers and lengths by file and mate."""
    firsts = [found[lane["bam"] or lane["files"][0]][0] for lane in lanes]
    return {
        "n_reads": sum(reads.n_reads for reads in firsts),
        "n_judged": sum(len(reads.sample) for reads in firsts),
        "files": [
            {
                "file": file,
                "mate": mate,
                "n_reads": reads.n_reads,
                "lengths": dict(sorted(reads.lengths.items())),
            }
            for file, mates in found.items()
            for mate, reads in enumerate(mates)
        ],
    }


def check(
    inspection: dict, chemistry: dict, *, preview_reads: int | None, threads: int
) -> tuple[dict, dict[str, bytes]]:
    """Return what was found in a sample's files, and the reads that are to be judged.

    Raises
    ------
    BadReadsError
        For the first thing that is wrong.
    """
    lanes = inspection["lanes"]
    n_reads = preview_reads or inspection["n_reads_estimated"]
    found = scan(
        lanes,
        every=max(1, n_reads // N_JUDGED),
        n_reads=reads_per_lane(preview_reads, len(lanes)),
        threads=threads,
    )
    warnings = []
    for lane in lanes:
        check_pairs(lane, found)
        warnings += check_lengths(lane, found, chemistry)
    for file, mates in found.items():
        for reads in mates:
            check_qualities(file, reads)
    return {"warnings": warnings, **facts_of(lanes, found)}, quality_sample(
        lanes, found
    )


def main(
    *,
    sample: str,
    inspection_file: Path,
    chemistries: dict[str, dict],
    preview_reads: int | None,
    strict: bool,
    threads: int,
    integrity_file: Path,
    reports: dict[str, Path],
) -> None:
    """Write what was found, and sequali's JSON of the barcode and of the cDNA reads.

    Nothing is read of a sample that was set aside before.
    """
    inspection = json.loads(inspection_file.read_text())
    keys = ("sample", "ok", "stage", "reason", "hint")
    facts = {key: inspection.get(key, "") for key in keys} | {"warnings": []}
    facts |= {"preview_reads": preview_reads, "n_reads": 0, "n_judged": 0, "files": []}
    texts = dict.fromkeys(reports, b"")
    if not inspection["ok"]:
        logger.warning("not read: the sample was set aside")
    else:
        facts["stage"] = "check_reads"
        try:
            seen, texts = check(
                inspection,
                chemistries[inspection["chemistry"]],
                preview_reads=preview_reads,
                threads=threads,
            )
            facts |= seen
        except BadReadsError as bad:
            facts |= set_aside(f"sample {sample}", bad, strict=strict)
    for warning in facts["warnings"]:
        logger.warning("%s", warning)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(judge, (texts[read] for read in reports), reports.values()))
    integrity_file.write_text(json.dumps(facts, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            inspection_file=Path(snakemake.input.inspection),
            chemistries=snakemake.params.chemistries,
            preview_reads=snakemake.params.preview_reads,
            strict=snakemake.params.strict,
            threads=snakemake.threads,
            integrity_file=Path(snakemake.output.integrity),
            reports={
                "barcode": Path(snakemake.output.barcode),
                "cdna": Path(snakemake.output.cdna),
            },
        )
