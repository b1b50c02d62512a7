"""Tests of the principal components."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.streams import Matrix, write_csr
from reduce_dimensions import ReduceSettings, main, principal_components


def components(x, *, n_comps, threads=1):
    """Return components of a matrix that lies in a file."""
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        if sparse.issparse(x):
            write_csr(file, "X", x.tocsr())
        else:
            file["X"] = x
        return principal_components(Matrix(file["X"]), n_comps=n_comps, threads=threads)


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(60, 4)) @ rng.normal(size=(4, 30)) * 3
    return sparse.csr_matrix(np.maximum(low_rank + rng.normal(size=(60, 30)), 0))


def test_the_components_are_those_of_the_singular_value_decomposition(x):
    scores, shares = components(x, n_comps=5)
    dense = x.toarray() - x.toarray().mean(axis=0)
    u, s, _ = np.linalg.svd(dense, full_matrices=False)
    assert np.allclose(np.abs(scores), np.abs(u * s)[:, :5], atol=1e-4)
    assert np.allclose(shares, (s**2 / (s**2).sum())[:5])


def test_the_largest_loading_is_positive(x):
    scores, _ = components(x, n_comps=5)
    dense = x.toarray() - x.toarray().mean(axis=0)
    loadings = dense.T @ scores
    largest = loadings[np.abs(loadings).argmax(axis=0), np.arange(5)]
    assert (largest > 0).all()


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "expected"),
    [(0, 5, 0), (1, 5, 0), (3, 5, 2), (9, 3, 2), (9, 0, 0)],
)
def test_components_are_no_more_than_the_data_carry(n_cells, n_genes, expected):
    x = np.random.default_rng(0).poisson(3, (n_cells, n_genes))
    scores, shares = components(sparse.csr_matrix(x), n_comps=50)
    assert scores.shape == (n_cells, expected)
    assert shares.shape == (expected,)


def test_identical_cells_have_no_variance():
    scores, shares = components(sparse.csr_matrix(np.ones((5, 4))), n_comps=2)
    assert np.allclose(scores, 0)
    assert np.allclose(shares, 0)


def test_large_means_cost_no_digits(x):
    far = x.toarray() + 1000
    near, _ = components(x, n_comps=4)
    assert np.allclose(components(far, n_comps=4)[0], near, atol=0.01)


@pytest.mark.parametrize("kind", ["sparse", "dense"])
def test_pieces_and_threads_change_nothing(kind, x, monkeypatch):
    x = x.astype(np.float32)
    x = x if kind == "sparse" else x.toarray()
    whole, _ = components(x, n_comps=5)
    monkeypatch.setattr("reduce_dimensions.PIECE", 7 * 30)
    one, two = (components(x, n_comps=5, threads=n)[0] for n in (1, 2))
    assert np.array_equal(one, two)
    assert np.allclose(whole, one, atol=1e-4)


def test_main_writes_scores_and_all_columns_of_the_cells(x, tmp_path):
    adata = ad.AnnData(x, obs=pd.DataFrame(index=[f"c{i}" for i in range(60)]))
    adata.obs["batch"] = pd.Categorical(["u", "v"] * 30)
    adata.write_h5ad(tmp_path / "variable.h5ad")
    main(
        variable=tmp_path / "variable.h5ad",
        pca=tmp_path / "pca.h5ad",
        settings=ReduceSettings(n_comps=3),
    )
    result = ad.read_h5ad(tmp_path / "pca.h5ad")
    expected, shares = components(x, n_comps=3)
    assert np.array_equal(result.obsm["X_pca"], expected)
    assert np.array_equal(result.uns["pca"]["variance_ratio"], shares)
    assert result.obs["batch"].tolist() == adata.obs["batch"].tolist()
