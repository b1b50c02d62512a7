"""Genes whose levels go together: correlation, its null, modules, hubs, activity."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

import igraph
import numpy as np
import pandas as pd
from scipy import sparse, stats

from _shared.metacells import (
    added_up,
    balanced,
    centered,
    components,
    log_cpm,
    metacells,
    shuffled,
    without,
)

# partners of a gene in the graph that modules are cut from
N_PARTNERS = 10
# of a module's genes each has so many partners in it, above the threshold
LEAST_PARTNERS = 3
# modules whose first components correlate better are one (as in WGCNA)
SAME_MODULE = 0.8
N_ITERATIONS = 10
# values further from the mean, in standard deviations, are set to this
OUTLYING = 3
# steps of the correlation in which the threshold is sought
N_STEPS = 400


@dataclass(frozen=True, kw_only=True)
class Edges:
    """What the null says of correlations: from `threshold` on they are edges.

    `n_chance` is how many the shuffled counts have above it.
    """

    threshold: float
    n_edges: int
    n_chance: int


def correlation(levels: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of genes (float32), robust against outliers.

    `levels` (rows x genes) have no differences between samples, and have none after
    their outliers are pulled in.
    """
    spread = levels.std(axis=0)
    z = np.clip(levels / np.where(spread > 1e-9, spread, np.inf), -OUTLYING, OUTLYING)
    z = centered(z, samples)
    norm = np.sqrt((z**2).sum(axis=0))
    z = (z / np.where(norm > 1e-9, norm, np.inf)).astype(np.float32)
    return z.T @ z


def within_samples(
    x: np.ndarray, depth: np.ndarray, samples: np.ndarray, *, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the levels of genes in metacells, free of sample and depth; their samples.

    `x` are counts (cells x genes), `depth` the counts of a cell in all genes.
    """
    belongs, of = metacells(components(x, depth, samples), samples, size=size)
    total = added_up(depth.astype(np.float64), belongs, len(of))
    levels = balanced(log_cpm(added_up(x, belongs, len(of)), total), of)
    log_depth = np.log(np.maximum(total, 1))[:, None]
    return without(levels, np.hstack([log_depth, log_depth**2]), of), of


def metacell_correlations(
    x: np.ndarray, depth: np.ndarray, samples: np.ndarray, *, size: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield the correlation of genes in metacells, and that of shuffled counts.

    The null goes the whole way, from the components on: metacells are made by the same
    counts that they add up, and this alone makes some genes go together.
    """
    yield correlation(*within_samples(x, depth, samples, size=size))
    rng = np.random.default_rng(seed)
    x = shuffled(x, depth, samples, rng=rng)
    yield correlation(*within_samples(x, depth, samples, size=size))


def sample_correlations(
    x: np.ndarray, depth: np.ndarray, known: np.ndarray, *, seed: int
) -> Iterator[np.ndarray]:
    """Yield the correlation of genes in pseudobulks, and that of shuffled levels.

    `known` (samples x columns) is the model of the design, whose effect is taken out.
    """
    one = np.zeros(len(x), dtype=np.int64)
    log_depth = np.log(np.maximum(depth, 1))[:, None]
    levels = balanced(log_cpm(x, depth), one)
    levels = without(levels, np.hstack([known, log_depth]), one)
    yield correlation(levels, one)
    rng = np.random.default_rng(seed)
    yield correlation(rng.permuted(levels, axis=0), one)


def pairs_above(r: np.ndarray) -> np.ndarray:
    """Return how many pairs of genes correlate at each step of 0 to 1, or better."""
    counts = np.zeros(N_STEPS, dtype=np.int64)
    for i in range(len(r) - 1):
        place = (r[i, i + 1 :] * N_STEPS).astype(np.int64)
        place = np.minimum(place[r[i, i + 1 :] > 0], N_STEPS - 1)
        counts += np.bincount(place, minlength=N_STEPS)
    return counts[::-1].cumsum()[::-1]


def edges_of(found: np.ndarray, chance: np.ndarray, *, fdr: float) -> Edges:
    """Return the least threshold above which chance makes up a share `fdr` of pairs.

    `found` and `chance` are numbers of pairs as `pairs_above` counts them.
    """
    # further down, where most pairs are, the share may fall again: no threshold
    fails = np.flatnonzero(chance > fdr * found)
    step = fails[-1] + 1 if len(fails) else 0
    if step == len(found) or found[step] == 0:
        return Edges(threshold=np.inf, n_edges=0, n_chance=0)
    return Edges(
        threshold=step / N_STEPS, n_edges=int(found[step]), n_chance=int(chance[step])
    )


def strongest(r: np.ndarray, threshold: float, *, n: int) -> sparse.csr_matrix:
    """Return the upper triangle of a graph: of each gene its `n` best partners."""
    n_genes = len(r)
    n = min(n, n_genes - 1)
    if n < 1:
        return sparse.csr_matrix((n_genes, n_genes), dtype=np.float32)
    own = r.copy()
    np.fill_diagonal(own, -1)
    best = np.argsort(-own, axis=1, kind="stable")[:, :n]
    rows = np.repeat(np.arange(n_genes), n)
    weights = np.take_along_axis(own, best, axis=1).ravel()
    keep = weights >= threshold
    one = (weights[keep], (rows[keep], best.ravel()[keep]))
    graph = sparse.csr_matrix(one, shape=own.shape)
    return sparse.triu(graph.maximum(graph.T), k=1).tocsr()


def partition(graph: sparse.csr_matrix, *, seed: int) -> np.ndarray:
    """Return the group of each gene, by Leiden and modularity."""
    rows, columns = graph.nonzero()
    network = igraph.Graph(
        n=graph.shape[0], edges=np.column_stack([rows, columns]).tolist()
    )
    igraph.set_random_number_generator(random.Random(seed))
    found = network.community_leiden(
        objective_function="modularity",
        weights=graph.data.astype(float).tolist(),
        n_iterations=N_ITERATIONS,
    )
    igraph.set_random_number_generator(random)
    return np.array(found.membership, dtype=np.int64)


def core(r: np.ndarray, threshold: float) -> np.ndarray:
    """Flag the genes that keep enough partners when those without are left out."""
    partners = r >= threshold
    np.fill_diagonal(partners, val=False)
    inside = np.ones(len(r), dtype=bool)
    while True:
        keep = inside & (partners[:, inside].sum(axis=1) >= LEAST_PARTNERS)
        if keep.sum() == inside.sum():
            return keep
        inside = keep


def merged(r: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return labels in which modules are one whose mean levels correlate.

    The correlation of two sums of standardized genes follows from those of the genes.
    """
    while True:
        names = np.unique(labels[labels >= 0])
        of = (labels[:, None] == names).astype(np.float64)
        product = of.T @ r @ of
        spread = np.sqrt(np.diag(product))
        between = np.triu(product / np.outer(spread, spread), k=1)
        if len(names) < 2 or between.max() < SAME_MODULE:
            return labels
        one, other = np.unravel_index(between.argmax(), between.shape)
        labels = np.where(labels == names[other], names[one], labels)


def modules_of(
    r: np.ndarray, threshold: float, *, min_genes: int, seed: int
) -> np.ndarray:
    """Return the module of each gene, from 1 for the largest; 0: of no module."""
    if not np.isfinite(threshold) or len(r) < min_genes:
        return np.zeros(len(r), dtype=np.int64)
    labels = merged(r, partition(strongest(r, threshold, n=N_PARTNERS), seed=seed))
    kept = np.full(len(r), -1)
    for name in np.unique(labels):
        own = np.flatnonzero(labels == name)
        own = own[core(r[np.ix_(own, own)], threshold)]
        if len(own) >= min_genes:
            kept[own] = name
    # by size, and then by the first gene
    names, first, sizes = np.unique(
        kept[kept >= 0], return_index=True, return_counts=True
    )
    order = names[np.lexsort((first, -sizes))]
    result = np.zeros(len(r), dtype=np.int64)
    for number, name in enumerate(order, start=1):
        result[kept == name] = number
    return result


def connectivity(r: np.ndarray, threshold: float, modules: np.ndarray) -> np.ndarray:
    """Return the sum of a gene's correlations with its module, above the threshold."""
    result = np.zeros(len(r))
    for module in np.unique(modules[modules > 0]):
        own = np.flatnonzero(modules == module)
        part = r[np.ix_(own, own)].astype(np.float64)
        np.fill_diagonal(part, 0)
        result[own] = np.where(part >= threshold, part, 0).sum(axis=1)
    return result


def hubs(strength: np.ndarray, modules: np.ndarray, *, n: int) -> np.ndarray:
    """Flag the `n` genes of each module with the highest connectivity."""
    flags = np.zeros(len(modules), dtype=bool)
    for module in np.unique(modules[modules > 0]):
        own = np.flatnonzero(modules == module)
        flags[own[np.argsort(-strength[own], kind="stable")[:n]]] = True
    return flags


def correlated_edges(r: np.ndarray, edges: Edges, modules: np.ndarray) -> pd.DataFrame:
    """Return the best correlations of each gene of a module with others of modules."""
    own = np.flatnonzero(modules > 0)
    graph = strongest(r[np.ix_(own, own)], edges.threshold, n=N_PARTNERS).tocoo()
    return pd.DataFrame(
        {
            "source": own[graph.row],
            "target": own[graph.col],
            "weight": graph.data.astype(float),
            "kind": "correlation",
        }
    )


def known_edges(
    r: np.ndarray,
    edges: Edges,
    modules: np.ndarray,
    genes: np.ndarray,
    regulation: pd.DataFrame,
) -> pd.DataFrame:
    """Return the known edges to a gene of a module whose ends correlate as they say."""
    place = pd.Series(np.arange(len(genes)), index=genes)
    table = pd.DataFrame(
        {end: regulation[end].map(place) for end in ("source", "target")}
    )
    table["sign"] = np.where(regulation["weight"] < 0, -1, 1)
    table = table.dropna().astype(int)
    table = table[table["source"] != table["target"]]
    weight = r[table["source"].to_numpy(), table["target"].to_numpy()].astype(float)
    keep = (weight * table["sign"] >= edges.threshold) & (
        modules[table["target"].to_numpy()] > 0
    )
    table = table.assign(weight=weight, kind="regulation")[keep]
    return table.drop(columns="sign").drop_duplicates(["source", "target"])


def graph_of(
    modules: pd.DataFrame, edges: pd.DataFrame, names: pd.Series
) -> igraph.Graph:
    """Return all networks as one graph; `names` are those of the genes by id.

    The edges have no direction, for GraphML readers refuse a mixture: of a known edge
    the attribute `regulator` names the end that regulates.
    """
    known = modules.set_index(["cell_type", "gene_id"])
    ends = [
        pd.MultiIndex.from_frame(edges[["cell_type", end]].astype(object))
        for end in ("source", "target")
    ]
    nodes = known.index.append(ends).unique()
    rows = known.reindex(nodes)
    cell_types, ids = (nodes.get_level_values(i).astype(str) for i in (0, 1))
    graph = igraph.Graph(
        n=len(nodes), edges=np.column_stack([nodes.get_indexer(e) for e in ends])
    )
    texts = {
        "name": cell_types + ":" + ids,
        "gene_id": ids,
        "gene_name": names.reindex(ids).astype(str),
        "cell_type": cell_types,
        "module": rows["module"].astype(object).fillna(""),
    }
    for attribute, values in texts.items():
        # XML has no control characters
        graph.vs[attribute] = [re.sub(r"[\x00-\x1f]", " ", text) for text in values]
    graph.vs["hub"] = [value is True or value == 1 for value in rows["is_hub"]]
    strength = pd.to_numeric(rows["connectivity"]).fillna(0.0)
    graph.vs["connectivity"] = strength.astype(float).tolist()
    graph.es["weight"] = edges["weight"].astype(float).tolist()
    graph.es["kind"] = edges["kind"].astype(str).tolist()
    is_known = edges["kind"] == "regulation"
    graph.es["regulator"] = edges["source"].where(is_known, "").astype(str).tolist()
    return graph


def activity(levels: pd.DataFrame, modules: pd.Series) -> pd.DataFrame:
    """Return the mean z-score of each module's genes (samples x modules).

    `levels` are log CPM (samples x genes), `modules` the module by gene. One sample
    alone has no z-scores: its activity is missing.
    """
    spread = levels.std(ddof=0)
    z = (levels - levels.mean()).div(spread.where(spread > 1e-9))
    nothing = 0.0 if len(levels) > 1 else np.nan
    names = list(dict.fromkeys(modules))
    columns = {
        name: z[modules.index[modules == name]].mean(axis=1).fillna(nothing)
        for name in names
    }
    return pd.DataFrame(columns, index=levels.index, columns=names)


def estimated(y: pd.DataFrame, matrix: np.ndarray, vector: np.ndarray) -> pd.DataFrame:
    """Return estimate, standard error and p-value of a contrast, per column of `y`.

    By ordinary least squares; the last two are missing where nothing is left to
    estimate the spread.
    """
    inverse = np.linalg.pinv(matrix)
    coefficients = inverse @ y.to_numpy()
    free = len(matrix) - np.linalg.matrix_rank(matrix)
    result = pd.DataFrame({"effect": vector @ coefficients}, index=y.columns)
    result["se"] = result["p_value"] = np.nan
    if free > 0:
        squares = ((y.to_numpy() - matrix @ coefficients) ** 2).sum(axis=0)
        se = np.sqrt(squares / free * (vector @ inverse @ inverse.T @ vector))
        # a spread of 0 to within rounding tells nothing of the error
        result["se"] = np.where(se > 1e-12, se, np.nan)
        t = result["effect"] / result["se"]
        result["p_value"] = 2 * stats.t.sf(t.abs(), free)
    return result
