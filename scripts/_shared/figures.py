"""Figures of the report: tables in, matplotlib figures out, no files."""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from _shared.palette import DOWN, NEUTRAL, UP, colors_of
from _shared.svg import GRID, INK, MOST_VECTOR_POINTS, MUTED, STYLE, SURFACE, styled

CELL, NO_CELL, LIMIT = "#3f90da", "#a0a4ab", "#bd1f01"
MOST_LEGEND_ROWS = 24
SHORT_NAME, SHORTENED_NAME = 14, 20
# height in inches
LEGEND_ROW = 0.19
# names of a map: beside it, and rows of them below it
MOST_BESIDE, MOST_BELOW = 16, 12
# share of a scatter's width that a letter of a gene's name takes, and letters
LETTER, MOST_LETTERS = 0.019, 14
# more points add nothing to a map
MOST_DRAWN = 200_000
QC_PANELS = {
    "total_counts": ("counts per cell", True),
    "n_genes_by_counts": ("genes per cell", True),
    "pct_counts_mt": ("mitochondrial counts (%)", False),
    "doublet_score": ("doublet score", False),
    "complexity": ("log genes / log counts", False),
    "pct_counts_ribo": ("ribosomal counts (%)", False),
    "pct_counts_hb": ("hemoglobin counts (%)", False),
}
PANELS_PER_ROW = 4


def _short(value: float, _position: int | None = None) -> str:
    """Return 1500 as "1.5k"; the tick labels of counts."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def clipped(name: object, most: int = 26) -> str:
    """Return a name of `most` letters or fewer.

    The middle is left out: names of one study often differ only at the end.
    """
    text = str(name)
    end = (most - 1) // 2
    return text if len(text) <= most else f"{text[: most - 1 - end]}…{text[-end:]}"


def sized(points: float) -> float:
    """Return a font size of the page as one of the style in use."""
    return points * mpl.rcParams["font.size"] / STYLE["font.size"]


def point_size(n: int) -> float:
    """Return the area of a point, in square points, of a map of `n` cells."""
    return float(np.clip(9000 / max(n, 1), 0.6, 22))


def color_bar(figure: Figure, drawn: ScalarMappable, **options) -> Colorbar:
    """Add the scale of colors; an end where values lie beyond it is pointed."""
    values = np.ma.masked_invalid(drawn.get_array()).compressed()
    low, high = drawn.get_clim()
    ends = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}
    extend = ends[int((values < low).any()), int((values > high).any())]
    bar = figure.colorbar(drawn, extend=extend, **options)
    bar.outline.set_visible(False)
    # without edges the paper shines through between the steps; those of what is not
    # opaque would lie on each other
    if drawn.get_cmap()(0)[3] == 1:
        bar.solids.set_edgecolor("face")
    return bar


def legend_entries(
    handles: Sequence[Artist], names: Sequence[str], most: int
) -> tuple[list[Artist], list[str]]:
    """Return at most so many entries of a legend; the last one counts the others."""
    if len(names) <= most:
        return list(handles), list(names)
    more = f"and {len(names) - most + 1} more"
    return [*handles[: most - 1], Line2D([], [], ls="")], [*names[: most - 1], more]


@styled
def knee_plot(ranks: pd.DataFrame) -> Figure:
    """Draw counts against rank; color tells how many of the barcodes are cells."""
    figure = Figure(figsize=(3.6, 2.7), layout="constrained")
    axes = figure.subplots()
    shown = ranks[ranks["total_counts"] > 0]
    if len(shown) > 400:
        shown = shown.iloc[np.unique(np.linspace(0, len(shown) - 1, 400).astype(int))]
    x, y = shown["rank"].to_numpy(), shown["total_counts"].to_numpy()
    share = shown["is_cell_share"].to_numpy()
    axes.plot(x, y, color=NO_CELL, lw=2.2, solid_capstyle="round")
    mixed = (share > 0) & (share < 1)
    for chosen, color in ((mixed, "#92c5f0"), (share >= 1, CELL)):
        axes.plot(x, np.where(chosen, y, np.nan), color=color, lw=3.2)
        axes.plot(x[chosen], y[chosen], ".", color=color, ms=3.5)
    axes.set(xlabel="barcode rank", ylabel="counts")
    if len(shown):
        axes.set(xscale="log", yscale="log")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(_short))
        axis.set_minor_formatter(FuncFormatter(lambda *_: ""))
    axes.grid(color=GRID, lw=0.5)
    handles = [
        Line2D([], [], color=color, lw=3, label=label)
        for color, label in (
            (CELL, "cells"),
            ("#92c5f0", "some are"),
            (NO_CELL, "no cells"),
        )
    ]
    axes.legend(handles=handles, loc="lower left")
    return figure


@styled
def saturation_curves(curves: dict[str, pd.DataFrame]) -> Figure:
    """Draw saturation and genes by depth; beyond the measured depth (dot) dashed."""
    height = max(3, 0.3 + LEGEND_ROW * len(curves))
    figure = Figure(figsize=(7.4, height), layout="constrained")
    panels = {
        "sequencing_saturation": "sequencing saturation (%)",
        "median_genes_per_cell": "median genes per cell",
    }
    colors = colors_of(curves)
    for axes, (column, label) in zip(
        figure.subplots(1, 2), panels.items(), strict=True
    ):
        for curve, color in zip(curves.values(), colors, strict=True):
            shown = curve[curve["mean_reads_per_cell"] > 0]
            x, y = shown["mean_reads_per_cell"], shown[column]
            beyond = shown["source"] == "extrapolated"
            here = shown["source"] == "measured"
            axes.plot(x[~beyond], y[~beyond], color=color, lw=1.8)
            axes.plot(x[beyond | here], y[beyond | here], color=color, lw=1.2, ls="--")
            axes.plot(x[here], y[here], "o", color=color, ms=4)
        axes.set(
            xlabel="mean reads per cell", ylabel=label, xscale="log", ylim=(0, None)
        )
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
        axes.grid(color=GRID, lw=0.5)
    handles = [Line2D([], [], color=color, lw=1.8) for color in colors]
    figure.legend(handles, [clipped(name) for name in curves], loc="outside right")
    return figure


def _density(values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Return a smoothed histogram over `grid`, highest point 1."""
    counts, _ = np.histogram(values, bins=len(grid), range=(grid[0], grid[-1]))
    kernel = np.exp(-0.5 * (np.arange(-9, 10) / 2.5) ** 2)
    smooth = np.convolve(counts, kernel, mode="same")
    return smooth / smooth.max() if smooth.max() else smooth


@styled
def qc_ridges(cells: pd.DataFrame, thresholds: pd.DataFrame) -> Figure:
    """Draw the distribution of every QC metric, a row per sample, with its limits."""
    samples = list(dict.fromkeys(thresholds["sample"]))
    measured = {
        metric: panel
        for metric, panel in QC_PANELS.items()
        if metric in cells and pd.to_numeric(cells[metric]).notna().any()
    }
    n_rows = max(-(-len(measured) // PANELS_PER_ROW), 1)
    # rows of about as many
    n_columns = max(-(-len(measured) // n_rows), 1)
    height = (0.7 + 0.46 * len(samples)) * n_rows + 0.4
    figure = Figure(figsize=(11.5, height), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axes in panels[len(measured) :]:
        axes.set_visible(False)
    drawn = zip(panels, measured.items(), strict=False)
    for axes, (metric, (title, log)) in drawn:
        values = pd.to_numeric(cells[metric]).to_numpy(dtype=float)
        shown = np.log10(values + 1) if log else values
        finite = shown[np.isfinite(shown)]
        low, high = (finite.min(), finite.max()) if len(finite) else (0.0, 1.0)
        pad = 0.04 * (high - low) or 0.5
        grid = np.linspace(low - pad, high + pad, 140)
        for row, sample in enumerate(samples):
            base = len(samples) - 1 - row
            mine = shown[(cells["sample"] == sample).to_numpy() & np.isfinite(shown)]
            density = base + 0.82 * _density(mine, grid)
            axes.fill_between(grid, base, density, color=CELL, alpha=0.55, lw=0)
            axes.plot(grid, density, color=CELL, lw=1)
            limits = thresholds[
                (thresholds["sample"] == sample) & (thresholds["metric"] == metric)
            ]
            for side, edge in (("lower", grid[0]), ("upper", grid[-1])):
                for limit in limits[side].astype(float):
                    if not np.isfinite(limit):
                        continue
                    at = np.log10(max(limit, 0) + 1) if log else limit
                    if not grid[0] <= at <= grid[-1]:
                        continue
                    axes.plot([at, at], [base, base + 0.82], color=LIMIT, lw=1.4)
                    axes.fill_betweenx(
                        [base, base + 0.82], at, edge, color=LIMIT, alpha=0.12, lw=0
                    )
        axes.set(title=title, xlim=(grid[0], grid[-1]), ylim=(-0.1, len(samples)))
        if log:
            ticks = _count_ticks(10 ** grid[0] - 1, 10 ** grid[-1] - 1)
            axes.set_xticks(np.log10(ticks + 1), [_short(tick) for tick in ticks])
        else:
            ticks = MaxNLocator(5).tick_values(max(grid[0], 0), grid[-1])
            axes.set_xticks(ticks[(ticks >= 0) & (ticks <= grid[-1])])
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.set_yticks([len(samples) - 1 - i + 0.15 for i in range(len(samples))])
        axes.set_yticklabels(samples)
        axes.grid(axis="x", color=GRID, lw=0.5)
    return figure


def _count_ticks(low: float, high: float) -> np.ndarray:
    """Return round numbers from `low` to `high`, as many as fit on a log axis."""
    round_numbers = np.outer(10.0 ** np.arange(9), (1, 2, 5)).ravel()
    inside = round_numbers[(round_numbers >= low) & (round_numbers <= high)]
    tens = inside[np.isin(inside, 10.0 ** np.arange(9))]
    return tens if len(inside) > 5 and len(tens) > 1 else inside


@styled
def stacked_bars(
    table: pd.DataFrame, *, colors: Sequence[str], xlabel: str, percent: bool = False
) -> Figure:
    """Draw one horizontal stack per row of `table`, one color per column."""
    n_named = min(table.shape[1], MOST_LEGEND_ROWS)
    height = max(1.0 + 0.34 * len(table), 0.3 + LEGEND_ROW * n_named)
    figure = Figure(figsize=(8.4, height), layout="constrained")
    axes = figure.subplots()
    left = np.zeros(len(table))
    handles = []
    for column, color in zip(table.columns, colors, strict=True):
        widths = table[column].to_numpy(dtype=float)
        axes.barh(
            range(len(table)),
            widths,
            left=left,
            color=color,
            height=0.72,
            edgecolor=SURFACE,
            linewidth=0.6,
        )
        left += widths
        handles.append(Patch(color=color))
    axes.set_yticks(range(len(table)), table.index.astype(str))
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(table) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    axes.set_xlim(0, 100 if percent else max(left.max(initial=0) * 1.02, 1))
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.spines["left"].set_visible(False)
    names = [clipped(name) for name in table.columns]
    figure.legend(
        *legend_entries(handles, names, MOST_LEGEND_ROWS),
        loc="outside right upper",
        handlelength=1,
        handleheight=1,
    )
    return figure


def _umap_axes(*, n_beside: int = 0, n_below: int = 0) -> tuple[Figure, object]:
    """Return a map with room for so many rows of a legend beside it and below it."""
    height = (
        max(3.5, 0.9 + LEGEND_ROW * n_beside) if not n_below else 4.6 + 0.2 * n_below
    )
    figure = Figure(figsize=(4.9, height), layout="constrained")
    axes = figure.subplots()
    axes.set(xticks=[], yticks=[], xlabel="UMAP 1", ylabel="UMAP 2")
    axes.set_box_aspect(1)
    return figure, axes


def _shuffled(n: int) -> np.ndarray:
    """Return an order that lets no sample lie on top of the others, always the same.

    Of more than `MOST_DRAWN` cells so many are chosen at random.
    """
    return np.random.default_rng(0).permutation(n)[:MOST_DRAWN]


@styled
def umap_by_category(
    umap: np.ndarray, labels: pd.Series, *, colors: Sequence[str], name_groups: bool
) -> Figure:
    """Draw cells colored by a categorical, with names in it if `name_groups`."""
    names = list(labels.cat.categories)
    shown = [clipped(name, SHORTENED_NAME) for name in names]
    longest = max(map(len, shown), default=0)
    # beside the map long names, or many, would leave it no room
    is_below = longest > SHORT_NAME or len(names) > MOST_BESIDE
    # as many as are as wide as the map
    n_columns = int(np.clip(4.3 / (0.45 + 0.075 * longest), 2, 6))
    most = MOST_BELOW * n_columns if is_below else MOST_BESIDE
    handles = [Line2D([], [], ls="", marker="o", ms=6, color=color) for color in colors]
    entries = legend_entries(handles, shown, most)
    n = len(entries[0])
    figure, axes = (
        _umap_axes(n_below=-(-n // n_columns)) if is_below else _umap_axes(n_beside=n)
    )
    order = _shuffled(len(umap))
    codes = labels.cat.codes.to_numpy()[order]
    lookup = np.array([*colors, NEUTRAL])
    axes.scatter(
        *umap[order].T,
        c=lookup[codes],
        s=point_size(len(umap)),
        lw=0,
        rasterized=len(umap) > MOST_VECTOR_POINTS,
    )
    drawn = umap[order]
    for code, name in enumerate(names if name_groups else []):
        mine = drawn[codes == code]
        if len(mine):
            axes.text(
                *np.median(mine, axis=0),
                name,
                ha="center",
                va="center",
                fontsize=sized(8.5),
                fontweight="bold",
                bbox={
                    "boxstyle": "round,pad=0.18",
                    "fc": SURFACE,
                    "ec": "none",
                    "alpha": 0.75,
                },
            )
    place = {"loc": "outside lower center", "ncols": min(n, n_columns)}
    place = place if is_below else {"loc": "outside right upper"}
    figure.legend(*entries, handletextpad=0.2, **place)
    return figure


@styled
def umap_by_value(
    umap: np.ndarray,
    values: np.ndarray,
    *,
    label: str,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Draw cells colored by a number; those without one are gray.

    Without `limits` the color range leaves out the utmost percent.
    """
    figure, axes = _umap_axes()
    order = _shuffled(len(umap))
    low, high = limits or (0, 1)
    if limits is None and len(values):
        low, high = np.nanpercentile(values, [1, 99])
    points = axes.scatter(
        *umap[order].T,
        c=values[order],
        vmin=low,
        vmax=high if high > low else low + 1,
        cmap=mpl.colormaps["viridis"].with_extremes(bad=NO_CELL),
        plotnonfinite=True,
        s=point_size(len(umap)),
        lw=0,
        rasterized=len(umap) > MOST_VECTOR_POINTS,
    )
    bar = color_bar(figure, points, ax=axes, label=label, shrink=0.7, aspect=18)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(_short))
    return figure


@styled
def dot_plot(means: pd.DataFrame, shares: pd.DataFrame) -> Figure:
    """Draw markers (columns) by cluster (rows): size = share, color = scaled mean."""
    rows, columns = means.shape
    figure = Figure(
        figsize=(2.4 + 0.24 * columns, 1.7 + 0.27 * rows), layout="constrained"
    )
    axes = figure.subplots()
    spread = (means.max() - means.min()).replace(0, 1)
    scaled = (means - means.min()) / spread
    x, y = np.meshgrid(np.arange(columns), np.arange(rows))
    points = axes.scatter(
        x.ravel(),
        y.ravel(),
        s=(1 + 110 * shares.to_numpy() / 100).ravel(),
        c=scaled.to_numpy().ravel(),
        cmap="viridis",
        vmin=0,
        vmax=1,
        lw=0,
        rasterized=x.size > MOST_VECTOR_POINTS,
    )
    axes.set_xticks(range(columns), means.columns, rotation=90, fontstyle="italic")
    axes.set_yticks(range(rows), means.index)
    axes.set(xlim=(-0.7, columns - 0.3), ylim=(rows - 0.4, -0.6))
    axes.tick_params(length=0, labelcolor=INK)
    axes.grid(color=GRID, lw=0.4)
    axes.set_axisbelow(True)
    color_bar(
        figure,
        points,
        ax=axes,
        label="mean, scaled per gene",
        aspect=14,
        fraction=0.03,
    )
    handles = [
        axes.scatter([], [], s=1 + 1.1 * share, color=MUTED, lw=0, label=f"{share} %")
        for share in (10, 50, 100)
    ]
    figure.legend(
        handles=handles, loc="outside upper right", ncols=3, title="cells with the gene"
    )
    return figure


def _apart(places: np.ndarray, *, step: float, floor: float = 0) -> np.ndarray:
    """Return places, sorted downwards, moved until they lie `step` apart on `floor`."""
    moved, last = places.astype(float), np.inf
    for i in range(len(moved)):
        last = moved[i] = min(moved[i], last - step)
    last = floor - step / 2
    for i in reversed(range(len(moved))):
        last = moved[i] = max(moved[i], last + step)
    return moved


@styled
def volcano(results: pd.DataFrame, *, fdr: float, n_labels: int = 12) -> Figure:
    """Draw log2 fold change against p-value; colored where `padj` is under `fdr`."""
    figure = Figure(figsize=(4.9, 3.9), layout="constrained")
    axes = figure.subplots()
    tested = results.dropna(subset=["log2_fold_change", "p_value"])
    # a p-value of 0 is one below what floating point can tell
    least = tested.loc[tested["p_value"] > 0, "p_value"].min()
    least = least if np.isfinite(least) else np.finfo(float).tiny
    height = -np.log10(tested["p_value"].to_numpy().clip(min=least))
    change = tested["log2_fold_change"].to_numpy()
    found = (tested["padj"] < fdr).to_numpy()
    for chosen, color, size in (
        (~found, NEUTRAL, 5),
        (found & (change > 0), UP, 12),
        (found & (change < 0), DOWN, 12),
    ):
        axes.scatter(
            change[chosen],
            height[chosen],
            c=color,
            s=size,
            lw=0,
            alpha=0.75,
            rasterized=len(tested) > MOST_VECTOR_POINTS,
        )
    names = [clipped(name, MOST_LETTERS) for name in tested["gene_name"]]
    widest, sides = max(np.abs(change).max(initial=0), 1) * 1.35, {}
    for side in (-1, 1):
        mine = np.flatnonzero(found & (np.sign(change) == side))
        mine = mine[np.argsort(-height[mine], kind="stable")][: n_labels // 2]
        farthest = np.abs(change[mine]).max(initial=0)
        letters = max((len(names[i]) for i in mine), default=0)
        # of either side's half, a column of names takes its share
        widest = max(widest, farthest / (0.9 - 2 * LETTER * letters))
        sides[side] = mine, farthest
    axes.set(xlim=(-widest, widest), ylim=(0, height.max(initial=1) * 1.12))
    axes.set(xlabel="log2 fold change", ylabel="-log10 p")
    axes.axvline(0, color=GRID, lw=0.8, zorder=0)
    for side, (mine, farthest) in sides.items():
        places = _apart(height[mine], step=axes.get_ylim()[1] * 0.055)
        # in one column, so that no line runs through a name
        column = side * (farthest + widest * 0.05)
        for i, at in zip(mine, places, strict=True):
            axes.annotate(
                names[i],
                (change[i], height[i]),
                xytext=(column, at),
                ha="left" if side > 0 else "right",
                va="center",
                fontsize=sized(8),
                arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.4},
            )
    return figure


@styled
def mean_difference(
    results: pd.DataFrame, *, fdr: float | None = None, n_labels: int = 12
) -> Figure:
    """Draw log2 fold change over mean count, the largest changes named.

    With `fdr` genes whose `padj` is below it have a color, and they alone a name.
    """
    figure = Figure(figsize=(4.9, 3.9), layout="constrained")
    axes = figure.subplots()
    drawn = results.dropna(subset=["log2_fold_change", "base_mean"])
    mean = np.log10(drawn["base_mean"].to_numpy() + 1)
    change = drawn["log2_fold_change"].to_numpy()
    found = np.zeros(len(drawn), bool)
    if fdr is not None and "padj" in drawn:
        found = (drawn["padj"] < fdr).to_numpy()
    for chosen, color, size in (
        (~found, NEUTRAL, 5),
        (found & (change > 0), UP, 12),
        (found & (change < 0), DOWN, 12),
    ):
        axes.scatter(
            mean[chosen],
            change[chosen],
            c=color,
            s=size,
            lw=0,
            alpha=0.75,
            rasterized=len(drawn) > MOST_VECTOR_POINTS,
        )
    axes.axhline(0, color=GRID, lw=0.8, zorder=0)
    axes.set(xlabel="log10(mean count + 1)", ylabel="log2 fold change")
    names = [clipped(name, MOST_LETTERS) for name in drawn["gene_name"]]
    order = np.argsort(-change, kind="stable")
    if fdr is not None:
        order = order[found[order]]
    up, down = order[change[order] > 0], order[change[order] < 0]
    ends = np.concatenate([up[: n_labels // 2], down[-(n_labels // 2) :]])
    named = list(dict.fromkeys(ends))
    low, high = axes.get_ylim()
    places = _apart(change[named], step=(high - low) * 0.06, floor=low)
    for i, at in zip(named, places, strict=True):
        axes.annotate(
            names[i],
            (mean[i], change[i]),
            xytext=(mean.max(initial=0) * 1.04, at),
            va="center",
            fontsize=sized(8),
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.4},
        )
    letters = max((len(names[i]) for i in named), default=0)
    axes.set_xlim(right=max(mean.max(initial=1), 1) * 1.04 / (1 - LETTER * letters))
    return figure


@styled
def heatmap(values: pd.DataFrame, *, groups: pd.Series | None = None) -> Figure:
    """Draw z-scores of genes (rows) by sample (columns), columns sorted into groups."""
    rows, columns = values.shape
    figure = Figure(
        figsize=(2.4 + 0.3 * columns, 1.6 + 0.19 * rows), layout="constrained"
    )
    axes = figure.subplots()
    image = axes.imshow(
        values.to_numpy(dtype=float),
        cmap="RdBu_r",
        vmin=-2,
        vmax=2,
        aspect="auto",
        interpolation="nearest",
    )
    axes.set_yticks(range(rows), values.index, fontstyle="italic")
    axes.set_xticks(range(columns), values.columns, rotation=90)
    axes.tick_params(length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    names = np.zeros(columns) if groups is None else groups.to_numpy()
    for edge in np.flatnonzero(names[1:] != names[:-1]):
        axes.axvline(edge + 0.5, color=SURFACE, lw=3)
    for name in dict.fromkeys([] if groups is None else groups):
        at = np.flatnonzero((groups == name).to_numpy()).mean()
        axes.text(
            at, -0.8, name, ha="center", va="bottom", fontsize=sized(9), color=INK
        )
    color_bar(figure, image, ax=axes, label="z-score", aspect=16, shrink=0.6)
    return figure


@styled
def share_points(
    shares: pd.DataFrame, *, groups: tuple[str, str], found: set[str]
) -> Figure:
    """Draw the share of every cell type, a point per sample, two groups side by side.

    Parameters
    ----------
    shares
        Columns `cell_type`, `group` (one of `groups`), `share` in percent.
    groups
        Tested and reference level.
    found
        Cell types whose share differs; they are marked with a star.
    """
    types = list(dict.fromkeys(shares["cell_type"]))
    figure = Figure(figsize=(7.2, 1.2 + 0.4 * len(types)), layout="constrained")
    axes = figure.subplots()
    styles = zip(groups, (UP, DOWN), ("o", "D"), (-0.16, 0.16), strict=True)
    handles = []
    for group, color, marker, offset in styles:
        mine = shares[shares["group"] == group]
        y = np.array([types.index(name) for name in mine["cell_type"]]) + offset
        look = {"c": color, "marker": marker, "s": 26, "alpha": 0.85, "lw": 0}
        handles.append(axes.scatter(mine["share"], y, **look))
        medians = mine.groupby("cell_type", sort=False)["share"].median()
        at = np.array([types.index(name) for name in medians.index]) + offset
        axes.vlines(medians, at - 0.14, at + 0.14, color=INK, lw=1.4)
    axes.set_yticks(
        range(len(types)),
        [f"{clipped(n, 32)} ★" if n in found else clipped(n, 32) for n in types],
    )
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(ylim=(len(types) - 0.5, -0.5), xlabel="share of the sample's cells (%)")
    axes.set_xlim(left=0)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.spines["left"].set_visible(False)
    names = [clipped(group) for group in groups]
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return figure


@styled
def bars(values: pd.Series, *, colors: Sequence[str], xlabel: str) -> Figure:
    """Draw one horizontal bar per entry, with its number."""
    figure = Figure(figsize=(5.4, 0.9 + 0.3 * len(values)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.barh(range(len(values)), values, color=list(colors), height=0.72)
    axes.bar_label(drawn, [f"{v:,}" for v in values], padding=3, fontsize=sized(8.5))
    axes.set_yticks(range(len(values)), [clipped(n, 40) for n in values.index])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlabel(xlabel)
    axes.set_xlim(0, max(values.max() if len(values) else 1, 1) * 1.15)
    axes.xaxis.set_major_formatter(FuncFormatter(_short))
    axes.spines["left"].set_visible(False)
    return figure


@styled
def change_intervals(table: pd.DataFrame, *, xlabel: str) -> Figure:
    """Draw a change with its interval per row; filled where it is found.

    `table` has `name`, `value`, `low`, `high` and `is_found` (boolean).
    """
    figure = Figure(figsize=(5.6, 1.1 + 0.34 * len(table)), layout="constrained")
    axes = figure.subplots()
    for y, row in enumerate(table.itertuples()):
        color = NEUTRAL
        if row.is_found:
            color = UP if row.value > 0 else DOWN
        if np.isfinite(row.low) and np.isfinite(row.high):
            axes.plot([row.low, row.high], [y, y], color=color, lw=2.2, alpha=0.7)
        fill = color if row.is_found else SURFACE
        axes.plot(row.value, y, "o", ms=7, mec=color, mew=1.6, mfc=fill)
    axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    axes.set_yticks(range(len(table)), [clipped(name, 32) for name in table["name"]])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set(ylim=(len(table) - 0.4, -0.6), xlabel=xlabel)
    numbers = table[["value", "low", "high"]].to_numpy(dtype=float)
    widest = np.abs(numbers[np.isfinite(numbers)]).max(initial=1) * 1.08
    axes.set_xlim(-widest, widest)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], ls="", marker="o", ms=7, mew=1.6, mec=MUTED, mfc=fill)
        for fill in (MUTED, SURFACE)
    ]
    names = ["found", "not found"]
    figure.legend(handles, names, loc="outside upper right", ncols=2)
    return figure


@styled
def set_points(table: pd.DataFrame, *, xlabel: str, size_label: str) -> Figure:
    """Draw a score per set: place = score, size = its genes, color = adjusted p-value.

    `table` has `name`, `value`, `size` (genes) and `padj` (all NaN: not tested).
    """
    height = max(1.5 + 0.27 * len(table), 2.7)
    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    size = table["size"].to_numpy(dtype=float)
    most = max(np.nanmax(size, initial=1), 1)
    padj = table["padj"].to_numpy(dtype=float)
    is_tested = np.isfinite(padj).any()
    y = np.arange(len(table))
    x = table["value"].to_numpy(dtype=float)
    axes.hlines(y, 0, x, color=GRID, lw=1.2, zorder=1)
    points = axes.scatter(
        x,
        y,
        s=12 + 110 * np.nan_to_num(size) / most,
        lw=0,
        zorder=2,
        **{"c": -np.log10(padj.clip(min=1e-30)), "cmap": "viridis_r", "vmin": 0}
        if is_tested
        else {"c": CELL},
    )
    axes.axvline(0, color=MUTED, lw=0.8, zorder=0)
    axes.set_yticks(y, [clipped(name, 38) for name in table["name"]])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    widest = np.nanmax(np.abs(x), initial=1) * 1.12
    left = -widest if (x < 0).any() else 0
    right = widest if (x > 0).any() or not (x < 0).any() else 0
    axes.set(ylim=(len(table) - 0.4, -0.6), xlim=(left, right), xlabel=xlabel)
    axes.grid(axis="x", color=GRID, lw=0.5)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    if is_tested:
        if points.get_array().max() <= 0:
            points.set_clim(0, 1)
        color_bar(figure, points, ax=axes, label="-log10 adj. p", aspect=14)
    shown = sorted({round(most), max(round(most / 4), 1)})
    handles = [
        axes.scatter([], [], s=12 + 110 * n / most, color=MUTED, lw=0, label=f"{n}")
        for n in shown
    ]
    figure.legend(handles=handles, loc="outside upper right", ncols=2, title=size_label)
    return figure
