"""Tests of pseudobulk sums."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sheet_apart import taken_apart

from sum_pseudobulks import main

DESIGN = {
    "formula": "~ condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
    "columns": ["age"],
    "numeric": ["age"],
    "replicate": "donor",
}
SHEET = {
    "a1": ("ctrl", "1", "30"),
    "a2": ("ctrl", "1", "30"),
    "b": ("ctrl", "2", "41.5"),
    "c": ("stim", "3", "52"),
}


@pytest.fixture
def adata():
    """Four samples of 12 cells in three clusters; a1 and a2 are one donor's."""
    rng = np.random.default_rng(0)
    rows = [
        (sample, *of, str(cluster))
        for sample, of in SHEET.items()
        for cluster in range(3)
        for _ in range(4)
    ]
    obs = pd.DataFrame(rows, columns=["sample", "condition", "donor", "age", "leiden"])
    obs.index = [f"c{i}" for i in range(len(obs))]
    counts = rng.poisson(0.7, (len(obs), 15)).astype(np.int32)
    genes = [f"g{i}" for i in range(15)]
    return ad.AnnData(
        obs=obs.sample(frac=1, random_state=0).astype("category"),
        var=pd.DataFrame({"gene_name": [f"n{g}" for g in genes]}, index=genes),
        layers={"counts": sparse.csr_matrix(counts)},
    )


@pytest.fixture
def summed(tmp_path):
    def run(adata, design=DESIGN, types=("A", "A", "unknown"), threads=1):
        adata, sheet = taken_apart(adata, "condition", "donor", "age")
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        labels = pd.DataFrame({"cluster": range(len(types)), "cell_type": types})
        labels.to_csv(tmp_path / "annotation.tsv", sep="\t", index=False)
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            pseudobulk=tmp_path / "pseudobulk.h5ad",
            samples_path=tmp_path / "samples.tsv",
            design=design,
            sheet=sheet,
            threads=threads,
        )
        return (
            ad.read_h5ad(tmp_path / "pseudobulk.h5ad"),
            pd.read_csv(tmp_path / "samples.tsv", sep="\t"),
        )

    return run


def own_sum(adata, samples, clusters):
    keep = adata.obs["sample"].isin(samples) & adata.obs["leiden"].isin(clusters)
    return adata.layers["counts"][keep.to_numpy()].toarray().sum(axis=0)


def test_pseudobulks_are_sums_over_cells(summed, adata):
    bulk, _ = summed(adata)
    assert np.issubdtype(bulk.X.dtype, np.integer)
    for unit in ("b", "c"):
        for cell_type, clusters in (
            ("A", ["0", "1"]),
            ("unknown", ["2"]),
            ("all", ["0", "1", "2"]),
        ):
            row = bulk[f"{unit}:{cell_type}"]
            expected = own_sum(adata, [unit], clusters)
            assert np.array_equal(row.X.toarray().ravel(), expected)
            assert row.obs["n_cells"].item() == 4 * len(clusters)
            assert row.obs["sample"].item() == unit
            assert row.obs["cell_type"].item() == cell_type


def test_technical_repeats_are_summed(summed, adata):
    bulk, _ = summed(adata)
    assert list(bulk.obs["sample"].unique()) == ["a1+a2", "b", "c"]
    expected = own_sum(adata, ["a1", "a2"], ["2"])
    assert np.array_equal(bulk["a1+a2:unknown"].X.toarray().ravel(), expected)
    assert bulk.obs.loc["a1+a2:all", "n_cells"] == 24
    assert bulk.obs.loc["a1+a2:all", "donor"] == "1"


def test_samples_of_one_donor_in_two_conditions_are_no_repeats(summed, adata):
    obs = adata.obs.astype(object)
    obs.loc[obs["sample"] == "a2", "condition"] = "stim"
    adata.obs = obs.astype("category")
    bulk, _ = summed(adata)
    assert list(bulk.obs["sample"].unique()) == ["a1", "a2", "b", "c"]


def test_a_type_and_its_sample_may_miss_each_other(summed, adata):
    gone = (adata.obs["sample"] == "b") & (adata.obs["leiden"] == "2")
    bulk, _ = summed(adata[~gone.to_numpy()].copy())
    assert "b:unknown" not in bulk.obs_names
    assert "b:all" in bulk.obs_names


def test_design_columns_are_text(summed, adata):
    bulk, _ = summed(adata)
    assert bulk.obs.loc["b:A", "age"] == "41.5"
    assert bulk.obs.loc["c:A", ["condition", "donor"]].tolist() == ["stim", "3"]
    assert bulk.obs.columns[:3].tolist() == ["sample", "cell_type", "n_cells"]
    assert bulk.var["gene_name"].tolist() == [f"n{g}" for g in bulk.var_names]


def test_whole_samples_are_a_table_of_genes(summed, adata):
    _, table = summed(adata)
    assert table.columns.tolist() == ["gene_id", "gene_name", *SHEET]
    for sample in SHEET:
        expected = own_sum(adata, [sample], ["0", "1", "2"])
        assert np.array_equal(table[sample], expected)


def test_threads_do_not_change_the_sums(summed, adata):
    one, _ = summed(adata)
    two, _ = summed(adata, threads=2)
    assert (one.X != two.X).nnz == 0
    pd.testing.assert_frame_equal(one.obs, two.obs)


def test_a_column_named_as_one_of_the_table_does_not_replace_it(summed, adata):
    adata.obs["n_cells"] = "many"
    adata.obs["cell_type"] = "mine"
    bulk, _ = summed(adata, {**DESIGN, "columns": ["n_cells", "cell_type"]})
    assert bulk.obs.loc["b:A", "n_cells"] == 8


@pytest.mark.parametrize("formula", ["", "~ condition"])
def test_no_cells_and_no_genes(summed, adata, formula):
    design = {**DESIGN, "formula": formula}
    bulk, table = summed(adata[:0].copy(), design)
    assert bulk.shape == (0, 15)
    assert table.columns.tolist() == ["gene_id", "gene_name"]
    assert {"sample", "cell_type", "n_cells"} <= set(bulk.obs)
    bulk, table = summed(adata[:, :0].copy(), design)
    assert bulk.n_vars == 0
    assert bulk.n_obs > 0
    assert table.empty


def test_without_a_formula_samples_stay_apart(summed, adata):
    bulk, _ = summed(adata, {**DESIGN, "formula": ""})
    assert list(bulk.obs["sample"].unique()) == list(SHEET)
