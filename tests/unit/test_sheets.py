"""The sheets: every error names sheet, row, column and remedy."""

import gzip
from pathlib import Path

import pytest
import yaml

from _shared.logs import UserError
from _shared.sheets import beside, find_lists, load_sheets, read_reads, read_samples

CONFIG = Path(__file__).parents[2] / "config"
SAMPLES = yaml.safe_load((CONFIG / "schemas/samples.schema.yaml").read_text())
READS = yaml.safe_load((CONFIG / "schemas/reads.schema.yaml").read_text())
CONFIG_SCHEMA = yaml.safe_load((CONFIG / "schemas/config.schema.yaml").read_text())
FILTERS = CONFIG_SCHEMA["properties"]["filter_cells"]
CHEMISTRIES = yaml.safe_load((CONFIG / "chemistries.yaml").read_text())
WHITELISTS = yaml.safe_load((CONFIG / "whitelists.yaml").read_text())


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A working folder with two samples and their reads; a function rewrites a file."""
    monkeypatch.chdir(tmp_path)
    for name in ("a_1", "a_2", "b_1", "b_2"):
        path = tmp_path / f"reads/{name}.fastq"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"@{name}\nACGT\n+\nIIII\n")

    def write(name, *rows):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join("\t".join(row) + "\n" for row in rows))

    write("config/samples.tsv", ["sample", "condition"], ["001", "x"], ["b", "y"])
    write(
        "config/reads.tsv",
        ["sample", "fastq_1", "fastq_2"],
        ["001", "../reads/a_1.fastq", "../reads/a_2.fastq"],
        ["b", "../reads/b_1.fastq", "../reads/b_2.fastq"],
    )
    return write


def samples(columns=()):
    return read_samples(
        "config/samples.tsv", schema=SAMPLES, design_columns=list(columns)
    )


def reads():
    return read_reads(
        "config/reads.tsv",
        schema=READS,
        samples=samples(),
        samples_path="config/samples.tsv",
    )


@pytest.mark.usefixtures("project")
def test_text_stays_text_and_paths_are_relative_to_the_sheet():
    assert list(samples()) == ["001", "b"]
    assert reads()["001"][0]["fastq_1"] == "reads/a_1.fastq"
    assert beside("config/reads.tsv", "/data/x.fq") == "/data/x.fq"


@pytest.fixture
def plugin(monkeypatch):
    """Let it seem that every object in storage can be fetched."""
    monkeypatch.setattr("_shared.sheets.find_spec", lambda name: True)


def test_an_object_that_cannot_be_fetched_is_refused(project):
    project("config/samples.tsv", ["sample", "counts"], ["b", "gs://x/b.h5"])
    with pytest.raises(UserError, match=r"row 2 column counts: gs://x/b.h5 is no file"):
        samples()


@pytest.mark.usefixtures("plugin")
def test_an_object_in_storage_is_named_as_it_is_and_not_looked_for(project):
    project(
        "config/samples.tsv", ["sample", "counts"], ["001", ""], ["b", "s3://x/b.h5"]
    )
    project("config/reads.tsv", ["sample", "fastq_1"], ["001", "s3://x/a.fastq.gz"])
    assert samples()["b"]["counts"] == "s3://x/b.h5"
    assert reads()["001"][0]["fastq_1"] == "s3://x/a.fastq.gz"


@pytest.mark.usefixtures("plugin")
def test_an_object_in_storage_is_listed_once(project):
    project(
        "config/reads.tsv",
        ["sample", "fastq_1"],
        ["001", "s3://x/a.fastq.gz"],
        ["b", "s3://x/a.fastq.gz"],
    )
    with pytest.raises(UserError, match="is listed already"):
        reads()


def test_comments_blank_lines_and_a_byte_order_mark_are_skipped(project):
    project(
        "config/samples.tsv", ["\ufeffsample"], ["# a comment"], [""], ["001"], ["b"]
    )
    assert samples()["b"]["_line"] == "5"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["sample"], ["a"], ["a"]], r"samples.tsv row 3 column sample: 'a'.*row 2"),
        (
            [["sample", "conditon"], ["a", "x"]],
            r"row 1: unknown column 'conditon' \(did",
        ),
        ([["sample,condition"], ["a,x"]], "row 1: columns are separated by commas"),
        ([["condition"], ["x"]], "row 1: column 'sample' is missing"),
        (
            [["sample", "sample"], ["a", "a"]],
            "row 1: column 'sample' stands there twice",
        ),
        ([["sample"], ["a b"]], "row 2 column sample: 'a b' does not fit"),
        ([["sample", "donor"], ["", "d"]], "row 2 column sample: empty"),
        ([["sample"], ["a", "extra"]], "row 2: 2 fields under 1 column names"),
        ([["sample", "expected_cells"], ["a", "-5"]], "row 2 column expected_cells"),
        ([["sample", "counts"], ["a", "no.h5ad"]], "row 2 column counts: no such file"),
        ([["sample"]], "samples.tsv: no samples"),
        ([], "samples.tsv: the sheet is empty"),
    ],
)
def test_a_bad_sample_sheet_is_refused_in_one_sentence(project, rows, message):
    project("config/samples.tsv", *rows)
    with pytest.raises(UserError, match=message) as raised:
        samples()
    assert "\n" not in str(raised.value)


def test_a_design_column_that_the_config_names_is_known(project):
    project("config/samples.tsv", ["sample", "age"], ["a", "7"])
    assert samples(["age"])["a"]["age"] == "7"


HEADER = ["sample", "fastq_1", "fastq_2"]
A = ["001", "../reads/a_1.fastq", "../reads/a_2.fastq"]
B = ["b", "../reads/b_1.fastq", "../reads/b_2.fastq"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [HEADER, A, ["c", *B[1:]]],
            "row 3 column sample: 'c' is not in config/samples",
        ),
        ([HEADER, A, ["b", B[1], "../reads/x.fastq"]], "row 3 column fastq_2: no such"),
        ([HEADER, A, ["b", *A[1:]]], "row 3 column fastq_1: .* listed already.*row 2"),
        ([HEADER, A, ["b", B[1], B[1]]], "row 3 column fastq_2: .* listed already"),
        ([HEADER, A], "samples.tsv row 3: sample 'b' has no row in config/reads.tsv"),
        (
            [HEADER, A, ["b", "x.txt", B[2]]],
            "row 3 column fastq_1: 'x.txt' does not fit",
        ),
        ([HEADER, A, ["b", "", ""]], "row 3: no reads; fill in fastq_1 .* accession"),
        ([["sample", "run"], ["001", "1"], ["b", "1"]], "row 2: no reads"),
        (
            [[*HEADER, "bam"], [*A, ""], [*B, "b.bam"]],
            "row 3: has FASTQ files and a bam; keep one of them",
        ),
        (
            [[*HEADER, "accession"], [*A, "SRR1"], [*B, ""]],
            "row 2: has FASTQ files and an accession",
        ),
        (
            [[*HEADER, "accession"], [*A, ""], ["b", "", "", "GSM1"]],
            "row 3 column accession: 'GSM1' does not fit: run of ENA or SRA",
        ),
        (
            [
                [*HEADER, "accession"],
                ["001", "", "", "SRR1"],
                ["b", "", "", "SRR1"],
            ],
            r"row 3 column accession: SRR1 is listed already \(row 2",
        ),
        (
            [[*HEADER, "fastq_3"], [*A, A[1]], [*B, ""]],
            "row 2 column fastq_3: .* listed already",
        ),
        (
            [[*HEADER, "bam"], [*A, ""], ["b", "", "", "no.bam"]],
            "row 3 column bam: no such file: config/no.bam",
        ),
        (
            [[*HEADER, "cell"], [*A, "a b"], [*B, ""]],
            "row 2 column cell: 'a b' does not fit",
        ),
        ([[*HEADER, "lan"], A], r"unknown column 'lan' \(did you mean 'lane'\?\)"),
    ],
)
def test_a_bad_read_sheet_is_refused_in_one_sentence(project, rows, message):
    project("config/reads.tsv", *rows)
    with pytest.raises(UserError, match=message):
        reads()


def test_rows_hold_files_in_any_number_a_bam_or_an_accession(project, tmp_path):
    for name in ("x.bam", "a_3.fastq"):
        (tmp_path / "reads" / name).write_text("x")
    project(
        "config/reads.tsv",
        [*HEADER, "fastq_3", "bam", "accession", "cell"],
        [*A, "../reads/a_3.fastq", "", "", "A1"],
        ["b", "", "", "", "../reads/x.bam"],
        ["b", B[1]],
        ["b", "", "", "", "", "SRR12345"],
    )
    found = reads()
    assert found["001"][0]["fastq_3"] == "reads/a_3.fastq"
    assert found["001"][0]["cell"] == "A1"
    bam, one, run = found["b"]
    assert bam["bam"] == "reads/x.bam"
    assert bam["fastq_1"] == ""
    assert one["fastq_1"] == "reads/b_1.fastq"
    assert run["accession"] == "SRR12345"


@pytest.mark.parametrize("name", ["empty.fastq", "empty.fastq.gz"])
def test_an_empty_fastq_is_named(project, tmp_path, name):
    path = tmp_path / "reads" / name
    path.write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    project("config/reads.tsv", HEADER, A, ["b", f"../reads/{name}", B[2]])
    with pytest.raises(
        UserError, match=rf"row 3 column fastq_1: reads/{name} is empty"
    ):
        reads()


def test_a_link_to_a_listed_file_is_the_same_file(project, tmp_path):
    (tmp_path / "reads/link.fastq").symlink_to(tmp_path / "reads/a_1.fastq")
    project("config/reads.tsv", HEADER, A, ["b", "../reads/link.fastq", B[2]])
    with pytest.raises(UserError, match="listed already"):
        reads()


def configured(**changes):
    return {
        "samples": "config/samples.tsv",
        "reads": "config/reads.tsv",
        "design": {"columns": [], "formula": "", "contrasts": {}},
        "inspect_reads": {"chemistry": "dropseq"},
        "check_reference": {"fasta": "reads/a_1.fastq", "gtf": "reads/a_1.fastq"},
        "prepare_whitelist": {},
        "fetch_whitelist": {"allowed": False},
    } | changes


def lists_of(config):
    return find_lists(config, registry=WHITELISTS, folder=CONFIG)


def loaded(**changes):
    config = configured(**changes)
    return load_sheets(
        config,
        samples_schema=SAMPLES,
        reads_schema=READS,
        chemistries=CHEMISTRIES,
        lists=lists_of(config),
        filter_section=FILTERS,
    )


def test_the_sheet_names_a_chemistry_over_the_config(project):
    project(
        "config/samples.tsv", ["sample", "chemistry"], ["001", ""], ["b", "dropseq"]
    )
    assert loaded().chemistries == {"001": "dropseq", "b": "dropseq"}


def test_an_unknown_chemistry_is_refused_with_the_near_one(project):
    project(
        "config/samples.tsv", ["sample", "chemistry"], ["001", ""], ["b", "drop-seq"]
    )
    with pytest.raises(UserError, match=r"row 3 column chemistry: .*mean 'dropseq'"):
        loaded()


@pytest.mark.usefixtures("project")
def test_a_missing_whitelist_or_reference_is_refused_by_its_key():
    with pytest.raises(UserError, match="prepare_whitelist: 3M-february-2018: no such"):
        loaded(inspect_reads={"chemistry": "10x_3p_v3"})
    with pytest.raises(UserError, match="check_reference: fasta is empty"):
        loaded(check_reference={"fasta": "", "gtf": ""})


@pytest.mark.usefixtures("project")
def test_without_a_name_the_reads_must_tell_the_chemistry():
    found = loaded(inspect_reads={"chemistry": ""})
    assert found.chemistries == {"001": "", "b": ""}


def test_lists_are_those_that_are_there_or_may_be_fetched(project, tmp_path):
    project("list.txt", ["ACGT"])
    named = {
        "3M-february-2018": "list.txt",
        # nothing is at the usual place
        "737K-arc-v1": "resources/whitelists/737K-arc-v1.txt.gz",
        "bd_cls1": "list.txt",
        "bd_cls2": "resources/whitelists/bd_cls2.txt.gz",
    }
    lists = lists_of(configured(prepare_whitelist=named))
    own = {name for name, entry in WHITELISTS.items() if "file" in entry}
    assert set(lists) == own - {"bd_cls2"} | {"3M-february-2018"}
    assert lists["bd_cls1"] == "list.txt", "the config goes before what comes along"
    assert Path(lists["bd_cls3"]).is_file()
    fetched = lists_of(
        configured(prepare_whitelist=named, fetch_whitelist={"allowed": True})
    )
    assert fetched["737K-arc-v1"] == "results/reads/whitelists/fetched/737K-arc-v1"
    assert "parse_v1_bc1" not in fetched, "nobody serves it"


def test_a_list_that_nobody_knows_is_refused_with_the_near_one():
    with pytest.raises(UserError, match=r"unknown list '3M-feb.* mean '3M-feb"):
        lists_of(configured(prepare_whitelist={"3M-febuary-2018": "x"}))


def test_samples_with_counts_need_no_read_sheet(project, tmp_path):
    (tmp_path / "m.h5ad").touch()
    (tmp_path / "config/reads.tsv").unlink()
    project("config/samples.tsv", ["sample", "counts"], ["a", "../m.h5ad"])
    sheets = loaded()
    assert sheets.reads == {}
    assert sheets.samples["a"]["counts"] == "m.h5ad"


def test_reads_and_counts_of_one_sample_are_refused(project, tmp_path):
    (tmp_path / "m.h5ad").touch()
    project("config/samples.tsv", ["sample", "counts"], ["001", "../m.h5ad"], ["b", ""])
    with pytest.raises(UserError, match="'001' has counts and also reads"):
        reads()


def test_a_row_says_its_own_thresholds_and_a_blank_is_what_the_config_says(project):
    columns = ["sample", "min_counts", "max_pct_counts_mt", "nuclei", "min_cells"]
    project(
        "config/samples.tsv",
        [*columns, "remove_doublets", "n_mads_mito"],
        ["001", "500", "12.5", "yes", "3", "no", "none"],
        ["b", "", "", "auto", ""],
    )
    found = loaded().filters
    assert found["001"] == {
        "min_counts": 500,
        "max_pct_counts_mt": 12.5,
        "nuclei": True,
        "min_cells": 3,
        "remove_doublets": False,
        "n_mads_mito": None,
    }
    assert found["b"] == {"nuclei": "auto"}


@pytest.mark.parametrize(
    ("column", "text", "allowed"),
    [
        ("max_pct_counts_mt", "120", "a number from 0 to 100, none"),
        ("max_pct_counts_mt", "5 %", "a number from 0 to 100, none"),
        ("min_counts", "-1", "a number from 0, none"),
        ("min_counts", "nan", "a number from 0, none"),
        ("n_mads_mito", "0", "a number above 0, none"),
        ("min_outlier_pct_mt", "none", "a number from 0 to 100"),
        ("min_cells", "2.5", "a whole number from 0"),
        ("nuclei", "maybe", "yes or no or auto"),
        ("remove_doublets", "1", "yes or no"),
    ],
)
def test_a_threshold_that_does_not_fit_is_refused(project, column, text, allowed):
    project("config/samples.tsv", ["sample", column], ["001", text], ["b", ""])
    says = f"samples.tsv row 2 column {column}: '{text}' does not fit: .*; give "
    with pytest.raises(UserError, match=f"{says}{allowed}, or leave it empty"):
        loaded()


def test_a_list_is_no_column_and_a_misspelt_threshold_no_new_one(project):
    project("config/samples.tsv", ["sample", "set_aside_when_failing"], ["001", "x"])
    with pytest.raises(UserError, match="unknown column 'set_aside_when_failing'"):
        loaded()
    project("config/samples.tsv", ["sample", "min_count"], ["001", "5"])
    with pytest.raises(UserError, match=r"'min_count' \(did you mean 'min_counts'"):
        loaded()


@pytest.mark.usefixtures("project")
def test_a_threshold_is_no_design_column():
    design = {"columns": ["min_counts"], "formula": "", "contrasts": {}}
    with pytest.raises(UserError, match="'min_counts' is a key of filter_cells"):
        loaded(design=design)


def test_a_list_that_is_not_where_the_config_says_is_told(tmp_path):
    missing = tmp_path / "list.txt"
    with pytest.raises(UserError, match=f"737K-arc-v1: no such file: {missing}"):
        lists_of(configured(prepare_whitelist={"737K-arc-v1": str(missing)}))
