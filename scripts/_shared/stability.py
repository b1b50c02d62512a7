"""Clusters of a graph at many resolutions, and whether they are found again."""

import random
from collections.abc import Sequence

import numpy as np
from scipy import sparse

# graphs up to this size are clustered as they are, larger ones as small groups of cells
MAX_DIRECT = 4_000
# resolution that makes these groups, beside the finest that is asked for
FINE = 30.0
FINER = 10.0
N_ITERATIONS = 4


def membership(
    graph: sparse.csr_matrix, resolutions: Sequence[float], *, seed: int
) -> np.ndarray:
    """Return the clusters of Leiden at each resolution (resolutions x nodes, int32).

    `graph` is symmetric; its diagonal is the weight inside a node, counted twice.
    Modularity with a resolution (Reichardt 2006, Traag 2019), by igraph.
    """
    import igraph

    degree = np.asarray(graph.sum(axis=1), dtype=float).ravel()
    total = max(degree.sum(), np.finfo(float).tiny)
    # igraph 1.0 takes a loop for a tie to the present cluster: nothing would leave it
    upper = sparse.triu(graph, k=1, format="coo")
    network = igraph.Graph(
        n=graph.shape[0], edges=np.stack([upper.row, upper.col], axis=1)
    )
    weights = upper.data.astype(float).tolist()
    found = []
    for resolution in resolutions:
        igraph.set_random_number_generator(random.Random(seed))
        clusters = network.community_leiden(
            # with degrees as node weights this is modularity
            objective_function="CPM",
            weights=weights,
            node_weights=degree.tolist(),
            resolution=resolution / total,
            n_iterations=N_ITERATIONS,
        )
        found.append(clusters.membership)
    igraph.set_random_number_generator(random)
    return np.array(found, dtype=np.int32).reshape(len(found), graph.shape[0])


def partitions(
    graph: sparse.csr_matrix, resolutions: Sequence[float], *, seed: int
) -> np.ndarray:
    """Return the clusters at each resolution (resolutions x cells, int32).

    In a large graph small groups of cells are found once, and the groups are clustered:
    the modularity is the same, and a resolution more costs next to nothing.
    """
    if not len(resolutions) or graph.shape[0] <= MAX_DIRECT:
        return membership(graph, resolutions, seed=seed)
    fine = max(FINE, FINER * max(resolutions))
    (groups,) = membership(graph, [fine], seed=seed)
    belongs = one_hot(groups[None]).astype(np.float32)
    between = (belongs.T @ graph @ belongs).tocsr()
    return membership(between, resolutions, seed=seed)[:, groups]


def one_hot(labels: np.ndarray) -> sparse.csr_matrix:
    """Return cells x clusters of all partitions, side by side; -1 is no cluster.

    `labels` is partitions x cells, each counting from 0.
    """
    n_cells = labels.shape[1]
    sizes = labels.max(axis=1, initial=-1).astype(np.int64) + 1
    starts = np.concatenate([[0], np.cumsum(sizes)])
    columns = labels + starts[:-1, None]
    cells = np.broadcast_to(np.arange(n_cells), labels.shape)
    has = labels >= 0
    return sparse.csr_matrix(
        (np.ones(has.sum(), dtype=np.float32), (cells[has], columns[has])),
        shape=(n_cells, starts[-1]),
    )


def jaccard(ours: sparse.csr_matrix, theirs: sparse.csr_matrix) -> np.ndarray:
    """Return how far each of our clusters is each of theirs, 0 to 1; 0 for no cells."""
    shared = np.asarray((ours.T @ theirs).todense(), dtype=float)
    sizes = [np.asarray(of.sum(axis=0), dtype=float).ravel() for of in (ours, theirs)]
    either = sizes[0][:, None] + sizes[1] - shared
    return shared / np.maximum(either, 1)


class Halves:
    """Random halves of the cells, clustered anew each by itself at all resolutions."""

    def __init__(
        self,
        graph: sparse.csr_matrix,
        resolutions: Sequence[float],
        *,
        n_pairs: int,
        seed: int,
    ) -> None:
        rng = np.random.default_rng(seed)
        n = graph.shape[0]
        self.cells: list[np.ndarray] = []
        self.found: list[sparse.csr_matrix] = []
        for number in range(n_pairs):
            mixed = rng.permutation(n)
            for half in (mixed[: n // 2], mixed[n // 2 :]):
                cells = np.sort(half)
                within = graph[cells][:, cells]
                labels = partitions(within, resolutions, seed=seed + number)
                self.cells.append(cells)
                self.found.append(one_hot(labels))

    def recovered(self, labels: np.ndarray) -> np.ndarray:
        """Return how well each cluster is found again, on average over the halves.

        `labels` is partitions x cells; the result has all clusters of the first
        partition, then those of the next. A cluster counts as found as far as the most
        similar cluster of a half at any resolution is it (Jaccard; Hennig 2007).
        """
        clusters = one_hot(labels)
        total = np.zeros(clusters.shape[1])
        present = np.zeros(clusters.shape[1])
        for cells, found in zip(self.cells, self.found, strict=True):
            part = clusters[cells]
            best = jaccard(part, found).max(axis=1, initial=0)
            total += best
            present += np.asarray(part.sum(axis=0)).ravel() > 0
        return np.where(present > 0, total / np.maximum(present, 1), np.nan)

    def kept_together(self, labels: np.ndarray) -> np.ndarray:
        """Return per cell the share of its halves in which it lay in its cluster.

        Its cluster in a half is the one most similar to that of `labels` (cells).
        """
        clusters = one_hot(labels[None])
        inside, times = np.zeros(len(labels)), np.zeros(len(labels))
        for cells, found in zip(self.cells, self.found, strict=True):
            match = jaccard(clusters[cells], found).argmax(axis=1)
            mine = match[labels[cells]]
            inside[cells] += np.asarray(found[np.arange(len(cells)), mine]).ravel()
            times[cells] += 1
        return inside / np.maximum(times, 1)


def carried_over(
    graph: sparse.csr_matrix, known: np.ndarray, values: np.ndarray, *, rounds: int = 20
) -> np.ndarray:
    """Return values for all nodes: given for `known` ones, averages of neighbors' else.

    A node that no known one reaches in so many rounds gets the average of the known.
    """
    n = graph.shape[0]
    result, has = np.zeros(n), np.zeros(n, dtype=bool)
    result[known], has[known] = values, True
    fixed = has.copy()
    for _ in range(rounds):
        if has.all():
            break
        weight = graph @ has.astype(np.float32)
        mean = (graph @ (result * has)) / np.maximum(weight, 1e-12)
        new = (weight > 0) & ~fixed
        result[new] = mean[new]
        has |= new
    result[~has] = values.mean() if len(values) else 0.0
    return result


def inside_shares(graph: sparse.csr_matrix, clusters: sparse.csr_matrix) -> np.ndarray:
    """Return the share of the edge weight of each cluster that stays inside it."""
    reach = graph @ clusters
    inside = np.asarray(clusters.multiply(reach).sum(axis=0), dtype=float).ravel()
    degree = np.asarray(graph.sum(axis=1), dtype=float).ravel()
    return inside / np.maximum(clusters.T @ degree, 1e-12)
