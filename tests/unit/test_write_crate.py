"""The RO-Crate holds what the manifest does, and every reference has its entity."""

import json
from pathlib import Path

import pytest

from _shared.manifest import FORMAT
from write_crate import main


@pytest.fixture
def crate(tmp_path, monkeypatch) -> dict:
    """Return the crate of a small manifest, by the ids of its entities."""
    monkeypatch.chdir(tmp_path)
    report = Path("results/report")
    report.mkdir(parents=True)
    record = {"sha256": "ab", "bytes": 3}
    manifest = {
        "format": FORMAT,
        "created": "2026-01-01T00:00:00+00:00",
        "workflow": {"commit": "c0ffee", "dirty": True},
        "versions": {"snakemake": "9.20.0", "STAR": None},
        "config": {"seed": 1, "write_report": {"title": "Lung"}},
        "sheets": {},
        "inputs": {"fastq": [{"path": "reads/a 1.fastq", **record}], "counts": []},
        "reference": {"fasta": {"path": "genome.fa", **record}},
        "outputs": [{"path": "results/cells/Ä b/cells.h5ad", **record}],
    }
    (report / "manifest.json").write_text(json.dumps(manifest))
    Path("Snakefile").write_text("rule all:\n")
    main(
        manifest=report / "manifest.json",
        source=Path("Snakefile"),
        results=Path("results"),
        copy=report / "Snakefile",
        crate=Path("results/ro-crate-metadata.json"),
    )
    content = json.loads(Path("results/ro-crate-metadata.json").read_text())
    entities = {entity["@id"]: entity for entity in content["@graph"]}
    assert len(entities) == len(content["@graph"])
    return entities


def references(value):
    """Return the ids that a value refers to."""
    if isinstance(value, dict):
        return [value["@id"]]
    return [name for item in value for name in references(item)]


def test_every_reference_has_its_entity_and_every_file_is_a_part(crate):
    outside = {"https://w3id.org/ro/crate/1.1", "https://snakemake.readthedocs.io"}
    named = {
        name
        for entity in crate.values()
        for value in entity.values()
        if isinstance(value, dict | list) and value != entity["@type"]
        for name in references(value)
    }
    assert named - outside <= set(crate)
    files = {name for name, of in crate.items() if "File" in of["@type"]}
    assert set(references(crate["./"]["hasPart"])) == files


def test_the_action_has_made_the_outputs_of_the_inputs_and_settings(crate):
    action = crate["#run"]
    assert references(action["result"]) == ["cells/%C3%84%20b/cells.h5ad"]
    assert references(action["object"]) == [
        "#input/reads%2Fa%201.fastq",
        "#input/genome.fa",
        "#config/seed",
        "#config/write_report",
    ]
    assert action["endTime"] == "2026-01-01T00:00:00+00:00"
    assert action["instrument"] == crate["./"]["mainEntity"]


def test_files_have_checksum_and_size(crate):
    for name in ("#input/genome.fa", "cells/%C3%84%20b/cells.h5ad"):
        assert (crate[name]["sha256"], crate[name]["contentSize"]) == ("ab", "3")
    assert crate["report/manifest.json"]["contentSize"] != "0"


def test_the_workflow_is_told_with_its_commit_and_what_it_ran(crate):
    workflow = crate["report/Snakefile"]
    assert workflow["version"] == "c0ffee with changes"
    assert references(workflow["softwareRequirements"]) == ["#software/snakemake"]
    assert crate["#snakemake"]["version"] == "9.20.0"
    assert crate["./"]["name"] == "Lung"
    assert Path("results/report/Snakefile").read_text() == "rule all:\n"
