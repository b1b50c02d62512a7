"""Principal components of the variable genes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
from scipy import linalg
from threadpoolctl import threadpool_limits

from _shared.jobs import job
from _shared.streams import Matrix, in_order

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("reduce_dimensions")

# cells x genes of a dense piece: 64 MB
PIECE = 16_000_000


@dataclass(frozen=True, kw_only=True)
class ReduceSettings:
    """The `reduce_dimensions` section of the config; the schema holds the ranges."""

    n_comps: int


def covariance_of(x: Matrix, *, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of every gene and their covariance, in one pass.

    Products are of float32 values less the first cells' means, so that nothing is lost
    to large means; their sums are float64, piece by piece in order, so that the result
    does not depend on the threads.
    """
    n, n_genes = x.shape
    pieces = row_ranges(x)
    shift = x.dense(*pieces[0]).mean(axis=0)

    def product(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        part = x.dense(*rows) - shift
        return part.sum(axis=0, dtype=np.float64), part.T @ part

    sums = np.zeros(n_genes)
    products = np.zeros((n_genes, n_genes))
    for of_rows, squares in in_order(product, pieces, threads=threads):
        sums += of_rows
        products += squares
    covariance = (products - np.outer(sums, sums) / n) / (n - 1)
    return shift + sums / n, covariance


def row_ranges(x: Matrix) -> list[tuple[int, int]]:
    """Return ranges of rows of about the same size when dense."""
    step = max(PIECE // max(x.shape[1], 1), 1)
    return [(i, min(i + step, x.shape[0])) for i in range(0, x.shape[0], step)]


def principal_components(
    x: Matrix, *, n_comps: int, threads: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores (cells x components) and the share of variance of each.

    From the eigenvectors of the covariance matrix: exact, without a random start, and
    `x` is never in memory as a whole. The sign makes the largest loading of a component
    positive.
    """
    n, n_genes = x.shape
    n_comps = max(min(n_comps, n - 1, n_genes - 1), 0)
    if n_comps == 0:
        return np.zeros((n, 0), dtype=np.float32), np.zeros(0)

    # the order of additions, and so the last digit, would follow the thread count
    with threadpool_limits(limits=1):
        mean, covariance = covariance_of(x, threads=threads)
        values, loadings = linalg.eigh(
            covariance, subset_by_index=(n_genes - n_comps, n_genes - 1)
        )
        values, loadings = values[::-1], loadings[:, ::-1]
        largest = np.abs(loadings).argmax(axis=0)
        loadings = loadings * np.sign(loadings[largest, np.arange(n_comps)])

        def project(rows: tuple[int, int]) -> np.ndarray:
            part = x.rows(*rows) if x.is_sparse else x.dense(*rows)
            return (part @ loadings - mean @ loadings).astype(np.float32)

        pieces = row_ranges(x)
        scores = np.concatenate(list(in_order(project, pieces, threads=threads)))
    total = np.trace(covariance)
    shares = np.clip(values, 0, None) / total if total > 0 else np.zeros(n_comps)
    return scores, shares


def main(
    *, variable: Path, pca: Path, settings: ReduceSettings, threads: int = 1
) -> None:
    """Write `obsm.X_pca` and `uns.pca.variance_ratio`, with the cells' table."""
    with h5py.File(variable) as file:
        x = Matrix(file["X"])
        obs = ad.io.read_elem(file["obs"])
        scores, shares = principal_components(
            x, n_comps=settings.n_comps, threads=threads
        )
    logger.info(
        "%d components of %d genes hold %.1f %% of the variance",
        scores.shape[1],
        x.shape[1],
        100 * shares.sum(),
    )
    reduced = ad.AnnData(obs=obs, obsm={"X_pca": scores})
    reduced.uns["pca"] = {"variance_ratio": shares}
    reduced.write_h5ad(pca)


if "snakemake" in globals():
    with job(snakemake):
        main(
            variable=Path(snakemake.input.variable),
            pca=Path(snakemake.output.pca),
            settings=ReduceSettings(**snakemake.params.settings),
            threads=snakemake.threads,
        )
