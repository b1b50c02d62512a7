"""What the first reads of a file tell: chemistry, roles, faults, from content alone."""

import gzip
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pysam
import pytest
import yaml

from _shared.barcodes import load_packed
from _shared.chemistries import adapter_of, adapter_starts, barcode_spans, umi_span
from _shared.detection import find_adapter, new_bits, structure
from _shared.heads import mates_of, read_bam_head, read_fastq_head, same_fragment
from _shared.lanes import group_files
from _shared.logs import UserError
from inspect_reads import main
from prepare_whitelist import main as prepare_whitelist

CONFIG = Path(__file__).parents[2] / "config"
CHEMISTRIES = yaml.safe_load((CONFIG / "chemistries.yaml").read_text())
WHITELISTS = yaml.safe_load((CONFIG / "whitelists.yaml").read_text())
N_READS = 2000
N_CELLS = 40
CDNA_LENGTH = 75
RNG = np.random.default_rng(7)


def letters(n, length):
    """Return `n` random sequences."""
    return ["".join(row) for row in RNG.choice(list("ACGT"), (n, length))]


def drawn_list(name):
    """Return the list that comes along, or one that is drawn."""
    entry = WHITELISTS[name]
    if "file" in entry:
        return (CONFIG / entry["file"]).read_text().split()
    return sorted(set(letters(5000, entry["length"])))


LISTS = {name: drawn_list(name) for name in WHITELISTS}


def barcode_reads(chemistry, *, n=N_READS):
    """Return barcode reads: few cells, UMIs of their own, what is fixed in between."""
    spans, adapter = barcode_spans(chemistry), adapter_of(chemistry)
    (length,) = {span.last - span.first + 1 for span in spans[:1]}
    cells = [
        [RNG.choice(LISTS[name]) for name in chemistry["whitelists"]]
        or letters(1, length)
        for _ in range(N_CELLS)
    ]
    reads = []
    for number, cell in enumerate(RNG.integers(0, N_CELLS, n)):
        parts = cells[cell]
        # a first part that varies in length moves the adapter; else it moves by itself
        starts = adapter_starts(chemistry)
        moves = adapter and spans[0].first_anchor == 0
        place = len(parts[0]) if moves else starts[number % len(starts)]
        read = list("".join(letters(1, 110)))
        for start, sequence in [
            (place, adapter.replace("N", "A")),
            *((one["start"], one["sequence"]) for one in chemistry.get("linkers", [])),
            *(
                (span.ends(place, len(adapter))[0], part)
                for span, part in zip(spans, parts, strict=True)
            ),
        ]:
            read[start : start + len(sequence)] = sequence
        end = max(
            span.ends(place, len(adapter))[1] for span in (*spans, umi_span(chemistry))
        )
        reads.append("".join(read[:end]))
    return reads


def library(name, *, n=N_READS):
    """Return the reads of a chemistry by file, barcode read first, cDNA last."""
    chemistry = CHEMISTRIES[name]
    cdna = letters(n, CDNA_LENGTH)
    if not barcode_spans(chemistry):
        return {"r1": cdna, "r2": letters(n, CDNA_LENGTH)}
    reads = barcode_reads(chemistry, n=n)
    if "tag" in chemistry:
        tag = chemistry["tag"]["sequence"]
        tagged = [tag + read[20:] + "GGG" + cdna[i] for i, read in enumerate(reads)]
        # most fragments are internal and have no tag
        tagged = [read if i % 5 == 0 else cdna[i] for i, read in enumerate(tagged)]
        return {
            "i1": [read[:10] for read in reads],
            "i2": [read[10:20] for read in reads],
            "r2": letters(n, CDNA_LENGTH),
            "r1": tagged,
        }
    if "pieces" in chemistry:
        files, start = {}, 0
        for piece in chemistry["pieces"]:
            past = start + piece["length"]
            files[piece["read"]] = [read[start:past] for read in reads]
            start = past
        return files | {"index": ["ACGTACGT"] * n, "cdna": cdna}
    return {"barcode": reads, "cdna": cdna}


def fastq(sequences, *, names=None, quality="I"):
    names = names or [f"read:{i}" for i in range(len(sequences))]
    return "".join(
        f"@{name}\n{read}\n+\n{quality * len(read)}\n"
        for name, read in zip(names, sequences, strict=True)
    ).encode()


@dataclass
class Bench:
    """A folder with prepared lists, into which reads are written and inspected."""

    folder: Path
    lists: dict = field(default_factory=dict)

    def write(self, files, *, suffix=".fastq.gz"):
        paths = []
        for name, content in files.items():
            content = content if isinstance(content, bytes) else fastq(content)
            path = self.folder / f"{name}{suffix}"
            zipped = suffix.endswith("gz")
            path.write_bytes(gzip.compress(content, 1) if zipped else content)
            paths.append(str(path))
        return paths

    def inspect(self, *rows, cells=None, named="", strict=False, lists=None):
        rows = [
            {"files": files, "cell": cell}
            for files, cell in zip(rows, cells or [None] * len(rows), strict=True)
        ]
        main(
            sample="s",
            rows=rows,
            lists=self.lists if lists is None else lists,
            chemistries=CHEMISTRIES,
            named=named,
            named_by="sheet",
            n_reads=100_000,
            strict=strict,
            inspection=self.folder / "inspection.json",
        )
        return json.loads((self.folder / "inspection.json").read_text())


@pytest.fixture(scope="session")
def packed_lists(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    for name, barcodes in LISTS.items():
        (folder / "list").write_text("\n".join(barcodes))
        length = WHITELISTS[name]["length"]
        prepare_whitelist(
            source=folder / "list",
            lengths=tuple(length) if isinstance(length, list) else (length, length),
            barcodes=folder / f"{name}.txt",
            packed=folder / f"{name}.npy",
        )
    return {name: folder / f"{name}.npy" for name in LISTS}


@pytest.fixture
def bench(tmp_path, packed_lists):
    return Bench(folder=tmp_path, lists=packed_lists)


DETECTED = [name for name in CHEMISTRIES if barcode_spans(CHEMISTRIES[name])]


@pytest.mark.parametrize("name", DETECTED)
def test_every_chemistry_is_told_from_its_reads(bench, name):
    files = bench.write(library(name))
    facts = bench.inspect(files[::-1])
    assert facts["ok"], facts["reason"]
    as_reported = CHEMISTRIES[name].get("told_as", name)
    assert as_reported in facts["candidates"]
    assert facts["chemistry"] == facts["candidates"][0]
    assert facts["whitelists"] == CHEMISTRIES[name]["whitelists"]
    (lane,) = facts["lanes"]
    cdna = "r1" if "tag" in CHEMISTRIES[name] else "cdna"
    assert [Path(piece["file"]).name for piece in lane["cdna"]] == [f"{cdna}.fastq.gz"]
    if facts["whitelists"]:
        assert facts["hit_rate"] == 1


def test_a_strand_alone_leaves_two_candidates(bench):
    facts = bench.inspect(bench.write(library("10x_5p_v2")))
    assert facts["candidates"] == ["10x_3p_v2", "10x_5p_v2"]
    assert facts["named_by"] == "reads"
    named = bench.inspect(bench.write(library("10x_5p_v2")), named="10x_5p_v1")
    assert named["candidates"] == ["10x_5p_v1", "10x_3p_v2", "10x_5p_v2"]
    assert named["named_by"] == "sheet"


@pytest.mark.parametrize("name", ["10x_3p_v3", "10x_3p_v1", "indrops_v3", "smartseq3"])
def test_the_order_of_the_files_does_not_matter(bench, name):
    files = bench.write(library(name))
    pieces = set()
    for order in itertools.permutations(files):
        facts = bench.inspect(list(order))
        assert facts["chemistry"] == name, facts["reason"]
        (lane,) = facts["lanes"]
        places = [(one["file"], one["start"], one["length"]) for one in lane["barcode"]]
        # two index reads without a number in their names are taken as they come
        pieces.add(tuple(sorted(places) if name == "smartseq3" else places))
    assert len(pieces) == 1


def test_barcodes_in_two_reads_are_joined_from_pieces(bench):
    (lane,) = bench.inspect(bench.write(library("indrops_v3")))["lanes"]
    first, second = lane["barcode"]
    assert (Path(first["file"]).name, first["length"]) == ("barcode_1.fastq.gz", 8)
    assert (Path(second["file"]).name, second["length"]) == ("barcode_2.fastq.gz", 14)


def test_a_joined_barcode_read_of_10x_v1_is_one_piece(bench):
    reads = library("10x_3p_v1")
    joined = [a + b for a, b in zip(reads["barcode"], reads["umi"], strict=True)]
    facts = bench.inspect(bench.write({"r1": joined, "r2": reads["cdna"]}))
    assert facts["chemistry"] == "10x_3p_v1"
    (piece,) = facts["lanes"][0]["barcode"]
    assert piece == {
        "file": str(bench.folder / "r1.fastq.gz"),
        "mate": 0,
        "of": 1,
        "start": 0,
        "length": None,
    }
    assert facts["read_lengths"] == {"barcode": [24, 24], "cdna": [75, 75]}


@pytest.mark.parametrize("ends", [("/1", "/2"), (" 1:N:0", " 2:N:0"), ("", "")])
def test_interleaved_reads_are_parted(bench, ends):
    reads = library("10x_3p_v3")
    names = [f"x{i}{end}" for i in range(N_READS) for end in ends]
    both = [
        read
        for pair in zip(reads["cdna"], reads["barcode"], strict=True)
        for read in pair
    ]
    facts = bench.inspect(bench.write({"both": fastq(both, names=names)}))
    assert facts["chemistry"] == "10x_3p_v3", facts["reason"]
    (lane,) = facts["lanes"]
    assert [(one["mate"], one["of"]) for one in lane["barcode"]] == [(1, 2)]
    assert [(one["mate"], one["of"]) for one in lane["cdna"]] == [(0, 2)]
    assert facts["n_reads_estimated"] == N_READS


def test_10x_v1_as_cell_ranger_1_wrote_it_is_put_together(bench):
    """Its cDNA and UMI reads lie interleaved, its barcodes in an index read."""
    reads = library("10x_3p_v1")
    both = [
        one for pair in zip(reads["cdna"], reads["umi"], strict=True) for one in pair
    ]
    names = [f"x{i // 2}" for i in range(2 * N_READS)]
    files = {"RA": fastq(both, names=names)}
    for name in ("barcode", "index"):
        files[name] = fastq(reads[name], names=names[::2])
    facts = bench.inspect(bench.write(files))
    assert facts["chemistry"] == "10x_3p_v1", facts["reason"]
    (lane,) = facts["lanes"]
    places = [
        (Path(piece["file"]).name, piece["mate"], piece["of"])
        for piece in (*lane["barcode"], *lane["cdna"])
    ]
    assert places == [
        ("barcode.fastq.gz", 0, 1),
        ("RA.fastq.gz", 1, 2),
        ("RA.fastq.gz", 0, 2),
    ]


@pytest.mark.parametrize("length", [100, 151])
def test_longer_barcode_reads_are_fine(bench, length):
    reads = library("10x_3p_v3")
    tail = letters(N_READS, length - 28)
    reads["barcode"] = [a + b for a, b in zip(reads["barcode"], tail, strict=True)]
    facts = bench.inspect(bench.write(reads))
    assert facts["chemistry"] == "10x_3p_v3"
    assert facts["read_lengths"]["barcode"] == [length, length]
    assert "barcode" in facts["lanes"][0]["barcode"][0]["file"]


def test_uncompressed_reads_are_fine(bench):
    facts = bench.inspect(bench.write(library("dropseq"), suffix=".fastq"))
    assert facts["chemistry"] == "dropseq"


def test_poly_t_ends_the_umi_of_a_longer_read(bench):
    reads = library("celseq")
    reads["barcode"] = [read + "T" * 40 for read in reads["barcode"]]
    assert bench.inspect(bench.write(reads))["chemistry"] == "celseq"


def plate(name, n_cells):
    """Return the reads of each well by file, without index reads."""
    for cell in range(n_cells):
        reads = library(name, n=300)
        yield {f"w{cell}_{read}": reads[read] for read in ("r1", "r2")}


@pytest.mark.parametrize("name", ["smartseq2", "smartseq3"])
def test_files_of_single_cells_are_a_plate(bench, name):
    rows = [bench.write(well)[::-1] for well in plate(name, 3)]
    facts = bench.inspect(*rows, cells=["A1", "A2", "A3"])
    assert facts["chemistry"] == name, facts["reason"]
    assert [lane["cell"] for lane in facts["lanes"]] == ["A1", "A2", "A3"]
    if name == "smartseq2":
        assert all(len(lane["cdna"]) == 2 for lane in facts["lanes"])
        assert all(lane["barcode"] == [] for lane in facts["lanes"])
        return
    codes = {lane["barcode"][0]["literal"] for lane in facts["lanes"]}
    assert len(codes) == 3
    assert {len(code) for code in codes} == {20}
    for number, lane in enumerate(facts["lanes"]):
        assert lane["tag"]["file"].endswith(f"w{number}_r1.fastq.gz")
        assert lane["barcode"][1]["start"] == 11
        assert lane["cdna"][0]["start"] == 22


def test_rows_of_one_cell_share_its_code(bench):
    rows = [bench.write(well) for well in plate("smartseq3", 3)]
    lanes = bench.inspect(*rows, cells=["A1", "A2", "A1"])["lanes"]
    first, second, third = (lane["barcode"][0]["literal"] for lane in lanes)
    assert first == third != second


def write_bam(path, barcodes, cdna, *, flags=(4,)):
    """Write a BAM with a record of every read for each flag."""
    header = {"HD": {"VN": "1.6"}, "SQ": [{"SN": "1", "LN": 1000}]}
    with pysam.AlignmentFile(path, "wb", header=header) as out:
        for number, (barcode, read) in enumerate(zip(barcodes, cdna, strict=True)):
            for flag in flags:
                record = pysam.AlignedSegment()
                record.query_name = f"r{number}"
                # of mates the first is the barcode read
                record.query_sequence = "ACGT" * 6 if flag & 64 else read
                record.flag = flag
                record.set_tags([("CR", barcode[:16]), ("UR", barcode[16:])])
                out.write(record)


@pytest.mark.parametrize("flags", [(4,), (77, 141)])
def test_a_10x_bam_is_told_by_its_tags(bench, flags):
    path = str(bench.folder / "x.bam")
    barcodes = library("10x_3p_v2")["barcode"]
    write_bam(path, barcodes, ["ACGT" * 20] * N_READS, flags=flags)
    facts = bench.inspect([path])
    assert facts["n_sampled"] == facts["n_reads_estimated"] == N_READS
    assert facts["chemistry"] == "10x_3p_v2"
    (lane,) = facts["lanes"]
    assert (lane["bam"], lane["barcode"], lane["cdna"]) == (path, [], [])
    assert facts["read_lengths"] == {"barcode": [26, 26], "cdna": [80, 80]}


def test_the_reads_of_a_bam_are_estimated_from_its_head(tmp_path):
    n_reads = 20_000
    write_bam(tmp_path / "x.bam", letters(n_reads, 26), letters(n_reads, 90))
    head, lengths = read_bam_head(tmp_path / "x.bam", 5000)
    assert len(lengths) == 5000
    assert head.n_estimated == pytest.approx(n_reads, rel=0.05)


def test_a_fetched_folder_is_parted_into_lanes(tmp_path):
    for name in ("b_2.fastq.gz", "b_1.fastq.gz", "a_R1_001.fastq.gz"):
        (tmp_path / name).touch()
    (tmp_path / "a_I1_001.fastq.gz").touch()
    (tmp_path / "fetched.json").write_text('{"ok": true}')
    lanes = group_files([str(tmp_path)])
    assert [[Path(file).name for file in lane] for lane in lanes] == [
        ["a_I1_001.fastq.gz", "a_R1_001.fastq.gz"],
        ["b_1.fastq.gz", "b_2.fastq.gz"],
    ]


def test_reads_that_could_not_be_fetched_keep_stage_and_reason(bench):
    facts = {"ok": False, "stage": "fetch_reads", "reason": "no run", "hint": "Mend."}
    (bench.folder / "fetched.json").write_text(json.dumps(facts))
    found = bench.inspect([str(bench.folder)])
    assert {key: found[key] for key in facts} == facts


# --- faults ---------------------------------------------------------------------------

V3 = library("10x_3p_v3")
V2 = library("10x_3p_v2")


def refused(bench, *rows, **given):
    facts = bench.inspect(*rows, **given)
    assert not facts["ok"]
    assert facts["stage"] == "inspect_reads"
    assert facts["hint"].endswith(".")
    assert not facts["reason"].endswith(".")
    assert facts["chemistry"] is None
    assert facts["lanes"] == []
    return f"{facts['reason']}. {facts['hint']}"


def test_a_missing_barcode_read_is_named_as_such(bench):
    files = bench.write(V3)
    said = refused(bench, files[1:])
    assert "lane 1 has no barcode read" in said
    assert "cdna.fastq.gz (75 nt) look like cDNA" in said
    assert "technical reads" in said
    index = bench.write({"index": ["ACGTACGT"] * N_READS})
    assert "lane 1 has no barcode read" in refused(bench, [*index, files[1]])


def test_a_read_without_a_signal_is_told(bench):
    files = bench.write(V3 | {"barcode": ["G" * 28] * N_READS})
    said = refused(bench, files)
    assert "barcode.fastq.gz has no barcodes: nearly all of its first" in said


def test_a_missing_cdna_read_is_named_as_such(bench):
    assert "has no cDNA read" in refused(bench, bench.write(V3)[:1])


def test_cdna_that_is_too_short_is_told(bench):
    files = bench.write(V3 | {"cdna": [read[:20] for read in V3["cdna"]]})
    assert "are 20 nt long: too short to be aligned" in refused(bench, files)


@pytest.mark.parametrize(
    ("reads", "named", "said"),
    [
        (V2, "10x_3p_v3", "10x_3p_v3 is named, but .*while 100.0% fit 10x_3p_v2"),
        (V3, "10x_3p_v2", "10x_3p_v2 is named, but .*while 100.0% fit 10x_3p_v3"),
        (V3, "dropseq", "dropseq is named, but .*while 100.0% fit 10x_3p_v3"),
        (V3, "smartseq2", "smartseq2 has no barcodes, but no row names a cell"),
        (
            {"r1": letters(500, 90), "r2": letters(500, 91)},
            "smartseq3",
            "smartseq3 is named, but only 0.0% of the reads of .* have its tag",
        ),
    ],
)
def test_a_name_that_the_reads_contradict_is_told_with_both(bench, reads, named, said):
    with pytest.raises(UserError, match=f"^sample s: chemistry {said}"):
        bench.inspect(bench.write(reads), named=named, strict=True)


def test_a_wrong_list_for_right_reads_is_found(bench, packed_lists):
    wrong = packed_lists | {"3M-february-2018": packed_lists["737K-arc-v1"]}
    del wrong["737K-arc-v1"]
    said = refused(bench, bench.write(V3), lists=wrong)
    assert "no chemistry fits lane 1" in said
    assert "looks like a barcode of 16 and a UMI of 12 bases" in said
    assert "not there are 737K-arc-v1" in said
    said = refused(bench, bench.write(V3), lists=wrong, named="10x_3p_v3")
    assert "only 0.0% of the barcodes of" in said
    assert "in its list 3M-february-2018" in said


def test_two_lists_that_fit_alike_need_a_name(bench, packed_lists):
    both = packed_lists | {"3M-3pgex-may-2023": packed_lists["3M-february-2018"]}
    files = bench.write(V3)
    said = refused(bench, files, lists=both)
    assert "fit 10x_3p_v3 (100.0%) and 10x_3p_v4 (100.0%) alike" in said
    facts = bench.inspect(files, lists=both, named="10x_3p_v4")
    assert facts["chemistry"] == "10x_3p_v4"


def test_the_table_of_evidence_is_printed(bench, caplog):
    refused(bench, bench.write({"r1": letters(500, 30), "r2": letters(500, 90)}))
    assert "chemistry" in caplog.text
    assert "3M-february-2018" in caplog.text
    assert "no match" in caplog.text


def test_a_list_of_a_combinatorial_kit_that_is_not_there_is_named(bench, packed_lists):
    lists = {key: value for key, value in packed_lists.items() if key != "parse_v1_bc1"}
    said = refused(bench, bench.write(library("parse_v1")), lists=lists)
    assert "are parse_v1 (100.0% by list and fixed bases)" in said
    assert "barcode list parse_v1_bc1 is not there" in said


def test_reverse_complemented_barcodes_are_told(bench):
    other = {"A": "T", "C": "G", "G": "C", "T": "A"}
    turned = [
        "".join(other[base] for base in reversed(read[:16])) + read[16:]
        for read in V3["barcode"]
    ]
    said = refused(bench, bench.write(V3 | {"barcode": turned}))
    assert "10x_3p_v3 only as reverse complement" in said


def test_lanes_of_different_chemistry_are_told(bench):
    first = bench.write({f"a_{name}": reads for name, reads in V3.items()})
    second = bench.write({f"b_{name}": reads for name, reads in V2.items()})
    said = refused(bench, first, second)
    assert "the lanes differ: lane 1 is 10x_3p_v3 (100.0%), lane 2 is 10x_3p_v2" in said


def test_barcode_reads_that_are_too_short_are_told(bench):
    cut = [read[:26] for read in V3["barcode"]]
    said = refused(bench, bench.write(V3 | {"barcode": cut}))
    assert "2000 of 2000 barcode reads" in said
    assert "shorter than the 28 nt that chemistry 10x_3p_v3 needs (26 to 26 nt)" in said


def test_a_few_barcode_reads_may_be_too_short(bench):
    cut = [
        read[: 26 if number < 10 else 28] for number, read in enumerate(V3["barcode"])
    ]
    assert bench.inspect(bench.write(V3 | {"barcode": cut}))["ok"]


@pytest.mark.parametrize("suffix", [".fastq", ".fastq.gz"])
def test_a_copy_under_another_name_is_found(bench, suffix):
    first, second = bench.write(V3)
    (copy,) = bench.write({"copy": fastq(V3["barcode"])}, suffix=suffix)
    said = refused(bench, [first, second], [copy, second])
    assert "barcode.fastq.gz and" in said
    assert f"copy{suffix} hold the same reads" in said


def test_a_mate_that_is_a_copy_is_found(bench):
    first, _ = bench.write(V3)
    (copy,) = bench.write({"copy": fastq(V3["barcode"])})
    assert "hold the same reads" in refused(bench, [first, copy])


def test_names_that_do_not_pair_are_told(bench):
    names = [f"read:{i}" for i in reversed(range(N_READS))]
    files = bench.write(V3 | {"cdna": fastq(V3["cdna"], names=names)})
    said = refused(bench, files)
    assert "do not pair: read 1 is read:0 in one and read:1999 in the other" in said


GOOD = fastq(V3["barcode"])


@pytest.mark.parametrize(
    ("content", "suffix", "said"),
    [
        (b"", ".fastq.gz", "bad.fastq.gz holds no reads"),
        (b"", ".fastq", "bad.fastq holds no reads"),
        (b"\n\n", ".fastq", "holds no reads"),
        (b"hello\nworld\n", ".fastq", "is no FASTQ file"),
        (b">a\nACGT\n", ".fastq.gz", "is a FASTA file: it has no qualities"),
        (GOOD.replace(b"\n", b"\r\n"), ".fastq", "has Windows line ends"),
        (GOOD[:-20], ".fastq.gz", "is damaged: record 2000 is no FASTQ record"),
        (
            GOOD.replace(b"@read:7\n", b"\n@read:7\n"),
            ".fastq.gz",
            "record 8 is no FASTQ",
        ),
        (
            GOOD.replace(b"I", b"h").replace(b"hhh", b"Yhh"),
            ".fastq.gz",
            "has qualities as Phred+64",
        ),
        (GOOD.replace(b"I", b"\x07"), ".fastq.gz", "no printable characters"),
    ],
    ids=lambda value: value[:12] if isinstance(value, str) else None,
)
def test_a_bad_file_is_named_with_its_fault(bench, content, suffix, said):
    (bad,) = bench.write({"bad": content}, suffix=suffix)
    _, cdna = bench.write(V3)
    assert said in refused(bench, [bad, cdna])


def test_a_gzip_that_is_cut_or_is_none_is_told(bench):
    first, second = bench.write(V3)
    whole = Path(first).read_bytes()
    Path(first).write_bytes(whole[: len(whole) // 2])
    assert "barcode.fastq.gz is damaged: " in refused(bench, [first, second])
    Path(first).write_bytes(GOOD)
    assert "is named .gz, but is not gzipped" in refused(bench, [first, second])
    Path(first).write_bytes(whole[:500] + bytes(20) + whole[520:])
    assert "barcode.fastq.gz is damaged: " in refused(bench, [first, second])


def test_a_bam_without_barcodes_is_told(bench):
    path = str(bench.folder / "x.bam")
    with pysam.AlignmentFile(path, "wb", header={"HD": {"VN": "1.6"}}) as out:
        record = pysam.AlignedSegment()
        record.query_name, record.query_sequence, record.flag = "r", "ACGT", 4
        out.write(record)
    assert "no reads with the tags CR and UR" in refused(bench, [path])
    for content in (b"no bam", GOOD, gzip.compress(GOOD)):
        Path(path).write_bytes(content)
        assert "is damaged or no BAM" in refused(bench, [path])


def test_wells_that_nothing_tells_apart_are_told(bench):
    files = bench.write(library("smartseq3"))
    said = refused(bench, files[2:])
    assert "nothing that tells the wells apart" in said
    assert "column cell" in said


def test_a_plate_needs_a_cell_in_every_row(bench):
    rows = [bench.write(well) for well in plate("smartseq2", 2)]
    assert "lane 2 names no cell" in refused(bench, *rows, cells=["A1", None])


def test_cells_of_one_and_of_two_reads_are_told_apart(bench):
    first, second = (bench.write(well) for well in plate("smartseq2", 2))
    said = refused(bench, first, second[:1], cells=["A1", "A2"])
    assert "lane 1 (A1) has 2 cDNA reads a fragment, lane 2 (A2) 1" in said


def test_droplets_in_rows_of_cells_are_told(bench):
    said = refused(bench, bench.write(V3), cells=["A1"])
    assert "the rows name cells, but the reads of lane 1 are 10x_3p_v3" in said


def test_a_plate_of_another_kind_than_named_is_told(bench):
    rows = [bench.write(well) for well in plate("smartseq2", 2)]
    said = refused(bench, *rows, cells=["A1", "A2"], named="smartseq3")
    assert "smartseq3 is named, but 0 of" in said
    assert "this is smartseq2" in said


def test_a_poor_share_of_hits_is_a_warning(bench):
    half = [read if i % 2 else "A" * 28 for i, read in enumerate(V3["barcode"])]
    facts = bench.inspect(bench.write(V3 | {"barcode": half}))
    assert facts["hit_rate"] == pytest.approx(0.5)
    assert facts["warnings"] == [
        "only 50.0% of the barcodes are in the list of 10x_3p_v3; of good reads more "
        "than 90 % are"
    ]


def test_a_kit_without_list_can_be_named_where_reads_are_few(bench):
    reads = {name: one[:30] for name, one in library("dropseq").items()}
    files = bench.write(reads)
    assert not bench.inspect(files)["ok"]
    facts = bench.inspect(files, named="dropseq")
    assert facts["chemistry"] == "dropseq"
    assert "barcode" in facts["lanes"][0]["barcode"][0]["file"]
    assert facts["warnings"] == [
        "the reads are too few, or too varied, to confirm chemistry dropseq"
    ]


@pytest.mark.parametrize("letter", ["N", "G"])
def test_a_named_kit_without_list_needs_barcodes_too(bench, letter):
    reads = library("dropseq")
    files = bench.write(reads | {"barcode": [letter * 20] * N_READS})
    assert "has no barcodes" in refused(bench, files, named="dropseq")


# --- parts ----------------------------------------------------------------------------


def test_entropy_rises_again_where_the_umi_begins():
    cells = RNG.integers(0, 4, (20, 8)).astype(np.uint8)
    umis = RNG.integers(0, 4, (3000, 4)).astype(np.uint8)
    digits = np.hstack([cells[RNG.integers(0, 20, 3000)], umis])
    bits = new_bits(digits)
    assert (bits[5:8] < 0.1).all()
    assert (bits[8:10] > 1.7).all()
    total = bits[:8].sum()
    assert total == pytest.approx(np.log2(20), abs=0.1)


def test_the_head_of_a_file_is_all_that_is_read(tmp_path):
    path = tmp_path / "r.fastq"
    path.write_bytes(fastq(letters(50_000, 50)))
    head = read_fastq_head(path, 1000)
    assert len(head.streams[0].names) == 1000
    assert head.n_estimated == pytest.approx(50_000, rel=0.05)
    with path.open("ab") as end:
        end.write(b"what stands at the end is for the whole-file check")
    assert read_fastq_head(path, 1000).fingerprint == head.fingerprint


@pytest.mark.parametrize(
    ("one", "two", "pairs"),
    [
        (b"@a", b"@a", True),
        (b"@a/1", b"@a/2", True),
        (b"@SRR1.5.1", b"@SRR1.5.2", True),
        (b"@a7", b"@a8", False),
        (b"@a", b"@b", False),
        (b"@a/1", b"@b/2", False),
    ],
)
def test_names_pair_but_for_the_mate(one, two, pairs):
    assert same_fragment(one, two) is pairs


def test_reads_with_consecutive_numbers_are_not_interleaved():
    assert mates_of([b"@r%d" % i for i in range(1, 100)]) == 1
    assert mates_of([b"@r%d" % (i // 3) for i in range(99)]) == 3


def test_an_adapter_is_found_with_a_mismatch(bench):
    chemistry = CHEMISTRIES["indrops_v1"]
    adapter = adapter_of(chemistry)
    wrong = adapter[:5] + "C" + adapter[6:]
    reads = ["A" * start + wrong + "A" * 20 for start in (7, 8, 11, 12)]
    (bench.folder / "r.fastq").write_bytes(fastq(reads))
    (stream,) = read_fastq_head(bench.folder / "r.fastq", 10).streams
    assert list(find_adapter(stream.digits, chemistry)) == [-1, 8, 11, -1]
    assert structure(stream) is None


def test_a_plain_list_is_the_same_numbers_as_a_prepared_one(packed_lists):
    for name in ("indrops_v1_bc1", "celseq2_96"):
        plain = load_packed(CONFIG / WHITELISTS[name]["file"])
        assert list(plain) == list(load_packed(packed_lists[name]))
