"""Cell counts per sample and type with known effects, to judge tests of shares."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

# spread of a type between samples of one condition (log), drawn per type
SPREADS = (0.15, 0.45)
# the sum of the parameters of the Dirichlet distribution
CONCENTRATIONS = (40, 150)


@dataclass(frozen=True, kw_only=True)
class SharesPlan:
    """A cohort of samples; an effect is the log of the ratio of a type's weights."""

    n_reference: int = 4
    n_tested: int = 4
    n_types: int = 12
    noise: Literal["lognormal", "dirichlet"] = "lognormal"
    # place of the changed type, 0 being the most abundant; None: drawn at random
    changed: int | None = None
    # range of the size of the effect, its sign being random; (0, 0): none
    effect: tuple[float, float] = (1.0, 2.0)
    paired: bool = False
    cells: tuple[int, int] = (500, 5000)


def base_shares(n_types: int, rng: np.random.Generator) -> np.ndarray:
    """Return falling shares, the last two types being rare (1 %)."""
    shares = np.sort(rng.lognormal(0, 0.8, n_types))[::-1]
    shares[:-2] *= 0.98 / shares[:-2].sum()
    shares[:-2] = np.maximum(shares[:-2], 0.01)
    shares[-2:] = 0.01
    return shares / shares.sum()


def simulate_shares(
    plan: SharesPlan, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series]:
    """Return counts (samples x types), the samples, and the true log ratio per type.

    Log-normal: weights of a type are spread around their mean (and, paired, around that
    of the donor). Dirichlet: independent gamma weights, the shape of which is the mean
    share times a concentration; the unchanged types keep theirs. Cells are multinomial.
    """
    rng = np.random.default_rng(seed)
    names = [f"type{place:02d}" for place in range(plan.n_types)]
    shares = base_shares(plan.n_types, rng)
    truth = np.zeros(plan.n_types)
    place = rng.integers(plan.n_types) if plan.changed is None else plan.changed
    truth[place] = rng.choice([-1, 1]) * rng.uniform(*plan.effect)

    n = plan.n_reference + plan.n_tested
    tested = np.arange(n) >= plan.n_reference
    donors = np.where(tested, np.arange(n) - plan.n_reference, np.arange(n))
    donors = donors if plan.paired else np.arange(n)
    logs = np.log(shares) + np.outer(tested, truth)
    if plan.paired:
        logs = logs + rng.normal(0, 0.4, (n, plan.n_types))[donors]
    if plan.noise == "lognormal":
        spread = rng.uniform(*SPREADS, plan.n_types)
        weights = np.exp(logs + rng.normal(0, 1, logs.shape) * spread)
    else:
        weights = rng.gamma(np.exp(logs) * rng.uniform(*CONCENTRATIONS)) + 1e-300
    totals = np.exp(rng.uniform(*np.log(plan.cells), n)).astype(int)
    counts = rng.multinomial(totals, weights / weights.sum(axis=1, keepdims=True))
    index = pd.Index([f"s{i}" for i in range(n)], name="sample")
    samples = pd.DataFrame(
        {
            "condition": np.where(tested, "stim", "ctrl"),
            "donor": [f"d{donor}" for donor in donors],
        },
        index=index,
    )
    table = pd.DataFrame(counts, index=index, columns=pd.Index(names, name="cell_type"))
    return table, samples, pd.Series(truth, index=names)
