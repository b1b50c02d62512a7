"""Metrics of cells, and the bounds that a sample sets by itself."""

from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import sparse, stats

from _shared.quality import SYMBOLS, FilterSettings, judge_nuclei, quality
from _shared.thresholds import (
    FEWEST_CELLS,
    REASONS,
    RULE_OF,
    RULES,
    automatic_bounds,
    failures,
    mad_bounds,
    thresholds,
)
from simulated_counts import Plan, make_profiles, simulate_sample

CONFIG = Path(__file__).parents[2] / "config/config.yaml"
SETTINGS = FilterSettings(**yaml.safe_load(CONFIG.read_text())["filter_cells"])
PLAN = Plan(n_genes=2000, n_types=4, rare_shares=(0.02,), median_counts=3000)


def make_metrics(n=200, *, seed=0, **columns):
    """Return metrics of healthy cells; columns given take the place of drawn ones."""
    rng = np.random.default_rng(seed)
    counts = rng.lognormal(8, 0.3, n).round()
    table = {
        "total_counts": counts,
        "n_genes_by_counts": (counts * 0.4).round(),
        "complexity": rng.normal(0.88, 0.01, n),
        "pct_counts_mt": rng.lognormal(1.2, 0.3, n),
        "pct_counts_hb": np.zeros(n),
        "pct_counts_ribo": rng.normal(20, 3, n),
    }
    return pd.DataFrame(table | columns)


def in_use(metrics, **changes):
    """Return the bounds by metric, and what was said of them."""
    table, warnings = thresholds(metrics, replace(SETTINGS, **changes))
    return table.set_index("metric"), warnings


def removed(metrics, **changes):
    table, _ = thresholds(metrics, replace(SETTINGS, **changes))
    return failures(metrics, table)


def test_quality_of_three_cells_by_hand():
    var = pd.DataFrame(
        {"is_mito": [False, True, False], "gene_name": ["a", "m", "RPL3"]},
        index=["g1", "g2", "g3"],
    )
    counts = sparse.csr_matrix([[3, 1, 6], [0, 0, 0], [0, 2, 0]])
    found = quality(ad.AnnData(counts, var=var))
    assert found["total_counts"].tolist() == [10, 0, 2]
    assert found["n_genes_by_counts"].tolist() == [3, 0, 1]
    assert found["pct_counts_mt"].tolist() == [10, 0, 100]
    assert found["pct_counts_ribo"].tolist() == [60, 0, 0]
    assert found["complexity"].tolist() == [round(np.log10(3), 4), 1, 0]


def test_a_share_without_any_gene_is_not_measured_and_bounds_nothing():
    var = pd.DataFrame({"is_mito": False}, index=["a", "b"])
    metrics = quality(ad.AnnData(sparse.csr_matrix([[3, 1]] * 20), var=var))
    shares = ["pct_counts_mt", "pct_counts_hb", "pct_counts_ribo"]
    assert metrics[shares].isna().all(axis=None)
    bounds, warnings = in_use(metrics, max_pct_counts_hb=1)
    assert bounds.loc[shares, "source"].str.startswith("not measured").all()
    assert not failures(metrics, bounds.reset_index()).any(axis=None)
    assert "mitochondrial share is not measured" in " ".join(warnings)


@pytest.mark.parametrize(
    ("share", "names", "others"),
    [
        (
            "pct_counts_ribo",
            "RPL3 RPL10A RPS4X RPS4Y1 RPLP0 RPLP2 RPSA RPS27A RPS27L RPL36AL RPL22L1 "
            "RPL39L Rpl13a Rps18 rpl7l1 rps6 RpL32 RpS3A RpLP1 rpl-1 rps-22 RPL2A "
            "RPS1B RPP0 RPP1A GRCh38_RPL3 mm10___Rpl3",
            "RPS6KA1 RPL23AP42 Rps6ka3 rps6kb1 RPP30 RPP14 MRPL3 MRPS12 RPRD1A RPSAP58 "
            "RPL3P4 Rps18-ps3 RPH3A",
        ),
        (
            "pct_counts_hb",
            "HBA1 HBA2 HBB HBD HBE1 HBG1 HBG2 HBM HBQ1 HBZ Hba-a1 Hbb-b2 Hbb-bs Hbb-bt "
            "Hbb-y Hba-x Hbq1a hbaa1 hbba2 hbae1.1 hbbe1.2 HBBA HBAD hba1.L "
            "GRCh38_HBB mm10___Hbb-bs",
            "HBEGF HBP1 HBS1L HBAP1 HBBP1 Hba-ps3 hbegfa HBXIP DHB1 HB1",
        ),
    ],
)
def test_genes_are_told_by_symbol_in_any_species_that_has_them(share, names, others):
    found = {
        name for name in (names + " " + others).split() if SYMBOLS[share].search(name)
    }
    assert found == set(names.split())


def test_bounds_are_medians_and_mads_of_scipy():
    values = np.random.default_rng(0).normal(size=101)
    low, high, median, mad = mad_bounds(values, n_mads=3)
    assert mad == pytest.approx(stats.median_abs_deviation(values))
    assert (low, high) == pytest.approx((median - 3 * mad, median + 3 * mad))


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 9.0], [2.0] * 50])
def test_few_or_equal_values_bound_nothing(values):
    low, high, _, _ = mad_bounds(np.array(values), n_mads=3)
    assert (low, high) == (-np.inf, np.inf)


def test_bounds_of_counts_are_those_of_their_logarithms():
    values = make_metrics()["total_counts"].to_numpy()
    logs = np.log1p(values)
    middle = np.median(logs)
    mad = stats.median_abs_deviation(logs)
    settings = replace(SETTINGS, n_mads_counts=4, n_mads_upper=7)
    low, high, _, _ = automatic_bounds(values, RULE_OF["total_counts"], settings)
    assert np.log1p([low, high]) == pytest.approx([middle - 4 * mad, middle + 7 * mad])


def test_a_mitochondrial_bound_stays_between_floor_and_cap():
    rule = RULE_OF["pct_counts_mt"]
    rng = np.random.default_rng(0)
    for typical, expected in ((0.2, 5), (30, 20)):
        values = typical * rng.lognormal(0, 0.2, 500)
        settings = replace(SETTINGS, min_outlier_pct_mt=5, max_outlier_pct_mt=20)
        assert automatic_bounds(values, rule, settings)[:2] == (-np.inf, expected)
    # equal cells have no MAD, few cells no bound but the cap
    for share, n, expected in ((3, 50, 5), (12, 50, 12), (60, 50, 20), (3, 5, 20)):
        equal = automatic_bounds(np.full(n, float(share)), rule, settings)
        assert equal[1] == pytest.approx(expected)


def test_null_turns_an_automatic_rule_off():
    off = {rule.n_mads: None for rule in RULES}
    bounds, _ = in_use(make_metrics(), **off)
    assert np.isinf(bounds["upper"]).all()
    assert bounds["lower"].drop("total_counts").eq(-np.inf).all()
    # what has no counts is no cell
    assert bounds.loc["total_counts", "lower"] == 1


def test_the_tighter_of_mads_and_fixed_bounds_holds():
    metrics = make_metrics()
    free, _ = in_use(metrics)
    fixed, _ = in_use(
        metrics,
        min_counts=1900,
        max_counts=1e9,
        max_pct_counts_mt=4,
        min_complexity=0.7,
    )
    assert free.loc["total_counts", "lower"] < 1900
    assert fixed.loc["total_counts", "lower"] == 1900
    assert fixed.loc["total_counts", "upper"] == free.loc["total_counts", "upper"]
    assert fixed.loc["pct_counts_mt", "upper"] == 4
    assert fixed.loc["complexity", "lower"] >= 0.7
    assert fixed.loc["total_counts", "source"].endswith("fixed bounds")
    own, _ = in_use(metrics, min_counts=1900, from_sheet=("min_counts",))
    assert own.loc["total_counts", "source"].endswith("fixed bounds of the sheet")


@pytest.mark.parametrize(("side", "metric"), REASONS)
def test_every_rule_takes_a_planted_outlier_and_nothing_else(side, metric):
    metrics = make_metrics()
    extreme = {
        "total_counts": (20, 1e6),
        "n_genes_by_counts": (10, 4e5),
        "complexity": (0.4, None),
        "pct_counts_mt": (None, 60),
        "pct_counts_hb": (None, 90),
        "pct_counts_ribo": (None, 90),
    }
    metrics.loc[7, metric] = extreme[metric][side == "high"]
    failed = removed(metrics)
    assert failed.sum().to_dict() == {
        f"{a}_{b}": int((a, b) == (side, metric)) for a, b in REASONS
    }
    assert failed.loc[7, f"{side}_{metric}"]


def test_fixed_bounds_hold_for_every_metric():
    metrics = make_metrics(pct_counts_hb=np.linspace(0, 10, 200))
    keys = {"max_pct_counts_hb": 5, "max_pct_counts_ribo": 20, "max_genes": 1200}
    failed = removed(metrics, **keys, min_complexity=0.88)
    assert failed["high_pct_counts_hb"].sum() == 100
    assert (failed["high_pct_counts_ribo"] == (metrics["pct_counts_ribo"] > 20)).all()
    assert (failed["low_complexity"] == (metrics["complexity"] < 0.88)).all()
    assert failed["high_n_genes_by_counts"].sum() > 0


def mixed(n_other, **other):
    """Return 200 healthy cells and others whose columns are multiplied."""
    metrics = make_metrics(200 + n_other)
    for name, factor in other.items():
        metrics.loc[200:, name] *= factor
    return metrics


def test_many_small_cells_are_not_taken_for_outliers():
    # a third of the cells are platelets: little RNA, and no sign of damage
    metrics = mixed(100, total_counts=0.03, n_genes_by_counts=0.03)
    bounds, warnings = in_use(metrics)
    assert not failures(metrics, bounds.reset_index()).any(axis=None)
    assert bounds.loc["total_counts", "lower"] == 1
    assert "low bound not applied" in bounds.loc["total_counts", "source"]
    (said,) = [text for text in warnings if text.startswith("low_total_counts")]
    assert "would remove 100 of 300 cells (33%)" in said
    assert "min_counts" in said
    # below the share they go
    assert removed(mixed(40, total_counts=0.03))["low_total_counts"].sum() == 40


def test_many_damaged_cells_go_and_it_is_said():
    metrics = mixed(100, total_counts=0.1, n_genes_by_counts=0.1, pct_counts_mt=12)
    bounds, warnings = in_use(metrics)
    failed = failures(metrics, bounds.reset_index()).any(axis="columns")
    assert failed[200:].all()
    assert failed[:200].mean() < 0.01
    (said,) = [text for text in warnings if text.startswith("high_pct_counts_mt")]
    assert "removes 100 of 300 cells (33%)" in said
    assert "look damaged" in said


def test_cells_full_of_mitochondria_with_all_their_genes_stay():
    # heart muscle beside other cells: a high share, nothing lost
    metrics = mixed(100, pct_counts_mt=9)
    metrics["pct_counts_mt"] = metrics["pct_counts_mt"].clip(upper=70)
    metrics.loc[299, "pct_counts_mt"] = 95
    bounds, warnings = in_use(metrics)
    assert bounds.loc["pct_counts_mt", "upper"] == 80
    failed = failures(metrics, bounds.reset_index())
    assert failed["high_pct_counts_mt"].to_numpy().nonzero()[0].tolist() == [299]
    assert any("max_pct_counts_mt in the sample sheet" in text for text in warnings)
    # what the user says holds whatever it takes, and is told as well
    bounds, warnings = in_use(
        metrics, max_pct_counts_mt=15, from_sheet=("max_pct_counts_mt",)
    )
    assert bounds.loc["pct_counts_mt", "upper"] == 15
    (said,) = warnings
    assert "max_pct_counts_mt 15 of the sample sheet" in said


def test_nuclei_are_told_by_their_introns_and_the_evidence_is_kept():
    metrics = make_metrics()

    def judged(percent, **changes):
        intronic = None if percent is None else pd.Series(np.full(200, percent))
        return judge_nuclei(metrics, intronic, replace(SETTINGS, **changes))

    for percent, is_nuclei in ((20.0, False), (75.0, True)):
        evidence, warnings = judged(percent)
        assert (evidence["is_nuclei"], warnings) == (is_nuclei, [])
        assert evidence["by"] == "intronic share"
        assert evidence["median_pct_intronic"] == percent
        assert evidence["median_pct_counts_mt"] == pytest.approx(3.3, abs=0.3)
    assert judged(None) == (judged(None)[0] | {"by": "not measured"}, [])
    assert judged(None)[0]["is_nuclei"] is False
    assert judged(None, nuclei=True)[0]["by"] == "config"
    assert "fits cells as well as nuclei" in judged(46.0)[1][0]
    evidence, warnings = judged(20.0, nuclei=True, from_sheet=("nuclei",))
    assert (evidence["is_nuclei"], evidence["by"]) == (True, "sheet")
    assert "the sheet says nuclei, but 20 %" in warnings[0]


def test_nuclei_have_a_strict_mitochondrial_bound_and_no_ribosomal_rule():
    metrics = make_metrics(pct_counts_mt=np.r_[np.full(195, 0.1), np.full(5, 3.0)])
    metrics.loc[0, "pct_counts_ribo"] = 95
    settings = replace(SETTINGS, n_mads_ribo=5)
    as_cells = failures(metrics, thresholds(metrics, settings)[0])
    as_nuclei = failures(metrics, thresholds(metrics, settings.for_nuclei())[0])
    assert as_cells["high_pct_counts_mt"].sum() == 0
    assert as_nuclei["high_pct_counts_mt"].sum() == 5
    assert as_cells["high_pct_counts_ribo"].sum() == 1
    assert as_nuclei["high_pct_counts_ribo"].sum() == 0


@pytest.mark.parametrize("rate", [0, 0.05, 0.2, 0.5])
def test_damaged_cells_go_and_healthy_ones_stay(rate):
    plan = replace(PLAN, damaged_rate=rate)
    profiles = make_profiles(plan, seed=3)
    adata = simulate_sample(plan, profiles, sample="s", batch=0, n_cells=800, seed=5)
    metrics = quality(adata)
    bounds, warnings = thresholds(metrics, SETTINGS)
    failed = failures(metrics, bounds).any(axis="columns").to_numpy()
    damaged = adata.obs["is_damaged"].to_numpy()
    assert failed[~damaged].mean() <= 0.01
    assert failed[damaged].all() or failed[damaged].mean() >= 0.98
    if rate != 0.2:  # near the share that is told
        assert any("look damaged" in text for text in warnings) == (rate == 0.5)


@pytest.mark.parametrize("n", [0, 1, 3, FEWEST_CELLS, 50])
def test_few_and_equal_cells_have_defined_bounds(n):
    for metrics in (make_metrics(n), make_metrics(1).loc[[0] * n]):
        bounds, warnings = thresholds(metrics, SETTINGS)
        assert len(bounds) == len(RULES)
        assert not failures(metrics, bounds).any(axis=None)
        assert warnings == []


def test_red_blood_cells_go_and_many_of_them_are_told():
    hb = np.where(np.arange(200) < 6, 95.0, 0.0)
    bounds, warnings = in_use(make_metrics(pct_counts_hb=hb))
    assert bounds.loc["pct_counts_hb", "upper"] == 50
    assert "6 of 200 cells (3%), red blood cells" in warnings[0]
    assert not removed(make_metrics(pct_counts_hb=hb), n_mads_hb=None).any(axis=None)
