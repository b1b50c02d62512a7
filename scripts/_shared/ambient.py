"""Ambient RNA: how much of it cells hold, by the droplets that hold nothing else.

Two sources tell the share of a sample. (1) Every droplet holds about the same amount of
the soup, so within a type the cells with few counts are nearer to the soup's profile
than those with many: the slope gives the amount, as in the models of CellBender
(Fleming et al. 2023), where a droplet's ambient counts do not depend on its cell. (2) A
gene that a cluster does not express is there by the soup alone (SoupX, Young & Behjati
2020): the least ratio of counts to the soup's share bounds the amount from above, and
tells it where many genes of several clusters share that ratio.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from threadpoolctl import threadpool_limits

from _shared.counts import column_sums, log_normalized, row_sums

# fewer cells say nothing about types; a cluster needs so many for its slope
FEWEST_CELLS, FEWEST_IN_CLUSTER = 50, 20
# clusters that are looked for: enough to part types, few enough to have depths in each
MOST_CLUSTERS, CELLS_PER_CLUSTER = 12, 25
N_GENES, N_COMPONENTS = 1500, 20
# cells that clusters are found with; the others join the nearest
MOST_FITTED = 5000
# biological variance of a gene in a cluster, as share of its squared mean
OVERDISPERSION = 0.1
# residuals beyond so many MADs are other cells than their cluster's: mostly doublets
OUTLIER_MADS, N_ROUNDS = 6, 5
# nats by which two clusters explain a doublet better than one
SURE = 10
# the amount of soup differs between droplets by this share at most
LARGEST_SPREAD = 0.2
# squared distance between two clusters, and of one from the soup, in units of the noise
# of one count
LEAST_APART, FAR_FROM_SOUP = 0.05, 0.1
# a cluster that is nearer to the soup has no slope
LEAST_DISTANCE = 0.02
# a barcode of soup alone has at most so many times the counts of those not called, and
# a cluster of such barcodes so many in its middle
ROOM_ABOVE_EMPTY, ROOM_OF_CLUSTER = 4, 2
# cells that were not called, as share of those that were
MISSED_CELLS = 0.01
# cells of the size of so many of them tell nothing: those near the soup are missing
NEARLY_ALL = 0.9
# a sample with more of them has no cells that can be told from the soup
MOST_WITHOUT_CELL = 0.5
# 1 / squared variation that is expected of a gene between profiles
PRIOR = 2
# pairs of gene and cluster for the upper bound: counts expected of pure soup in each
# half of the counts, counts of the gene in empty droplets, share and number of pairs
LEAST_EXPECTED, LEAST_IN_SOUP, LOWEST_SHARE, FEWEST_PAIRS = 50, 50, 0.01, 20
# the lowest pairs are of genes that are not expressed if the next have so many times
# their ratio; or if so many times more have it, up to this factor, and would show it if
# they varied by this share. Beyond the last it is cells that resemble the soup
GAP, MANY, WIDER_RATIO, OTHER_SPREAD, LARGEST_RATIO = 2, 4, 1.15, 0.3, 0.5
# a share with a wider interval (standard error, of 1) is no estimate
LARGEST_ERROR = 0.025
# a droplet's RNA is never taken for soup beyond this share
LARGEST_SHARE = 0.95
# cells whose counts are corrected at a time
CHUNK = 2000
Z95 = 1.96
# two estimates so many standard errors apart contradict each other
Z_APART = 4


@dataclass(frozen=True, kw_only=True)
class Share:
    """The share of ambient RNA in the counts of a sample's cells, of 1."""

    estimated: bool
    reason: str
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    # called barcodes that hold the soup alone, and the counts that nearly all are below
    n_without_cell: int = 0
    counts_without_cell: float = 0


def empty_droplets(totals: np.ndarray, is_cell: np.ndarray) -> np.ndarray:
    """Tell which barcodes are empty droplets by their counts.

    The smaller of those that are no cells, up to half of all their counts: the larger
    may be cells that were not called, or debris.
    """
    rest = np.flatnonzero(~is_cell & (totals > 0))
    is_empty = np.zeros(len(totals), dtype=bool)
    if not len(rest):
        return is_empty
    rising = np.sort(totals[rest])
    sums = np.cumsum(rising)
    most = rising[np.searchsorted(sums, sums[-1] / 2)]
    is_empty[rest[totals[rest] <= most]] = True
    return is_empty


def largest_empty(totals: np.ndarray, is_cell: np.ndarray) -> float:
    """Return the counts of about the largest droplet of soup.

    Of the barcodes that are no cells the largest few, 1 for each 100 cells, are left
    out: they may be cells that were not called.
    """
    rest = np.sort(totals[~is_cell])
    left_out = int(MISSED_CELLS * is_cell.sum())
    return float(rest[-1 - left_out]) if len(rest) > left_out else 0.0


def quick_clusters(counts: sparse.csr_matrix, *, seed: int) -> np.ndarray:
    """Return a number per cell: k-means on principal components of variable genes.

    Clusters that hardly differ are joined.
    """
    n = counts.shape[0]
    if not n:
        return np.zeros(0, dtype=int)
    k = int(np.clip(n // CELLS_PER_CLUSTER, 1, MOST_CLUSTERS))
    totals = np.maximum(row_sums(counts), 1)
    levels = log_normalized(counts, totals / np.median(totals)).astype(np.float64)
    means = column_sums(levels) / n
    variances = column_sums(levels.power(2)) / n - means**2
    # variance beyond that of counting, which grows with the mean
    excess = np.where(means > 0.01, variances / np.maximum(means, 1e-9), 0)
    genes = np.sort(np.argsort(-excess, kind="stable")[:N_GENES])
    genes = genes[excess[genes] > 0]
    if k == 1 or len(genes) < 2:
        return np.zeros(n, dtype=int)
    # its import takes longer than small samples do
    from sklearn.cluster import KMeans

    fitted = np.unique(np.linspace(0, n - 1, min(n, MOST_FITTED)).astype(int))
    with threadpool_limits(1):
        dense = levels[:, genes].toarray()
        dense -= dense[fitted].mean(axis=0)
        _, axes = np.linalg.eigh(dense[fitted].T @ dense[fitted])
        places = dense @ axes[:, -N_COMPONENTS:]
        found = KMeans(k, n_init=3, random_state=seed).fit(places[fitted])
        return reassigned(counts, merged(counts, found.predict(places)))


def merged(counts: sparse.csr_matrix, clusters: np.ndarray) -> np.ndarray:
    """Join clusters that chance, depth or the soup itself have set apart.

    The nearest two are joined until all are `LEAST_APART` or more apart.
    """
    clusters = clusters.copy()
    while True:
        names = np.unique(clusters)
        sums = np.stack([column_sums(counts[clusters == name]) for name in names])
        whole = np.maximum(sums.sum(axis=1), 1)
        profiles = sums / whole[:, None]
        chance = (sums > 0).sum(axis=1) / whole
        apart = np.full((len(names), len(names)), np.inf)
        for a in range(len(names)):
            for b in range(a):
                both = profiles[a] + profiles[b]
                seen = both > 0
                square = (profiles[a] - profiles[b])[seen] ** 2 / both[seen] * 2
                apart[a, b] = square.sum() - chance[a] - chance[b]
        a, b = np.unravel_index(apart.argmin(), apart.shape)
        if not apart[a, b] < LEAST_APART:
            return clusters
        clusters[clusters == names[a]] = names[b]


def log_likelihoods(
    counts: sparse.csr_matrix, profiles: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Return how well each profile explains each cell (cells x profiles, nats).

    `sizes` are the counts that a profile was estimated from. A gene of which few are
    expected is held near its average over the profiles (the mean of a gamma posterior,
    whose prior has the shape `PRIOR`); what chance in the others costs a profile is
    given back, so that small clusters are not at a disadvantage.
    """
    mean = profiles.mean(axis=0)
    expected = sizes[:, None] * mean
    trust = expected / (expected + PRIOR)
    given_back = (trust**2).sum(axis=1) / (2 * sizes)
    shrunk = trust * profiles + (1 - trust) * mean
    shrunk /= np.maximum(shrunk.sum(axis=1, keepdims=True), 1e-12)
    # a gene that no profile has tells nothing
    logs = np.log(np.where(mean > 0, shrunk, 1)).T
    return counts @ logs + row_sums(counts)[:, None] * given_back


def profiles_of(
    counts: sparse.csr_matrix, clusters: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the profile of each cluster (clusters x genes), and its counts."""
    sums = np.stack([column_sums(counts[clusters == c]) for c in np.unique(clusters)])
    sizes = np.maximum(sums.sum(axis=1), 1)
    return sums / sizes[:, None], sizes


def reassigned(counts: sparse.csr_matrix, clusters: np.ndarray) -> np.ndarray:
    """Give each cell to the cluster that explains its counts best.

    Cells with few counts are often off in the components' space; taken for another
    type, they would look as if they held more of the soup. A cell is judged by profiles
    of the other half of the cells, because its own would always hold it.
    """
    folds = np.arange(len(clusters)) % 2
    for _ in range(N_ROUNDS):
        names = np.unique(clusters)
        if len(names) < 2:
            break
        moved = clusters.copy()
        for fold in (0, 1):
            here, other = folds == fold, folds != fold
            known = names[np.isin(names, clusters[other])]
            profiles = profiles_of(counts[other], clusters[other])
            moved[here] = known[log_likelihoods(counts[here], *profiles).argmax(axis=1)]
        if (moved == clusters).all():
            break
        clusters = moved
    return clusters


def doublets(counts: sparse.csr_matrix, clusters: np.ndarray) -> np.ndarray:
    """Tell which cells two clusters explain better than one: half of each.

    Only cells with more counts than the middle of their cluster are judged: one with
    few may hold much of the soup, which is a mixture as well.
    """
    totals = row_sums(counts)
    folds = np.arange(len(totals)) % 2
    found = np.zeros(len(totals), dtype=bool)
    deep = np.zeros(len(totals), dtype=bool)
    for name in np.unique(clusters):
        here = clusters == name
        deep[here] = totals[here] > np.median(totals[here])
    for fold in (0, 1):
        here, other = deep & (folds == fold), folds != fold
        if not here.any() or not other.any():
            continue
        profiles, sizes = profiles_of(counts[other], clusters[other])
        a, b = np.triu_indices(len(sizes), k=1)
        if not len(a):
            continue
        pairs = (profiles[a] + profiles[b]) / 2
        sizes_pairs = 4 / (1 / sizes[a] + 1 / sizes[b])
        scores = log_likelihoods(
            counts[here],
            np.vstack([profiles, pairs]),
            np.concatenate([sizes, sizes_pairs]),
        )
        one, two = scores[:, : len(sizes)], scores[:, len(sizes) :]
        found[here] = two.max(axis=1) > one.max(axis=1) + SURE
    return found


def without_cell(
    counts: sparse.csr_matrix,
    clusters: np.ndarray,
    soup: np.ndarray,
    *,
    soup_size: float,
    largest_empty: float,
) -> np.ndarray:
    """Tell which called barcodes are droplets of soup without a cell.

    They have hardly more counts than the largest barcodes that were not called, and are
    likelier draws from the soup than from any cluster of cells, or from half of both.
    """
    totals = row_sums(counts)
    is_small = totals <= ROOM_ABOVE_EMPTY * largest_empty
    found = np.zeros(len(totals), dtype=bool)
    folds = np.arange(len(totals)) % 2
    # a cluster holds fewer of them, and is told better from the soup, in each round
    for _ in range(N_ROUNDS):
        profiles, sizes = profiles_of(counts[~found], clusters[~found])
        both = profiles + soup
        square = np.divide((profiles - soup) ** 2, both, out=0 * both, where=both > 0)
        distance = 2 * square.sum(axis=1) - (profiles > 0).sum(axis=1) / sizes
        is_large = [
            np.median(totals[(clusters == name) & ~found])
            > ROOM_OF_CLUSTER * largest_empty
            for name in np.unique(clusters[~found])
        ]
        of_cells = np.unique(clusters[~found])[(distance > FAR_FROM_SOUP) | is_large]
        if not is_small.any() or not len(of_cells):
            return found
        before, found = found, np.zeros(len(totals), dtype=bool)
        for fold in (0, 1):
            here = is_small & (folds == fold)
            other = ~before & (folds != fold) & np.isin(clusters, of_cells)
            if not here.any() or not other.any():
                continue
            profiles, sizes = profiles_of(counts[other], clusters[other])
            # a cell that dies in much soup is a cell still
            mixed = (profiles + soup) / 2
            sizes_mixed = 4 / (1 / sizes + 1 / soup_size)
            scores = log_likelihoods(
                counts[here],
                np.vstack([soup, profiles, mixed]),
                np.concatenate([[soup_size], sizes, sizes_mixed]),
            )
            found[here] = scores[:, 0] > scores[:, 1:].max(axis=1)
        if (found == before).all() or found.all():
            break
    return found


def slope_of_cluster(
    counts: sparse.csr_matrix, soups: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float] | None:
    """Return the soup's counts per droplet and their standard error; None: no answer.

    `y`, the place of a cell between its cluster's profile (0) and the soup (1), is
    weighted by gene so that its noise is least, and regressed on `1 / total`. `soups`
    are two estimates of the soup, by one half of the empty droplets' counts each: they
    keep chance from drawing the two ends apart.
    """
    totals = row_sums(counts)
    some = totals > 0
    counts, totals = counts[some], totals[some]
    inverse = 1 / np.maximum(totals, 1)
    kept = np.ones(len(totals), dtype=bool)
    for _ in range(N_ROUNDS):
        if kept.sum() < FEWEST_IN_CLUSTER or np.ptp(totals[kept]) == 0:
            return None
        places = places_toward(counts, totals, soups, kept=kept)
        if places is None:
            return None
        relative = inverse / inverse[kept].mean()
        trust = 1 / (1 + relative)
        fit = np.polyfit(
            inverse[kept], places[kept].sum(axis=1), 1, w=trust[kept] ** 0.5
        )
        residual = places.sum(axis=1) - np.polyval(fit, inverse)
        middle = np.median(residual[kept])
        spread = 1.4826 * np.median(np.abs(residual[kept] - middle))
        limit = OUTLIER_MADS * spread * np.sqrt((1 + relative) / 2)
        inside = np.abs(residual - middle) <= limit
        if (inside == kept).all():
            break
        kept = inside
    if kept.sum() < FEWEST_IN_CLUSTER:
        return None
    weight = trust[kept] / trust[kept].sum()
    mean = weight @ inverse[kept]
    variance = weight @ (inverse[kept] - mean) ** 2
    noise = weight @ residual[kept] ** 2 * kept.sum() / (kept.sum() - 2)
    error = np.sqrt(noise / (variance * kept.sum()))
    # droplets with more soup have more counts, which flattens the slope: by the
    # variance that two halves of the genes have in common
    halves = [
        half - np.polyval(np.polyfit(inverse[kept], half, 1), inverse[kept])
        for half in places[kept].T
    ]
    depths = inverse[kept]
    shared = min(
        max(0.0, 4 * (weight * depths) @ (halves[0] * halves[1])),
        (LARGEST_SPREAD * fit[0]) ** 2 * (weight @ depths**3),
    )
    slope = fit[0] + shared / variance
    # the slope is the amount by 1 - its own share
    scale = max(1 + slope / totals[kept].mean(), 0.1)
    return slope / scale, error / scale**2


def places_toward(
    counts: sparse.csr_matrix,
    totals: np.ndarray,
    soups: tuple[np.ndarray, np.ndarray],
    *,
    kept: np.ndarray,
) -> np.ndarray | None:
    """Return each cell's place between the profile of those kept (0) and the soup (1).

    It is the sum of two columns, one from each half of the genes. None: the profiles do
    not differ by more than chance.
    """
    is_first = np.arange(counts.shape[1]) % 2 == 0
    places = np.empty((len(totals), 2))
    folds = [np.arange(len(totals)) % 2 == fold for fold in (0, 1)]
    wholes = [max(totals[kept & fold].sum(), 1) for fold in folds]
    profiles = [
        column_sums(counts[kept & fold]) / whole
        for fold, whole in zip(folds, wholes, strict=True)
    ]
    # weights by one half of the cells and of the soup, the rest by the other
    for fold in (0, 1):
        level = np.maximum(profiles[1 - fold], 1 / wholes[1 - fold])
        depth = totals[kept].mean()
        weights = soups[1 - fold] - profiles[1 - fold]
        weights /= level * (1 + OVERDISPERSION * depth * level)
        distance = weights @ (soups[fold] - profiles[fold])
        if distance < LEAST_DISTANCE:
            return None
        halves = np.column_stack([weights * is_first, weights * ~is_first])
        rows = counts[folds[fold]] @ halves / totals[folds[fold], None]
        places[folds[fold]] = (rows - profiles[fold] @ halves) / distance
    return places


def combined(amounts: np.ndarray, errors: np.ndarray) -> tuple[float, float]:
    """Return mean and error of estimates that vary by more than their errors.

    Random effects (DerSimonian & Laird 1986): clusters that disagree widen the error.
    """
    weights = errors**-2.0
    mean = weights @ amounts / weights.sum()
    if len(amounts) > 1:
        excess = weights @ (amounts - mean) ** 2 - (len(amounts) - 1)
        scale = weights.sum() - (weights**2).sum() / weights.sum()
        weights = 1 / (errors**2 + max(0.0, excess / scale))
        mean = weights @ amounts / weights.sum()
    return float(mean), float(weights.sum() ** -0.5)


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The least ratio of counts to those of pure soup, over pairs of cluster and gene.

    `is_soup` tells that these pairs are of genes that are not expressed, by the gap to
    the next ratios; `may_be_soup` that they are many, as other genes can be.
    """

    ratio: float
    error: float
    is_soup: bool = False
    may_be_soup: bool = False

    def is_share(self, value: float, error: float) -> bool:
        """Return whether the ratio is the share, given the other source's answer."""
        agree = abs(value - self.ratio) < Z_APART * np.hypot(error, self.error)
        return self.is_soup or (self.may_be_soup and agree)


def least_ratio(
    counts: np.ndarray,
    in_soup: tuple[np.ndarray, np.ndarray],
    *,
    rng: np.random.Generator,
) -> Bound | None:
    """Return the least ratio of counts (clusters x genes) to those of pure soup.

    Pairs of cluster and gene are ordered by one half of the counts, of cells and of
    empty droplets (`in_soup`), and measured by the other, so that chance does not lower
    the ratio. The lowest are of genes that are not expressed if they vary around one
    ratio as counts do, and either the next have a much higher one, or they are many.

    Returns
    -------
    Bound or None
        None: too few pairs.
    """
    half = rng.binomial(counts.astype(np.int64), 0.5)
    halves = (half, counts - half)
    depth = counts.sum(axis=1) / 2
    wholes = [np.outer(depth, soup / max(soup.sum(), 1)) for soup in in_soup]
    enough = np.minimum(*wholes) >= LEAST_EXPECTED
    enough &= np.minimum(*in_soup) >= LEAST_IN_SOUP
    n = max(FEWEST_PAIRS, int(LOWEST_SHARE * enough.sum()))
    if enough.sum() < n:
        return None
    ordered = []
    for first in (0, 1):
        ratios = np.full(counts.shape, np.inf)
        ratios[enough] = (halves[first][enough] + 1) / wholes[first][enough]
        pairs = np.argsort(ratios, axis=None, kind="stable")[: enough.sum()]
        other = 1 - first
        # what is expected of a gene is known as well as it was counted in the soup
        unsure = 1 / in_soup[other][pairs % counts.shape[1]]
        ordered.append(
            (halves[other].ravel()[pairs], wholes[other].ravel()[pairs], unsure)
        )

    def of_lowest(n_pairs: int) -> tuple[float, float, float, float]:
        """Return ratio, its error, spread in units of chance, counts per pair."""
        found = []
        for seen, whole, unsure in ordered:
            seen, whole, unsure = seen[:n_pairs], whole[:n_pairs], unsure[:n_pairs]
            ratio = seen.sum() / whole.sum()
            mean = ratio * whole + 1e-9
            spread = ((seen - mean) ** 2 / (mean * (1 + mean * unsure))).mean()
            chance = max(spread, 1) / max(seen.sum(), 1) + unsure.mean() / n_pairs
            found.append((ratio, ratio * np.sqrt(chance), spread, seen.mean()))
        return tuple(np.mean(found, axis=0))

    least = of_lowest(n)
    alike, size = None, n
    while size <= enough.sum():
        now = of_lowest(size)
        if now[2] > 1 + 3 * np.sqrt(2 / size):
            break
        alike, n_alike = now, size
        size = int(size * 1.25)
    if alike is None or alike[0] > LARGEST_RATIO:
        return Bound(ratio=least[0], error=least[1])
    beyond = [part[n_alike : 2 * n_alike] for pair in ordered for part in pair[:2]]
    others = sum(map(np.sum, beyond[::2])) / max(sum(map(np.sum, beyond[1::2])), 1e-9)
    has_gap = others > GAP * alike[0]
    would_show = alike[3] * OTHER_SPREAD**2 > 3 * np.sqrt(2 / n_alike)
    is_many = n_alike >= MANY * n and would_show and alike[0] < WIDER_RATIO * least[0]
    return Bound(
        ratio=alike[0],
        error=alike[1],
        is_soup=bool(has_gap),
        may_be_soup=bool(is_many),
    )


def estimate_share(
    cells: sparse.csr_matrix,
    clusters: np.ndarray,
    empty: np.ndarray,
    *,
    is_mito: np.ndarray,
    largest_empty: float,
    seed: int,
) -> Share:
    """Return the share of the soup in the counts of all cells together.

    Called barcodes without a cell do not count.

    Mitochondrial genes are left out: they tell the state of a cell.

    Parameters
    ----------
    cells
        Counts (cells x genes).
    empty
        Counts per gene in empty droplets.
    largest_empty
        Counts of the largest droplets of soup.
    """
    n = cells.shape[0]
    if n < FEWEST_CELLS:
        return Share(estimated=False, reason=f"fewer than {FEWEST_CELLS} cells")
    nuclear = cells[:, ~is_mito]
    in_soup = empty[~is_mito]
    totals = row_sums(nuclear)
    if not in_soup.sum() or not totals.sum():
        return Share(estimated=False, reason="no counts beside mitochondrial genes")
    is_empty = without_cell(
        nuclear,
        clusters,
        in_soup / in_soup.sum(),
        soup_size=in_soup.sum(),
        largest_empty=largest_empty,
    )
    n_empty = int(is_empty.sum())
    size = float(np.quantile(row_sums(cells)[is_empty], NEARLY_ALL)) if n_empty else 0
    told = {"n_without_cell": n_empty, "counts_without_cell": size}
    if n - n_empty < max(FEWEST_CELLS, (1 - MOST_WITHOUT_CELL) * n):
        reason = f"{n_empty} of {n} called barcodes cannot be told from the soup"
        return Share(estimated=False, reason=reason, **told)
    # among barcodes of that size the cells nearest to the soup were taken for it
    doubtful = np.quantile(totals[is_empty], NEARLY_ALL) if n_empty else 0
    nuclear, totals = nuclear[~is_empty], totals[~is_empty]
    clusters = clusters[~is_empty]
    rng = np.random.default_rng(seed)
    half = rng.binomial(in_soup.astype(np.int64), 0.5)
    soups = tuple(part / max(part.sum(), 1) for part in (half, in_soup - half))
    names = np.unique(clusters)
    clear = ~doublets(nuclear, clusters) & (totals > doubtful)
    found = [
        slope_of_cluster(nuclear[(clusters == name) & clear], soups) for name in names
    ]
    found = [pair for pair in found if pair is not None and 0 < pair[1] < np.inf]
    if not found:
        return Share(
            estimated=False,
            reason="no cells that differ from the soup",
            **told,
        )
    amount, error = combined(*np.array(found).T)
    mean = totals.mean()
    value, error = amount / mean, error / mean
    by_cluster = np.stack([column_sums(nuclear[clusters == name]) for name in names])
    bound = least_ratio(by_cluster, (half, in_soup - half), rng=rng)
    if bound is not None and bound.is_share(value, error):
        value, error = bound.ratio, bound.error
        low, high = value - Z95 * error, value + Z95 * error
        reason = "genes that clusters do not express are there at one ratio"
    elif error > LARGEST_ERROR:
        return Share(
            estimated=False,
            reason="the cells differ too little from the soup, or from each other in "
            f"depth: 95 % interval of {2 * Z95 * error:.0%}",
            **told,
        )
    else:
        low, high = value - Z95 * error, value + Z95 * error
        # where droplets with much RNA of their own hold more of the soup too, the slope
        # tells too little: only the bound is sure
        most = 1 if bound is None else bound.ratio + Z95 * bound.error
        value, high = min(value, most), max(high, most)
        reason = "cells with few counts are nearer to the soup"
    low, value, high = np.clip([low, value, high], 0, 1)
    return Share(
        estimated=True,
        reason=reason,
        value=float(value),
        low=float(min(low, value)),
        high=float(max(high, value)),
        **told,
    )


def corrected_counts(
    cells: sparse.csr_matrix,
    clusters: np.ndarray,
    empty: np.ndarray,
    *,
    share: float,
    is_mito: np.ndarray,
    seed: int,
) -> tuple[sparse.csr_matrix, np.ndarray]:
    """Return counts without the soup's, and its share in each cell (of 1).

    A molecule of gene g in a cell is the soup's with the odds of what the soup brings
    to what the cell's cluster has of its own; each is kept or dropped by such a throw,
    so that counts stay whole and sums hold on average. A cell loses no more of a gene
    than the soup may bring by chance: what it has alone in its cluster it keeps. The
    mitochondrial share of the cell's own RNA is that of the cell.

    Parameters
    ----------
    cells
        Counts (cells x genes).
    share
        Share of the soup in all counts of the cells: the same amount in each droplet.
    """
    rng = np.random.default_rng(seed)
    totals = row_sums(cells)
    soup = empty / empty.sum()
    each = np.minimum(share * totals.mean() / np.maximum(totals, 1), LARGEST_SHARE) * (
        totals > 0
    )
    mito_soup = soup[is_mito].sum()
    mito = row_sums(cells[:, is_mito]) / np.maximum(totals, 1)
    mito_own = np.clip((mito - each * mito_soup) / (1 - each), 0, 1)
    own = np.zeros((clusters.max(initial=-1) + 1, len(soup)))
    for name in np.unique(clusters):
        here = clusters == name
        sums = column_sums(cells[here])
        brought = (each * totals)[here].sum() * soup
        # what chance adds to the soup is not the cluster's own
        rest = np.maximum(sums - brought - np.sqrt(brought), 0)
        for genes in (is_mito, ~is_mito):
            own[name, genes] = rest[genes] / max(rest[genes].sum(), 1e-12)

    values = cells.data.copy()
    for start in range(0, cells.shape[0], CHUNK):
        stop = min(start + CHUNK, cells.shape[0])
        part = slice(cells.indptr[start], cells.indptr[stop])
        cell = np.repeat(
            np.arange(start, stop), np.diff(cells.indptr[start : stop + 1])
        )
        gene = cells.indices[part]
        brought = each[cell] * soup[gene]
        kind = np.where(is_mito[gene], mito_own[cell], 1 - mito_own[cell])
        owned = (1 - each[cell]) * kind * own[clusters[cell], gene]
        odds = np.divide(
            brought, brought + owned, out=np.zeros(len(gene)), where=brought > 0
        )
        expected = brought * totals[cell]
        most = np.ceil(expected + 2 * np.sqrt(expected)).astype(values.dtype)
        dropped = rng.binomial(values[part], odds).astype(values.dtype)
        values[part] -= np.minimum(dropped, most)
    kept = sparse.csr_matrix((values, cells.indices, cells.indptr), shape=cells.shape)
    kept = kept.copy()
    kept.eliminate_zeros()
    return kept, each
