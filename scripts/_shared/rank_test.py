"""The Wilcoxon rank-sum test of every gene, each cluster against the rest.

A stored value is packed with its gene and its cluster into one whole number, so that
one sort of whole numbers, the quickest there is, ranks many genes at once. All zeros of
a gene are one tie and are not stored.
"""

import numpy as np
from scipy import special

# bits of a key: gene, value (a positive float32 has 31), cluster
GENE_BITS, CLUSTER_BITS = 16, 16
MOST_GENES = 2**GENE_BITS
# entries ranked at a time: bounds the memory beside the keys
CHUNK = 2_000_000


def packed(genes: np.ndarray, values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return a key per value (float32, above 0); keys sort by gene, then by value."""
    key = genes.astype(np.int64) << (31 + CLUSTER_BITS)
    key |= values.astype(np.float32, copy=False).view(np.int32).astype(np.int64) << (
        CLUSTER_BITS
    )
    return key | clusters


def rank_sums(
    keys: np.ndarray, sizes: np.ndarray, *, n_genes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank sums (clusters x genes) and sums of t^3 - t over ties (genes).

    Parameters
    ----------
    keys
        The packed values, sorted.
    sizes
        Cells of each cluster.
    n_genes
        Genes, numbered from 0 as in the keys.
    """
    ends = np.searchsorted(keys, np.arange(n_genes + 1) << (31 + CLUSTER_BITS))
    sums = np.zeros((len(sizes), n_genes))
    ties = np.zeros(n_genes)
    first = 0
    while first < n_genes:
        last = int(np.searchsorted(ends, ends[first] + CHUNK, side="right")) - 1
        last = min(max(last, first + 1), n_genes)
        part = keys[ends[first] : ends[last]]
        within = ends[first : last + 1] - ends[first]
        sums[:, first:last], ties[first:last] = _ranked(part, within, sizes)
        first = last
    return sums, ties


def _ranked(
    keys: np.ndarray, ends: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank sums and ties of genes whose keys are these, gene after gene."""
    n, n_clusters, n_genes = sizes.sum(), len(sizes), len(ends) - 1
    stored = np.diff(ends)
    n_zeros = n - stored
    gene = np.repeat(np.arange(n_genes), stored)
    value, cluster = keys >> CLUSTER_BITS, keys & (2**CLUSTER_BITS - 1)

    # runs of equal values within a gene share the mean of their ranks
    starts = np.ones(len(value), dtype=bool)
    starts[1:] = value[1:] != value[:-1]
    first = np.flatnonzero(starts)
    length = np.diff(np.append(first, len(value)))
    of_gene = gene[first]
    mean_rank = n_zeros[of_gene] + first - ends[of_gene] + (length + 1) / 2
    rank = np.repeat(mean_rank, length)
    # a float, because the cube of a million cells is beyond int64 soon
    ties = np.bincount(
        of_gene, weights=length.astype(float) ** 3 - length, minlength=n_genes
    )
    ties += n_zeros.astype(float) ** 3 - n_zeros

    place = cluster * n_genes + gene
    shape = (n_clusters, n_genes)
    sums = np.bincount(place, weights=rank, minlength=n_clusters * n_genes)
    n_stored = np.bincount(place, minlength=n_clusters * n_genes).reshape(shape)
    zeros = (sizes[:, None] - n_stored) * (n_zeros + 1) / 2
    return sums.reshape(shape) + zeros, ties


def tested(sums: np.ndarray, ties: np.ndarray, sizes: np.ndarray) -> dict:
    """Test each cluster against the rest: AUC, z and p, each clusters x genes.

    Two-sided, normal approximation, corrected for ties, without continuity.
    """
    n = sizes.sum()
    size = sizes[:, None].astype(float)
    pairs = size * (n - size)
    u = sums - size * (size + 1) / 2
    spread = np.sqrt(np.maximum(pairs / 12 * ((n + 1) - ties / (n * (n - 1))), 0))
    z = np.divide(u - pairs / 2, spread, out=np.zeros_like(u), where=spread > 0)
    return {"auc": u / pairs, "score": z, "p_value": 2 * special.ndtr(-np.abs(z))}
