"""Turn a barcode list into the plain file that STAR reads, and into sorted numbers."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from isal.igzip_lib import IsalError
from xopen import xopen

from _shared.barcodes import BASES, DIGITS, LONGEST
from _shared.jobs import job
from _shared.logs import UserError

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("prepare_whitelist")

NEW_LINE = ord("\n")
# what may stand between the barcode and a second column, or before the line end
IS_SEPARATOR = np.zeros(256, bool)
IS_SEPARATOR[list(b"\t ,\r")] = True


def read_text(source: Path) -> np.ndarray:
    """Return the bytes of a list, plain or gzipped, with a line end at its end."""
    try:
        with xopen(source, "rb", threads=0) as lines:
            text = lines.read()
    except (OSError, EOFError, IsalError) as error:
        raise UserError(
            f"{source}: cannot be read ({error}); fetch it again."
        ) from None
    text = text.rstrip()
    if not text:
        raise UserError(f"{source}: holds no barcode; fetch it again.")
    return np.frombuffer(text + b"\n", np.uint8)


def find_barcodes(text: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return start and length of the first column of every line, without a -1."""
    ends = np.flatnonzero(text == NEW_LINE)
    starts = np.concatenate([[0], ends[:-1] + 1])
    separators = np.flatnonzero(IS_SEPARATOR[text])
    if len(separators):
        nearest = np.searchsorted(separators, starts)
        nearest = separators[np.minimum(nearest, len(separators) - 1)]
        ends = np.where((nearest >= starts) & (nearest < ends), nearest, ends)
    suffixed = text[ends - 1] == ord("1")
    if suffixed.any():
        suffixed &= text[ends - 2] == ord("-")
        ends = ends - 2 * suffixed
    return starts, ends - starts


def pack_barcodes(
    text: np.ndarray, starts: np.ndarray, lengths: np.ndarray
) -> np.ndarray:
    """Return the barcodes as numbers; 0 for one with a letter that is no base."""
    codes = np.ones(len(starts), np.uint64)
    good = np.ones(len(starts), bool)
    for offset in range(lengths.max()):
        (rows,) = np.nonzero(offset < lengths)
        rows = slice(None) if len(rows) == len(starts) else rows
        digits = DIGITS[text[starts[rows] + offset]]
        codes[rows] = (codes[rows] << np.uint64(2)) | (digits & 3)
        good[rows] &= digits < 4
    codes[~good] = 0
    return codes


def unpack_barcodes(codes: np.ndarray, length: int) -> np.ndarray:
    """Return barcodes of one length as lines: a matrix of letters and line ends."""
    lines = np.full((len(codes), length + 1), NEW_LINE, np.uint8)
    for offset in range(length):
        digits = (codes >> np.uint64(2 * (length - 1 - offset))) & np.uint64(3)
        lines[:, offset] = BASES[digits]
    return lines


def main(
    *, source: Path, lengths: tuple[int, int], barcodes: Path, packed: Path
) -> None:
    """Write the barcodes of `source`, one per line, and as a sorted array of numbers.

    Parameters
    ----------
    source
        List of barcodes, plain or gzipped, further columns are left out.
    lengths
        Shortest and longest barcode that belong into this list.

    Raises
    ------
    UserError
        If the list cannot be read, or a line is no barcode of these lengths.
    """
    shortest, longest = lengths
    text = read_text(source)
    starts, found = find_barcodes(text)
    fits = (found >= shortest) & (found <= min(longest, LONGEST))
    codes = pack_barcodes(text, starts, np.where(fits, found, 0))
    bad = np.flatnonzero(~fits | (codes == 0))
    if len(bad):
        first = bad[0]
        line = bytes(text[starts[first] : starts[first] + found[first]][:40])
        shown = line.decode(errors="replace")
        letters = f"{shortest}" if shortest == longest else f"{shortest} to {longest}"
        raise UserError(
            f"{source} row {first + 1}: '{shown}' is no barcode of {letters} letters "
            "ACGT; mend the list, or name it as what it is."
        )
    distinct = np.sort(codes)
    if (distinct[1:] == distinct[:-1]).any():
        distinct, first_seen = np.unique(codes, return_index=True)
        logger.warning(
            "%s: %d of %d barcodes are repetitions, which are left out",
            source,
            len(codes) - len(distinct),
            len(codes),
        )
        kept = np.sort(first_seen)
        codes, found = codes[kept], found[kept]
    np.save(packed, distinct)
    if shortest == longest:
        barcodes.write_bytes(unpack_barcodes(codes, shortest).tobytes())
    else:
        lines = zip(codes, found, strict=True)
        barcodes.write_bytes(
            b"".join(unpack_barcodes(code[None], n).tobytes() for code, n in lines)
        )
    logger.info("%d barcodes", len(distinct))


if "snakemake" in globals():
    with job(snakemake):
        main(
            source=Path(snakemake.input.barcodes),
            lengths=tuple(snakemake.params.lengths),
            barcodes=Path(snakemake.output.barcodes),
            packed=Path(snakemake.output.packed),
        )
