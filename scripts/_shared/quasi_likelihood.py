"""Negative binomial models of many genes at once, tested by quasi-likelihood.

As in edgeR 4 (Lund 2012; Chen, Lun and Smyth 2016; Chen and others 2025): the
dispersion follows the mean, what a gene varies beyond it is a factor of its own, drawn
towards that of all genes, and its uncertainty enters the F test. Counts are samples x
genes, all logarithms natural.
"""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from scipy import ndimage, special, stats

from _shared.trigamma import inverse_trigamma

# size factors from the genes found in every sample need this many of them
MIN_SHARED_GENES = 50
# the trend of dispersion over mean: genes it is estimated from, and in one window
TREND_GENES = 3_000
WINDOW = 200
DISPERSIONS = np.geomspace(0.003, 6, 14)
# means for which the deviance of a count is tabulated; beyond, it hardly changes
MEANS = np.geomspace(1e-4, 1000, 70)
# at first, and where there are no replicates
GUESS = 0.1
# counts added for the fold change of a gene, so that none is infinite (as in edgeR)
PRIOR = 0.125
LARGEST = 30.0
# fewer residual degrees of freedom are none
SMALLEST_DF = 0.01
TINY = 1e-8


def size_factors(counts: np.ndarray) -> np.ndarray:
    """Return the depth of each sample, 1 on (geometric) average.

    The median of ratios over the genes found in every sample; where these are few, as
    in samples of few cells, the total.
    """
    shared = (counts > 0).all(axis=0)
    if shared.sum() >= MIN_SHARED_GENES:
        logs = np.log(counts[:, shared])
        depth = np.median(logs - logs.mean(axis=0), axis=1)
    else:
        depth = np.log(np.maximum(counts.sum(axis=1), 1))
    return np.exp(depth - depth.mean())


def unit_deviances(
    counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray
) -> np.ndarray:
    """Return the deviance of each count."""
    k = 1 / dispersion
    unit = special.xlogy(counts, counts / mean)
    unit -= (counts + k) * np.log((counts + k) / (mean + k))
    return 2 * np.maximum(unit, 0)


def deviances(
    counts: np.ndarray, mean: np.ndarray, dispersion: np.ndarray
) -> np.ndarray:
    """Return the deviance of each gene."""
    return unit_deviances(counts, mean, dispersion).sum(axis=0)


@cache
def moments_table() -> np.ndarray:
    """Return logs of the moments (2 x `MEANS` x `DISPERSIONS`) of a count's deviance.

    The sums go over all counts that can be expected, so they are exact.
    """
    table = np.empty((2, len(MEANS), len(DISPERSIONS)))
    for i, mean in enumerate(MEANS):
        for j, dispersion in enumerate(DISPERSIONS):
            k = 1 / dispersion
            share = k / (k + mean)
            counts = np.arange(stats.nbinom.isf(1e-10, k, share) + 1)
            chance = stats.nbinom.pmf(counts, k, share)
            unit = unit_deviances(counts, mean, dispersion)
            first = chance @ unit
            table[:, i, j] = first, chance @ (unit - first) ** 2
    return np.log(table)


def deviance_moments(
    mean: np.ndarray, dispersion: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of the deviance of counts, samples x genes each."""
    where = np.broadcast_arrays(
        *(
            np.log(np.maximum(values, TINY) / grid[0]) / np.log(grid[1] / grid[0])
            for values, grid in ((mean, MEANS), (dispersion, DISPERSIONS))
        )
    )
    first, second = moments_table()
    return tuple(
        np.exp(ndimage.map_coordinates(table, where, order=1, mode="nearest"))
        for table in (first, second)
    )


def means_of(
    coefficients: np.ndarray, matrix: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Return fitted means; `offsets` are per sample, or samples x genes."""
    return np.exp(np.clip(matrix @ coefficients + offsets, -LARGEST, LARGEST))


def information(
    mean: np.ndarray, matrix: np.ndarray, dispersion: np.ndarray
) -> np.ndarray:
    """Return X'WX of each gene (genes x coefficients x coefficients)."""
    n, p = matrix.shape
    products = (matrix[:, :, None] * matrix[:, None, :]).reshape(n, p * p)
    weights = mean / (1 + dispersion * mean)
    # so little that it decides nothing but whether a matrix of zeros has an inverse
    return (weights.T @ products).reshape(-1, p, p) + TINY * np.eye(p)


def fitted_coefficients(
    counts: np.ndarray,
    matrix: np.ndarray,
    offsets: np.ndarray,
    dispersion: np.ndarray,
    *,
    start: np.ndarray | None = None,
    steps: int = 30,
) -> np.ndarray:
    """Return the coefficients (coefficients x genes) by Fisher scoring."""
    if start is None:
        start = np.linalg.pinv(matrix) @ (np.log(counts + 0.5) - offsets)
    result = start.copy()
    active = np.arange(counts.shape[1])
    last = np.full(len(active), np.inf)
    for _ in range(steps):
        y, phi, own = counts[:, active], dispersion[active], result[:, active]
        mean = means_of(own, matrix, offsets[:, active])
        slope = matrix.T @ ((y - mean) / (1 + phi * mean))
        change = np.linalg.solve(information(mean, matrix, phi), slope.T[..., None])
        # no step leads further than the whole range of a count
        result[:, active] = own + np.clip(change[..., 0].T, -5, 5)
        deviance = deviances(y, mean, phi)
        moves = np.abs(last[active] - deviance) > 1e-6 * (deviance + 0.1)
        last[active] = deviance
        active = active[moves]
        if not len(active):
            break
    return result


def profile_likelihoods(
    counts: np.ndarray, matrix: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Return Cox-Reid adjusted log-likelihoods, `DISPERSIONS` x genes."""
    found, coefficients = [], None
    for value in DISPERSIONS:
        phi = np.full(counts.shape[1], value)
        coefficients = fitted_coefficients(
            counts, matrix, offsets, phi, start=coefficients, steps=4
        )
        mean = means_of(coefficients, matrix, offsets)
        k = 1 / value
        terms = special.gammaln(counts + k) - special.gammaln(k)
        terms += special.xlogy(counts, mean / (mean + k)) - k * np.log1p(mean / k)
        _, determinant = np.linalg.slogdet(information(mean, matrix, phi))
        found.append(terms.sum(axis=0) - determinant / 2)
    return np.array(found)


def dispersion_trend(
    counts: np.ndarray, matrix: np.ndarray, offsets: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """Return the dispersion of each gene: that most likely for genes of its level."""
    order = np.argsort(level, kind="stable")
    chosen = order[
        np.linspace(0, len(order) - 1, min(len(order), TREND_GENES)).astype(int)
    ]
    each = profile_likelihoods(counts[:, chosen], matrix, offsets[:, chosen])
    n = len(chosen)
    size = min(max(WINDOW, n // 10), n)
    sums = np.pad(np.cumsum(each, axis=1), ((0, 0), (1, 0)))
    first = np.clip(np.arange(n) - size // 2, 0, n - size)
    total = sums[:, first + size] - sums[:, first]
    # the top of the parabola through the best value and its neighbours
    best = np.clip(total.argmax(axis=0), 1, len(DISPERSIONS) - 2)
    low, top, high = (total[best + k, np.arange(n)] for k in (-1, 0, 1))
    shift = 0.5 * (low - high) / np.minimum(low - 2 * top + high, -TINY)
    step = np.log(DISPERSIONS[1] / DISPERSIONS[0])
    logs = np.log(DISPERSIONS[best]) + step * np.clip(shift, -1, 1)
    return np.exp(np.interp(level, level[chosen], logs))


def leverages(
    mean: np.ndarray, matrix: np.ndarray, dispersion: np.ndarray
) -> np.ndarray:
    """Return the share of each count that its own fit takes up, samples x genes."""
    weights = mean / (1 + dispersion * mean)
    inverse = np.linalg.inv(information(mean, matrix, dispersion))
    return weights * np.einsum("ni,gij,nj->ng", matrix, inverse, matrix, optimize=True)


def residual_scatter(
    counts: np.ndarray, mean: np.ndarray, matrix: np.ndarray, dispersion: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the residual deviance of each gene and its degrees of freedom.

    The deviance of a small count has neither mean nor variance of a chi-square of one
    degree of freedom. Each is scaled to the chi-square that has both, so that groups of
    zeros tell nothing (edgeR 4; Chen and others 2025).
    """
    first, second = deviance_moments(mean, dispersion)
    scale = 2 * first / second
    rest = np.clip(1 - leverages(mean, matrix, dispersion), 0, 1)
    df = (rest * (mean > MEANS[0]) * scale * first).sum(axis=0)
    deviance = (scale * unit_deviances(counts, mean, dispersion)).sum(axis=0)
    return deviance, np.where(df > SMALLEST_DF, df, 0)


def squeezed(
    variances: np.ndarray, df: np.ndarray, level: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return variances drawn towards their trend over level, and its weight (df).

    The weight is infinite where variances differ no more than by chance (Smyth 2004).
    """
    known = df > 0
    floor = 1e-5 * max(np.median(variances[known]), TINY)
    half = df[known] / 2
    logs = np.log(np.maximum(variances[known], floor))
    logs += np.log(half) - special.digamma(half)
    ranks = stats.rankdata(level) / len(level)
    degree = 3 if known.sum() >= 100 else 0
    trend = np.polynomial.Polynomial.fit(ranks[known], logs, degree, domain=[0, 1])
    rest = logs - trend(ranks[known])
    spread = (rest**2).sum() / max(known.sum() - degree - 1, 1)
    spread -= special.polygamma(1, half).mean()
    if spread <= TINY:
        return np.exp(trend(ranks)), np.inf
    prior_df = 2 * inverse_trigamma(spread)
    shift = special.digamma(prior_df / 2) - np.log(prior_df / 2)
    prior = np.exp(trend(ranks) + shift)
    return (prior_df * prior + df * variances) / (prior_df + df), prior_df


@dataclass(frozen=True)
class Model:
    """Counts of samples x genes (floats, no gene without a count) and their design."""

    counts: np.ndarray
    matrix: np.ndarray

    @cached_property
    def depth(self) -> np.ndarray:
        """Size factors of the samples."""
        return size_factors(self.counts)

    @cached_property
    def offsets(self) -> np.ndarray:
        """Logarithms of the size factors, samples x genes."""
        return np.broadcast_to(np.log(self.depth)[:, None], self.counts.shape)

    @cached_property
    def base_mean(self) -> np.ndarray:
        """Mean of the counts over the size factors."""
        return (self.counts / self.depth[:, None]).mean(axis=0)

    @cached_property
    def dispersion(self) -> np.ndarray:
        """Dispersion by the trend; without replicates a guess."""
        n, p = self.matrix.shape
        if n <= p:
            return np.full(self.counts.shape[1], GUESS)
        level = np.log(self.base_mean)
        return dispersion_trend(self.counts, self.matrix, self.offsets, level)

    @cached_property
    def coefficients(self) -> np.ndarray:
        """Coefficients of the model, coefficients x genes."""
        return fitted_coefficients(
            self.counts, self.matrix, self.offsets, self.dispersion
        )

    @cached_property
    def scatter(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Deviance, squeezed quasi-dispersion and degrees of freedom of each gene."""
        mean = means_of(self.coefficients, self.matrix, self.offsets)
        deviance = deviances(self.counts, mean, self.dispersion)
        rest, df = residual_scatter(self.counts, mean, self.matrix, self.dispersion)
        variance = np.divide(rest, df, out=np.zeros_like(df), where=df > 0)
        squeezed_variance, prior_df = squeezed(variance, df, self.base_mean)
        # no gene can know more than all of them together
        return deviance, squeezed_variance, np.minimum(df + prior_df, df.sum())

    def effects(self, vector: np.ndarray, *, prior: float = PRIOR) -> np.ndarray:
        """Return log2 fold changes, `prior` counts being added to an average sample."""
        return vector @ self.padded(prior)[0] / np.log(2)

    def padded(self, prior: float) -> tuple[np.ndarray, np.ndarray]:
        """Return coefficients with `prior` counts added to a sample, and the means.

        They are added in proportion to the size factors, so depth makes no effect.
        """
        more = prior * self.depth / self.depth.mean()
        counts = self.counts + more[:, None]
        # the padded counts have the same expected ratios to depth in all samples
        coefficients = fitted_coefficients(
            counts, self.matrix, self.offsets, self.dispersion
        )
        return coefficients, means_of(coefficients, self.matrix, self.offsets)

    @cached_property
    def covariance(self) -> np.ndarray:
        """Inverse information of the padded counts, genes x coefficients squared."""
        _, mean = self.padded(PRIOR)
        return np.linalg.inv(information(mean, self.matrix, self.dispersion))

    def tested(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """Return effect, its error, root of F with the effect's sign, and p-value."""
        deviance, variance, df = self.scatter
        # the same model without the contrast: coefficients orthogonal to it
        rest = np.linalg.svd(vector[None])[2][1:].T
        matrix = self.matrix @ rest
        if rest.shape[1]:
            start = rest.T @ self.coefficients
            null = fitted_coefficients(
                self.counts, matrix, self.offsets, self.dispersion, start=start
            )
            mean = means_of(null, matrix, self.offsets)
        else:
            mean = np.exp(self.offsets)
        gain = deviances(self.counts, mean, self.dispersion) - deviance
        ratio = np.maximum(gain, 0) / variance
        effect = self.effects(vector)
        error = np.einsum("i,gij,j->g", vector, self.covariance, vector)
        return {
            "log2_fold_change": effect,
            "lfc_se": np.sqrt(variance * error) / np.log(2),
            "statistic": np.sign(effect) * np.sqrt(ratio),
            "p_value": stats.f.sf(ratio, 1, df),
        }
