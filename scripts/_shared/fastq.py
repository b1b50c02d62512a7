"""FASTQ files read to their end, a block of text at a time, every record checked."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from isal import isal_zlib
from isal.igzip_lib import IsalError
from xopen import xopen

from _shared.bad_reads import COPY_AGAIN, BadReadsError

# larger blocks fall out of the processor's cache
BLOCK = 1 << 18
# a record is shorter than this, or the file is something else
LONGEST_RECORD = 1 << 24
# letters of a name that are compared; a multiple of 8
LONGEST_NAME = 256
PADDING = bytes(LONGEST_NAME)
# of a polynomial over the 8-letter words of a name, modulo 2**64
FACTORS = np.cumprod(np.full(LONGEST_NAME // 8, 0x9E3779B97F4A7C15, np.uint64))
# reads by which a file is known that begins anew
N_FIRST = 16
MAGIC = {b"\x1f\x8b": "gz", b"BZ": "bz2", b"\xfd7": "xz", b"(\xb5": "zst"}
BASES = b"ACGTNacgtn."
IS_BEFORE_MATE = np.isin(np.arange(256), [*b"-./:_"])
LINE_END, BLANK, AT, PLUS, LAST_LETTER = b"\n @+~"
# what a damaged file raises; isal's own error is no OSError
DAMAGED = (OSError, EOFError, IsalError, ValueError)


@dataclass(kw_only=True)
class Reads:
    """What was seen of a file's reads, or of one mate where mates are interleaved."""

    n_reads: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    # CRC of the names in their order, without comments and what tells the mates apart
    names: int = 0
    # every so-manieth record as text
    sample: list[bytes] = field(default_factory=list)
    # keys of the first reads, and of the last ones
    first_keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))
    last_keys: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Records:
    """The whole records of a block: where each begins, where its parts end.

    `ends` (records x 4) are the line ends, `name_ends` the first blank or line end.
    """

    text: bytes
    starts: np.ndarray
    name_ends: np.ndarray
    ends: np.ndarray
    is_bad: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Lengths of the sequences."""
        return self.ends[:, 1] - self.ends[:, 0] - 1

    def first(self, n: int) -> "_Records":
        """Return the first `n` records."""
        parts = {key: part[:n] for key, part in vars(self).items() if key != "text"}
        return _Records(text=self.text, **parts)

    def record(self, row: int) -> bytes:
        """Return the text of a record."""
        return self.text[self.starts[row] : self.ends[row, 3] + 1]


def open_reads(file: Path) -> IO[bytes]:
    """Open a file of reads, compressed or not: by its content, whatever its name."""
    with file.open("rb") as raw:
        kind = MAGIC.get(raw.read(2))
    return xopen(file, "rb", threads=0, format=kind) if kind else file.open("rb")


def _blocks(file: Path) -> Iterator[bytes]:
    """Return the text of a file; a line end that its last line lacks is added."""
    last = b"\n"
    try:
        with open_reads(file) as source:
            while block := source.read(BLOCK):
                yield block
                last = block[-1:]
    except DAMAGED as error:
        said = " ".join(str(error).split()).rstrip(".")
        raise BadReadsError(f"{file} is damaged: {said}", COPY_AGAIN) from None
    if last != b"\n":
        yield b"\n"


def _find_records(text: bytes) -> _Records:
    """Return the whole records of a text to which `PADDING` was added."""
    codes = np.frombuffer(text, np.uint8)[: -len(PADDING)]
    # blanks, line ends and what may stand in no line at all
    marks = np.flatnonzero(codes <= BLANK)
    lines = np.flatnonzero(codes[marks] == LINE_END)
    n = len(lines) // 4
    lines = lines[: 4 * n].reshape(n, 4)
    ends = marks[lines]
    starts = np.concatenate([[0], ends[:-1, 3] + 1]) if n else np.empty(0, int)
    name_ends = marks[np.concatenate([[0], lines[:-1, 3] + 1])] if n else starts
    is_bad = (
        (codes[starts] != AT)
        | (codes[ends[:, 1] + 1] != PLUS)
        | (ends[:, 1] - ends[:, 0] != ends[:, 3] - ends[:, 2])
        # a mark within the sequence, or within the qualities
        | (lines[:, 1] - lines[:, 0] != 1)
        | (lines[:, 3] - lines[:, 2] != 1)
    )
    if n and codes[: ends[-1, 3]].max() > LAST_LETTER:
        strange = np.flatnonzero(codes[: ends[-1, 3]] > LAST_LETTER)
        is_bad[np.searchsorted(ends[:, 3], strange)] = True
    return _Records(
        text=text, starts=starts, name_ends=name_ends, ends=ends, is_bad=is_bad
    )


def _windows(text: bytes, starts: np.ndarray, width: int) -> np.ndarray:
    """Return `width` letters from each start (starts x width)."""
    kind = f"V{width}"
    every_place = np.ndarray((len(text) - width + 1,), kind, text, strides=(1,))
    return every_place[starts].view(np.uint8).reshape(-1, width)


def name_keys(text: bytes, starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return a number for each name, of its first `LONGEST_NAME` letters.

    What may tell the mates apart at its end, as `/1`, does not count. `PADDING` follows
    the text.
    """
    codes = np.frombuffer(text, np.uint8)
    last = codes[ends - 1]
    is_mate = (last >= ord("1")) & (last <= ord("3")) & IS_BEFORE_MATE[codes[ends - 2]]
    lengths = np.maximum(ends - starts - 2 * is_mate, 0)
    width = min(max(8, -(-int(lengths.max()) // 8) * 8), LONGEST_NAME)
    is_name = np.tri(width + 1, width, -1, dtype=np.uint8)
    letters = _windows(text, starts, width) * is_name[np.minimum(lengths, width)]
    return letters.view(np.uint64) @ FACTORS[: width // 8]


def _strange_letters(records: _Records) -> bytes:
    """Return the letters of the sequences that are no bases."""
    lengths, starts = records.lengths, records.ends[:, 0] + 1
    if lengths.min() == lengths.max() > 0:
        sequences = _windows(records.text, starts, int(lengths[0])).tobytes()
    else:
        parts = zip(starts.tolist(), records.ends[:, 1].tolist(), strict=True)
        sequences = b"".join([records.text[start:end] for start, end in parts])
    return sequences.translate(None, BASES)


def _fault(file: Path, record: bytes, number: int) -> BadReadsError:
    """Return what is wrong with the record of four lines that is the first bad one."""
    header, sequence, plus, quality = record.split(b"\n")[:4]
    hint = COPY_AGAIN
    if header.startswith(b">"):
        reason = f"{file} is a FASTA file: it has no qualities"
        hint = "Give the FASTQ file as it came from the sequencer."
    elif any(line.endswith(b"\r") for line in (header, sequence, plus, quality)):
        reason = f"{file} has Windows line ends, the first in read {number:,}"
        hint = "Convert it (dos2unix), or copy it again in binary mode."
    elif not header:
        reason = f"{file} is damaged: line {4 * number - 3:,} is blank"
    elif not header.startswith(b"@"):
        reason = f"{file} is damaged: the name line of read {number:,} has no '@'"
    elif not plus.startswith(b"+"):
        reason = f"{file} is damaged: the third line of read {number:,} has no '+'"
    elif len(sequence) != len(quality):
        reason = (
            f"{file} is damaged: read {number:,} has {len(sequence)} bases "
            f"and {len(quality)} qualities"
        )
    else:
        reason = (
            f"{file} is damaged: read {number:,} has characters that no FASTQ file has"
        )
    return BadReadsError(reason, hint)


def _check(file: Path, records: _Records, n_before: int) -> None:
    """Raise `BadReadsError` for the first record that is none or has no bases."""
    if records.is_bad.any():
        row = int(records.is_bad.argmax())
        raise _fault(file, records.record(row), n_before + row + 1)
    strange = _strange_letters(records)
    if not strange:
        return
    sequences = (
        records.record(row).split(b"\n")[1] for row in range(len(records.starts))
    )
    row = next(n for n, s in enumerate(sequences) if s.translate(None, BASES))
    letter = chr(strange[0])
    raise BadReadsError(
        f"{file}: read {n_before + row + 1:,} has '{letter}' where bases belong",
        "Give the reads in the letters A C G T N." if letter.isalpha() else COPY_AGAIN,
    )


def _check_start(file: Path, reads: Reads, keys: np.ndarray) -> None:
    """Raise `BadReadsError` where the reads of a file begin anew."""
    reads.first_keys = np.concatenate([reads.first_keys, keys])[:N_FIRST]
    keys = np.concatenate([reads.last_keys, keys])
    n_before = reads.n_reads - len(reads.last_keys)
    reads.last_keys = keys[-N_FIRST + 1 :]
    for row in np.flatnonzero(keys == reads.first_keys[0]).tolist():
        again = keys[row : row + N_FIRST]
        is_start = len(again) == N_FIRST and (again == reads.first_keys).all()
        # not where all reads are alike
        if n_before + row and is_start and len(set(again.tolist())) > 4:
            raise BadReadsError(
                f"{file} holds the same reads twice: with read {n_before + row + 1:,} "
                "the first ones come again",
                "Copy the file again; it was appended to itself.",
            )


def _add(file: Path, mates: list[Reads], records: _Records, every: int) -> None:
    """Add the records of a block to what was seen of the mates that they belong to."""
    names = name_keys(records.text, records.starts + 1, records.name_ends)
    # of the whole read: its name, and the letters at both ends of its sequence
    words = np.ndarray((len(records.text) - 7,), np.uint64, records.text, strides=(1,))
    keys = names + words[records.ends[:, 0] + 1] * FACTORS[1]
    keys += words[records.ends[:, 1] - 8] * FACTORS[2]
    n_mates, n_before = len(mates), sum(reads.n_reads for reads in mates)
    for mate, reads in enumerate(mates):
        first = (mate - n_before) % n_mates
        own_names = np.ascontiguousarray(names[first::n_mates])
        if not len(own_names):
            continue
        _check_start(file, reads, keys[first::n_mates])
        reads.names = isal_zlib.crc32(own_names, reads.names)
        counts = np.bincount(records.lengths[first::n_mates])
        for length in np.flatnonzero(counts).tolist():
            reads.lengths[length] += int(counts[length])
        skipped = -reads.n_reads % every
        chosen = range(first + n_mates * skipped, len(names), n_mates * every)
        reads.sample += map(records.record, chosen)
        reads.n_reads += len(own_names)


def scan_fastq(
    file: Path, *, n_mates: int = 1, every: int = 1, n_reads: int | None = None
) -> list[Reads]:
    """Read a FASTQ file to its end and check every record.

    Parameters
    ----------
    file
        Compressed or not.
    n_mates
        Reads of a fragment that follow each other in the file.
    every
        One record in so many is kept as text, from the first on.
    n_reads
        Reads of each mate that are read; None: all.

    Returns
    -------
    list[Reads]
        One per mate.

    Raises
    ------
    BadReadsError
        For the first thing that is wrong; names the file, and the read counted from 1.
    """
    mates = [Reads() for _ in range(n_mates)]
    most = np.inf if n_reads is None else n_reads * n_mates
    n_before, held = 0, b""
    for block in _blocks(file):
        text = b"".join((held, block, PADDING))
        if (not n_before and text[:1] != b"@") or len(held) > LONGEST_RECORD:
            raise _fault(file, text[:100] + b"\n" * 4, n_before + 1)
        records = _find_records(text)
        if n_before + len(records.starts) > most:
            records = records.first(int(most) - n_before)
        if len(records.starts):
            _check(file, records, n_before)
            _add(file, mates, records, every)
            n_before += len(records.starts)
            held = text[records.ends[-1, 3] + 1 : -len(PADDING)]
        else:
            held += block
        if n_before >= most:
            return mates
    if held.strip(b"\n"):
        raise BadReadsError(
            f"{file} is damaged: it ends within read {n_before + 1:,}", COPY_AGAIN
        )
    if n_before % n_mates:
        raise BadReadsError(
            f"{file} is damaged: its last interleaved read lacks a mate",
            COPY_AGAIN,
        )
    return mates
