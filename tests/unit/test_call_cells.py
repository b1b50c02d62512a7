"""Knee curve, STAR's arguments and metrics against values known by hand."""

import json

import numpy as np
import pytest
from scipy import sparse

from _shared.logs import UserError
from _shared.metrics import METRICS, judged
from call_cells import (
    check_all_read,
    filter_arguments,
    measured,
    rank_curve,
    star_statistics,
    star_summary,
)

SETTINGS = {
    "method": "EmptyDrops_CR",
    "expected_cells": 3000,
    "max_percentile": 0.99,
    "max_min_ratio": 10,
    "ind_min": 45000,
    "ind_max": 90000,
    "umi_min": 500,
    "umi_min_frac_median": 0.01,
    "cand_max_n": 20000,
    "fdr": 0.01,
    "sim_n": 10000,
}


def test_the_defaults_are_those_of_the_star_manual():
    said = " ".join(filter_arguments(SETTINGS))
    assert said == "EmptyDrops_CR 3000 0.99 10 45000 90000 500 0.01 20000 0.01 10000"
    knee = filter_arguments(SETTINGS | {"method": "CellRanger2.2"})
    assert knee == ["CellRanger2.2", "3000", "0.99", "10"]
    assert filter_arguments(SETTINGS | {"method": "TopCells"}) == ["TopCells", "3000"]


def test_the_knee_curve_falls_and_says_where_cells_are():
    totals = np.array([5, 0, 100, 50, 5])
    curve = rank_curve(totals, totals >= 50)
    assert curve["rank"].tolist() == [1, 2, 3, 4]
    assert curve["total_counts"].tolist() == [100, 50, 5, 5]
    assert curve["is_cell_share"].tolist() == [1, 1, 0, 0]


def test_the_knee_curve_is_thin_and_keeps_the_number_of_cells():
    totals = np.random.default_rng(0).integers(1, 1000, 50_000)
    is_cell = totals > 900
    curve = rank_curve(totals, is_cell)
    assert len(curve) <= 2000
    widths = np.diff([0, *curve["rank"]])
    assert (curve["is_cell_share"] * widths).sum() == pytest.approx(
        is_cell.sum(), rel=0.01
    )


def test_the_knee_curve_of_nothing_is_empty():
    assert rank_curve(np.zeros(3), np.zeros(3, dtype=bool)).empty


SUMMARY = {
    "Number of Reads": 100.0,
    "Reads With Valid Barcodes": 0.954,
    "Reads Mapped to Gene: Unique Gene": 0.25,
    "Sequencing Saturation": float("nan"),
}


FATES = {
    "barcode_reads": {"noNinUMI": 3, "noUMIhomopolymer": 1},
    "feature_reads": {"MultiFeature": 5, "noNoFeature": 7},
}


def test_metrics_are_those_of_the_called_cells():
    counts = sparse.csr_matrix([[3, 0, 1], [0, 2, 0], [1, 0, 0]])
    is_cell = np.array([True, True, False])
    values = measured(SUMMARY, **FATES, counts=counts, is_cell=is_cell, feature="Gene")
    assert set(values) == set(METRICS)
    assert values["estimated_number_of_cells"] == 2
    assert values["fraction_umis_in_cells"] == pytest.approx(100 * 6 / 7, abs=0.01)
    assert values["median_umi_counts_per_cell"] == 3
    assert values["median_genes_per_cell"] == 1.5
    assert values["mean_reads_per_cell"] == 50
    assert values["total_genes_detected"] == 3
    assert values["valid_barcodes"] == 95.4
    assert values["valid_umis"] == 96
    assert values["reads_mapped_to_several_genes"] == 5
    assert values["reads_mapped_to_no_gene"] == 7


def test_metrics_are_judged_by_their_limits():
    counts = sparse.csr_matrix((2, 3), dtype=int)
    nothing = np.zeros(2, dtype=bool)
    values = measured(SUMMARY, **FATES, counts=counts, is_cell=nothing, feature="Gene")
    found = judged(values)
    assert found["valid_barcodes"]["status"] == "pass"
    assert found["reads_mapped_confidently_to_transcriptome"]["status"] == "warn"
    assert found["estimated_number_of_cells"]["status"] == "fail"
    assert found["sequencing_saturation"] | {"meaning": ""} == {
        "title": "Sequencing Saturation",
        "value": None,
        "unit": "percent",
        "status": "fail",
        "limit": None,
        "meaning": "",
    }
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "status"), [(49.9, "fail"), (50, "warn"), (75, "pass"), (None, "fail")]
)
def test_a_limit_itself_is_still_good(value, status):
    assert METRICS["valid_barcodes"].judge(value) == status


def test_what_is_no_number_in_the_summary_is_left_out(tmp_path):
    (tmp_path / "s.csv").write_text("Number of Reads,5\nA: Unique+Multiple,NoMulti\n")
    assert star_summary(tmp_path / "s.csv") == {"Number of Reads": 5.0}


def test_the_fates_of_reads_are_read_from_star_s_statistics(tmp_path):
    (tmp_path / "Barcodes.stats").write_text("   noNoAdapter      0\n  noNinUMI  12\n")
    fates = star_statistics(tmp_path / "Barcodes.stats")
    assert fates == {"noNoAdapter": 0, "noNinUMI": 12}


def test_reads_that_star_did_not_see_are_an_error():
    check_all_read({"Number of Reads": 5.0}, {"sample": "s", "n_reads": 5})
    with pytest.raises(UserError, match="sample s: STAR read 4 of 5 read pairs"):
        check_all_read({"Number of Reads": 4.0}, {"sample": "s", "n_reads": 5})
