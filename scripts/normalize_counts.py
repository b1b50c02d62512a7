"""Scale counts to the same depth, take logarithms, and choose variable genes."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from statsmodels.nonparametric.smoothers_lowess import lowess

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("normalize_counts")

# samples below are judged together: a trend over genes needs some cells
MIN_CELLS_PER_SAMPLE = 50
# genes below which the trend is a constant
MIN_GENES_FOR_TREND = 20


@dataclass(frozen=True, kw_only=True)
class NormalizeSettings:
    """The `normalize_counts` section of the config; the schema holds the ranges."""

    target_sum: float | None
    n_top_genes: int


def size_factors(counts: sparse.csr_matrix, *, target_sum: float | None) -> np.ndarray:
    """Return total counts over the target; 1 for a cell without counts."""
    total = np.asarray(counts.sum(axis=1), dtype=float).ravel()
    has_counts = total > 0
    if target_sum is None and has_counts.any():
        target_sum = float(np.median(total[has_counts]))
    factors = np.ones(len(total))
    factors[has_counts] = total[has_counts] / target_sum
    return factors


def log_normalized(counts: sparse.csr_matrix, factors: np.ndarray) -> sparse.csr_matrix:
    """Return log(1 + counts / factor) as float32."""
    values = counts.data / np.repeat(factors, np.diff(counts.indptr))
    return sparse.csr_matrix(
        (np.log1p(values).astype(np.float32), counts.indices, counts.indptr),
        shape=counts.shape,
    )


def expected_log_variance(log_mean: np.ndarray, log_variance: np.ndarray) -> np.ndarray:
    """Return the trend of log variance over log mean, one value per gene."""
    constant = np.full(len(log_mean), log_variance.mean() if len(log_mean) else 0.0)
    if len(log_mean) < MIN_GENES_FOR_TREND or np.ptp(log_mean) == 0:
        return constant
    trend = lowess(
        log_variance,
        log_mean,
        frac=0.3,
        it=0,
        delta=0.01 * np.ptp(log_mean),
        return_sorted=False,
    )
    # many genes with one same mean leave holes in the local fit
    return np.where(np.isfinite(trend), trend, constant)


def standardized_variance(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the variance of counts over that expected from the mean, per gene.

    Counts are clipped at sqrt(n) expected standard deviations above the mean, as in
    the method "vst" of Seurat v3 (Stuart et al. 2019); 0 for a constant gene.
    """
    n, n_genes = counts.shape
    if n < 2:
        return np.zeros(n_genes)

    def column_sums(values: np.ndarray) -> np.ndarray:
        return np.bincount(counts.indices, weights=values, minlength=n_genes)

    data = counts.data.astype(float)
    mean = column_sums(data) / n
    variance = (column_sums(data**2) - n * mean**2) / (n - 1)
    varies = (variance > 1e-12) & (mean > 0)
    sd = np.ones(n_genes)
    trend = expected_log_variance(np.log10(mean[varies]), np.log10(variance[varies]))
    sd[varies] = np.sqrt(10**trend)

    data = np.minimum(data, (mean + sd * np.sqrt(n))[counts.indices])
    spread = column_sums(data**2) - 2 * mean * column_sums(data) + n * mean**2
    return np.where(varies, spread / ((n - 1) * sd**2), 0.0)


def mean_standardized_variance(
    counts: sparse.csr_matrix, samples: pd.Series
) -> np.ndarray:
    """Average the standardized variance within samples, weighted by their cells.

    Within samples, so that a gene that only differs between them is not chosen.
    """
    sizes = samples.value_counts()
    small = samples.map(sizes).astype(float) < MIN_CELLS_PER_SAMPLE
    group = np.where(small, "", samples.astype(str))
    total = np.zeros(counts.shape[1])
    for name in sorted(set(group)):
        rows = np.flatnonzero(group == name)
        total += len(rows) * standardized_variance(counts[rows])
    return total / max(len(samples), 1)


def top_genes(score: np.ndarray, *, n_top_genes: int) -> np.ndarray:
    """Flag the genes with the highest scores above 0, ties in gene order."""
    best = np.argsort(-score, kind="stable")[:n_top_genes]
    flags = np.zeros(len(score), dtype=bool)
    flags[best] = score[best] > 0
    return flags


def main(*, merged: Path, normalized: Path, settings: NormalizeSettings) -> None:
    """Write `X` log-normalized, `obs.size_factor` and `var.highly_variable`."""
    adata = ad.read_h5ad(merged)
    counts = adata.layers["counts"]
    factors = size_factors(counts, target_sum=settings.target_sum)
    adata.obs["size_factor"] = factors
    adata.X = log_normalized(counts, factors)
    score = mean_standardized_variance(counts, adata.obs["sample"])
    adata.var["variances_norm"] = score
    flags = top_genes(score, n_top_genes=settings.n_top_genes)
    adata.var["highly_variable"] = flags
    logger.info("%d of %d genes are highly variable", flags.sum(), len(flags))
    adata.write_h5ad(normalized)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        merged=Path(snakemake.input.merged),
        normalized=Path(snakemake.output.normalized),
        settings=NormalizeSettings(**snakemake.params.settings),
    )
