"""Every number of the page is the one on disk."""

import pytest
from browser import needs_browser
from opened import opened
from page_numbers import (
    compared_cells,
    compared_charts,
    compared_counts,
    factors_of,
    packs_of,
    without_source,
)

# of the made-up run; fewer means that numbers lost their source
LEAST_CELLS, LEAST_COUNTS, LEAST_CHARTS = 1_000, 25, 3_000


@needs_browser
def test_every_number_of_a_table_stands_in_its_file(seen):
    seen.open_all()
    counts = compared_cells(seen)
    assert counts["numbers"] >= LEAST_CELLS, counts
    assert without_source(counts) == set()


@needs_browser
def test_what_the_page_counts_is_counted_again(seen):
    assert compared_counts(seen, packs_of(seen)) >= LEAST_COUNTS


@needs_browser
def test_every_chart_is_drawn_from_its_tables(seen):
    counts = compared_charts(seen, packs_of(seen))
    assert all(counts.values()), counts
    assert counts.total() >= LEAST_CHARTS, counts


@needs_browser
@pytest.mark.parametrize(
    "change", ["one.dataset.value = '99'", "one.textContent = '99.00'"]
)
def test_a_changed_number_is_found(shell, page, change):
    cell = "#markers-table td[data-column=score]"
    with opened(shell, page, page.parents[2]) as seen:
        seen.page.eval_on_selector(cell, f"one => {{ {change}; }}")
        with pytest.raises(AssertionError, match="markers-table, row 1, score"):
            compared_cells(seen)


@pytest.mark.parametrize(
    ("shown", "exact", "factors"),
    [
        ("1,234", 1234.4, {1}),
        ("1,234", 1235.0, set()),
        ("94.6 %", 0.946, {100}),
        ("94.6 %", 94.58, {1}),
        ("94.6 %", 0.9472, set()),
        ("1.0e-05", 1.04e-5, {1}),
        ("1.0e-05", 1.2e-5, set()),
        ("0.30", 0.304, {1}),
        ("0.30", 0.306, set()),
        ("0.123", 0.12345, {1}),
        ("0.124", 0.12345, set()),
        ("✓ 61.5 %", 61.5, {1}),
        ("-", 3.0, set()),
    ],
)
def test_a_rounded_number_is_told_from_a_wrong_one(shown, exact, factors):
    assert factors_of(shown, exact) == factors
