"""Tests of the simulated cohorts."""

import numpy as np
import pytest

from simulated_cohorts import Plan, cells_per_type, sample_sheet, simulate_cohort

PLAN = Plan(n_genes=200, n_types=2, n_donors=3, min_cells=20, max_cells=60)


def test_cells_are_as_many_as_planned():
    cells = simulate_cohort(PLAN, seed=1)
    planned = cells_per_type(PLAN, seed=1)
    found = cells.obs.groupby(["sample", "cell_type"], observed=False).size().unstack()
    assert (found.loc[planned.index, planned.columns] == planned).all(axis=None)
    assert planned.to_numpy().min() >= 20
    assert planned.to_numpy().max() <= 60


def test_given_numbers_of_cells_are_kept():
    given = cells_per_type(PLAN, seed=1) * 0 + 3
    assert simulate_cohort(PLAN, seed=1, n_cells=given).n_obs == 36


@pytest.mark.parametrize(("paired", "donors"), [(True, 3), (False, 6)])
def test_donors_are_in_both_conditions_or_in_one(paired, donors):
    sheet = sample_sheet(Plan(n_donors=3, paired=paired))
    assert len(sheet) == 6
    assert sheet["donor"].nunique() == donors


def test_one_seed_gives_one_cohort_and_another_a_different_one():
    one, same, other = (simulate_cohort(PLAN, seed=seed) for seed in (1, 1, 2))
    assert (one.layers["counts"] != same.layers["counts"]).nnz == 0
    assert one.n_obs != other.n_obs


def test_the_first_type_alone_responds():
    plan = Plan(n_genes=200, n_types=2, n_donors=8, affected_share=0.2)
    cells = simulate_cohort(plan, seed=0)
    found = {}
    for cell_type in ("type_0", "type_1"):
        of = [
            (cells.obs["cell_type"] == cell_type) & (cells.obs["condition"] == level)
            for level in ("stim", "ctrl")
        ]
        sums = [cells.layers["counts"][own.to_numpy()].sum(axis=0) + 1 for own in of]
        found[cell_type] = np.log2(sums[0] / sums[1])
    effect = cells.var["log2_fold_change"].to_numpy()
    assert np.corrcoef(found["type_0"], effect)[0, 1] > 0.8
    assert abs(np.corrcoef(found["type_1"], effect)[0, 1]) < 0.3
