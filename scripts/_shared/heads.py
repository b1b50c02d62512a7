"""The first reads of a FASTQ or BAM file, as arrays, with what is wrong with them."""

import gzip
import hashlib
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pysam

from _shared.bad_reads import COPY_AGAIN, BadReadsError, refuse_old_qualities
from _shared.barcodes import DIGITS

BLOCK = 1 << 16
# bases kept of a read: the longest barcode read needs 94
WIDTH = 128
# reads that stand for the content of a file
N_FINGERPRINTED = 1000
# a block of a BAM takes about this part of its text
BAM_RATIO = 4
# reads of one fragment in one file, at most
MOST_MATES = 4
FEWEST_FRAGMENTS = 10
DAMAGED = (OSError, EOFError, zlib.error, ValueError)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """One mate of a file: `digits` (reads x WIDTH, 4 beyond the end), `lengths`."""

    file: str
    mate: int
    of: int
    names: list[bytes]
    digits: np.ndarray
    lengths: np.ndarray
    # which read of the fragment it is by the names, for the order of index reads
    number: int

    @property
    def length(self) -> int:
        """Length of most reads."""
        return int(np.median(self.lengths))


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """What was seen of a file; `n_estimated` reads of each mate are in all of it."""

    streams: list[Stream]
    n_estimated: int
    fingerprint: str


def same_fragment(name: bytes, other: bytes) -> bool:
    """Tell whether two reads pair by name: equal but for a last digit 1 to 4."""
    return name == other or (
        name[:-1] == other[:-1] and {*name[-1:], *other[-1:]} <= set(b"1234")
    )


def _read_lines(file: Path, n_lines: int) -> tuple[list[bytes], float]:
    """Return the first lines of a file, and which share of it they are."""
    size = file.stat().st_size
    with file.open("rb") as raw:
        gzipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if file.suffix == ".gz" and size and not gzipped:
            raise BadReadsError(
                f"{file} is named .gz, but is not gzipped",
                "Rename it to what it is, or copy it again.",
            )
        blocks, n_seen = [], 0
        try:
            # not xopen: the errors of its decompressor have a class of their own
            text = gzip.GzipFile(fileobj=raw) if gzipped else raw
            while n_seen < n_lines and (block := text.read(BLOCK)):
                blocks.append(block)
                n_seen += block.count(b"\n")
            share = 1.0 if n_seen < n_lines else raw.tell() / size
        except DAMAGED as error:
            said = " ".join(str(error).split()).rstrip(".")
            raise BadReadsError(f"{file} is damaged: {said}", COPY_AGAIN) from None
    lines = b"".join(blocks).rstrip(b"\n").split(b"\n") if n_seen else []
    # what was decompressed beyond the lines asked for counts for the share
    return lines[:n_lines], share * min(1.0, n_lines / max(n_seen, 1))


def _check_records(file: Path, lines: list[bytes]) -> None:
    """Raise `BadReadsError` if lines are no FASTQ records."""
    if not any(lines):
        raise BadReadsError(
            f"{file} holds no reads",
            "Copy the file again, or remove its row from the read sheet.",
        )
    if lines[0].startswith(b">"):
        raise BadReadsError(
            f"{file} is a FASTA file: it has no qualities",
            "Give the FASTQ file as it came from the sequencer.",
        )
    if lines[0].endswith(b"\r"):
        raise BadReadsError(
            f"{file} has Windows line ends",
            "Convert it (dos2unix), or copy it again in binary mode.",
        )
    names, sequences, pluses, qualities = (lines[i::4] for i in range(4))
    for number, name in enumerate(names):
        whole = number < len(qualities)
        if not (
            name.startswith(b"@")
            and whole
            and pluses[number].startswith(b"+")
            and len(sequences[number]) == len(qualities[number])
        ):
            raise BadReadsError(
                f"{file} is damaged: record {number + 1} is no FASTQ record"
                if number
                else f"{file} is no FASTQ file",
                COPY_AGAIN,
            )


def _check_qualities(file: Path, qualities: list[bytes]) -> None:
    letters = np.frombuffer(b"".join(qualities), np.uint8)
    if not len(letters):
        return
    lowest, highest = int(letters.min()), int(letters.max())
    refuse_old_qualities(file, lowest=lowest, highest=highest)
    if lowest < ord("!") or highest > ord("~"):
        raise BadReadsError(
            f"{file} is damaged: it has qualities that are no printable characters",
            COPY_AGAIN,
        )


def mates_of(names: list[bytes]) -> int:
    """Return how many reads of each fragment follow each other in a file."""
    run = 1
    while run < min(len(names), MOST_MATES + 1) and same_fragment(names[0], names[run]):
        run += 1
    whole = len(names) // run * run
    if not 1 < run <= MOST_MATES or whole < run * FEWEST_FRAGMENTS:
        return 1
    fragments = zip(*(names[mate:whole:run] for mate in range(run)), strict=True)
    paired = all(
        same_fragment(first, mate) for first, *mates in fragments for mate in mates
    )
    return run if paired else 1


def _to_digits(sequences: list[bytes]) -> np.ndarray:
    padded = b"".join(read[:WIDTH].ljust(WIDTH, b"N") for read in sequences)
    return DIGITS[np.frombuffer(padded, np.uint8)].reshape(-1, WIDTH)


def _read_number(header: bytes) -> int:
    """Return 1 to 4 where the header says so: `name 2:N:0:ACGT` or `name/2`."""
    name, _, comment = header.partition(b" ")
    for digit, is_mark in (
        (comment[:1], comment[1:2] == b":"),
        (name[-1:], name[-2:-1] == b"/"),
    ):
        if is_mark and digit in (b"1", b"2", b"3", b"4"):
            return int(digit)
    return 0


def read_fastq_head(file: Path, n_reads: int) -> Head:
    """Return the first reads of a FASTQ file, plain or gzipped.

    Raises
    ------
    BadReadsError
        If there are none, or these are damaged, or the file is no FASTQ.
    """
    lines, share = _read_lines(file, 4 * n_reads)
    _check_records(file, lines)
    headers, sequences, qualities = lines[0::4], lines[1::4], lines[3::4]
    _check_qualities(file, qualities)
    names = [(header.split(None, 1) or [b""])[0] for header in headers]
    of = mates_of(names)
    digits, lengths = _to_digits(sequences), np.array([len(s) for s in sequences])
    whole = len(names) // of * of
    content = hashlib.blake2b(digest_size=16)
    content.update(
        b"\n".join(
            b" ".join((name.rstrip(b"1234"), sequence, quality))
            for name, sequence, quality in list(
                zip(names, sequences, qualities, strict=True)
            )[:N_FINGERPRINTED]
        )
    )
    return Head(
        streams=[
            Stream(
                file=str(file),
                mate=mate,
                of=of,
                names=names[mate:whole:of],
                digits=digits[mate:whole:of],
                lengths=lengths[mate:whole:of],
                number=_read_number(headers[mate]),
            )
            for mate in range(of)
        ],
        n_estimated=round(len(names) / share / of),
        fingerprint=content.hexdigest(),
    )


def read_bam_head(file: Path, n_reads: int) -> tuple[Head, list[int]]:
    """Return barcode and UMI of the first reads of a 10x BAM, and the cDNA's lengths.

    Barcode (CR) and UMI (UR) are joined as in the barcode read.

    Raises
    ------
    BadReadsError
        If the file is no BAM, damaged, or has no such tags.
    """
    joined, names, cdna = [], [], []
    share = 1.0
    try:
        with pysam.AlignmentFile(file, "rb", check_sq=False) as reads:
            for read in reads:
                # of mates the first is the barcode read
                if read.is_secondary or read.is_supplementary or read.is_read1:
                    continue
                if read.has_tag("CR") and read.has_tag("UR"):
                    joined.append((read.get_tag("CR") + read.get_tag("UR")).encode())
                    names.append((read.query_name or "").encode())
                cdna.append(read.query_length)
                if len(cdna) >= n_reads:
                    # a compressed block, and a place in its text
                    block, place = divmod(reads.tell(), 1 << 16)
                    share = min(1.0, (block + place / BAM_RATIO) / file.stat().st_size)
                    break
    except (*DAMAGED, NotImplementedError) as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise BadReadsError(
            f"{file} is damaged or no BAM: {said}", COPY_AGAIN
        ) from None
    if not joined:
        raise BadReadsError(
            f"{file} has no reads with the tags CR and UR",
            "Give a BAM that Cell Ranger wrote, or the FASTQ files.",
        )
    stream = Stream(
        file=str(file),
        mate=0,
        of=1,
        names=names,
        digits=_to_digits(joined),
        lengths=np.array([len(read) for read in joined]),
        number=0,
    )
    content = hashlib.blake2b(b"\n".join(joined[:N_FINGERPRINTED]), digest_size=16)
    return Head(
        streams=[stream],
        n_estimated=round(len(cdna) / share),
        fingerprint=content.hexdigest(),
    ), cdna
