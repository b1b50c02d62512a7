"""The Wilcoxon rank-sum test of every gene: clusters against the rest, and in pairs.

A stored value is packed with its gene and its cluster into one whole number, so that
one sort of whole numbers, the quickest there is, ranks many genes at once. All zeros of
a gene are one tie and are not stored. Ranks among all cells add up, so those of several
clusters together need no sort of their own; a pair of groups is taken out of the sorted
keys as it lies and ranked again.
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from _shared.streams import Matrix, in_order

# bits of a key: gene, value (a positive float32 has 31), cluster
GENE_BITS, CLUSTER_BITS = 16, 16
MOST_GENES = 2**GENE_BITS
# entries ranked at a time: bounds the memory beside the keys
CHUNK = 2_000_000
# values sorted at once: 640 MB; the matrix is read once for each so many
BLOCK = 80_000_000
# values that are ranked at all (of about 200,000 cells), and of a cluster so many cells
MOST_ENTRIES = 400_000_000
FEWEST_RANKED = 500

# the clusters on either side of a comparison
Pair = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Rank sums and sums of t^3 - t over ties, of the cells that were ranked.

    `sums` is clusters x genes among all cells, `ties` genes; `pair_sums`, of the first
    side, and `pair_ties` are pairs x genes among the cells of the pair. `sizes` are the
    ranked cells of each cluster.
    """

    sums: np.ndarray
    ties: np.ndarray
    pair_sums: np.ndarray
    pair_ties: np.ndarray
    sizes: np.ndarray


def packed(genes: np.ndarray, values: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Return a key per value (float32, above 0); keys sort by gene, then by value."""
    key = genes.astype(np.int64) << (31 + CLUSTER_BITS)
    key |= values.astype(np.float32, copy=False).view(np.int32).astype(np.int64) << (
        CLUSTER_BITS
    )
    return key | clusters


def rank_sums(
    keys: np.ndarray,
    sizes: np.ndarray,
    *,
    n_genes: int,
    pairs: list[Pair],
    threads: int = 1,
) -> Ranks:
    """Return the ranks of all genes.

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
    ranges, first = [], 0
    while first < n_genes:
        last = int(np.searchsorted(ends, ends[first] + CHUNK, side="right")) - 1
        ranges.append((first, min(max(last, first + 1), n_genes)))
        first = ranges[-1][1]

    def ranked_part(genes: tuple[int, int]) -> Ranks:
        first, last = genes
        part = keys[ends[first] : ends[last]]
        return _ranked(part, ends[first : last + 1] - ends[first], sizes, pairs)

    return joined(list(in_order(ranked_part, ranges, threads=threads)), sizes)


def joined(parts: list[Ranks], sizes: np.ndarray) -> Ranks:
    """Return the ranks of genes after genes."""
    names = ("sums", "ties", "pair_sums", "pair_ties")
    arrays = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1)
        for name in names
    }
    return Ranks(**arrays, sizes=sizes)


def _ranked(
    keys: np.ndarray, ends: np.ndarray, sizes: np.ndarray, pairs: list[Pair]
) -> Ranks:
    """Return the ranks of genes whose keys are these, gene after gene."""
    n_clusters, n_genes = len(sizes), len(ends) - 1
    stored = np.diff(ends)
    n_zeros = sizes.sum() - stored
    gene = np.repeat(np.arange(n_genes), stored)
    value, cluster = keys >> CLUSTER_BITS, keys & (2**CLUSTER_BITS - 1)

    # runs of equal values within a gene share the mean of their ranks
    starts = np.ones(len(value), dtype=bool)
    np.not_equal(value[1:], value[:-1], out=starts[1:])
    first = np.flatnonzero(starts)
    after = np.append(first[1:], len(value))
    tied = np.flatnonzero(after - first > 1)
    ties = _tie_sums(n_zeros, (after - first)[tied], gene[first[tied]])

    # every cell has the rank of a zero, but those with a value: they have more
    zero = (n_zeros + 1) / 2
    more = np.repeat((first + after + 1) / 2, after - first)
    more += np.repeat(n_zeros - ends[:-1] - zero, stored)
    shape = (n_clusters, n_genes)
    sums = np.bincount(
        cluster * n_genes + gene, weights=more, minlength=n_clusters * n_genes
    )
    sums = sums.reshape(shape) + sizes[:, None] * zero
    run = np.cumsum(starts, dtype=np.int32)
    cluster = cluster.astype(np.uint8 if n_clusters <= 2**8 else np.uint16)
    by_pair = [_ranked_pair(cluster, run, ends, sizes, pair) for pair in pairs]
    return Ranks(
        sums=sums,
        ties=ties,
        pair_sums=np.array([one for one, _ in by_pair]).reshape(-1, n_genes),
        pair_ties=np.array([one for _, one in by_pair]).reshape(-1, n_genes),
        sizes=sizes,
    )


def _tie_sums(n_zeros: np.ndarray, length: np.ndarray, gene: np.ndarray) -> np.ndarray:
    """Return the sum of t^3 - t over the zeros and the other ties of each gene."""
    # floats, because the cube of a million cells is beyond int64 soon
    t, zeros = length.astype(float), n_zeros.astype(float)
    of_values = np.bincount(gene, weights=t**3 - t, minlength=len(n_zeros))
    return of_values + zeros**3 - zeros


def _ranked_pair(
    cluster: np.ndarray,
    run: np.ndarray,
    ends: np.ndarray,
    sizes: np.ndarray,
    pair: Pair,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank sums of the first side, and ties, among the cells of two sides.

    `cluster` and `run`, a number per run of equal values of a gene, are of all sorted
    values; those of the two sides are still sorted.
    """
    one, other = (_is_in(cluster, side) for side in pair)
    place = np.flatnonzero(one | other)
    ends = np.searchsorted(place, ends)
    run = run[place]
    starts = np.ones(len(run), dtype=bool)
    np.not_equal(run[1:], run[:-1], out=starts[1:])
    bounds = np.append(np.flatnonzero(starts), len(run))
    first, after = bounds[:-1], bounds[1:]
    runs = np.searchsorted(first, ends)
    n_one, n = (sizes[list(side)].sum() for side in (pair[0], pair[0] + pair[1]))
    n_zeros = n - np.diff(ends)
    tied = np.flatnonzero(after - first > 1)
    gene = np.searchsorted(runs, tied, side="right") - 1
    ties = _tie_sums(n_zeros, (after - first)[tied], gene)

    # cells of the first side before each run, and twice its ranks: whole numbers
    before = np.append(0, np.cumsum(one[place]))[bounds]
    doubled = np.append(0, np.cumsum(np.diff(before) * (first + after + 1)))
    zero = (n_zeros + 1) / 2
    sums = np.diff(doubled[runs]) / 2 + n_one * zero
    sums += np.diff(before[runs]) * (n_zeros - ends[:-1] - zero)
    return sums, ties


def _is_in(cluster: np.ndarray, side: tuple[int, ...]) -> np.ndarray:
    # one comparison of bytes per cluster is quicker than a table
    found = cluster == side[0]
    for code in side[1:]:
        found |= cluster == code
    return found


def tested(
    sums: np.ndarray, ties: np.ndarray, *, n_inside: int, n_outside: int
) -> dict[str, np.ndarray]:
    """Test cells against others by their rank sums: AUC, z and p, each per gene.

    Two-sided, normal approximation, corrected for ties, without continuity.
    """
    size, n = float(n_inside), float(n_inside + n_outside)
    pairs = size * n_outside
    u = sums - size * (size + 1) / 2
    spread = np.sqrt(np.maximum(pairs / 12 * ((n + 1) - ties / (n * (n - 1))), 0))
    z = np.divide(u - pairs / 2, spread, out=np.zeros_like(u), where=spread > 0)
    return {"auc": u / pairs, "score": z, "p_value": 2 * special.ndtr(-np.abs(z))}


def cells_to_rank(
    codes: np.ndarray, n_clusters: int, *, n_entries: int
) -> np.ndarray | None:
    """Return a flag per cell, None for all: the same share of each cluster.

    Of a small cluster more, so that each has `FEWEST_RANKED` where it can.
    """
    if n_entries <= MOST_ENTRIES:
        return None
    rng = np.random.default_rng(0)
    flags = np.zeros(len(codes), dtype=bool)
    for k in range(n_clusters):
        cells = np.flatnonzero(codes == k)
        n = int(np.ceil(len(cells) * MOST_ENTRIES / n_entries))
        n = min(max(n, FEWEST_RANKED), len(cells))
        flags[rng.choice(cells, n, replace=False)] = True
    return flags


def gene_blocks(n_found: np.ndarray) -> list[np.ndarray]:
    """Return the positions of genes that are ranked together: so many entries each."""
    genes = np.flatnonzero(n_found)
    block = np.cumsum(n_found[genes]) // BLOCK
    blocks = np.split(genes, np.flatnonzero(np.diff(block)) + 1)
    return [
        part[i : i + MOST_GENES]
        for part in blocks
        for i in range(0, len(part), MOST_GENES)
    ]


def ranked(
    x: Matrix,
    codes: np.ndarray,
    n_clusters: int,
    *,
    n_found: np.ndarray,
    pairs: list[Pair],
    flags: np.ndarray | None = None,
    threads: int = 1,
) -> Ranks:
    """Return the ranks of the genes that are found, among the flagged cells.

    `n_found` is the number of all cells with each gene. The matrix is read once per
    block of genes.
    """
    share = 1 if flags is None else flags.mean()
    chosen = codes if flags is None else codes[flags]
    sizes = np.bincount(chosen, minlength=n_clusters)
    parts = []
    for genes in gene_blocks(n_found * share):
        keys = _sorted_keys(
            x, codes, genes, n_found[genes].sum(), flags=flags, threads=threads
        )
        parts.append(
            rank_sums(keys, sizes, n_genes=len(genes), pairs=pairs, threads=threads)
        )
        del keys
    return joined(parts, sizes)


def _sorted_keys(
    x: Matrix,
    codes: np.ndarray,
    genes: np.ndarray,
    n_entries: int,
    *,
    flags: np.ndarray | None,
    threads: int,
) -> np.ndarray:
    """Return the sorted keys of some genes, of which all cells have `n_entries`."""
    number = np.full(x.shape[1], -1, dtype=np.int32)
    number[genes] = np.arange(len(genes))

    def keys_of(rows: tuple[int, int]) -> np.ndarray:
        part, cluster = x.rows(*rows), codes[slice(*rows)]
        if flags is not None:
            part, cluster = part[flags[slice(*rows)]], cluster[flags[slice(*rows)]]
        gene, cluster = number[part.indices], np.repeat(cluster, np.diff(part.indptr))
        keep = (gene >= 0) & (part.data > 0)
        return packed(gene[keep], part.data[keep], cluster[keep])

    keys, end = np.empty(n_entries, dtype=np.int64), 0
    for part in in_order(keys_of, x.pieces(), threads=threads):
        keys[end : end + len(part)] = part
        end += len(part)
    keys = keys[:end]
    keys.sort()
    return keys
