"""Cells are dropped for stated reasons, and none is lost unaccounted."""

import json
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse

from _shared.logs import UserError
from filter_cells import (
    FilterSettings,
    failures,
    judge,
    main,
    make_ledger,
    quality,
    share_warnings,
    thresholds,
)

CONFIG = Path(__file__).parents[2] / "config/config.yaml"
DEFAULTS = yaml.safe_load(CONFIG.read_text())["filter_cells"] | {
    "n_mads_counts": 9,
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
    return as_cells(counts)


def as_cells(counts):
    """Make an object of counts whose last gene is mitochondrial."""
    n, n_genes = counts.shape
    var = pd.DataFrame(
        {"is_mito": [False] * (n_genes - 1) + [True]},
        index=[f"g{i}" for i in range(n_genes)],
    )
    obs = pd.DataFrame({"sample": "s"}, index=[f"c{i}-s" for i in range(n)])
    return ad.AnnData(sparse.csr_matrix(counts.astype(np.int32)), obs=obs, var=var)


def test_dying_cells_are_mitochondrial_outliers():
    metrics = quality(make_cells(dying=3))
    failed = failures(
        metrics, thresholds(metrics, settings())[0], doublet=np.zeros(40, bool)
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


def test_a_ledger_that_does_not_add_up_is_refused():
    with pytest.raises(AssertionError, match="ledger of s does not add up"):
        make_ledger(pd.DataFrame({"a": [False] * 4}), sample="s", barcodes_seen=3)


def test_rules_that_only_together_take_many_are_told():
    none = np.zeros(10, bool)
    table = {name: none.copy() for name in ("a", "b", "ambient", "doublet")}
    table["a"][:2] = table["b"][2:4] = True
    (said,) = share_warnings(pd.DataFrame(table), most=0.25)
    assert said.startswith("all rules together remove 4 of 10 cells (40%)")
    table["doublet"][5:8] = True
    (said,) = share_warnings(pd.DataFrame(table), most=0.25)
    assert said.startswith("doublet removes 3 of 10")


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


class Outcome:
    """What the script wrote, the ledger checked against object and table."""

    def __init__(self, outputs, called):
        self.path = outputs["cells"]
        self.cells = ad.read_h5ad(outputs["cells"])
        self.table = pd.read_csv(
            outputs["cell_metrics"], sep="\t", keep_default_na=False, index_col=0
        )
        self.thresholds = pd.read_csv(outputs["thresholds"], sep="\t")
        self.verdict = json.loads(outputs["verdict"].read_text())
        ledger = pd.read_csv(outputs["ledger"], sep="\t").set_index("step")
        self.ledger = ledger
        kept = self.table["kept"].astype(bool)
        assert self.table.index.tolist() == called.obs_names.tolist()
        assert self.cells.obs_names.tolist() == self.table.index[kept].tolist()
        assert ledger.loc["kept", "remaining"] == self.cells.n_obs
        assert ledger.loc["not_called", "remaining"] == called.n_obs
        assert (
            ledger["removed_first"].sum() + self.cells.n_obs
            == (ledger.loc["barcodes_seen", "remaining"])
        )
        firsts = self.table["reason"].value_counts()
        every = self.table["reasons"].str.split(",").explode().value_counts()
        for step in ledger.index.difference(["barcodes_seen", "not_called", "kept"]):
            assert ledger.loc[step, "removed_first"] == firsts.get(step, 0)
            assert ledger.loc[step, "removed_any"] == every.get(step, 0)
        assert ((self.table["reason"] == "") == kept).all()
        counts = called[kept.to_numpy()].X
        assert (self.cells.layers["counts"] != counts).nnz == 0
        totals = self.cells.obs["total_counts"].tolist()
        assert totals == np.asarray(counts.sum(axis=1)).ravel().tolist()


# what `correct_ambient` tells of a sample where it could not estimate anything
AMBIENT = {
    "estimated": False,
    "used": False,
    "n_cells": 40,
    "n_without_cell": 0,
    "counts_without_cell": 0,
}


@pytest.fixture
def run(tmp_path):
    """Run the whole script on an object; return its checked outcome."""

    def run(adata, *, doublets=None, strict=False, ambient=None, seen=None, **changes):
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
        sources = {name: tmp_path / name for name in ("called.h5ad", "doublets.tsv")}
        sources = {path.stem: path for path in sources.values()}
        if ambient is not None:
            corrected, found = ambient
            sources["ambient"] = tmp_path / "ambient.h5ad"
            sources["contamination"] = tmp_path / "ambient.json"
            corrected.write_h5ad(sources["ambient"])
            sources["contamination"].write_text(json.dumps(found))
        if seen is not None:
            sources["calling"] = tmp_path / "calling.json"
            sources["calling"].write_text(json.dumps({"barcodes_seen": seen}))
        main(
            sample="s",
            sources=sources,
            outputs=outputs,
            settings=settings(**changes),
            strict=strict,
        )
        return Outcome(outputs, adata)

    return run


def test_the_kept_cells_carry_counts_and_metrics(run):
    done = run(make_cells(dying=3), doublets=np.arange(40) < 2, seen=1000)
    assert done.cells.n_obs == 35
    assert (done.table["reason"] == "doublet").sum() == 2
    assert done.ledger.loc["not_called", "removed_first"] == 960
    assert done.verdict["verdict"] == "kept"
    assert done.verdict["warnings"] == []
    assert done.verdict["nuclei"]["by"] == "not measured"
    assert {"complexity", "pct_counts_mt", "doublet_score"} <= set(done.cells.obs)


def test_counts_that_are_there_twice_are_written_once(run):
    done = run(make_cells())
    with h5py.File(done.path) as file:
        assert file["X"] == file["layers/counts"]


def test_doublets_stay_when_the_config_says_so(run):
    done = run(make_cells(), doublets=np.ones(40, bool), remove_doublets=False)
    assert done.cells.n_obs == 40


def test_a_sample_of_doublets_alone_is_set_aside_and_it_is_said(run):
    done = run(make_cells(), doublets=np.ones(40, bool))
    assert done.verdict["reason"] == "0 cells are left, 10 are needed"
    assert done.verdict["warnings"][0].startswith("doublet removes 40 of 40")
    assert done.ledger.loc["sample_set_aside"].tolist()[1:] == [0, 40, 0]


@pytest.mark.parametrize("n", [0, 1, 3, 9])
def test_a_small_sample_is_set_aside_with_all_its_files(run, n):
    done = run(make_cells(n))
    assert done.cells.shape == (0, 20)
    assert done.verdict["verdict"] == "set_aside"
    assert done.ledger["removed_first"].sum() == n
    assert done.ledger["remaining"].iloc[-1] == 0


@pytest.mark.parametrize("n", [1, 3, 10, 50])
def test_few_cells_are_enough_when_the_config_says_so(run, n):
    assert run(make_cells(n), min_cells=n).cells.n_obs == n


def test_equal_cells_are_all_kept(run):
    done = run(as_cells(np.tile([5, 3, 0, 1], (30, 1))), max_outlier_pct_mt=20)
    assert done.cells.n_obs == 30
    assert done.verdict["warnings"] == []


def test_one_gene_that_is_mitochondrial_or_not(run):
    one = make_cells(30)[:, :1].copy()
    done = run(one)
    assert done.cells.shape == (30, 1)
    assert done.table["pct_counts_mt"].eq("").all()
    assert "not measured" in done.verdict["warnings"][0]
    assert run(make_cells(30)[:, -1:].copy()).cells.n_obs == 0


def test_a_sample_of_mitochondria_alone_is_set_aside_and_it_is_said(run):
    counts = np.zeros((40, 20))
    counts[:, -1] = np.arange(40) + 5
    done = run(as_cells(counts))
    assert done.cells.n_obs == 0
    assert done.ledger.loc["high_pct_counts_mt", "removed_any"] == 40
    assert done.verdict["verdict"] == "set_aside"
    assert any("high_pct_counts_mt" in text for text in done.verdict["warnings"])


def test_cells_without_counts_are_no_cells_and_set_no_bound(run):
    full = make_cells(40)
    alone = run(full)
    done = run(as_cells(np.vstack([full.X.toarray(), np.zeros((30, 20))])))
    assert done.ledger.loc["low_total_counts", "removed_first"] == 30
    assert done.cells.n_obs == 40
    assert done.thresholds.equals(alone.thresholds)
    (said,) = done.verdict["warnings"]
    assert said == "30 of 70 cells (43%) have no counts at all."


def test_zeros_that_are_stored_are_no_genes(run):
    adata = make_cells(30)
    adata.X.data[:3] = 0
    done = run(adata)
    assert done.table["n_genes_by_counts"].iloc[0] == 17


def ambient_of(adata, *, used, emptied=0):
    """Return counts less one of the first gene, and what is said of them."""
    corrected = adata.copy()
    dense = corrected.X.toarray()
    dense[:, 0] = np.maximum(dense[:, 0] - 1, 0)
    dense[:emptied] = 0
    corrected.X = sparse.csr_matrix(dense)
    corrected.obs["ambient_percent"] = 2.5
    return corrected, AMBIENT | {"estimated": True, "used": used}


@pytest.mark.parametrize("used", [True, False])
def test_corrected_counts_go_on_when_the_config_says_so(run, used):
    adata = make_cells(dying=3)
    corrected, found = ambient_of(adata, used=used, emptied=2)
    done = run(adata, ambient=(corrected, found))
    # a cell that is all soup is lost to that, where the soup is taken away
    assert done.ledger.loc["ambient", "removed_any"] == 2 * used
    assert done.cells.n_obs == 37 - 2 * used
    other = "corrected" if used else "counts"
    assert (done.cells.layers[other] != done.cells.X).nnz == 0
    mine = corrected[done.cells.obs_names].X
    assert (done.cells.layers["corrected"] != mine).nnz == 0
    assert done.cells.obs["ambient_percent"].eq(2.5).all()


def test_without_an_estimate_there_is_no_corrected_layer(run):
    adata = make_cells()
    done = run(adata, ambient=(adata, AMBIENT))
    assert "corrected" not in done.cells.layers


def test_corrected_counts_of_other_cells_are_refused(run):
    adata = make_cells()
    other = ambient_of(adata[::-1].copy(), used=True)
    with pytest.raises(ValueError, match="other cells or genes"):
        run(adata, ambient=other)


def test_nuclei_are_treated_as_such(run):
    adata = make_cells()
    adata.X = sparse.csr_matrix(
        np.hstack([np.full((40, 19), 30), np.arange(40)[:, None] // 39 * 20])
    )
    adata.obs["pct_intronic"] = 70.0
    done = run(adata)
    assert done.verdict["nuclei"]["is_nuclei"] is True
    assert done.verdict["nuclei"]["median_pct_intronic"] == 70
    assert done.ledger.loc["high_pct_counts_mt", "removed_any"] == 1
    assert done.cells.obs["pct_intronic"].eq(70).all()
    assert run(adata, nuclei=False).cells.n_obs == 40


def test_many_removed_are_told_in_the_verdict(run):
    done = run(make_cells(), min_counts=195, from_sheet=["min_counts"])
    assert done.cells.n_obs < 30
    assert "min_counts 195 of the sample sheet" in done.verdict["warnings"][0]


def test_strict_fails_instead_of_setting_aside(run):
    with pytest.raises(UserError, match="sample s: 3 cells are left, 10 are needed"):
        run(make_cells(3), strict=True)


def test_droplets_of_soup_among_the_cells_are_told(run):
    found = AMBIENT | {"n_without_cell": 3, "counts_without_cell": 1240}
    done = run(make_cells(), ambient=(make_cells(), found))
    (warning,) = done.verdict["warnings"]
    assert warning.startswith("3 of 40 called barcodes (8%) look like droplets")
    assert "min_counts 1,240 in the sample sheet" in warning
    assert done.verdict["verdict"] == "kept"
    few = AMBIENT | {"n_without_cell": 2, "counts_without_cell": 1240}
    assert run(make_cells(), ambient=(make_cells(), few)).verdict["warnings"] == []
