"""Tests of the comparison of shares."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sheet_apart import taken_apart

from _shared.design import Contrast, Design, Term
from _shared.log_ratios import (
    centered_log_ratio,
    fitted,
    moderated,
    moderated_effects,
    plain_effects,
    typical_weights,
)
from simulated_shares import SharesPlan, simulate_shares
from test_composition import COLUMNS, CompositionSettings, compare, main

SECTION = {
    "columns": [],
    "numeric": [],
    "replicate": "",
    "formula": "~ donor + condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
}
UNPAIRED = SECTION | {"formula": "~ condition"}
SETTINGS = CompositionSettings(
    min_samples=2, min_cells=20, min_cells_per_type=5, fdr=0.05
)
STIM = Term(column="condition", tested="stim", reference="ctrl")
DESIGN = Design(
    formula="~ condition", contrasts=(Contrast(name="s", terms=(STIM,)),), numeric=()
)
TYPES = ["T", "B", "NK", "DC"]
TESTED = ["log2_ratio_se", "ci_low", "ci_high", "statistic", "p_value", "padj"]
# model matrix of four samples against four, and the contrast
MATRIX = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)])
VECTOR = np.array([0.0, 1.0])


def cells_of(counts, **columns):
    """Make cells: counts[sample][type], cluster i is type i."""
    rows = [
        (f"s{i}", *(values[i] for values in columns.values()), str(k))
        for i, row in enumerate(counts)
        for k, n in enumerate(row)
        for _ in range(n)
    ]
    obs = pd.DataFrame(rows, columns=["sample", *columns, "leiden"])
    obs.index = [f"c{i}" for i in range(len(obs))]
    return ad.AnnData(obs=obs.astype("category"))


def table_of(counts):
    """Return counts as a table of samples and types."""
    counts = np.asarray(counts)
    return pd.DataFrame(
        counts,
        index=[f"s{i}" for i in range(len(counts))],
        columns=[f"t{i}" for i in range(counts.shape[1])],
    ).rename_axis(index="sample", columns="cell_type")


def sheet_of(counts, **columns):
    """Return the samples of a table of counts."""
    return pd.DataFrame(columns, index=counts.index)


@pytest.fixture
def run(tmp_path):
    def run(adata, design=SECTION, types=TYPES, settings=SETTINGS):
        columns = adata.obs.columns.drop(["sample", "leiden"])
        adata, sheet = taken_apart(adata, *columns)
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        labels = pd.DataFrame({"cluster": range(len(types)), "cell_type": types})
        labels.to_csv(tmp_path / "annotation.tsv", sep="\t", index=False)
        paths = {
            name: tmp_path / f"{name}.tsv"
            for name in ("composition", "shares", "untested")
        }
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            design=design,
            sheet=sheet,
            settings=settings,
            **paths,
        )
        return [
            pd.read_csv(path, sep="\t", keep_default_na=name == "composition")
            for name, path in paths.items()
        ]

    return run


@pytest.fixture
def shifted():
    """Four donors in two conditions; type T is three times as frequent under stim."""
    rng = np.random.default_rng(0)
    counts = [rng.poisson([60 if i % 2 else 20, 80, 60, 40]).tolist() for i in range(8)]
    return cells_of(
        counts,
        condition=["ctrl", "stim"] * 4,
        donor=[str(i // 2) for i in range(8)],
    )


def test_a_planted_shift_is_found(run, shifted):
    result, shares, untested = run(shifted)
    assert result.columns.tolist() == COLUMNS + TESTED
    result = result.set_index("cell_type")
    assert result.index[result["padj"] < 0.05].tolist() == ["T"]
    assert result.loc["T", "ci_low"] < np.log2(3) < result.loc["T", "ci_high"]
    assert result.loc["T", "share_tested"] > 1.8 * result.loc["T", "share_reference"]
    assert (result["evidence"] == "tested").all()
    assert shares.columns.tolist() == ["sample", "cell_type", "n_cells", "share"]
    assert np.allclose(shares.groupby("sample")["share"].sum(), 1, atol=1e-5)
    assert len(shares) == 32
    assert untested.columns.tolist() == ["cell_type", "contrast", "reason"]
    assert untested.empty


def test_what_a_growing_type_displaces_is_not_found():
    counts = table_of(
        np.random.default_rng(3).poisson(
            np.tile([400, 300, 250, 200, 150, 100, 60, 30], (8, 1))
            * np.where(MATRIX[:, [1]] * (np.arange(8) == 0), 6, 1)
        )
    )
    # every sample has 1,000 cells, so the others have less than half of their share
    counts = counts.mul(1000 / counts.sum(axis=1), axis=0).round().astype(int)
    assert (
        counts.loc["s4":, "t1":].mean() < 0.6 * counts.loc[:"s3", "t1":].mean()
    ).all()
    result = moderated_effects(counts, MATRIX, VECTOR)
    assert result.index[result["padj"] < 0.05].tolist() == ["t0"]
    assert abs(result.loc["t0", "log2_ratio"] - np.log2(6)) < 0.2
    assert (result["log2_ratio"].iloc[1:].abs() < 0.4).all()


@pytest.mark.parametrize("noise", ["lognormal", "dirichlet"])
def test_the_found_types_are_the_planted_ones(noise):
    false, found, p_values, held = [], [], [], []
    for n_types in (8, 14, 20):
        for changed in (None, 0):
            plan = SharesPlan(noise=noise, n_types=n_types, changed=changed)
            for seed in range(20):
                counts, _, truth = simulate_shares(plan, seed)
                result = moderated_effects(counts, MATRIX, VECTOR)
                hits, null = result["padj"] < 0.05, truth == 0
                false.append((hits & null).sum() / max(hits.sum(), 1))
                found.append(hits[~null].all())
                p_values += result.loc[null, "p_value"].tolist()
                truth = truth / np.log(2)
                held += result["ci_low"].le(truth).tolist()
                held += result["ci_high"].ge(truth).tolist()
    # one type in 8 to 20 is no null, so 5 % is a little above what is expected
    assert np.mean(false) <= 0.07
    assert np.mean(found) >= 0.75
    assert 0.03 < np.mean(np.array(p_values) < 0.05) < 0.07
    # one side of a 95 % interval
    assert 0.965 < np.mean(held) < 0.99


def test_p_values_are_uniform_where_conditions_are_permuted():
    plan, p_values = SharesPlan(effect=(0, 0)), []
    for seed in range(20):
        counts, _, _ = simulate_shares(plan, seed)
        matrix = MATRIX[np.random.default_rng(seed).permutation(8)]
        p_values += moderated_effects(counts, matrix, VECTOR)["p_value"].tolist()
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_three_changed_types_of_twelve_do_not_move_the_reference():
    rng = np.random.default_rng(5)
    truth = np.zeros(12)
    truth[[0, 4, 8]] = 2.0
    logs = rng.normal(6, 0.5, 12) + rng.normal(0, 0.2, (8, 12))
    counts = table_of(rng.poisson(np.exp(logs + np.outer(MATRIX[:, 1], truth))))
    result = moderated_effects(counts, MATRIX, VECTOR)
    assert np.flatnonzero(result["padj"] < 0.05).tolist() == [0, 4, 8]
    assert np.allclose(result["log2_ratio"], truth / np.log(2), atol=0.8)


def test_plain_effects_are_differences_from_their_median():
    counts = table_of([[10, 20, 40, 80, 160], [80, 20, 40, 80, 160]])
    result = plain_effects(counts, np.array([[1.0, 0], [1, 1]]), VECTOR)
    expected = [np.log2(80.5 / 10.5), 0, 0, 0, 0]
    assert np.allclose(result["log2_ratio"], expected)


def test_a_paired_fit_gives_the_paired_t_test():
    y = np.random.default_rng(1).normal(size=(8, 3))
    donor = np.repeat(np.eye(4), 2, axis=0)
    fit = fitted(
        y, np.column_stack([donor, np.tile([0, 1], 4)]), np.array([0, 0, 0, 0, 1.0])
    )
    expected = stats.ttest_rel(y[1::2], y[::2])
    assert np.allclose(
        fit.effect / np.sqrt(fit.variance * fit.leverage), expected.statistic
    )
    assert fit.degrees == 3


def test_an_unpaired_fit_gives_the_t_test():
    y = np.random.default_rng(1).normal(size=(8, 3))
    fit = fitted(y, MATRIX, VECTOR)
    expected = stats.ttest_ind(y[4:], y[:4])
    assert np.allclose(
        fit.effect / np.sqrt(fit.variance * fit.leverage), expected.statistic
    )


def test_two_types_give_the_t_test_of_their_log_ratio():
    rng = np.random.default_rng(2)
    counts = table_of(rng.poisson(100, (8, 2)))
    counts.loc["s4":, "t0"] *= 2
    result = moderated_effects(counts, MATRIX, VECTOR)
    ratio = np.log2((counts["t0"] + 0.5) / (counts["t1"] + 0.5))
    expected = stats.ttest_ind(ratio[4:], ratio[:4])
    interval = expected.confidence_interval()
    assert np.allclose(result["p_value"], expected.pvalue)
    # half of the change is the one's, half the other's
    assert np.isclose(2 * result.loc["t0", "ci_low"], interval.low)
    assert np.isclose(2 * result.loc["t0", "ci_high"], interval.high)


def test_log_ratios_of_a_sample_sum_to_zero():
    ratios = centered_log_ratio(table_of([[0, 3, 9], [5, 0, 0]]))
    assert np.allclose(ratios.sum(axis=1), 0)


def test_the_spread_of_variances_is_found_again():
    # variances are scaled inverse chi-square around a trend, their estimates chi-square
    rng = np.random.default_rng(0)
    degrees, prior_degrees, n = 6, 10, 20_000
    abundance = rng.uniform(0, 5, n)
    prior = 0.3 * np.exp(-0.5 * abundance)
    true = prior * prior_degrees / rng.chisquare(prior_degrees, n)
    estimate = true * rng.chisquare(degrees, n) / degrees
    drawn, total = moderated(estimate, degrees, abundance)
    assert abs(total - degrees - prior_degrees) < 1
    expected = (prior_degrees * prior + degrees * estimate) / (prior_degrees + degrees)
    assert np.allclose(drawn, expected, rtol=0.1)


def test_variances_that_differ_by_chance_alone_become_their_trend():
    # the same variance for all, without any chance
    drawn, total = moderated(np.full(10, 0.2), 6, np.arange(10.0))
    assert np.allclose(drawn, drawn[0])
    assert total == 24


def test_the_typical_effect_is_the_mean_without_those_far_off():
    effect = np.array([0.1, -0.1, 0.05, -0.05, 0.0, 9.0])
    weights = typical_weights(effect, np.full(6, 0.04))
    assert np.allclose(weights, [0.2, 0.2, 0.2, 0.2, 0.2, 0], atol=0.01)
    assert abs(weights @ effect) < 1e-6


def test_precise_effects_weigh_more():
    weights = typical_weights(np.zeros(4), np.array([1.0, 1, 1, 0.5]))
    assert np.allclose(weights, [0.2, 0.2, 0.2, 0.4])


def test_a_typical_effect_between_two_far_groups_is_their_middle():
    effect = np.array([-5.0, -5.0, 5.0, 5.0])
    assert typical_weights(effect, np.full(4, 0.01)).tolist() == [0.25] * 4


def test_samples_all_alike_have_effects_without_p_values():
    counts = table_of([[10, 20, 30]] * 4 + [[40, 20, 30]] * 4)
    result = moderated_effects(counts, MATRIX, VECTOR)
    assert result[TESTED].isna().all(axis=None)
    assert np.isclose(result.loc["t0", "log2_ratio"], np.log2(40.5 / 10.5))


def test_a_type_absent_from_one_group_is_found():
    rng = np.random.default_rng(4)
    counts = rng.poisson([200, 150, 100, 80, 60, 40], (8, 6))
    counts[:4, 5] = 0
    result = moderated_effects(table_of(counts), MATRIX, VECTOR)
    assert result.index[result["padj"] < 0.05].tolist() == ["t5"]
    assert np.isfinite(result).all(axis=None)
    assert result.loc["t5", "log2_ratio"] > 5


def test_types_with_next_to_no_cells_are_not_tested():
    # large samples are all on one side: log ratios of absent types follow the size
    rng = np.random.default_rng(6)
    shares = np.array([0.4, 0.3, 0.2, 0.0992, 0.0002, 0.0002, 0.0002, 0.0002])
    sizes = np.repeat([300, 6000], 4)
    counts = table_of(rng.multinomial(sizes, shares))
    samples = sheet_of(counts, condition=np.repeat(["ctrl", "stim"], 4))
    result, untested = compare(counts, samples, DESIGN, SETTINGS)
    assert result["cell_type"].tolist() == ["t0", "t1", "t2", "t3"]
    assert (result["padj"] > 0.05).all()
    assert untested["cell_type"].tolist() == ["t4", "t5", "t6", "t7"]
    assert untested["reason"].str.contains("Fewer than 5 cells").all()
    # shares are those among all cells
    assert result["share_tested"].sum() < 1


def test_a_sample_of_three_cells_is_left_out(run, shifted):
    tiny = cells_of([[0] * 4] * 8 + [[0, 0, 3, 0]], condition=["stim"] * 9)
    tiny.obs["donor"] = "9"
    tiny.obs_names = tiny.obs_names + "-tiny"
    result, shares, untested = run(ad.concat([shifted, tiny]), UNPAIRED)
    without, _, _ = run(shifted, UNPAIRED)
    pd.testing.assert_frame_equal(result, without)
    assert shares["sample"].nunique() == 9
    assert untested.empty


def test_a_contrast_that_misses_its_small_samples_says_so():
    counts = table_of([[30, 40], [50, 20], [30, 30], [1, 2]])
    samples = sheet_of(counts, condition=["ctrl", "ctrl", "stim", "stim"])
    result, untested = compare(counts, samples, DESIGN, SETTINGS)
    assert result["evidence"].unique().tolist() == ["exploratory"]
    assert untested["reason"].item().endswith("Left out: s3, with fewer than 20 cells.")
    result, untested = compare(counts // 10, samples, DESIGN, SETTINGS)
    assert result.empty
    assert "No sample has 20 cells" in untested["reason"].item()


@pytest.mark.parametrize(("n", "evidence"), [(1, "exploratory"), (2, "weak")])
def test_few_replicates_on_one_side_give_less_evidence(n, evidence):
    counts = table_of(np.random.default_rng(0).poisson(100, (4 + n, 5)))
    samples = sheet_of(counts, condition=["ctrl"] * 4 + ["stim"] * n)
    result, untested = compare(counts, samples, DESIGN, SETTINGS)
    assert (result["evidence"] == evidence).all()
    assert result["log2_ratio"].notna().all()
    assert ("p_value" in result) == (evidence == "weak")
    assert len(untested) == (evidence == "exploratory")


def test_one_sample_per_condition_gives_effects_alone(run, shifted):
    pair = shifted[shifted.obs["sample"].isin(["s0", "s1"])].copy()
    result, _, untested = run(pair, UNPAIRED)
    assert result.columns.tolist() == COLUMNS
    assert (result["evidence"] == "exploratory").all()
    effect = result.set_index("cell_type")["log2_ratio"]
    assert effect.idxmax() == "T"
    assert np.isclose(effect.median(), 0, atol=1e-5)
    assert "Add replicates" in untested["reason"].item()


def test_contrasts_of_unlike_evidence_share_a_table():
    counts = table_of(np.random.default_rng(0).poisson(100, (7, 5)))
    samples = sheet_of(counts, condition=["ctrl"] * 3 + ["stim"] * 3 + ["drug"])
    contrasts = tuple(
        Contrast(name=level, terms=(replace(STIM, tested=level),))
        for level in ("stim", "drug", "none")
    )
    design = replace(DESIGN, contrasts=contrasts)
    result, untested = compare(counts, samples, design, SETTINGS)
    by_name = result.set_index("contrast")
    assert by_name.loc["stim", TESTED].notna().all(axis=None)
    assert by_name.loc["drug", TESTED].isna().all(axis=None)
    assert "none" not in by_name.index
    assert untested["contrast"].tolist() == ["drug", "none"]


def test_columns_that_go_along_are_refused():
    counts = table_of(np.random.default_rng(0).poisson(100, (6, 4)))
    samples = sheet_of(counts, condition=["ctrl", "stim"] * 3, batch=["a", "b"] * 3)
    design = replace(DESIGN, formula="~ batch + condition")
    result, untested = compare(counts, samples, design, SETTINGS)
    assert result.empty
    assert result.columns.tolist() == COLUMNS
    assert "batch" in untested["reason"].item()


def test_the_slope_of_a_number_is_found():
    rng = np.random.default_rng(7)
    age = np.array([20, 30, 40, 50, 60, 70, 80, 90])
    means = np.tile([300.0, 200, 150, 100, 80, 60], (8, 1))
    # doubles in ten years
    means[:, 2] *= 2 ** ((age - 55) / 10)
    counts = table_of(rng.poisson(means))
    samples = sheet_of(counts, age=age.astype(str))
    slope = Contrast(name="age", terms=(Term(column="age"),))
    design = Design(formula="~ age", contrasts=(slope,), numeric=("age",))
    result, _ = compare(counts, samples, design, SETTINGS)
    result = result.set_index("cell_type")
    assert result.index[result["padj"] < 0.05].tolist() == ["t2"]
    assert abs(result.loc["t2", "log2_ratio"] - 0.1) < 0.02
    assert result[["share_tested", "share_reference"]].isna().all(axis=None)


def test_an_interaction_is_found():
    rng = np.random.default_rng(8)
    condition = np.tile(["ctrl", "stim"], 8)
    sex = np.repeat(["f", "m"], 8)
    means = np.tile([300.0, 200, 150, 100, 80, 60], (16, 1))
    means[:, 0] *= np.where(condition == "stim", 3, 1)
    means[:, 3] *= np.where((condition == "stim") & (sex == "f"), 4, 1)
    counts = table_of(rng.poisson(means))
    samples = sheet_of(counts, condition=condition, sex=sex)
    both = (STIM, Term(column="sex", tested="f", reference="m"))
    design = Design(
        formula="~ condition * sex", contrasts=(Contrast(name="i", terms=both),)
    )
    result, _ = compare(counts, samples, design, SETTINGS)
    result = result.set_index("cell_type")
    assert result.index[result["padj"] < 0.05].tolist() == ["t3"]
    assert result.loc["t3", "ci_low"] < 2 < result.loc["t3", "ci_high"]


def test_technical_repeats_are_one_sample(run):
    rng = np.random.default_rng(0)
    counts = rng.poisson([60, 80, 60, 40], (8, 4)).tolist()
    donors = ["a", "a", "b", "b", "c", "c", "d", "d"]
    adata = cells_of(counts, condition=["ctrl"] * 4 + ["stim"] * 4, donor=donors)
    result, shares, _ = run(adata, UNPAIRED | {"replicate": "donor"})
    assert (result["evidence"] == "weak").all()
    assert sorted(shares["sample"].unique()) == ["s0+s1", "s2+s3", "s4+s5", "s6+s7"]
    summed = shares.pivot_table("n_cells", index="sample", columns="cell_type")
    assert summed.loc["s0+s1", TYPES].tolist() == np.sum(counts[:2], axis=0).tolist()


@pytest.mark.parametrize(
    ("keep", "design", "types", "reason"),
    [
        (["s0"], UNPAIRED, TYPES, "without samples"),
        ([], SECTION, TYPES, "No sample"),
        (None, SECTION | {"formula": ""}, TYPES, "no design formula"),
        (None, SECTION | {"contrasts": {}}, TYPES, "no design contrasts"),
        (None, SECTION, ["unknown"] * 4, "marker table"),
    ],
)
def test_what_is_not_tested_has_its_reason(keep, design, types, reason, run, shifted):
    if keep is not None:
        shifted = shifted[shifted.obs["sample"].isin(keep)].copy()
    result, shares, untested = run(shifted, design, types)
    assert result.columns.tolist() == COLUMNS
    assert result.empty
    assert shares.columns.tolist() == ["sample", "cell_type", "n_cells", "share"]
    assert len(untested) == 1
    assert reason in untested["reason"].iloc[0]


def test_a_large_threshold_leaves_nothing_to_test(run, shifted):
    settings = replace(SETTINGS, min_cells_per_type=70)
    result, _, untested = run(shifted, settings=settings)
    assert result.empty
    assert "all cell types but one" in untested["reason"].item()
