"""The README beside the results explains what the rules write, and nothing else."""

import re
from pathlib import Path

import pytest

from _shared.result_files import FILES, FOLDERS, files_of_run, rules_of
from _shared.rule_causes import RULES, read_graph
from write_readme import main

ROOT = Path(__file__).parents[2]
RULE = re.compile(r"^rule (\w+):\n(.*?)(?=^rule |\Z)", re.MULTILINE | re.DOTALL)
BODIES = {
    name: body
    for path in sorted(ROOT.glob("rules/*.smk"))
    for name, body in RULE.findall(path.read_text())
}
# files whose names a function makes
BY_FUNCTION = {
    "kept_alignments()": [
        "count/{sample}/Aligned.sortedByCoord.out.bam",
        "count/{sample}/Aligned.sortedByCoord.out.cram",
    ]
}
OFF = {file.when: False for file in FILES if file.when not in ("", "reads")}
# what tells of a run, and copies of results in other forms
NOT_TOLD = {
    "compare_parity",
    "draw_figures",
    "export_cellxgene",
    "export_matrices",
    "export_object",
    "export_tables",
    "find_changes",
    "record_inputs",
    "write_crate",
    "write_manifest",
    "write_readme",
    "write_report",
}


def outputs(body: str) -> set[str]:
    """Return the patterns of a rule's files below results/, folders with a slash."""
    block = re.search(r"    output:\n(.*?)\n    log:", body, re.DOTALL)[1]
    folders = set(re.findall(r'directory\(\s*"results/([^"]+)"', block))
    found = {
        f"{path}/" if path in folders else path
        for path in re.findall(r'"results/([^"]+)"', block)
    }
    for call, paths in BY_FUNCTION.items():
        if call in block:
            found |= set(paths)
    return found


@pytest.mark.parametrize("name", sorted(BODIES))
def test_every_output_of_a_rule_is_explained_as_its_own(name):
    explained = {file.path for file in FILES if name in file.rules}
    assert outputs(BODIES[name]) == explained


def test_every_file_is_explained_once_by_a_sentence_without_a_stop():
    paths = [file.path for file in FILES]
    assert len(paths) == len(set(paths))
    for file in FILES:
        assert file.what
        assert not file.what.endswith(".")
        assert "|" not in file.what + "".join(file.columns.values())
        assert ("/" not in file.path) or file.path.split("/")[0] in FOLDERS


def test_the_causes_of_a_rule_are_all_that_it_reads_of_the_config():
    for name, causes in RULES.items():
        read = set(re.findall(r'config\["(\w+)"\]', BODIES[name])) - {name}
        assert read <= set(causes.config), name


def test_every_rule_is_told_or_tells_of_the_run():
    assert set(RULES) | NOT_TOLD >= set(BODIES)
    assert set(RULES) <= set(BODIES)
    assert set(read_graph(ROOT / "rules/graph.tsv")) >= set(RULES) - {"compare_parity"}


def patterns(found) -> set[str]:
    return {file.path for file, _ in found}


def test_without_reads_there_is_nothing_of_reads_and_references():
    found = files_of_run(samples=["c"], read_samples=[], switched=OFF)
    folders = {pattern.split("/")[0] for pattern in patterns(found)}
    assert not folders & {"reads", "reference"}
    assert "count/{sample}/Solo.out/" not in patterns(found)
    by_rule = rules_of(found, read_samples=[])
    assert "call_cells" not in by_rule
    assert "count/c/calling.json" in by_rule["call_given"]


def test_a_sample_with_reads_and_one_with_counts_have_rules_of_their_own():
    found = files_of_run(samples=["a", "c"], read_samples=["a"], switched=OFF)
    by_rule = rules_of(found, read_samples=["a"])
    assert "count/a/calling.json" in by_rule["call_cells"]
    assert "count/c/calling.json" in by_rule["call_given"]
    assert "count/c/metrics.json" not in by_rule["call_cells"]
    assert by_rule["count_reads"] == ["count/a/Solo.out/", "count/a/Log.final.out"]


def test_an_optional_file_is_there_when_it_is_switched_on():
    on = {**OFF, "velocity": True, "infer_velocity": True, "accession": ["SRR1"]}
    found = files_of_run(samples=["a"], read_samples=["a"], switched=on)
    assert "annotate/velocity.h5ad" in patterns(found)
    assert dict(rules_of(found, read_samples=["a"]))["fetch_reads"] == [
        "reads/fetched/SRR1/"
    ]
    off = files_of_run(samples=["a"], read_samples=["a"], switched=OFF)
    assert "annotate/velocity.h5ad" not in patterns(off)


def write(folder: Path, **more) -> str:
    given = {
        "patterns": {
            "README.md": ["write_readme"],
            "report/report.html": ["write_report"],
            "compare/expression.tsv": ["test_expression"],
            "cells/{sample}/ledger.tsv": ["filter_cells"],
        },
        "read_samples": ["a", "b"],
        "count_samples": ["c"],
        "whitelists": [],
        "accessions": [],
        "page": folder / "README.md",
        **more,
    }
    main(**given)
    return given["page"].read_text()


def test_the_readme_names_the_files_of_the_run_and_no_other(tmp_path):
    text = write(tmp_path)
    named = set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))
    assert named == {
        "report/report.html",
        "compare/expression.tsv",
        "cells/<sample>/ledger.tsv",
    }
    assert "`<sample>`, samples with reads (2): `a`, `b`" in text
    assert "`<sample>`, samples with counts (1): `c`" in text
    assert "barcode lists" not in text


def test_columns_are_explained_where_the_table_is(tmp_path):
    text = write(tmp_path)
    assert "- `removed_first`: cells whose first reason this is" in text
    assert "- `padj`: p-value corrected" in text
    assert "median absolute deviation" not in text, "thresholds.tsv is not there"


def test_a_file_that_nothing_explains_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"not in .*: \['x/new.tsv'\]"):
        write(tmp_path, patterns={"x/new.tsv": ["new_rule"]})
