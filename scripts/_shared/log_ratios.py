"""Linear models of log ratios, with moderated variances and a robust reference.

The model is LinDA's (Zhou et al. 2022, Genome Biology 23:95). Its plain t-test finds
little with few samples, so variances are moderated as in limma (Smyth 2004, Stat. Appl.
Genet. Mol. Biol. 3:3), along the abundance; and instead of the mode of the effects,
Tukey's biweight is the reference, because its weights tell its standard error (Beaton
and Tukey 1974, Technometrics 16:147).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special, stats

from _shared.trigamma import inverse_trigamma

# added to every count, so that a type without cells has a logarithm
PSEUDOCOUNT = 0.5
# variances are raised to this part of their median, as limma does
LEAST_VARIANCE = 1e-5
# a variance below this is rounding
NO_VARIANCE = 1e-20
# effects this many standard errors from the typical one do not count for it
REACH = 4.685
# the least part of an effect's variance that is left when the reference goes along
LEAST_OWN = 0.1
# of few variances the spread is not known well enough to trust their trend further
MOST_DEGREES = 4
# with fewer types there is neither a typical one nor a trend
LEAST_TYPES = 3
LEVEL = 0.95
COLUMNS = ["log2_ratio", "log2_ratio_se", "ci_low", "ci_high"]
COLUMNS += ["statistic", "p_value", "padj"]


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A contrast of linear models, one value per column of the response."""

    effect: np.ndarray
    # of the residuals, and the factor that makes it that of the effect
    variance: np.ndarray
    leverage: float
    degrees: int


def centered_log_ratio(counts: pd.DataFrame) -> pd.DataFrame:
    """Return log counts minus their mean over the types of a sample."""
    logs = np.log(counts + PSEUDOCOUNT)
    return logs.sub(logs.mean(axis=1), axis=0)


def fitted(y: np.ndarray, matrix: np.ndarray, vector: np.ndarray) -> Fit:
    """Fit every column of `y`; variances of no degrees of freedom are missing."""
    n, n_coefficients = matrix.shape
    inverse = np.linalg.inv(matrix.T @ matrix)
    coefficients = inverse @ matrix.T @ y
    squares = ((y - matrix @ coefficients) ** 2).sum(axis=0)
    degrees = n - n_coefficients
    return Fit(
        effect=vector @ coefficients,
        variance=squares / degrees if degrees else np.full_like(squares, np.nan),
        leverage=float(vector @ inverse @ vector),
        degrees=degrees,
    )


def moderated(
    variance: np.ndarray, degrees: int, abundance: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return variances drawn towards their trend over log abundance, and their df."""
    n = len(variance)
    if n < LEAST_TYPES:
        return variance, degrees
    variance = np.maximum(variance, LEAST_VARIANCE * np.median(variance))
    half = degrees / 2
    # the mean of the log of a variance is below the log of its mean
    logs = np.log(variance) + np.log(half) - special.digamma(half)
    axes = np.column_stack([np.ones(n), abundance])
    trend = axes @ np.linalg.lstsq(axes, logs)[0]
    # how much variances differ between types of one abundance, chance taken off
    spread = ((logs - trend) ** 2).sum() / (n - 2) - special.polygamma(1, half)
    most = degrees * min(n, MOST_DEGREES)
    if spread <= 0:
        return np.exp(trend), most
    prior_half = inverse_trigamma(spread)
    prior = np.exp(trend + special.digamma(prior_half) - np.log(prior_half))
    total = degrees + 2 * prior_half
    drawn = (2 * prior_half * prior + degrees * variance) / total
    return drawn, min(total, most)


def typical_weights(effect: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return the weights (sum 1) of effects in the one that most types share.

    Of two types none is the typical one, and the weights are 0.
    """
    n = len(effect)
    if n < LEAST_TYPES:
        return np.zeros(n)
    center = np.median(effect)
    for _ in range(100):
        distance = np.abs(effect - center) / (REACH * np.sqrt(variance))
        weights = np.where(distance < 1, (1 - distance**2) ** 2, 0) / variance
        if not weights.any():
            # the median of an even number, half of them far on each side
            return np.full(n, 1 / n)
        weights /= weights.sum()
        before, center = center, weights @ effect
        if abs(center - before) < 1e-10:
            break
    return weights


def plain_effects(
    counts: pd.DataFrame, matrix: np.ndarray, vector: np.ndarray
) -> pd.DataFrame:
    """Return `log2_ratio` alone, the types as index: the median effect is set to 0."""
    effect = fitted(centered_log_ratio(counts).to_numpy(), matrix, vector).effect
    if len(effect) >= LEAST_TYPES:
        effect = effect - np.median(effect)
    return pd.DataFrame({"log2_ratio": effect / np.log(2)}, index=counts.columns)


def moderated_effects(
    counts: pd.DataFrame, matrix: np.ndarray, vector: np.ndarray
) -> pd.DataFrame:
    """Return effect, error, interval, t, p and padj of a contrast, per type.

    `counts` (samples x types) has the rows of the model matrix, `vector` a weight for
    each of its columns. The effect is log2 of the ratio to the typical type.
    """
    fit = fitted(centered_log_ratio(counts).to_numpy(), matrix, vector)
    if np.median(fit.variance) < NO_VARIANCE:
        # samples that are all alike tell nothing of the error
        return plain_effects(counts, matrix, vector).reindex(columns=COLUMNS)
    abundance = np.log(counts.sum(axis=0).to_numpy() + PSEUDOCOUNT)
    variance, degrees = moderated(fit.variance, fit.degrees, abundance)
    variance = variance * fit.leverage
    weights = typical_weights(fit.effect, variance)
    ratio = (fit.effect - weights @ fit.effect) / np.log(2)
    # the error of the reference, part of which is that of the type itself
    beside = variance * (1 - 2 * weights) + weights**2 @ variance
    se = np.sqrt(np.maximum(beside, LEAST_OWN * variance)) / np.log(2)
    half_width = stats.t.isf((1 - LEVEL) / 2, degrees) * se
    p_value = 2 * stats.t.sf(np.abs(ratio / se), degrees)
    return pd.DataFrame(
        {
            "log2_ratio": ratio,
            "log2_ratio_se": se,
            "ci_low": ratio - half_width,
            "ci_high": ratio + half_width,
            "statistic": ratio / se,
            "p_value": p_value,
            "padj": stats.false_discovery_control(p_value),
        },
        index=counts.columns,
    )
