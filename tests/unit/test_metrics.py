"""The registry of metrics: limits on either side, and numbers that cannot be."""

import json

import pytest

from _shared.metrics import METRICS, judged


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("valid_barcodes", 49.9, "fail"),
        ("valid_barcodes", 50, "warn"),
        ("valid_barcodes", 75, "pass"),
        ("estimated_number_of_cells", 0, "fail"),
        ("estimated_number_of_cells", 99, "warn"),
        ("estimated_number_of_cells", 100, "pass"),
        # bad above the limit
        ("reads_mapped_antisense_to_gene", 10, "pass"),
        ("reads_mapped_antisense_to_gene", 10.1, "warn"),
        ("reads_mapped_antisense_to_gene", 30, "warn"),
        ("reads_mapped_antisense_to_gene", 30.1, "fail"),
        # no limits
        ("sequencing_saturation", 0, "pass"),
    ],
)
def test_a_limit_itself_is_still_good(name, value, status):
    assert METRICS[name].judge(value) == status


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("valid_barcodes", None),
        ("sequencing_saturation", float("nan")),
        ("valid_barcodes", float("inf")),
        ("valid_barcodes", 100.1),
        ("sequencing_saturation", -0.1),
        # as STAR writes it after 0 reads
        ("estimated_number_of_cells", 3472328296227680300),
    ],
)
def test_what_cannot_be_fails_and_is_null(name, value):
    found = judged({name: value})[name]
    assert found["status"] == "fail"
    assert found["value"] is None
    json.dumps(found, allow_nan=False)


def test_limits_are_told_on_their_side():
    limits = {name: metric.limit for name, metric in METRICS.items()}
    assert limits["valid_barcodes"] == "warn below 75, fail below 50"
    assert limits["reads_mapped_antisense_to_gene"] == "warn above 10, fail above 30"
    assert limits["estimated_number_of_cells"] == "warn below 100, fail at 0"
    assert limits["sequencing_saturation"] is None


def test_a_metric_that_a_library_does_not_have_is_left_out():
    values = {"estimated_number_of_cells": 500, "number_of_reads": 10}
    assert list(judged(values)) == ["number_of_reads", "estimated_number_of_cells"]


def test_limits_warn_before_they_fail():
    for metric in METRICS.values():
        if metric.warn is not None:
            assert (metric.fail > metric.warn) == metric.bad_above
            assert metric.judge(metric.warn) == "pass"
