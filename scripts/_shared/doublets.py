"""How much each cell looks like two cells in one droplet.

Doublets are made from pairs of the sample's own cells, and a classifier is trained to
tell them from the cells (as scDblFinder, Germain et al. 2021). It sees which share of
the nearest neighbors are made, how near they are, how often genes that do not belong
together are expressed together (as cxds, Bais and Kostka 2020), and where a cell lies.
It does not see how many counts it has: how far doublets have more differs between
protocols, and large cells are a type more often than an error.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy import sparse, stats
from sklearn.cluster import KMeans
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from _shared.counts import log_normalized, row_sums
from _shared.variable_genes import spectrum_of, standardized_variance, top_genes

N_GENES = 1_500
# genes whose co-expression is looked at: the cost grows with its square
N_PAIRED_GENES = 500
N_COMPONENTS = 20
# components that say where a cell lies, so that a rare type is known as one
N_SEEN_COMPONENTS = 15
# fewer variable genes hold no types that could be mixed
FEWEST_GENES = 50
# made doublets, and cells among which neighbors are looked for: bounds time and memory
FEWEST_MADE, MOST_MADE = 1_000, 10_000
MOST_REFERENCE_CELLS = 10_000
MOST_FITTED_CELLS = 8_000
CELLS_PER_CLUSTER = 100
FEWEST_CLUSTERS, MOST_CLUSTERS = 5, 25
FEW_NEIGHBORS = (3, 10, 20)
MOST_NEIGHBORS = 100
# rows whose distances are held at once
CHUNK = 1_000
N_FOLDS = 3
# cells that are doublets themselves would teach that doublets are cells, and so hide
# how many there are: at first many are left out, which makes too many of the others
# look like doublets, then nearly as many as the round before has found
N_ROUNDS = 4
FIRST_LEFT_OUT = 0.2
LEFT_OUT_PER_FOUND = 0.9
# steps until the estimated share of doublets stands still, and where it may lie
N_STEPS = 200
LOWEST_RATE, HIGHEST_RATE = 1e-4, 0.5


class TooLittleVariationError(ValueError):
    """The cells do not differ enough to tell one type from another."""


@dataclass(frozen=True, kw_only=True)
class Space:
    """Variable genes, and the axes along which their log-normalized counts differ."""

    genes: np.ndarray
    target: float
    center: np.ndarray
    axes: np.ndarray

    def place(self, logs: sparse.csr_matrix) -> np.ndarray:
        """Return the place of cells (cells x components, float32)."""
        return logs @ self.axes - self.center @ self.axes


def find_space(
    counts: sparse.csr_matrix, totals: np.ndarray, *, rng: np.random.Generator
) -> Space:
    """Choose variable genes and find the principal components of (some of) the cells.

    Raises
    ------
    TooLittleVariationError
        If too few genes vary.
    """
    score = standardized_variance(spectrum_of(counts))
    # a gene of one or two cells says nothing of a mixture
    score[np.bincount(counts.indices, minlength=counts.shape[1]) < 3] = 0
    genes = np.flatnonzero(top_genes(score, n_top_genes=N_GENES))
    if len(genes) < FEWEST_GENES:
        raise TooLittleVariationError(f"only {len(genes)} genes vary between cells")
    n, target = counts.shape[0], float(np.median(totals))
    few = np.sort(rng.permutation(n)[:MOST_FITTED_CELLS])
    logs = log_normalized(counts[few][:, genes], totals[few] / target).toarray()
    center = logs.mean(axis=0)
    logs -= center
    _, axes = np.linalg.eigh(logs.T @ logs)
    axes = np.ascontiguousarray(axes[:, ::-1][:, :N_COMPONENTS])
    return Space(genes=genes, target=target, center=center, axes=axes)


def draw_pairs(
    places: np.ndarray, n: int, *, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `n` pairs of cells: half at random, half from two different clusters.

    A pair of clusters is drawn by the square root of their sizes, so that doublets of
    rare types are known as well.
    """
    n_cells = len(places)
    first, second = rng.integers(n_cells, size=(2, n))
    k = int(np.clip(n_cells / CELLS_PER_CLUSTER, FEWEST_CLUSTERS, MOST_CLUSTERS))
    with warnings.catch_warnings():
        # fewer distinct cells than clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        seed = int(rng.integers(2**31))
        labels = KMeans(k, n_init=1, random_state=seed).fit_predict(places)
    sizes = np.bincount(labels, minlength=k)
    a, b = np.triu_indices(k, 1)
    weights = np.sqrt(sizes[a] * sizes[b])
    if not weights.any():
        return first, second
    half = n // 2
    pair = rng.choice(len(a), size=half, p=weights / weights.sum())
    members = np.argsort(labels, kind="stable")
    starts = np.cumsum(sizes) - sizes
    for cells, clusters in ((first, a[pair]), (second, b[pair])):
        nth = (rng.random(half) * sizes[clusters]).astype(int)
        cells[:half] = members[starts[clusters] + nth]
    return first, second


def nearest(
    queries: np.ndarray, among: np.ndarray, *, own: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return places in `among` of the `k` nearest of each query, and the distances.

    `own` is the place of the query itself, which is no neighbor of its own; -1 where it
    is not among them. Exact, sorted by distance.
    """
    squares = (among**2).sum(axis=1)
    indices = np.empty((len(queries), k), dtype=np.int64)
    distances = np.empty((len(queries), k), dtype=np.float32)
    for start in range(0, len(queries), CHUNK):
        rows = slice(start, min(start + CHUNK, len(queries)))
        part, itself = queries[rows], own[rows]
        table = squares - 2 * part @ among.T
        inside = np.flatnonzero(itself >= 0)
        table[inside, itself[inside]] = np.inf
        best = np.argpartition(table, k - 1, axis=1)[:, :k]
        near = np.take_along_axis(table, best, axis=1)
        order = np.argsort(near, axis=1, kind="stable")
        indices[rows] = np.take_along_axis(best, order, axis=1)
        near = np.take_along_axis(near, order, axis=1) + (part**2).sum(axis=1)[:, None]
        distances[rows] = np.sqrt(np.maximum(near, 0))
    return indices, distances


def exclusion(detected: np.ndarray) -> np.ndarray:
    """Return how little each two genes belong together (genes x genes).

    Minus the log probability that so many cells, or more, would have exactly one of the
    two if they were expressed independently of each other. `detected` is cells x genes,
    0 or 1, float32.
    """
    n = len(detected)
    both = (detected.T @ detected).astype(float)
    single = np.diag(both)
    share = single / max(n, 1)
    exactly_one = np.add.outer(single, single) - 2 * both
    expected = np.add.outer(share, share) - 2 * np.outer(share, share)
    weights = -stats.binom.logsf(exactly_one - 1, n, np.clip(expected, 1e-12, 1))
    np.fill_diagonal(weights, 0)
    # a probability too small to be written
    return np.nan_to_num(weights, posinf=-np.log(np.finfo(float).tiny))


def coexpression(
    cells: sparse.csr_matrix, made: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of `exclusion` over the genes that each cell has, of both."""
    share = np.bincount(cells.indices, minlength=cells.shape[1]) / cells.shape[0]
    genes = np.argsort(-share * (1 - share), kind="stable")[:N_PAIRED_GENES]
    own, of_made = ((of[:, genes] > 0).astype(np.float32) for of in (cells, made))
    few = own[:MOST_FITTED_CELLS].toarray()
    weights = exclusion(few).astype(np.float32)

    def total(detected: sparse.csr_matrix) -> np.ndarray:
        parts = [np.zeros(0)]
        for start in range(0, detected.shape[0], CHUNK):
            part = detected[start : start + CHUNK].toarray()
            parts.append(((part @ weights) * part).sum(axis=1, dtype=float))
        return np.concatenate(parts)

    return total(own), total(of_made)


def neighborhood(
    places: np.ndarray, *, n_cells: int, rng: np.random.Generator
) -> np.ndarray:
    """Describe how many of the nearest neighbors are made, and how near they are.

    The first `n_cells` rows of `places` are cells, the others made doublets.
    """
    n = len(places)
    cells = np.sort(rng.permutation(n_cells)[:MOST_REFERENCE_CELLS])
    reference = np.concatenate([cells, np.arange(n_cells, n)])
    own = np.full(n, -1)
    own[reference] = np.arange(len(reference))
    k = int(np.clip(np.sqrt(len(reference)), 10, MOST_NEIGHBORS))
    k = min(k, len(reference) - 1)
    indices, distances = nearest(places, places[reference], own=own, k=k)
    is_made = (reference >= n_cells)[indices]
    steps = sorted({step for step in (*FEW_NEIGHBORS, k // 2, k) if 0 < step <= k})
    shares = [is_made[:, :step].mean(axis=1) for step in steps]
    tiny = max(1e-3 * float(np.median(distances)), 1e-6)
    weights = 1 / (distances + tiny)
    weighted = (is_made * weights).sum(axis=1) / weights.sum(axis=1)
    # where there is none among the neighbors it is at least as far as the last
    far = distances[:, -1:]
    to_cell = np.where(is_made, far, distances).min(axis=1)
    to_made = np.where(is_made, distances, far).min(axis=1)
    ratio = np.clip(np.log((to_cell + tiny) / (to_made + tiny)), -5, 5)
    return np.column_stack([*shares, weighted, distances[:, 0], ratio])


def doublet_rate(scores: np.ndarray) -> float:
    """Return the share of doublets that explains the scores best.

    A score is the probability of being a doublet if half of all were; how many are is
    found by expectation and maximization (Saerens et al. 2002). Above 1 - rate a cell
    is more probably a doublet than not.
    """
    odds = scores / np.maximum(1 - scores, 1e-9)
    rate = 0.05
    for _ in range(N_STEPS):
        rate = float(np.mean(rate * odds / (1 - rate + rate * odds)))
        rate = min(max(rate, LOWEST_RATE), HIGHEST_RATE)
    return rate


def probabilities(features: np.ndarray, *, n_cells: int, seed: int) -> np.ndarray:
    """Return for every row how probably it is made, by models that did not see it.

    As if there were as many cells as made doublets. The first `n_cells` rows are cells;
    those most like doublets in one round are left out of what the next one learns from.
    """
    is_made = np.arange(len(features)) >= n_cells
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed)
    folds = list(folds.split(features, is_made))
    left_out = np.zeros(len(features), dtype=bool)
    found = np.zeros(len(features))
    for nth in range(N_ROUNDS):
        for train, test in folds:
            train = train[~left_out[train]]
            model = HistGradientBoostingClassifier(
                max_iter=60,
                max_depth=3,
                l2_regularization=1.0,
                early_stopping=False,
                random_state=seed,
            ).fit(features[train], is_made[train])
            made = model.predict_proba(features[test])[:, 1]
            ratio = (~is_made[train]).sum() / is_made[train].sum()
            found[test] = made * ratio / (made * ratio + 1 - made)
        share = LEFT_OUT_PER_FOUND * doublet_rate(found[:n_cells])
        if nth == 0:
            share = FIRST_LEFT_OUT
        worst = np.argsort(-found[:n_cells], kind="stable")[: int(share * n_cells)]
        left_out[:] = False
        left_out[worst] = True
    return found


def doublet_scores(counts: sparse.csr_matrix, *, seed: int) -> np.ndarray:
    """Return a score from 0 to 1 per cell: how much it looks like a made doublet.

    `counts` are raw counts (cells x genes, whole numbers).

    Raises
    ------
    TooLittleVariationError
        If too few genes vary between cells.
    """
    n_cells = counts.shape[0]
    rng = np.random.default_rng(seed)
    with threadpool_limits(1):
        totals = np.maximum(row_sums(counts), 1)
        space = find_space(counts, totals, rng=rng)
        chosen = counts[:, space.genes]
        logs = log_normalized(chosen, totals / space.target)
        places = space.place(logs)
        n_made = int(np.clip(n_cells, FEWEST_MADE, MOST_MADE))
        first, second = draw_pairs(places, n_made, rng=rng)
        made = log_normalized(
            chosen[first] + chosen[second],
            (totals[first] + totals[second]) / space.target,
        )
        places = np.concatenate([places, space.place(made)])
        features = np.column_stack(
            [
                neighborhood(places, n_cells=n_cells, rng=rng),
                np.concatenate(coexpression(logs, made)),
                places[:, :N_SEEN_COMPONENTS],
            ]
        )
        found = probabilities(features, n_cells=n_cells, seed=seed)
    return found[:n_cells]
