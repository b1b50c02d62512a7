"""What the same library shows with fewer or more reads: saturation, UMIs, genes.

The reads of a molecule are taken to follow a negative binomial distribution, of which
molecules without a read are not seen. Its mean comes from reads per UMI, its size from
how much barcodes with few UMIs scatter about that mean. The number of molecules seen
with `t` times the reads is then `M * (1 - (1 + m * t / size)**-size)`; size 1 is the
curve of Michaelis and Menten, size infinite that of Lander and Waterman.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse
from scipy.optimize import brentq

# barcodes with at most this many UMIs tell the scatter of reads per UMI: in larger ones
# the differences between barcodes outweigh it
MOST_UMIS = 30
# repeated reads of known molecules, below which the scatter says nothing of the size
FEWEST_FOR_SIZE = 1000
# and below which nothing is said of deeper sequencing
FEWEST_FOR_DEEPER = 100
USUAL_SIZE = 1.0
LEAST_POWER = -20.001
LEAST_SIZE, MOST_SIZE = 0.05, 1000.0
SHARES = np.round(np.arange(0.1, 1.01, 0.1), 1)
DEEPER = (2, 5, 10)


@dataclass(frozen=True, kw_only=True)
class Depth:
    """How reads are spread over molecules: mean and size, molecules without one too."""

    mean: float
    size: float

    def share_seen(self, times: np.ndarray | float) -> np.ndarray:
        """Return the share of all molecules seen with `times` the reads."""
        return -np.expm1(-self.size * np.log1p(self.mean * times / self.size))

    def growth(self, times: np.ndarray | float) -> np.ndarray:
        """Return the molecules seen with `times` the reads, over those seen now."""
        return self.share_seen(times) / self.share_seen(1.0)


def mean_of_all(mean_seen: float, size: float) -> float:
    """Return the mean over all molecules, from the mean over those with a read."""

    def excess(mean: float) -> float:
        return mean / Depth(mean=mean, size=size).share_seen(1.0) - mean_seen

    return brentq(excess, 1e-9, mean_seen)


def variance_of_seen(depth: Depth) -> float:
    """Return the variance of reads per molecule with a read."""
    seen = depth.share_seen(1.0)
    square = depth.mean + depth.mean**2 * (1 + 1 / depth.size)
    return square / seen - (depth.mean / seen) ** 2


def fit_depth(reads: np.ndarray, umis: np.ndarray) -> Depth:
    """Return the spread of reads over molecules, from both numbers per barcode."""
    some = umis > 0
    reads, umis = reads[some].astype(float), umis[some].astype(float)
    few = umis <= MOST_UMIS
    size = USUAL_SIZE
    if (reads[few] - umis[few]).sum() >= FEWEST_FOR_SIZE:
        own = reads[few].sum() / umis[few].sum()
        size = size_of(
            own, ((reads[few] - own * umis[few]) ** 2).sum() / umis[few].sum()
        )
    # of reads that never repeat nothing but a straight line can be said
    mean_seen = max(reads.sum() / umis.sum(), 1 + 1e-6)
    return Depth(mean=mean_of_all(mean_seen, size), size=size)


def size_of(mean_seen: float, variance: float) -> float:
    """Return the size at which reads per molecule with a read have this variance."""

    def excess(log_size: float) -> float:
        size = np.exp(log_size)
        depth = Depth(mean=mean_of_all(mean_seen, size), size=size)
        return variance_of_seen(depth) - variance

    low, high = np.log(LEAST_SIZE), np.log(MOST_SIZE)
    if excess(low) <= 0:
        return LEAST_SIZE
    if excess(high) >= 0:
        return MOST_SIZE
    return float(np.exp(brentq(excess, low, high)))


def genes_seen(counts: sparse.csr_matrix, kept: float) -> np.ndarray:
    """Return the genes expected per cell when a share of the UMIs is kept.

    A gene with `n` UMIs is lost with probability `(1 - kept)**n`.
    """
    lost = (1 - kept) ** np.arange(counts.data.max(initial=0) + 1)
    row = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    return np.bincount(row, weights=1 - lost[counts.data], minlength=counts.shape[0])


def fit_genes(counts: sparse.csr_matrix) -> tuple[float, float] | None:
    """Return the two numbers of the curve of genes over UMIs, for `genes_growth`.

    They are those at which the curve goes through the genes expected with a half and
    with a quarter of the UMIs; nothing where there are no such numbers.
    """
    now = len(counts.data)
    half, quarter = (genes_seen(counts, kept).sum() / now for kept in (0.5, 0.25))

    def scale(power: float) -> float:
        def excess(log_scale: float) -> float:
            return genes_growth(0.5, np.exp(log_scale), power) - half

        return float(np.exp(brentq(excess, np.log(1e-4), np.log(1e6))))

    def excess(power: float) -> float:
        return genes_growth(0.25, scale(power), power) - quarter

    # a larger power cannot lose so many genes with half of the UMIs
    most = -np.log2(half) - 0.001
    try:
        power = brentq(excess, LEAST_POWER, most)
    except ValueError:
        return None
    return scale(power), power


def genes_growth(times: float, scale: float, power: float) -> float:
    """Return the genes seen with `times` the UMIs, over those seen now.

    A negative binomial with its size, `-power`, below 0 as well (Engen 1974): genes
    differ more in expression than a gamma distribution allows.
    """
    return np.expm1(power * np.log1p(scale * times)) / np.expm1(power * np.log1p(scale))


def saturation_curve(
    *,
    reads: np.ndarray,
    umis: np.ndarray,
    cells: sparse.csr_matrix,
    n_reads: float,
    deeper: tuple[float, ...] = DEEPER,
) -> pd.DataFrame:
    """Return what fewer and more reads of the same library show.

    Parameters
    ----------
    reads, umis
        Counted reads and UMIs per barcode.
    cells
        UMIs of the called cells (cells x genes).
    n_reads
        Reads of the library, counted or not.
    deeper
        Multiples of the reads to extrapolate to.

    Returns
    -------
    DataFrame
        A row per depth; medians are null where nothing is known. Without UMIs no row.
    """
    columns = ["share", "source", "n_reads", "mean_reads_per_cell"]
    columns += ["sequencing_saturation", "median_umi_counts_per_cell"]
    columns += ["median_genes_per_cell"]
    if not umis.sum():
        return pd.DataFrame(columns=columns)
    depth = fit_depth(reads, umis)
    n_cells = cells.shape[0]
    per_cell = np.asarray(cells.sum(axis=1)).ravel()
    median_umis = float(np.median(per_cell)) if n_cells else None
    median_genes = float(np.median(np.diff(cells.indptr))) if n_cells else None
    genes = fit_genes(cells) if cells.nnz else None
    if reads.sum() - umis.sum() < FEWEST_FOR_DEEPER:
        deeper = ()
    rows = []
    for share in (*SHARES, *sorted(deeper)):
        growth = float(depth.growth(share))
        seen_genes = None
        if n_cells and share <= 1:
            seen_genes = float(np.median(genes_seen(cells, growth)))
        elif genes:
            seen_genes = median_genes * genes_growth(growth, *genes)
        source = "extrapolated" if share > 1 else "thinned" if share < 1 else "measured"
        rows.append(
            (
                share,
                source,
                round(n_reads * share),
                n_reads * share / n_cells if n_cells else None,
                100 * (1 - growth * umis.sum() / (share * reads.sum())),
                median_umis * growth if n_cells else None,
                seen_genes,
            )
        )
    return pd.DataFrame(rows, columns=columns).round(3)
