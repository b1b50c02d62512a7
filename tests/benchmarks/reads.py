"""What the stages reads and count cost beside STAR alone, in one session.

    python tests/benchmarks/reads.py FOLDER [--cores 2]

FOLDER is a working folder with one sample, as `simulate.py FOLDER --size bench` makes
it. Reference and barcode lists are prepared before. The line is what Snakemake runs of
the two stages, its own start included; STAR alone gets the same options, threads and
reads, once through `zcat` as its manual says, once through the line's own pipes. They
are run in turns; ratios are of medians.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from _shared.feeding import run_fed, sample_streams  # noqa: E402
from count_reads import parse_params, star_command, star_options  # noqa: E402

REPEATS = 3


def run_line(targets: list[str], *, cores: int) -> None:
    """Run what Snakemake needs for some files."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += ["--cores", str(cores), *targets]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)


def star_alone(sample: str, *, cores: int) -> list[str]:
    """Return the command of STAR with the options of `count_reads`, without reads."""
    settings = yaml.safe_load((ROOT / "config/config.yaml").read_text())["count_reads"]
    geometry = Path(f"results/reads/{sample}/star.params").read_text()
    options = star_options(settings, parse_params(geometry)) | {
        "runThreadN": [cores],
        "genomeDir": ["results/reference/star_index"],
        "outFileNamePrefix": ["star_alone/"],
    }
    return star_command(options)


def with_zcat(command: list[str], lanes: list[dict]) -> None:
    """Run STAR on the files, which it decompresses with `zcat`."""
    reads = [
        ",".join(lane[read][0]["file"] for lane in lanes)
        for read in ("cdna", "barcode")
    ]
    command = [*command, "--readFilesIn", *reads, "--readFilesCommand", "zcat"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def with_pipes(command: list[str], lanes: list[dict]) -> None:
    """Run STAR on the reads as the line hands them over."""
    code = run_fed(
        lambda paths: [*command, "--readFilesIn", *paths],
        sample_streams(lanes, preview_reads=None, by_cell=False),
        stdout=subprocess.DEVNULL,
        stderr=sys.stderr,
    )
    if code:
        sys.exit(f"STAR failed with code {code}")


def cost(action: Callable[[], object]) -> tuple[float, float]:
    """Return wall time and CPU time of an action in seconds, its children included."""

    def spent() -> float:
        usages = map(
            resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    wall, cpu = time.perf_counter(), spent()
    action()
    return time.perf_counter() - wall, spent() - cpu


def main() -> None:
    """Print wall and CPU time of each, and the ratios of the line to STAR alone."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    arguments = parser.parse_args()
    cores = arguments.cores
    os.chdir(arguments.folder)
    _, row, *_ = Path("config/samples.tsv").read_text().splitlines()
    sample = row.split("\t")[0]
    targets = [f"results/count/{sample}/metrics.json"]

    # prepares what is not measured, and warms up
    run_line(targets, cores=cores)
    command = star_alone(sample, cores=cores)
    inspection = Path(f"results/reads/{sample}/inspection.json")
    facts = json.loads(inspection.read_text())

    def line() -> None:
        run_line(targets, cores=cores)

    actions = {
        "line": line,
        "STAR, zcat": lambda: with_zcat(command, facts["lanes"]),
        "STAR, own pipes": lambda: with_pipes(command, facts["lanes"]),
    }
    runs: dict[str, list] = {name: [] for name in actions}
    for _ in range(REPEATS):
        for name, action in actions.items():
            made = ["star_alone"]
            if name == "line":
                made = [f"results/{stage}/{sample}" for stage in ("reads", "count")]
            for path in made:
                shutil.rmtree(path, ignore_errors=True)
            runs[name].append(cost(action))
            print(f"{name:16} wall {runs[name][-1][0]:8.1f}", file=sys.stderr)
    shutil.rmtree("star_alone")
    medians = {
        name: [median(column) for column in zip(*of, strict=True)]
        for name, of in runs.items()
    }
    n_reads = facts["n_reads_estimated"]
    print(f"{'about ' + format(n_reads, ',') + ' reads':24} {'wall_s':>8} {'cpu_s':>8}")
    for name, (wall, cpu) in medians.items():
        print(f"{name:24} {wall:8.1f} {cpu:8.1f}")
    for name in list(medians)[1:]:
        ratios = [
            ours / theirs
            for ours, theirs in zip(medians["line"], medians[name], strict=True)
        ]
        print(f"{'line / ' + name:24} {ratios[0]:8.3f} {ratios[1]:8.3f}")


if __name__ == "__main__":
    main()
