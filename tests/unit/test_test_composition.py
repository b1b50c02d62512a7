"""Tests of the comparison of shares."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from test_composition import (
    COLUMNS,
    CompositionSettings,
    centered_log_ratio,
    linear_contrast,
    main,
)

DESIGN = {
    "columns": [],
    "formula": "~ donor + condition",
    "contrasts": {"s": ["condition", "stim", "ctrl"]},
}
SETTINGS = CompositionSettings(min_samples=2, fdr=0.05)
TYPES = ["T", "B", "NK", "DC"]


def cells_of(counts, conditions, donors):
    """Make cells: counts[sample][type], cluster i is type i."""
    rows = [
        (f"s{i}", conditions[i], donors[i], str(k))
        for i, row in enumerate(counts)
        for k, n in enumerate(row)
        for _ in range(n)
    ]
    obs = pd.DataFrame(rows, columns=["sample", "condition", "donor", "leiden"])
    obs.index = [f"c{i}" for i in range(len(obs))]
    return ad.AnnData(obs=obs.astype("category"))


@pytest.fixture
def compare(tmp_path):
    def run(adata, design=DESIGN, types=TYPES):
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        labels = pd.DataFrame({"cluster": range(len(types)), "cell_type": types})
        labels.to_csv(tmp_path / "annotation.tsv", sep="\t", index=False)
        paths = {
            name: tmp_path / f"{name}.tsv"
            for name in ("composition", "shares", "untested")
        }
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            design=design,
            settings=SETTINGS,
            **paths,
        )
        return [pd.read_csv(path, sep="\t") for path in paths.values()]

    return run


@pytest.fixture
def shifted():
    """Four donors in two conditions; type T is three times as frequent under stim."""
    rng = np.random.default_rng(0)
    counts = [rng.poisson([60 if i % 2 else 20, 80, 60, 40]).tolist() for i in range(8)]
    return cells_of(counts, ["ctrl", "stim"] * 4, [str(i // 2) for i in range(8)])


def test_a_planted_shift_is_found(compare, shifted):
    result, shares, untested = compare(shifted)
    result = result.set_index("cell_type")
    assert result.loc["T", "padj"] < 0.05
    assert result.loc["T", "log_ratio"] > 0.5
    assert result.loc["T", "share_tested"] > 1.8 * result.loc["T", "share_reference"]
    assert np.isclose(result["log_ratio"].sum(), 0, atol=1e-5)
    assert np.allclose(shares.groupby("sample")["share"].sum(), 1, atol=1e-5)
    assert len(shares) == 32
    assert untested.empty


def test_the_log_ratio_is_the_difference_of_the_means(compare, shifted):
    result, _, _ = compare(shifted)
    counts = pd.crosstab(shifted.obs["sample"], shifted.obs["leiden"])
    clr = np.log(counts + 0.5)
    clr = clr.sub(clr.mean(axis=1), axis=0).to_numpy()
    expected = clr[1::2].mean(axis=0) - clr[::2].mean(axis=0)
    found = result.set_index("cell_type").loc[TYPES, "log_ratio"]
    assert np.allclose(found, expected, atol=1e-5)


def test_a_paired_design_gives_the_paired_t_test():
    rng = np.random.default_rng(1)
    y = pd.DataFrame(rng.normal(size=(8, 3)), columns=list("abc"))
    donor = np.repeat(np.eye(4), 2, axis=0)
    matrix = np.column_stack([donor, np.tile([0, 1], 4)])
    result = linear_contrast(y, matrix, np.array([0, 0, 0, 0, 1.0]))
    expected = stats.ttest_rel(y[1::2], y[::2])
    assert np.allclose(result["statistic"], expected.statistic)
    assert np.allclose(result["p_value"], expected.pvalue)


def test_an_unpaired_design_gives_the_t_test():
    y = pd.DataFrame(np.random.default_rng(1).normal(size=(8, 3)))
    matrix = np.column_stack([np.ones(8), np.tile([0, 1], 4)])
    result = linear_contrast(y, matrix, np.array([0, 1.0]))
    expected = stats.ttest_ind(y[1::2], y[::2])
    assert np.allclose(result["p_value"], expected.pvalue)


def test_without_spread_there_is_no_p_value():
    y = pd.DataFrame({"a": [0, 1, 0, 1.0], "b": [0.0, 0, 0, 0]})
    matrix = np.column_stack([np.ones(4), [0, 1, 0, 1]])
    result = linear_contrast(y, matrix, np.array([0, 1.0]))
    assert result["p_value"].isna().all()


def test_log_ratios_of_a_sample_sum_to_zero():
    ratios = centered_log_ratio(pd.DataFrame([[0, 3, 9], [5, 0, 0]]))
    assert np.allclose(ratios.sum(axis=1), 0)


@pytest.mark.parametrize(
    ("keep", "design", "types", "reason"),
    [
        (["s0", "s1"], DESIGN, TYPES, "Add replicates"),
        (["s0"], DESIGN, TYPES, "Add replicates"),
        ([], DESIGN, TYPES, "No sample"),
        (None, {**DESIGN, "formula": ""}, TYPES, "no design formula"),
        (None, {**DESIGN, "contrasts": {}}, TYPES, "no design contrasts"),
        (None, DESIGN, ["unknown"] * 4, "marker table"),
    ],
)
def test_what_is_not_tested_has_its_reason(
    keep, design, types, reason, compare, shifted
):
    if keep is not None:
        shifted = shifted[shifted.obs["sample"].isin(keep)].copy()
    result, shares, untested = compare(shifted, design, types)
    assert result.columns.tolist() == COLUMNS
    assert result.empty
    assert shares.columns.tolist() == ["sample", "cell_type", "n_cells", "share"]
    assert len(untested) == 1
    assert reason in untested["reason"].iloc[0]
