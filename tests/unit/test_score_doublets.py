"""Doublet scores on planted doublets, and the rule that chooses the threshold."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from score_doublets import DoubletSettings, choose_threshold, score


def settings(**changes):
    values = {"enabled": True, "percent_per_1000_cells": 10.0, "threshold": None}
    return DoubletSettings(**{**values, **changes})


def cells(n, *, n_doublets=0, seed=0):
    """Make cells of three types over 300 genes; the last ones are sums of two types."""
    rng = np.random.default_rng(seed)
    means = rng.gamma(0.3, 3, (3, 300))
    types = rng.integers(3, size=n)
    counts = rng.poisson(means[types])
    for row in range(n - n_doublets, n):
        counts[row] = rng.poisson(means[0] + means[1])
    obs = pd.DataFrame(index=[f"c{i}" for i in range(n)])
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.int32)), obs=obs)


def test_planted_doublets_score_high_and_the_score_repeats():
    adata = cells(400, n_doublets=24)
    table, decision = score(adata, settings(percent_per_1000_cells=15), seed=1)
    planted = np.arange(400) >= 376
    called = table["predicted_doublet"].to_numpy()
    assert called[planted].mean() >= 0.8
    assert called[~planted].mean() <= 0.05
    assert decision["expected_rate"] == pytest.approx(0.06)
    assert decision["observed_rate"] == pytest.approx(called.mean())
    again, _ = score(adata, settings(percent_per_1000_cells=15), seed=1)
    assert table.equals(again)


@pytest.mark.parametrize("n", [0, 1, 3, 49])
def test_few_cells_are_not_scored_and_that_is_said(n):
    table, decision = score(cells(n), settings(), seed=1)
    assert len(table) == n
    assert not table["predicted_doublet"].any()
    assert "fewer than 50 cells" in decision["threshold_source"]


def test_cells_too_shallow_for_components_are_not_scored_and_that_is_said():
    counts = np.zeros((60, 300), dtype=np.int32)
    counts[:, :20] = np.random.default_rng(0).integers(0, 3, (60, 20))
    adata = ad.AnnData(sparse.csr_matrix(counts))
    table, decision = score(adata, settings(), seed=1)
    assert not table["predicted_doublet"].any()
    assert decision["threshold_source"].startswith("not scored: ")


def test_off_is_off():
    table, decision = score(cells(60), settings(enabled=False), seed=1)
    assert table["doublet_score"].isna().all()
    assert decision["threshold_source"] == "off in the config"


SCORES = np.linspace(0, 1, 101)


def test_a_fixed_threshold_wins():
    assert choose_threshold(SCORES, automatic=0.9, expected_rate=0.1, fixed=0.3) == (
        0.3,
        "config",
    )


def test_a_sensible_automatic_threshold_is_taken():
    assert choose_threshold(SCORES, automatic=0.9, expected_rate=0.1, fixed=None) == (
        0.9,
        "scrublet",
    )


@pytest.mark.parametrize(
    ("automatic", "said"), [(0.1, "call 89.1%"), (0.99, "call 1.0%"), (None, "non")]
)
def test_an_absurd_or_missing_one_falls_back_to_the_expected_rate(automatic, said):
    threshold, source = choose_threshold(
        SCORES, automatic=automatic, expected_rate=0.1, fixed=None
    )
    assert (threshold < SCORES).mean() == pytest.approx(0.1, abs=0.01)
    assert said in source
