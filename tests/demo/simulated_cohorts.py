"""Counts of cells of a cohort: donors in two conditions, with planted effects.

A gene's level differs between donors and between samples by gamma factors, as the
negative binomial of pseudobulks has it, and between the cells of a sample by one more.
"""

from dataclasses import dataclass

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

CONDITIONS = ("ctrl", "stim")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is simulated; dispersions are squared coefficients of variation."""

    n_genes: int = 3_000
    n_types: int = 3
    # per condition; paired: every donor is in both conditions
    n_donors: int = 4
    paired: bool = True
    # cells of a type in a sample
    min_cells: int = 50
    max_cells: int = 500
    # UMIs of a cell: median, spread between cells, ratio of the extreme samples
    median_counts: int = 3_000
    depth_sd: float = 0.35
    depth_ratio: float = 3.0
    # spread between donors of one condition, high for genes that are low
    min_dispersion: float = 0.05
    max_dispersion: float = 0.4
    # of this spread, what a donor has in both conditions
    donor_share: float = 0.5
    # spread between the cells of a sample, beyond that of the draw of molecules
    cell_dispersion: float = 0.5
    # genes of the type that responds, half of them up, and how far (log2)
    affected_share: float = 0.1
    min_effect: float = 1.0
    max_effect: float = 2.0


def sample_sheet(plan: Plan) -> pd.DataFrame:
    """Return `condition` and `donor` of every sample, the sample as index."""
    rows = [
        (f"d{donor}_{condition}", condition, f"d{donor}")
        for k, condition in enumerate(CONDITIONS)
        for donor in np.arange(plan.n_donors) + k * plan.n_donors * (not plan.paired)
    ]
    table = pd.DataFrame(rows, columns=["sample", "condition", "donor"])
    return table.set_index("sample")


def cells_per_type(plan: Plan, *, seed: int) -> pd.DataFrame:
    """Return numbers of cells, samples x types, evenly spread on the scale of logs."""
    samples = sample_sheet(plan).index
    low, high = np.log([plan.min_cells, plan.max_cells])
    logs = np.random.default_rng(seed).uniform(low, high, (len(samples), plan.n_types))
    types = [f"type_{k}" for k in range(plan.n_types)]
    return pd.DataFrame(np.exp(logs).round().astype(int), index=samples, columns=types)


def gamma_factors(
    dispersion: np.ndarray, shape: tuple, rng: np.random.Generator
) -> np.ndarray:
    """Return random factors of mean 1 and of this squared coefficient of variation."""
    return rng.gamma(1 / dispersion, dispersion, shape)


def gene_table(plan: Plan, rng: np.random.Generator) -> pd.DataFrame:
    """Return `share` of the molecules, `dispersion`, planted `log2_fold_change`."""
    share = rng.lognormal(0, 1.5, plan.n_genes)
    share /= share.sum()
    # counts that such a gene has in a typical pseudobulk
    mean = share * plan.median_counts * np.sqrt(plan.min_cells * plan.max_cells)
    trend = plan.min_dispersion + plan.max_dispersion / (1 + mean / 50)
    dispersion = trend * rng.lognormal(0, 0.3, plan.n_genes)
    effect = np.zeros(plan.n_genes)
    affected = rng.choice(
        plan.n_genes, round(plan.affected_share * plan.n_genes), replace=False
    )
    size = rng.uniform(plan.min_effect, plan.max_effect, len(affected))
    effect[affected] = size * np.where(np.arange(len(affected)) % 2, -1, 1)
    index = [f"g{k}" for k in range(plan.n_genes)]
    return pd.DataFrame(
        {
            "gene_name": [f"G{k}" for k in range(plan.n_genes)],
            "share": share,
            "dispersion": dispersion.clip(plan.min_dispersion, plan.max_dispersion),
            "log2_fold_change": effect,
        },
        index=index,
    )


def draw_cells(
    level: np.ndarray, n_cells: int, plan: Plan, rng: np.random.Generator
) -> sparse.csr_matrix:
    """Return counts of cells of a sample and type, `level` being the mean of a cell."""
    depth = np.exp(rng.normal(0, plan.depth_sd, (n_cells, 1)))
    factors = gamma_factors(np.array(plan.cell_dispersion), (n_cells, len(level)), rng)
    return sparse.csr_matrix(rng.poisson(depth * level * factors).astype(np.int32))


def simulate_cohort(
    plan: Plan, *, seed: int, n_cells: pd.DataFrame | None = None
) -> ad.AnnData:
    """Return the cells: counts in `layers`, the plan's genes with their truth in `var`.

    `n_cells` (samples x types) is drawn where it is not given. The first type responds.
    The type of a cell is in `obs`, as `cell_type` and, as number, as `leiden`.
    """
    rng = np.random.default_rng([seed, 1])
    sheet = sample_sheet(plan)
    n_cells = cells_per_type(plan, seed=seed) if n_cells is None else n_cells
    var = gene_table(plan, rng)
    dispersion = var["dispersion"].to_numpy()
    limit = np.log(plan.depth_ratio) / 2
    depth = dict(
        zip(sheet.index, np.exp(rng.uniform(-limit, limit, len(sheet))), strict=True)
    )
    parts, rows = [], []
    for k, cell_type in enumerate(n_cells.columns):
        own = _own_levels(var["share"].to_numpy(), k, rng)
        of_donor = {
            donor: gamma_factors(dispersion * plan.donor_share, (len(var),), rng)
            for donor in sheet["donor"].unique()
        }
        for sample, condition, donor in sheet.itertuples():
            rest = dispersion * (1 - plan.donor_share)
            level = own * of_donor[donor] * gamma_factors(rest, (len(var),), rng)
            if k == 0 and condition == CONDITIONS[1]:
                level = level * 2 ** var["log2_fold_change"].to_numpy()
            n = int(n_cells.loc[sample, cell_type])
            level = level * plan.median_counts * depth[sample]
            parts.append(draw_cells(level, n, plan, rng))
            rows += [(sample, condition, donor, cell_type, str(k))] * n
    obs = pd.DataFrame(
        rows, columns=["sample", "condition", "donor", "cell_type", "leiden"]
    )
    obs.index = [f"c{k}" for k in range(len(obs))]
    return ad.AnnData(
        obs=obs.astype("category"),
        var=var,
        layers={"counts": sparse.vstack(parts, format="csr")},
    )


def _own_levels(share: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """Return the levels of a type: those of the first, half a unit of ln around."""
    factors = rng.lognormal(0, 0.5, len(share)) if k else np.ones(len(share))
    return share * factors / (share * factors).sum()
