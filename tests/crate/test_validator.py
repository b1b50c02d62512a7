"""The validator of RO-Crates takes a run's, and refuses what was broken in it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from _shared.manifest import FORMAT
from _shared.provenance import records
from write_crate import main

# where the validator is, or is to be installed
VENV = os.environ.get("CRATE_VENV")
PACKAGES = ("roc-validator==0.13.0", "rocrate==0.16.0")
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
pytestmark = pytest.mark.skipif(
    not VENV, reason="packages from PyPI: CRATE_VENV is not set"
)


@pytest.fixture(scope="module")
def python() -> Path:
    """Return a Python that has the validator; install it where it is not there."""
    folder = Path(VENV).resolve()
    found = folder / "bin/python"
    if not (folder / "done").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([found, "-m", "pip", "install", "-q", *PACKAGES], check=True)
        (folder / "done").write_text(" ".join(PACKAGES))
    return found


def finished(folder: Path) -> Path:
    """Leave results of a run with two files, one of an odd name."""
    results = folder / "results"
    for name in ("report/report.html", "cells/\u00c4 b/cells.h5ad"):
        (results / name).parent.mkdir(parents=True)
        (results / name).write_text(name)
    outputs = records([results])
    (folder / "reads.fastq").write_text("x")
    manifest = {
        "format": FORMAT,
        "created": "2026-01-01T00:00:00+00:00",
        "workflow": {"commit": None, "dirty": None},
        "versions": {"snakemake": "9.20.0", "STAR": "2.7.11b"},
        "config": {"seed": 1, "write_report": {"title": ""}},
        "sheets": {},
        "inputs": {"fastq": records([folder / "reads.fastq"])},
        "reference": None,
        "outputs": outputs,
    }
    path = results / "report/manifest.json"
    path.write_text(json.dumps(manifest))
    main(
        manifest=path,
        source=ROOT / "Snakefile",
        results=results,
        copy=results / "report/Snakefile",
        crate=results / "ro-crate-metadata.json",
    )
    return results


def without(name: str, key: str):
    def change(entities):
        del entities[name][key]

    return change


def lost_file(entities):
    entities["report/report.html"]["@id"] = "report/gone.html"


# what is broken, and what the validator says of it
BROKEN = {
    "no main workflow": (without("./", "mainEntity"), "Main Workflow must be"),
    "no licence": (without("./", "license"), "license"),
    "no tool": (without("#run", "instrument"), "instrument"),
    "no language": (without("report/Snakefile", "programmingLanguage"), "language"),
    "no file": (lost_file, "gone.html"),
}


@pytest.fixture(scope="module")
def judged(python, tmp_path_factory) -> dict[str, list[str]]:
    """Return what the validator says of every folder, all in one go."""
    folder = tmp_path_factory.mktemp("crates")
    folders = {"whole": finished(folder / "whole")}
    for i, (name, (change, _)) in enumerate(BROKEN.items()):
        folders[name] = folder / f"broken_{i}"
        shutil.copytree(folders["whole"], folders[name])
        path = folders[name] / "ro-crate-metadata.json"
        crate = json.loads(path.read_text())
        change({entity["@id"]: entity for entity in crate["@graph"]})
        path.write_text(json.dumps(crate))
    command = [python, HERE / "judge.py", *folders.values()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    return {name: said[str(path)] for name, path in folders.items()}


def test_the_validator_takes_a_run(judged):
    assert judged["whole"] == []


@pytest.mark.parametrize("name", BROKEN)
def test_the_validator_refuses_what_was_broken(judged, name):
    assert BROKEN[name][1] in " ".join(judged[name])
