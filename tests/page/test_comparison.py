"""The page of a run tells what changed since an earlier one."""

import shutil
from pathlib import Path

import pytest
from browser import needs_browser
from made_up_page import made_up, tree_module
from opened import opened
from page_acts import files_are_valid
from page_looks import nobody_is_shut_out, nothing_sticks_out
from page_numbers import compared_changes, packs_of

import find_changes
from _shared.report_tables import BIDI_CONTROL, bidi_shown

pytestmark = needs_browser

IMAGE = '"><img src=x onerror="globalThis.ran = 1"> \u202eturned'
SAMPLES = ("A.1", "B-2", "001")
GRAPH = {
    "filter_cells": "",
    "find_clusters": "filter_cells",
    "annotate_clusters": "find_clusters",
    "find_markers": "annotate_clusters",
    "test_expression": "annotate_clusters",
}
PATHS = {
    "filter_cells": [f"cells/{name}/cell_metrics.tsv" for name in SAMPLES],
    "find_clusters": ["clusters/resolutions.tsv"],
    "annotate_clusters": ["annotate/cell_labels.tsv.gz"],
    "find_markers": ["annotate/markers.tsv", "annotate/cell_type_markers.tsv"],
    "test_expression": ["compare/expression.tsv"],
}


def write_earlier(root: Path, tree) -> Path:
    """Write an earlier run: other cells, more clusters, other settings, no sample 001.

    Return the folder of its results.
    """
    tree.TYPES = ("T cells", f"B cells {IMAGE}", "NK cells")
    tree.write_tree(root, set_aside=("001",), n_clusters=5, n_cells=24, seed=3)
    results, config = root / "results", tree.config()
    config["find_clusters"]["resolution"] = 0.7
    config["annotate_clusters"]["aliases"] = IMAGE
    tree.write_json(
        results / "report/manifest.json",
        {
            "created": "2026-01-01T00:00:00+00:00",
            "workflow": {"commit": "a" * 40, "dirty": True},
            "versions": {"python": "3.11.0", f"tool {IMAGE}": "1"},
            "config": config,
            "sheets": {config["samples"]: (root / "samples.tsv").read_text()},
            "inputs": {"fastq": [record(f"gone {IMAGE}")]},
            "reference": {"fasta": record("genome.fa")},
            "outputs": [],
        },
    )
    return results


def record(path: str) -> dict:
    return {"path": path, "sha256": "0" * 64, "bytes": 1}


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    before = write_earlier(folder / f"earlier {IMAGE}", tree_module())
    tree, root = tree_module(), folder / "now"
    results = tree.write_tree(root) / "results"
    recorded = results / "report/inputs.json"
    tree.write_json(recorded, {"inputs": {}, "reference": {"fasta": record("new.fa")}})
    graph = root / "graph.tsv"
    rows = [f"stage\t{rule}\t{after}" for rule, after in GRAPH.items()]
    graph.write_text("\n".join(["stage\trule\tafter", *rows]) + "\n")
    changes = results / "report/comparison"
    find_changes.main(
        previous=before,
        recorded=recorded,
        star_version=None,
        graph=graph,
        samples=list(SAMPLES),
        paths=PATHS,
        config=tree.config(),
        title=IMAGE,
        folder=changes,
        results=results,
    )
    return made_up(root, tree, comparison=changes / "comparison.json")


@pytest.fixture(scope="module")
def seen(shell, page):
    with opened(shell, page, page.parents[2]) as shown:
        shown.open_all()
        yield shown


def test_every_number_of_the_comparison_is_the_one_on_disk(seen):
    counts = compared_changes(seen)
    assert all(counts.values()), counts
    assert counts.total() > 150, counts
    assert seen.heard == []


def test_the_flows_are_drawn_and_saved(seen):
    packs = packs_of(seen)
    for name in ("clusters", "labels"):
        figure = seen.page.locator(f"#fig-{name}-before-and-now")
        assert figure.locator("svg path").count() > 3
        assert figure.locator("svg").bounding_box()["height"] > 200
        files_are_valid(seen, figure, packs)
    assert seen.heard == []


def test_hostile_text_of_either_run_is_shown_and_does_nothing(seen):
    said = seen.page.locator("#how").text_content()
    assert said.count(bidi_shown(IMAGE)) >= 3
    assert not BIDI_CONTROL.search(seen.page.content())
    assert seen.page.evaluate("globalThis.ran") is None
    assert not seen.page.locator("img").count()
    assert seen.heard == []


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_sticks_out(shell, page, width):
    with opened(shell, page, page.parents[2], width=width) as seen:
        nothing_sticks_out(seen)
        assert seen.heard == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nobody_is_shut_out(shell, page, scheme):
    with opened(shell, page, page.parents[2], scheme=scheme) as seen:
        nobody_is_shut_out(seen)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_of_its_own_is_as_good(shell, page, width, tmp_path):
    alone = Path(shutil.copy(page.parent / "comparison/comparison.html", tmp_path))
    with opened(shell, alone, page.parents[2], width=width) as seen:
        nobody_is_shut_out(seen)
        nothing_sticks_out(seen)
        assert compared_changes(seen).total() > 150
        assert not BIDI_CONTROL.search(seen.page.content())
        assert seen.heard == []


def test_a_changed_number_is_found(shell, page):
    with opened(shell, page, page.parents[2]) as seen:
        cell = "[aria-label='cells per sample'] td.num"
        seen.page.eval_on_selector(cell, "one => { one.textContent = '98'; }")
        with pytest.raises(AssertionError, match="cells per sample"):
            compared_changes(seen)
