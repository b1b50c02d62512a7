"""Cells are dropped for stated reasons, and none is lost unaccounted."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from _shared.logs import UserError
from filter_cells import (
    FilterSettings,
    failures,
    judge,
    mad_bounds,
    main,
    make_ledger,
    quality,
    thresholds,
)

DEFAULTS = {
    "n_mads_counts": 9,
    "n_mads_genes": 5,
    "n_mads_mito": 3,
    "min_counts": None,
    "max_counts": None,
    "min_genes": None,
    "max_genes": None,
    "max_pct_counts_mt": None,
    "min_outlier_pct_mt": 5,
    "remove_doublets": True,
    "min_cells": 10,
    "set_aside_when_failing": ["valid_barcodes"],
}


def settings(**changes):
    return FilterSettings(**{**DEFAULTS, **changes})


def make_cells(n=40, *, dying=0, seed=0):
    """Make similar cells over 20 genes, the last gene mitochondrial."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(10, (n, 20))
    counts[:, -1] = rng.poisson(3, n)
    if dying:
        counts[-dying:, -1] = 300
    var = pd.DataFrame(
        {"is_mito": [False] * 19 + [True]}, index=[f"g{i}" for i in range(20)]
    )
    obs = pd.DataFrame({"sample": "s"}, index=[f"c{i}-s" for i in range(n)])
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.int32)), obs=obs, var=var)


def test_quality_of_three_cells_by_hand():
    var = pd.DataFrame({"is_mito": [False, True]}, index=["a", "m"])
    adata = ad.AnnData(sparse.csr_matrix([[3, 1], [0, 0], [0, 2]]), var=var)
    found = quality(adata)
    assert found["total_counts"].tolist() == [4, 0, 2]
    assert found["n_genes_by_counts"].tolist() == [2, 0, 1]
    assert found["pct_counts_mt"].tolist() == [25, 0, 100]


def test_bounds_are_medians_and_mads_of_scipy():
    values = np.random.default_rng(0).normal(size=101)
    low, high, median, mad = mad_bounds(values, n_mads=3)
    assert mad == pytest.approx(stats.median_abs_deviation(values))
    assert (low, high) == pytest.approx((median - 3 * mad, median + 3 * mad))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 9.0], [2.0] * 50])
def test_few_or_equal_values_bound_nothing(values):
    low, high, _, _ = mad_bounds(np.array(values), n_mads=3)
    assert (low, high) == (-np.inf, np.inf)


def test_the_tighter_of_mads_and_fixed_bounds_holds():
    metrics = quality(make_cells())
    free = thresholds(metrics, settings()).set_index("metric")
    fixed = thresholds(metrics, settings(min_counts=195, max_pct_counts_mt=4))
    fixed = fixed.set_index("metric")
    assert free.loc["total_counts", "lower"] < 195
    assert fixed.loc["total_counts", "lower"] == 195
    assert fixed.loc["pct_counts_mt", "upper"] == 4
    assert "fixed" in fixed.loc["total_counts", "source"]
    assert free.loc["pct_counts_mt", "upper"] >= 5


def test_dying_cells_are_mitochondrial_outliers():
    metrics = quality(make_cells(dying=3))
    failed = failures(
        metrics, thresholds(metrics, settings()), doublets=np.zeros(40, bool)
    )
    assert failed["high_pct_counts_mt"].to_numpy().nonzero()[0].tolist() == [37, 38, 39]


def test_a_cell_is_counted_at_its_first_reason_only():
    failed = pd.DataFrame(
        {"a": [True, True, False, False], "b": [True, False, True, False]}
    )
    ledger = make_ledger(failed, sample="s", barcodes_seen=9).set_index("step")
    assert ledger["remaining"].tolist() == [9, 4, 2, 1, 1]
    assert ledger.loc["b", ["removed_first", "removed_any"]].tolist() == [1, 2]
    assert ledger["removed_first"].sum() + ledger.loc["kept", "remaining"] == 9


def test_verdicts_name_stage_reason_and_hint():
    def said(**facts):
        given = {"n_kept": 50, "checks": [], "metrics": None} | facts
        return judge(sample="s", settings=settings(), **given)

    good = {"ok": True, "stage": "inspect_reads", "reason": "", "hint": ""}
    bad = {"ok": False, "stage": "check_reads", "reason": "damaged", "hint": "copy"}
    metric = {"status": "fail", "value": 3, "unit": "percent", "limit": "fail below 50"}
    metric |= {"title": "Valid Barcodes", "meaning": "Wrong list."}
    assert said()["verdict"] == "kept"
    assert said(checks=[good])["verdict"] == "kept"
    assert said(checks=[good, bad])["stage"] == "check_reads"
    assert said(checks=[good, bad])["hint"] == "copy"
    counted = said(metrics={"valid_barcodes": metric})
    assert counted["stage"] == "count"
    assert "Valid Barcodes is 3 percent" in counted["reason"]
    assert said(metrics={"q30": metric})["verdict"] == "kept"
    assert said(n_kept=9)["reason"] == "9 cells are left, 10 are needed"


@pytest.fixture
def run(tmp_path):
    """Run the whole script on an object; return the output paths."""

    def run(adata, *, doublets=None, strict=False, **changes):
        adata.write_h5ad(tmp_path / "called.h5ad")
        n = adata.n_obs
        table = pd.DataFrame(
            {
                "doublet_score": np.zeros(n),
                "predicted_doublet": np.zeros(n, bool)
                if doublets is None
                else doublets,
            },
            index=adata.obs_names.rename("barcode"),
        )
        table.to_csv(tmp_path / "doublets.tsv", sep="\t")
        names = ["cells.h5ad", "cell_metrics.tsv", "thresholds.tsv"]
        names += ["ledger.tsv", "verdict.json"]
        outputs = {name.split(".")[0]: tmp_path / name for name in names}
        main(
            sample="s",
            sources={
                "called": tmp_path / "called.h5ad",
                "doublets": tmp_path / "doublets.tsv",
            },
            outputs=outputs,
            settings=settings(**changes),
            strict=strict,
        )
        return outputs

    return run


def test_the_kept_cells_carry_counts_and_metrics(run):
    doublets = np.arange(40) < 2
    outputs = run(make_cells(dying=3), doublets=doublets)
    cells = ad.read_h5ad(outputs["cells"])
    table = pd.read_csv(outputs["cell_metrics"], sep="\t", keep_default_na=False)
    assert cells.n_obs == 35 == table["kept"].sum()
    assert (cells.layers["counts"] != cells.X).nnz == 0
    assert cells.obs["total_counts"].tolist() == cells.X.sum(axis=1).ravel().tolist()[0]
    assert (table["reason"] == "doublet").sum() == 2
    assert json.loads(outputs["verdict"].read_text())["verdict"] == "kept"


def test_doublets_stay_when_the_config_says_so(run):
    outputs = run(make_cells(), doublets=np.ones(40, bool), remove_doublets=False)
    assert ad.read_h5ad(outputs["cells"]).n_obs == 40


@pytest.mark.parametrize("n", [0, 1, 3, 9])
def test_a_small_sample_is_set_aside_with_all_its_files(run, n):
    outputs = run(make_cells(n))
    assert ad.read_h5ad(outputs["cells"]).shape == (0, 20)
    verdict = json.loads(outputs["verdict"].read_text())
    assert verdict["verdict"] == "set_aside"
    ledger = pd.read_csv(outputs["ledger"], sep="\t")
    assert ledger["removed_first"].sum() == n
    assert ledger["remaining"].iloc[-1] == 0


def test_three_cells_are_enough_when_the_config_says_so(run):
    assert ad.read_h5ad(run(make_cells(3), min_cells=3)["cells"]).n_obs == 3


def test_strict_fails_instead_of_setting_aside(run):
    with pytest.raises(UserError, match="sample s: 3 cells are left, 10 are needed"):
        run(make_cells(3), strict=True)
