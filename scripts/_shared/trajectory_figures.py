"""Figures of trajectories and velocities: tables in, matplotlib figures out."""

import numpy as np
import pandas as pd
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from _shared.figures import MOST_DRAWN, NO_CELL, clipped, point_size, sized
from _shared.svg import INK, MOST_VECTOR_POINTS, MUTED, SURFACE, styled

# squares along a side of the map in which arrows are averaged, and cells each needs
GRID_SIZE = 24
FEWEST_CELLS = 3


@styled
def cluster_links(
    places: pd.DataFrame, links: pd.DataFrame, *, colors: dict[str, str]
) -> Figure:
    """Draw which clusters are joined, over the middle of their cells.

    Parameters
    ----------
    places
        By cluster: `x`, `y` and `n_cells`.
    links
        `cluster`, `other`, `connectivity` (0 to 1) and `in_tree` (boolean): the lines
        of the strongest tree are dark.
    colors
        Of the clusters.
    """
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    known = links["cluster"].isin(places.index) & links["other"].isin(places.index)
    links = links[known]
    at = places[["x", "y"]].astype(float)
    for in_tree, color in ((False, NO_CELL), (True, INK)):
        mine = links[links["in_tree"] == in_tree]
        lines = np.stack([at.loc[mine["cluster"]], at.loc[mine["other"]]], axis=1)
        width = 0.4 + 3.6 * mine["connectivity"].to_numpy(dtype=float).clip(0, 1)
        axes.add_collection(
            LineCollection(list(lines), colors=color, linewidths=width, zorder=1)
        )
    n_cells = places["n_cells"].to_numpy(dtype=float)
    size = 30 + 400 * n_cells / max(n_cells.max(initial=1), 1)
    color = [colors.get(name, NO_CELL) for name in places.index]
    axes.scatter(at["x"], at["y"], s=size, c=color, lw=0, zorder=2)
    for name, x, y in at.itertuples():
        axes.text(
            x,
            y,
            clipped(name),
            ha="center",
            va="center",
            fontsize=sized(8),
            zorder=3,
            bbox={
                "boxstyle": "round,pad=0.15",
                "fc": SURFACE,
                "ec": "none",
                "alpha": 0.75,
            },
        )
    axes.margins(0.12)
    axes.set_box_aspect(1)
    return figure


@styled
def times_by_cluster(cells: pd.DataFrame, *, colors: dict[str, str]) -> Figure:
    """Draw the pseudotime of each cluster's cells: middle half, 5 to 95 %, median.

    `cells` has `name` (of the cluster), `cluster` and `pseudotime`.
    """
    ordered = cells.dropna(subset=["pseudotime"])
    parts = [part for _, part in ordered.groupby("cluster", sort=False)]
    parts.sort(key=lambda part: part["pseudotime"].median())
    figure = Figure(figsize=(5.4, 1.0 + 0.3 * len(parts)), layout="constrained")
    axes = figure.subplots()
    for y, part in enumerate(parts):
        low, first, middle, third, high = np.percentile(
            part["pseudotime"], [5, 25, 50, 75, 95]
        )
        color = colors.get(part["cluster"].iloc[0], NO_CELL)
        axes.plot([low, high], [y, y], color=color, lw=1.4)
        axes.barh(y, third - first, left=first, color=color, height=0.6)
        axes.plot([middle, middle], [y - 0.3, y + 0.3], color=INK, lw=1.6)
    names = [clipped(part["name"].iloc[0], 32) for part in parts]
    axes.set_yticks(range(len(parts)), names)
    axes.set(ylim=(max(len(parts), 1) - 0.4, -0.6), xlabel="pseudotime")
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.spines["left"].set_visible(False)
    return figure


def mean_arrows(cells: pd.DataFrame) -> pd.DataFrame:
    """Return mean arrows over a grid, where enough cells are: `x`, `y`, `dx`, `dy`.

    `cells` has `umap_1`, `umap_2`, `arrow_1`, `arrow_2`.
    """
    places = cells[["umap_1", "umap_2"]].to_numpy(dtype=float)
    if not len(places):
        return pd.DataFrame(columns=["x", "y", "dx", "dy"])
    low, high = places.min(axis=0), places.max(axis=0)
    step = np.where(high > low, high - low, 1) / GRID_SIZE
    square = np.minimum((places - low) // step, GRID_SIZE - 1).astype(int)
    table = pd.DataFrame(
        {
            "square": square[:, 0] * GRID_SIZE + square[:, 1],
            "x": places[:, 0],
            "y": places[:, 1],
            "dx": cells["arrow_1"].to_numpy(dtype=float),
            "dy": cells["arrow_2"].to_numpy(dtype=float),
        }
    ).dropna()
    groups = table.groupby("square")
    return groups.mean()[groups.size() >= FEWEST_CELLS].reset_index(drop=True)


@styled
def velocity_map(cells: pd.DataFrame, *, colors: dict[str, str]) -> Figure:
    """Draw where cells are going: mean arrows over the map of the cells.

    `cells` has `cluster`, `umap_1`, `umap_2`, `arrow_1`, `arrow_2`.
    """
    figure = Figure(figsize=(4.4, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.set_box_aspect(1)
    order = np.random.default_rng(0).permutation(len(cells))[:MOST_DRAWN]
    drawn = cells.iloc[order]
    axes.scatter(
        drawn["umap_1"],
        drawn["umap_2"],
        c=[colors.get(name, NO_CELL) for name in drawn["cluster"]],
        s=point_size(len(cells)),
        alpha=0.5,
        lw=0,
        rasterized=len(cells) > MOST_VECTOR_POINTS,
    )
    arrows = mean_arrows(cells)
    if len(arrows):
        axes.quiver(
            *(arrows[name] for name in ("x", "y", "dx", "dy")),
            color=INK,
            angles="xy",
            width=0.004,
            zorder=3,
        )
    else:
        axes.text(0.5, 0.5, "no arrows", color=MUTED, transform=axes.transAxes)
    return figure
