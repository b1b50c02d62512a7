"""Columns of the sample sheet come to the table of cells."""

import pandas as pd
import pytest

from _shared.sample_columns import with_sheet

SHEET = {
    "b": {"donor": "2", "condition": "stim"},
    "a": {"donor": "1", "condition": "ctrl"},
    # set aside: no cell is of it
    "c": {"donor": "3", "condition": "ctrl"},
}


def cells_of(samples):
    names = [f"c{i}" for i in range(len(samples))]
    obs = pd.DataFrame({"sample": pd.Categorical(samples)}, index=names)
    return obs.assign(total_counts=range(len(samples)))


def test_columns_stand_behind_the_sample_in_the_order_of_their_names():
    found = with_sheet(cells_of(["b", "a", "b"]), SHEET)
    assert list(found) == ["sample", "condition", "donor", "total_counts"]
    assert found["condition"].tolist() == ["stim", "ctrl", "stim"]
    assert found["donor"].tolist() == ["2", "1", "2"]
    assert found["total_counts"].tolist() == [0, 1, 2]


def test_categories_are_those_of_the_cells_in_order_of_appearance():
    found = with_sheet(cells_of(["b", "a", "b"]), SHEET)
    assert list(found["donor"].cat.categories) == ["2", "1"]
    assert list(found["condition"].cat.categories) == ["stim", "ctrl"]


def test_no_column_stands_there_twice():
    with pytest.raises(ValueError, match="both have donor"):
        with_sheet(cells_of(["a"]).assign(donor="1"), SHEET)


def test_without_cells_or_without_columns_nothing_breaks():
    empty = with_sheet(cells_of([]), SHEET)
    assert list(empty) == ["sample", "condition", "donor", "total_counts"]
    assert len(empty) == 0
    cells = cells_of(["a"])
    pd.testing.assert_frame_equal(with_sheet(cells, {"a": {}}), cells)
    pd.testing.assert_frame_equal(with_sheet(cells, {}), cells)
