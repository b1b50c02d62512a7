"""A list of barcodes made of the reads, for chemistries that come without one.

As umi_tools and others do: a barcode that differs in one base from one with many times
its reads is that one, misread. All others stay, so that ambient barcodes can be told
from cells as in other libraries.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from _shared.barcodes import BASES, DIGITS, pack

# a misread barcode has at most this part of the reads of the right one; simulated
# Drop-seq, CEL-seq and Smart-seq3 give the same counts with 4
RATIO = 10
# reads whose barcodes are counted at a time
MANY = 1 << 22


@dataclass(frozen=True, kw_only=True)
class DerivedList:
    """Barcodes, one a line; how many were seen, and how many of them left out."""

    text: bytes
    n_seen: int
    n_misread: int


def barcodes_in(text: bytes, *, start: int, length: int) -> tuple[np.ndarray, int]:
    """Return the barcodes of the whole FASTQ records in a text, as packed numbers.

    Parameters
    ----------
    text
        Begins with a record.
    start, length
        Place of the barcode in the reads, from 0; shorter reads have none.

    Returns
    -------
    tuple
        Packed barcodes without those that have an N, and where the rest of the text is.
    """
    codes = np.frombuffer(text, np.uint8)
    ends = np.flatnonzero(codes == ord("\n"))
    ends = ends[: len(ends) // 4 * 4].reshape(-1, 4)
    if not len(ends):
        return np.empty(0, np.uint64), 0
    long_enough = ends[:, 1] - ends[:, 0] > start + length
    starts = ends[long_enough, 0] + 1 + start
    packed = pack(DIGITS[codes[starts[:, None] + np.arange(length)]])
    return packed[packed > 0], int(ends[-1, 3]) + 1


def count_barcodes(
    blocks: Iterable[bytes], *, start: int, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the barcodes of FASTQ text as sorted packed numbers, and their reads.

    The blocks may end anywhere; place as of `barcodes_in`.
    """
    seen, reads = np.empty(0, np.uint64), np.empty(0, np.int64)
    waiting, n_waiting, held = [], 0, b""

    def merged() -> tuple[np.ndarray, np.ndarray]:
        new = np.concatenate([*waiting, np.empty(0, np.uint64)])
        every = np.concatenate([seen, new])
        weights = np.concatenate([reads, np.ones(len(new), np.int64)])
        distinct, back = np.unique(every, return_inverse=True)
        totals = np.bincount(back, weights, minlength=len(distinct))
        return distinct, totals.astype(np.int64)

    for block in blocks:
        held += block
        packed, end = barcodes_in(held, start=start, length=length)
        held = held[end:]
        waiting.append(packed)
        n_waiting += len(packed)
        if n_waiting > MANY:
            seen, reads = merged()
            waiting, n_waiting = [], 0
    return merged()


def are_misread(packed: np.ndarray, reads: np.ndarray, *, length: int) -> np.ndarray:
    """Tell which barcodes (sorted) are others with one base misread, by their reads."""
    misread = np.zeros(len(packed), dtype=bool)
    often = reads >= RATIO
    for place in range(length):
        for change in (1, 2, 3):
            other = packed[often] ^ np.uint64(change << 2 * place)
            at = np.minimum(np.searchsorted(packed, other), max(len(packed) - 1, 0))
            is_there = packed[at] == other
            is_rare = reads[at] * RATIO <= reads[often]
            misread[at[is_there & is_rare]] = True
    return misread


def as_text(packed: np.ndarray, *, length: int) -> bytes:
    """Return packed barcodes of one length as lines."""
    shifts = np.arange(2 * (length - 1), -1, -2, dtype=np.uint64)
    letters = BASES[(packed[:, None] >> shifts) & np.uint64(3)]
    line_ends = np.full((len(packed), 1), ord("\n"), np.uint8)
    return np.hstack([letters, line_ends]).tobytes()


def derive_list(blocks: Iterable[bytes], *, start: int, length: int) -> DerivedList:
    """Return the barcodes in FASTQ text that are no misread others."""
    packed, reads = count_barcodes(blocks, start=start, length=length)
    misread = are_misread(packed, reads, length=length)
    return DerivedList(
        text=as_text(packed[~misread], length=length),
        n_seen=len(packed),
        n_misread=int(misread.sum()),
    )
