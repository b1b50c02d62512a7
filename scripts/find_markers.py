"""Genes that set each cluster apart, by the Wilcoxon rank-sum test."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse, stats

from _shared.logs import log_to
from _shared.rank_test import rank_test

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_markers")

COLUMNS = [
    "cluster",
    "rank",
    "gene_id",
    "gene_name",
    "score",
    "log2_fold_change",
    "p_value",
    "padj",
    "pct_in",
    "pct_out",
    "auc",
]


@dataclass(frozen=True, kw_only=True)
class MarkerSettings:
    """The `find_markers` section of the config; the schema holds the ranges."""

    n_genes: int


def sums_by_cluster(x: sparse.csr_matrix, codes: np.ndarray, n: int) -> np.ndarray:
    """Return the sums of the rows of each cluster (clusters x genes)."""
    member = sparse.csr_matrix(
        (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=(n, len(codes))
    )
    return (member @ x).toarray()


def compared(x: sparse.csr_matrix, codes: np.ndarray, n_clusters: int) -> dict:
    """Return every column of the table as an array (clusters x genes).

    The fold change is that of the mean normalized counts, with 1 added to both.
    """
    result = rank_test(x.tocsc(), codes, n_clusters)
    size = np.bincount(codes, minlength=n_clusters)[:, None]
    rest = len(codes) - size
    linear, found = x.copy(), x.copy()
    linear.data = np.expm1(x.data.astype(float))
    found.data = np.ones(len(x.data))
    mean = sums_by_cluster(linear, codes, n_clusters)
    n_found = sums_by_cluster(found, codes, n_clusters)
    result["log2_fold_change"] = np.log2(
        (mean / size + 1) / ((mean.sum(axis=0) - mean) / rest + 1)
    )
    result["pct_in"] = 100 * n_found / size
    result["pct_out"] = 100 * (n_found.sum(axis=0) - n_found) / rest
    result["padj"] = stats.false_discovery_control(result["p_value"], axis=1)
    return result


def best_markers(adata: ad.AnnData, *, n_genes: int) -> pd.DataFrame:
    """Return the genes with the highest scores per cluster; none for one cluster."""
    clusters = adata.obs["leiden"].cat.categories
    detected = np.flatnonzero(adata.X.getnnz(axis=0))
    if len(clusters) < 2 or len(detected) == 0:
        return pd.DataFrame(columns=COLUMNS)
    codes = adata.obs["leiden"].cat.codes.to_numpy().astype(np.int64)
    result = compared(adata.X[:, detected].tocsr(), codes, len(clusters))
    tables = []
    for k, cluster in enumerate(clusters):
        best = np.argsort(-result["score"][k], kind="stable")[:n_genes]
        genes = adata.var.iloc[detected[best]]
        values = {name: value[k, best] for name, value in result.items()}
        values |= {"cluster": cluster, "rank": np.arange(1, len(best) + 1)}
        values |= {"gene_id": genes.index, "gene_name": genes["gene_name"].to_numpy()}
        tables.append(pd.DataFrame(values)[COLUMNS])
    return pd.concat(tables, ignore_index=True)


def main(*, clusters: Path, markers: Path, settings: MarkerSettings) -> None:
    """Write the best markers of every cluster."""
    adata = ad.read_h5ad(clusters)
    table = best_markers(adata, n_genes=settings.n_genes)
    if table.empty:
        logger.warning("fewer than two clusters: nothing to compare")
    logger.info("%d rows", len(table))
    table.to_csv(markers, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        markers=Path(snakemake.output.markers),
        settings=MarkerSettings(**snakemake.params.settings),
    )
