"""The whole line through a real SLURM, and what happens there: the same tables."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
import yaml
from cluster.emulated import wait_until
from running import ROOT, snakemake, text_of

pytestmark = pytest.mark.skipif(
    not os.environ.get("CLUSTER"), reason="takes minutes: make test-cluster"
)
# from the reads of two samples to their cells
CELLS = [f"results/cells/{sample}/verdict.json" for sample in ("d1_ctrl", "d1_stim")]


def tables_of(folder, pattern="results/**/*.tsv"):
    """Return every table of a run by its place, as bytes."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob(pattern))
    }


@pytest.fixture(scope="module")
def simulated(plugin_python, tmp_path_factory):
    """Simulate the small experiment."""
    folder = tmp_path_factory.mktemp("small")
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    subprocess.run([*command, "--size", "small"], check=True)
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text())
    # they take long, and none of their tables is only theirs
    config.write_text(yaml.safe_dump({**settings, "draw_figures": {"formats": []}}))
    return folder


@pytest.fixture(scope="module")
def local(simulated, tmp_path_factory):
    """The tables of a run on this machine without SLURM."""
    folder = tmp_path_factory.mktemp("local") / "run"
    shutil.copytree(simulated, folder)
    done = snakemake(folder)
    assert done.returncode == 0, text_of(done)[-5000:]
    return tables_of(folder)


@pytest.fixture
def project(simulated, tmp_path):
    """A copy of the simulated reads to run on."""
    return shutil.copytree(simulated, tmp_path / "run")


def test_the_whole_line_makes_the_same_tables(cluster, submit, local, project):
    submit(project)
    tables = tables_of(project)
    assert len(tables) > 60
    assert tables == local
    assert "Nothing to be done" in submit(project, "--dry-run")


def test_a_job_that_takes_more_memory_than_it_asked_for_gets_more(
    cluster, submit, local, project
):
    table = "results/reference/contigs.tsv"
    said = submit(
        project, table, "--set-resources", "check_reference:mem_mb=150*attempt**2"
    )
    assert "Trying to restart job" in said
    assert tables_of(project)[table] == local[table]
    asked = [
        int(call.split(" --mem ")[1].split()[0])
        for call in cluster.calls()
        if call.startswith("sbatch ")
    ]
    assert asked == [150 * attempt**2 for attempt in range(1, len(asked) + 1)]
    assert len(asked) > 1


def drain_a_node(cluster):
    """Take a node out of service; what runs there may end."""
    cluster.call("scontrol", "update", "NodeName=n1", "State=DRAIN", "Reason=test")


def lose_a_node(cluster):
    """Let a node be gone, with the jobs on it."""
    cluster.call("scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=test")


def restart_the_controller(cluster):
    """Let nobody answer for ten seconds."""
    cluster.stop_controller()
    time.sleep(10)
    cluster.start_controller()


def refuse_jobs(cluster):
    """Let the next calls of `sbatch` fail."""
    cluster.refuse(8)


@pytest.fixture
def half_way(start, project):
    """A run that has made the first results of a sample."""
    run = start(project, *CELLS)
    try:
        wait_until(
            lambda: run.poll() is not None or any(project.glob("results/reads/d*")),
            "a sample looked at",
            seconds=900,
        )
        assert run.poll() is None, run.log.read_text()[-5000:]
        yield run
    finally:
        run.kill()
        run.wait()


@pytest.mark.parametrize(
    "event", [drain_a_node, lose_a_node, restart_the_controller, refuse_jobs]
)
def test_after_trouble_the_tables_are_the_same(
    event, cluster, half_way, submit, local, project
):
    event(cluster)
    # what the profile's retries did not mend, the same command does
    if half_way.wait(1800):
        submit(project, *CELLS)
    check_cells(project, local)


def check_cells(project, local):
    """Assert that the tables of two samples are there, as those of the local run."""
    tables = tables_of(project)
    assert "results/cells/d1_stim/ledger.tsv" in tables
    assert {name: local[name] for name in tables} == tables


def test_the_jobs_of_a_killed_snakemake_are_told_and_cancelled(
    cluster, half_way, start, submit, local, project
):
    half_way.kill()
    half_way.wait()
    [run_id] = set(re.findall(r"SLURM run ID: (\S+)", half_way.log.read_text()))
    again = start(project, *CELLS)
    assert again.wait(120) != 0
    assert f"scancel --name {run_id}" in again.log.read_text()
    cluster.call("scancel", "--name", run_id)
    wait_until(lambda: not cluster.call("squeue", "--noheader"), "no jobs")
    submit(project, *CELLS)
    check_cells(project, local)
