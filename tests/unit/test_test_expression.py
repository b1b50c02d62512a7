"""Tests of pseudobulk differential expression."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from test_expression import COLUMNS, KEYS, ExpressionSettings, main

DESIGN = {
    "columns": [],
    "formula": "~ donor + condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
}
SETTINGS = ExpressionSettings(min_cells=5, min_samples=2, min_counts=2, fdr=0.05)
N_GENES = 120


@pytest.fixture
def adata():
    """Three donors in two conditions, types A (genes 0-9 respond) and B (none do)."""
    rng = np.random.default_rng(0)
    level = rng.lognormal(0.5, 0.7, N_GENES)
    counts, rows = [], []
    for donor in range(3):
        donor_level = level * np.exp(rng.normal(0, 0.1, N_GENES))
        for condition in ("ctrl", "stim"):
            for cluster in ("0", "1"):
                mean = donor_level * np.exp(rng.normal(0, 0.1, N_GENES))
                if condition == "stim" and cluster == "0":
                    mean[:5] *= 4
                    mean[5:10] /= 4
                counts.append(rng.poisson(mean, (20, N_GENES)))
                sample = f"d{donor}_{condition}"
                rows += [(sample, condition, str(donor), cluster)] * 20
    obs = pd.DataFrame(rows, columns=["sample", "condition", "donor", "leiden"])
    obs.index = [f"c{i}" for i in range(len(obs))]
    genes = [f"g{i}" for i in range(N_GENES)]
    x = sparse.csr_matrix(np.vstack(counts).astype(np.int32))
    return ad.AnnData(
        obs=obs.astype("category"),
        var=pd.DataFrame({"gene_name": [f"n{g}" for g in genes]}, index=genes),
        layers={"counts": x},
    )


@pytest.fixture
def compare(tmp_path):
    def run(adata, design=DESIGN, types=("A", "B"), settings=SETTINGS):
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        labels = pd.DataFrame({"cluster": range(len(types)), "cell_type": types})
        labels.to_csv(tmp_path / "annotation.tsv", sep="\t", index=False)
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            pseudobulk_path=tmp_path / "pseudobulk.h5ad",
            expression=tmp_path / "expression.tsv",
            untested=tmp_path / "untested.tsv",
            design=design,
            settings=settings,
        )
        return (
            pd.read_csv(tmp_path / "expression.tsv", sep="\t"),
            pd.read_csv(tmp_path / "untested.tsv", sep="\t"),
            ad.read_h5ad(tmp_path / "pseudobulk.h5ad"),
        )

    return run


def test_planted_genes_are_found_in_their_type_alone(compare, adata):
    result, untested, _ = compare(adata)
    assert untested.empty
    assert set(result["cell_type"]) == {"all", "A", "B"}
    found = result[result["padj"] < 0.05].groupby("cell_type")["gene_id"].agg(set)
    planted = {f"g{i}" for i in range(10)}
    assert len(found["A"] & planted) >= 9
    assert len(found["A"] - planted) <= 1
    assert len(found.get("B", set())) <= 2
    of_a = result[result["cell_type"] == "A"].set_index("gene_id")["log2_fold_change"]
    assert of_a[[f"g{i}" for i in range(5)]].between(1.3, 2.7).all()
    assert of_a[[f"g{i}" for i in range(5, 10)]].between(-2.9, -1.1).all()
    assert (result["gene_name"] == "n" + result["gene_id"]).all()


def test_pseudobulks_are_sums_over_cells(compare, adata):
    _, _, bulk = compare(adata)
    assert bulk.n_obs == 18
    flags = (adata.obs["sample"] == "d1_stim") & (adata.obs["leiden"] == "1")
    expected = adata.layers["counts"][flags.to_numpy()].toarray().sum(axis=0)
    assert np.array_equal(bulk["d1_stim:B"].X.toarray().ravel(), expected)
    assert bulk.obs.loc["d1_stim:B", "n_cells"] == 20
    assert bulk.obs.loc["d1_stim:B", "condition"] == "stim"
    whole = bulk[bulk.obs["cell_type"] == "all"]
    assert whole.X.sum() == adata.layers["counts"].sum()
    assert whole.obs["n_cells"].tolist() == [40] * 6


def test_the_same_input_gives_the_same_table(compare, adata):
    first, _, _ = compare(adata)
    second, _, _ = compare(adata)
    pd.testing.assert_frame_equal(first, second)


def test_reversing_a_contrast_reverses_the_fold_changes(compare, adata):
    both = {"s": ["condition", "stim", "ctrl"], "r": ["condition", "ctrl", "stim"]}
    result, _, _ = compare(adata, {**DESIGN, "contrasts": both})
    wide = result.pivot_table(
        index=["cell_type", "gene_id"], columns="contrast", values="log2_fold_change"
    )
    assert np.allclose(wide["s"], -wide["r"], atol=1e-4)


def test_an_unlabeled_cluster_is_only_part_of_the_whole(compare, adata):
    result, untested, bulk = compare(adata, types=("A", "unknown"))
    assert set(result["cell_type"]) == {"all", "A"}
    assert untested["cell_type"].tolist() == ["unknown"]
    assert "unknown" in set(bulk.obs["cell_type"])


def test_a_type_with_few_cells_in_most_samples_is_not_tested(compare, adata):
    keep = (adata.obs["leiden"] == "0") | (adata.obs["sample"].isin(["d0_ctrl"]))
    result, untested, _ = compare(adata[keep.to_numpy()].copy())
    assert set(result["cell_type"]) == {"all", "A"}
    assert untested["cell_type"].tolist() == ["B"]
    assert '"stim": 0, with "ctrl": 1' in untested["reason"].iloc[0]


def test_samples_with_few_cells_are_counted_in_the_reason(compare, adata):
    settings = ExpressionSettings(min_cells=21, min_samples=2, min_counts=2, fdr=0.05)
    _, untested, _ = compare(adata, settings=settings)
    reasons = untested.set_index("cell_type")["reason"]
    assert "6 samples have fewer than 21 cells" in reasons["A"]
    assert "all" not in reasons


def test_too_few_genes_are_not_tested(compare, adata):
    result, untested, _ = compare(adata[:, :6].copy())
    assert result.empty
    assert untested["reason"].str.contains("6 genes have 2 counts").all()


def test_genes_with_few_counts_are_left_out(compare, adata):
    counts = adata.layers["counts"].toarray()
    counts[:, 50] = 0
    counts[:11, 50] = 1
    adata.layers["counts"] = sparse.csr_matrix(counts)
    result, _, _ = compare(adata)
    assert "g50" not in set(result["gene_id"])


@pytest.mark.parametrize(
    ("keep", "design", "reason"),
    [
        (["d0_ctrl", "d0_stim"], DESIGN, "Add replicates"),
        (["d0_ctrl"], DESIGN, "Add replicates"),
        ([], DESIGN, "No sample has cells"),
        (None, {**DESIGN, "formula": ""}, "no design formula"),
        (None, {**DESIGN, "contrasts": {}}, "no design contrasts"),
        (["d0_ctrl", "d0_stim", "d1_ctrl", "d2_stim"], DESIGN, "nothing is left"),
    ],
)
def test_what_is_not_tested_has_its_reason_and_no_p_value(
    keep, design, reason, compare, adata
):
    if keep is not None:
        adata = adata[adata.obs["sample"].isin(keep).to_numpy()].copy()
    result, untested, bulk = compare(adata, design)
    assert result.columns.tolist() == [*KEYS, *COLUMNS.values()]
    assert result.empty
    assert "all" in set(untested["cell_type"])
    assert untested["reason"].str.contains(reason).all()
    assert bulk.n_vars == N_GENES
