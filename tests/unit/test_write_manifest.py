"""The manifest names every file by its content."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from _shared.provenance import (
    PACKAGES,
    WORKFLOW,
    config_digest,
    git_state,
    machine,
    object_config,
    records,
    versions,
)
from write_manifest import main, outputs_of, rules_in


@pytest.fixture
def given(tmp_path) -> dict:
    """Arguments of `main` without a reference."""
    record = {"path": "r1.fastq.gz", "sha256": "ab", "bytes": 3}
    recorded = {"inputs": {"fastq": [record]}, "reference": None}
    (tmp_path / "inputs.json").write_text(json.dumps(recorded))
    (tmp_path / "samples.tsv").write_text("sample\nÄ\n")
    (tmp_path / "report.html").write_text("page")
    return {
        "recorded": tmp_path / "inputs.json",
        "sheets": [tmp_path / "samples.tsv"],
        "star_version": None,
        "outputs": [tmp_path / "report.html"],
        "manifest": tmp_path / "manifest.json",
        "config": {"seed": 3, "b": {"x": None}},
        "seed": 3,
        "benchmarks": tmp_path / "benchmarks",
        "rules": {"load_cells", "merge_samples", "find_markers", "write_manifest"},
        "names": {"a", "b"},
    }


def written(given: dict) -> dict:
    main(**given)
    return json.loads(given["manifest"].read_text())


def test_outputs_have_checksum_and_size(given):
    (record,) = written(given)["outputs"]
    assert record["sha256"] == hashlib.sha256(b"page").hexdigest()
    assert record["bytes"] == 4


def test_a_folder_stands_for_the_files_that_the_run_wrote_in_it(given, tmp_path):
    folder = tmp_path / "figures"
    (folder / "more").mkdir(parents=True)
    for name in ("umap.svg", "more/umap.pdf", ".snakemake_timestamp"):
        (folder / name).write_text(name)
    found = written({**given, "outputs": [folder]})["outputs"]
    paths = [str(folder / name) for name in ("more/umap.pdf", "umap.svg")]
    assert [record["path"] for record in found] == paths
    assert found[1]["bytes"] == len("umap.svg")


def test_what_went_in_is_taken_as_it_was_recorded(given):
    recorded = json.loads(given["recorded"].read_text())
    manifest = written(given)
    assert manifest["inputs"] == recorded["inputs"]
    assert manifest["reference"] == recorded["reference"]


def test_sheets_and_config_are_kept_as_they_were(given):
    manifest = written(given)
    assert list(manifest["sheets"].values()) == ["sample\nÄ\n"]
    assert manifest["config"] == given["config"]
    assert manifest["seed"] == 3


def test_the_version_of_star_is_that_of_the_index_and_null_without_reads(
    given, tmp_path
):
    assert written(given)["versions"]["STAR"] is None
    version = tmp_path / "version.txt"
    version.write_text("2.7.10b\n")
    manifest = written({**given, "star_version": version})
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


def test_the_object_knows_nothing_of_what_is_off_or_where_sheets_are():
    config = {
        "samples": "config/samples.tsv",
        "correct_ambient": {"method": "droplets"},
        "run_cellbender": {"epochs": 9},
        "run_celltypist": {"model": "", "trust_pickle": True},
    }
    assert set(object_config(config)) == {"correct_ambient"}
    config["correct_ambient"]["method"] = "cellbender"
    config["run_celltypist"]["model"] = "model.pkl"
    assert set(object_config(config)) == set(config) - {"samples"}


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


def write_benchmark(given, name, *rows):
    path = given["benchmarks"] / f"{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["s\tmax_rss\tcpu_time", *("\t".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n")


def test_time_and_memory_of_a_rule_are_those_of_its_last_jobs(given):
    write_benchmark(given, "load_cells/a", ("9", "9", "9"), ("1.5", "700.0", "1"))
    write_benchmark(given, "load_cells/b", ("2", "NA", "0.5"))
    # of a sample that is no more in the sheet, and of the run before
    write_benchmark(given, "load_cells/gone", ("50", "5000", "50"))
    write_benchmark(given, "write_manifest", ("50", "5000", "50"))
    # switched off since
    write_benchmark(given, "find_clones", ("50", "5000", "50"))
    write_benchmark(given, "merge_samples", ("0.1", "-", "NA"))
    write_benchmark(given, "find_markers")
    assert written(given)["rules"] == {
        "load_cells": {
            "jobs": 2,
            "seconds": 3.5,
            "cpu_seconds": 1.5,
            "max_rss_mb": 700.0,
        },
        "merge_samples": {
            "jobs": 1,
            "seconds": 0.1,
            "cpu_seconds": 0.0,
            "max_rss_mb": None,
        },
    }


def test_the_machine_is_told_without_names(given, tmp_path):
    text = json.dumps(written(given)["machine"])
    assert os.uname().nodename not in text
    cpus = tmp_path / "cpuinfo"
    cpus.write_text("processor\t: 0\nmodel name\t: Fast 1 @ 2 GHz\n")
    of = machine(cpus)
    assert of["cpu"] == "Fast 1 @ 2 GHz"
    assert of["cores"] >= 1
    assert of["memory_bytes"] > 1e8
    assert machine(tmp_path / "absent")["cpu"]


def test_every_package_of_the_environment_has_its_version():
    text = (WORKFLOW / "envs/requirements.in").read_text()
    named = re.findall(r"^[a-z][\w-]*", text, re.MULTILINE)
    assert set(named) == set(PACKAGES)
    found = versions(star=None)
    assert [name for name in PACKAGES if not found[name]] == []
    assert found["samtools"].startswith("1.")
    assert found["htslib"].startswith("1.")


def test_all_files_of_the_samples_are_outputs_and_the_proofs_are_not():
    off = ("bam", "cram", "parity", "cellbender", "celltypist", "order_cells")
    off += ("find_clones", "infer_velocity", "figures", "matrices", "cellxgene")
    switched = dict.fromkeys((*off, "previous"), False)
    lists = {"fetched_whitelist": [], "prepared_whitelist": [], "accession": []}
    run = {"samples": ["a", "b"], "read_samples": ["a"]}
    run |= {"switched": switched | lists}
    assert {"count_reads", "find_markers", "write_manifest"} <= rules_in(run)
    assert not {"find_clones", "draw_figures"} & rules_in(run)
    paths = set(map(str, outputs_of(run)))
    assert "results/count/a/Solo.out" in paths
    assert "results/count/b/Solo.out" not in paths
    assert {"results/cells/b/cells.h5ad", "results/README.md"} <= paths
    assert "results/report/manifest.json" not in paths
