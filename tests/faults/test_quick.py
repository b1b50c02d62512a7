"""The quick part of the table of faults: what is told before anything is aligned."""

import json
import re

import pytest
import yaml
from faults.lab import (
    LISTS,
    PAPERS,
    Lab,
    list_path,
    load_faults,
    refused,
    simulate,
)
from running import ROOT

import check_reads
import inspect_reads
import prepare_whitelist

FAULTS = load_faults()
# faults that need more than these two rules: the whole table has them
LATER = {"probe_strand", "fetch_reads", "count", "cells"}
READS = [
    fault
    for fault in FAULTS
    if fault.group == "reads" and fault.stage not in LATER and fault.name != "run"
]
PLANS = [fault for fault in FAULTS if fault.group == "plan"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Simulate a sample for each fault."""
    return simulate(tmp_path_factory.mktemp("base"), n_samples=len(READS))


@pytest.fixture(scope="module")
def lists(base, tmp_path_factory):
    """Prepare the barcode lists; return the packed ones by name."""
    folder = tmp_path_factory.mktemp("lists")
    for name in LISTS:
        prepare_whitelist.main(
            source=list_path(base, name),
            lengths=(16, 16),
            barcodes=folder / f"{name}.txt",
            packed=folder / f"{name}.npy",
        )
    return {name: folder / f"{name}.npy" for name in LISTS}


@pytest.mark.parametrize("fault", READS, ids=lambda fault: fault.name)
def test_bad_reads_are_told_by_their_first_reads_or_all(
    base, lists, fault, tmp_path, monkeypatch
):
    lab = Lab(tmp_path / "lab", base=base)
    lab.add("s", number=READS.index(fault), make=fault.make, sheet=fault.sheet)
    monkeypatch.chdir(lab.folder / "reads")
    rows = [
        {
            "files": [
                path.removeprefix("../reads/")
                for column, path in row.items()
                if column.startswith(("fastq", "bam"))
            ],
            "cell": row.get("cell"),
        }
        for row in lab.reads
    ]
    papers = [tmp_path / f"{paper}.json" for paper in PAPERS]
    chemistries = yaml.safe_load((ROOT / "config/chemistries.yaml").read_text())
    inspect_reads.main(
        sample="s",
        rows=rows,
        lists=lists,
        chemistries=chemistries,
        named=fault.sheet.get("chemistry", ""),
        named_by="sheet",
        n_reads=lab.config["inspect_reads"]["n_reads"],
        strict=False,
        inspection=papers[0],
    )
    # the judgement of qualities has its own tests, and takes a second a file
    monkeypatch.setattr(check_reads, "judge", lambda reads, report: None)
    check_reads.main(
        sample="s",
        inspection_file=papers[0],
        chemistries=chemistries,
        preview_reads=None,
        strict=False,
        threads=1,
        integrity_file=papers[1],
        reports={"barcode": tmp_path / "b.json", "cdna": tmp_path / "c.json"},
    )
    facts = json.loads(papers[1].read_text())
    stage = "" if facts["ok"] else facts["stage"]
    assert (stage, facts["reason"]) == (fault.stage, facts["reason"])
    assert re.search(fault.says, f"{facts['reason']}. {facts['hint']}")
    if not fault.stage:
        assert facts["n_reads"] > 10_000


@pytest.mark.parametrize("fault", PLANS, ids=lambda fault: fault.name)
def test_a_mistake_is_told_before_any_job(base, fault, tmp_path):
    lab = Lab(tmp_path / "lab", base=base)
    for number, name in enumerate("ab"):
        lab.add(name, number=number)
    lab.write_sheets()
    sections = fault.make(lab.folder) or {}
    outcome = refused(lab.run, "--dry-run", **sections)
    assert "Traceback" not in outcome.text
    assert outcome.stage == fault.stage
    assert re.search(fault.says, outcome.sentence)
    assert not (lab.folder / "results").exists()
