"""Neighbor graph, clusters with the evidence for them, and a map of the cells."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.jobs import job
from _shared.layout import layout, two_columns
from _shared.logs import UserError
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from _shared.palette import colors_of
from _shared.stability import (
    Halves,
    carried_over,
    inside_shares,
    one_hot,
    partitions,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_clusters")

# below, a graph of neighbors says nothing: one cluster
MIN_CELLS = 10
# stability is judged on so many cells at most: the cost no longer grows
MAX_JUDGED = 30_000
N_PAIRS = 10
# a resolution holds when so many of its cells are in clusters that are found again
STABLE_CELLS = 0.9
# differences of mean stability that say nothing
NEARLY = 0.005
# a cluster has so many cells, or this share of all and at least a few
LEAST_CELLS = 12
LEAST_SHARE = 0.005
LEAST_FEW = 5
# a rare population: at most this share of all, within one cluster of which it is at
# most this share, and its edges stay inside it
RARE_SHARE = 0.05
RARE_OF_PARENT = 0.5
RARE_IN_PARENT = 0.9
RARE_INSIDE = 0.8
# links of the tree that are written: share of the cells of a cluster
LEAST_LINK = 0.05
RESOLUTION_COLUMNS = [
    "resolution",
    "n_clusters",
    "stability",
    "stable_cells_percent",
    "chosen",
]
TREE_COLUMNS = [
    "resolution",
    "cluster",
    "n_cells",
    "stability",
    "parent",
    "share",
    "share_of_parent",
]


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The `find_clusters` section of the config; the schema holds the ranges.

    `subclusters` is the resolution inside a cluster by its name, or by its number.
    """

    n_neighbors: int
    n_pcs: int
    resolution: float | str
    resolutions: list[float]
    min_stability: float
    subclusters: dict[str | int, float]
    min_dist: float


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What was found at all resolutions, from coarse to fine.

    `labels` is resolutions x cells, `chosen` a row of it. `judged` are the cells that
    were subsampled in `halves`; None where there are too few.
    """

    resolutions: list[float]
    labels: np.ndarray
    chosen: int
    judged: np.ndarray
    halves: Halves | None
    # of all clusters of all resolutions, one after the other
    stability: np.ndarray
    # by resolution: share of the cells in clusters that are found again, and the mean
    stable_share: np.ndarray
    mean_stability: np.ndarray


def named_by_size(labels: np.ndarray) -> pd.Categorical:
    """Rename labels "0", "1", … from the largest; ties by their first cell."""
    labels = pd.Series(labels)
    # value_counts sorts by size only: order of appearance decides ties
    appearance = labels.drop_duplicates().tolist()
    sizes = labels.value_counts()
    order = sorted(appearance, key=lambda label: -sizes[label])
    names = {label: str(rank) for rank, label in enumerate(order)}
    return pd.Categorical(labels.map(names), categories=list(names.values()))


def least_cells(n_cells: int) -> int:
    """Return how many cells a cluster has at least."""
    share = max(LEAST_FEW, int(np.ceil(LEAST_SHARE * n_cells)))
    return min(LEAST_CELLS, share)


def chosen_resolution(stable_share: np.ndarray, mean_stability: np.ndarray) -> int:
    """Return the finest resolution that holds.

    Without one, the finest of those where the average cell is in the most stable
    clusters.
    """
    holds = np.flatnonzero(stable_share >= STABLE_CELLS)
    if len(holds):
        return int(holds[-1])
    return int(np.flatnonzero(mean_stability >= mean_stability.max() - NEARLY)[-1])


def by_partition(values: np.ndarray, labels: np.ndarray) -> list[np.ndarray]:
    """Split values of all clusters into those of each partition."""
    return np.split(values, np.cumsum(labels.max(axis=1) + 1)[:-1])


def judged_graph(
    graph: sparse.csr_matrix,
    scores: np.ndarray,
    judged: np.ndarray,
    *,
    k: int,
    seed: int,
) -> sparse.csr_matrix:
    """Return the graph of the judged cells: their own one, where they are not all."""
    if len(judged) == graph.shape[0]:
        return graph
    return fuzzy_graph(*nearest_neighbors(scores[judged], k, seed=seed))


def gather(
    graph: sparse.csr_matrix,
    scores: np.ndarray,
    settings: ClusterSettings,
    *,
    seed: int,
) -> Evidence:
    """Cluster at all resolutions, and see which clusters are found again."""
    n = graph.shape[0]
    automatic = settings.resolution == "auto"
    wanted = set(settings.resolutions)
    if not automatic:
        wanted.add(float(settings.resolution))
    resolutions = sorted(wanted)
    labels = partitions(graph, resolutions, seed=seed)
    judged = np.arange(n)
    if n > MAX_JUDGED:
        rng = np.random.default_rng(seed)
        judged = np.sort(rng.choice(n, MAX_JUDGED, replace=False))
    own = judged_graph(graph, scores, judged, k=neighbors_of(settings, n), seed=seed)
    halves = Halves(own, resolutions, n_pairs=N_PAIRS, seed=seed)
    stability = halves.recovered(labels[:, judged])
    shares, means = [], []
    for row, values in zip(labels, by_partition(stability, labels), strict=True):
        sizes = np.bincount(row)
        shares.append(sizes[values >= settings.min_stability].sum() / n)
        means.append(sizes @ np.nan_to_num(values) / n)
    chosen = chosen_resolution(np.array(shares), np.array(means))
    if not automatic:
        chosen = resolutions.index(float(settings.resolution))
    return Evidence(
        resolutions=resolutions,
        labels=labels,
        chosen=chosen,
        judged=judged,
        halves=halves,
        stability=stability,
        stable_share=np.array(shares),
        mean_stability=np.array(means),
    )


def neighbors_of(settings: ClusterSettings, n_cells: int) -> int:
    """Return how many other cells are neighbors of a cell; it counts as one itself."""
    return min(settings.n_neighbors, n_cells) - 1


def rare_populations(
    graph: sparse.csr_matrix, evidence: Evidence, *, min_stability: float
) -> list[np.ndarray]:
    """Return the cells of each rare population that the chosen resolution hides.

    It is a cluster of a finer resolution: small, found again, out of one cluster, and
    the edges of its cells stay inside it. The coarsest such cluster stands for those
    inside it.
    """
    n = graph.shape[0]
    parents = evidence.labels[evidence.chosen]
    taken = np.zeros(n, dtype=bool)
    populations = []
    stability = by_partition(evidence.stability, evidence.labels)
    for row in range(evidence.chosen + 1, len(evidence.labels)):
        labels = evidence.labels[row]
        sizes = np.bincount(labels)
        small = (sizes >= least_cells(n)) & (sizes <= RARE_SHARE * n)
        small &= stability[row] >= min_stability
        if not small.any():
            continue
        inside = inside_shares(graph, one_hot(labels[None]))
        for cluster in np.flatnonzero(small & (inside >= RARE_INSIDE)):
            cells = np.flatnonzero(labels == cluster)
            shares = np.bincount(parents[cells]) / len(cells)
            parent = shares.argmax()
            of_parent = len(cells) / (parents == parent).sum()
            if shares[parent] < RARE_IN_PARENT or of_parent > RARE_OF_PARENT:
                continue
            if taken[cells].any():
                continue
            taken[cells] = True
            populations.append(cells)
    return populations


def without_noise(
    labels: np.ndarray, graph: sparse.csr_matrix, scores: np.ndarray
) -> np.ndarray:
    """Give clusters of too few cells to the cluster that they are joined to most.

    Without an edge to a larger one, to the one with the nearest center. Where no
    cluster is large enough, all is one.
    """
    sizes = np.bincount(labels)
    small = sizes < least_cells(len(labels))
    if small.all():
        return np.zeros(len(labels), dtype=labels.dtype)
    if not small.any():
        return labels
    clusters = one_hot(labels[None])
    joined = np.asarray((clusters.T @ graph @ clusters).todense(), dtype=float)
    joined[:, small] = 0
    centers = np.asarray(clusters.T @ scores) / np.maximum(sizes, 1)[:, None]
    goes_to = np.arange(len(sizes))
    for cluster in np.flatnonzero(small):
        if joined[cluster].any():
            goes_to[cluster] = joined[cluster].argmax()
        else:
            apart = np.square(centers - centers[cluster]).sum(axis=1)
            goes_to[cluster] = np.where(small, np.inf, apart).argmin()
    return goes_to[labels]


def subclustered(
    names: pd.Categorical,
    graph: sparse.csr_matrix,
    scores: np.ndarray,
    subclusters: dict[str | int, float],
    *,
    seed: int,
) -> pd.Categorical:
    """Split the named clusters: "3" becomes "3.0", "3.1", … at its place.

    Raises
    ------
    UserError
        When there is no cluster of that name.
    """
    categories = list(names.categories)
    # YAML reads 3: as a number
    subclusters = {str(name): value for name, value in subclusters.items()}
    unknown = sorted(set(subclusters) - set(categories))
    if unknown:
        message = (
            f"find_clusters: subclusters names {', '.join(unknown)}; the clusters are "
            f"{', '.join(categories)}."
        )
        raise UserError(message)
    result = np.asarray(names, dtype=object)
    order = []
    for name in categories:
        if name not in subclusters:
            order.append(name)
            continue
        cells = np.flatnonzero(np.asarray(names) == name)
        within = graph[cells][:, cells]
        (labels,) = partitions(within, [subclusters[name]], seed=seed)
        parts = named_by_size(without_noise(labels, within, scores[cells]))
        result[cells] = [f"{name}.{part}" for part in parts]
        order += [f"{name}.{part}" for part in parts.categories]
    return pd.Categorical(result, categories=order)


def names_at(evidence: Evidence, level: int, names: pd.Categorical) -> pd.Categorical:
    """Return the clusters of a resolution; of the chosen one as they are in the end."""
    if level == evidence.chosen:
        return names
    return named_by_size(evidence.labels[level])


def tree_table(
    evidence: Evidence, names: pd.Categorical, stability: np.ndarray
) -> pd.DataFrame:
    """Return a row per link of a cluster to one of the next coarser resolution.

    At the chosen resolution stand the clusters as they are in the end.
    """
    rows = []
    above: pd.Categorical | None = None
    values = by_partition(evidence.stability, evidence.labels)
    for level, resolution in enumerate(evidence.resolutions):
        labels = evidence.labels[level]
        here = names_at(evidence, level, names)
        if level == evidence.chosen:
            found = stability
        else:
            first = np.unique(here.codes, return_index=True)[1]
            found = values[level][labels[first]]
        sizes = np.bincount(here.codes, minlength=len(here.categories))
        if above is None:
            links = [(code, "", np.nan, np.nan) for code in range(len(sizes))]
        else:
            shared = pd.crosstab(here.codes, above.codes).to_numpy()
            of_parent = shared / np.maximum(shared.sum(axis=0), 1)
            of_child = shared / np.maximum(sizes, 1)[:, None]
            links = [
                (code, above.categories[parent], *(of[code, parent] for of in both))
                for code in range(len(sizes))
                for both in [(of_child, of_parent)]
                for parent in np.argsort(-shared[code], kind="stable")
                if of_child[code, parent] >= LEAST_LINK
            ]
        rows += [
            (
                resolution,
                here.categories[code],
                sizes[code],
                found[code],
                parent,
                share,
                of_parent,
            )
            for code, parent, share, of_parent in links
        ]
        above = here
    return pd.DataFrame(rows, columns=TREE_COLUMNS)


def resolution_table(evidence: Evidence) -> pd.DataFrame:
    """Return a row per resolution: clusters, and how many of them are found again."""
    rows = [
        (
            resolution,
            evidence.labels[level].max() + 1,
            evidence.mean_stability[level],
            100 * evidence.stable_share[level],
            level == evidence.chosen,
        )
        for level, resolution in enumerate(evidence.resolutions)
    ]
    return pd.DataFrame(rows, columns=RESOLUTION_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Clusters and map of the cells, and the tables that give the evidence."""

    names: pd.Categorical
    cell_stability: np.ndarray
    umap: np.ndarray
    # cells x resolutions, places among the names of each resolution
    by_resolution: np.ndarray
    about: dict
    resolutions: pd.DataFrame
    stability: pd.DataFrame
    tree: pd.DataFrame


def one_cluster(scores: np.ndarray, reason: str) -> Clustering:
    """Return all cells as one cluster, about which nothing can be said."""
    n = len(scores)
    names = named_by_size(np.zeros(n, dtype=int))
    clusters = pd.DataFrame({"cluster": list(names.categories)})
    clusters["n_cells"] = n
    clusters[["stability", "inside"]] = np.nan
    clusters["origin"] = reason
    return Clustering(
        names=names,
        cell_stability=np.full(n, np.nan, dtype=np.float32),
        umap=two_columns(scores),
        by_resolution=np.zeros((n, 0), dtype=np.int32),
        about={"resolution": "", "automatic": True, "reason": reason},
        resolutions=pd.DataFrame(columns=RESOLUTION_COLUMNS),
        stability=clusters,
        tree=pd.DataFrame(columns=TREE_COLUMNS),
    )


def clustered(
    scores: np.ndarray, settings: ClusterSettings, *, seed: int
) -> Clustering:
    """Find the clusters of the cells, the evidence for them, and their map.

    `scores` is cells x components, float32, of which the first `n_pcs` are used.
    """
    n = len(scores)
    if n < MIN_CELLS or scores.shape[1] == 0:
        return one_cluster(scores, f"{n} cells with {scores.shape[1]} components")
    if not np.ptp(scores, axis=0).any():
        return one_cluster(scores, "all cells are identical")
    scores = np.ascontiguousarray(scores[:, : settings.n_pcs])
    k = neighbors_of(settings, n)
    graph = fuzzy_graph(*nearest_neighbors(scores, k, seed=seed))
    logger.info("%d cells, %d edges", n, graph.nnz // 2)
    evidence = gather(graph, scores, settings, seed=seed)
    labels = evidence.labels[evidence.chosen].copy()
    rare = []
    if settings.resolution == "auto":
        rare = rare_populations(graph, evidence, min_stability=settings.min_stability)
    for number, cells in enumerate(rare, start=labels.max() + 1):
        labels[cells] = number
    names = named_by_size(without_noise(labels, graph, scores))
    of_rare = {names[cells[0]] for cells in rare}
    names = subclustered(names, graph, scores, settings.subclusters, seed=seed)

    codes = names.codes.astype(np.int32)
    judged = codes[evidence.judged]
    stability = evidence.halves.recovered(judged[None])
    stability = np.append(stability, np.full(len(names.categories), np.nan))
    stability = stability[: len(names.categories)]
    together = evidence.halves.kept_together(judged)
    cells = carried_over(graph, evidence.judged, together)
    resolution = evidence.resolutions[evidence.chosen]
    levels = range(len(evidence.resolutions))
    table = pd.DataFrame(
        {
            "cluster": names.categories,
            "n_cells": np.bincount(codes, minlength=len(names.categories)),
            "stability": stability,
            "inside": inside_shares(graph, one_hot(codes[None])),
            "origin": [
                "rare"
                if name in of_rare
                else f"part of {name.split('.')[0]}"
                if "." in name
                else f"resolution {resolution:g}"
                for name in names.categories
            ],
        }
    )
    return Clustering(
        names=names,
        cell_stability=cells.astype(np.float32),
        umap=layout(graph, two_columns(scores), min_dist=settings.min_dist, seed=seed),
        by_resolution=np.column_stack(
            [names_at(evidence, level, names).codes for level in levels]
        ).astype(np.int32),
        about={
            "resolution": resolution,
            "automatic": settings.resolution == "auto",
            "stable_cells_percent": 100 * float(evidence.stable_share[evidence.chosen]),
            "reason": "",
        },
        resolutions=resolution_table(evidence),
        stability=table,
        tree=tree_table(evidence, names, stability),
    )


def main(
    *,
    integrated: Path,
    clustering: Path,
    resolutions: Path,
    stability: Path,
    tree: Path,
    settings: ClusterSettings,
    seed: int,
) -> None:
    """Write the clusters, their stability and map, and three tables.

    `obsm.leiden_by_resolution` has a column per row of `resolutions`: a cell's cluster
    as a number, which is its name but where the resolution in use was changed later (as
    by sub-clusters; there it is the place in `obs.leiden`'s categories).
    """
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    source = ad.read_h5ad(integrated)
    with threadpool_limits(limits=1):
        done = clustered(source.obsm["X_integrated"], settings, seed=seed)
    adata = ad.AnnData(obs=source.obs[[]], obsm={"X_umap": done.umap})
    adata.obs["leiden"] = done.names
    adata.obs["leiden_stability"] = done.cell_stability
    if done.by_resolution.size:
        adata.obsm["leiden_by_resolution"] = done.by_resolution
    adata.uns["leiden_colors"] = colors_of(list(done.names.categories))
    adata.uns["clustering"] = done.about
    logger.info("%s", done.about)
    for row in done.stability.itertuples():
        logger.info("cluster %s: %d cells, %s", row.cluster, row.n_cells, row.origin)
    adata.write_h5ad(clustering)
    for path, table in (
        (resolutions, done.resolutions),
        (stability, done.stability),
        (tree, done.tree),
    ):
        table.to_csv(path, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    with job(snakemake):
        main(
            integrated=Path(snakemake.input.integrated),
            clustering=Path(snakemake.output.clustering),
            resolutions=Path(snakemake.output.resolutions),
            stability=Path(snakemake.output.stability),
            tree=Path(snakemake.output.tree),
            settings=ClusterSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
        )
