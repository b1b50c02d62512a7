"""The emulated SLURM, and a Snakemake that submits to it."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from cluster.emulated import WITH_THE_TESTS, Cluster, reason_against
from cluster.packages import python_with
from running import ROOT, environment

from simulated_counts import Plan, make_profiles, simulate_sample

PLUGIN = "snakemake_executor_plugin_slurm"
PLAN = Plan(n_genes=500, n_types=3, median_counts=1000)
# a cluster that answers at once may be asked often
QUICK = ["--slurm-init-seconds-before-status-checks", "1"]
QUICK += ["--seconds-between-status-checks", "1", "--latency-wait", "10"]


@pytest.fixture(scope="session")
def plugin_python():
    """A Python whose Snakemake can submit to SLURM; skips where there is no SLURM."""
    if reason := reason_against():
        pytest.skip(f"SLURM IS NOT TESTED: {reason}")
    lock = str(ROOT / "envs/slurm.txt")
    return python_with(PLUGIN, "--require-hashes", "-r", lock, folder="cluster")


@pytest.fixture
def cluster(plugin_python):
    """Three nodes; a short path, for sockets are in it."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    with Cluster(folder, nodes=3, cpus=4, mem_mb=16_000) as started:
        yield started
    shutil.rmtree(folder)


@pytest.fixture
def start(cluster, plugin_python):
    """A function that starts Snakemake with the profile; its `log` has what it says."""

    def started(folder, *options):
        command = [*WITH_THE_TESTS, plugin_python, "-m", "snakemake"]
        command += ["--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder)]
        command += ["--workflow-profile", str(ROOT / "profiles/slurm"), *QUICK]
        # the cores of a node of `cluster`, and those that are really there
        command += ["--cores", "4", "--max-threads", "2", *map(str, options)]
        path = cluster.path.replace(os.environ["PATH"], environment()["PATH"])
        log = cluster.folder / "snakemake.log"
        with log.open("w") as out:
            run = subprocess.Popen(
                command,
                cwd=folder,
                stdout=out,
                stderr=out,
                env={**os.environ, "PATH": path},
            )
        run.log = log
        return run

    return started


@pytest.fixture
def submit(start):
    """A function that runs Snakemake with the profile `slurm`; returns what it said."""

    def submitted(folder, *options):
        run = start(folder, *options)
        try:
            run.wait(timeout=3600)
        finally:
            run.kill()
        said = run.log.read_text()
        assert run.returncode == 0, said[-5000:]
        return said

    return submitted


@pytest.fixture
def counted(tmp_path):
    """Two samples that enter with counts."""
    (tmp_path / "config").mkdir()
    rows = ["sample\tcondition\tcounts"]
    for seed, name in enumerate(["a", "b"], start=1):
        adata = simulate_sample(
            PLAN,
            make_profiles(PLAN, seed=1),
            sample=name,
            batch=0,
            n_cells=150,
            seed=seed,
        )
        adata.obs = adata.obs[[]].copy()
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        rows.append(f"{name}\t{name}\t../{name}.h5ad")
    (tmp_path / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    return tmp_path
