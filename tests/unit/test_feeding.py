"""Streams of reads against the reads that were written, whatever the layout."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import dnaio
import pysam
import pytest

from _shared.fastq import BLOCK
from _shared.feeding import (
    first_lines,
    has_tag,
    in_cells,
    reads_per_lane,
    run_fed,
    sample_streams,
    streams_of_lane,
    text_of_file,
)
from _shared.logs import UserError

READS = [(f"r{n}", "ACGTTGCAAC" * 3, "FFFFFFFF:," * 3) for n in range(5)]


def fastq(reads):
    return "".join(f"@{n}\n{s}\n+\n{q}\n" for n, s, q in reads).encode()


def written(path, reads, *, end=b""):
    text = fastq(reads) + end
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return str(path)


def piece(file, mate=0, of=1, start=0, length=None):
    return {"file": file, "mate": mate, "of": of, "start": start, "length": length}


def lane(cdna=(), barcode=(), tag=None, bam=None, cell=None):
    given = [p["file"] for p in [*cdna, *barcode] if "file" in p]
    return {
        "number": 1,
        "files": given or [bam],
        "barcode": list(barcode),
        "cdna": list(cdna),
        "tag": tag,
        "bam": bam,
        "cell": cell,
    }


def text_of(parts):
    return b"".join(block for part in parts for block in part).decode()


def sequences(text):
    return text.splitlines()[1::4]


@pytest.mark.parametrize("name", ["a.fastq", "a.fastq.gz", "a.fq"])
def test_a_whole_file_is_passed_on_as_it_is(tmp_path, name):
    file = written(tmp_path / name, READS)
    assert b"".join(text_of_file(file)) == fastq(READS)


@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n\n"])
def test_a_text_ends_in_one_line_end(tmp_path, end):
    path = tmp_path / "a.fastq"
    path.write_bytes(fastq(READS)[:-1] + end)
    assert b"".join(text_of_file(str(path))) == fastq(READS)


def test_an_empty_file_is_an_empty_text(tmp_path):
    assert list(text_of_file(written(tmp_path / "a.fastq.gz", []))) == []


def test_a_text_longer_than_a_block_is_whole(tmp_path):
    reads = [(f"r{n}", "ACGT" * 25, "F" * 100) for n in range(2 * BLOCK // 200)]
    file = written(tmp_path / "a.fastq.gz", reads)
    assert b"".join(text_of_file(file)) == fastq(reads)
    head = b"".join(text_of_file(file, n_reads=len(reads) - 1))
    assert head == fastq(reads[:-1])


def test_the_head_of_a_file_ends_with_a_record(tmp_path):
    file = written(tmp_path / "a.fastq.gz", READS)
    assert b"".join(text_of_file(file, n_reads=2)) == fastq(READS[:2])
    assert b"".join(text_of_file(file, n_reads=99)) == fastq(READS)
    assert first_lines(b"a\nb\nc", 2) == (b"a\nb\n", 0)
    assert first_lines(b"a\nb\nc", 3) == (b"a\nb\nc", 1)


def test_a_preview_takes_equal_shares_of_the_lanes():
    assert reads_per_lane(None, 3) is None
    assert reads_per_lane(10, 3) == 3
    assert reads_per_lane(2, 3) == 1


def test_the_barcode_read_comes_last(tmp_path):
    first = written(tmp_path / "a_1.fq", [("r", "AAAA", "FFFF")])
    second = written(tmp_path / "a_2.fq", [("r", "CCCC", "FFFF")])
    streams = streams_of_lane(lane(cdna=[piece(second)], barcode=[piece(first)]))
    assert [sequences(text_of([stream])) for stream in streams] == [["CCCC"], ["AAAA"]]


def test_pieces_of_several_files_are_joined(tmp_path):
    index = written(tmp_path / "i.fq", [("r", "AACCGG", "FFFF,,")])
    first = written(tmp_path / "a_1.fq", [("r", "TTTTACGT", "::::FFFF")])
    barcode = [
        piece(index, start=0, length=4),
        {"literal": "GG"},
        piece(first, start=4),
    ]
    *_, stream = streams_of_lane(lane(cdna=[piece(first)], barcode=barcode))
    assert text_of([stream]) == "@r\nAACCGGACGT\n+\nFFFFIIFFFF\n"


def test_mates_of_an_interleaved_file_are_taken_apart(tmp_path):
    reads = [(f"r{n}", base * 4, "FFFF") for n in range(3) for base in "ACG"]
    file = written(tmp_path / "a.fq.gz", reads)
    streams = streams_of_lane(
        lane(cdna=[piece(file, mate=2, of=3)], barcode=[piece(file, mate=0, of=3)]),
        n_reads=2,
    )
    assert [sequences(text_of([stream])) for stream in streams] == [
        ["GGGG", "GGGG"],
        ["AAAA", "AAAA"],
    ]


TAG = {"start": 0, "sequence": "ATTGCGCAATG", "mismatches": 1}


@pytest.mark.parametrize(
    ("read", "found"),
    [
        ("ATTGCGCAATGCCC", True),
        ("ATTGCGCAATCCCC", True),
        ("TTTGCGCAATCCCC", False),
        ("ATTGCGCAA", False),
        ("NATTGCGCAATG", False),
    ],
)
def test_a_tag_may_have_a_few_mismatches(read, found):
    assert has_tag(read, TAG) is found


def test_reads_without_the_tag_are_left_out_of_both_streams_and_counted(tmp_path):
    reads = [
        ("r1", "ATTGCGCAATGAACCGGTTGGGACGT", "F" * 26),
        ("r2", "GGGGGGGGGGGAACCGGTTGGGACGT", "F" * 26),
        ("r3", "ATTGCGCAATGTTTTTTTTGGGCCCC", "F" * 26),
    ]
    file = written(tmp_path / "a.fq", reads)
    of_plate = lane(
        cdna=[piece(file, start=22)],
        barcode=[{"literal": "AC"}, piece(file, start=11, length=8)],
        tag={**piece(file), **TAG},
    )
    cdna, barcode = streams_of_lane(of_plate)
    assert sequences(text_of([cdna])) == ["ACGT", "CCCC"]
    assert sequences(text_of([barcode])) == ["ACAACCGGTT", "ACTTTTTTTT"]
    assert cdna.left_out == barcode.left_out == 1


def write_bam(path, *, sort):
    """Write three reads of a 10x BAM, two of them aligned, with a secondary record."""
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "1", "LN": 1000}]}
    rows = [
        # name, flag, position, sequence and qualities as in the BAM
        ("r1", 16, 500, "AACG", "ABCD"),
        ("r2", 0, 10, "AACG", "ABCD"),
        ("r2", 256, 700, "AACG", "ABCD"),
        ("r3", 4, -1, "GGGT", "EFGH"),
    ]
    if sort:
        rows.sort(key=lambda row: (row[2] < 0, row[2]))
    with pysam.AlignmentFile(path, "wb", header=header) as bam:
        for name, flag, position, sequence, quality in rows:
            read = pysam.AlignedSegment(bam.header)
            read.query_name, read.flag = name, flag
            read.query_sequence = sequence
            read.query_qualities = pysam.qualitystring_to_array(quality)
            if position >= 0:
                read.reference_id, read.reference_start = 0, position
                read.cigarstring = "4M"
            read.set_tags([("CR", "AC"), ("CY", "FF"), ("UR", "GTT"), ("UY", ":::")])
            bam.write(read)
    return str(path)


@pytest.mark.parametrize("sort", [False, True])
def test_reads_of_a_bam_are_restored_once_each(tmp_path, sort):
    file = write_bam(tmp_path / "a.bam", sort=sort)
    cdna, barcode = (text_of([s]) for s in streams_of_lane(lane(bam=file)))
    names = cdna.splitlines()[0::4]
    assert names == barcode.splitlines()[0::4]
    assert sorted(names) == ["@r1", "@r2", "@r3"]
    found = dict(zip(names, sequences(cdna), strict=True))
    assert found == {"@r1": "CGTT", "@r2": "AACG", "@r3": "GGGT"}
    qualities = dict(zip(names, cdna.splitlines()[3::4], strict=True))
    assert qualities == {"@r1": "DCBA", "@r2": "ABCD", "@r3": "EFGH"}
    assert set(sequences(barcode)) == {"ACGTT"}
    assert set(barcode.splitlines()[3::4]) == {"FF:::"}


def test_a_bam_without_raw_barcodes_is_refused_by_the_tag(tmp_path):
    with pysam.AlignmentFile(
        tmp_path / "a.bam", "wb", header={"HD": {"VN": "1.6"}}
    ) as bam:
        read = pysam.AlignedSegment(bam.header)
        read.query_name, read.flag, read.query_sequence = "r1", 4, "ACGT"
        bam.write(read)
    *_, barcode = streams_of_lane(lane(bam=str(tmp_path / "a.bam")))
    with pytest.raises(UserError, match=r"read r1 has no barcode .*'CR'"):
        text_of([barcode])


REAL = Path(os.environ.get("REAL_DATA", "missing")) / "reads-10x-cellranger-tiny"


@pytest.mark.skipif(not REAL.exists(), reason="REAL_DATA names no folder with the set")
def test_a_cell_ranger_bam_gives_back_the_fastq_files():
    files = [str(REAL / f"tiny120_S1_L001_R{mate}_001.fastq.gz") for mate in (2, 1)]
    for file, stream in zip(
        files, streams_of_lane(lane(bam=str(REAL / "cr12.bam"))), strict=True
    ):
        lines = text_of([stream]).splitlines()
        records = zip(lines[0::4], lines[1::4], lines[3::4], strict=True)
        restored = {name[1:].split()[0]: (s, q) for name, s, q in records}
        with dnaio.open(file, open_threads=0) as reads:
            expected = {r.id: (r.sequence, r.qualities) for r in reads}
        assert len(expected) == 5000
        length = len(next(iter(restored.values()))[0])
        assert restored == {
            name: (s[:length], q[:length]) for name, (s, q) in expected.items()
        }


def test_lanes_are_one_stream_and_cells_are_told_apart(tmp_path):
    files = [written(tmp_path / f"{n}.fq", READS[n : n + 1]) for n in range(4)]
    lanes = [
        lane(cdna=[piece(file)], cell=cell)
        for file, cell in zip(files, ["A1", "B1", "A1", "C1"], strict=True)
    ]
    assert [cell for cell, _ in in_cells(lanes)] == ["A1", "B1", "C1"]
    (stream,) = sample_streams(lanes, preview_reads=None, by_cell=False)
    assert text_of(stream) == fastq(READS[:4]).decode()
    (stream,) = sample_streams(lanes, preview_reads=None, by_cell=True)
    order = [line for line in text_of(stream).splitlines() if line[:1] in "@F"]
    headers = [line for line in order if line.startswith(("@", "FILE"))]
    assert headers == ["@r0", "@r2", "FILE 1", "@r1", "FILE 2", "@r3"]


def test_lanes_with_another_number_of_reads_are_refused(tmp_path):
    file = written(tmp_path / "a.fq", READS)
    single, paired = (lane(cdna=[piece(file)] * n) for n in (1, 2))
    with pytest.raises(UserError, match="2 reads a fragment, but 1 in the lanes"):
        sample_streams([single, paired], preview_reads=None, by_cell=False)


def echo(paths):
    """Return a command that prints what it reads from each path, one by one."""
    code = "import sys; [print(open(p).read(), end='') for p in sys.argv[1:]]"
    return [sys.executable, "-c", code, *paths]


def fed(parts, tmp_path, command_for=echo):
    with (tmp_path / "out").open("w") as out:
        return run_fed(command_for, parts, stdout=out, stderr=subprocess.DEVNULL)


def test_a_command_reads_every_stream_to_its_end(tmp_path):
    big = b"x" * (1 << 18)
    assert fed([[[b"one\n"], [b"two\n"]], [[big]]], tmp_path) == 0
    assert (tmp_path / "out").read_bytes() == b"one\ntwo\n" + big


def test_a_command_that_ends_early_is_no_failure_of_the_feeder(tmp_path):
    endless = iter(lambda: b"x" * BLOCK, None)
    code = fed(
        [[endless]], tmp_path, lambda _: [sys.executable, "-c", "raise SystemExit(3)"]
    )
    assert code == 3


def test_a_failing_feeder_ends_the_command_before_its_stream_ends(tmp_path):
    def broken():
        yield b"one\n"
        raise UserError("a.fq could not be read")

    def reader(paths):
        code = (
            "import sys, pathlib; open(sys.argv[1]).read();"
            f"pathlib.Path({str(tmp_path / 'took_it_for_the_end')!r}).touch()"
        )
        return ["/bin/sh", "-c", '"$@"; exit', "sh", sys.executable, "-c", code, *paths]

    with pytest.raises(UserError, match="could not be read"):
        fed([[broken()]], tmp_path, reader)
    assert not (tmp_path / "took_it_for_the_end").exists()


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "a.fastq.gz"
    whole = gzip.compress(fastq(READS * 100))
    path.write_bytes(whole[: len(whole) // 2])
    (stream,) = streams_of_lane(lane(cdna=[piece(str(path))]))
    with pytest.raises(UserError, match=r"a\.fastq\.gz could not be read to the end"):
        text_of([stream])
