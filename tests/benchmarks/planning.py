"""What a run costs before its jobs, and a job before its work.

    python tests/benchmarks/planning.py

Plans: dry runs of this workflow for growing numbers of samples with reads, on one core,
beside a bare workflow with as many jobs. Jobs: what Snakemake takes to start a script
that does nothing, here and as a job of its own, and what each script of ours imports.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import pandas as pd
import psutil
from measure import Run, watched

ROOT = Path(__file__).parents[2]
SIZES = (100, 250, 500, 1000)
N_PROBES = 20
REPEATS = 3
CHILDREN = ("children_user", "children_system")
BARE = """\
SAMPLES = [f"s{{n}}" for n in range({n_samples})]
rule all:
    input: [f"{{s}}/{{k}}" for s in SAMPLES for k in [{last}]]
rule first:
    output: "{{s}}/0"
    shell: "touch {{output}}"
"""
NEXT = """\
rule next_{n}:
    input: "{{s}}/{before}"
    output: "{{s}}/{n}"
    shell: "cp {{input}} {{output}}"
"""
PROBE = """\
rule all:
    input: [f"{{n}}.txt" for n in range({n_jobs})]
rule probe:
    output: "{{n}}.txt"
    log: "{{n}}.log"
    {how}
"""
SCRIPT = """\
import sys
sys.path.insert(0, {scripts!r})
from pathlib import Path
from _shared.jobs import job
with job(snakemake):
    Path(snakemake.output[0]).touch()
"""


def project(folder: Path, n_samples: int) -> None:
    """Write sheets of samples whose reads are links to the same two files."""
    (folder / "config").mkdir(parents=True)
    (folder / "reads").mkdir()
    (folder / "genome.fa").write_text(">chr1\nACGT\n")
    (folder / "genes.gtf").write_text("#\n")
    rows = ["sample\tlane\tfastq_1\tfastq_2"]
    names = [f"s{n:04d}" for n in range(n_samples)]
    for mate in "12":
        (folder / f"reads/{mate}.fastq").write_text("@r\nACGT\n+\nIIII\n")
    for name in names:
        for mate in "12":
            path = folder / f"reads/{name}_{mate}.fastq"
            path.hardlink_to(folder / f"reads/{mate}.fastq")
        rows.append(f"{name}\t1\t../reads/{name}_1.fastq\t../reads/{name}_2.fastq")
    (folder / "config/reads.tsv").write_text("\n".join(rows) + "\n")
    (folder / "config/samples.tsv").write_text("\n".join(["sample", *names]) + "\n")
    (folder / "config/config.yaml").write_text(
        "check_reference: {fasta: genome.fa, gtf: genes.gtf}\n"
    )


def bare(folder: Path, n_samples: int, n_rules: int) -> None:
    """Write a workflow of as many rules in a row per sample, and nothing else."""
    text = BARE.format(n_samples=n_samples, last=n_rules - 1)
    for n in range(1, n_rules):
        text += NEXT.format(n=n, before=n - 1)
    folder.mkdir(parents=True)
    (folder / "Snakefile").write_text(text)


def dry_run(folder: Path, snakefile: Path) -> tuple[Run, int]:
    """Plan on one core; return what that cost, and how many jobs there are."""
    command = [sys.executable, "-m", "snakemake", "-n", "--cores", "1"]
    command += ["--snakefile", str(snakefile), "--directory", str(folder)]
    whole = psutil.Process().cpu_affinity()
    # what is started has the same
    psutil.Process().cpu_affinity(whole[:1])
    try:
        done = watched(command, memory=20, cwd=folder)
    finally:
        psutil.Process().cpu_affinity(whole)
    if done.failed:
        sys.exit(f"{folder}: {done.failed}")
    found = re.search(r"^total\s+(\d+)$", (folder / "said.txt").read_text(), re.M)
    return done, int(found[1])


def plans(folder: Path, sizes: list[int]) -> pd.DataFrame:
    """Return the cost of a plan by the number of samples, and that of a bare one."""
    rows = []
    for size in sizes:
        ours, plain = folder / f"ours_{size}", folder / f"bare_{size}"
        project(ours, size)
        cost, n_jobs = dry_run(ours, ROOT / "Snakefile")
        bare(plain, size, round(n_jobs / size))
        other, _ = dry_run(plain, plain / "Snakefile")
        rows.append(
            {
                "samples": size,
                "jobs": n_jobs,
                "wall_s": cost.wall,
                "cpu_s": cost.cpu,
                "gb": cost.peak,
                "ms_a_job": 1000 * cost.cpu / n_jobs,
                "bare_cpu_s": other.cpu,
                "ratio": cost.cpu / other.cpu,
            }
        )
    return pd.DataFrame(rows)


def spent(command: list[str], cwd: Path) -> float:
    """Return the CPU seconds of a command and all that it starts."""
    before = os.times()
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr[-2000:]}")
    after = os.times()
    return sum(getattr(after, of) - getattr(before, of) for of in CHILDREN)


def start_of_a_job(folder: Path) -> dict[str, float]:
    """Return what Snakemake takes for a job: one that does nothing, seconds of CPU."""
    hows = {"shell": 'shell: "touch {output}"', "script": 'script: "probe.py"'}
    found = {}
    for name, how in hows.items():
        costs = []
        for n_jobs in (1, 1 + N_PROBES):
            place = folder / f"{name}_{n_jobs}"
            place.mkdir(parents=True)
            (place / "Snakefile").write_text(PROBE.format(n_jobs=n_jobs, how=how))
            (place / "probe.py").write_text(
                SCRIPT.format(scripts=str(ROOT / "scripts"))
            )
            command = [sys.executable, "-m", "snakemake", "--cores", "1", "--quiet"]
            costs.append(spent(command, place))
        found[name] = (costs[1] - costs[0]) / N_PROBES
    return found


def imports() -> pd.Series:
    """Return the CPU seconds until each script has imported what it starts with."""
    found = {}
    for path in sorted((ROOT / "scripts").glob("*.py")):
        code = f"import sys; sys.path.insert(0, 'scripts'); import {path.stem}"
        command = [sys.executable, "-c", code]
        found[path.stem] = median(spent(command, ROOT) for _ in range(REPEATS))
    return pd.Series(found).sort_values(ascending=False)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, nargs="+", default=SIZES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = plans(folder, asked.samples)
        print("snakemake -n on one core; bare: as many jobs without anything else")
        print(table.round(2).to_string(index=False))
        of_job = start_of_a_job(folder / "jobs")
        one = folder / "one"
        project(one, 1)
        whole, _ = dry_run(one, ROOT / "Snakefile")
    print("\nseconds of CPU before the work of a job")
    print(f"  Snakemake, for a script: {of_job['script']:.2f} ", end="")
    print(f"(for a command of the shell: {of_job['shell']:.2f})")
    print(f"  and as a job of its own on a cluster: {whole.cpu:.2f}")
    seconds = imports()
    python = median(spent([sys.executable, "-c", ""], ROOT) for _ in range(REPEATS))
    print(f"  imports of {len(seconds)} scripts, Python's own start ({python:.2f}):")
    print(f"    median {seconds.median():.2f}, most {seconds.max():.2f}")
    print(seconds.head(5).round(2).to_string())
    # Python's start is in both
    most = of_job["script"] + seconds.max() - python
    print(f"  at most: {most:.2f} here, {most + whole.cpu:.2f} on a cluster")


if __name__ == "__main__":
    main()
