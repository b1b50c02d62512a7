"""Every alteration of a finished run is told, and nothing else is."""

import json
import os
from pathlib import Path

import pytest

from _shared.manifest import FORMAT, MANIFEST
from _shared.provenance import records
from _shared.verification import Difference, there, verify

OUTPUTS = ("results/report/report.html", "results/cells/a/cells.h5ad")
INPUTS = ("reads/a_1.fastq.gz", "reads/a_2.fastq.gz")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Make a finished run with a manifest, and work in it."""
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path / name for name in (*OUTPUTS, *INPUTS, "genome.fa")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"what {path.name} holds")
    write_manifest()
    return tmp_path


def relative(names):
    return records([Path(name) for name in names])


def write_manifest(**changed):
    content = {
        "format": FORMAT,
        "created": "2026-01-01T00:00:00+00:00",
        "config": {},
        "sheets": {},
        "versions": {},
        "workflow": {},
        "inputs": {"fastq": relative(INPUTS), "counts": []},
        "reference": {"fasta": relative(["genome.fa"])[0]},
        "outputs": relative(OUTPUTS),
        **changed,
    }
    MANIFEST.write_text(json.dumps(content))


def said(capsys, *, status):
    assert verify(threads=2) == status
    return capsys.readouterr()


def test_a_run_as_it_was_written_is_verified(run, capsys):
    text = said(capsys, status=0).out
    assert "Verified: all 3 inputs and 2 outputs" in text
    assert len(text.splitlines()) == 1


def flip(path):
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("what", "name"),
    [
        ("output", OUTPUTS[0]),
        ("output", OUTPUTS[1]),
        ("input", INPUTS[1]),
        ("input", "genome.fa"),
    ],
)
def test_a_flipped_byte_is_told_with_what_the_file_is(run, capsys, what, name):
    flip(run / name)
    first, last = said(capsys, status=1).out.splitlines()
    assert first.startswith(f"{what} altered: {name} (SHA-256 ")
    assert last.startswith(f"Not verified: 1 {what}s altered; of 3 inputs")


def test_a_file_of_another_length_is_told_with_both(run, capsys):
    (run / OUTPUTS[0]).write_text("x")
    assert f"altered: {OUTPUTS[0]} (1 bytes, not 22)" in said(capsys, status=1).out


def test_lost_files_are_missing(run, capsys):
    for name in (OUTPUTS[1], INPUTS[0]):
        (run / name).unlink()
    lines = said(capsys, status=1).out.splitlines()
    assert lines[:2] == [f"input missing: {INPUTS[0]}", f"output missing: {OUTPUTS[1]}"]
    assert len(lines) == 3


def test_a_file_that_nobody_wrote_is_told(run, capsys):
    (run / "results/cells/a/more.tsv").write_text("x")
    text = said(capsys, status=1).out
    assert "output not in the manifest: results/cells/a/more.tsv\n" in text


def test_what_belongs_to_no_result_is_passed_over(run, capsys):
    for name in (
        "report/figures/.snakemake_timestamp",
        "cells/.unfinished-12345678-x/cells.h5ad",
        "report/comparison/comparison.html",
        "count/a/parity.tsv",
        "ro-crate-metadata.json",
    ):
        path = run / "results" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    said(capsys, status=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_told(run, capsys):
    (run / OUTPUTS[0]).chmod(0)
    assert f"output unreadable: {OUTPUTS[0]}" in said(capsys, status=1).out


def test_a_folder_that_was_moved_alone_is_told_so(run, capsys):
    for name in (*INPUTS, "genome.fa"):
        (run / name).unlink()
    lines = said(capsys, status=1).out.splitlines()
    assert lines[-1].startswith("All inputs are missing that had their place by")
    (run / "genome.fa").write_text("what genome.fa holds")
    assert "All inputs are missing" not in said(capsys, status=1).out


def test_a_folder_moved_with_its_inputs_is_verified(run, capsys, monkeypatch):
    moved = run.with_name("moved")
    run.rename(moved)
    monkeypatch.chdir(moved)
    said(capsys, status=0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "there is no manifest; a finished run has one"),
        ("{", "cannot be read (JSONDecodeError"),
        ("[]", "is no manifest of this workflow"),
        ("{}", "was written by an older version"),
        ('{"format": 999}', "was written by a newer version"),
        (f'{{"format": {FORMAT}}}', "lacks config, created, inputs"),
    ],
)
def test_a_manifest_that_cannot_be_used_takes_a_sentence(run, capsys, text, sentence):
    if text is None:
        MANIFEST.unlink()
    else:
        MANIFEST.write_text(text)
    seen = said(capsys, status=1)
    assert seen.out == ""
    assert sentence in seen.err
    assert len(seen.err.splitlines()) == 1


def test_a_manifest_with_a_torn_record_takes_a_sentence(run, capsys):
    write_manifest(outputs=[{"path": OUTPUTS[0]}])
    assert "is damaged (KeyError" in said(capsys, status=1).err


def test_files_of_the_workflow_are_found_in_another_clone_of_it(tmp_path):
    path = "/elsewhere/workflow/config/cell_cycle.tsv"
    assert there(path).is_file()
    assert (
        str(there("/elsewhere/config/nothing.tsv")) == "/elsewhere/config/nothing.tsv"
    )


def test_a_difference_is_a_line():
    difference = Difference(what="input", path="x", how="altered", detail="why")
    assert str(difference) == "input altered: x (why)"
