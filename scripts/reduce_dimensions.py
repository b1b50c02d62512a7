"""Principal components of the variable genes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
from scipy import linalg, sparse
from threadpoolctl import threadpool_limits

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("reduce_dimensions")


@dataclass(frozen=True, kw_only=True)
class ReduceSettings:
    """The `reduce_dimensions` section of the config; the schema holds the ranges."""

    n_comps: int


def principal_components(
    x: sparse.csr_matrix, *, n_comps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (cells x components) and the share of variance of each.

    From the eigenvectors of the covariance matrix: exact, without a random start, and
    `x` stays sparse. The sign makes the largest loading of a component positive.
    """
    n, n_genes = x.shape
    n_comps = max(min(n_comps, n - 1, n_genes - 1), 0)
    if n_comps == 0:
        return np.zeros((n, 0), dtype=np.float32), np.zeros(0)

    x = x.astype(np.float64)
    mean = np.asarray(x.mean(axis=0)).ravel()
    covariance = ((x.T @ x).toarray() - n * np.outer(mean, mean)) / (n - 1)
    values, loadings = linalg.eigh(
        covariance, subset_by_index=(n_genes - n_comps, n_genes - 1)
    )
    values, loadings = values[::-1], loadings[:, ::-1]
    largest = np.abs(loadings).argmax(axis=0)
    loadings = loadings * np.sign(loadings[largest, np.arange(n_comps)])
    scores = x @ loadings - mean @ loadings
    total = np.trace(covariance)
    shares = np.clip(values, 0, None) / total if total > 0 else np.zeros(n_comps)
    return scores.astype(np.float32), shares


def main(*, normalized: Path, pca: Path, settings: ReduceSettings) -> None:
    """Write `obsm.X_pca` and `uns.pca.variance_ratio`, with the cells' table."""
    adata = ad.read_h5ad(normalized)
    x = adata.X[:, adata.var["highly_variable"].to_numpy()]
    # the order of additions, and so the last digit, would follow the thread count
    with threadpool_limits(limits=1):
        scores, shares = principal_components(x, n_comps=settings.n_comps)
    logger.info(
        "%d components of %d genes hold %.1f %% of the variance",
        scores.shape[1],
        x.shape[1],
        100 * shares.sum(),
    )
    reduced = ad.AnnData(obs=adata.obs, obsm={"X_pca": scores})
    reduced.uns["pca"] = {"variance_ratio": shares}
    reduced.write_h5ad(pca)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        normalized=Path(snakemake.input.normalized),
        pca=Path(snakemake.output.pca),
        settings=ReduceSettings(**snakemake.params.settings),
    )
