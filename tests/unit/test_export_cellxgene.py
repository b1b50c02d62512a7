"""The CELLxGENE export has the layout that the schema asks for, from whole terms."""

import gzip
import json
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared import streams
from _shared.cellxgene import (
    GENE_IDS,
    TERMS,
    bare_id,
    cell_type_term,
    check_terms,
    column_name,
    why_dropped,
)
from _shared.logs import UserError
from _shared.streams import write_h5ad
from export_cellxgene import CellxgeneSettings, main, read_genes

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))
HUMAN = {
    "organism_ontology_term_id": "NCBITaxon:9606",
    "tissue_ontology_term_id": "UBERON:0002048",
    "tissue_type": "tissue",
    "disease_ontology_term_id": "PATO:0000461",
    "assay_ontology_term_id": "EFO:0009922",
    "sex_ontology_term_id": "PATO:0000383",
    "development_stage_ontology_term_id": "HsapDv:0000258",
    "self_reported_ethnicity_ontology_term_id": "unknown",
    "donor_id": "007",
    "suspension_type": "cell",
}
SAMPLES = ("A.1", "001")
SETTINGS = CellxgeneSettings(title="Lung", genes="", is_primary_data=True)


def rows_of(*names: str, **changed: str) -> dict[str, dict[str, str]]:
    return {
        name: {"sample": name, "_line": str(i), **HUMAN, **changed}
        for i, name in enumerate(names, start=2)
    }


def finished(n_genes: int = 30) -> ad.AnnData:
    """Return an object as `export_object` leaves it; most genes are human."""
    rng = np.random.default_rng(0)
    adata = tree.clusters(
        rng, samples=SAMPLES, n_cells=20, n_genes=n_genes, n_clusters=3
    )
    ids = [f"ENSG{i:011d}.{i % 7 + 1}" for i in range(n_genes)]
    # a made-up gene, the copy of a gene on Y, and a gene that stands there twice
    ids[1:4] = ["SIMG1", "ENSG00000182378.15_PAR_Y", "ENSG00000000000.9"]
    adata.var_names = pd.Index(ids, name="gene_id")
    obs = adata.obs
    obs["sex"] = pd.Categorical(["f"] * adata.n_obs)
    labels = obs["leiden"].cat.rename_categories(["b", "a", "unknown"])
    obs["cell_type"] = labels.cat.add_categories("nobody")
    terms = {"b": "CL:0000236", "a": "CL:0000255", "unknown": "unknown"}
    obs["cell_type_ontology_term_id"] = labels.map(terms).astype("category")
    obs["cell_label"] = pd.Categorical([None] * adata.n_obs, categories=["x"])
    adata.obsm["leiden_by_resolution"] = pd.DataFrame({"0.1": obs["leiden"]})
    adata.uns |= {
        "leiden_colors": np.array(["#000001", "#000002", "#000003"], dtype=object),
        "cell_type_colors": np.array(
            ["#00000b", "#00000a", "#00000e", "#00000f"], dtype=object
        ),
        "reads2cells": {"versions": {"x": "1"}, "config_digest": "d", "seed": 1},
        "cell_cycle": {"reason": ""},
    }
    adata.X = sparse.csr_matrix(adata.X)
    return adata


def export(folder: Path, adata: ad.AnnData, *, settings=SETTINGS, **changed: str):
    """Return the export, and the table of the genes that it lacks."""
    write_h5ad(adata, folder / "cells.h5ad")
    main(
        cells=folder / "cells.h5ad",
        terms={name: {**HUMAN, **changed} for name in SAMPLES},
        settings=settings,
        exported=folder / "out.h5ad",
        dropped=folder / "dropped.tsv",
    )
    dropped = pd.read_csv(folder / "dropped.tsv", sep="\t", dtype=str)
    return ad.read_h5ad(folder / "out.h5ad"), dropped


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(streams, "PIECE", 100)


def test_without_terms_nothing_is_exported():
    rows = {"a": {"sample": "a", "_line": "2", "donor": "1"}}
    assert check_terms(rows, sheet="s.tsv", design_columns=[]) == {}


def test_empty_columns_ask_for_nothing():
    rows = rows_of("a", "b", **dict.fromkeys(TERMS, ""))
    assert check_terms(rows, sheet="s.tsv", design_columns=[]) == {}


def test_a_term_that_is_of_the_design_does_not_ask_for_an_export():
    rows = {"a": {"sample": "a", "_line": "2", "donor_id": "1"}}
    assert check_terms(rows, sheet="s.tsv", design_columns=["donor_id"]) == {}


def test_whole_terms_come_back_as_text():
    found = check_terms(rows_of("a", "001"), sheet="s.tsv", design_columns=[])
    assert found == {"a": HUMAN, "001": HUMAN}


def test_missing_columns_are_named_in_one_sentence():
    rows = rows_of("a", disease_ontology_term_id="", donor_id="")
    with pytest.raises(UserError, match="disease_ontology_term_id, donor_id are miss"):
        check_terms(rows, sheet="s.tsv", design_columns=[])
    rows = {"a": {"sample": "a", "_line": "2", "suspension_type": "cell"}}
    with pytest.raises(UserError, match="or remove suspension_type"):
        check_terms(rows, sheet="s.tsv", design_columns=[])


def test_an_empty_cell_is_told_with_its_row():
    rows = rows_of("a", "b")
    rows["b"]["tissue_type"] = ""
    with pytest.raises(UserError, match=r"s.tsv row 3 column tissue_type: empty"):
        check_terms(rows, sheet="s.tsv", design_columns=[])


def test_two_organisms_are_refused():
    rows = rows_of("a") | rows_of("b", organism_ontology_term_id="NCBITaxon:10090")
    with pytest.raises(UserError, match="NCBITaxon:10090' is not 'NCBITaxon:9606'"):
        check_terms(rows, sheet="s.tsv", design_columns=[])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cell_type", "author_cell_type"),
        ("sex", "sample_sex"),
        ("tissue_type", "sample_tissue_type"),
        ("__x", "x"),
        ("donor", "donor"),
    ],
)
def test_columns_of_the_portal_get_another_name(name, expected):
    assert column_name(name) == expected


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("CL:0000236", "CL:0000236"),
        ("CL:0000255", "unknown"),
        ("B cell", "unknown"),
        ("", "unknown"),
        ("unknown", "unknown"),
    ],
)
def test_a_type_without_a_term_is_unknown(term, expected):
    assert cell_type_term(term) == expected


@pytest.mark.parametrize(
    ("gene_id", "expected"),
    [
        ("ENSG00000000003.15", "ENSG00000000003"),
        ("ENSMUSG00000051951", "ENSMUSG00000051951"),
        ("ENSG00000182378.15_PAR_Y", "ENSG00000182378.15_PAR_Y"),
        ("WBGene00000001", "WBGene00000001"),
        ("NC_045512.2", "NC_045512.2"),
    ],
)
def test_ids_lose_their_version_alone(gene_id, expected):
    assert bare_id(gene_id) == expected


def test_genes_of_others_are_dropped_and_spike_ins_stay():
    ids = ["ENSG00000000003", "ENSMUSG00000051951", "ERCC-00002", "ENSSASG00005000002"]
    for organism, own in (("NCBITaxon:9606", 0), ("NCBITaxon:10090", 1)):
        why = why_dropped(ids, organism=organism)
        assert [not reason for reason in why] == [own == 0, own == 1, True, True]


def test_every_organism_has_a_form_of_ids():
    assert len(set(GENE_IDS.values())) == len(GENE_IDS)


def test_a_list_of_genes_decides_alone(tmp_path):
    path = tmp_path / "genes.csv.gz"
    with gzip.open(path, "wt") as out:
        out.write("ENSG00000000005.2,X,1\nSIMG1\tY\n\nENSG7 Z\n")
    known = read_genes(path)
    assert known == {"ENSG00000000005", "SIMG1", "ENSG7"}
    why = why_dropped(
        ["ENSG00000000005.8", "ENSG00000000006", "SIMG1"], organism="x", known=known
    )
    assert why == ["", "not in the list of genes", ""]


def test_raw_counts_and_levels_have_the_genes_that_are_known(tmp_path):
    adata = finished()
    out, dropped = export(tmp_path, adata)
    keep = [0, *range(4, 30)]
    assert out.var_names.tolist() == [bare_id(adata.var_names[i]) for i in keep]
    assert out.raw.var_names.tolist() == out.var_names.tolist()
    for found, expected in ((out.raw.X, adata.layers["counts"]), (out.X, adata.X)):
        assert (found.format, found.dtype) == ("csr", np.float32)
        assert (found != expected[:, keep]).nnz == 0
    assert out.obs_names.tolist() == adata.obs_names.tolist()
    assert list(dropped) == ["gene_id", "gene_name", "reason", "counts"]
    assert dropped["gene_id"].tolist() == adata.var_names[1:4].tolist()
    assert dropped["reason"].str.contains("same id").tolist() == [False, False, True]
    total = adata.layers["counts"][:, 1:4].sum(axis=0)
    assert dropped["counts"].astype(int).tolist() == np.ravel(total).tolist()


@pytest.mark.parametrize("shared", [True, False])
def test_places_that_are_stored_once_stay_so(tmp_path, shared):
    adata = finished()
    if not shared:
        adata.X = adata.X.multiply(np.median(adata.X.data) < adata.X).tocsr()
    out, _ = export(tmp_path, adata)
    with h5py.File(tmp_path / "out.h5ad") as file:
        assert (file["X/indices"] == file["raw/X/indices"]) is shared
    keep = [0, *range(4, 30)]
    assert (adata.X[:, keep] != out.X).nnz == 0
    assert (adata.layers["counts"][:, keep] != out.raw.X).nnz == 0


def test_cells_have_every_term_and_no_column_of_the_portal(tmp_path):
    adata = finished()
    out, _ = export(tmp_path, adata)
    assert (out.obs["donor_id"] == "007").all()
    assert "organism_ontology_term_id" not in out.obs
    assert not {"cell_type", "sex"} & set(out.obs)
    assert out.obs["sample_sex"].tolist() == ["f"] * adata.n_obs
    assert set(out.obs["cell_type_ontology_term_id"]) == {"CL:0000236", "unknown"}
    assert out.obs["is_primary_data"].dtype == bool
    for name, column in out.obs.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            assert set(column.cat.categories) == set(column.dropna()), name
        else:
            assert column.dtype.kind in "bif", name


def test_uns_and_maps_are_those_that_the_portal_takes(tmp_path):
    out, _ = export(tmp_path, finished())
    assert set(out.obsm) == {"X_pca", "X_umap"}
    assert out.uns["default_embedding"] == "X_umap"
    assert (out.uns["title"], out.uns["organism_ontology_term_id"]) == (
        "Lung",
        "NCBITaxon:9606",
    )
    assert not {"schema_version", "schema_reference", "citation"} & set(out.uns)
    assert out.uns["reads2cells"]["cellxgene_schema"]
    colors = out.uns["author_cell_type_colors"].tolist()
    labels = out.obs["author_cell_type"].cat.categories.tolist()
    assert dict(zip(labels, colors, strict=True)) == {
        "a": "#00000a",
        "b": "#00000b",
        "unknown": "#00000e",
    }
    assert list(out.var) == ["gene_name", "feature_is_filtered"]
    assert not out.var["feature_is_filtered"].any()
    assert list(out.raw.var) == ["gene_name"]


def test_a_cell_without_counts_of_these_genes_is_left_out(tmp_path):
    adata = finished()
    for name in ("counts", "X"):
        matrix = (adata.X if name == "X" else adata.layers[name]).tolil()
        matrix[5, :] = 0
        matrix[5, 1] = 3
        matrix = matrix.tocsr()
        if name == "X":
            adata.X = matrix
        else:
            adata.layers[name] = matrix
    out, _ = export(tmp_path, adata)
    assert out.obs_names.tolist() == adata.obs_names.delete(5).tolist()
    assert len(out.obsm["X_umap"]) == out.n_obs == out.raw.X.shape[0]


def test_made_up_genes_end_in_one_sentence(tmp_path):
    adata = finished()
    adata.var_names = [f"SIMG{i}" for i in range(adata.n_vars)]
    with pytest.raises(UserError, match=r"none of 30 gene ids .*SIMG0"):
        export(tmp_path, adata)


def test_the_schema_of_the_sheet_knows_the_terms():
    schema = (tree.ROOT / "config/schemas/samples.schema.yaml").read_text()
    assert [name for name in TERMS if f"\n  {name}:\n" not in schema] == []
    assert json.loads(json.dumps(HUMAN)).keys() == set(TERMS)


def test_text_is_stored_as_every_reader_knows_it(tmp_path):
    export(tmp_path, finished())
    kinds = set()
    with h5py.File(tmp_path / "out.h5ad") as file:
        file.visititems(lambda _, item: kinds.add(item.attrs.get("encoding-type")))
    assert "string-array" in kinds
    assert "nullable-string-array" not in kinds
