"""Clusters between two others are told, types of their own are not."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.doublet_clusters import COLUMNS, Moments, doublet_clusters, genes_against

sys.path.insert(0, str(Path(__file__).parents[1] / "demo"))

from simulated_counts import Plan, make_profiles, simulate_sample


def moments_of(counts, labels, *, step=10_000):
    moments = Moments(clusters=sorted(set(labels)), n_genes=counts.shape[1])
    for start in range(0, counts.shape[0], step):
        part = slice(start, start + step)
        moments.add(counts[part], np.asarray(labels)[part])
    return moments


def found(counts, labels, scores):
    totals = np.asarray(counts.sum(axis=1)).ravel()
    table = doublet_clusters(
        moments_of(counts, labels),
        labels=pd.Series(labels),
        totals=pd.Series(totals),
        scores=pd.Series(scores, dtype=float),
    )
    assert table.columns.tolist() == list(COLUMNS)
    return table.set_index("cluster")


@pytest.fixture(scope="module")
def sample():
    """Return cells clustered by their type; doublets of two types are one cluster."""
    plan = Plan(
        n_genes=3_000,
        n_types=6,
        median_counts=2_000,
        rare_shares=(0.015, 0.03),
        doublet_rate=0.12,
    )
    profiles = make_profiles(plan, seed=1)
    adata = simulate_sample(plan, profiles, sample="s", batch=0, n_cells=1_500, seed=1)
    obs = adata.obs
    pairs = obs[["true_type", "true_second_type"]].astype(str)
    both = pairs.apply(lambda row: "+".join(sorted(row)), axis=1)
    double = obs["is_doublet"] & (obs["true_type"] != obs["true_second_type"])
    labels = both.where(double, obs["true_type"].astype(str))
    kept = labels.map(labels.value_counts()) >= 12
    adata = adata[kept.to_numpy()]
    scores = np.where(double[kept], 0.6, 0.03)
    return adata.X.tocsr(), labels[kept].to_numpy(dtype=str), scores


def test_doublets_of_two_types_are_flagged_with_their_parents_and_no_type_is(sample):
    table = found(*sample)
    planted = table.index.str.contains("+", regex=False)
    assert planted.sum() >= 4
    assert table.loc[planted, "flagged"].all()
    assert not table.loc[~planted, "flagged"].any()
    parents = table.loc[planted, ["parent_1", "parent_2"]]
    as_found = ["+".join(sorted(pair)) for pair in parents.to_numpy()]
    assert as_found == list(table.index[planted])
    assert (table.loc[planted, "lib_size_ratio"] > 1.3).all()


def test_rare_types_have_genes_of_their_own(sample):
    table = found(*sample)
    rare = table.loc[["type_4", "type_5"]]
    assert (rare["n_cells"] < 60).all()
    assert (rare["n_genes_against"] > 20).all()
    assert rare["reason"].str.contains("genes of its own").all()


def test_what_speaks_against_doublets_is_told(sample):
    counts, labels, scores = sample
    table = found(counts, labels, np.full_like(scores, 0.03))
    assert not table["flagged"].any()
    planted = table.index.str.contains("+", regex=False)
    assert (table.loc[planted, "reason"] == "doublet scores are not raised").all()
    # cells that were not scored are not doublets
    unscored = found(counts, labels, np.full_like(scores, np.nan))
    assert not unscored["flagged"].any()


def test_chunks_change_nothing(sample):
    counts, labels, _ = sample
    whole = moments_of(counts, labels)
    pieces = moments_of(counts, labels, step=70)
    assert np.allclose(whole.mean(), pieces.mean())
    assert np.allclose(whole.error(), pieces.error())
    assert np.array_equal(whole.n_cells, pieces.n_cells)


def test_moments_are_mean_and_error_of_shares():
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(2.0, (40, 8)))
    labels = np.repeat(["a", "b"], 20)
    shares = 1e4 * counts.toarray() / counts.sum(axis=1)
    moments = moments_of(counts, labels)
    assert np.allclose(moments.mean()[1], np.asarray(shares)[20:].mean(axis=0))
    plain = np.asarray(shares)[20:].var(axis=0, ddof=1) / 20
    assert np.all(moments.error()[1] >= plain)


def test_a_larger_cluster_is_no_doublet_of_smaller_ones():
    rng = np.random.default_rng(0)
    labels = np.repeat(["a", "b", "c"], [60, 20, 20])
    moments = moments_of(sparse.csr_matrix(rng.poisson(2.0, (100, 5))), labels)
    assert not np.isfinite(genes_against(moments, 0)).any()
    assert np.isfinite(genes_against(moments, 1)).any()


@pytest.mark.parametrize("n", [0, 1, 3, 10])
@pytest.mark.parametrize("n_clusters", [1, 2, 4])
def test_few_cells_and_clusters_have_a_defined_result(n, n_clusters):
    counts = sparse.csr_matrix(np.ones((n, 1), dtype=np.int32))
    labels = [str(cell % n_clusters) for cell in range(n)]
    table = found(counts, labels, [0.5] * n)
    assert len(table) == len(set(labels))
    assert not table["flagged"].any()
    assert (table["reason"] != "").all()


def test_identical_cells_are_no_doublets():
    counts = sparse.csr_matrix(np.full((90, 4), 3))
    table = found(counts, np.repeat(["a", "b", "c"], 30), [0.5] * 90)
    assert not table["flagged"].any()
