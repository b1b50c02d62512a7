"""How well changed shares are found, beside simpler tests, over simulated cohorts.

    python tests/benchmarks/composition_truth.py [--seeds 20] [--markdown]

One type of 8 to 20 changes by a factor of e to e^2 (log2: 1.4 to 2.9), up or down; the
last two types are rare (1 %), samples have 500 to 5,000 cells. Noise between samples is
log-normal (paired: with donors) or Dirichlet. `any`: a random type, `top`: the largest.

Per test at a false discovery rate of 5 %: the share of false among the found types, on
average over cohorts, and the share of changed types found. For the workflow's test also
how often the 95 % interval holds the truth, and the p-value of a Kolmogorov-Smirnov
test that p-values are uniform where conditions are permuted.

naive: chi-square of the pooled cells; arcsine: t-test of arcsine-transformed shares;
clr: t-test of centered log ratios; line: the workflow's.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/demo"), str(ROOT / "scripts")]

from _shared.design import (  # noqa: E402
    Contrast,
    Design,
    Term,
    contrast_vector,
    design_matrix,
)
from _shared.log_ratios import (  # noqa: E402
    centered_log_ratio,
    fitted,
    moderated_effects,
)
from simulated_shares import SharesPlan, simulate_shares  # noqa: E402

FDR = 0.05
STIM = Contrast(
    name="stim", terms=(Term(column="condition", tested="stim", reference="ctrl"),)
)


def plans() -> dict[str, SharesPlan]:
    """Return the cohorts to simulate, by name."""
    found = {}
    for noise in ("lognormal", "dirichlet"):
        for n_types in (8, 14, 20):
            for name, changed in (("any", None), ("top", 0)):
                found[f"{noise}, 4 v 4, {n_types} types, {name}"] = SharesPlan(
                    noise=noise, n_types=n_types, changed=changed
                )
        for n_reference, n_tested in ((3, 3), (3, 6), (2, 2)):
            found[f"{noise}, {n_reference} v {n_tested}, 12 types, any"] = SharesPlan(
                noise=noise, n_reference=n_reference, n_tested=n_tested
            )
    found["lognormal, 4 pairs, 12 types, any"] = SharesPlan(paired=True)
    found["lognormal, 4 pairs, 12 types, top"] = SharesPlan(paired=True, changed=0)
    return found


def naive(
    counts: pd.DataFrame, samples: pd.DataFrame, _matrix: np.ndarray, _vector
) -> np.ndarray:
    """Return p of chi-square tests that take cells for independent."""
    tested = (samples["condition"] == "stim").to_numpy()
    pooled = np.array([counts[tested].sum(), counts[~tested].sum()]).T
    others = pooled.sum(axis=0) - pooled
    return np.array(
        [
            stats.chi2_contingency([own, rest])[1] if own.any() else 1.0
            for own, rest in zip(pooled, others, strict=True)
        ]
    )


def t_test(y: np.ndarray, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Return p of plain t-tests of a contrast, per column."""
    fit = fitted(y, matrix, vector)
    t = fit.effect / np.sqrt(np.maximum(fit.variance, 1e-12) * fit.leverage)
    return 2 * stats.t.sf(np.abs(t), fit.degrees)


def arcsine(counts, _samples, matrix, vector) -> np.ndarray:
    """Return p of t-tests of arcsine-transformed shares."""
    shares = counts.div(counts.sum(axis=1), axis=0).to_numpy()
    return t_test(np.arcsin(np.sqrt(shares)), matrix, vector)


def clr(counts, _samples, matrix, vector) -> np.ndarray:
    """Return p of t-tests of centered log ratios."""
    return t_test(centered_log_ratio(counts).to_numpy(), matrix, vector)


def line(counts, _samples, matrix, vector) -> np.ndarray:
    """Return p of the workflow's test."""
    return moderated_effects(counts, matrix, vector)["p_value"].to_numpy()


METHODS: dict[str, Callable] = {
    "naive": naive,
    "arcsine": arcsine,
    "clr": clr,
    "line": line,
}


def model(plan: SharesPlan, samples: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the model matrix of a cohort and the weights of its contrast."""
    formula = "~ donor + condition" if plan.paired else "~ condition"
    design = Design(formula=formula, contrasts=(STIM,))
    matrix = design_matrix(samples, design).to_numpy()
    return matrix, contrast_vector(samples, design, STIM)


def judged(plan: SharesPlan, seed: int) -> list[dict]:
    """Return the figures of every method on a cohort."""
    counts, samples, truth = simulate_shares(plan, seed)
    matrix, vector = model(plan, samples)
    is_null = (truth == 0).to_numpy()
    rows = []
    for name, method in METHODS.items():
        p_values = method(counts, samples, matrix, vector)
        found = stats.false_discovery_control(p_values) < FDR
        row = {"method": name, "fdr": found[is_null].sum() / max(found.sum(), 1)}
        rows.append(row | {"power": found[~is_null].mean()})
    table = moderated_effects(counts, matrix, vector)
    log2_truth = truth / np.log(2)
    held = (table["ci_low"] <= log2_truth) & (log2_truth <= table["ci_high"])
    rows[-1] |= {"held": held.mean()}
    return rows


def permuted(plan: SharesPlan, seed: int, method: str) -> np.ndarray:
    """Return the p-values of a cohort without an effect, conditions permuted."""
    counts, samples, _ = simulate_shares(plan, seed)
    order = np.random.default_rng(seed).permutation(len(samples))
    samples = samples.assign(condition=samples["condition"].to_numpy()[order])
    return METHODS[method](counts, samples, *model(plan, samples))


def text(table: pd.DataFrame, *, markdown: bool) -> str:
    """Return a table for a terminal, or for a page."""
    if not markdown:
        return table.to_string()
    rows = [[table.index.name or "", *table.columns]]
    rows += [["---"] * len(rows[0])]
    rows += [[name, *values] for name, *values in table.itertuples()]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--markdown", action="store_true")
    asked = parser.parse_args()
    table = pd.DataFrame(
        [
            {"cohort": name, **row}
            for name, plan in plans().items()
            for seed in range(asked.seeds)
            for row in judged(plan, seed)
        ]
    )
    means = table.pivot_table(
        index="cohort", columns="method", values=["fdr", "power"], sort=False
    )
    means.loc["all"] = means.mean()
    percent = (100 * means).round(0).astype(int)
    both = pd.DataFrame(
        {
            name: [
                f"{fdr} / {power}"
                for fdr, power in zip(
                    percent["fdr", name], percent["power", name], strict=True
                )
            ]
            for name in METHODS
        },
        index=means.index.rename("false among found / found, %"),
    )
    print(text(both, markdown=asked.markdown), end="\n\n")
    mine = table[table["method"] == "line"]
    print(f"line: false among found {100 * mine['fdr'].mean():.1f} % on average")
    print(
        f"line: 95 % intervals that hold the truth: {100 * mine['held'].mean():.1f} %"
    )
    for noise in ("lognormal", "dirichlet"):
        plan = SharesPlan(noise=noise, effect=(0, 0))
        for name in METHODS:
            p_values = np.concatenate(
                [permuted(plan, seed, name) for seed in range(asked.seeds)]
            )
            p = stats.kstest(p_values, "uniform").pvalue
            below = 100 * (p_values < 0.05).mean()
            print(f"{noise}, permuted, {name}: {below:.1f} % below 0.05, KS p {p:.2g}")


if __name__ == "__main__":
    main()
