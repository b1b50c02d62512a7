"""What a command costs, with all that it starts."""

import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import psutil


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one run cost: seconds, GB; and where its cells with their clusters are."""

    wall: float
    cpu: float
    peak: float
    largest: float
    failed: str = ""


def watched(command: list[str], *, memory: float, cwd: Path) -> Run:
    """Run a command, and measure it and all that it starts."""

    def spent() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    start, before = time.perf_counter(), spent()
    peak = largest = 0.0
    failed = ""
    said = (cwd / "said.txt").open("w")
    with said, subprocess.Popen(command, cwd=cwd, stdout=said, stderr=said) as process:
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                members = [tree, *tree.children(recursive=True)]
            except psutil.NoSuchProcess:
                break
            sizes = [resident(member) for member in members]
            peak, largest = max(peak, sum(sizes)), max(largest, *sizes)
            if sum(sizes) > memory:
                failed = f"needs more than {memory:g} GB"
                for member in reversed(members):
                    member.kill()
            time.sleep(0.2)
    if process.returncode and not failed:
        failed = f"failed, see {cwd / 'said.txt'}"
    return Run(
        wall=time.perf_counter() - start,
        cpu=spent() - before,
        peak=peak,
        largest=largest,
        failed=failed,
    )


def resident(process: psutil.Process) -> float:
    """Return the resident memory of a process in GB; 0 for one that has ended."""
    try:
        return process.memory_info().rss / 1e9
    except psutil.NoSuchProcess:
        return 0.0


def cost_by_rule(folder: Path) -> pd.DataFrame:
    """Return what the rules of the line's last run cost, as Snakemake measured it."""
    files = sorted(folder.glob("benchmarks/**/*.tsv"))
    rows = pd.concat([pd.read_csv(file, sep="\t") for file in files])
    columns = ["s", "cpu_time", "max_rss"]
    rows[columns] = rows[columns].apply(pd.to_numeric, errors="coerce")
    return rows.groupby("rule_name").agg(
        jobs=("s", "size"),
        wall_s=("s", "sum"),
        cpu_s=("cpu_time", "sum"),
        max_rss_mb=("max_rss", "max"),
    )
