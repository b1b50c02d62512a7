"""Tell clusters that may be doublets of two others; nothing is removed."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import pandas as pd

from _shared.doublet_clusters import Moments, doublet_clusters
from _shared.jobs import job
from _shared.streams import Matrix, read_tables

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("flag_doublets")


def flagged_clusters(cells: ad.AnnData, counts: Matrix) -> pd.DataFrame:
    """Return a row per cluster; see `doublet_clusters`.

    Parameters
    ----------
    cells
        obs with `leiden`, `total_counts`, `doublet_score`.
    counts
        Raw counts (cells x genes), read in pieces.
    """
    labels = cells.obs["leiden"]
    moments = Moments(
        clusters=list(labels.cat.categories.astype(str)), n_genes=counts.shape[1]
    )
    for start, stop in counts.pieces():
        moments.add(counts.rows(start, stop), labels.to_numpy()[start:stop])
    return doublet_clusters(
        moments,
        labels=labels,
        totals=cells.obs["total_counts"],
        scores=cells.obs["doublet_score"],
    )


def main(*, clusters: Path, table: Path) -> None:
    """Write the table."""
    with h5py.File(clusters) as file:
        found = flagged_clusters(
            read_tables(clusters), Matrix(file["layers"]["counts"])
        )
    logger.info("%d of %d clusters are flagged", found["flagged"].sum(), len(found))
    found.to_csv(table, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            table=Path(snakemake.output.table),
        )
