"""Figures of the evidence: what stands behind cells, samples and clusters."""

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullFormatter

from _shared.figures import CELL, LIMIT, NO_CELL, clipped, color_bar, sized
from _shared.palette import DOWN, UP
from _shared.svg import GRID, INK, MUTED, SURFACE, styled

# more columns than this have no room for numbers in the tiles
MOST_WRITTEN = 14
# opacity of a tile of nothing, and what the highest value adds
FAINT, STRENGTH = 0.05, 0.75
SEX_COLORS = {"female": UP, "male": DOWN, "": NO_CELL}


def _rows(figure_width: float, names: list, *, height: float = 0.34) -> tuple:
    """Return figure and axes with a row per name, the first on top."""
    size = (figure_width, 1.1 + height * max(len(names), 1))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    axes.set_yticks(range(len(names)), [clipped(name, 32) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    return figure, axes


@styled
def tiles(
    values: pd.DataFrame,
    *,
    label: str,
    most: float | None = None,
    color: str = CELL,
    marked: set[tuple[str, str]] = frozenset(),
    digits: int = 0,
) -> Figure:
    """Draw a table as tiles, the stronger the higher the value; NaN stays empty.

    Parameters
    ----------
    values
        Rows by columns, none negative.
    most
        Value of the full color; None: the highest one.
    marked
        Row and column names of tiles that get a frame.
    """
    rows, columns = values.shape
    figure = Figure(
        figsize=(2.2 + max(0.46 * columns, 2.4), 1.5 + 0.32 * rows),
        layout="constrained",
    )
    axes = figure.subplots()
    numbers = values.to_numpy(dtype=float)
    finite = numbers[np.isfinite(numbers)]
    most = (finite.max() if len(finite) else 1.0) if most is None else most
    strength = np.clip(np.nan_to_num(numbers) / (most or 1), 0, 1)
    pixels = np.zeros((rows, columns, 4))
    pixels[..., :3] = to_rgb(color)
    # the surface shines through, so that the tiles suit light and dark
    pixels[..., 3] = FAINT + STRENGTH * strength
    pixels[np.isnan(numbers), 3] = 0
    if values.size:
        axes.imshow(pixels, aspect="auto", interpolation="nearest")
    if columns > MOST_WRITTEN:
        ends = [(*to_rgb(color), alpha) for alpha in (FAINT, FAINT + STRENGTH)]
        scale = LinearSegmentedColormap.from_list("tiles", ends, N=10)
        drawn = ScalarMappable(Normalize(0, most or 1), scale)
        drawn.set_array(numbers)
        color_bar(figure, drawn, ax=axes, aspect=30, fraction=0.03)
    else:
        for y, x in np.argwhere(np.isfinite(numbers)):
            text = f"{numbers[y, x]:.{digits}f}"
            axes.text(
                x, y, text, ha="center", va="center", fontsize=sized(8), color=INK
            )
    for y, x in zip(*np.nonzero(_is_marked(values, marked)), strict=True):
        frame = ([x - 0.46, x + 0.46, x + 0.46, x - 0.46, x - 0.46],)
        frame += ([y - 0.44, y - 0.44, y + 0.44, y + 0.44, y - 0.44],)
        axes.plot(*frame, color=LIMIT, lw=1.8)
    axes.set_xticks(range(columns), [clipped(n) for n in values.columns], rotation=90)
    axes.set_yticks(range(rows), [clipped(n) for n in values.index])
    axes.set(xlim=(-0.5, max(columns, 1) - 0.5), ylim=(max(rows, 1) - 0.5, -0.5))
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    # not over the tiles alone, which may be narrow beside long names
    figure.suptitle(label, x=0.01, ha="left", fontsize=sized(10))
    return figure


def _is_marked(values: pd.DataFrame, marked: set) -> np.ndarray:
    return np.array(
        [[(row, column) in marked for column in values.columns] for row in values.index]
    ).reshape(values.shape)


@styled
def interval_points(table: pd.DataFrame, *, xlabel: str) -> Figure:
    """Draw a point with its interval per row; without a value the row says so.

    `table` has `name`, `value`, `low`, `high` and `filled` (boolean).
    """
    figure, axes = _rows(6.2, list(table["name"]))
    tops = table[["value", "high"]].to_numpy(dtype=float)
    top = np.nanmax(tops) if np.isfinite(tops).any() else 1.0
    for y, row in enumerate(table.itertuples()):
        if not np.isfinite(row.value):
            axes.text(
                0, y, " not estimated", va="center", fontsize=sized(8.5), color=MUTED
            )
            continue
        if np.isfinite(row.low) and np.isfinite(row.high):
            axes.plot([row.low, row.high], [y, y], color=CELL, lw=2.2, alpha=0.7)
        axes.plot(
            row.value,
            y,
            "o",
            ms=7,
            mec=CELL,
            mew=1.6,
            mfc=CELL if row.filled else SURFACE,
        )
    axes.set(xlim=(0, max(top * 1.12, 1)), xlabel=xlabel)
    return figure


@styled
def rate_pairs(table: pd.DataFrame, *, xlabel: str) -> Figure:
    """Draw expected (ring) against observed (dot) per row; `name` and both, percent."""
    figure, axes = _rows(6.2, list(table["name"]))
    expected = table["expected"].to_numpy(dtype=float)
    observed = table["observed"].to_numpy(dtype=float)
    y = np.arange(len(table))
    axes.hlines(y, expected, observed, color=NO_CELL, lw=1.6)
    axes.plot(expected, y, "o", ms=7.5, mec=MUTED, mew=1.6, mfc=SURFACE, ls="")
    axes.plot(observed, y, "o", ms=7, color=CELL, ls="")
    both = np.concatenate([expected, observed])
    top = np.nanmax(both) if np.isfinite(both).any() else 1.0
    axes.set(xlim=(0, max(top * 1.15, 1)), xlabel=xlabel)
    handles = [
        Line2D([], [], ls="", marker="o", ms=7, mec=MUTED, mfc=SURFACE),
        Line2D([], [], ls="", marker="o", ms=7, color=CELL),
    ]
    names = ["expected", "observed"]
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return figure


@styled
def sex_points(table: pd.DataFrame) -> Figure:
    """Draw cells with XIST against cells with Y genes, a point per sample.

    `table` has `sample`, `percent_cells_xist`, `percent_cells_y`, `sex_declared`
    (color) and `warned` (named, with a ring).
    """
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axes = figure.subplots()
    x = table["percent_cells_xist"].to_numpy(dtype=float)
    y = table["percent_cells_y"].to_numpy(dtype=float)
    kinds = table["sex_declared"].to_numpy(dtype=object)
    for kind, color in SEX_COLORS.items():
        mine = kinds == kind
        if mine.any():
            name = f"declared {kind}" if kind else "not declared"
            axes.scatter(x[mine], y[mine], c=color, s=42, lw=0, alpha=0.9, label=name)
    warned = table["warned"].to_numpy(dtype=bool)
    if warned.any():
        axes.scatter(
            x[warned], y[warned], s=130, facecolors="none", edgecolors=LIMIT, lw=1.6
        )
    for i in np.flatnonzero(warned | (len(table) <= 12)):
        axes.annotate(
            clipped(table["sample"].iloc[i], 18),
            (x[i], y[i]),
            xytext=(7, 5),
            textcoords="offset points",
            fontsize=sized(8),
            color=INK,
        )
    axes.set(xlabel="cells with XIST (%)", ylabel="cells with genes of Y (%)")
    axes.set_xlim(-2, max(np.nanmax(x, initial=1) * 1.25, 5))
    axes.set_ylim(-2, max(np.nanmax(y, initial=1) * 1.15, 5))
    axes.grid(color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    if len(table):
        figure.legend(loc="outside upper right", ncols=3)
    return figure


@styled
def resolution_curves(table: pd.DataFrame, *, panels: dict[str, str]) -> Figure:
    """Draw what each resolution gives; the chosen one is filled, with a line.

    Parameters
    ----------
    table
        Columns `resolution`, `chosen`, and those of `panels`.
    panels
        Label of the axis by column.
    """
    figure = Figure(figsize=(3.8 * len(panels), 2.8), layout="constrained")
    ordered = table.sort_values("resolution")
    x = ordered["resolution"].to_numpy(dtype=float)
    chosen = ordered["chosen"].to_numpy(dtype=bool)
    drawn = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (column, label) in zip(drawn, panels.items(), strict=True):
        y = ordered[column].to_numpy(dtype=float)
        for at in x[chosen]:
            axes.axvline(at, color=LIMIT, lw=1.2, ls="--")
        axes.plot(x, y, color=CELL, lw=1.6)
        axes.plot(x, y, "o", ms=5.5, mec=CELL, mew=1.4, mfc=SURFACE, ls="")
        axes.plot(x[chosen], y[chosen], "o", ms=8, color=LIMIT, ls="")
        if (x > 0).all() and len(x) > 1 and x.max() / x.min() > 8:
            axes.set_xscale("log")
            ticks = x if len(x) <= 6 else x[:: -(-len(x) // 6)]
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set(xlabel="resolution", ylabel=label)
        axes.set_ylim(0, max(np.nanmax(y, initial=0), 1) * 1.08)
        if column.startswith("n_"):
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            axes.set_ylim(top=105 if column.endswith("percent") else 1.05)
        axes.grid(color=GRID, lw=0.5)
    return figure


def tree_tables(
    tree: pd.DataFrame, resolutions: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], int | None]:
    """Return nodes, edges, labels and the chosen level of a table of clusters.

    Parameters
    ----------
    tree
        A cluster at a resolution per row, with its link to one of the coarser level:
        `resolution`, `cluster`, `n_cells`, `parent`, `share`.
    resolutions
        `resolution` and `chosen`.
    """
    levels = sorted(tree["resolution"].unique())
    at = {resolution: n for n, resolution in enumerate(levels)}
    above = {resolution: levels[n - 1] for resolution, n in at.items() if n}
    keys = tree[["resolution", "cluster"]].itertuples(index=False)
    tree = tree.assign(name=[f"{r:g}|{c}" for r, c in keys])
    once = tree.drop_duplicates("name").set_index("name")
    nodes = pd.DataFrame(
        {
            "level": once["resolution"].map(at),
            "cluster": once["cluster"],
            "size": once["n_cells"].astype(float),
        }
    )
    linked = tree[tree["parent"] != ""]
    parents = linked["resolution"].map(above).map("{:g}|".format) + linked["parent"]
    edges = pd.DataFrame(
        {"parent": parents, "child": linked["name"], "share": linked["share"]}
    )
    edges = edges[edges["parent"].isin(nodes.index)]
    chosen = resolutions.loc[resolutions["chosen"], "resolution"]
    level = at.get(chosen.iloc[0]) if len(chosen) else None
    return nodes, edges, [f"{resolution:g}" for resolution in levels], level


def tree_places(nodes: pd.DataFrame, edges: pd.DataFrame) -> pd.Series:
    """Return a place from left to right for each node: children below their parents.

    The order comes from above, the places of the finest level are even, and each node
    above stands over the middle of its cells.

    Parameters
    ----------
    nodes
        By name: `level` (0 on top) and `size` (cells).
    edges
        `parent`, `child`, and `share` of the child's cells that come from the parent.
    """
    levels = [nodes.index[nodes["level"] == n] for n in sorted(set(nodes["level"]))]
    most = max(map(len, levels), default=1)
    place = pd.Series(0.0, index=nodes.index)
    flows = edges.assign(
        cells=edges["share"] * nodes["size"].loc[edges["child"]].to_numpy()
    )
    for number, mine in enumerate(levels):
        wanted = pd.Series(np.arange(len(mine)), index=mine, dtype=float)
        if number:
            wanted.update(_middles(flows, place, of="child", by="parent"))
        # the larger one of two below the same parent stands to the left
        order = pd.DataFrame({"at": wanted, "size": -nodes.loc[mine, "size"]})
        order = order.sort_values(["at", "size"], kind="stable").index
        place.loc[order] = (np.arange(len(order)) + 0.5) / len(order)
    for mine in levels[-2::-1]:
        wanted = place.loc[mine].copy()
        wanted.update(_middles(flows, place, of="parent", by="child"))
        wanted = wanted.sort_values(kind="stable")
        place.loc[wanted.index] = _spread(wanted.to_numpy(), gap=0.9 / most)
    return place


def _middles(flows: pd.DataFrame, place: pd.Series, *, of: str, by: str) -> pd.Series:
    """Return where the nodes linked to each node lie on average, by their cells."""
    weighted = pd.DataFrame(
        {
            "node": flows[of].to_numpy(),
            "at": place.loc[flows[by]].to_numpy() * flows["cells"].to_numpy(),
            "cells": flows["cells"].to_numpy(),
        }
    )
    sums = weighted.groupby("node", sort=False)[["at", "cells"]].sum()
    return sums["at"] / sums["cells"].clip(lower=1e-9)


def _spread(places: np.ndarray, *, gap: float) -> np.ndarray:
    """Return sorted places, moved until they lie `gap` apart between 0 and 1."""
    moved = places.copy()
    for i in range(1, len(moved)):
        moved[i] = max(moved[i], moved[i - 1] + gap)
    last = 1 + gap / 2
    for i in reversed(range(len(moved))):
        last = moved[i] = min(moved[i], last - gap)
    return moved


@styled
def cluster_tree(
    nodes: pd.DataFrame,
    edges: pd.DataFrame,
    *,
    labels: list[str],
    chosen: int | None,
    colors: dict[str, str],
) -> Figure:
    """Draw clusters of each resolution (rows) and where their cells come from.

    Parameters
    ----------
    nodes
        By name: `level` (0 on top), `cluster`, `size` (cells).
    edges
        `parent` and `child` (names), `share` of the child's cells that come from it.
    labels
        Of the levels.
    chosen
        The level in use; its clusters have the colors that they have elsewhere.
    """
    most = int(nodes["level"].value_counts().max()) if len(nodes) else 1
    width = float(np.clip(2 + 0.42 * most, 6, 13))
    figure = Figure(figsize=(width, 0.9 + 0.62 * len(labels)), layout="constrained")
    axes = figure.subplots()
    place = tree_places(nodes, edges)
    level = nodes["level"]
    lines = [
        ((place[e.parent], level[e.parent]), (place[e.child], level[e.child]))
        for e in edges.itertuples()
    ]
    share = edges["share"].to_numpy(dtype=float).clip(0, 1)
    shades = np.column_stack([np.tile(to_rgb(NO_CELL), (len(share), 1)), share])
    axes.add_collection(
        LineCollection(lines, colors=shades, linewidths=0.4 + 2.4 * share, zorder=1)
    )
    if chosen is not None:
        axes.axhspan(chosen - 0.36, chosen + 0.36, color=CELL, alpha=0.12, lw=0)
    total = max(nodes.groupby("level")["size"].sum().max(), 1) if len(nodes) else 1
    size = 34 + 620 * nodes["size"].to_numpy(dtype=float) / total
    in_use = (level == chosen).to_numpy()
    names = nodes.loc[in_use, "cluster"].astype(str)
    for mine, color in (
        (~in_use, [NO_CELL] * int((~in_use).sum())),
        (in_use, [colors.get(name, CELL) for name in names]),
    ):
        if mine.any():
            at = place.to_numpy()[mine], level.to_numpy()[mine]
            axes.scatter(*at, s=size[mine], c=color, lw=0, zorder=2)
    for name, cluster in zip(nodes.index, nodes["cluster"], strict=True):
        if most <= 40:
            axes.annotate(
                str(cluster),
                (place[name], level[name]),
                xytext=(0.5 * size[place.index.get_loc(name)] ** 0.5 + 2, 4),
                textcoords="offset points",
                va="center",
                fontsize=sized(7.5),
                color=INK,
                zorder=3,
            )
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xticks=[], xlim=(0, 1), ylim=(len(labels) - 0.5, -0.5))
    axes.set_ylabel("resolution")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    return figure


@styled
def score_bars(table: pd.DataFrame, *, xlabel: str, limit: float | None) -> Figure:
    """Draw a score from 0 to 1 per row, those under the limit pale; `name`, `value`."""
    figure, axes = _rows(5.8, list(table["name"]), height=0.28)
    values = table["value"].to_numpy(dtype=float)
    low = np.zeros(len(values), bool) if limit is None else values < limit
    colors = np.where(low, NO_CELL, CELL)
    drawn = axes.barh(range(len(values)), np.nan_to_num(values), color=colors)
    texts = [f"{value:.2f}" if np.isfinite(value) else "-" for value in values]
    axes.bar_label(drawn, texts, padding=3, fontsize=sized(8.5))
    if limit is not None:
        axes.axvline(limit, color=LIMIT, lw=1.2, ls="--")
    axes.set(xlim=(0, 1.12), xlabel=xlabel)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    return figure
