"""Name clusters by a table of marker genes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.logs import UserError, log_to
from _shared.marker_table import UNKNOWN, marker_levels, read_markers, type_scores
from _shared.streams import Matrix, sums_by_group

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("annotate_clusters")

MAX_EVIDENCE = 10
ANNOTATION_COLUMNS = [
    "cluster",
    "n_cells",
    "cell_type",
    "score",
    "runner_up",
    "runner_up_score",
    "evidence",
]
NO_MARKERS = pd.DataFrame(columns=["cell_type", "gene", "direction"])


@dataclass(frozen=True, kw_only=True)
class AnnotateSettings:
    """The `annotate_clusters` section of the config; the schema holds the ranges."""

    markers: str
    min_score: float
    min_lead: float


def mean_expression(x: Matrix, leiden: pd.Series, genes: pd.Index) -> pd.DataFrame:
    """Return the mean of `x` per cluster (clusters x gene ids)."""
    clusters, codes = leiden.cat.categories, leiden.cat.codes.to_numpy()
    sizes = np.bincount(codes, minlength=len(clusters))[:, None]
    means = sums_by_group(x, codes, len(clusters)) / sizes
    return pd.DataFrame(means, index=clusters, columns=genes)


def evidence(cell_type: str, levels: pd.Series, markers: pd.DataFrame) -> str:
    """Return the up genes of a type at half their highest level or more, best first."""
    rows = markers[(markers["cell_type"] == cell_type) & (markers["direction"] == "up")]
    present = levels[levels.index.isin(rows["gene"])]
    carrying = present[present >= 0.5].sort_values(ascending=False, kind="stable")
    return ",".join(carrying.index[:MAX_EVIDENCE])


def label(scores: pd.Series, settings: AnnotateSettings) -> dict:
    """Return label and runner-up of one cluster.

    The runner-up of an unknown cluster is the type that came nearest.
    """
    ranked = scores.sort_values(ascending=False, kind="stable")
    # stand-ins, so that no type and a single one need no branch
    types = [*ranked.index, "", ""]
    values = [*ranked, np.nan, np.nan]
    lead = np.inf if np.isnan(values[1]) else values[0] - values[1]
    fits = values[0] >= settings.min_score and lead >= settings.min_lead
    second = 1 if fits else 0
    return {
        "cell_type": types[0] if fits else UNKNOWN,
        "score": values[0],
        "runner_up": types[second],
        "runner_up_score": values[second],
    }


def annotation(
    sizes: pd.Series,
    scores: pd.DataFrame,
    levels: pd.DataFrame,
    markers: pd.DataFrame,
    settings: AnnotateSettings,
) -> pd.DataFrame:
    """Return one row per cluster: size, label, score, runner-up, evidence."""
    rows = []
    for cluster, n_cells in sizes.items():
        row = label(scores.loc[cluster], settings)
        why = evidence(row["cell_type"], levels.loc[cluster], markers)
        rows.append({"cluster": cluster, "n_cells": n_cells, **row, "evidence": why})
    return pd.DataFrame(rows, columns=ANNOTATION_COLUMNS)


def main(
    *,
    clusters: Path,
    markers: Path | None,
    labels: Path,
    scores: Path,
    settings: AnnotateSettings,
) -> None:
    """Write the label of every cluster and the scores of all types.

    Raises
    ------
    UserError
        If the marker table is wrong, or none of its genes is in the data.
    """
    table = read_markers(markers) if markers else NO_MARKERS
    genes = list(dict.fromkeys(table["gene"]))
    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        means = mean_expression(Matrix(file["X"]), obs["leiden"], var.index)
    levels = marker_levels(means, var["gene_name"], genes)
    absent = [gene for gene in genes if gene not in levels]
    if absent:
        logger.warning("%d genes are not in the data: %s", len(absent), absent)
    if len(var) and genes and len(absent) == len(genes):
        raise UserError(
            f"{markers}: none of its {len(genes)} genes (such as {genes[0]}) is in the "
            f"data (which has {var['gene_name'].iloc[0]}). Give gene ids or "
            "symbols of the same species, in the same case."
        )
    by_type = type_scores(levels, table)
    sizes = obs["leiden"].value_counts(sort=False)
    result = annotation(sizes, by_type, levels, table, settings)
    for row in result.itertuples():
        logger.info("cluster %s: %s, score %.2f", row.cluster, row.cell_type, row.score)
    result.to_csv(labels, sep="\t", index=False, float_format="%.6g")
    long = by_type.rename_axis(index="cluster").melt(
        ignore_index=False, var_name="cell_type", value_name="score"
    )
    long.to_csv(scores, sep="\t", float_format="%.6g")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        markers=Path(snakemake.input.markers) if snakemake.input.markers else None,
        labels=Path(snakemake.output.annotation),
        scores=Path(snakemake.output.scores),
        settings=AnnotateSettings(**snakemake.params.settings),
    )
