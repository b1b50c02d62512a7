"""Sequences of a FASTA file, one contig at a time."""

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from _shared.annotation import Transcript
from _shared.logs import UserError

BLOCK = 1 << 23
COMPLEMENT = bytes.maketrans(b"ACGTacgtRYKMBVDHrykmbvdh", b"TGCAtgcaYRMKVBHDyrmkvbhd")
# a whole 3' library starts in the first of these, a 5' library in the second
LAST_BASES, FIRST_BASES = 1000, 500
# keeps a read from lying across the gap between the two
GAP = b"N" * 20


def contigs_of(fasta: BinaryIO, *, source: Path) -> Iterable[tuple[str, bytes]]:
    """Return name, up to the first blank, and sequence of every contig.

    Raises
    ------
    UserError
        If the file is no FASTA, a name is missing or repeated, or nothing is there.
    """
    seen: set[str] = set()
    n_bases = 0
    for record in _records(fasta, source=source):
        header, _, lines = record.partition(b"\n")
        words = header.split()
        name = words[0].decode() if words else ""
        if not name or name in seen:
            raise UserError(
                f"{source}: sequence name '{name}' is empty or stands there twice; "
                "each contig needs a name of its own."
            )
        seen.add(name)
        sequence = lines.translate(None, b"\n\r\t ")
        n_bases += len(sequence)
        yield name, sequence
    if not n_bases:
        raise UserError(f"{source}: holds no sequence; fetch the file again.")


def _records(fasta: BinaryIO, *, source: Path) -> Iterable[bytes]:
    """Return the text of every record without its `>`."""
    block = fasta.read(BLOCK)
    if block[:1] == b"@":
        raise UserError(f"{source}: is a FASTQ file; the genome is a FASTA.")
    first = next((line for line in block.splitlines() if line[:1] != b"#"), b"")
    if len(first.split(b"\t")) >= 8:
        raise UserError(
            f"{source}: is a GTF or GFF file; check_reference: fasta needs the genome."
        )
    if block[:1] != b">":
        raise UserError(f"{source}: does not begin with '>'; is it a FASTA file?")
    parts: list[bytes] = []
    # a line end before the first record makes all of them begin alike
    block = b"\n" + block
    while block:
        # the mark may be cut by the end of a block
        held = block[-1:] if block[-1:] == b"\n" else b""
        pieces = block[: len(block) - len(held)].split(b"\n>")
        parts.append(pieces[0])
        for piece in pieces[1:]:
            if any(parts):
                yield b"".join(parts)
            parts = [piece]
        more = fasta.read(BLOCK)
        block = held + more if more else b""
    yield b"".join(parts)


def spliced(transcript: Transcript, sequence: bytes) -> bytes:
    """Return the sequence of a transcript in its own direction, introns left out."""
    exons = sorted(transcript.exons)
    joined = b"".join(sequence[start - 1 : end] for start, end in exons)
    return joined if transcript.is_forward else joined.translate(COMPLEMENT)[::-1]


def gene_ends(sequence: bytes) -> bytes:
    """Return the first and the last bases of a transcript, whole if it is short."""
    if len(sequence) <= FIRST_BASES + LAST_BASES:
        return sequence
    return sequence[:FIRST_BASES] + GAP + sequence[-LAST_BASES:]
