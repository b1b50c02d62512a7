"""Every fault of the table is found early and told in one sentence; no sample is lost.

The whole table takes minutes, and is run when FAULTS_TABLE names the file that the
outcome is written to: `make test-faults`.
"""

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from archive import Archive
from faults.lab import (
    LISTS,
    Lab,
    judged,
    list_path,
    load_faults,
    refused,
    simulate,
    tracebacks,
)
from faults.machine import can_mount
from running import snakemake, text_of

TABLE = os.environ.get("FAULTS_TABLE", "")
pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(not TABLE, reason="minutes: FAULTS_TABLE is not set"),
    pytest.mark.skipif(shutil.which("STAR") is None, reason="no STAR on PATH"),
]
FAULTS = load_faults()
OF = {
    group: [fault for fault in FAULTS if fault.group == group]
    for group in dict.fromkeys(fault.group for fault in FAULTS)
}
HEADER = """\
# Faulty inputs

What can be wrong, which rule finds it, and what it says.
Written by `make test-faults`.

Faults of reads are samples of one run.
The good samples beside them have the results of a run without faults.
Every other fault is a run of its own.

Seconds are those of the rules that looked at the sample, up to the one that found the
fault, on about 20,000 reads, or of the whole run where a fault has its own.
"""
GOOD = ["good_1", "good_2"]
RESULTS = ["called_barcodes.tsv", "metrics.json", "cell_metrics.tsv", "verdict.json"]


def named(group):
    return pytest.mark.parametrize("fault", OF[group], ids=lambda fault: fault.name)


def judge(fault, outcome):
    """Compare what became of a fault with the table."""
    assert "Traceback" not in outcome.text
    # the sentence stands on both sides to be seen when the stage is another
    assert (outcome.stage, outcome.sentence) == (fault.stage, outcome.sentence)
    assert re.search(fault.says, outcome.sentence)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Simulate a sample for each fault, and the good ones."""
    folder = tmp_path_factory.mktemp("base")
    return simulate(folder, n_samples=len(OF["reads"]) + len(GOOD))


@pytest.fixture(scope="module")
def told():
    """Collect what was found; write it as the table of the docs."""
    found = {}
    yield found
    write_table(found, Path(TABLE))


def write_table(found, path):
    """Write the outcomes, in the order of the table."""
    path.parent.mkdir(exist_ok=True)
    lines = [
        HEADER,
        "| fault | found by | seconds | what is said |",
        "|---|---|---|---|",
    ]
    for fault in FAULTS:
        if outcome := found.get((fault.group, fault.name)):
            # what differs from run to run
            said = re.sub(r"/\S+/(lab|again)/", "", outcome.sentence)
            said = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1", said)
            said = re.sub(r"([|*_<>])", r"\\\1", said)
            stage = outcome.stage or "(works)"
            seconds = f"{outcome.seconds:.1f}"
            lines.append(f"| {fault.what} | {stage} | {seconds} | {said} |")
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def no_proxy():
    """Let this machine be asked directly."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("no_proxy", "127.0.0.1")
        yield


# one run with a sample for every fault of the reads


@pytest.fixture(scope="module")
def mixed(base, tmp_path_factory, no_proxy):
    """Run faulty and good samples together."""
    lab = Lab(tmp_path_factory.mktemp("mixed"), base=base)
    for number, name in enumerate(GOOD):
        lab.add(name, number=number)
    for number, fault in enumerate(OF["reads"], len(GOOD)):
        lab.add(fault.name, number=number, make=fault.make, sheet=fault.sheet)
    with Archive() as archive:
        lab.publish(archive)
        lab.write_sheets()
        done = lab.run(*lab.verdicts())
    (lab.folder / "said.txt").write_text(text_of(done))
    return lab


@pytest.fixture(scope="module")
def alone(base, tmp_path_factory):
    """Run the good samples, and those of unusual form in plain form, alone."""
    lab = Lab(tmp_path_factory.mktemp("alone"), base=base)
    for number, name in enumerate(GOOD):
        lab.add(name, number=number)
    for number, fault in enumerate(OF["reads"], len(GOOD)):
        if not fault.stage:
            lab.add(fault.name, number=number)
    lab.write_sheets()
    done = lab.run(*lab.verdicts())
    assert done.returncode == 0, text_of(done)[-5000:]
    return lab


@named("reads")
def test_a_bad_sample_is_set_aside_with_a_reason(mixed, told, fault):
    outcome = judged(mixed.folder, fault.name)
    told["reads", fault.name] = outcome
    judge(fault, outcome)


def results_of(folder, sample):
    """Return the results of a sample as text, by name."""
    paths = [
        path
        for stage in ("count", "cells")
        for path in (folder / f"results/{stage}/{sample}").iterdir()
    ]
    return {path.name: path.read_text() for path in paths if path.name in RESULTS}


@pytest.mark.parametrize(
    "sample", [*GOOD, *(fault.name for fault in OF["reads"] if not fault.stage)]
)
def test_a_good_sample_has_the_results_of_a_run_without_faults(mixed, alone, sample):
    expected = results_of(alone.folder, sample)
    assert set(expected) == set(RESULTS)
    assert json.loads(expected["verdict.json"])["verdict"] == "kept"
    assert results_of(mixed.folder, sample) == expected


def test_the_run_with_bad_samples_succeeds_without_a_traceback(mixed):
    said = (mixed.folder / "said.txt").read_text()
    assert "Error in rule" not in said
    assert "Traceback" not in said
    assert tracebacks(mixed.folder) == []


# a run of its own for every mistake


@pytest.fixture
def lab(base, tmp_path):
    """Return a working folder with two good samples."""
    lab = Lab(tmp_path / "lab", base=base)
    for number, name in enumerate("ab"):
        lab.add(name, number=number)
    lab.write_sheets()
    return lab


@named("samples")
def test_reads_that_two_samples_share_are_told_of(lab, told, fault):
    fault.make(lab.folder)
    outcome = refused(lab.run, "results/reads/reads.tsv")
    with (lab.folder / "results/reads/reads.tsv").open() as handle:
        *_, last = csv.DictReader(handle, delimiter="\t")
    outcome = replace(outcome, stage="summarize_reads", sentence=last["warnings"])
    told["samples", fault.name] = outcome
    judge(fault, outcome)
    assert tracebacks(lab.folder) == []


@named("plan")
def test_a_mistake_is_told_before_any_job(lab, told, fault):
    sections = fault.make(lab.folder) or {}
    outcome = refused(lab.run, "--dry-run", **sections)
    told["plan", fault.name] = outcome
    judge(fault, outcome)


@named("reference")
def test_a_bad_reference_is_told_before_it_is_indexed(lab, told, fault):
    sections = fault.make(lab.folder) or {}
    outcome = refused(lab.run, "results/reference/genes.tsv", **sections)
    if not outcome.stage:
        facts = json.loads(
            (lab.folder / "results/reference/reference.json").read_text()
        )
        outcome = replace(outcome, sentence=" ".join(facts["warnings"]))
    told["reference", fault.name] = outcome
    judge(fault, outcome)
    assert tracebacks(lab.folder) == []


@named("index")
def test_an_index_of_other_files_is_told(lab, alone, told, fault):
    shutil.copytree(alone.folder / "results/reference/star_index", lab.folder / "index")
    sections = fault.make(lab.folder)
    outcome = refused(lab.run, "results/reference/star_index", **sections)
    told["index", fault.name] = outcome
    judge(fault, outcome)
    assert tracebacks(lab.folder) == []


@named("list")
def test_a_bad_barcode_list_is_told(lab, told, fault):
    fault.make(list_path(lab.folder, LISTS[0]))
    outcome = refused(lab.run, "results/reads/a/inspection.json")
    facts = lab.folder / "results/reads/a/inspection.json"
    if facts.exists() and not json.loads(facts.read_text())["ok"]:
        outcome = judged(lab.folder, "a")
    told["list", fault.name] = outcome
    judge(fault, outcome)
    assert tracebacks(lab.folder) == []


# machines that let the run down: two good samples, of which one or none is counted


@pytest.fixture
def again(alone, tmp_path):
    """Return the finished run of good samples, whose counts are to be made again."""
    folder = tmp_path / "again"
    shutil.copytree(alone.folder, folder, symlinks=True)
    for name in GOOD:
        for stage in ("count", "cells"):
            shutil.rmtree(folder / f"results/{stage}/{name}")
    return folder


@named("machine")
def test_a_failing_machine_is_told(again, alone, told, fault, tmp_path, monkeypatch):
    trouble = fault.make()
    if trouble.mount and not can_mount():
        pytest.skip("this machine lets nobody mount")
    if fault.stage == "index_genome":
        shutil.rmtree(again / "results/reference/star_index")
    path = f"{trouble.star(tmp_path / 'bin')}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    verdicts = [f"results/cells/{name}/verdict.json" for name in GOOD]
    outcome = refused(snakemake, again, *verdicts, before=trouble.before())
    told["machine", fault.name] = outcome
    judge(fault, outcome)
    assert tracebacks(again) == []
    if fault.stage == "count_reads" and not trouble.mount:
        (counted,) = (
            name for name in GOOD if (again / f"results/cells/{name}").exists()
        )
        assert results_of(again, counted) == results_of(alone.folder, counted)
