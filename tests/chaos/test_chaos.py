"""Runs that are killed, and that run out of disk, end as one that was left alone.

Five kills here; CHAOS=1 has more of them, over a larger run (half an hour).
"""

import os
import re
import shutil
import subprocess
import sys
import time

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from chaos.disks import Disk, can_mount
from chaos.killing import damaged, draw_kills, jobs_of, kill, start, tables_of
from running import ROOT, snakemake, text_of

MANY = bool(os.environ.get("CHAOS"))
# by seed the kills of a run
RUNS = dict.fromkeys(range(1, 6), 7) if MANY else {1: 5}
SIZE = ["--size", "small"] if MANY else ["--size", "tiny", "--conditions", "2"]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate an experiment, without the figures for print, which take long."""
    folder = tmp_path_factory.mktemp("chaos") / "simulated"
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder), *SIZE]
    subprocess.run(command, check=True)
    with (folder / "config/config.yaml").open("a") as config:
        config.write("\ndraw_figures:\n  formats: []\n")
    return folder


@pytest.fixture(scope="module")
def undisturbed(simulated):
    """Run the workflow once, left alone; return where, and the seconds it took."""
    folder = simulated.with_name("undisturbed")
    shutil.copytree(simulated, folder)
    before = time.monotonic()
    done = snakemake(folder)
    assert done.returncode == 0, text_of(done)[-5000:]
    return folder, time.monotonic() - before


@pytest.mark.parametrize("seed", RUNS)
def test_a_run_killed_again_and_again_ends_as_one_left_alone(
    simulated, undisturbed, tmp_path, seed
):
    whole, seconds = undisturbed
    folder, log = tmp_path / "killed", tmp_path / "log"
    shutil.copytree(simulated, folder)
    was_forced = False
    for wanted in draw_kills(seed, n=RUNS[seed], seconds=seconds):
        victim = ""
        while not victim:
            run = start(folder, log)
            victim = kill(run, wanted, folder=folder)
            if not victim:
                assert run.returncode == 0, log.read_text()[-5000:]
                print(f"seed {seed}: ended before {wanted}; once more from the start")
                shutil.rmtree(folder / "results")
        print(f"seed {seed}: {victim} killed at {wanted.moment:.2f} s", flush=True)
        code = run.wait(1800)
        if victim in ("STAR", "Python job"):
            assert code == 1, log.read_text()[-5000:]
        else:
            assert code < 0
        was_forced = code < 0
        assert damaged(folder, whole) == [], log.read_text()[-5000:]
    done = snakemake(folder)
    assert done.returncode == 0, text_of(done)[-5000:]
    # a run that was killed before it had begun has left nothing
    assert was_forced >= ("was ended by force" in text_of(done))
    before, after = tables_of(whole), tables_of(folder)
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []
    assert damaged(folder, whole) == []
    assert not [*folder.glob("results/**/.unfinished*")]
    assert jobs_of(folder) == []
    cells = [
        ad.read_h5ad(run / "results/report/reads2cells.h5ad") for run in (whole, folder)
    ]
    pd.testing.assert_frame_equal(cells[0].obs, cells[1].obs)
    assert (cells[0].X != cells[1].X).nnz == 0
    assert np.array_equal(cells[0].obsm["X_umap"], cells[1].obsm["X_umap"])
    assert "Nothing to be done" in text_of(snakemake(folder))


@pytest.fixture
def disk(undisturbed, tmp_path):
    """Put the finished run on a disk of its own."""
    folder = tmp_path / "disk"
    (tmp_path / "probe").mkdir()
    if not can_mount(tmp_path / "probe"):
        pytest.skip("NOT TESTED: full disks; only root may mount one")
    with Disk(folder) as made:
        shutil.copytree(undisturbed[0], folder, dirs_exist_ok=True, symlinks=True)
        yield made


@pytest.mark.parametrize(
    ("rule", "path", "left"),
    [
        # HDF5 gives up at its first block, or when it closes the file
        ("merge_samples", "results/clusters/merged.h5ad", 0),
        ("merge_samples", "results/clusters/merged.h5ad", 100_000),
        ("write_report", "results/report/report.html", 500_000),
    ],
)
def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    disk, undisturbed, tmp_path, monkeypatch, rule, path, left
):
    folder = disk.folder
    (folder / path).unlink()
    disk.leave_free(20_000_000)
    disk.fill_at(rule, left=left, site=tmp_path / "site")
    with monkeypatch.context() as patched:
        patched.setenv("PYTHONPATH", str(tmp_path / "site"))
        done = snakemake(folder, path)
    assert done.returncode == 1, text_of(done)
    place = (folder / path).parent
    assert f"ERROR: the disk of {place} is full; make room and run" in text_of(done)
    assert "Traceback" not in text_of(done)
    assert not (folder / path).exists()
    disk.make_room()
    goes_on(folder, path, undisturbed[0])


def test_a_disk_that_fills_while_star_writes_is_told(
    disk, undisturbed, tmp_path, monkeypatch
):
    folder, path = disk.folder, "results/count/d1_ctrl/Solo.out"
    others = folder / "others"
    tool = tmp_path / "bin/STAR"
    tool.parent.mkdir()
    # what else is on the disk grows while STAR is at work
    tool.write_text(
        f"#!/bin/bash\ncat /dev/zero >{others} 2>/dev/null\n"
        f'exec {shutil.which("STAR")} "$@"\n'
    )
    tool.chmod(0o755)
    shutil.rmtree(folder / path)
    disk.leave_free(300_000_000)
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
        done = snakemake(folder, path)
    assert done.returncode == 1, text_of(done)
    said = r"ERROR: sample d1_ctrl: .*free space on the disk of results/count, and"
    assert re.search(said, text_of(done)), text_of(done)
    assert "Traceback" not in text_of(done)
    assert not (folder / path).exists()
    disk.make_room()
    goes_on(folder, path, undisturbed[0])


def test_a_disk_that_is_full_before_the_start_is_told(disk):
    disk.leave_free(500_000)
    done = snakemake(disk.folder)
    assert done.returncode == 1
    assert done.stderr.endswith(
        f"reads2cells: the disk of {disk.folder} is full; make room and run the same "
        "command again: it goes on from here.\n"
    )


def goes_on(folder, path, whole):
    """Check that the same command makes what was missing, as it was."""
    done = snakemake(folder, path)
    assert done.returncode == 0, text_of(done)[-5000:]
    assert tables_of(folder) == tables_of(whole)
    assert damaged(folder, whole) == []
    assert not [*folder.glob("results/**/.unfinished*")]


def test_a_file_of_the_future_is_told_and_one_of_the_past_is_no_other(
    undisturbed, tmp_path
):
    folder = tmp_path / "times"
    shutil.copytree(undisturbed[0], folder, symlinks=True)
    reads = sorted(folder.glob("reads/*/*.fastq.gz"))[0]
    os.utime(reads, (0, 0))
    assert "Nothing to be done" in text_of(snakemake(folder))
    os.utime(reads, (time.time() + 90_000,) * 2)
    done = snakemake(folder)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"reads2cells: {reads.relative_to(folder)}: was changed in")
