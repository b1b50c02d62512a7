"""Tests of normalization and of the choice of variable genes."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from normalize_counts import (
    NormalizeSettings,
    expected_log_variance,
    log_normalized,
    main,
    mean_standardized_variance,
    size_factors,
    standardized_variance,
    top_genes,
)


def matrix(rows):
    return sparse.csr_matrix(np.array(rows, dtype=np.int32))


@pytest.fixture
def poisson():
    """Genes of many levels without structure: 400 cells, 300 genes."""
    rng = np.random.default_rng(0)
    return rng.poisson(rng.lognormal(0, 1.2, 300), (400, 300)).astype(np.int32)


def test_cells_of_different_depth_become_equal():
    counts = matrix([[1, 3], [10, 30]])
    x = log_normalized(counts, size_factors(counts, target_sum=100))
    assert np.allclose(x.toarray(), np.log1p([[25, 75], [25, 75]]))
    assert x.dtype == np.float32


def test_without_a_target_cells_get_the_median_depth():
    factors = size_factors(matrix([[2, 0], [4, 0], [8, 0], [0, 0]]), target_sum=None)
    assert factors.tolist() == [0.5, 1, 2, 1]


def test_a_cell_without_counts_stays_zero():
    counts = matrix([[0, 0], [1, 1]])
    x = log_normalized(counts, size_factors(counts, target_sum=10))
    assert x.toarray()[0].tolist() == [0, 0]


def test_the_standardized_variance_is_that_of_clipped_z_scores(poisson):
    poisson[0, 7] = 5000
    mean, variance = poisson.mean(axis=0), poisson.var(axis=0, ddof=1)
    sd = np.sqrt(10 ** expected_log_variance(np.log10(mean), np.log10(variance)))
    z = np.minimum((poisson - mean) / sd, np.sqrt(400))
    expected = (z**2).sum(axis=0) / 399
    assert np.allclose(standardized_variance(matrix(poisson)), expected)
    # one extreme cell does not make a gene variable
    assert expected[7] < 10


def test_genes_without_structure_have_a_standardized_variance_of_one(poisson):
    score = standardized_variance(matrix(poisson))
    assert np.isclose(np.median(score), 1, atol=0.05)


def test_planted_variable_genes_come_first(poisson):
    poisson[:80, 20:40] *= 6
    score = standardized_variance(matrix(poisson))
    assert np.flatnonzero(top_genes(score, n_top_genes=20)).tolist() == list(
        range(20, 40)
    )


def test_a_gene_that_only_differs_between_samples_is_not_chosen(poisson):
    samples = pd.Series(np.repeat(["a", "b"], 200))
    poisson[:200, 5] = np.random.default_rng(1).poisson(40, 200)
    poisson[200:, 5] = np.random.default_rng(2).poisson(5, 200)
    together = standardized_variance(matrix(poisson))[5]
    within = mean_standardized_variance(matrix(poisson), samples)[5]
    assert together > 5
    assert within < 2


def test_constant_genes_are_never_chosen():
    score = standardized_variance(matrix([[1, 0, 5], [1, 0, 0], [1, 0, 2]]))
    assert top_genes(score, n_top_genes=3).tolist() == [False, False, True]


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_main_writes_a_whole_object_for_tiny_inputs(n_cells, tmp_path):
    x = matrix(np.arange(n_cells * 4).reshape(n_cells, 4))
    obs = pd.DataFrame({"sample": ["a"] * n_cells}, index=list("xyz")[:n_cells])
    ad.AnnData(x, obs=obs.astype("category"), layers={"counts": x}).write_h5ad(
        tmp_path / "merged.h5ad"
    )
    main(
        merged=tmp_path / "merged.h5ad",
        normalized=tmp_path / "normalized.h5ad",
        settings=NormalizeSettings(target_sum=10000, n_top_genes=2),
    )
    adata = ad.read_h5ad(tmp_path / "normalized.h5ad")
    assert adata.X.dtype == np.float32
    assert adata.layers["counts"].dtype == np.int32
    assert adata.var["highly_variable"].sum() == (2 if n_cells == 3 else 0)
    assert adata.obs["size_factor"].notna().all()
