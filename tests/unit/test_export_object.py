"""The object that users open keeps the contract, or is not written."""

import re
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc

from _shared.streams import Matrix, write_h5ad
from export_object import label_cells, main, problems

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))
ANNOTATION = pd.DataFrame(
    {"cluster": ["0", "1", "2"], "cell_type": ["unknown", "B cells", "T cells"]}
)


@pytest.fixture
def adata() -> ad.AnnData:
    rng = np.random.default_rng(0)
    size = {"n_cells": 12, "n_genes": 20, "n_clusters": 3}
    return tree.clusters(rng, samples=("A.1", "001"), **size)


def export(root: Path, *, star_version: Path | None = None, **kwargs) -> ad.AnnData:
    tree.write_tree(root, **kwargs)
    return finished(root, star_version=star_version)


def finished(root: Path, *, star_version: Path | None = None) -> ad.AnnData:
    cells = root / "out.h5ad"
    main(
        clusters=root / "results/clusters/clusters.h5ad",
        annotation=root / "results/annotate/annotation.tsv",
        star_version=star_version,
        cell_labels=root / "results/annotate/cell_labels.tsv.gz",
        cells=cells,
        config={"seed": 7},
        seed=7,
        design=tree.config()["design"],
        min_samples=2,
        sheet={},
    )
    return ad.read_h5ad(cells)


def test_matrices_have_the_types_of_the_contract(tmp_path):
    adata = export(tmp_path)
    counts = adata.layers["counts"]
    assert (counts.format, counts.dtype) == ("csr", np.int32)
    assert (adata.X.format, adata.X.dtype) == ("csr", np.float32)
    assert {"X_pca", "X_umap"} <= set(adata.obsm)


def test_labels_follow_the_clusters(tmp_path):
    adata = export(tmp_path)
    rows = pd.read_csv(
        tmp_path / "results/annotate/annotation.tsv", sep="\t", dtype=str
    )
    label_of = rows.set_index("cluster")["cell_type"]
    expected = adata.obs["leiden"].astype(str).map(label_of)
    assert adata.obs["cell_type"].astype(str).tolist() == expected.tolist()
    assert isinstance(adata.obs["cell_type"].dtype, pd.CategoricalDtype)


def test_confidence_and_labels_of_cells_are_beside_the_labels(tmp_path):
    obs = export(tmp_path).obs
    assert set(obs["cell_type_ontology_term_id"]) == {"CL:0000084"}
    assert set(obs["cell_label"]) == {"T cells"}
    assert np.allclose(obs["cell_type_confidence"], 0.8)
    assert np.allclose(obs["cell_label_confidence"], 0.7)


def test_the_evidence_of_every_contrast_is_inside(tmp_path):
    found = export(tmp_path).uns["reads2cells"]["contrasts"]
    # of three samples one was set aside
    assert found["stim_vs_ctrl"]["comparison"] == "condition stim against ctrl"
    assert found["stim_vs_ctrl"]["evidence"] in ("exploratory", "refused")


def test_design_columns_stay_categoricals(tmp_path):
    adata = export(tmp_path)
    assert isinstance(adata.obs["condition"].dtype, pd.CategoricalDtype)


def test_provenance_and_colors_are_inside(tmp_path):
    version = tmp_path / "star_version.txt"
    version.write_text("2.7.10b\n")
    uns = export(tmp_path, star_version=version).uns
    assert uns["reads2cells"]["seed"] == 7
    assert uns["reads2cells"]["versions"]["STAR"] == "2.7.10b"
    assert len(uns["reads2cells"]["config_digest"]) == 64
    assert len(uns["leiden_colors"]) == 4
    assert all(color.startswith("#") for color in uns["cell_type_colors"])


def test_an_absent_program_has_no_version(tmp_path):
    assert "STAR" not in export(tmp_path).uns["reads2cells"]["versions"]


def test_no_cells_give_an_object_without_cells(tmp_path):
    adata = export(tmp_path, set_aside=tree.SAMPLES)
    assert adata.n_obs == 0
    assert "cell_type" in adata.obs


def test_unknown_is_the_last_category(adata):
    labels = label_cells(adata.obs["leiden"], ANNOTATION)
    assert list(labels.categories) == ["B cells", "T cells", "unknown"]


def test_a_cluster_without_a_label_is_an_error(adata):
    with pytest.raises(ValueError, match=r"without a row in annotation.tsv: \['2'\]"):
        label_cells(adata.obs["leiden"], ANNOTATION.iloc[:2])


def problems_of(adata: ad.AnnData) -> list[str]:
    layers = {name: adata.layers[name] for name in adata.layers if name is not None}
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        ad.io.write_elem(file, "layers", layers)
        return problems(
            adata, {name: Matrix(file[f"layers/{name}"]) for name in layers}
        )


def test_a_sound_object_has_no_problems(adata):
    assert problems_of(adata) == []


@pytest.mark.filterwarnings("ignore:Variable names are not unique")
@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda a: a.obs.pop("doublet_score"), "obs has no 'doublet_score'"),
        (lambda a: a.obsm.pop("X_umap"), "obsm has no 'X_umap'"),
        (lambda a: a.layers.pop("counts"), "layers has no 'counts'"),
        (lambda a: a.layers.update(counts=a.layers["counts"] * 0.5), "are no counts"),
        (lambda a: a.layers.update(counts=a.layers["counts"] * -1), "are no counts"),
        (
            lambda a: setattr(a, "obs_names", a.obs_names + "x"),
            "24 cells are not named",
        ),
        (
            lambda a: setattr(a, "var_names", ["g", "g", *a.var_names[2:]]),
            "gene names repeat, first g",
        ),
    ],
)
def test_a_broken_contract_is_named_and_nothing_is_written(
    adata, spoil, problem, tmp_path
):
    tree.write_tree(tmp_path)
    spoil(adata)
    assert any(re.search(problem, found) for found in problems_of(adata))
    adata.write_h5ad(tmp_path / "results/clusters/clusters.h5ad")
    with pytest.raises(ValueError, match=problem):
        finished(tmp_path)
    assert not (tmp_path / "out.h5ad").exists()


def test_a_dense_object_becomes_sparse(adata, tmp_path):
    tree.write_tree(tmp_path)
    dense = adata.X.toarray()
    adata.X = dense.astype(float)
    adata.layers["counts"] = adata.layers["counts"].astype(np.int64)
    adata.write_h5ad(tmp_path / "results/clusters/clusters.h5ad")
    done = finished(tmp_path)
    assert (done.X.format, done.X.dtype) == ("csr", np.float32)
    assert np.array_equal(done.X.toarray(), dense)
    assert done.layers["counts"].dtype == np.int32


def test_places_that_are_stored_once_stay_so(adata, tmp_path):
    tree.write_tree(tmp_path)
    adata.layers["counts"] = adata.X.copy()
    adata.layers["counts"].data = np.ceil(adata.X.data).astype(np.int32)
    write_h5ad(adata, tmp_path / "results/clusters/clusters.h5ad")
    done = finished(tmp_path)
    assert np.array_equal(done.X.toarray(), adata.X.toarray())
    counts = adata.layers["counts"].toarray()
    assert np.array_equal(done.layers["counts"].toarray(), counts)
    with h5py.File(tmp_path / "out.h5ad") as file:
        assert file["X/indices"] == file["layers/counts/indices"]


def test_text_is_stored_as_every_reader_knows_it(tmp_path):
    export(tmp_path)
    kinds = set()
    with h5py.File(tmp_path / "out.h5ad") as file:
        file.visititems(lambda _, item: kinds.add(item.attrs.get("encoding-type")))
    assert "string-array" in kinds
    assert "nullable-string-array" not in kinds


def test_scanpy_opens_the_object_and_finds_its_parts(tmp_path):
    export(tmp_path)
    adata = sc.read_h5ad(tmp_path / "out.h5ad")
    gene = adata.var_names[0]
    table = sc.get.obs_df(adata, keys=["cell_type", "leiden", gene], layer="counts")
    assert (table[gene] == adata.layers["counts"][:, [0]].toarray().ravel()).all()
    means = sc.get.aggregate(adata, by="leiden", func="mean")
    assert means.n_obs == adata.obs["leiden"].cat.categories.size
    assert len(adata.uns["cell_type_colors"]) == len(
        adata.obs["cell_type"].cat.categories
    )
