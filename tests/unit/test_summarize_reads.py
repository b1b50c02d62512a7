"""One line per sample: what its reads are, or why it is set aside."""

import json

import pandas as pd
import pytest

from summarize_reads import main, row_of, same_in_others, told

GOOD = {"sample": "a", "ok": True, "stage": "", "reason": "", "hint": ""}
INSPECTION = GOOD | {
    "chemistry": "10x_3p_v2",
    "named_by": "reads",
    "whitelists": ["737K-august-2016"],
    "hit_rate": 0.9468,
    "read_lengths": {"barcode": [26, 26], "cdna": [75, 98]},
    "warnings": [],
}
INTEGRITY = GOOD | {"n_reads": 1_234_567}
CHEMISTRY = GOOD | {
    "chemistry": "10x_5p_v2",
    "strand": "Reverse",
    "strand_by": "reads",
    "sense_share": 0.031,
}


def test_a_good_sample_says_what_it_is():
    line = told(row_of(INSPECTION, INTEGRITY, CHEMISTRY))
    assert line == (
        "10x_5p_v2; 94.7% of barcodes in 737K-august-2016; reads of 26 and 75-98 nt; "
        "strand Reverse (3.1% sense); 1,234,567 reads; good"
    )


@pytest.mark.parametrize("check", [0, 1, 2])
def test_a_bad_sample_says_why_and_what_to_do(check):
    checks = [INSPECTION, INTEGRITY, CHEMISTRY]
    fault = {"ok": False, "stage": "s", "reason": "x is cut", "hint": "Copy it."}
    checks[check] = checks[check] | fault
    assert told(row_of(*checks)) == "SET ASIDE by s: x is cut. Copy it."


def test_what_is_not_known_is_left_out():
    row = row_of(
        INSPECTION
        | {"hit_rate": None, "whitelists": [], "read_lengths": {"cdna": [75, 75]}},
        INTEGRITY,
        CHEMISTRY
        | {"strand_by": "registry", "sense_share": None, "warnings": ["few mapped"]},
    )
    assert told(row) == (
        "10x_5p_v2; reads of 75 nt; strand Reverse; 1,234,567 reads; good; "
        "WARNING: few mapped"
    )


def test_the_table_has_a_row_per_sample(tmp_path):
    checks = []
    for sample in ("a", "long_name"):
        paths = []
        for name, facts in zip("ijc", (INSPECTION, INTEGRITY, CHEMISTRY), strict=True):
            paths.append(tmp_path / f"{sample}_{name}.json")
            paths[-1].write_text(json.dumps(facts | {"sample": sample}))
        checks.append(tuple(paths))
    main(checks=checks, table=tmp_path / "t.tsv", text=tmp_path / "t.txt")
    table = pd.read_csv(tmp_path / "t.tsv", sep="\t")
    assert table["sample"].tolist() == ["a", "long_name"]
    assert table["n_reads"].tolist() == [1_234_567] * 2
    lines = (tmp_path / "t.txt").read_text().splitlines()
    assert lines[0].startswith("a          10x_5p_v2; ")


def test_no_sample_with_reads_is_said(tmp_path):
    main(checks=[], table=tmp_path / "t.tsv", text=tmp_path / "t.txt")
    assert (tmp_path / "t.txt").read_text().startswith("No sample has reads")


def test_the_same_reads_in_two_samples_are_told_of_both():
    found = same_in_others(
        [
            {"sample": "a", "fingerprints": {"a_1": "x", "a_2": "y"}},
            {"sample": "b", "fingerprints": {"b_1": "x", "b_2": "z"}},
            {"sample": "c", "fingerprints": {}},
        ]
    )
    assert found.keys() == {"a", "b"}
    assert found["a"][0].startswith("a_1 holds the same reads as b_1 of sample b")
    assert len(found["a"]) == len(found["b"]) == 1
