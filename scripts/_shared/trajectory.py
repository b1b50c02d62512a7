"""An order of cells along a trajectory: diffusion pseudotime, and which clusters touch.

The formulas are those of Haghverdi 2016 (pseudotime) and Wolf 2019 (PAGA, model 1.2) as
scanpy computes them, but for one thing: components that hardly decay, of long or large
trajectories, keep their weight, for which scanpy's single precision is too coarse.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.neighbors import fuzzy_graph, nearest_neighbors

# below, a graph of neighbors says nothing
MIN_CELLS = 10
# slow components of the diffusion that tell how far cells are apart
N_COMPONENTS = 10
# below, a component is taken for the stationary state of a part of its own
LEAST_GAP = 1e-9
# a root lies so far out among the cells that are named as the start
ROOT_QUANTILE = 0.95


@dataclass(frozen=True, kw_only=True)
class Ordered:
    """Pseudotime of the cells (NaN where unconnected), and what it stands on.

    `links` is clusters x clusters, of `names`; `root` a cell, -1 for none.
    """

    time: np.ndarray
    names: list[str]
    links: np.ndarray
    reached: np.ndarray
    root: int
    why: str


def cluster_links(
    indices: np.ndarray, codes: np.ndarray, n_clusters: int
) -> np.ndarray:
    """Return how strongly clusters are joined (symmetric, from 0 to 1).

    It is the number of neighbors between two clusters over that expected if neighbors
    were drawn at random, 1 at most. `indices` is cells x neighbors.
    """
    n = len(indices)
    pairs = codes[:, None] * n_clusters + codes[indices]
    edges = np.bincount(pairs.ravel(), minlength=n_clusters**2)
    edges = edges.reshape(n_clusters, n_clusters).astype(float)
    inside = np.diag(np.diag(edges))
    between = edges - inside + (edges - inside).T
    sizes = np.bincount(codes, minlength=n_clusters)
    out = edges.sum(axis=1)
    expected = (np.outer(out, sizes) + np.outer(sizes, out)) / max(n - 1, 1)
    links = np.divide(between, expected, out=np.zeros_like(between), where=expected > 0)
    return np.minimum(links, 1)


def strongest_tree(links: np.ndarray) -> np.ndarray:
    """Flag the links of the tree that joins clusters by their strongest links."""
    costs = np.zeros_like(links)
    np.divide(1, links, out=costs, where=links > 0)
    tree = sparse.csgraph.minimum_spanning_tree(sparse.csr_matrix(costs)).toarray() > 0
    return tree | tree.T


def parts_of(links: np.ndarray, *, least: float) -> np.ndarray:
    """Return the number of the part that each cluster is in, by links of `least` on."""
    joined = sparse.csr_matrix((links >= least) & (links > 0))
    return sparse.csgraph.connected_components(joined, directed=False)[1]


def diffusion_places(
    graph: sparse.csr_matrix, *, seed: int, n_components: int = N_COMPONENTS
) -> np.ndarray:
    """Return places of cells between which distances are diffusion distances.

    `graph` is symmetric and connected, of 3 cells or more; the result cells x at most
    `n_components`. Steps of all lengths count: a component that decays by l per step
    has the weight l / (1 - l).
    """
    from scipy.sparse.linalg import eigsh

    n = graph.shape[0]
    inverse = sparse.diags(1 / graph.sum(axis=0).A1.astype(float))
    # without the density of cells
    kernel = inverse @ graph.astype(float) @ inverse
    root = np.sqrt(kernel.sum(axis=0).A1)
    steps = sparse.diags(1 / root) @ kernel @ sparse.diags(1 / root)
    wanted = min(n_components + 1, n - 1)
    start = np.random.default_rng(seed).random(n)
    values, vectors = eigsh(steps.tocsr(), k=wanted, which="LA", v0=start, tol=1e-8)
    order = np.argsort(-values)[1:]
    values, vectors = values[order], vectors[:, order]
    values = np.minimum(values, 1 - LEAST_GAP)
    return (
        vectors / (root / np.sqrt((root**2).mean()))[:, None] * (values / (1 - values))
    )


def outermost(places: np.ndarray, candidates: np.ndarray) -> int:
    """Return the candidate that lies far from all cells: an end, not the middle.

    The mean squared distance to all cells decides; few candidates lie further out.
    """
    center = places.mean(axis=0)
    away = ((places[candidates] - center) ** 2).sum(axis=1)
    rank = int(np.ceil(ROOT_QUANTILE * (len(candidates) - 1)))
    return int(candidates[np.argsort(away, kind="stable")[rank]])


def smoothed(
    values: np.ndarray, graph: sparse.csr_matrix, *, n_rounds: int = 3
) -> np.ndarray:
    """Return the mean of values over a cell and its neighbors, repeated."""
    weights = graph.astype(float) + sparse.identity(graph.shape[0])
    totals = weights.sum(axis=1).A1
    values = values.astype(float)
    for _ in range(n_rounds):
        values = weights @ values / totals
    return values


def pseudotime(places: np.ndarray, root: int) -> np.ndarray:
    """Return how far each cell is from the root, from 0 to 1."""
    distances = np.sqrt(((places - places[root]) ** 2).sum(axis=1))
    return distances / (distances.max() or 1)


def without_order(names: list[str], n: int, *, why: str) -> Ordered:
    """Return cells of which none has a pseudotime."""
    return Ordered(
        time=np.full(n, np.nan),
        names=names,
        links=np.zeros((len(names), len(names))),
        reached=np.zeros(len(names), dtype=bool),
        root=-1,
        why=why,
    )


def ordered(
    scores: np.ndarray,
    clusters: pd.Categorical,
    *,
    start: np.ndarray | None,
    levels: np.ndarray | None,
    min_connectivity: float,
    n_neighbors: int,
    seed: int,
) -> Ordered:
    """Order cells from one of those in `start`, or from the highest smoothed level.

    Clusters that hang on the root's by links below `min_connectivity` alone, and cells
    that no path of neighbors joins with the root, are left out.
    """
    n, names = len(scores), [str(name) for name in clusters.categories]
    if n < MIN_CELLS or not np.ptp(scores, axis=0).any():
        return without_order(names, n, why=f"{n} cells say nothing of an order")
    k = min(n_neighbors, n) - 1
    indices, distances = nearest_neighbors(scores, k, seed=seed)
    graph = fuzzy_graph(indices, distances)
    codes = clusters.codes.astype(np.int64)
    links = cluster_links(indices, codes, len(names))
    part = parts_of(links, least=min_connectivity)
    if levels is not None:
        levels = smoothed(levels, graph)
        start = np.zeros(n, dtype=bool)
        start[np.argmax(levels)] = True
        if levels.max() <= 0:
            return without_order(names, n, why="no cell has counts of the root's gene")
    # of a type in several parts, that with most of its cells
    main_part = np.bincount(part[codes[start]]).argmax()
    inside = np.flatnonzero(part[codes] == main_part)
    pieces = sparse.csgraph.connected_components(graph[inside][:, inside])[1]
    inside = inside[pieces == np.bincount(pieces[start[inside]]).argmax()]
    time = np.full(n, np.nan)
    candidates = np.flatnonzero(start[inside])
    if len(inside) < MIN_CELLS:
        return without_order(names, n, why=f"{len(inside)} cells hang on the root")
    places = diffusion_places(graph[inside][:, inside], seed=seed)
    root = outermost(places, candidates)
    time[inside] = pseudotime(places, root)
    return Ordered(
        time=time,
        names=names,
        links=links,
        reached=part == main_part,
        root=int(inside[root]),
        why="highest level of the gene, smoothed over neighbors"
        if levels is not None
        else f"an outer one of {start.sum()} cells",
    )
