"""Nearest neighbors of cells, and how strongly each of them counts."""

import numpy as np
from scipy import sparse

# exact up to here (1 CPU-s at 20,000 cells, grows with the square), approximate above
MAX_EXACT = 30_000
# cells looked at together: bounds the memory, not the result
CHUNK = 50_000
# of the approximate search: lists looked into, candidates measured exactly per neighbor
N_PROBES = 64
N_CANDIDATES = 8
# UMAP's: rounds of bisection, and how small a scale may be beside the distances
N_ROUNDS = 64
TOLERANCE = 1e-5
MIN_SCALE = 1e-3


def exact_search(scores: np.ndarray, k: int) -> np.ndarray:
    """Return the `k` cells nearest to each cell, itself among them."""
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(scores)
    return search.kneighbors(scores, return_distance=False)


def approximate_search(scores: np.ndarray, k: int, *, seed: int) -> np.ndarray:
    """Return about the `k` cells nearest to each cell, itself among them.

    Cells are kept in lists around 2 sqrt(n) centers, as codes of 4 bits per component;
    the best by code in the nearest lists are measured exactly (faiss). Of the true 15
    neighbors 99 % are found.
    """
    import faiss

    n, n_comps = scores.shape
    faiss.omp_set_num_threads(1)
    centers = faiss.IndexFlatL2(n_comps)
    coded = faiss.IndexIVFPQFastScan(centers, n_comps, int(2 * n**0.5), n_comps, 4)
    coded.by_residual = False
    coded.cp.seed = seed % 2**31
    coded.cp.niter = 10
    # as many cells as the centers need, quietly
    coded.cp.max_points_per_centroid, coded.cp.min_points_per_centroid = 64, 1
    coded.train(scores)
    coded.add(scores)
    coded.nprobe = N_PROBES
    measured = faiss.IndexRefineFlat(coded, faiss.swig_ptr(scores))
    measured.k_factor = N_CANDIDATES
    return np.concatenate(
        [
            measured.search(scores[start : start + CHUNK], k)[1].astype(np.int32)
            for start in range(0, n, CHUNK)
        ]
    )


def nearest_neighbors(
    scores: np.ndarray, k: int, *, seed: int, max_exact: int = MAX_EXACT
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest `k` other cells of each, and how far they are, sorted.

    `scores` is cells x components, with more than `k` cells; both results are
    cells x k, distances Euclidean. Ties are in the order of the cells.
    """
    n = len(scores)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    if n <= max_exact:
        found = exact_search(scores, k + 1)
    else:
        found = approximate_search(scores, k + 1, seed=seed)
    indices = np.empty((n, k), dtype=np.int32)
    distances = np.empty((n, k), dtype=np.float32)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        rows = np.arange(n, dtype=np.int32)[part, None]
        near = found[part]
        # what was not found is -1: the cell itself stands in, and counts nothing
        near = np.where(near < 0, rows, near)
        # subtracted, not from a product: identical cells are at 0 exactly
        squares = np.zeros(near.shape, dtype=np.float32)
        for column in scores.T:
            squares += (column[near] - column[rows]) ** 2
        # the cell itself goes first, and out; among identical ones it may be missing
        squares[near == rows] = -1
        order = np.lexsort((near, squares))[:, 1:]
        indices[part] = np.take_along_axis(near, order, axis=1)
        squares = np.take_along_axis(squares, order, axis=1)
        distances[part] = np.sqrt(np.maximum(squares, 0))
    return indices, distances


def weights_of_rows(distances: np.ndarray, *, mean: float) -> np.ndarray:
    """Return how strongly each neighbor of a cell counts, in (0, 1].

    `distances` is cells x neighbors, sorted; `mean` that of all distances. The nearest
    neighbor counts fully, the others by an exponential whose scale makes the sum
    log2(1 + neighbors), as in UMAP (McInnes 2018).
    """
    n, k = distances.shape
    first = (distances > 0).argmax(axis=1)
    nearest = distances[np.arange(n), first]
    beyond = np.maximum(distances - nearest[:, None], 0)
    target = np.log2(k + 1)
    low, high, scale = np.zeros(n), np.full(n, np.inf), np.ones(n)
    left = np.arange(n)
    for _ in range(N_ROUNDS):
        total = np.exp(-beyond[left] / scale[left, None]).sum(axis=1)
        off = np.abs(total - target) >= TOLERANCE
        left, total = left[off], total[off]
        much, few = left[total > target], left[total <= target]
        high[much], low[few] = scale[much], scale[few]
        middle = (low[left] + high[left]) / 2
        scale[left] = np.where(np.isfinite(middle), middle, 2 * scale[left])
    local = np.where(nearest > 0, distances.mean(axis=1) * k / (k + 1), mean)
    scale = np.maximum(scale, MIN_SCALE * local)
    # where all distances are 0
    scale[scale < np.finfo(np.float32).tiny] = 1
    return np.exp(-beyond / scale[:, None]).astype(np.float32)


def fuzzy_graph(indices: np.ndarray, distances: np.ndarray) -> sparse.csr_matrix:
    """Return the symmetric graph of neighbors (cells x cells, float32).

    Two cells are joined when one is a neighbor of the other; the weight is a + b - ab
    of the weights that either gives the other.
    """
    n, k = indices.shape
    if k == 0:
        return sparse.csr_matrix((n, n), dtype=np.float32)
    mean = float(distances.mean(dtype=np.float64)) * k / (k + 1)
    weights = np.concatenate(
        [
            weights_of_rows(distances[start : start + CHUNK], mean=mean)
            for start in range(0, n, CHUNK)
        ]
    )
    weights[indices == np.arange(n)[:, None]] = 0
    ends = np.arange(0, n * k + 1, k)
    graph = sparse.csr_matrix((weights.ravel(), indices.ravel(), ends), shape=(n, n))
    graph.sum_duplicates()
    other = graph.T.tocsr()
    both = graph.multiply(other)
    graph = (graph + other - both).tocsr()
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph
