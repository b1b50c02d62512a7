"""The manifest names every file by its content."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from _shared.provenance import (
    config_digest,
    git_state,
    object_config,
    records,
    versions,
)
from write_manifest import main


@pytest.fixture
def given(tmp_path) -> dict:
    """Arguments of `main` without a reference; a matrix folder among the inputs."""
    texts = {
        "r1.fastq.gz": "one",
        "mtx/matrix.mtx": "two",
        "mtx/barcodes.tsv": "three",
        "samples.tsv": "sample\nÄ\n",
        "report.html": "page",
    }
    for name, text in texts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return {
        "inputs": {"fastq": [tmp_path / "r1.fastq.gz"], "counts": [tmp_path / "mtx"]},
        "sheets": [tmp_path / "samples.tsv"],
        "reference": None,
        "star_version": None,
        "outputs": [tmp_path / "report.html"],
        "manifest": tmp_path / "manifest.json",
        "config": {"seed": 3, "b": {"x": None}},
        "seed": 3,
    }


def written(given: dict) -> dict:
    main(**given)
    return json.loads(given["manifest"].read_text())


def test_files_have_checksum_and_size(given):
    (record,) = written(given)["inputs"]["fastq"]
    assert record["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert record["bytes"] == 3


def test_a_folder_stands_for_its_files(given):
    names = [Path(r["path"]).name for r in written(given)["inputs"]["counts"]]
    assert names == ["barcodes.tsv", "matrix.mtx"]


def test_sheets_and_config_are_kept_as_they_were(given):
    manifest = written(given)
    assert list(manifest["sheets"].values()) == ["sample\nÄ\n"]
    assert manifest["config"] == given["config"]
    assert manifest["seed"] == 3


def test_without_reads_reference_and_star_are_null(given):
    manifest = written(given)
    assert manifest["reference"] is None
    assert manifest["versions"]["STAR"] is None


def test_the_reference_is_taken_from_its_facts(given, tmp_path):
    record = {"path": "g.fa", "sha256": "ab", "bytes": 5}
    facts = tmp_path / "reference.json"
    facts.write_text(json.dumps({"fasta": record, "gtf": record, "n_genes": 4}))
    version = tmp_path / "version.txt"
    version.write_text("2.7.10b\n")
    manifest = written({**given, "reference": facts, "star_version": version})
    assert manifest["reference"] == {"fasta": record, "gtf": record}
    assert manifest["versions"]["STAR"] == "2.7.10b"


def test_two_runs_differ_in_the_date_alone(given):
    first, second = written(given), written(given)
    assert first.pop("created")
    assert second.pop("created")
    assert first == second


def test_the_digest_of_a_config_does_not_depend_on_its_order():
    assert config_digest({"a": 1, "b": 2}) == config_digest({"b": 2, "a": 1})
    assert config_digest({"a": 1}) != config_digest({"a": 2})


def test_the_object_knows_nothing_of_tests_and_titles():
    config = {"write_report": {"title": "x"}, "test_expression": {}, "seed": 1}
    assert object_config(config) == {"seed": 1}


def test_versions_name_python_and_packages():
    found = versions(star=None)
    assert found["python"].startswith("3.")
    assert found["numpy"]


def test_a_missing_file_is_left_to_snakemake(tmp_path):
    assert records([tmp_path / "absent"]) == []


def test_a_folder_that_is_no_checkout_has_no_commit(tmp_path):
    assert git_state(tmp_path) == {"commit": None, "dirty": None}


@pytest.fixture
def checkout(tmp_path) -> Path:
    """Make a repository with one commit, whatever git is configured to."""
    who = ["-c", "user.name=x", "-c", "user.email=x@x", "-c", "commit.gpgsign=false"]
    (tmp_path / "file").write_text("x")
    for command in (["init", "-q"], ["add", "file"], [*who, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    return tmp_path


def test_a_change_makes_a_checkout_dirty(checkout):
    clean = git_state(checkout)
    (checkout / "file").write_text("y")
    assert len(clean["commit"]) == 40
    assert clean["dirty"] is False
    assert git_state(checkout)["dirty"] is True


def test_files_that_git_does_not_know_are_results_not_changes(checkout):
    (checkout / "results").mkdir()
    (checkout / "results" / "x").write_text("y")
    assert git_state(checkout)["dirty"] is False


def test_a_folder_inside_another_repository_has_no_commit(checkout):
    inside = checkout / "workflow"
    inside.mkdir()
    assert git_state(inside) == {"commit": None, "dirty": None}
