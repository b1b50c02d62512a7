"""Tests of the negative binomial models."""

import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from _shared.quasi_likelihood import (
    Model,
    deviance_moments,
    fitted_coefficients,
    inverse_trigamma,
    means_of,
    residual_scatter,
    size_factors,
    squeezed,
    unit_deviances,
)

TWO_GROUPS = np.column_stack([np.ones(8), np.repeat([0.0, 1.0], 4)])
SLOPE = np.array([0.0, 1.0])
FOUR_PAIRS = np.column_stack([np.tile(np.eye(4), (2, 1)), TWO_GROUPS[:, 1]])


def drawn(rng, mean, dispersion, n=8):
    factors = rng.gamma(1 / dispersion, dispersion, (n, np.shape(mean)[-1]))
    return rng.poisson(mean * factors).astype(float)


def no_difference(seed):
    """Return counts of two groups alike, in samples of different depth."""
    rng = np.random.default_rng(seed)
    mean = rng.lognormal(4, 1.5, 3000) + 5
    dispersion = (0.05 + 4 / mean) * rng.lognormal(0, 0.3, 3000)
    depth = np.array([1, 2, 0.5, 1, 3, 1, 0.7, 1.5])[:, None]
    return drawn(rng, depth * mean, dispersion), dispersion


def test_coefficients_are_those_of_statsmodels():
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.5, 2, 8)
    offsets = np.broadcast_to(np.log(depth)[:, None], (8, 5))
    matrix = np.column_stack([TWO_GROUPS, rng.normal(0, 1, 8)])
    counts = drawn(rng, np.array([3, 10, 50, 200, 1000.0]), 0.2)
    dispersion = np.array([0.1, 0.2, 0.3, 0.05, 0.4])
    ours = fitted_coefficients(counts, matrix, offsets, dispersion)
    for k in range(5):
        family = sm.families.NegativeBinomial(alpha=dispersion[k])
        fit = sm.GLM(counts[:, k], matrix, family, offset=np.log(depth)).fit()
        assert np.allclose(ours[:, k], fit.params, atol=1e-3)


def test_two_groups_give_the_ratio_of_their_means():
    counts = drawn(np.random.default_rng(0), np.full(60, 100.0), 0.1)
    model = Model(counts, TWO_GROUPS)
    model.__dict__["depth"] = np.ones(8)
    expected = np.log2(counts[4:].mean(axis=0) / counts[:4].mean(axis=0))
    assert np.allclose(model.effects(SLOPE, prior=0), expected, atol=1e-3)


def test_p_values_of_no_difference_are_uniform():
    # the error of the size factors is one for all genes, so one draw tells little
    found = [
        Model(no_difference(seed)[0], TWO_GROUPS).tested(SLOPE)["p_value"]
        for seed in range(5)
    ]
    assert np.median([stats.kstest(p, "uniform").pvalue for p in found]) > 0.05
    assert 0.0075 < np.mean(np.hstack(found) < 0.01) < 0.0125
    assert 0.04 < np.mean(np.hstack(found) < 0.05) < 0.055


def test_the_dispersion_follows_the_planted_trend():
    counts, dispersion = no_difference(0)
    found = Model(counts, TWO_GROUPS).dispersion
    assert np.corrcoef(np.log(found), np.log(dispersion))[0, 1] > 0.8
    assert abs(np.median(found / dispersion) - 1) < 0.2


def test_planted_fold_changes_are_estimated_with_their_error():
    rng = np.random.default_rng(1)
    effect = rng.choice([-1.0, 0, 1], 3000, p=[0.1, 0.8, 0.1])
    mean = np.full(3000, 200.0)
    levels = mean * 2 ** (TWO_GROUPS[:, 1:] * effect)
    counts = rng.poisson(levels * rng.gamma(10, 0.1, levels.shape)).astype(float)
    found = Model(counts, TWO_GROUPS).tested(SLOPE)
    rest = found["log2_fold_change"] - effect
    assert abs(rest.mean()) < 0.03
    assert 0.9 < (rest / found["lfc_se"]).std() < 1.1


def test_p_values_of_pairs_with_few_counts_are_uniform():
    rng = np.random.default_rng(0)
    counts = drawn(rng, rng.uniform(3, 12, 20_000), 0.2)
    found = Model(counts, FOUR_PAIRS).tested(np.eye(5)[4])["p_value"]
    # three residual degrees of freedom of small counts: a little too careful is allowed
    for level in (0.25, 0.5, 0.75):
        assert (found < level).mean() == pytest.approx(level, abs=0.02)


def test_a_contrast_does_not_depend_on_the_coding():
    counts, _ = no_difference(0)
    cells = np.column_stack([1 - TWO_GROUPS[:, 1], TWO_GROUPS[:, 1]])
    one = Model(counts[:, :300], TWO_GROUPS).tested(SLOPE)
    other = Model(counts[:, :300], cells).tested(np.array([-1.0, 1.0]))
    for name, values in one.items():
        assert np.allclose(values, other[name], rtol=1e-2, atol=1e-4), name


def test_a_gene_of_one_group_alone_has_a_finite_fold_change():
    rng = np.random.default_rng(0)
    counts = drawn(rng, np.full(100, 50.0), 0.1)
    counts[:4, 0] = 0
    found = Model(counts, TWO_GROUPS).tested(SLOPE)
    assert 5 < found["log2_fold_change"][0] < 12
    assert found["p_value"][0] < 1e-4
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("mean", [0.05, 1.3, 8, 150, 900])
@pytest.mark.parametrize("dispersion", [0.01, 0.3, 2])
def test_moments_of_the_deviance_are_those_of_drawn_counts(mean, dispersion):
    counts = drawn(np.random.default_rng(0), np.full(200_000, mean), dispersion)[:2]
    unit = unit_deviances(counts.ravel(), mean, dispersion)
    found = deviance_moments(np.array([[mean]]), np.array([dispersion]))
    assert found[0].item() == pytest.approx(unit.mean(), rel=0.05)
    assert found[1].item() == pytest.approx(unit.var(), rel=0.1)


def test_groups_without_counts_have_no_degrees_of_freedom():
    mean = np.full((8, 2), 100.0)
    mean[:4, 0] = 1e-9
    deviance, df = residual_scatter(mean, mean, TWO_GROUPS, np.full(2, 0.05))
    assert df == pytest.approx([3, 6], rel=0.05)
    assert deviance == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("level", [2, 5, 20, 200])
def test_residual_deviances_are_as_large_as_their_degrees_of_freedom(level):
    counts = drawn(np.random.default_rng(0), np.full(4000, level), 0.2)
    dispersion = np.full(4000, 0.2)
    offsets = np.zeros_like(counts)
    found = fitted_coefficients(counts, TWO_GROUPS, offsets, dispersion)
    mean = means_of(found, TWO_GROUPS, offsets)
    deviance, df = residual_scatter(counts, mean, TWO_GROUPS, dispersion)
    assert deviance.mean() == pytest.approx(df.mean(), rel=0.08)


def test_size_factors_are_the_planted_depths():
    depth = np.array([1, 2, 0.5, 1, 3, 1, 0.7, 1.5])
    mean = np.random.default_rng(0).lognormal(3, 1, 2000)
    rng = np.random.default_rng(1)
    expected = depth / stats.gmean(depth)
    for scale, tolerance in ((1, 0.03), (0.01, 0.1)):
        counts = rng.poisson(scale * depth[:, None] * mean).astype(float)
        assert np.allclose(size_factors(counts), expected, rtol=tolerance)


def test_the_weight_of_the_prior_is_the_planted_one():
    rng = np.random.default_rng(0)
    level = rng.uniform(0, 1, 20_000)
    true = 10 / rng.chisquare(10, len(level)) * np.exp(level)
    df = np.full(len(level), 4.0)
    seen = true * rng.chisquare(4, len(level)) / 4
    drawn_in, prior_df = squeezed(seen, df, level)
    assert 8.5 < prior_df < 12
    assert np.mean((drawn_in - true) ** 2) < 0.5 * np.mean((seen - true) ** 2)
    same, infinite = squeezed(rng.chisquare(4, 5000) / 4, df[:5000], level[:5000])
    assert infinite > 100
    assert np.allclose(same, 1, atol=0.2)


@pytest.mark.parametrize("value", [0.01, 0.5, 3, 200])
def test_the_inverse_of_trigamma(value):
    from scipy.special import polygamma

    assert polygamma(1, inverse_trigamma(value)) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize("n_genes", [10, 40])
def test_few_genes_are_tested(n_genes):
    counts = drawn(np.random.default_rng(0), np.full(n_genes, 30.0), 0.1)
    found = Model(counts, TWO_GROUPS).tested(SLOPE)
    assert np.isfinite(found["p_value"]).all()


def test_two_samples_have_effects_alone():
    counts = np.array([[10.0, 100, 0, 50], [40, 100, 30, 50]])
    model = Model(counts, TWO_GROUPS[[0, 7]])
    found = model.effects(SLOPE)
    depth = model.depth / model.depth.mean()
    padded = (counts + 0.125 * depth[:, None]) / depth[:, None]
    assert np.allclose(found, np.log2(padded[1] / padded[0]), atol=1e-3)
    assert np.abs(model.effects(SLOPE, prior=2)[2]) < np.abs(found[2])
