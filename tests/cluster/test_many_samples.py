"""Two hundred samples through a real SLURM, by a stand-in for STAR."""

import gzip
import itertools
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake, text_of

pytestmark = pytest.mark.skipif(
    not os.environ.get("CLUSTER"), reason="takes minutes: make test-cluster"
)
N_SAMPLES = 200
SAMPLES_A_JOB = 10
N_READS = 20_000
NAMES = [f"s{number:03d}" for number in range(N_SAMPLES)]


def write_sheets(folder, names):
    """Write the sheets of samples; their reads are links to the same files."""
    rows = ["sample\tlane\tfastq_1\tfastq_2"]
    for name in names:
        for mate in "12":
            link = folder / f"reads/{name}_{mate}.fastq.gz"
            if not link.exists():
                link.hardlink_to(folder / f"reads/{mate}.fastq.gz")
        files = "\t".join(f"../reads/{name}_{mate}.fastq.gz" for mate in "12")
        rows.append(f"{name}\t1\t{files}")
    (folder / "config/reads.tsv").write_text("\n".join(rows) + "\n")
    (folder / "config/samples.tsv").write_text("\n".join(["sample", *names]) + "\n")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Samples with the same reads, and what STAR makes of them for its stand-in."""
    simulator = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(tmp_path)]
    subprocess.run([*simulator, "--size", "small"], check=True)
    for mate in "12":
        [whole] = tmp_path.glob(f"reads/d1_ctrl/*_L001_R{mate}_*")
        with gzip.open(whole) as source:
            lines = list(itertools.islice(source, 4 * N_READS))
        with gzip.open(tmp_path / f"reads/{mate}.fastq.gz", "wb") as target:
            target.writelines(lines)
    config = tmp_path / "config/config.yaml"
    settings = yaml.safe_load(config.read_text())
    del settings["design"]
    config.write_text(yaml.safe_dump(settings))
    tools, kept = tmp_path / "tools", tmp_path / "kept"
    tools.mkdir()
    kept.mkdir()
    (tools / "STAR").symlink_to(ROOT / "tests/cluster/stand_in_star.sh")
    monkeypatch.setenv("STAND_IN_STAR", shutil.which("STAR"))
    monkeypatch.setenv("STAND_IN_KEPT", str(kept))
    monkeypatch.setenv("PATH", f"{tools}{os.pathsep}{os.environ['PATH']}")
    write_sheets(tmp_path, NAMES[:1])
    done = snakemake(tmp_path, f"results/count/{NAMES[0]}/Log.final.out")
    assert done.returncode == 0, text_of(done)[-5000:]
    assert {path.name for path in kept.iterdir()} == {"gene_ends_index", "star_index"}
    write_sheets(tmp_path, NAMES)
    return tmp_path


def test_no_job_of_two_hundred_samples_fails_and_slurm_is_asked_rarely(
    cluster, submit, project
):
    started = time.monotonic()
    said = submit(
        project,
        "results/reads/reads.txt",
        *(f"results/count/{name}/Log.final.out" for name in NAMES),
        # many small samples: some of them share a job, as many at a time as its cores
        *("--groups", "inspect_reads=reads", "check_reads=reads", "probe_strand=reads"),
        "count_reads=count",
        *("--group-components", f"reads={SAMPLES_A_JOB}", f"count={SAMPLES_A_JOB}"),
    )
    minutes = (time.monotonic() - started) / 60
    calls = cluster.counted()
    print(f"{N_SAMPLES} samples: {minutes:.1f} minutes, {dict(calls)}")
    assert "Error in rule" not in said
    assert "Trying to restart" not in said
    whole = [Path(project, f"results/count/{name}/Solo.out") for name in NAMES]
    assert all(folder.is_dir() for folder in whole)
    # two kinds of jobs, and the joint table
    assert calls["sbatch"] <= 2 * N_SAMPLES / SAMPLES_A_JOB + 1
    # the tests ask each second; the profile twice a minute at most
    assert calls["squeue"] + calls["sacct"] <= 60 * minutes + 5
