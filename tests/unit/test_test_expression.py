"""Tests of differential expression between pseudobulks."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from test_expression import COLUMNS, TESTS, ExpressionSettings, main

DESIGN = {
    "columns": ["batch", "age"],
    "numeric": ["age"],
    "replicate": "donor",
    "formula": "~ donor + condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
}
SETTINGS = {"min_cells": 5, "min_samples": 2, "min_counts": 2, "fdr": 0.05}
SETTINGS["method"] = "quasi_likelihood"
N_GENES = 300
# genes that respond in type A, up and down
UP, DOWN = [f"g{k}" for k in range(10)], [f"g{k}" for k in range(10, 20)]


def sheet(n_donors=4, *, paired=True):
    rows = [
        (f"d{donor}_{condition}", condition, f"d{donor}", f"b{donor % 2}")
        for k, condition in enumerate(("ctrl", "stim"))
        for donor in range(
            k * n_donors * (not paired), n_donors * (1 + (not paired) * k)
        )
    ]
    table = pd.DataFrame(rows, columns=["sample", "condition", "donor", "batch"])
    return table.assign(age=[str(20 + 7 * k) for k in range(len(table))])


def bulk_of(samples, *, effects=None, n_cells=50, seed=0, n_genes=N_GENES):
    """Return pseudobulks of types A and B and of all; A alone responds."""
    rng = np.random.default_rng(seed)
    level = rng.lognormal(5, 1, n_genes)
    donors = {d: rng.gamma(20, 1 / 20, n_genes) for d in samples["donor"].unique()}
    log2 = np.zeros(n_genes)
    log2[: min(10, n_genes)], log2[10:20] = 2, -2
    x, rows = [], []
    for k, row in samples.reset_index(drop=True).iterrows():
        parts = []
        for cell_type in ("A", "B"):
            size = (row["condition"] == "stim") if effects is None else effects[k]
            effect = 2 ** (log2 * size * (cell_type == "A"))
            mean = level * donors[row["donor"]] * effect * rng.uniform(0.5, 1.5)
            parts.append(rng.poisson(mean * rng.gamma(20, 1 / 20, n_genes)))
        for cell_type, counts in zip(
            ("all", "A", "B"), [sum(parts), *parts], strict=True
        ):
            x.append(counts)
            n = n_cells * (1 + (cell_type == "all"))
            rows.append((row["sample"], cell_type, n, *row.iloc[1:]))
    columns = ["sample", "cell_type", "n_cells", *samples.columns[1:]]
    obs = pd.DataFrame(rows, columns=columns)
    obs.index = obs["sample"] + ":" + obs["cell_type"]
    var = pd.DataFrame(index=[f"g{k}" for k in range(n_genes)])
    var["gene_name"] = "n" + var.index
    x = np.array(x, dtype=np.int64).reshape(len(rows), n_genes)
    return ad.AnnData(sparse.csr_matrix(x), obs=obs.rename_axis(None), var=var)


@pytest.fixture
def compare(tmp_path):
    def run(bulk, threads=1, settings=None, **design):
        bulk.write_h5ad(tmp_path / "pseudobulk.h5ad")
        main(
            pseudobulk=tmp_path / "pseudobulk.h5ad",
            expression=tmp_path / "expression.tsv",
            untested=tmp_path / "untested.tsv",
            design=DESIGN | design,
            settings=ExpressionSettings(**SETTINGS | (settings or {})),
            threads=threads,
        )
        return (
            pd.read_csv(tmp_path / "expression.tsv", sep="\t"),
            pd.read_csv(tmp_path / "untested.tsv", sep="\t"),
        )

    return run


def of_type(result, cell_type="A", contrast="s"):
    own = (result["cell_type"] == cell_type) & (result["contrast"] == contrast)
    return result[own].set_index("gene_id")


def test_planted_genes_are_found_in_their_type_alone(compare):
    result, untested = compare(bulk_of(sheet()))
    assert untested.empty
    assert result.columns.tolist() == COLUMNS
    assert set(result["cell_type"]) == {"all", "A", "B"}
    assert set(result["evidence"]) == {"tested"}
    table = of_type(result)
    found = set(table.index[table["padj"] < 0.05])
    assert found >= {*UP, *DOWN}
    assert len(found) <= 22
    assert (of_type(result, "B")["padj"] < 0.05).sum() <= 1
    for name in ("log2_fold_change", "log2_fold_change_shrunken"):
        assert table.loc[UP, name].between(1.2, 2.8).all()
        assert table.loc[DOWN, name].between(-2.8, -1.2).all()
    assert (result["gene_name"] == "n" + result["gene_id"]).all()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pydeseq2_is_the_other_method_with_the_same_columns(compare):
    bulk = bulk_of(sheet())
    ours = of_type(compare(bulk)[0])
    result, _ = compare(bulk, settings={"method": "pydeseq2"})
    assert result.columns.tolist() == COLUMNS
    assert set(result["evidence"]) == {"tested"}
    theirs = of_type(result)
    assert set(theirs.index[theirs["padj"] < 0.05]) >= {*UP, *DOWN}
    for name in ("log2_fold_change", "log2_fold_change_shrunken", "lfc_se"):
        assert np.corrcoef(ours[name], theirs[name])[0, 1] > 0.9
    assert np.corrcoef(ours["log2_fold_change"], theirs["log2_fold_change"])[0, 1] > (
        0.99
    )


def test_pydeseq2_has_no_p_values_without_replicates_either(compare):
    result, _ = compare(
        bulk_of(sheet(1)), settings={"method": "pydeseq2"}, formula="~ condition"
    )
    assert not set(TESTS) & set(result)


def test_fold_changes_of_genes_without_effect_are_shrunken(compare):
    table = of_type(compare(bulk_of(sheet()))[0])
    rest = table.drop(UP + DOWN)
    shrunken = rest["log2_fold_change_shrunken"].abs().mean()
    assert shrunken < 0.3 * rest["log2_fold_change"].abs().mean()


def test_threads_and_runs_do_not_change_the_table(compare):
    bulk = bulk_of(sheet())
    first, _ = compare(bulk)
    second, _ = compare(bulk, threads=2)
    pd.testing.assert_frame_equal(first, second)


def test_reversing_a_contrast_reverses_the_fold_changes(compare):
    both = {"s": ["condition", "stim", "ctrl"], "r": ["condition", "ctrl", "stim"]}
    result, _ = compare(bulk_of(sheet()), contrasts=both)
    one, other = of_type(result), of_type(result, contrast="r")
    for name in ("log2_fold_change", "log2_fold_change_shrunken", "statistic"):
        assert np.allclose(one[name], -other[name], rtol=1e-3, atol=1e-3)
    assert np.allclose(one["p_value"], other["p_value"], rtol=1e-3)


def test_the_slope_of_a_number_is_per_unit(compare):
    samples = sheet(6, paired=False)
    age = samples["age"].astype(float).to_numpy()
    bulk = bulk_of(samples, effects=(age - age.mean()) / 40)
    result, _ = compare(bulk, formula="~ age", contrasts={"s": "age"})
    table = of_type(result)
    assert abs(table.loc[UP, "log2_fold_change"].mean() - 2 / 40) < 0.01
    assert (table.loc[UP + DOWN, "padj"] < 0.05).mean() > 0.8


def test_an_interaction_is_the_difference_of_differences(compare):
    samples = sheet(12, paired=False)
    responds = (samples["condition"] == "stim") & (samples["batch"] == "b1")
    terms = [["condition", "stim", "ctrl"], ["batch", "b1", "b0"]]
    result, _ = compare(
        bulk_of(samples, effects=responds.to_numpy()),
        formula="~ batch * condition",
        contrasts={"s": terms},
    )
    table = of_type(result)
    assert abs(table.loc[UP, "log2_fold_change"].mean() - 2) < 0.4
    assert (table.loc[UP + DOWN, "padj"] < 0.05).mean() > 0.7
    assert (table.drop(UP + DOWN)["padj"] < 0.05).mean() < 0.02


def test_fewer_than_three_replicates_are_weak(compare):
    result, untested = compare(bulk_of(sheet(2, paired=False)), formula="~ condition")
    assert set(result["evidence"]) == {"weak"}
    assert untested.empty
    assert result["p_value"].notna().all()


def without_p_values(result):
    assert set(result["evidence"]) == {"exploratory"}
    assert not set(TESTS) & set(result.columns)


def test_one_sample_per_condition_has_effects_alone(compare):
    bulk = bulk_of(sheet(1, paired=False))
    result, untested = compare(bulk, formula="~ condition")
    without_p_values(result)
    table = of_type(result)
    assert (table.loc[UP, "log2_fold_change"] > 0.5).mean() > 0.8
    assert (table.loc[DOWN, "log2_fold_change"] < -0.5).mean() > 0.8
    assert table["log2_fold_change_shrunken"].notna().all()
    assert untested["reason"].str.contains("without them there are effect").all()


def test_one_replicate_on_one_side_has_effects_alone(compare):
    samples = sheet(3, paired=False).iloc[:4]
    result, untested = compare(bulk_of(samples), formula="~ condition")
    without_p_values(result)
    assert set(untested["cell_type"]) == {"all", "A", "B"}


def test_a_batch_that_goes_along_is_refused(compare):
    samples = sheet(3, paired=False)
    samples["batch"] = np.where(samples["condition"] == "stim", "b1", "b0")
    result, untested = compare(bulk_of(samples), formula="~ batch + condition")
    assert result.empty
    assert untested["reason"].str.contains("batch and condition").all()


def test_a_type_in_one_sample_is_refused_and_others_are_tested(compare):
    bulk = bulk_of(sheet())
    gone = (bulk.obs["cell_type"] == "B") & (bulk.obs["sample"] != "d0_stim")
    result, untested = compare(bulk[~gone.to_numpy()].copy())
    assert set(result["cell_type"]) == {"all", "A"}
    assert untested["cell_type"].tolist() == ["B"]
    assert 'condition "ctrl": 0' in untested["reason"].iloc[0]


def test_a_type_of_three_cells_has_its_reason(compare):
    bulk = bulk_of(sheet())
    bulk.obs.loc[bulk.obs["cell_type"] == "B", "n_cells"] = 3
    result, untested = compare(bulk)
    assert set(result["cell_type"]) == {"all", "A"}
    assert untested["cell_type"].tolist() == ["B"]
    assert "8 samples have fewer than 5 cells" in untested["reason"].iloc[0]


def test_a_donor_with_one_of_two_samples_left_still_counts(compare):
    bulk = bulk_of(sheet())
    bulk.obs.loc["d0_stim:B", "n_cells"] = 3
    result, untested = compare(bulk)
    assert untested.empty
    assert np.isfinite(of_type(result, "B")[TESTS]).all(axis=None)


def test_types_of_different_evidence_share_the_table(compare):
    bulk = bulk_of(sheet(3, paired=False))
    few = (bulk.obs["cell_type"] == "B") & ~bulk.obs["sample"].isin(
        ["d0_ctrl", "d3_stim"]
    )
    result, untested = compare(bulk[~few.to_numpy()].copy(), formula="~ condition")
    assert result.columns.tolist() == COLUMNS
    by_type = result.groupby("cell_type")
    assert by_type["evidence"].first().to_dict() == {
        "all": "tested",
        "A": "tested",
        "B": "exploratory",
    }
    assert of_type(result, "B")[TESTS].isna().all(axis=None)
    assert untested["cell_type"].tolist() == ["B"]


def test_an_unlabeled_cluster_is_only_part_of_the_whole(compare):
    bulk = bulk_of(sheet())
    bulk.obs["cell_type"] = bulk.obs["cell_type"].replace("B", "unknown")
    result, untested = compare(bulk)
    assert set(result["cell_type"]) == {"all", "A"}
    assert untested["cell_type"].tolist() == ["unknown"]


def test_genes_of_zeros_and_of_few_counts_are_left_out(compare):
    bulk = bulk_of(sheet())
    dense = bulk.X.toarray()
    dense[:, 50] = 0
    dense[:, 51] = 1
    bulk.X = sparse.csr_matrix(dense)
    result, _ = compare(bulk)
    assert not {"g50", "g51"} & set(result["gene_id"])
    result, _ = compare(bulk, settings={"min_counts": 0})
    assert "g50" not in set(result["gene_id"])
    assert result["p_value"].notna().all()


def test_fewer_than_ten_genes_are_not_compared(compare):
    result, untested = compare(bulk_of(sheet(), n_genes=9))
    assert result.empty
    assert not set(TESTS) & set(result.columns)
    assert untested["reason"].str.contains("9 genes have 2 counts").all()
    result, _ = compare(bulk_of(sheet(), n_genes=10))
    assert len(result) == 30


@pytest.mark.parametrize(
    ("design", "reason"),
    [({"formula": ""}, "no design formula"), ({"contrasts": {}}, "no design contr")],
)
def test_nothing_to_compare_has_its_reason(design, reason, compare):
    result, untested = compare(bulk_of(sheet()), **design)
    assert result.columns.tolist() == [c for c in COLUMNS if c not in TESTS]
    assert result.empty
    assert set(untested["cell_type"]) == {"all"}
    assert untested["reason"].str.contains(reason).all()


def test_no_cells_have_their_reason(compare):
    result, untested = compare(bulk_of(sheet()[:0]))
    assert result.empty
    assert untested["reason"].str.contains("No sample has cells").all()
