"""Effects drawn towards 0 as far as their errors ask for: adaptive shrinkage.

As ashr (Stephens 2017): true effects are taken for draws from a mixture of normal
distributions around 0, whose shares are learned from the effects of all genes.
"""

import numpy as np
from scipy import stats

# weight of the prior for effects of 0, in genes, as in ashr
NULL_WEIGHT = 10
STEPS = 500
# beyond, a p-value is too small for a number
SMALLEST_P = 1e-300


def normal_errors(
    effects: np.ndarray, errors: np.ndarray, p_values: np.ndarray
) -> np.ndarray:
    """Return the errors with which a normal test has the p-values of the real one."""
    z = stats.norm.isf(np.maximum(p_values, SMALLEST_P) / 2)
    known = (z > 1e-3) & (np.abs(effects) > 1e-6)
    return np.divide(np.abs(effects), z, out=errors.copy(), where=known)


def scales_of(effects: np.ndarray, errors: np.ndarray) -> np.ndarray:
    """Return standard deviations of the mixture: 0, and a geometric grid."""
    low = errors.min() / 10
    high = 2 * np.sqrt(max((effects**2 - errors**2).max(), (8 * low) ** 2))
    n = int(np.ceil(2 * np.log2(high / low))) + 1
    return np.concatenate([[0], high / np.sqrt(2.0) ** np.arange(n)])


def learned_shares(likelihoods: np.ndarray) -> np.ndarray:
    """Return the shares of the components by EM; `likelihoods` is genes x components.

    The first component, no effect at all, has `NULL_WEIGHT` genes beforehand.
    """
    beforehand = np.zeros(likelihoods.shape[1])
    beforehand[0] = NULL_WEIGHT
    shares = np.full(likelihoods.shape[1], 1 / likelihoods.shape[1])
    for _ in range(STEPS):
        weights = shares / (likelihoods @ shares)[:, None] * likelihoods
        new = weights.sum(axis=0) + beforehand
        new /= new.sum()
        if np.abs(new - shares).max() < 1e-5:
            return new
        shares = new
    return shares


def shrunken(
    effects: np.ndarray, errors: np.ndarray, p_values: np.ndarray
) -> np.ndarray:
    """Return the mean of each effect given what was seen of it and of all others."""
    if not len(effects):
        return effects
    errors = np.maximum(normal_errors(effects, errors, p_values), 1e-6)
    scales = scales_of(effects, errors)
    spread = scales**2 + errors[:, None] ** 2
    logs = -0.5 * (np.log(spread) + effects[:, None] ** 2 / spread)
    likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
    weights = likelihoods * learned_shares(likelihoods)
    weights /= weights.sum(axis=1, keepdims=True)
    return effects * (weights * scales**2 / spread).sum(axis=1)
