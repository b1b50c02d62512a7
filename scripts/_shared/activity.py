"""Activity of regulators from their targets: a univariate linear model of each.

The method `ulm` of decoupler (Badia-i-Mompel et al. 2022, doi:10.1093/bioadv/vbac016):
over all genes, the values are regressed on the weights that a regulator gives them, 0
for a gene that is none of its targets; the activity is the t-value of the slope.
"""

import numpy as np
import pandas as pd
from scipy import sparse, stats

# targets that are named for an activity
N_TOP = 10
TINY = 2.2e-16


def weight_matrix(
    network: dict[str, dict[str, float]], genes: pd.Index
) -> sparse.csr_matrix:
    """Return the weights of genes (rows) for the sources of a network (columns)."""
    place = {gene: n for n, gene in enumerate(genes)}
    entries = [
        (place[target], n, weight)
        for n, targets in enumerate(network.values())
        for target, weight in targets.items()
        if target in place
    ]
    rows, columns, weights = zip(*entries, strict=True) if entries else ((), (), ())
    shape = len(genes), len(network)
    return sparse.csr_matrix((weights, (rows, columns)), shape=shape, dtype=float)


def activities(
    values: np.ndarray, weights: sparse.csr_matrix
) -> tuple[np.ndarray, np.ndarray]:
    """Return the t-values of the slopes and their p-values (observations x sources).

    Parameters
    ----------
    values
        Observations x genes.
    weights
        Genes x sources. Where the weights or the values of a regression are all equal,
        its slope is not known and t is NaN.
    """
    n = weights.shape[0]
    centered = values - values.mean(axis=1, keepdims=True)
    mean = np.asarray(weights.mean(axis=0)).ravel()
    spread_w = np.asarray(weights.power(2).sum(axis=0)).ravel() - n * mean**2
    # the weights need no centering beside centered values
    joint = np.asarray((weights.T @ centered.T).T)
    scale = np.sqrt(np.outer((centered**2).sum(axis=1), spread_w.clip(min=0)))
    flat = np.outer(np.ptp(values, axis=1) == 0, np.ones(len(mean), bool))
    flat |= spread_w <= 1e-12 * np.asarray(weights.power(2).sum(axis=0)).ravel()
    with np.errstate(divide="ignore", invalid="ignore"):
        r = np.where(flat, np.nan, joint / scale).clip(-1, 1)
    # finite for a perfect fit, as decoupler has it
    t = r * np.sqrt((n - 2) / ((1 - r + TINY) * (1 + r + TINY)))
    return t, 2 * stats.t.sf(np.abs(t), n - 2)


def top_targets(values: pd.Series, targets: dict[str, float], sign: float) -> list[str]:
    """Return the targets that speak most for an activity of this sign, first first."""
    own = pd.Series({g: w for g, w in targets.items() if g in values.index})
    pull = sign * own * (values[own.index] - values.mean())
    pull = pull[pull > 0].sort_index().sort_values(ascending=False, kind="stable")
    return pull.index[:N_TOP].tolist()
