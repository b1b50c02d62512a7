"""STAR's command, its failures as sentences, and its output packed, known by hand."""

import gzip
import json
from collections import Counter

import numpy as np
import pytest
import yaml
from running import ROOT

from _shared.logs import UserError
from _shared.star_failures import failure
from _shared.star_output import (
    check_complete,
    check_features,
    is_whole,
    pack_raw,
    picked_lines,
    reads_lost,
    write_empty,
)
from count_reads import (
    main,
    manifest,
    names_of_cells,
    parse_params,
    star_command,
    star_options,
)

SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["count_reads"]
DROPLETS = {
    "soloType": ["CB_UMI_Simple"],
    "soloCBlen": ["16"],
    "soloStrand": ["Forward"],
}
PLATE = {"soloType": ["SmartSeq"], "soloUMIdedup": ["Exact"]}


def said(options):
    return " ".join(star_command(options))


def test_the_command_has_the_defaults_of_cell_ranger_and_no_bam():
    command = said(star_options(SETTINGS, DROPLETS))
    for part in (
        "--soloFeatures GeneFull_Ex50pAS --",
        "--clipAdapterType CellRanger4",
        "--outFilterScoreMin 30",
        "--soloCBmatchWLtype 1MM_multi_Nbase_pseudocounts",
        "--soloUMIfiltering MultiGeneUMI_CR",
        "--soloUMIdedup 1MM_CR",
        "--soloMultiMappers Unique",
        "--soloCellFilter None",
        "--soloCellReadStats Standard",
        "--outSAMtype None",
        "--soloCBlen 16",
    ):
        assert part in command
    assert "--bam" not in command
    assert "outSAMattributes" not in command


def test_every_feature_is_counted_in_the_one_run():
    options = star_options(
        SETTINGS | {"soloFeatures": ["Gene", "Velocyto"], "soloMultiMappers": "EM"},
        DROPLETS,
    )
    assert "--soloFeatures Gene Velocyto --" in said(options)
    assert "--soloMultiMappers EM" in said(options)


def test_the_geometry_of_the_chemistry_goes_before_the_section():
    own = DROPLETS | {"soloCBmatchWLtype": ["1MM"], "soloUMIdedup": ["Exact"]}
    command = said(star_options(SETTINGS, own))
    assert "--soloCBmatchWLtype 1MM --" in command
    assert "Nbase_pseudocounts" not in command
    assert command.count("soloUMIdedup") == 1


def test_alignments_that_are_kept_have_raw_and_corrected_barcodes_and_all_reads():
    command = said(star_options(SETTINGS | {"bam": "cram"}, DROPLETS))
    assert "--outSAMtype BAM SortedByCoordinate --outSAMunmapped Within" in command
    for tag in ("CR", "CY", "UR", "UY", "CB", "UB", "GX", "GN"):
        assert f" {tag}" in command


def test_the_length_of_a_umi_between_linkers_is_told():
    combined = {"soloType": ["CB_UMI_Complex"], "soloUMIposition": ["3_9_3_14"]}
    assert "--soloUMIlen 6" in said(star_options(SETTINGS, combined))


def test_a_plate_has_none_of_what_star_refuses_for_it():
    settings = SETTINGS | {
        "soloFeatures": ["Gene", "Velocyto"],
        "soloMultiMappers": "EM",
        "bam": "bam",
    }
    command = said(star_options(settings, PLATE))
    assert "--soloFeatures Gene --" in command
    assert "--soloUMIdedup Exact" in command
    for name in ("CellReadStats", "UMIfiltering", "MultiMappers", "WLtype", " CB"):
        assert name not in command


def test_star_params_are_read_as_options():
    text = "soloType CB_UMI_Complex\nsoloCBwhitelist a.txt b.txt\n\n"
    assert parse_params(text) == {
        "soloType": ["CB_UMI_Complex"],
        "soloCBwhitelist": ["a.txt", "b.txt"],
    }


def test_a_plate_comes_through_one_pipe_per_mate():
    assert manifest(["A1", "B1"], ["/dev/fd/5"]) == (
        "/dev/fd/5\t-\tA1\n/dev/null\t-\tB1\n"
    )
    assert manifest(["A1", "B1"], ["/dev/fd/5", "/dev/fd/6"]).splitlines() == [
        "/dev/fd/5\t/dev/fd/6\tA1",
        "/dev/null\t/dev/null\tB1",
    ]


def test_a_barcode_that_stands_for_a_well_gets_its_name():
    piece = {"file": "a.fq", "mate": 0, "of": 1, "start": 11, "length": 8}
    named = {"cell": "A1", "barcode": [{"literal": "ACGT"}, piece]}
    assert names_of_cells([named, {"cell": None, "barcode": [piece]}]) == {
        b"ACGT": b"A1"
    }


BAD_READ = (
    "\nEXITING because of FATAL ERROR in reads input: quality string length is not "
    "equal to sequence length\n@r1\nACGT\nSOLUTION: fix your fastq file\n"
)


@pytest.mark.parametrize(
    ("code", "text", "parts"),
    [
        (-9, "", ["want of memory", "asked for 8000 MB", "count_reads:mem_mb=16000"]),
        (137, "", ["want of memory", "asked for 8000 MB"]),
        (134, "what():  std::bad_alloc", ["want of memory", "std::bad_alloc"]),
        (108, "EXITING: fatal error trying to allocate genome", ["want of memory"]),
        (104, BAD_READ, ["could not use the reads", "quality string length", "104"]),
        (105, "EXITING because of FATAL ERROR: Genome version", ["Genome version"]),
        (105, "", ["remove results/reference/star_index"]),
        (102, "EXITING because of fatal PARAMETERS error: x", ["section count_reads"]),
        (102, "fatal ERROR: not enough memory for BAM sorting", ["mem_mb=16000"]),
        (109, "", ["ulimit -n"]),
        (
            109,
            "x.cpp:17:open: exiting because of *INPUT FILE* error: could not open a\n"
            "...... FATAL ERROR, exiting\n",
            ["(exiting because of *INPUT FILE* error: could not open a)"],
        ),
        (110, "", ["free space on the disk"]),
        (-25, "", ["could not write", "free space on the disk"]),
        (1, "cat: write error: No space left on device", ["free space on the disk"]),
        (139, "", ["signal 11", "exit code 139"]),
        (77, "", ["exit code 77", "read the log"]),
    ],
)
def test_a_failure_is_told_with_what_to_do(code, text, parts):
    sentence = failure(code, text, mem_mb=8000)
    for part in parts:
        assert part in sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def star_run(folder, *, n_reads=7, log="x\nALL DONE!\n"):
    folder.mkdir()
    (folder / "Log.out").write_text(log)
    (folder / "Log.final.out").write_text(
        f" Number of input reads |\t{n_reads}\n Number of chimeric reads |\t0\n"
    )
    return folder


def test_all_reads_seen_is_all_right(tmp_path):
    check_complete(star_run(tmp_path / "star"), expected=7)


def test_reads_that_star_did_not_see_are_an_error(tmp_path):
    with pytest.raises(UserError, match="STAR took 7 of 8 reads"):
        check_complete(star_run(tmp_path / "star"), expected=8)


def test_a_log_that_ends_early_tells_of_a_full_disk(tmp_path):
    star = star_run(tmp_path / "star", log="x\n")
    with pytest.raises(UserError, match="free space on the disk"):
        check_complete(star, expected=7)


VALID_READS = Counter(yesWLmatchExact=90, yesOneWLmatchWithMM=9, yesMultWLmatchWithMM=1)
FATES = Counter(noUnmapped=10, noNoFeature=20, MultiFeature=5, noMMtoWLwithoutExact=1)


def test_reads_that_were_never_counted_are_noticed():
    whole, cut = Counter(yesWLmatch=64), Counter(yesWLmatch=60)
    assert reads_lost(VALID_READS, FATES + whole, shared_out=False) == 0
    assert reads_lost(VALID_READS, FATES + cut, shared_out=False) == 4
    # of several genes, and counted
    shared = Counter(yesWLmatch=69)
    assert reads_lost(VALID_READS, FATES + shared, shared_out=True) == 0
    # no list: no barcode is called valid
    assert reads_lost(Counter(), FATES + whole, shared_out=False) == 0


def test_a_table_cut_short_is_noticed(tmp_path):
    assert is_whole(b"CB\tn\nA\t1\n")
    assert not is_whole(b"CB\tn\nA\t1\nC\n")
    assert not is_whole(b"CB\tn\nA\t1")
    assert not is_whole(b"")
    gene = tmp_path / "Gene"
    gene.mkdir()
    (tmp_path / "Barcodes.stats").write_text(" yesWLmatchExact 3\n")
    (gene / "Features.stats").write_text(" noUnmapped 1\n yesWLmatch 2\n")
    (gene / "CellReads.stats").write_text("CB\tn\nA\t1\n")
    check_features(tmp_path, shared_out=False)
    (gene / "CellReads.stats").write_text("CB\tn\nA")
    with pytest.raises(UserError, match=r"CellReads\.stats whole"):
        check_features(tmp_path, shared_out=False)
    (gene / "Features.stats").write_text(" noUnmapped 1\n yesWLmatch 1\n")
    with pytest.raises(UserError, match="STAR lost 1 reads before counting"):
        check_features(tmp_path, shared_out=False)


def mtx(shape, entries, kind="integer"):
    lines = [f"%%MatrixMarket matrix coordinate {kind} general", "%"]
    lines += [f"{shape[0]} {shape[1]} {len(entries)}"]
    return "\n".join(lines + [" ".join(map(str, e)) for e in entries]) + "\n"


def write_raw(folder, **matrices):
    """Write STAR's plain raw folder: 2 genes, 5 barcodes of different lengths."""
    folder.mkdir()
    (folder / "barcodes.tsv").write_text("AA\nACC\nGG\nGTT\nTT\n")
    (folder / "features.tsv").write_text("G1\tg1\tx\nG2\tg2\tx\n")
    for name, entries in matrices.items():
        kind = "real" if "EM" in name else "integer"
        (folder / f"{name}.mtx").write_text(mtx((2, 5), entries, kind))
    return folder


def unpacked(path):
    return gzip.decompress(path.read_bytes()).decode()


def test_a_raw_matrix_keeps_the_barcodes_with_counts_in_their_order(tmp_path):
    raw = write_raw(tmp_path / "raw", matrix=[(2, 2, 7), (1, 4, 1), (2, 4, 3)])
    pack_raw(raw, names={b"GTT": b"well"})
    assert unpacked(raw / "barcodes.tsv.gz") == "ACC\nwell\n"
    assert unpacked(raw / "features.tsv.gz") == "G1\tg1\tx\nG2\tg2\tx\n"
    text = [
        line
        for line in unpacked(raw / "matrix.mtx.gz").splitlines()
        if not line.startswith("%")
    ]
    assert text == ["2 2 3", "2 1 7", "1 2 1", "2 2 3"]
    assert "integer general" in unpacked(raw / "matrix.mtx.gz")
    assert sorted(path.name for path in raw.iterdir()) == [
        "barcodes.tsv.gz",
        "features.tsv.gz",
        "matrix.mtx.gz",
    ]


def test_reads_per_barcode_get_the_names_of_the_cells_too(tmp_path):
    raw = write_raw(tmp_path / "raw", matrix=[(1, 4, 1)])
    table = tmp_path / "CellReads.stats"
    table.write_text("CB\tn\nCBnotInPasslist\t1\nGTT\t2\nAA\t3\n")
    pack_raw(raw, names={b"GTT": b"well"})
    assert table.read_text() == "CB\tn\nCBnotInPasslist\t1\nwell\t2\nAA\t3\n"


def test_the_matrices_of_a_feature_keep_the_same_barcodes(tmp_path):
    raw = write_raw(
        tmp_path / "raw",
        spliced=[(1, 1, 2), (1, 3, 0)],
        unspliced=[(1, 1, 0), (1, 3, 0), (2, 5, 4)],
    )
    pack_raw(raw, names={})
    assert unpacked(raw / "barcodes.tsv.gz") == "AA\nTT\n"
    assert unpacked(raw / "spliced.mtx.gz").splitlines()[-2:] == ["2 2 1", "1 1 2"]
    assert unpacked(raw / "unspliced.mtx.gz").splitlines()[-2:] == ["2 2 1", "2 2 4"]


def test_shares_of_reads_stay_as_they_are(tmp_path):
    raw = write_raw(
        tmp_path / "raw",
        **{"matrix": [(1, 1, 2)], "UniqueAndMult-EM": [(1, 1, 2), (2, 1, 0.333333)]},
    )
    pack_raw(raw, names={})
    shared = unpacked(raw / "UniqueAndMult-EM.mtx.gz")
    assert "real general" in shared
    assert float(shared.split()[-1]) == 0.333333


def test_a_raw_matrix_without_counts_keeps_no_barcode(tmp_path):
    raw = write_raw(tmp_path / "raw", matrix=[])
    pack_raw(raw, names={})
    assert unpacked(raw / "barcodes.tsv.gz") == ""
    assert unpacked(raw / "matrix.mtx.gz").splitlines()[-1] == "2 0 0"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("matrix.mtx", mtx((2, 5), [(2, 2, 7), (1, 4, 1)])[:-4]),
        ("matrix.mtx", ""),
        ("barcodes.tsv", "AA\nA"),
        ("features.tsv", "G1\tg1\tx\n"),
    ],
)
def test_files_that_a_full_disk_cut_short_are_refused(tmp_path, name, text):
    raw = write_raw(tmp_path / "raw", matrix=[(2, 2, 7), (1, 4, 1)])
    (raw / name).write_text(text)
    with pytest.raises(UserError, match="free space on the disk"):
        pack_raw(raw, names={})


def test_lines_are_picked_by_number():
    assert picked_lines(b"a\nbb\n\nc\n", np.array([0, 3])) == [b"a", b"c"]
    assert picked_lines(b"", np.array([], dtype=int)) == []


def test_a_set_aside_sample_gets_matrices_of_all_genes_without_barcodes(tmp_path):
    genes = tmp_path / "genes.tsv"
    genes.write_text("gene_id\tgene_name\tchromosome\nG1\tg1\t1\nG2\tg2\t1\n")
    write_empty(tmp_path / "solo", features=["Gene", "Velocyto"], genes=genes)
    raw = tmp_path / "solo" / "Gene" / "raw"
    assert unpacked(raw / "features.tsv.gz").splitlines() == [
        "G1\tg1\tGene Expression",
        "G2\tg2\tGene Expression",
    ]
    assert unpacked(raw / "matrix.mtx.gz").splitlines()[-1] == "2 0 0"
    velocity = tmp_path / "solo" / "Velocyto" / "raw"
    assert {"spliced.mtx.gz", "unspliced.mtx.gz", "ambiguous.mtx.gz"} <= {
        path.name for path in velocity.iterdir()
    }


def test_star_is_not_started_for_a_sample_that_was_set_aside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    files = {}
    for name in ("inspection", "integrity", "chemistry"):
        files[name] = tmp_path / f"{name}.json"
        files[name].write_text(json.dumps({"ok": name != "integrity"}))
    (tmp_path / "genes.tsv").write_text("gene_id\tgene_name\nG1\tg1\n")
    main(
        sample="s",
        **files,
        star_params=tmp_path / "star.params",
        index=tmp_path,
        genes=tmp_path / "genes.tsv",
        fasta=None,
        settings=SETTINGS,
        preview_reads=None,
        threads=1,
        mem_mb=1000,
        solo=tmp_path / "solo",
        summary=tmp_path / "Log.final.out",
        alignments=tmp_path / "x.bam",
    )
    assert [path.name for path in (tmp_path / "solo").iterdir()] == ["GeneFull_Ex50pAS"]
    assert (tmp_path / "Log.final.out").read_text() == ""
    assert (tmp_path / "x.bam").read_bytes() == b""
