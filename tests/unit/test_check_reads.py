"""The whole-file pass: planted faults are found and named, good files pass."""

import bz2
import gzip
import json
import re

import dnaio
import numpy as np
import pysam
import pytest

from _shared.bad_reads import BadReadsError
from _shared.fastq import BLOCK, scan_fastq
from _shared.logs import UserError
from check_reads import main, scan_bam

CHEMISTRIES = {
    "kit": {
        "whitelists": ["list"],
        "solo": {
            "soloType": "CB_UMI_Simple",
            "soloCBstart": 1,
            "soloCBlen": 16,
            "soloUMIstart": 17,
            "soloUMIlen": 12,
        },
    }
}
RNG = np.random.default_rng(0)
N_READS = 300


def random_reads(length, n=N_READS):
    return ["".join(row) for row in RNG.choice([*"ACGT"], (n, length))]


ONE, TWO = random_reads(28), random_reads(90)


def fastq(sequences, *, names="r{}", comment="", quality="F"):
    return "".join(
        f"@{names.format(i)}{comment}\n{seq}\n+\n{quality * len(seq)}\n"
        for i, seq in enumerate(sequences, start=1)
    )


GOOD_1 = fastq(ONE, comment=" 1:N:0:ACGT")
GOOD_2 = fastq(TWO, comment=" 2:N:0:ACGT")


def piece(file, *, mate=0, of=1, start=0, length=None):
    part = {"mate": mate, "of": of, "start": start, "length": length}
    return {"file": str(file), **part}


def lane(files, *, barcode, cdna, **more):
    known = {"number": 1, "tag": None, "bam": None, "cell": None}
    return {
        "files": [str(file) for file in files],
        "barcode": barcode,
        "cdna": cdna,
        **known,
        **more,
    }


@pytest.fixture
def write(tmp_path):
    """Write a file, text gzipped, and return its path."""

    def of(name, content):
        data = (
            content if isinstance(content, bytes) else gzip.compress(content.encode())
        )
        (tmp_path / name).write_bytes(data)
        return tmp_path / name

    return of


@pytest.fixture
def check(tmp_path):
    """Check the lanes of a sample; return its integrity and the two quality reports."""

    def run(*lanes, ok=True, strict=False, preview_reads=None):
        inspection = {
            "sample": "s",
            "ok": ok,
            "stage": "inspect_reads",
            "reason": "" if ok else "no barcodes",
            "hint": "" if ok else "Give them.",
            "chemistry": "kit",
            "n_reads_estimated": N_READS,
            "lanes": lanes,
        }
        (tmp_path / "inspection.json").write_text(json.dumps(inspection))
        outputs = {
            name: tmp_path / f"{name}.json" for name in ("integrity", "barcode", "cdna")
        }
        main(
            sample="s",
            inspection_file=tmp_path / "inspection.json",
            chemistries=CHEMISTRIES,
            preview_reads=preview_reads,
            strict=strict,
            threads=2,
            integrity_file=outputs["integrity"],
            reports={"barcode": outputs["barcode"], "cdna": outputs["cdna"]},
        )
        return [json.loads(path.read_text()) for path in outputs.values()]

    return run


@pytest.fixture
def check_pair(write, check):
    """Check one pair given as text or bytes."""

    def run(one, two, **options):
        files = write("one.fastq.gz", one), write("two.fastq.gz", two)
        return check(
            lane(files, barcode=[piece(files[0])], cdna=[piece(files[1])]), **options
        )

    return run


def test_good_reads_are_counted_and_judged(check_pair):
    integrity, barcode, cdna = check_pair(GOOD_1, GOOD_2)
    assert integrity["ok"]
    assert integrity["stage"] == "check_reads"
    assert integrity["n_reads"] == integrity["n_judged"] == N_READS
    assert [file["lengths"] for file in integrity["files"]] == [
        {"28": 300},
        {"90": 300},
    ]
    for report, length in ((barcode, 28), (cdna, 90)):
        assert report["summary"]["total_reads"] == N_READS
        assert report["summary"]["mean_length"] == length
        assert report["summary"]["q20_reads"] == N_READS


def test_the_judged_reads_are_spread_over_the_whole_file(check_pair, monkeypatch):
    monkeypatch.setattr("check_reads.N_JUDGED", 30)
    integrity, barcode, _ = check_pair(GOOD_1, GOOD_2)
    assert integrity["n_judged"] == 30
    bases = "".join(ONE[::10])
    gc = bases.count("G") + bases.count("C")
    assert barcode["summary"]["total_gc_bases"] == gc


def bgzipped(text, folder):
    with pysam.BGZFile(str(folder / "b.gz"), "wb") as file:
        file.write(text.encode())
    return (folder / "b.gz").read_bytes()


MANY_MEMBERS = b"".join(
    gzip.compress(fastq([seq], names=f"r{i}").encode()) for i, seq in enumerate(TWO, 1)
)
GOOD = {
    "plain": GOOD_2.encode(),
    "members": MANY_MEMBERS,
    "bzip2": bz2.compress(GOOD_2.encode()),
    "padded": gzip.compress(GOOD_2.encode()) + bytes(512),
    "no_last_line_end": GOOD_2[:-1],
    "blank_lines_at_the_end": GOOD_2 + "\n\n",
    "tab": fastq(TWO, comment="\tBC:Z:ACGT"),
    "bare": fastq(TWO),
    "slash": fastq(TWO, names="r{}/2"),
    "long_comment": fastq(TWO, comment=" length=90 " + "x" * 500),
    "second_header": re.sub(r"@(r\d+)(.*\n.*\n)\+", r"@\1\2+\1", GOOD_2),
    "lower_case": fastq([seq.lower() for seq in TWO]),
    "mixed_lengths": fastq([seq[: 20 + i % 71] for i, seq in enumerate(TWO)]),
}


@pytest.mark.parametrize("two", GOOD.values(), ids=GOOD)
def test_unusual_files_are_good(check_pair, two):
    one = GOOD_1 if two is not GOOD["slash"] else fastq(ONE, names="r{}/1")
    integrity, *_ = check_pair(one, two)
    assert integrity["ok"], integrity["reason"]
    assert integrity["n_reads"] == N_READS


def test_blocks_of_gzip_are_good(check_pair, tmp_path):
    integrity, *_ = check_pair(GOOD_1, bgzipped(GOOD_2, tmp_path))
    assert integrity["n_reads"] == N_READS


def test_names_of_the_archive_pair(check_pair):
    one = fastq(ONE, names="SRR1.{}", comment=" 1 length=28")
    two = fastq(TWO, names="SRR1.{}", comment=" 1 length=90")
    assert check_pair(one, two)[0]["ok"]


def test_names_longer_than_those_compared_are_read(check_pair):
    names = "{}" + "x" * 1000
    one, two = fastq(ONE, names=names), fastq(TWO, names=names)
    assert check_pair(one, two)[0]["ok"]


GZ_2 = gzip.compress(GOOD_2.encode(), mtime=0)


def flipped(data, place):
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def line(number, text, *, of=GOOD_2):
    lines = of.split("\n")
    lines[number - 1 : number] = text
    return "\n".join(lines)


BAD = {
    "truncated": (GZ_2[:-900], r"two.fastq.gz is damaged: .*ended before"),
    "without_checksum": (GZ_2[:-8], r"is damaged: .*ended before"),
    "checksum": (flipped(GZ_2, -6), r"is damaged: CRC check failed"),
    "length": (flipped(GZ_2, -2), r"is damaged: Incorrect length"),
    "flipped": (flipped(GZ_2, len(GZ_2) // 2), r"two.fastq.gz is damaged"),
    "flipped_early": (flipped(GZ_2, 40), r"two.fastq.gz is damaged"),
    "garbage": (
        GZ_2 + b"<html>403 Forbidden</html>",
        r"is damaged: Not a gzipped file",
    ),
    "page": ("<html>\n<body>404\n</body>\n</html>", r"read 1 has no '@'"),
    "binary": (bytes(range(256)) * 90, r"read 1 has no '@'"),
    "fasta": (re.sub(r"@(.*\n.*\n)\+\n.*\n", r">\1", GOOD_2), r"is a FASTA file"),
    "blank": (line(201, ["", GOOD_2.split("\n")[200]]), r"damaged: line 201 is blank"),
    "header": (line(201, ["r51"]), r"name line of read 51 has no '@'"),
    "plus": (line(203, ["-"]), r"third line of read 51 has no '\+'"),
    "lost_line": (line(202, []), r"read 51 "),
    "short_quality": (line(204, ["F" * 45]), r"read 51 has 90 bases and 45 qualities"),
    "blank_in_quality": (line(204, ["F" * 89 + " "]), r"read 51 has characters that"),
    "zeros": (line(204, ["F" * 89 + "\0"]), r"read 51 has characters that"),
    "no_ascii": (line(204, ["F" * 89 + "\x7f"]), r"read 51 has characters that"),
    "windows": (GOOD_2.replace("\n", "\r\n"), r"has Windows line ends, .* in read 1$"),
    "windows_later": (line(202, [TWO[50] + "\r"]), r"Windows line ends, .* read 51$"),
    "ends_within": (GOOD_2[:-100], r"two.fastq.gz is damaged: it ends within read 300"),
    "ends_in_quality": (GOOD_2[:-20], r"read 300 has 90 bases and 71 qualities"),
    "rna": (GOOD_2.replace(TWO[50], TWO[50].replace("T", "U")), r"read 51 has 'U'"),
    "letters": (line(202, ["<>" * 45]), r"read 51 has '<' where bases belong"),
    "fewer": (fastq(TWO[:-1]), r"two\S+ has fewer reads than \S+one\S+: 299 and 300"),
    "more": (fastq([*TWO, "ACGT"]), r"one\S+ has fewer reads than \S+two\S+: 300 and"),
    "shifted": (fastq(TWO, names="x{}"), r"do not pair: read 1 is r1 in .* and x1 in"),
    "two_reads_swapped": (
        fastq([*TWO[:11], TWO[12], TWO[11], *TWO[13:]])
        .replace("@r12\n", "@x\n")
        .replace("@r13\n", "@r12\n")
        .replace("@x\n", "@r13\n"),
        r"do not pair: read 12 is r12 in .* and r13 in",
    ),
    "twice": (GOOD_2 * 2, r"same reads twice: with read 301 the first ones"),
    "empty_read": (
        fastq([*TWO[:50], "", *TWO[51:]]),
        r"two.fastq.gz has 1 empty reads",
    ),
    "phred_64": (fastq(TWO, quality="Bh"[0]).replace("BBBB\n", "hhhh\n"), r"Phred\+64"),
}


@pytest.mark.parametrize(("two", "reason"), BAD.values(), ids=BAD)
def test_a_fault_sets_the_sample_aside(check_pair, two, reason):
    integrity, barcode, cdna = check_pair(GOOD_1, two)
    assert not integrity["ok"]
    assert re.search(reason, integrity["reason"])
    assert integrity["stage"] == "check_reads"
    assert integrity["hint"].endswith(".")
    assert not integrity["reason"].endswith(".")
    assert integrity["n_reads"] == 0
    assert barcode == cdna == {}


def test_barcode_reads_that_are_too_short_are_lost_or_too_many(check_pair):
    few = fastq([ONE[0][:20], *ONE[1:]])
    integrity, *_ = check_pair(few, GOOD_2)
    assert integrity["ok"]
    (warning,) = integrity["warnings"]
    assert "1 of 300 barcode reads" in warning
    assert "shorter than the 28 nt" in warning
    many = fastq([*(seq[:20] for seq in ONE[:10]), *ONE[10:]])
    integrity, *_ = check_pair(many, GOOD_2)
    assert integrity["reason"].startswith("10 of 300 barcode reads")


def test_several_bad_files_are_told_of(check_pair):
    integrity, *_ = check_pair(gzip.compress(GOOD_1.encode())[:-900], GZ_2[:-900])
    assert "one.fastq.gz is damaged" in integrity["reason"]
    assert "1 more of 2 files" in integrity["reason"]


def test_strict_turns_a_fault_into_an_error(check_pair):
    with pytest.raises(UserError, match=r"^sample s: .*two.* is damaged.*\. Compare"):
        check_pair(GOOD_1, GZ_2[:-900], strict=True)


def test_nothing_is_read_of_a_sample_set_aside_before(check):
    integrity, barcode, cdna = check(ok=False)
    assert integrity == {
        "sample": "s",
        "ok": False,
        "stage": "inspect_reads",
        "reason": "no barcodes",
        "hint": "Give them.",
        "warnings": [],
        "preview_reads": None,
        "n_reads": 0,
        "n_judged": 0,
        "files": [],
    }
    assert barcode == cdna == {}


def test_a_preview_reads_an_equal_share_of_every_lane(write, check):
    # what comes after is not looked at
    cut = gzip.compress(fastq(TWO * 20).encode())[:-900]
    lanes = []
    for number in (1, 2):
        files = write(f"{number}_1", GOOD_1), write(f"{number}_2", cut)
        lanes.append(lane(files, barcode=[piece(files[0])], cdna=[piece(files[1])]))
    integrity, _, cdna = check(*lanes, preview_reads=20)
    assert integrity["ok"]
    assert integrity["preview_reads"] == 20
    assert integrity["n_reads"] == cdna["summary"]["total_reads"] == 20


def test_interleaved_reads_are_told_apart(write, check):
    both = [text for pair in zip(ONE, TWO, strict=True) for text in pair]
    text = "".join(
        f"@r{i // 2}\n{seq}\n+\n{'F' * len(seq)}\n" for i, seq in enumerate(both)
    )
    file = write("both", text)
    one, two = (piece(file, mate=mate, of=2) for mate in (0, 1))
    integrity, barcode, _ = check(lane([file], barcode=[one], cdna=[two]))
    assert [entry["lengths"] for entry in integrity["files"]] == [
        {"28": N_READS},
        {"90": N_READS},
    ]
    assert barcode["summary"]["mean_length"] == 28
    file = write("both", text[: text.rindex("@")])
    integrity, *_ = check(lane([file], barcode=[one], cdna=[two]))
    assert "its last interleaved read lacks a mate" in integrity["reason"]
    file = write("both", text.replace("@r7\n" + TWO[7], "@r8\n" + TWO[7]))
    integrity, *_ = check(lane([file], barcode=[one], cdna=[two]))
    assert "do not pair: read 8 is r7" in integrity["reason"]


def test_a_barcode_read_of_pieces_is_judged_as_joined(write, check):
    files = [write("one", GOOD_1), write("two", GOOD_2), write("three", GOOD_1)]
    barcode = [
        piece(files[0], start=4, length=8),
        {"literal": "ACGT"},
        piece(files[2], length=16),
    ]
    whole = lane(files, barcode=barcode, cdna=[piece(files[1])])
    integrity, judged, _ = check(whole)
    assert integrity["ok"]
    assert judged["summary"]["mean_length"] == 24
    bases = "".join(seq[4:12] + seq[:16] for seq in ONE)
    gc = bases.count("G") + bases.count("C")
    assert judged["summary"]["total_gc_bases"] == gc
    # a file that nothing is cut from has to pair, too
    files[2] = write("three", fastq(ONE[:-1]))
    whole = lane(files, barcode=[piece(files[0])], cdna=[piece(files[1])])
    assert "three has fewer reads" in check(whole)[0]["reason"]


def test_mates_of_a_plate_are_judged_as_cdna(write, check):
    files = write("one", fastq(TWO)), write("two", fastq(TWO))
    integrity, barcode, cdna = check(
        lane(files, barcode=[], cdna=[piece(file) for file in files], cell="A01")
    )
    assert integrity["n_reads"] == N_READS
    assert barcode == {}
    assert cdna["summary"]["total_reads"] == 2 * N_READS


def write_bam(path, *, tags=("CR", "UR", "CY", "UY")):
    header = pysam.AlignmentHeader.from_dict({"SQ": [{"SN": "chr1", "LN": 1000}]})
    with pysam.AlignmentFile(path, "wb", header=header) as out:
        for i, (one, two) in enumerate(zip(ONE, TWO, strict=True)):
            for flag in (16, 256 + 16) if i % 2 else (4,):
                read = pysam.AlignedSegment(header)
                read.query_name, read.flag, read.query_sequence = f"r{i}", flag, two
                read.query_qualities_str = "#" + "F" * 89
                values = {
                    "CR": one[:16],
                    "UR": one[16:],
                    "CY": "F" * 16,
                    "UY": "F" * 12,
                }
                for tag in tags:
                    read.set_tag(tag, values[tag])
                if flag == 16:
                    read.reference_id, read.reference_start = 0, 0
                    read.cigarstring = "90M"
                out.write(read)
    return path


def test_a_bam_is_read_as_it_is_counted(tmp_path, check):
    file = str(write_bam(tmp_path / "x.bam"))
    integrity, barcode, cdna = check(lane([file], barcode=[], cdna=[], bam=file))
    assert integrity["ok"]
    assert integrity["n_reads"] == N_READS
    assert barcode["summary"]["mean_length"] == 28
    assert cdna["summary"]["total_reads"] == N_READS


def test_reads_of_a_bam_are_turned_back(tmp_path):
    _, cdna = scan_bam(write_bam(tmp_path / "x.bam"), every=1, n_reads=2)
    first, second = (record.split(b"\n") for record in cdna.sample)
    assert first[3] == b"#" + b"F" * 89
    complement = TWO[1][::-1].translate(str.maketrans("ACGT", "TGCA"))
    assert second[1:] == [complement.encode(), b"+", b"F" * 89 + b"#", b""]


@pytest.mark.parametrize(
    ("tags", "cut", "reason"),
    [
        (("CR", "UR", "CY"), None, r"x.bam: read 1 has no tag UY"),
        (("CR", "UR", "CY", "UY"), -28, r"x.bam is damaged: .*EOF"),
        (("CR", "UR", "CY", "UY"), -4000, r"x.bam is damaged"),
    ],
    ids=["tag", "no_end", "truncated"],
)
def test_a_bad_bam_is_found(tmp_path, check, tags, cut, reason):
    path = write_bam(tmp_path / "x.bam", tags=tags)
    path.write_bytes(path.read_bytes()[:cut])
    integrity, *_ = check(lane([path], barcode=[], cdna=[], bam=str(path)))
    assert re.search(reason, integrity["reason"])


@pytest.mark.parametrize("seed", range(8))
def test_the_pass_sees_what_dnaio_sees(tmp_path, seed):
    rng = np.random.default_rng(seed)
    longest = rng.choice([3, 40, 400])
    names = [
        "".join(rng.choice([*"abc0123/:."], rng.integers(1, 60)))
        + rng.choice(["", " 1:N:0", "\tx y"])
        for _ in range(rng.integers(1, 5000))
    ]
    with dnaio.open(tmp_path / "x.fastq.gz", mode="w", open_threads=0) as out:
        for name in names:
            length = rng.integers(1, longest + 1)
            sequence = "".join(rng.choice([*"ACGTN"], length))
            quality = "".join(map(chr, rng.integers(33, 127, length)))
            out.write(dnaio.SequenceRecord(name, sequence, quality))
    every = int(rng.integers(1, 50))
    (found,) = scan_fastq(tmp_path / "x.fastq.gz", every=every)
    with dnaio.open(tmp_path / "x.fastq.gz", open_threads=0) as reads:
        records = list(reads)
    assert found.n_reads == len(records)
    lengths = [len(record) for record in records]
    assert found.lengths == {n: lengths.count(n) for n in set(lengths)}
    assert found.sample == [record.fastq_bytes() for record in records[::every]]


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_byte_that_dnaio_refuses_is_refused(tmp_path, seed):
    rng = np.random.default_rng(seed)
    text = bytearray((GOOD_2 * (1 + BLOCK // len(GOOD_2) * (seed % 2))).encode())
    place = rng.integers(len(text))
    text[place] = rng.choice([*b"\n@+ A\x00\xff"])
    (tmp_path / "x.fastq").write_bytes(text)
    try:
        with dnaio.open(tmp_path / "x.fastq", open_threads=0) as reads:
            for _ in reads:
                pass
    except (dnaio.FileFormatError, UnicodeDecodeError, ValueError):
        with pytest.raises(BadReadsError):
            scan_fastq(tmp_path / "x.fastq")


@pytest.mark.parametrize("place", [0, 1, 4999, 9998, 9999])
def test_one_other_name_among_many_is_seen(tmp_path, place):
    names = [f"lane:1:{n}" for n in range(10_000)]
    digests = set()
    for change in (None, place):
        if change is not None:
            names[place] = "lane:2:7"
        text = "".join(f"@{name} x\nA\n+\nF\n" for name in names)
        (tmp_path / "x.fastq").write_text(text)
        digests.add(scan_fastq(tmp_path / "x.fastq")[0].names)
    assert len(digests) == 2
