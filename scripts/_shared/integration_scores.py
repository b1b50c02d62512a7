"""How well batches are mixed, and how much of the biology an integration leaves.

Every score is between 0 and 1, and more is better. Labels of the cells are not needed,
and used where there are some. Points are cells x components; batches, groups and labels
are codes from 0 on, one per cell.
"""

import random
from dataclasses import dataclass

import igraph
import numpy as np
from scipy import sparse, stats
from sklearn.metrics import adjusted_rand_score, silhouette_samples
from sklearn.neighbors import NearestNeighbors

# neighborhood of a cell (Korsunsky et al. 2019); a smaller one, down to the second
# number, where it would reach beyond a twentieth of all cells
N_AROUND = 90
MIN_AROUND = 10
# neighborhood whose batches are compared with those of all cells, and the test's level
N_ACCEPTED = 30
ALPHA = 0.05
# neighbors within a batch that are to stay; at most a fifth of the batch
N_KEPT = 30
# neighbors that make the graph of the clusters
N_GRAPH = 15
# a batch with fewer cells has no say of its own
MIN_BATCH = 10
# cells per group whose silhouettes are computed: their cost grows with the square
MAX_SILHOUETTE = 1000


def sampled(batches: np.ndarray, *, n_most: int, seed: int) -> np.ndarray:
    """Return positions of at most about `n_most` cells, in order.

    Every batch gives its share, a small one at least 100 cells (or all it has).
    """
    n = len(batches)
    if n <= n_most:
        return np.arange(n)
    rng = np.random.default_rng(seed)
    sizes = np.bincount(batches)
    wanted = np.minimum(sizes, np.maximum(sizes * n_most // n, 100))
    parts = [
        rng.choice(np.flatnonzero(batches == batch), number, replace=False)
        for batch, number in enumerate(wanted)
    ]
    return np.sort(np.concatenate(parts))


def nearest(points: np.ndarray, n_neighbors: int) -> tuple[np.ndarray, np.ndarray]:
    """Return distances and positions of each point's nearest others, exact.

    Both are cells x min(n_neighbors, cells - 1), nearest first.
    """
    n_neighbors = min(n_neighbors, len(points) - 1)
    if n_neighbors < 1 or points.shape[1] == 0:
        return np.zeros((len(points), 0)), np.zeros((len(points), 0), dtype=int)
    index = NearestNeighbors(n_neighbors=n_neighbors, algorithm="brute").fit(points)
    return index.kneighbors()


def weights_of(distances: np.ndarray) -> np.ndarray:
    """Return how much each neighbor of a cell counts in its LISI; rows sum to 1.

    A Gaussian kernel of a width that makes a third of the neighbors count (perplexity).
    """
    n, n_neighbors = distances.shape
    if n_neighbors == 0:
        return np.zeros((n, 0))
    wanted = np.log(max(n_neighbors / 3, 1))
    # from the nearest on: the same weights, without an exponent that underflows
    distances = distances - distances[:, :1]
    low, high = np.zeros(n), np.full(n, np.inf)
    beta = np.ones(n)
    for _ in range(50):
        weights = np.exp(-distances * beta[:, None])
        total = weights.sum(axis=1)
        entropy = np.log(total) + beta * (distances * weights).sum(axis=1) / total
        wide = entropy > wanted
        low, high = np.where(wide, beta, low), np.where(wide, high, beta)
        # identical cells never get narrow: doubled up to a bound
        beta = np.where(np.isinf(high), np.minimum(2 * beta, 1e12), (low + high) / 2)
    return weights / weights.sum(axis=1, keepdims=True)


def lisi(weights: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return the local inverse Simpson index of each cell (Korsunsky et al. 2019).

    The effective number of batches around it; `codes` are those of its neighbors.
    """
    n, n_neighbors = codes.shape
    if n_neighbors == 0:
        return np.ones(n)
    shares = np.zeros((n, codes.max() + 1))
    np.add.at(shares, (np.arange(n)[:, None], codes), weights)
    return 1 / (shares**2).sum(axis=1)


def mean_of_batches(values: np.ndarray, batches: np.ndarray) -> float:
    """Return the mean over batches of their cells' mean; small ones are left out."""
    sizes = np.bincount(batches)
    means = np.bincount(batches, weights=values) / np.maximum(sizes, 1)
    large = sizes >= min(MIN_BATCH, sizes.max(initial=0))
    return float(means[large & (sizes > 0)].mean()) if large.any() else 0.0


def mixing(
    distances: np.ndarray, neighbors: np.ndarray, batches: np.ndarray, *, seed: int
) -> float:
    """Return LISI of the batches as 0 (apart) to 1 (as cells of shuffled batches)."""
    weights = weights_of(distances)
    shuffled = np.random.default_rng(seed).permutation(batches)
    found, reachable = (
        mean_of_batches(lisi(weights, of[neighbors]) - 1, of)
        for of in (batches, shuffled)
    )
    return min(found / reachable, 1.0) if reachable > 0 else 0.0


def acceptance(codes: np.ndarray, batches: np.ndarray) -> float:
    """Return the share of cells around whom batches are as among all cells (kBET).

    Buettner et al. 2019: chi-squared test of the neighbors' batches.
    """
    n_neighbors = codes.shape[1]
    if n_neighbors == 0:
        return 0.0
    n_batches = batches.max() + 1
    expected = np.bincount(batches) / len(batches) * n_neighbors
    seen = np.zeros((len(codes), n_batches))
    rows = np.broadcast_to(np.arange(len(codes))[:, None], codes.shape)
    np.add.at(seen, (rows, codes), 1)
    statistic = ((seen - expected) ** 2 / expected).sum(axis=1)
    limit = stats.chi2.ppf(1 - ALPHA, n_batches - 1)
    return mean_of_batches(statistic <= limit, batches)


def batch_silhouette(
    points: np.ndarray, batches: np.ndarray, groups: np.ndarray, *, seed: int
) -> float:
    """Return 1 - |silhouette of the batches| within groups of cells.

    A group of one batch alone counts 0: nothing is mixed in it.
    """
    rng = np.random.default_rng(seed)
    scores, sizes = [], []
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        sizes.append(len(members))
        if len(members) > MAX_SILHOUETTE:
            members = np.sort(rng.choice(members, MAX_SILHOUETTE, replace=False))
        n_here = len(np.unique(batches[members]))
        if n_here < 2 or n_here >= len(members):
            scores.append(0.0)
            continue
        widths = np.abs(silhouette_samples(points[members], batches[members]))
        scores.append(1 - float(np.nan_to_num(widths).mean()))
    return float(np.average(scores, weights=sizes)) if sizes else 0.0


def clusters(neighbors: np.ndarray, *, seed: int, resolution: float = 1) -> np.ndarray:
    """Return Leiden clusters of a graph of nearest neighbors, as codes."""
    n, n_neighbors = neighbors.shape
    if n_neighbors == 0:
        return np.zeros(n, dtype=int)
    ends = neighbors.ravel(), np.repeat(np.arange(n), n_neighbors)
    graph = sparse.coo_matrix((np.ones(n * n_neighbors), ends), shape=(n, n)).tocsr()
    # shared neighbors tell true ones from chance
    shared = graph.multiply(graph @ graph.T + graph).tocsr()
    joined = sparse.triu(shared.maximum(shared.T), k=1).tocoo()
    edges = np.stack([joined.row, joined.col], axis=1)
    network = igraph.Graph(n=n, edges=edges.tolist())
    igraph.set_random_number_generator(random.Random(seed))
    found = network.community_leiden(
        objective_function="modularity",
        weights=joined.data.tolist(),
        resolution=resolution,
        n_iterations=2,
    )
    return np.asarray(found.membership)


def overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the share of each row of `first` that stands in that row of `second`."""
    n, width = first.shape
    if width == 0:
        return np.ones(n)
    n_all = max(first.max(), second.max()) + 1
    rows = np.arange(n)[:, None] * n_all
    return np.isin(first + rows, second + rows).reshape(n, width).mean(axis=1)


def agreement(before: np.ndarray, after: np.ndarray, batches: np.ndarray) -> float:
    """Return the ARI of clusters of each batch alone with those of all, by cells."""
    sizes = np.bincount(batches)
    scores = [
        adjusted_rand_score(before[batches == b], after[batches == b])
        for b in range(len(sizes))
    ]
    return float(max(np.average(scores, weights=sizes), 0))


def partners_alike(
    before: np.ndarray, neighbors: np.ndarray, batches: np.ndarray
) -> float:
    """Return whether cells that came together across batches were alike before.

    A cell's neighbors after integration of its own batch, and those of another batch,
    stood somewhere in `before`. Where like was joined with like, the two places differ
    by the same shift for all cells, so that, each taken from its mean, they agree
    (coefficient of concordance, Lin 1989, over all components). Where one batch's
    types were put upon the other's, they do not. 0 also where nothing can be told.
    """
    n, n_neighbors = neighbors.shape
    n_batches = batches.max() + 1
    if n_neighbors == 0:
        return 0.0
    codes = batches[neighbors]
    total, agreed = 0.0, 0.0
    ones = np.ones(n * n_neighbors, dtype=np.float32)
    starts = np.arange(0, n * n_neighbors + 1, n_neighbors)
    places, numbers = [], []
    for batch in range(n_batches):
        of_batch = np.where((codes == batch).ravel(), ones, 0)
        graph = sparse.csr_matrix((of_batch, neighbors.ravel(), starts), shape=(n, n))
        number = np.asarray(graph.sum(axis=1)).ravel()
        places.append((graph @ before) / np.maximum(number, 1)[:, None])
        numbers.append(number)
    for own in range(n_batches):
        cells = batches == own
        for other in range(n_batches):
            pairs = np.minimum(numbers[own], numbers[other])[cells]
            if other == own or not pairs.any():
                continue
            mine, theirs = places[own][cells], places[other][cells]
            mine = mine - np.average(mine, axis=0, weights=pairs)
            theirs = theirs - np.average(theirs, axis=0, weights=pairs)
            agreed += 2 * (pairs[:, None] * mine * theirs).sum()
            total += (pairs[:, None] * (mine**2 + theirs**2)).sum()
    return float(np.clip(agreed / total, 0, 1)) if total > 0 else 0.0


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The cells before any integration, and what each batch alone looks like."""

    points: np.ndarray
    batches: np.ndarray
    labels: np.ndarray | None
    # per batch: nearest others of the same batch
    neighbors: list[np.ndarray]
    # clusters of each batch alone, as codes within the batch
    groups: np.ndarray


def neighbors_within(points: np.ndarray, batches: np.ndarray) -> list[np.ndarray]:
    """Return, per batch, the nearest others of the same batch, as positions in it."""
    sizes = np.bincount(batches)
    return [
        nearest(points[batches == batch], max(min(N_KEPT, size // 5), 1))[1]
        for batch, size in enumerate(sizes)
    ]


def reference(
    points: np.ndarray, batches: np.ndarray, labels: np.ndarray | None, *, seed: int
) -> Reference:
    """Return what integrated cells are compared with."""
    neighbors = neighbors_within(points, batches)
    groups = np.zeros(len(points), dtype=int)
    for batch, of_batch in enumerate(neighbors):
        groups[batches == batch] = clusters(of_batch[:, :N_GRAPH], seed=seed)
    return Reference(
        points=points,
        batches=batches,
        labels=labels,
        neighbors=neighbors,
        groups=groups,
    )


def label_purity(
    distances: np.ndarray, neighbors: np.ndarray, labels: np.ndarray
) -> float:
    """Return LISI of the labels as 0 (all of them around each cell) to 1 (one)."""
    n_labels = len(np.unique(labels))
    if n_labels < 2 or neighbors.shape[1] == 0:
        return 1.0
    around = lisi(weights_of(distances), labels[neighbors])
    return float((n_labels - around.mean()) / (n_labels - 1))


def scores_of(points: np.ndarray, before: Reference, *, seed: int) -> dict[str, float]:
    """Return all scores of an embedding of the cells of `before`.

    `batch_mixing` and `biology` are the means of the scores that stand before them;
    those of labels are there when there are labels.
    """
    batches, labels = before.batches, before.labels
    around = int(np.clip(len(points) // 20, MIN_AROUND, N_AROUND))
    distances, neighbors = nearest(points, around)
    found = clusters(neighbors[:, :N_GRAPH], seed=seed)
    within = found if labels is None else labels
    mixed = {
        "lisi": mixing(distances, neighbors, batches, seed=seed),
        "kbet": acceptance(batches[neighbors[:, :N_ACCEPTED]], batches),
        "silhouette": batch_silhouette(points, batches, within, seed=seed),
    }
    kept = np.ones(len(points))
    for batch, now in enumerate(neighbors_within(points, batches)):
        kept[batches == batch] = overlap(before.neighbors[batch], now)
    unchanged = points is before.points
    alive = {
        "neighbors_kept": mean_of_batches(kept, batches),
        "clusters_kept": agreement(before.groups, found, batches),
        "partners_alike": 1.0
        if unchanged
        else partners_alike(before.points, neighbors, batches),
    }
    if labels is not None:
        alive["labels_found"] = max(adjusted_rand_score(labels, found), 0.0)
        alive["labels_pure"] = label_purity(distances, neighbors, labels)
    mean = {
        "batch_mixing": float(np.mean(list(mixed.values()))),
        "biology": float(np.mean(list(alive.values()))),
    }
    return mixed | {"batch_mixing": mean["batch_mixing"]} | alive | mean
