"""Tests of labels learned from a reference."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.label_transfer import learned, probabilities, refuted
from _shared.logs import UserError
from _shared.reference_cells import chosen_cells, log_levels, read_reference
from annotate_clusters import AnnotateSettings, main

N_GENES, PER_TYPE = 300, 40
TYPES = ("alpha", "beta", "gamma")
IDS = {"alpha": "CL:0000171", "beta": "CL:0000169", "gamma": ""}
SETTINGS = AnnotateSettings(
    markers="",
    min_score=0.15,
    min_lead=0.05,
    reference="",
    reference_labels="label",
    reference_ontology="",
    min_probability=0.35,
    aliases="",
)


def profiles(rng):
    """Return the mean counts of the types: 30 genes of each are eight times as high."""
    base = rng.gamma(0.8, 1.0, N_GENES)
    means = np.tile(base, (len(TYPES), 1))
    for number in range(len(TYPES)):
        means[number, 30 * number : 30 * number + 30] *= 8
    return means


def simulated(types, *, seed, shift=0.0):
    """Return counts of `PER_TYPE` cells of each type; `shift` is a batch's effect."""
    means = profiles(np.random.default_rng(0))
    rng = np.random.default_rng(seed)
    means *= np.exp(rng.normal(0, shift, N_GENES))
    labels = np.repeat(types, PER_TYPE)
    rows = means[[TYPES.index(name) for name in labels]]
    counts = rng.poisson(rows * rng.lognormal(0, 0.3, (len(labels), 1)))
    return ad.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {
                "label": pd.Categorical(labels),
                "id": [IDS[name] for name in labels],
            },
            index=[f"c{i}" for i in range(len(labels))],
        ),
        var=pd.DataFrame(
            {"gene_name": [f"S{i}" for i in range(N_GENES)]},
            index=[f"ENSG{i}" for i in range(N_GENES)],
        ),
    )


def normalized(adata):
    adata = adata.copy()
    adata.X = log_levels(adata.X, target=10_000)
    return adata


@pytest.fixture
def read(tmp_path):
    def run(adata, query=None, **options):
        query = simulated(TYPES, seed=9) if query is None else query
        path = tmp_path / "reference.h5ad"
        adata.write_h5ad(path)
        options = {"labels": "label", "ontology": "", "seed": 0} | options
        return read_reference(
            path,
            genes=query.var.index,
            symbols=query.var["gene_name"],
            target=10_000,
            **options,
        )

    return run


def accuracy(model, query):
    decisions = model.decisions(normalized(query).X)
    found = np.array(model.types)[decisions.argmax(axis=1)]
    return (found == query.obs["label"].to_numpy()).mean()


@pytest.mark.parametrize("form", ["counts", "log", "layer", "raw", "dense", "linear"])
def test_types_are_found_again_whatever_the_reference_holds(read, form):
    reference = simulated(TYPES, seed=1)
    counts = reference.X.copy()
    if form == "log":
        reference = normalized(reference)
    if form == "layer":
        reference.layers["counts"] = counts
        reference.X = sparse.csr_matrix(counts.toarray() - 3)
    if form == "raw":
        reference.raw = normalized(reference)
        reference.X = sparse.csr_matrix(counts.toarray() - 3)
    if form == "dense":
        reference.X = counts.toarray()
    if form == "linear":
        reference = normalized(reference)
        reference.X = reference.X.expm1()
    found = read(reference)
    expected = normalized(simulated(TYPES, seed=1)).X.toarray()
    order = np.argsort(found.columns)
    assert np.allclose(found.x.toarray()[:, order], expected, atol=1e-3)
    assert accuracy(learned(found), simulated(TYPES, seed=2, shift=0.3)) >= 0.95


def test_a_type_that_the_reference_lacks_is_unknown(tmp_path):
    query = normalized(simulated(TYPES, seed=2, shift=0.2))
    query.obs = query.obs.rename(columns={"label": "leiden"})
    query.obsm["X_pca"] = np.eye(3)[query.obs["leiden"].cat.codes] * 50
    query.write_h5ad(tmp_path / "clusters.h5ad")
    reference = simulated(TYPES, seed=1)[:, :280]
    reference = reference[reference.obs["label"] != "gamma"].copy()
    reference.write_h5ad(tmp_path / "reference.h5ad")
    main(
        clusters=tmp_path / "clusters.h5ad",
        markers=[],
        reference=tmp_path / "reference.h5ad",
        celltypist=None,
        aliases=None,
        annotation=tmp_path / "annotation.tsv",
        scores=tmp_path / "scores.tsv",
        cell_labels=tmp_path / "cells.tsv.gz",
        settings=SETTINGS,
        seed=0,
    )
    found = pd.read_csv(tmp_path / "annotation.tsv", sep="\t", keep_default_na=False)
    assert found["cell_type"].tolist() == ["alpha", "beta", "unknown"]
    assert found["methods"].tolist() == ["reference", "reference", ""]
    assert found["confidence"].astype(float).iloc[:2].min() > 0.5
    # what speaks for a type are genes that are high in it
    genes = [int(name[1:]) for name in found["evidence"].iloc[1].split(",")]
    assert np.mean([30 <= gene < 60 for gene in genes]) >= 0.8
    cells = pd.read_csv(tmp_path / "cells.tsv.gz", sep="\t")
    assert (cells["cell_label"] == cells["cell_type"]).mean() > 0.95


def test_genes_are_found_by_id_without_version_or_by_symbol(read):
    reference = simulated(TYPES, seed=1)[:, ::-1].copy()
    by_id = read(reference)
    reference.var.index = [f"{name}.4" for name in reference.var.index]
    with_version = read(reference)
    reference.var.index = reference.var["gene_name"]
    by_symbol = read(reference[:, 100:].copy())
    for found in (by_id, with_version, by_symbol):
        query = simulated(TYPES, seed=1)
        expected = normalized(query).X.toarray()[:, found.columns]
        # fewer genes are another sum
        if len(found.columns) == N_GENES:
            assert np.allclose(found.x.toarray(), expected, atol=1e-3)
        assert accuracy(learned(found), query) >= 0.95
    assert len(by_id.columns) == len(with_version.columns) == N_GENES
    assert sorted(by_symbol.columns) == list(range(200))


def test_ids_of_the_ontology_are_kept(read):
    found = read(simulated(TYPES, seed=1), ontology="id")
    assert found.ontology == {name: IDS[name] for name in TYPES if IDS[name]}


def test_types_weigh_the_same_however_many_their_cells():
    labels = np.array(["a"] * 1000 + ["b"] * 20 + [""] * 50 + ["c"] * 2)
    cells = chosen_cells(labels, seed=0)
    assert pd.Series(labels[cells]).value_counts().to_dict() == {"a": 300, "b": 20}
    assert (np.diff(cells) > 0).all()
    assert np.array_equal(cells, chosen_cells(labels, seed=0))


def test_logarithms_of_some_genes_only_are_left_as_they_are():
    rng = np.random.default_rng(0)
    x = sparse.csr_matrix(rng.gamma(1, 1, (20, 5)).astype(np.float32))
    assert np.allclose(log_levels(x, target=10_000).toarray(), x.toarray(), atol=1e-5)


def test_probabilities_are_of_each_type_alone():
    assert np.allclose(
        probabilities(np.array([[0, np.log(3), -1000]])), [[0.5, 0.75, 0]], atol=1e-6
    )


def test_what_is_unlike_its_type_is_told_by_the_best():
    assert refuted(np.array([0.96, 0.7, 0.45])).tolist() == [False, False, True]
    assert refuted(np.array([0.46, 0.3, 0.22])).tolist() == [False, False, True]
    assert refuted(np.array([0.15, 0.1])).tolist() == [True, True]
    assert refuted(np.zeros(0)).tolist() == []


def other_genes(adata):
    adata.var.index = [f"Mouse{i}" for i in range(N_GENES)]
    adata.var["gene_name"] = adata.var.index


def scaled(adata):
    adata.X = adata.X.toarray() - 1


def by_columns(adata):
    adata.X = adata.X.tocsc()


def one_type(adata):
    adata.obs["label"] = "alpha"


def no_labels(adata):
    adata.obs = adata.obs.drop(columns="label")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_genes, r"only 0 of its 300 genes \(such as Mouse0\) are in the data"),
        (scaled, "X has negative or missing values, as scaled data have"),
        (by_columns, r"X is not stored by cells \(CSR\)"),
        (one_type, "column 'label' has fewer than two types"),
        (no_labels, r"obs has no column 'label' \(it has id\); set annotate_clusters"),
    ],
)
def test_a_reference_of_no_use_is_refused_in_one_sentence(read, spoil, message):
    reference = simulated(TYPES, seed=1)
    spoil(reference)
    with pytest.raises(UserError, match=message) as error:
        read(reference)
    assert "reference.h5ad" in str(error.value)


def test_a_reference_that_is_no_h5ad_is_refused(tmp_path):
    path = tmp_path / "reference.h5ad"
    path.write_text("cell\tlabel\n")
    with pytest.raises(UserError, match=r"reference.h5ad: is no .h5ad file"):
        read_reference(
            path,
            labels="label",
            ontology="",
            genes=pd.Index([]),
            symbols=pd.Series(dtype=object),
            target=10_000,
            seed=0,
        )
