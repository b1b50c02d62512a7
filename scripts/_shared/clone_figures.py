"""Figure of copy numbers along the genome: a table in, a matplotlib figure out."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from _shared.figures import clipped, color_bar, sized
from _shared.svg import INK, SURFACE, styled

# log2 ratios at which color ends: one copy lost of two
LIMIT = 1.0


@styled
def copy_number_heatmap(profiles: pd.DataFrame) -> Figure:
    """Draw log2 ratios of clones (rows) along the genome, genes evenly spaced.

    `profiles` has clone, chromosome, start, log2_ratio: every clone the same bins.
    """
    clones = list(dict.fromkeys(profiles["clone"]))
    figure = Figure(figsize=(11, 1.1 + 0.3 * max(len(clones), 1)), layout="constrained")
    axes = figure.subplots()
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelcolor=INK)
    if not clones:
        axes.set(xticks=[], yticks=[])
        return figure
    first = profiles[profiles["clone"] == clones[0]]
    values = profiles["log2_ratio"].to_numpy(dtype=float).reshape(len(clones), -1)
    image = axes.imshow(
        values,
        cmap="RdBu_r",
        vmin=-LIMIT,
        vmax=LIMIT,
        aspect="auto",
        interpolation="nearest",
    )
    names = first["chromosome"].astype(str).to_numpy()
    edges = np.flatnonzero(names[1:] != names[:-1]) + 0.5
    for edge in edges:
        axes.axvline(edge, color=SURFACE, lw=1.5)
    bounds = np.concatenate([[-0.5], edges, [len(names) - 0.5]])
    labels = [name.removeprefix("chr") for name in dict.fromkeys(names)]
    axes.set_xticks((bounds[:-1] + bounds[1:]) / 2, labels, fontsize=sized(7))
    axes.set_yticks(range(len(clones)), [f"clone {clipped(name)}" for name in clones])
    axes.set_xlabel("chromosome")
    color_bar(figure, image, ax=axes, label="log2 ratio", aspect=10, shrink=0.9)
    return figure
