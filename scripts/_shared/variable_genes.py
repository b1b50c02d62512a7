"""Genes that vary more than others of their level, within samples.

The method is "vst" of Seurat v3 (Stuart et al. 2019). All that it needs is in how many
cells a gene has one, two, three, … counts: a small table, made piece by piece.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse
from statsmodels.nonparametric.smoothers_lowess import lowess

# counts below have a place of their own in the table; above there are few
SMALL = 64
# samples below are judged together: a trend over genes needs some cells
MIN_CELLS_PER_SAMPLE = 50
# genes below which the trend is a constant
MIN_GENES_FOR_TREND = 20


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """In how many cells a gene has a count above 0: an entry per gene and count."""

    gene: np.ndarray
    count: np.ndarray
    cells: np.ndarray
    n_cells: int
    n_genes: int

    def sums(self, of_count: np.ndarray) -> np.ndarray:
        """Return the sum over cells of a value per entry, by gene."""
        return np.bincount(
            self.gene, weights=of_count * self.cells, minlength=self.n_genes
        )


def tabulated(counts: sparse.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Return how often each small count occurs, by gene and count; and large entries.

    Returns
    -------
    tuple
        Table (genes x SMALL; column 0 means nothing), and the entries that are too
        large for it as gene * 2^32 + count, sorted.
    """
    key = np.multiply(counts.indices, SMALL, dtype=np.int64)
    large = counts.data >= SMALL
    key += np.where(large, 0, counts.data)
    table = np.bincount(key, minlength=counts.shape[1] * SMALL)
    rare = counts.indices[large].astype(np.int64) << 32 | counts.data[large]
    return table.reshape(counts.shape[1], SMALL), np.sort(rare)


@dataclass(kw_only=True)
class Tally:
    """The spectrum of a group of cells, while it is added up."""

    n_genes: int
    n_cells: int = 0
    table: np.ndarray = field(init=False)
    rare: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = np.zeros((self.n_genes, SMALL), dtype=np.int64)

    def add(self, table: np.ndarray, rare: np.ndarray, *, n_cells: int) -> None:
        """Add what `tabulated` says of some more cells."""
        self.table += table
        self.rare.append(rare)
        self.n_cells += n_cells

    def spectrum(self) -> Spectrum:
        """Return what all cells together are."""
        table = self.table.copy()
        table[:, 0] = 0
        gene, count = table.nonzero()
        none = np.zeros(0, dtype=np.int64)
        rare, times = np.unique(np.concatenate([none, *self.rare]), return_counts=True)
        return Spectrum(
            gene=np.concatenate([gene, rare >> 32]),
            count=np.concatenate([count, rare & (2**32 - 1)]).astype(float),
            cells=np.concatenate([table[gene, count], times]).astype(float),
            n_cells=self.n_cells,
            n_genes=self.n_genes,
        )


def spectrum_of(counts: sparse.csr_matrix) -> Spectrum:
    """Return the spectrum of a matrix in memory (cells x genes, whole numbers)."""
    tally = Tally(n_genes=counts.shape[1])
    tally.add(*tabulated(counts), n_cells=counts.shape[0])
    return tally.spectrum()


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


def standardized_variance(counts: Spectrum) -> np.ndarray:
    """Return the variance of counts over that expected from the mean, per gene.

    Counts are clipped at sqrt(n) expected standard deviations above the mean; 0 for a
    constant gene.
    """
    n = counts.n_cells
    if n < 2:
        return np.zeros(counts.n_genes)
    mean = counts.sums(counts.count) / n
    variance = (counts.sums(counts.count**2) - n * mean**2) / (n - 1)
    varies = (variance > 1e-12) & (mean > 0)
    sd = np.ones(counts.n_genes)
    trend = expected_log_variance(np.log10(mean[varies]), np.log10(variance[varies]))
    sd[varies] = np.sqrt(10**trend)

    clipped = np.minimum(counts.count, (mean + sd * np.sqrt(n))[counts.gene])
    spread = counts.sums(clipped**2) - 2 * mean * counts.sums(clipped) + n * mean**2
    return np.where(varies, spread / ((n - 1) * sd**2), 0.0)


def groups_of(samples: pd.Series) -> np.ndarray:
    """Return the group in which each cell is judged: its sample, "" for small ones."""
    small = samples.map(samples.value_counts()).astype(float) < MIN_CELLS_PER_SAMPLE
    return np.where(small, "", samples.astype(str))


def mean_variance(scores: list[np.ndarray], n_cells: list[int]) -> np.ndarray:
    """Average the standardized variance within groups, weighted by their cells.

    Within groups, so that a gene that only differs between them is not chosen.
    """
    return np.average(scores, axis=0, weights=n_cells)


def combined_ranks(scores: list[np.ndarray], *, n_top_genes: int) -> np.ndarray:
    """Return a score that orders genes by how many groups have them among their best.

    Ties by the median rank in these groups, as `seurat_v3_paper` of scanpy; above 0 for
    genes that any group has among its best.
    """
    ranks = []
    for score in scores:
        rank = np.empty(len(score))
        rank[np.argsort(-score, kind="stable")] = np.arange(len(score))
        ranks.append(np.where((rank < n_top_genes) & (score > 0), rank, np.nan))
    ranks = np.array(ranks)
    times = np.isfinite(ranks).sum(axis=0)
    median = np.zeros(ranks.shape[1])
    median[times > 0] = np.nanmedian(ranks[:, times > 0], axis=0)
    return np.where(times > 0, times + 1 - median / (n_top_genes + 1), 0.0)


def top_genes(score: np.ndarray, *, n_top_genes: int) -> np.ndarray:
    """Flag the genes with the highest scores above 0, ties in gene order."""
    best = np.argsort(-score, kind="stable")[:n_top_genes]
    flags = np.zeros(len(score), dtype=bool)
    flags[best] = score[best] > 0
    return flags
