"""Figures are drawn for the smallest data, and carry no word of users as markup."""

import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.text import Text

from _shared import figures
from _shared.palette import CATEGORIES, UNKNOWN, colors_of
from _shared.svg import MOST_VECTOR_POINTS, to_svg

RANKS = pd.DataFrame(
    {"rank": [1, 10, 100], "total_counts": [900, 500, 3], "is_cell_share": [1, 0.5, 0]}
)


def embedding(n: int) -> tuple[np.ndarray, pd.Series]:
    points = np.random.default_rng(1).normal(size=(n, 2))
    return points, pd.Series(pd.Categorical(["a"] * (n // 2) + ["b"] * (n - n // 2)))


def categorical(n: int) -> str:
    points, labels = embedding(n)
    figure = figures.umap_by_category(
        points, labels, colors=["#112233", "#445566"], name_groups=True
    )
    return to_svg(figure, "x")


def test_a_figure_is_one_svg_without_outside_references():
    text = to_svg(figures.knee_plot(RANKS), "Knee")
    assert text.startswith('<svg role="img" aria-label="Knee"')
    assert text.rstrip().endswith("</svg>")
    assert "http" not in text
    assert "metadata" not in text


def test_colors_of_the_frame_come_from_the_page():
    text = to_svg(figures.knee_plot(RANKS), "Knee")
    assert "var(--muted)" in text
    assert "var(--line)" in text
    assert "DejaVu" not in text


def test_text_stays_text():
    assert ">barcode rank</text>" in to_svg(figures.knee_plot(RANKS), "Knee")


def test_what_was_not_measured_is_dashed():
    curve = pd.DataFrame(
        {
            "source": ["thinned", "measured", "extrapolated", "extrapolated"],
            "mean_reads_per_cell": [500, 1000, 2000, 4000],
            "sequencing_saturation": [10, 20, 33, 50],
            "median_genes_per_cell": [100, 150, 180, 190],
        }
    )
    figure = figures.saturation_curves({"s": curve})
    for axes in figure.axes:
        solid, dashed, dot = (line.get_xdata().tolist() for line in axes.lines)
        assert solid == [500, 1000]
        assert dashed == [1000, 2000, 4000]
        assert dot == [1000]
        assert axes.lines[1].get_linestyle() == "--"


def test_the_same_data_gives_the_same_figure():
    assert categorical(MOST_VECTOR_POINTS + 1) == categorical(MOST_VECTOR_POINTS + 1)


@pytest.mark.parametrize(
    ("n", "is_image"), [(MOST_VECTOR_POINTS, False), (MOST_VECTOR_POINTS + 1, True)]
)
def test_large_point_clouds_are_pixels(n, is_image):
    assert ("data:image/png" in categorical(n)) == is_image


def test_ids_without_a_reference_are_left_out():
    text = categorical(10)
    ids = re.findall(r' id="([^"]+)"', text)
    assert all(f"#{name}" in text for name in ids)


@pytest.mark.parametrize("label", ['a "b" <c> & d', "<script>alert(1)</script>"])
def test_labels_are_escaped(label):
    values = pd.Series([3, 1], index=[label, "$x_1$"])
    text = to_svg(figures.bars(values, colors=["#111111"] * 2, xlabel="n"), label)
    assert "<script>" not in text
    assert "<c>" not in text
    assert ">$x_1$</text>" in text


def test_a_knee_of_no_counts_is_drawn_empty():
    empty = RANKS.assign(total_counts=0)
    assert to_svg(figures.knee_plot(empty), "x")


@pytest.mark.parametrize("n", [0, 1, 2])
def test_a_map_of_few_cells_is_drawn(n):
    points = np.zeros((n, 2))
    assert to_svg(figures.umap_by_value(points, np.zeros(n), label="v"), "x")


def test_the_color_range_is_that_of_the_values_or_the_given_one():
    points, _ = embedding(200)
    values = np.linspace(3, 5, 200)
    for limits, expected in ((None, (3.02, 4.98)), ((0.5, 1), (0.5, 1))):
        figure = figures.umap_by_value(points, values, label="v", limits=limits)
        assert figure.axes[0].collections[0].get_clim() == pytest.approx(expected)


def test_limits_that_bound_nothing_are_not_drawn():
    cells = pd.DataFrame({"sample": "a", "total_counts": [10, 20, 30]})
    for name in ("n_genes_by_counts", "pct_counts_mt", "doublet_score"):
        cells[name] = [1.0, np.nan, 3.0]
    bounds = pd.DataFrame(
        {"sample": ["a"], "metric": ["total_counts"], "lower": -np.inf, "upper": np.inf}
    )
    plain = to_svg(figures.qc_ridges(cells, bounds), "x")
    cut = to_svg(figures.qc_ridges(cells, bounds.assign(upper=25.0)), "x")
    assert figures.LIMIT not in plain
    assert figures.LIMIT in cut


def test_a_p_value_of_zero_has_a_place_in_the_volcano():
    table = pd.DataFrame(
        {
            "gene_name": ["a", "b", "c"],
            "log2_fold_change": [1.0, -1.0, np.nan],
            "p_value": [0.0, 1e-5, np.nan],
            "padj": [0.0, 1e-4, np.nan],
        }
    )
    text = to_svg(figures.volcano(table, fdr=0.05), "x")
    assert ">a</text>" in text
    assert ">c</text>" not in text


@pytest.mark.parametrize("p_value", [0.0, np.nan])
def test_a_volcano_of_nothing_but_extremes_is_drawn(p_value):
    table = pd.DataFrame({"gene_name": ["a"], "log2_fold_change": [1.0]})
    table = table.assign(p_value=p_value, padj=p_value)
    assert to_svg(figures.volcano(table, fdr=0.05), "x")


@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_the_largest_changes_are_named_once_and_do_not_collide(n):
    change = np.linspace(3, -3, n) if n > 1 else np.full(n, 2.0)
    table = pd.DataFrame({"gene_name": [f"g{k}" for k in range(n)]})
    table = table.assign(log2_fold_change=change, base_mean=np.arange(n) + 1.0)
    figure = figures.mean_difference(table)
    labels = figure.axes[0].texts
    names = [label.get_text() for label in labels]
    assert len(names) == len(set(names))
    assert set(names) >= {f"g{k}" for k in (0, n - 1) if 0 <= k < n and change[k]}
    heights = sorted(label.get_position()[1] for label in labels)
    low, high = figure.axes[0].get_ylim()
    assert (np.diff(heights) > 0.055 * (high - low)).all()
    assert to_svg(figure, "x")


def test_groups_of_a_heatmap_are_named():
    values = pd.DataFrame([[1.0, -1.0]], index=["g"], columns=["s1", "s2"])
    groups = pd.Series(["ctrl", "stim"], index=["s1", "s2"])
    text = to_svg(figures.heatmap(values, groups=groups), "x")
    assert ">ctrl</text>" in text
    assert ">stim</text>" in text


def test_found_types_have_a_star():
    shares = pd.DataFrame(
        {"cell_type": ["T", "B"], "group": ["x", "y"], "share": [20.0, 80.0]}
    )
    text = to_svg(figures.share_points(shares, groups=("x", "y"), found={"T"}), "x")
    assert ">T ★</text>" in text
    assert ">B</text>" in text


def test_many_categories_do_not_grow_the_legend():
    names = [str(i) for i in range(90)]
    labels = pd.Series(pd.Categorical(names, categories=names))
    figure = figures.umap_by_category(
        np.zeros((90, 2)), labels, colors=colors_of(names), name_groups=False
    )
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown == [*names[:71], "and 19 more"]


@pytest.mark.parametrize("name", ["a name of very many letters ", ""])
@pytest.mark.parametrize("n", [1, 15, 40])
def test_a_legend_of_a_map_has_room(name, n):
    names = [f"{name}{i:03d}" for i in range(n)]
    labels = pd.Series(pd.Categorical(names, categories=names))
    figure = figures.umap_by_category(
        np.zeros((n, 2)), labels, colors=colors_of(names), name_groups=True
    )
    assert_nothing_cut(figure)
    (legend,) = figure.legends
    shown = [text.get_text()[-3:] for text in legend.get_texts()]
    assert shown[: n - 17] == [f"{i:03d}" for i in range(n)][: n - 17]


def assert_nothing_cut(figure) -> None:
    figure.draw_without_rendering()
    drawn = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert min(drawn.x0, drawn.y0) > -0.01
    assert drawn.x1 < width + 0.01
    assert drawn.y1 < height + 0.01


def test_names_that_differ_at_the_end_stay_apart():
    names = [f"sample_of_a_cohort_with_long_names_{i:04d}" for i in range(200)]
    shown = [figures.clipped(name) for name in names]
    assert {len(name) for name in shown} == {26}
    assert len(set(shown)) == len(names)
    assert figures.clipped("a" * 26) == "a" * 26


@pytest.mark.parametrize("n", [2, 24, 30])
def test_a_stack_tells_of_parts_that_its_legend_has_no_room_for(n):
    names = [f"_{i}" for i in range(n)]
    table = pd.DataFrame(np.ones((1, n)), index=["a"], columns=names)
    figure = figures.stacked_bars(table, colors=colors_of(names), xlabel="x")
    shown = [text.get_text() for text in figure.legends[0].get_texts()]
    assert shown == (names if n <= 24 else [*names[:23], "and 7 more"])
    assert_nothing_cut(figure)


def test_cells_without_a_number_are_gray():
    points, _ = embedding(4)
    values = np.array([0.0, 1, np.nan, 2])
    figure = figures.umap_by_value(points, values, label="v", limits=(0, 2))
    (drawn,) = figure.axes[0].collections
    assert len(drawn.get_offsets()) == 4
    figure.draw_without_rendering()
    gray = [to_hex(color) == figures.NO_CELL for color in drawn.get_facecolors()]
    assert sum(gray) == 1


@pytest.mark.parametrize(
    ("limits", "extend"),
    [((0, 3), "neither"), ((1, 3), "min"), ((0, 2), "max"), ((1, 2), "both")],
)
def test_a_scale_tells_of_values_beyond_it(limits, extend):
    values = np.array([0.0, 1, 3, np.nan])
    figure = figures.umap_by_value(np.zeros((4, 2)), values, label="v", limits=limits)
    assert figure.axes[0].collections[0].colorbar.extend == extend


@pytest.mark.parametrize("draw", [figures.volcano, figures.mean_difference])
def test_long_names_of_genes_stay_in_the_frame(draw):
    table = pd.DataFrame(
        {
            "gene_name": [f"ENSMUSG000000000{i:02d}.1" for i in range(8)],
            "log2_fold_change": [4.0, -4, 3, -3, 2, -2, 1, -1],
            "base_mean": 10.0 ** np.arange(8),
            "p_value": 10.0 ** -np.arange(8, 0, -1),
            "padj": 1e-3,
        }
    )
    figure = draw(table, fdr=0.05)
    figure.draw_without_rendering()
    frame = figure.axes[0].get_window_extent()
    for text in figure.axes[0].texts:
        # without the line to its point
        name = Text.get_window_extent(text)
        assert name.x0 > frame.x0 - 1, text.get_text()
        assert name.x1 < frame.x1 + 1, text.get_text()


def test_colors_are_distinct_and_unknown_is_gray():
    colors = colors_of([*map(str, range(40)), "unknown"])
    assert len(set(colors)) == 41
    assert colors[: len(CATEGORIES)] == list(CATEGORIES)
    assert colors[-1] == UNKNOWN


@pytest.mark.parametrize(
    ("places", "moved"),
    [([9, 5, 1], [9, 5, 1]), ([9, 9, 9], [9, 7, 5]), ([1, 1, 1], [5, 3, 1]), ([], [])],
)
def test_labels_move_apart_and_stay_above_the_axis(places, moved):
    found = figures._apart(np.array(places), step=2)
    assert found.tolist() == moved
