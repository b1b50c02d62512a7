"""Doublet scores on planted doublets, and the rule that chooses the threshold."""

import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from threadpoolctl import threadpool_limits

from _shared.doublets import doublet_rate, exclusion, nearest
from score_doublets import DoubletSettings, choose_threshold, score

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from simulated_counts import Plan, make_profiles, simulate_sample  # noqa: E402


def simulated(n, *, doublet_rate, seed):
    """Simulate cells of 8 types, the last two of 2 % each."""
    plan = Plan(
        n_genes=2_000,
        n_types=8,
        median_counts=2_000,
        rare_shares=(0.02, 0.02),
        doublet_rate=doublet_rate,
        ambient_share=0.03,
        damaged_rate=0.02,
    )
    profiles = make_profiles(plan, seed=seed)
    return simulate_sample(plan, profiles, sample="s", batch=0, n_cells=n, seed=seed)


def settings(**changes):
    values = {"method": "classifier", "percent_per_1000_cells": 10.0, "threshold": None}
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


@pytest.mark.parametrize("method", ["classifier", "scrublet"])
def test_planted_doublets_score_high_and_the_score_repeats(method):
    adata = cells(400, n_doublets=24)
    chosen = settings(percent_per_1000_cells=15, method=method)
    table, decision = score(adata, chosen, seed=1)
    planted = np.arange(400) >= 376
    called = table["predicted_doublet"].to_numpy()
    assert called[planted].mean() >= 0.8
    assert called[~planted].mean() <= 0.05
    assert decision["expected_rate"] == pytest.approx(0.06)
    assert decision["observed_rate"] == pytest.approx(called.mean())
    assert decision["method"] == method
    again, _ = score(adata, chosen, seed=1)
    assert table.equals(again)


def test_many_doublets_are_found_without_being_expected():
    """The share is found from the scores; what is expected only checks it."""
    adata = simulated(800, doublet_rate=0.1, seed=3)
    truth = adata.obs["is_doublet"].to_numpy()
    for percent in (4.0, 20.0):
        table, decision = score(adata, settings(percent_per_1000_cells=percent), seed=1)
        called = table["predicted_doublet"].to_numpy()
        assert decision["threshold_source"] == "classifier"
        assert 0.06 <= called.mean() <= 0.14
        assert (called & truth).sum() / called.sum() >= 0.8


def test_without_doublets_next_to_no_cell_is_a_doublet_by_its_score():
    adata = simulated(1000, doublet_rate=0, seed=5)
    _, decision = score(adata, settings(), seed=1)
    assert decision["automatic_rate"] <= 0.01
    assert decision["threshold_source"].startswith("expected rate")


def test_rare_types_are_not_flagged_away():
    adata = simulated(2000, doublet_rate=0.05, seed=2)
    table, _ = score(adata, settings(percent_per_1000_cells=2.5), seed=1)
    single = ~adata.obs["is_doublet"].to_numpy()
    rare = adata.obs["true_type"].isin(["type_6", "type_7"]).to_numpy() & single
    assert rare.sum() >= 20
    assert table["predicted_doublet"].to_numpy()[rare].mean() <= 0.1


def test_threads_change_nothing():
    adata = simulated(400, doublet_rate=0.05, seed=2)
    tables = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            tables.append(score(adata, settings(), seed=1)[0])
    assert tables[0].equals(tables[1])


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
    table, decision = score(cells(60), settings(method="none"), seed=1)
    assert table["doublet_score"].isna().all()
    assert decision["threshold_source"] == "off in the config"


@pytest.mark.parametrize("counts", [np.ones((80, 300)), np.arange(80)[:, None]])
def test_identical_cells_and_a_single_gene_are_not_scored(counts):
    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.int32)))
    table, decision = score(adata, settings(), seed=1)
    assert table["doublet_score"].isna().all()
    assert decision["threshold_source"].startswith("not scored: ")


def test_few_distinct_cells_are_scored():
    """Cells that fall on three points have three clusters, however many are asked."""
    counts = np.repeat(np.random.default_rng(0).poisson(3, (3, 100)), 20, axis=0)
    adata = ad.AnnData(sparse.csr_matrix(counts.astype(np.int32)))
    table, _ = score(adata, settings(), seed=1)
    assert table["doublet_score"].between(0, 1).all()


def test_loaded_cells_tell_what_is_expected_before_recovered_ones():
    chosen = settings(percent_per_1000_cells=0.8, n_cells_loaded=10_000)
    assert chosen.expected_rate(1000) == pytest.approx(0.048)
    assert settings(percent_per_1000_cells=0.8).expected_rate(1000) == 0.008


def test_the_rate_is_that_of_a_mixture_of_known_shares():
    rng = np.random.default_rng(0)
    single, double = rng.normal(0, 1, 9000), rng.normal(3, 1, 1000)
    x = np.concatenate([single, double])
    odds = np.exp(-((x - 3) ** 2) / 2 + x**2 / 2)
    assert doublet_rate(odds / (1 + odds)) == pytest.approx(0.1, abs=0.01)


def test_neighbors_are_those_of_a_full_table_and_never_the_cell_itself():
    points = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    table = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(table, np.inf)
    indices, distances = nearest(points, points, own=np.arange(300), k=5)
    assert np.array_equal(indices, np.argsort(table, axis=1)[:, :5])
    assert np.allclose(distances, np.sort(table, axis=1)[:, :5], atol=1e-3)


def test_genes_that_exclude_each_other_weigh_more_than_independent_ones():
    rng = np.random.default_rng(0)
    first = rng.random(500) < 0.5
    detected = np.column_stack([first, ~first, rng.random(500) < 0.5])
    weights = exclusion(detected.astype(np.float32))
    assert weights[0, 1] > 100
    assert weights[0, 2] < 10
    assert np.allclose(weights, weights.T)
    assert not weights.diagonal().any()


def test_the_classifier_pays_for_no_scanpy():
    code = (
        "import sys, score_doublets as s, anndata as ad, numpy as np\n"
        "x = np.random.default_rng(0).poisson(1.0, (60, 200)).astype(np.int32)\n"
        "chosen = s.DoubletSettings(method='classifier', threshold=None,\n"
        "    percent_per_1000_cells=0.8)\n"
        "s.score(ad.AnnData(x), chosen, seed=0)\n"
        "assert not {'scanpy', 'numba'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=SCRIPTS)


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
