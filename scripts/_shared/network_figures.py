"""Figures of gene networks: tables in, matplotlib figures out, no files."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from _shared.figures import clipped, sized
from _shared.palette import DOWN, colors_of
from _shared.svg import GRID, INK, MUTED, SURFACE, styled

KNOWN = DOWN
PANELS_PER_ROW = 4

# modules of a figure, genes of each, names in each
MOST_MODULES = 8
MOST_GENES = 25
MOST_NAMES = 5


def drawn_genes(modules: pd.DataFrame) -> pd.DataFrame:
    """Return the best connected genes of the largest modules, hubs first."""
    names = list(dict.fromkeys(modules["module"]))[:MOST_MODULES]
    own = modules[modules["module"].isin(names)]
    return own.groupby("module", sort=False).head(MOST_GENES).reset_index(drop=True)


def places(is_hub: np.ndarray) -> np.ndarray:
    """Return the place of each gene: hubs on an inner ring, the others around them."""
    points = np.zeros((len(is_hub), 2))
    for chosen, radius in ((is_hub, 0.45), (~is_hub, 1.0)):
        n = int(chosen.sum())
        # a lone hub is the center
        angle = 2 * np.pi * (np.arange(n) / max(n, 1) + 0.25)
        ring = np.column_stack([np.cos(angle), np.sin(angle)])
        points[chosen] = ring * (radius if n > 1 else 0)
    return points


def _draw_module(
    axes: Axes, genes: pd.DataFrame, edges: pd.DataFrame, *, color: str
) -> None:
    is_hub = genes["is_hub"].to_numpy(dtype=bool)
    points = places(is_hub)
    place = pd.Series(np.arange(len(genes)), index=genes["gene_id"])
    own = edges[edges["source"].isin(place.index) & edges["target"].isin(place.index)]
    ends = np.column_stack([place[own[end]] for end in ("source", "target")])
    known = (own["kind"] == "regulation").to_numpy(dtype=bool)
    lines = points[ends[~known].astype(int)]
    axes.add_collection(LineCollection(lines, colors=GRID, linewidths=0.5, zorder=1))
    for source, target in ends[known].astype(int):
        arrow = {"arrowstyle": "-|>", "color": KNOWN, "lw": 1, "shrinkB": 3}
        axes.annotate("", points[target], points[source], arrowprops=arrow, zorder=2)
    for chosen, size in ((~is_hub, 14), (is_hub, 55)):
        axes.scatter(*points[chosen].T, c=color, s=size, lw=0, zorder=3)
    for i in np.flatnonzero(is_hub)[:MOST_NAMES]:
        axes.text(
            *(points[i] + [0, 0.1]),
            clipped(genes["gene_name"].iloc[i], 16),
            ha="center",
            va="bottom",
            fontsize=sized(8),
            fontstyle="italic",
            color=INK,
            zorder=4,
            bbox={
                "boxstyle": "round,pad=0.1",
                "fc": SURFACE,
                "ec": "none",
                "alpha": 0.75,
            },
        )


@styled
def network(modules: pd.DataFrame, edges: pd.DataFrame) -> Figure:
    """Draw the modules of one cell type, a panel each, hubs in the middle and by name.

    Parameters
    ----------
    modules
        Rows of `modules.tsv` of the cell type: `module`, `gene_id`, `gene_name`,
        `is_hub`, the best connected genes of a module first.
    edges
        Rows of `network_edges.tsv` of the cell type: `source`, `target`, `kind`. Edges
        of a regulator are arrows of their own color.
    """
    genes = drawn_genes(modules)
    names = list(dict.fromkeys(genes["module"]))
    n_rows = max(-(-len(names) // PANELS_PER_ROW), 1)
    n_columns = min(max(len(names), 1), PANELS_PER_ROW)
    figure = Figure(figsize=(2.6 * n_columns, 2.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axes in panels:
        axes.set_axis_off()
        axes.set(xlim=(-1.25, 1.25), ylim=(-1.15, 1.15))
        axes.set_box_aspect(1)
    for axes, name, color in zip(panels, names, colors_of(names), strict=False):
        own = genes[genes["module"] == name]
        _draw_module(axes, own, edges, color=color)
        n = int((modules["module"] == name).sum())
        shown = f"{len(own)} of {n}" if len(own) < n else n
        axes.set_title(f"{name} ({shown} genes)")
    more = modules["module"].nunique() - len(names)
    if more:
        figure.supxlabel(f"modules not drawn: {more}", fontsize=sized(9))
    if not names:
        panels[0].text(0, 0, "no modules", ha="center", color=MUTED)
    return figure
