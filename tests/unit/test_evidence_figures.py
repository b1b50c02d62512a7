"""Figures of the evidence are drawn for the smallest data, and mark what is chosen."""

import numpy as np
import pandas as pd
import pytest

from _shared import evidence_figures as figures
from _shared.figures import LIMIT
from _shared.report_evidence import pair_squares, tree_figure
from _shared.report_tables import failed_shares, read_evidence, square
from _shared.svg import to_svg

LINKS = pd.DataFrame(
    {
        "resolution": [0.1, 0.2, 0.2, 0.4, 0.4, 0.4],
        "cluster": ["0", "0", "1", "0", "1", "2"],
        "n_cells": [100, 60, 40, 60, 30, 10],
        "parent": ["", "0", "0", "0", "1", "1"],
        "share": [np.nan, 1, 1, 1, 1, 1],
    }
)
CHOICE = pd.DataFrame(
    {
        "resolution": [0.1, 0.2, 0.4],
        "stability": [1, 0.9, 0.4],
        "n_clusters": [1, 2, 3],
        "chosen": [False, True, False],
    }
)


def test_children_stand_below_their_parents_in_their_order():
    nodes = pd.DataFrame(
        {"level": [0, 0, 1, 1, 1], "size": [60, 40, 10, 40, 50]}, index=list("abcde")
    )
    edges = pd.DataFrame({"parent": list("bba"), "child": list("cde"), "share": 1.0})
    place = figures.tree_places(nodes, edges)
    assert list(place[list("cde")].sort_values().index) == ["e", "d", "c"]
    assert place["a"] == pytest.approx(place["e"]), "a line straight down"
    assert place["d"] < place["b"] < place["c"]
    assert place.between(0, 1).all()


def test_nodes_lie_apart():
    for places in ([0.5, 0.5, 0.5], [0.9, 0.95, 1.0], [0.1]):
        moved = figures._spread(np.array(places), gap=0.2)
        assert (np.diff(moved) > 0.2 - 1e-9).all()
        assert ((moved > 0) & (moved < 1)).all()


def test_the_tree_has_all_clusters_and_colors_those_in_use():
    colors = {"0": "#123456", "1": "#654321"}
    text = tree_figure(LINKS, CHOICE, colors=colors).svg
    assert text.count("#123456") == text.count("#654321") == 1
    for label in ("0.1", "0.2", "0.4"):
        assert f">{label}</text>" in text


def test_one_resolution_is_no_tree():
    assert tree_figure(LINKS.iloc[:1], CHOICE, colors={}) is None
    assert tree_figure(LINKS.iloc[:0], CHOICE, colors={}) is None


def test_the_chosen_resolution_is_marked():
    panels = {"stability": "stability", "n_clusters": "clusters"}
    figure = figures.resolution_curves(CHOICE, panels=panels)
    for axes in figure.axes:
        assert axes.lines[0].get_xdata()[0] == 0.2, "the dashed line"
        assert axes.lines[-1].get_xdata().tolist() == [0.2]
    none = CHOICE.assign(chosen=False)
    assert LIMIT not in to_svg(figures.resolution_curves(none, panels=panels), "x")


@pytest.mark.parametrize("value", [np.nan, 0.0, 7.0])
def test_what_was_not_estimated_is_said(value):
    table = pd.DataFrame(
        {"name": ["$a$"], "value": value, "low": np.nan, "high": np.nan}
    ).assign(filled=False)
    text = to_svg(figures.interval_points(table, xlabel="x"), "x")
    assert ("not estimated" in text) == np.isnan(value)
    assert ">$a$</text>" in text


def test_a_marked_tile_has_a_frame():
    values = pd.DataFrame([[np.nan, 30.0], [30.0, np.nan]], list("ab"), list("ab"))
    plain = to_svg(figures.tiles(values, label="x"), "x")
    marked = to_svg(figures.tiles(values, label="x", marked={("a", "b")}), "x")
    assert LIMIT not in plain
    assert LIMIT in marked
    assert plain.count(">30</text>") == 2


@pytest.mark.parametrize(("n", "has_scale"), [(14, False), (15, True)])
def test_tiles_without_numbers_have_a_scale(n, has_scale):
    figure = figures.tiles(pd.DataFrame(np.full((2, n), 40.0)), label="x", most=80)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert written == ([] if has_scale else ["40"] * 2 * n)
    scales = [axes.get_ylim() for axes in figure.axes[1:]]
    assert scales == ([(0, 80)] if has_scale else [])


def test_the_highest_of_many_clusters_is_not_cut():
    table = CHOICE.assign(n_clusters=np.arange(len(CHOICE)) + 40)
    (axes,) = figures.resolution_curves(table, panels={"n_clusters": "n"}).axes
    assert axes.get_ylim()[1] > 1.05 * table["n_clusters"].max()


PAIRS = pd.DataFrame(
    [
        ("a", "b", "shared_barcodes", 3.0, "pass"),
        ("a", "c", "shared_barcodes", 90.0, "warn"),
        ("b", "c", "shared_barcodes", 2.0, "pass"),
        ("a", "b", "sex_genes", 1.0, "warn"),
        ("b", "a", "expression_distance", 0.4, "warn"),
    ],
    columns=["sample", "other", "check", "value", "status"],
)


def test_only_pairs_that_share_barcodes_are_framed():
    evidence = {"distances": [{"sample": "a", "other": "b", "value": 0.4}]}
    squares = pair_squares(PAIRS, evidence, ["a", "b", "c"])
    assert squares["shared_barcodes"][1]["marked"] == {("a", "c"), ("c", "a")}
    assert "marked" not in squares["expression_distance"][1]
    assert list(squares["expression_distance"][0]) == ["a", "b"]


def test_pairs_of_too_many_samples_and_of_none_have_no_square():
    names = [f"s{i}" for i in range(61)]
    distances = [{"sample": "s0", "other": name, "value": 1.0} for name in names[1:]]
    assert not pair_squares(PAIRS.iloc[:0], {"distances": distances}, names)
    assert pair_squares(PAIRS.iloc[:0], {"distances": distances[1:]}, names)


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (3, 0), (60, 60)])
def test_tiles_of_any_size_are_drawn(shape):
    assert to_svg(figures.tiles(pd.DataFrame(np.zeros(shape)), label="x"), "x")


@pytest.mark.parametrize("n", [0, 1, 30])
def test_few_and_many_samples_are_drawn(n):
    names = [f"s{i}" for i in range(n)]
    sexes = pd.DataFrame(
        {
            "sample": names,
            "percent_cells_xist": 10.0,
            "percent_cells_y": 1.0,
            "sex_declared": "",
            "warned": False,
        }
    )
    assert to_svg(figures.sex_points(sexes), "x")
    rates = pd.DataFrame({"name": names, "expected": 3.0, "observed": np.nan})
    assert to_svg(figures.rate_pairs(rates, xlabel="x"), "x")
    scores = pd.DataFrame({"name": names, "value": np.nan})
    assert to_svg(figures.score_bars(scores, xlabel="x", limit=0.5), "x")


LEDGER = pd.DataFrame(
    {
        "sample": ["a"] * 5 + ["b"] * 5,
        "step": ["barcodes_seen", "not_called", "low", "doublet", "kept"] * 2,
        "removed_any": [0, 90, 5, 2, 0, 0, 100, 0, 0, 0],
        "remaining": [100, 10, 5, 4, 4, 100, 0, 0, 0, 0],
    }
)


def test_cells_are_counted_for_every_rule_they_fail():
    shares = failed_shares(LEDGER)
    assert shares.loc["a"].to_dict() == {"low": 50, "doublet": 20}
    assert list(shares.index) == ["a"], "a sample without called cells has no shares"


def test_a_rule_that_takes_nothing_has_no_column():
    assert failed_shares(LEDGER.assign(removed_any=0)).shape == (1, 0)


def test_pairs_become_a_square_in_the_order_of_the_sheet():
    pairs = pd.DataFrame({"sample": ["c"], "other": ["a"], "value": [0.5]})
    wide = square(pairs, ["a", "b", "c"])
    assert list(wide.index) == ["a", "c"]
    assert wide.loc["a", "c"] == wide.loc["c", "a"] == 0.5
    assert square(pairs.iloc[:0], ["a"]) is None


def test_numbers_are_told_from_names(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text(
        "cluster\tstability\tflagged\tremark\tinside\n0\t0.5\tTrue\t\t\n1\t\tFalse\tx\t\n"
    )
    table = read_evidence(path)
    assert table["cluster"].tolist() == ["0", "1"]
    assert table["stability"].iloc[0] == 0.5
    assert np.isnan(table["stability"].iloc[1])
    assert table["flagged"].tolist() == [True, False]
    assert table["remark"].tolist() == ["", "x"]
    assert table["inside"].isna().all()
