"""Tests of adaptive shrinkage."""

import numpy as np
from scipy import stats

from _shared.shrinkage import shrunken


def p_of(effects, errors):
    return 2 * stats.norm.sf(np.abs(effects / errors))


def test_normal_effects_are_shrunken_by_the_share_of_their_variance():
    rng = np.random.default_rng(0)
    errors = np.where(np.arange(20_000) % 2, 0.5, 2.0)
    true = rng.normal(0, 1, len(errors))
    seen = true + rng.normal(0, errors)
    found = shrunken(seen, errors, p_of(seen, errors))
    for error in (0.5, 2.0):
        own = errors == error
        slope = np.polyfit(seen[own], found[own], 1)[0]
        assert abs(slope - 1 / (1 + error**2)) < 0.06


def test_noise_is_shrunken_to_nothing_and_large_effects_stay():
    rng = np.random.default_rng(1)
    errors = rng.uniform(0.2, 0.6, 5000)
    true = np.where(np.arange(5000) < 250, 4.0, 0.0)
    seen = true + rng.normal(0, errors)
    found = shrunken(seen, errors, p_of(seen, errors))
    assert np.abs(found[250:]).mean() < 0.05 * np.abs(seen[250:]).mean()
    assert abs(found[:250].mean() - 4) < 0.15


def test_nothing_but_zeros_or_nothing_at_all():
    assert len(shrunken(np.zeros(0), np.zeros(0), np.zeros(0))) == 0
    found = shrunken(np.zeros(20), np.ones(20), np.ones(20))
    assert np.array_equal(found, np.zeros(20))
    assert np.isfinite(shrunken(np.full(3, 900.0), np.full(3, 0.1), np.zeros(3))).all()
