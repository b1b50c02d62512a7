"""The reads of a sample as FASTQ streams, whatever files they come in.

A lane (of inspection.json) says of which pieces of which files its reads are made. What
is one whole file is passed on unread, the rest goes read by read.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import batched, chain, compress, islice, repeat
from pathlib import Path
from typing import IO

import dnaio
import pysam

from _shared.fastq import BLOCK, DAMAGED, open_reads
from _shared.logs import UserError

# reads that are joined into one block of text
BATCH = 4096
SECONDARY_OR_SUPPLEMENTARY = 0x900


def reads_per_lane(preview_reads: int | None, n_lanes: int) -> int | None:
    """Return how many reads of each lane a preview takes; None: all of them."""
    return max(1, preview_reads // n_lanes) if preview_reads else None


def is_whole_file(pieces: list[dict], lane: dict) -> bool:
    """Tell whether a stream of a lane is a file as it is."""
    if lane["bam"] or lane["tag"] or len(pieces) != 1 or "file" not in pieces[0]:
        return False
    piece = pieces[0]
    return piece["of"] == 1 and piece["start"] == 0 and piece["length"] is None


def text_of_file(file: str, n_reads: int | None = None) -> Iterator[bytes]:
    """Return the text of a FASTQ file in blocks, ending in one line end.

    Parameters
    ----------
    file
        Compressed or not; records of four lines.
    n_reads
        How many records from its head; None: all.
    """
    lines_left = None if n_reads is None else 4 * n_reads
    # line ends are held back: STAR stops at a blank line, also between two files
    held, any_text = b"", False
    with open_reads(Path(file)) as source:
        while block := source.read(BLOCK):
            if lines_left is not None:
                block, lines_left = first_lines(block, lines_left)
            stripped = block.rstrip(b"\n")
            if stripped:
                yield held + stripped
                held, any_text = b"", True
            held += block[len(stripped) :]
            if lines_left == 0:
                break
    if any_text:
        yield b"\n"


def first_lines(block: bytes, n_lines: int) -> tuple[bytes, int]:
    """Return the block up to so many line ends, and how many are left to come."""
    n_here = block.count(b"\n")
    if n_here < n_lines:
        return block, n_lines - n_here
    end = 0
    for _ in range(n_lines):
        end = block.index(b"\n", end) + 1
    return block[:end], 0


def reads_of_piece(piece: dict) -> Iterator[dnaio.SequenceRecord]:
    """Return the reads that a piece is cut from, one mate of an interleaved file."""
    with open_reads(Path(piece["file"])) as text, dnaio.open(text) as reads:
        yield from islice(reads, piece["mate"], None, piece["of"])


def cut(piece: dict, read: dnaio.SequenceRecord) -> tuple[str, str]:
    """Return sequence and qualities of a piece of a read."""
    start, length = piece["start"], piece["length"]
    part = slice(start, None if length is None else start + length)
    return read.sequence[part], read.qualities[part]


def joined_reads(pieces: list[dict]) -> Iterator[dnaio.SequenceRecord]:
    """Return reads made of pieces of the reads of one or more files."""
    from_files = [piece for piece in pieces if "file" in piece]
    for reads in zip(*map(reads_of_piece, from_files), strict=True):
        of_file = iter(reads)
        parts = [
            cut(piece, next(of_file))
            if "file" in piece
            else (piece["literal"], "I" * len(piece["literal"]))
            for piece in pieces
        ]
        joined = map("".join, zip(*parts, strict=True))
        yield dnaio.SequenceRecord(reads[0].name, *joined)


def has_tag(sequence: str, tag: dict) -> bool:
    """Tell whether a read has the tag at its place, but for a few mismatches."""
    start, wanted = tag["start"], tag["sequence"]
    if sequence.startswith(wanted, start):
        return True
    found = sequence[start : start + len(wanted)]
    differing = sum(map(str.__ne__, found, wanted))
    return len(found) == len(wanted) and differing <= tag["mismatches"]


def restored_reads(file: str, *, barcode: bool) -> Iterator[dnaio.SequenceRecord]:
    """Return the reads of a 10x BAM as the sequencer wrote them.

    Primary records only, and of mates the second (the first is the barcode read). The
    barcode read is the raw barcode and UMI (tags CR UR, qualities CY UY); the cDNA read
    is turned back where it was aligned to the reverse strand.

    Raises
    ------
    UserError
        If a read lacks one of the tags.
    """
    with pysam.AlignmentFile(file, check_sq=False) as reads:
        for read in reads.fetch(until_eof=True):
            if read.flag & SECONDARY_OR_SUPPLEMENTARY or read.is_read1:
                continue
            if not barcode:
                qualities = pysam.qualities_to_qualitystring(
                    read.get_forward_qualities()
                )
                yield dnaio.SequenceRecord(
                    read.query_name, read.get_forward_sequence(), qualities
                )
                continue
            try:
                sequence = read.get_tag("CR") + read.get_tag("UR")
                qualities = read.get_tag("CY") + read.get_tag("UY")
            except KeyError as error:
                raise UserError(
                    f"{file}: read {read.query_name} has no barcode ({error.args[0]}); "
                    "give the BAM as Cell Ranger wrote it, or the FASTQ files."
                ) from None
            yield dnaio.SequenceRecord(read.query_name, sequence, qualities)


class Stream:
    """One of a lane's reads as FASTQ text, in blocks.

    `pieces` of the lane are joined; of a BAM the barcode or the cDNA read is taken.
    `left_out` counts the reads without the lane's tag as they pass.
    """

    def __init__(
        self,
        lane: dict,
        pieces: list[dict],
        *,
        is_barcode: bool,
        n_reads: int | None = None,
    ) -> None:
        self.lane, self.pieces, self.is_barcode = lane, pieces, is_barcode
        self.n_reads, self.left_out = n_reads, 0

    def _kept(self) -> Iterator[bool]:
        tag = self.lane["tag"]
        for read in reads_of_piece(tag) if tag else repeat(None):
            found = read is None or has_tag(read.sequence, tag)
            self.left_out += not found
            yield found

    def _records(self) -> Iterator[dnaio.SequenceRecord]:
        if self.lane["bam"]:
            reads = restored_reads(self.lane["bam"], barcode=self.is_barcode)
        else:
            reads = joined_reads(self.pieces)
        return compress(islice(reads, self.n_reads), self._kept())

    def __iter__(self) -> Iterator[bytes]:
        """Return the text in blocks that end anywhere, a line end at the very end.

        Raises
        ------
        UserError
            If a file cannot be read to its end.
        """
        try:
            if is_whole_file(self.pieces, self.lane):
                yield from text_of_file(self.pieces[0]["file"], self.n_reads)
            else:
                for records in batched(self._records(), BATCH):
                    yield b"".join(record.fastq_bytes() for record in records)
        except (dnaio.FileFormatError, *DAMAGED) as error:
            pieces = [*self.pieces, self.lane["tag"] or {}]
            named = {piece["file"]: None for piece in pieces if "file" in piece}
            told = " ".join(str(error).split()).rstrip(".")
            raise UserError(
                f"{' and '.join(named) or self.lane['bam']} could not be read to the "
                f"end ({told}); it changed after it was checked, or the disk fails: "
                "run again."
            ) from None


def streams_of_lane(lane: dict, *, n_reads: int | None = None) -> list[Stream]:
    """Return a lane's streams in STAR's order: one or two of cDNA, then the barcode."""
    if lane["bam"]:
        reads = [([], False), ([], True)]
    else:
        reads = [([piece], False) for piece in lane["cdna"]]
        reads += [(lane["barcode"], True)] if lane["barcode"] else []
    return [
        Stream(lane, pieces, is_barcode=is_barcode, n_reads=n_reads)
        for pieces, is_barcode in reads
    ]


def in_cells(lanes: list[dict]) -> list[tuple[str, list[dict]]]:
    """Return the lanes of each cell of a plate, cells in the order of the sheet."""
    cells: dict[str, list[dict]] = {}
    for lane in lanes:
        cells.setdefault(lane["cell"], []).append(lane)
    return list(cells.items())


def sample_streams(
    lanes: list[dict], *, preview_reads: int | None, by_cell: bool
) -> list[list[Iterator[bytes] | Stream]]:
    """Return for each of STAR's input reads what is written into it, part by part.

    Parameters
    ----------
    lanes
        Of inspection.json.
    preview_reads
        How many reads of the sample are taken, equal shares from the head of each lane.
    by_cell
        Whether a line `FILE n` goes before the reads of every cell but the first, which
        is how STAR tells the files, and so the cells, of a plate apart.

    Raises
    ------
    UserError
        If some lanes have more reads per fragment than others.
    """
    n_reads = reads_per_lane(preview_reads, len(lanes))
    groups = in_cells(lanes) if by_cell else [(None, lanes)]
    parts: list[list] = []
    for number, (_, of_group) in enumerate(groups):
        for lane in of_group:
            streams = streams_of_lane(lane, n_reads=n_reads)
            parts = parts or [[] for _ in streams]
            if len(streams) != len(parts):
                raise UserError(
                    f"{' and '.join(lane['files'])}: {len(streams)} reads a fragment, "
                    f"but {len(parts)} in the lanes before; make two samples of them."
                )
            for target, stream in zip(parts, streams, strict=True):
                if by_cell and number and lane is of_group[0]:
                    target.append([b"FILE %d\n" % number])
                target.append(stream)
    return parts


class Feeder(threading.Thread):
    """Writes the parts of a stream into a pipe.

    After an error the pipe stays open until its reader has been ended: a reader never
    takes a failure for the end of the reads.
    """

    def __init__(
        self, parts: list, *, pipe: int, end_reader: Callable[[], None]
    ) -> None:
        super().__init__(daemon=True)
        self.parts, self.pipe, self.end_reader = parts, pipe, end_reader
        self.error: Exception | None = None

    def run(self) -> None:
        """Write until the end of the parts, or until the reader is gone."""
        try:
            for block in chain.from_iterable(self.parts):
                rest = memoryview(block)
                while rest:
                    rest = rest[os.write(self.pipe, rest) :]
        except BrokenPipeError:
            # why the reader ended is for its exit code to tell
            pass
        except Exception as error:
            self.error = error
            self.end_reader()
        finally:
            os.close(self.pipe)


def run_fed(
    command_for: Callable[[list[str]], list[str]],
    parts: list[list],
    *,
    stdout: IO,
    stderr: IO,
    env: dict[str, str] | None = None,
) -> int:
    """Run a command that reads each of the streams from a path of its own.

    The streams are pipes that the command inherits, so there are no files on disk and
    nothing waits for a reader that never came.

    Returns
    -------
    int
        Exit code; negative: the signal that ended the command.

    Raises
    ------
    UserError
        If a stream could not be read to its end; the command is ended first.
    """
    pipes = [os.pipe() for _ in parts]
    readers = [reader for reader, _ in pipes]
    process = subprocess.Popen(
        command_for([f"/dev/fd/{reader}" for reader in readers]),
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=env,
        pass_fds=readers,
        # STAR may be the child of a shell script that picks the build for the processor
        start_new_session=True,
    )

    def end_process() -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    for reader in readers:
        os.close(reader)
    feeders = [
        Feeder(part, pipe=writer, end_reader=end_process)
        for part, (_, writer) in zip(parts, pipes, strict=True)
    ]
    try:
        for feeder in feeders:
            feeder.start()
        code = process.wait()
    finally:
        end_process()
    for feeder in feeders:
        feeder.join()
        if feeder.error:
            raise feeder.error
    return code
