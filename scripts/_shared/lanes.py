"""Lanes of a sample: which files belong together, and how they are read."""

import json
import re
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from _shared.bad_reads import BadReadsError
from _shared.chemistries import barcode_read_length, most_short
from _shared.detection import Evidence, by_tag
from _shared.heads import (
    Head,
    Stream,
    read_bam_head,
    read_fastq_head,
    same_fragment,
)

FASTQ = re.compile(r"\.(fastq|fq)(\.gz)?$")
# what tells the files of one lane apart: _R1_001, _I1, _1
MATE = re.compile(r"[_.](R|I)?[1-4](_001)?(?=\.(fastq|fq)(\.gz)?$)")
SHORTEST_CDNA = 25
LONGEST_INDEX = 12
# letters that name a cell of a plate in place of a barcode
CODE_START, CODE_LETTERS = "ACGTACGTAC", 10
GET_TECHNICAL = (
    "Public archives often keep the cDNA read alone: get the run with its technical "
    "reads (fasterq-dump --include-technical --split-files, or the submitter's own "
    "files), and give all of them in one row."
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Lane:
    """Files of one row of the read sheet, or of one run of a fetched folder."""

    number: int
    files: list[str]
    cell: str | None
    heads: list[Head]
    # of the aligned reads of a BAM
    bam_lengths: list[int]

    @property
    def streams(self) -> list[Stream]:
        """Every read of a fragment, in the order of the files."""
        return [stream for head in self.heads for stream in head.streams]

    @property
    def is_bam(self) -> bool:
        """Whether the reads are restored from a BAM."""
        return bool(self.bam_lengths)

    def shown(self) -> str:
        """Return the files with the lengths of their reads."""
        return ", ".join(f"{one.file} ({one.length} nt)" for one in self.streams)


def group_files(files: list[str]) -> list[list[str]]:
    """Return files by lane: a folder's reads, those that differ in the mate alone.

    Raises
    ------
    BadReadsError
        If the reads of a folder could not be fetched.
    """
    lanes: dict[str, list[str]] = {}
    for file in files:
        if not Path(file).is_dir():
            lanes.setdefault("", []).append(file)
            continue
        fetched = json.loads((Path(file) / "fetched.json").read_text())
        if not fetched["ok"]:
            raise BadReadsError(
                fetched["reason"], fetched["hint"], stage=fetched["stage"]
            )
        for path in sorted(map(str, Path(file).iterdir())):
            if FASTQ.search(path) or path.endswith(".bam"):
                lanes.setdefault(MATE.sub("", path), []).append(path)
    return list(lanes.values())


def open_lanes(rows: list[dict], n_reads: int) -> list[Lane]:
    """Return the lanes of a sample with the heads of their files.

    Raises
    ------
    BadReadsError
        If a file is damaged or no reads are in it, or files do not pair.
    """
    n_cells = sum(1 for row in rows if row["cell"])
    if n_cells:
        n_reads = max(1000, n_reads // n_cells)
    lanes = []
    for row in rows:
        for files in group_files(row["files"]):
            heads, lengths = [], []
            for file in files:
                if file.endswith(".bam"):
                    head, lengths = read_bam_head(Path(file), n_reads)
                else:
                    head = read_fastq_head(Path(file), n_reads)
                heads.append(head)
            lane = Lane(
                number=len(lanes) + 1,
                files=files,
                cell=row["cell"],
                heads=heads,
                bam_lengths=lengths,
            )
            lanes.append(lane)
    check_copies(lanes)
    for lane in lanes:
        check_pairs(lane)
    return lanes


def fingerprints(lanes: list[Lane]) -> dict[str, str]:
    """Return a number for the content of every file, the same for a copy."""
    return {
        file: head.fingerprint
        for lane in lanes
        for file, head in zip(lane.files, lane.heads, strict=True)
    }


def check_copies(lanes: list[Lane]) -> None:
    """Raise `BadReadsError` if two files of a sample begin with the same reads."""
    seen: dict[str, str] = {}
    for file, content in fingerprints(lanes).items():
        if content in seen:
            raise BadReadsError(
                f"{seen[content]} and {file} hold the same reads",
                "Give each file once, and the two files of a pair, not one twice.",
            )
        seen[content] = file


def check_pairs(lane: Lane) -> None:
    """Raise `BadReadsError` if the reads of a lane's files do not pair by name."""
    first, *others = lane.streams
    for other in others:
        for number, (name, mate) in enumerate(
            zip(first.names, other.names, strict=False), start=1
        ):
            if not same_fragment(name, mate):
                raise BadReadsError(
                    f"{first.file} and {other.file} do not pair: read {number} is "
                    f"{name[1:].decode(errors='replace')} in one and "
                    f"{mate[1:].decode(errors='replace')} in the other",
                    "Give the files of one lane in each row of the read sheet, as they "
                    "came from the sequencer.",
                )


def _piece(stream: Stream, *, start: int = 0, length: int | None = None) -> dict:
    return {
        "file": stream.file,
        "mate": stream.mate,
        "of": stream.of,
        "start": start,
        "length": length,
    }


def cell_codes(lanes: list[Lane]) -> dict[str, str]:
    """Return a sequence of 20 bases for every cell of a plate, in sheet order."""
    numbers = count()
    codes: dict[str, str] = {}
    for lane in lanes:
        if lane.cell not in codes:
            number = next(numbers)
            letters = ["ACGT"[number >> 2 * i & 3] for i in range(CODE_LETTERS)]
            codes[lane.cell] = CODE_START + "".join(reversed(letters))
    return codes


def find_cdna(lane: Lane, used: tuple[Stream, ...]) -> Stream:
    """Return the longest read beside those of the barcode.

    Raises
    ------
    BadReadsError
        If there is none, or its reads are too short to be aligned.
    """
    rest = [stream for stream in lane.streams if stream not in used]
    cdna = max(rest, key=lambda stream: stream.length, default=None)
    if cdna is None or cdna.length <= LONGEST_INDEX:
        raise BadReadsError(
            f"lane {lane.number} has no cDNA read beside the barcode read: "
            f"{lane.shown()}",
            "Give the file with the cDNA reads in the same row.",
        )
    if cdna.length < SHORTEST_CDNA:
        raise BadReadsError(
            f"the cDNA reads of {cdna.file} are {cdna.length} nt long: too short to be "
            f"aligned (at least {SHORTEST_CDNA})",
            "Give the reads as they came, untrimmed.",
        )
    return cdna


def check_barcode_lengths(way: tuple[Stream, ...], name: str, chemistry: dict) -> None:
    """Raise `BadReadsError` if many barcode reads lack bases of barcode or UMI."""
    if len(way) > 1:
        needs = [piece["start"] + piece["length"] for piece in chemistry["pieces"]]
    else:
        needs = [barcode_read_length(chemistry)]
    for stream, needed in zip(way, needs, strict=True):
        short = int((stream.lengths < needed).sum())
        if short > most_short(chemistry) * len(stream.lengths):
            raise BadReadsError(
                f"{short} of {len(stream.lengths)} barcode reads of {stream.file} are "
                f"shorter than the {needed} nt that chemistry {name} needs "
                f"({stream.lengths.min()} to {stream.lengths.max()} nt)",
                "Name the right chemistry, or give the reads as they came, untrimmed.",
            )


def describe(lane: Lane, barcode: list[dict], cdna: list[dict], **more) -> dict:
    """Return a lane as a mapping, for the rules that read it."""
    return {
        "number": lane.number,
        "files": lane.files,
        "barcode": barcode,
        "cdna": cdna,
        "tag": None,
        "bam": None,
        "cell": lane.cell,
        **more,
    }


def droplet_lane(lane: Lane, evidence: Evidence, chemistry: dict) -> dict:
    """Return how barcode and cDNA reads are taken from the files of a lane."""
    check_barcode_lengths(evidence.streams, evidence.chemistry, chemistry)
    if lane.is_bam:
        return describe(lane, [], [], bam=lane.files[0])
    cdna = find_cdna(lane, evidence.streams)
    if len(evidence.streams) == 1:
        barcode = [_piece(evidence.streams[0])]
    else:
        barcode = [
            _piece(stream, start=piece["start"], length=piece["length"])
            for stream, piece in zip(evidence.streams, chemistry["pieces"], strict=True)
        ]
    return describe(lane, barcode, [_piece(cdna)])


def tagged_lane(
    lane: Lane, tagged: Stream, chemistry: dict, *, code: str | None
) -> dict:
    """Return how the reads with a tag are taken, and what names their well.

    Raises
    ------
    BadReadsError
        If neither index reads nor the sheet tell the wells apart.
    """
    *index_pieces, umi = chemistry["pieces"]
    wells = sum(piece["length"] for piece in index_pieces)
    if code:
        barcode = [{"literal": code}]
    else:
        indexes = sorted(
            (one for one in lane.streams if one.length <= LONGEST_INDEX),
            key=lambda one: one.number,
        )
        if not indexes:
            raise BadReadsError(
                f"lane {lane.number} has reads of many wells, but nothing that tells "
                f"the wells apart: {lane.shown()}",
                "Give the index reads too, or one row per well with its name in the "
                "column cell.",
            )
        barcode = [
            _piece(one, length=min(piece["length"], one.length))
            for one, piece in zip(indexes, index_pieces, strict=False)
        ]
        missing = wells - sum(piece["length"] for piece in barcode)
        if missing:
            barcode.append({"literal": "A" * missing})
    barcode.append(_piece(tagged, start=umi["start"], length=umi["length"]))
    tag = {"file": tagged.file, "mate": tagged.mate, "of": tagged.of}
    return describe(
        lane,
        barcode,
        [_piece(tagged, start=chemistry["cdna_start"])],
        tag=tag | chemistry["tag"],
    )


def plate_tags(lanes: list[Lane], name: str, chemistry: dict) -> tuple[int, int, int]:
    """Return reads, reads with the tag, and which read of a lane has most of them."""
    found = [by_tag(name, chemistry, lane.streams) for lane in lanes]
    places: Counter[int] = Counter()
    for lane, one in zip(lanes, found, strict=True):
        places[lane.streams.index(one.streams[0])] += one.n_hits
    ((place, _),) = places.most_common(1)
    return sum(one.n_looked_up for one in found), places.total(), place


def full_length_lane(lane: Lane) -> dict:
    """Return how the one or two reads of a cell of a plate are taken."""
    reads = [one for one in lane.streams if one.length >= SHORTEST_CDNA]
    if not reads:
        find_cdna(lane, ())
    reads = sorted(reads, key=lambda one: one.number)[:2]
    return describe(lane, [], [_piece(one) for one in reads])
