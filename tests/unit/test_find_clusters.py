"""Tests of clusters and map."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from find_clusters import ClusterSettings, clustered, main, named_by_size

SETTINGS = ClusterSettings(n_neighbors=15, n_pcs=30, resolution=0.4, min_dist=0.5)


@pytest.fixture
def groups():
    """Scores of 300 cells in four groups, one of them rare."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2, 3], [140, 100, 50, 10])
    centers = 15 * np.eye(4, 6)
    scores = centers[kind] + rng.normal(size=(300, 6))
    order = rng.permutation(300)
    return scores[order].astype(np.float32), kind[order]


def test_planted_groups_are_found_the_rare_one_too(groups):
    scores, kind = groups
    labels, umap = clustered(scores, SETTINGS, seed=1)
    assert adjusted_rand_score(kind, labels) == 1
    assert umap.shape == (300, 2)
    assert umap.dtype == np.float32
    assert np.isfinite(umap).all()


def test_the_same_seed_gives_the_same_clusters_and_map(groups):
    scores, _ = groups
    first, second = (clustered(scores, SETTINGS, seed=1) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])


def test_clusters_are_named_by_size_and_ties_by_the_first_cell():
    names = named_by_size(np.array(["x", "z", "y", "y", "y", "z", "x"]))
    assert list(names) == ["1", "2", "0", "0", "0", "2", "1"]
    assert names.categories.tolist() == ["0", "1", "2"]


def test_eleven_clusters_are_in_the_order_of_numbers():
    names = named_by_size(np.repeat(np.arange(11), np.arange(20, 9, -1)))
    assert names.categories.tolist() == [str(i) for i in range(11)]


@pytest.mark.parametrize(("n_cells", "n_comps"), [(0, 0), (1, 0), (3, 2), (9, 8)])
def test_few_cells_are_one_cluster(n_cells, n_comps, tmp_path):
    names = [f"c{i}" for i in range(n_cells)]
    scores = np.random.default_rng(0).normal(size=(n_cells, n_comps))
    scores = scores.astype(np.float32)
    obs = pd.DataFrame(index=names)
    normalized = ad.AnnData(np.ones((n_cells, 3), dtype=np.float32), obs=obs)
    pca = ad.AnnData(obs=obs, obsm={"X_pca": scores})
    pca.uns["pca"] = {"variance_ratio": np.ones(n_comps)}
    integrated = ad.AnnData(obs=obs, obsm={"X_integrated": scores})
    integrated.uns["integration"] = {"used": False}
    paths = {}
    for name, adata in {
        "normalized": normalized,
        "pca": pca,
        "integrated": integrated,
    }.items():
        paths[name] = tmp_path / f"{name}.h5ad"
        adata.write_h5ad(paths[name])
    main(**paths, clusters=tmp_path / "clusters.h5ad", settings=SETTINGS, seed=1)

    adata = ad.read_h5ad(tmp_path / "clusters.h5ad")
    assert adata.obs["leiden"].tolist() == ["0"] * n_cells
    assert adata.obsm["X_umap"].shape == (n_cells, 2)
    assert len(adata.uns["leiden_colors"]) == min(n_cells, 1)
    assert adata.obsm["X_integrated"].shape == (n_cells, n_comps)
    assert not adata.uns["integration"]["used"]


@pytest.mark.parametrize("n_cells", [10, 16])
def test_cells_just_enough_for_a_graph_are_clustered(n_cells):
    scores = np.random.default_rng(0).normal(size=(n_cells, 4)).astype(np.float32)
    labels, umap = clustered(scores, SETTINGS, seed=1)
    assert len(labels) == n_cells
    assert np.isfinite(umap).all()
