"""Tests of the joined object."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.streams import write_h5ad
from join_clusters import joined_obs, main


@pytest.fixture
def parts(tmp_path):
    """Files of a stage: 30 cells, 12 genes; `corrected` has fewer entries."""
    rng = np.random.default_rng(0)
    counts = sparse.csr_matrix(rng.poisson(1, (30, 12)).astype(np.int32))
    names = [f"c{i}" for i in range(30)]
    obs = pd.DataFrame({"sample": pd.Categorical(["a"] * 30)}, index=names)
    merged = ad.AnnData(counts, obs=obs)
    normalized = ad.AnnData(
        counts.astype(np.float32) / 2, obs=obs.assign(size_factor=1)
    )
    normalized.var["highly_variable"] = np.arange(12) < 5
    pca = ad.AnnData(obs=obs.assign(size_factor=2), obsm={"X_pca": np.ones((30, 3))})
    pca.uns["pca"] = {"variance_ratio": np.ones(3)}
    clustering = ad.AnnData(obs=pd.DataFrame({"leiden": ["0"] * 30}, index=names))
    clustering.obsm["X_umap"] = np.zeros((30, 2))
    return {
        "merged": merged,
        "normalized": normalized,
        "pca": pca,
        "clustering": clustering,
    }


def join(folder, parts):
    paths = {name: folder / f"{name}.h5ad" for name in parts}
    for name, adata in parts.items():
        if name in ("merged", "normalized"):
            write_h5ad(adata, paths[name])
        else:
            adata.write_h5ad(paths[name])
    main(
        merged=paths.pop("merged"),
        normalized=paths.pop("normalized"),
        parts=paths,
        clusters=folder / "clusters.h5ad",
    )
    return ad.read_h5ad(folder / "clusters.h5ad")


def test_everything_comes_together(parts, tmp_path):
    adata = join(tmp_path, parts)
    assert np.array_equal(adata.X.toarray(), parts["normalized"].X.toarray())
    assert np.array_equal(adata.layers["counts"].toarray(), parts["merged"].X.toarray())
    assert adata.layers["counts"].dtype == np.int32
    assert adata.obs.columns.tolist() == ["sample", "size_factor", "leiden"]
    assert (adata.obs["size_factor"] == 1).all()
    assert adata.var["highly_variable"].sum() == 5
    assert set(adata.obsm) == {"X_pca", "X_umap"}
    assert adata.uns["pca"]["variance_ratio"].tolist() == [1, 1, 1]


def test_places_of_entries_are_stored_once(parts, tmp_path):
    join(tmp_path, parts)
    with h5py.File(tmp_path / "clusters.h5ad") as file:
        assert file["X/indices"] == file["layers/counts/indices"]


def test_corrected_counts_come_along(parts, tmp_path):
    corrected = parts["merged"].X.copy()
    corrected.data -= 1
    corrected.eliminate_zeros()
    parts["merged"].layers["corrected"] = corrected
    parts["normalized"].X = corrected.astype(np.float32)
    adata = join(tmp_path, parts)
    assert np.array_equal(adata.X.toarray(), corrected.toarray())
    assert np.array_equal(adata.layers["corrected"].toarray(), corrected.toarray())
    assert np.array_equal(adata.layers["counts"].toarray(), parts["merged"].X.toarray())


def test_no_cells_are_an_object_of_all_genes(parts, tmp_path):
    none = {name: adata[:0].copy() for name, adata in parts.items()}
    assert join(tmp_path, none).shape == (0, 12)


def test_other_cells_are_refused(parts):
    tables = {name: adata.obs for name, adata in parts.items()}
    tables["clustering"] = tables["clustering"].iloc[::-1]
    with pytest.raises(ValueError, match="clustering has not the cells of merged"):
        joined_obs(tables)
