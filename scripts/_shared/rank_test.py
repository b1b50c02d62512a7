"""The Wilcoxon rank-sum test of every gene, each cluster against the rest."""

import numpy as np
from scipy import sparse, special

# genes ranked at a time: bounds the memory of the sort
CHUNK = 1000


def rank_sums(
    x: sparse.csc_matrix, codes: np.ndarray, n_clusters: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank sums (clusters x genes) and sums of t^3 - t over ties (genes).

    Only the stored values are sorted: all zeros of a gene are one tie. `x` has no
    stored zeros and no negative values.
    """
    n, n_genes = x.shape
    stored = np.diff(x.indptr)
    n_zeros = n - stored
    gene = np.repeat(np.arange(n_genes), stored)
    order = np.lexsort((x.data, gene))
    value, cluster = x.data[order], codes[x.indices[order]]

    # runs of equal values within a gene share the mean of their ranks
    starts = np.ones(len(value), dtype=bool)
    starts[1:] = (value[1:] != value[:-1]) | (gene[1:] != gene[:-1])
    first = np.flatnonzero(starts)
    length = np.diff(np.append(first, len(value)))
    within_gene = first - x.indptr[gene[first]]
    mean_rank = n_zeros[gene[first]] + within_gene + (length + 1) / 2
    rank = np.repeat(mean_rank, length)
    # a float, because the cube of a million cells is beyond int64 soon
    ties = np.bincount(
        gene[first],
        weights=length.astype(float) ** 3 - length,
        minlength=n_genes,
    )
    ties += n_zeros.astype(float) ** 3 - n_zeros

    cells = gene * n_clusters + cluster
    shape = (n_genes, n_clusters)
    sums = np.bincount(cells, weights=rank, minlength=n_genes * n_clusters)
    n_stored = np.bincount(cells, minlength=n_genes * n_clusters).reshape(shape)
    sizes = np.bincount(codes, minlength=n_clusters)
    zeros = (sizes - n_stored) * (n_zeros[:, None] + 1) / 2
    return (sums.reshape(shape) + zeros).T, ties


def rank_test(x: sparse.csc_matrix, codes: np.ndarray, n_clusters: int) -> dict:
    """Test each cluster against the rest: AUC, z and p, each clusters x genes.

    Two-sided, normal approximation, corrected for ties, without continuity.
    """
    n = x.shape[0]
    chunks = [
        rank_sums(x[:, start : start + CHUNK], codes, n_clusters)
        for start in range(0, x.shape[1], CHUNK)
    ]
    sums = np.hstack([chunk[0] for chunk in chunks])
    ties = np.hstack([chunk[1] for chunk in chunks])
    size = np.bincount(codes, minlength=n_clusters)[:, None].astype(float)
    pairs = size * (n - size)
    u = sums - size * (size + 1) / 2
    spread = np.sqrt(np.maximum(pairs / 12 * ((n + 1) - ties / (n * (n - 1))), 0))
    z = np.divide(u - pairs / 2, spread, out=np.zeros_like(u), where=spread > 0)
    return {"auc": u / pairs, "score": z, "p_value": 2 * special.ndtr(-np.abs(z))}
