"""Metacells: small groups of similar cells of one sample, whose counts are added up.

A single cell has no count of most genes, so two genes that are regulated together are
hardly ever seen together; in the sum over some dozen similar cells they are.
"""

import numpy as np
from scipy import linalg, sparse

from _shared.streams import Matrix, in_order
from _shared.variable_genes import expected_log_variance

# components that cells are grouped by
N_COMPONENTS = 15
# as scanpy scales counts, and clips values that are scaled to a variance of 1
TARGET = 1e4
CLIP = 10
# cells of about the same depth, among which a null deals out the counts of a gene
STRATUM = 32


def centered(values: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return values (rows x anything) less the mean of their sample (from 0)."""
    n = len(samples)
    ones = np.ones(n, dtype=values.dtype)
    of = sparse.csr_matrix((ones, (samples, np.arange(n))))
    size = np.maximum(np.bincount(samples), 1)[:, None].astype(values.dtype)
    return values - ((of @ values) / size)[samples]


def without(values: np.ndarray, known: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return values less the mean of their sample and what goes along with `known`."""
    values, known = centered(values, samples), centered(known, samples)
    basis = linalg.orth(known).astype(values.dtype) if known.any() else known[:, :0]
    return values - basis @ (basis.T @ values)


def variability(
    counts: sparse.csr_matrix, samples: np.ndarray, *, least: float
) -> np.ndarray:
    """Return the variance within samples over that expected from the mean, per gene.

    Of log(1 + counts per `TARGET`); 0 for genes with fewer than `least` counts.
    """
    n, n_genes = counts.shape
    if n == 0:
        return np.zeros(n_genes)
    total = np.asarray(counts.sum(axis=1)).ravel()
    levels = sparse.diags_array(TARGET / np.maximum(total, 1)) @ counts
    levels = sparse.csr_matrix(levels).log1p()
    of = sparse.csr_matrix((np.ones(n), (samples, np.arange(n))))
    size = np.bincount(samples, minlength=of.shape[0])[:, None]
    sums = (of @ levels).toarray()
    squares = np.asarray(levels.multiply(levels).sum(axis=0)).ravel()
    free = max(n - int((size > 0).sum()), 1)
    variance = (squares - (sums**2 / np.maximum(size, 1)).sum(axis=0)) / free
    enough = np.asarray(counts.sum(axis=0)).ravel() >= max(least, 1)
    varies = enough & (variance > 1e-9)
    log_variance = np.log10(variance[varies])
    trend = expected_log_variance(np.log10(sums.sum(axis=0)[varies] / n), log_variance)
    score = np.zeros(n_genes)
    score[varies] = 10 ** (log_variance - trend)
    return score


def components(x: np.ndarray, depth: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the principal components of cells, free of sample and depth.

    `x` are counts of the variable genes, `depth` the counts of a cell in all genes.
    """
    depth = np.maximum(depth, 1).astype(np.float32)[:, None]
    levels = without(np.log1p(x * (TARGET / depth)), np.log(depth), samples)
    spread = levels.std(axis=0)
    levels = np.clip(levels / np.where(spread > 1e-6, spread, 1), -CLIP, CLIP)
    n, n_genes = levels.shape
    k = max(min(N_COMPONENTS, n_genes, n - 1), 0)
    if k == 0:
        return np.zeros((n, 0), dtype=np.float32)
    squares = (levels.T @ levels).astype(np.float64)
    _, loadings = linalg.eigh(squares, subset_by_index=(n_genes - k, n_genes - 1))
    return levels @ loadings.astype(np.float32)


def grouped(points: np.ndarray, *, size: int) -> list[np.ndarray]:
    """Return groups of positions of `size` to 2 * `size` - 1 similar points.

    The points are cut in two across the axis of their largest spread, again and again:
    the groups are of one size, and nothing is random.
    """
    groups, waiting = [], [np.arange(len(points))]
    while waiting:
        own = waiting.pop()
        n_groups = len(own) // size
        if n_groups < 2 or points.shape[1] == 0:
            groups += np.array_split(own, max(n_groups, 1))
            continue
        part = points[own].astype(np.float64)
        part -= part.mean(axis=0)
        _, axes = linalg.eigh(part.T @ part)
        order = own[np.argsort(part @ axes[:, -1], kind="stable")]
        cut = n_groups // 2 * len(own) // n_groups
        waiting += [order[cut:], order[:cut]]
    return groups


def metacells(
    points: np.ndarray, samples: np.ndarray, *, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the metacell of each cell (-1: none), and the sample of each metacell.

    A sample with fewer than two metacells says nothing of differences within it.
    """
    belongs, of = np.full(len(samples), -1), []
    for sample in np.unique(samples):
        own = np.flatnonzero(samples == sample)
        if len(own) < 2 * size:
            continue
        for group in grouped(points[own], size=size):
            belongs[own[group]] = len(of)
            of.append(sample)
    return belongs, np.array(of, dtype=np.int64)


def n_metacells(samples: np.ndarray, *, size: int) -> int:
    """Return how many metacells `metacells` will make."""
    n_groups = np.bincount(samples) // size
    return int(n_groups[n_groups >= 2].sum())


def added_up(values: np.ndarray, belongs: np.ndarray, n_groups: int) -> np.ndarray:
    """Return the sums over the cells of each metacell."""
    used = np.flatnonzero(belongs >= 0)
    ones = np.ones(len(used), dtype=values.dtype)
    shape = (n_groups, len(belongs))
    return sparse.csr_matrix((ones, (belongs[used], used)), shape=shape) @ values


def shuffled(
    x: np.ndarray, depth: np.ndarray, samples: np.ndarray, *, rng: np.random.Generator
) -> np.ndarray:
    """Return counts dealt out anew, gene by gene, among cells alike.

    These are cells of one sample with about the same depth, so that samples and depth
    stay what they are, and genes are related by them alone.
    """
    order = np.lexsort((depth, samples))
    ends = np.flatnonzero(np.diff(samples[order])) + 1
    out = np.empty_like(x)
    for own in np.split(order, ends):
        for stratum in np.array_split(own, max(len(own) // STRATUM, 1)):
            out[stratum] = rng.permuted(x[stratum], axis=0)
    return out


def log_cpm(sums: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return log2 counts per million (rows x genes); the prior count follows the depth.

    With the same prior for all, rare genes would be higher where there are few counts.
    """
    depth = np.maximum(depth, 1).astype(np.float64)[:, None]
    prior = depth / depth.mean() if len(depth) else depth
    return np.log2(1e6 * (sums + prior) / (depth + 2 * prior))


def balanced(levels: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return levels less the mean of their sample, the median gene of each row at 0.

    A few genes with many counts would else lower all others of a metacell, and so make
    them go together.
    """
    levels = centered(levels, samples)
    return levels - np.median(levels, axis=1, keepdims=True) if levels.size else levels


def read_cells(
    x: Matrix, chosen: dict[str, np.ndarray], *, threads: int
) -> dict[str, sparse.csr_matrix]:
    """Return the counts of the chosen cells of each type, in one pass."""
    code = np.full(x.shape[0], -1)
    for number, own in enumerate(chosen.values()):
        code[own] = number

    def parts(rows: tuple[int, int]) -> dict[int, sparse.csr_matrix]:
        own = code[slice(*rows)]
        if (own < 0).all():
            return {}
        part, found = x.rows(*rows), {}
        for number in np.unique(own[own >= 0]):
            cells = part[own == number]
            # of counts most are small, and there are many
            kind = np.min_scalar_type(int(cells.data.max(initial=0)))
            cells.data = cells.data.astype(kind)
            found[number] = cells
        return found

    pieces = {number: [] for number in range(len(chosen))}
    for found in in_order(parts, x.pieces(), threads=threads):
        for number, cells in found.items():
            pieces[number].append(cells)
    empty = sparse.csr_matrix((0, x.shape[1]), dtype=np.uint8)
    return {
        name: sparse.vstack([empty, *pieces.pop(number)], format="csr")
        for number, name in enumerate(chosen)
    }
