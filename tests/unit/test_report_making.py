"""What the page tells of its making: cost of the rules, their graph, checksums."""

import numpy as np
import pandas as pd
import pytest

from _shared.report_making import (
    RuleGraph,
    checksums,
    clock,
    columns,
    graph_svg,
    libraries,
    marker_tables,
    parameters,
    parents_of,
    read_benchmarks,
    read_graph,
    without_detours,
)
from _shared.report_sources import Sources, is_same, place_of

ROWS = [
    ["reads", "trim", ""],
    ["reads", "count", "trim"],
    ["report", "draw", "count"],
    ["report", "page", "trim,count,draw"],
    ["report", "sums", "page"],
]


def write_benchmark(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["s", "max_rss", "cpu_time"])
    table.to_csv(path, sep="\t", index=False)


def test_jobs_of_a_rule_are_added_up(tmp_path):
    write_benchmark(tmp_path / "count/a.tsv", (10, 300, 8))
    write_benchmark(tmp_path / "count/b.tsv", (20, 200, "NA"))
    write_benchmark(tmp_path / "trim.tsv", (1.5, "NA", 1))
    write_benchmark(tmp_path / "page.tsv", (99, 99, 99))
    found = read_benchmarks(tmp_path, {"count", "trim"}).set_index("rule")
    assert list(found.index) == ["count", "trim"]
    row = found.loc["count", ["n_jobs", "seconds", "longest_seconds", "cpu_seconds"]]
    assert row.tolist() == [2, 30, 20, 8]
    assert found.loc["count", "max_rss_mb"] == 300
    assert np.isnan(found.loc["trim", "max_rss_mb"])


def test_without_measurements_there_is_no_table(tmp_path):
    assert read_benchmarks(tmp_path / "absent", {"count"}).empty
    assert read_benchmarks(tmp_path, {"count"}).empty


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (4.06, "4.1 s"),
        (59.99, "60.0 s"),
        (123, "2 min 03 s"),
        (3900, "1 h 05 min"),
        (np.nan, "-"),
    ],
)
def test_times_are_written_as_people_read_them(seconds, text):
    assert clock(seconds) == text


def test_what_a_longer_way_goes_along_is_left_out():
    edges = read_graph(ROWS).edges
    assert ("trim", "page") in edges
    kept = [("trim", "count"), ("count", "draw"), ("draw", "page"), ("page", "sums")]
    assert without_detours(edges) == kept


def test_rules_before_a_rule_are_found():
    assert read_graph(ROWS).before("page") == {"trim", "count", "draw"}
    assert read_graph(ROWS).before("trim") == set()


def test_no_rule_stands_before_one_that_it_comes_after():
    graph = read_graph(ROWS)
    parents = parents_of(graph.edges)
    assert columns(graph.stages["report"], parents) == [["draw"], ["page"], ["sums"]]
    assert columns(["sums", "trim"], parents) == [["sums", "trim"]]


def test_a_part_of_the_graph_has_the_edges_among_its_rules():
    part = read_graph(ROWS).only({"trim", "count"})
    assert part == RuleGraph({"reads": ["trim", "count"]}, [("trim", "count")])


def test_the_picture_names_every_rule_and_escapes_it():
    rows = [*ROWS, ["report", "<b>", "sums"]]
    drawn = str(graph_svg(read_graph(rows), {"trim": 61}))
    assert drawn.count("<text") == 2 + 6
    assert "&lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert "<title>trim, 1 min 01 s</title>" in drawn
    assert graph_svg(read_graph([]), {}) is None


def test_checksums_are_found_wherever_they_stand_each_file_once():
    file = {"path": "a.fa", "sha256": "00", "bytes": 3}
    known = [{"fasta": file}, {"inputs": {"x": [file, {"path": "b", "sha256": "1"}]}}]
    assert [row["path"] for row in checksums(known)] == ["a.fa", "b"]


def test_every_key_of_a_configuration_is_told():
    rows = parameters({"seed": 1, "a": {"b": [1, "é"], "c": {}}, "empty": {}})
    told = [(row["section"], row["key"], row["value"]) for row in rows]
    assert told == [
        ("", "seed", "1"),
        ("a", "b", '[1, "é"]'),
        ("a", "c", "{}"),
        ("empty", "empty", "{}"),
    ]


def test_marker_tables_that_came_along_are_told_from_others():
    config = {"annotate_clusters": {"markers": ["human_blood", "my/own.tsv"]}}
    assert marker_tables(config) == (["human_blood"], ["my/own.tsv"])
    assert marker_tables({"annotate_clusters": {"markers": ""}}) == ([], [])


def test_libraries_are_named_with_version_and_licence():
    text = (
        "made by x\n\necharts 6.1.0, Apache-2.0\n\nCopyright 2017, A\ntslib 2.3.0, 0BSD"
    )
    assert libraries(text) == ["echarts 6.1.0, Apache-2.0", "tslib 2.3.0, 0BSD"]


@pytest.mark.parametrize(
    ("value", "text", "same"),
    [
        (0.1, "0.1", True),
        (3, "3", True),
        (3.0, "3", True),
        (np.nan, "", True),
        (np.inf, "inf", True),
        (1.0, "1.1", False),
        (1.0, "one", False),
        (True, "True", True),
        (False, "True", False),
        (None, "null", True),
        ("001", "001", True),
        ("1", "001", False),
    ],
)
def test_a_value_is_held_against_its_text(value, text, same):
    assert is_same(value, text) is same


def test_a_value_knows_its_place_and_a_changed_one_has_none(tmp_path):
    path = tmp_path / "results" / "t.tsv"
    path.parent.mkdir()
    path.write_text('a\tb\n1e-05\tx\n2\t"two\nlines"\n')
    row = {"_file": str(path), "_row": 0, "a": 1e-5, "b": "other"}
    sources = Sources()
    assert sources.text(row, "a") == "1e-05"
    assert sources.text(row, "b") is None
    assert sources.text(row, "c") is None
    assert sources.text(row | {"_row": 7}, "a") is None
    assert sources.text({"a": 1}, "a") is None
    assert sources.text({**row, "_row": 1, "b": "two\nlines"}, "b") == "two\nlines"
    assert sources.place(row) == "results/t.tsv" == place_of(path)
    assert sources.number(row) == 1
