"""The cells to label, and the averages over those that are alike."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from _shared.streams import Matrix, in_order

# the neighbors of a cell are looked for among so many cells (at least half of it)
N_TOGETHER = 256
N_NEIGHBORS = 15
# divisions of the cells, each along other axes: a cell near a border of one has its
# neighbors in another
N_DIVISIONS = 2
# cells that tell to what sum the levels were scaled
N_FOR_SUM = 200


@dataclass(frozen=True, kw_only=True)
class Cells:
    """What one pass over the levels of all cells leaves.

    `means` is clusters x genes, `markers` cells x marker genes, `decisions` cells x
    types of the reference; `alike` averages over alike cells.
    """

    clusters: list[str]
    codes: np.ndarray
    means: np.ndarray
    markers: sparse.csr_matrix
    decisions: np.ndarray
    alike: sparse.csr_matrix


def level_sum(x: Matrix) -> float:
    """Return to what sum the counts of a cell were scaled before the logarithm."""
    rows = x.rows(0, min(N_FOR_SUM, x.shape[0]))
    sums = np.asarray(rows.expm1().sum(axis=1)).ravel()
    return float(np.median(sums[sums > 0])) if (sums > 0).any() else 1e4


def one_pass(
    x: Matrix,
    codes: np.ndarray,
    n_clusters: int,
    columns: np.ndarray,
    decide: Callable[[sparse.csr_matrix], np.ndarray],
    *,
    threads: int,
) -> tuple[np.ndarray, sparse.csr_matrix, np.ndarray]:
    """Return the means of clusters, and of each cell its marker genes and log odds.

    `columns` are the marker genes; `decide` makes rows of log odds of rows of levels.
    """

    def looked_at(rows: tuple[int, int]) -> tuple:
        part = x.rows(*rows).astype(np.float32, copy=False)
        present, group = np.unique(codes[slice(*rows)], return_inverse=True)
        ones = np.ones(len(group)), (group, np.arange(len(group)))
        sums = (sparse.csr_matrix(ones) @ part).toarray()
        return present, sums, part[:, columns], decide(part).astype(np.float32)

    total = np.zeros((n_clusters, x.shape[1]))
    markers = [sparse.csr_matrix((0, len(columns)), dtype=np.float32)]
    none = sparse.csr_matrix((0, x.shape[1]), dtype=np.float32)
    decisions = [decide(none).astype(np.float32)]
    for present, sums, of_markers, odds in in_order(
        looked_at, x.pieces(), threads=threads
    ):
        total[present] += sums
        markers.append(of_markers)
        decisions.append(odds)
    sizes = np.maximum(np.bincount(codes, minlength=n_clusters), 1)
    return (
        total / sizes[:, None],
        sparse.vstack(markers, format="csr"),
        np.concatenate(decisions),
    )


def divided(scores: np.ndarray, most: int) -> list[np.ndarray]:
    """Return the cells in parts of at most `most`, each halved where it is widest."""
    parts, waiting = [], [np.arange(len(scores))]
    while waiting:
        cells = waiting.pop()
        if len(cells) <= most:
            parts.append(cells)
            continue
        axis = scores[cells].var(axis=0).argmax()
        middle = len(cells) // 2
        order = np.argpartition(scores[cells, axis], middle)
        waiting += [cells[order[:middle]], cells[order[middle:]]]
    return parts


def nearest_within(
    scores: np.ndarray, cells: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the `k` nearest of `cells` to each, itself among them, and how far."""
    part = scores[cells]
    squares = (part**2).sum(axis=1)
    apart = np.maximum(squares[:, None] + squares - 2 * (part @ part.T), 0)
    np.fill_diagonal(apart, -1)
    near = np.argpartition(apart, k - 1, axis=1)[:, :k]
    return cells[near], np.maximum(np.take_along_axis(apart, near, axis=1), 0)


def averages(scores: np.ndarray, *, seed: int) -> sparse.csr_matrix:
    """Return the matrix that averages over each cell and those most like it.

    `scores` is cells x components. The neighbors are the nearest within a small part of
    the cells, which takes a hundredth of the time of a search among all, and labels
    cells as well. One that is further off than neighbors are as a rule counts less, so
    that a cell among strangers is left to itself.
    """
    n = len(scores)
    scores = np.ascontiguousarray(scores, dtype=np.float32)
    if scores.shape[1] == 0 or n < 2:
        return sparse.identity(n, dtype=np.float32, format="csr")
    rng = np.random.default_rng(seed)
    total = sparse.csr_matrix((n, n), dtype=np.float32)
    # one part holds all cells: further divisions would be the same
    n_divisions = N_DIVISIONS if n > N_TOGETHER else 1
    k = min(N_NEIGHBORS + 1, n)
    ends = np.arange(0, n * k + 1, k, dtype=np.int32)
    for division in range(n_divisions):
        turned = scores
        if division:
            axes = np.linalg.qr(rng.normal(size=(scores.shape[1],) * 2))[0]
            turned = scores @ axes.astype(np.float32)
        near = np.empty((n, k), dtype=np.int32)
        apart = np.empty((n, k), dtype=np.float32)
        for cells in divided(turned, N_TOGETHER):
            near[cells], apart[cells] = nearest_within(turned, cells, k)
        usual = np.median(apart.max(axis=1))
        weights = np.exp(-apart / max(2 * usual, 1e-12))
        weights /= n_divisions * weights.sum(axis=1, keepdims=True)
        total += sparse.csr_matrix((weights.ravel(), near.ravel(), ends), shape=(n, n))
    return total
