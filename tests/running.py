"""A way to call Snakemake, for all tests of the workflow."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def snakemake(folder, *options, before=(), **sections):
    """Run Snakemake in `folder` with some config sections replaced.

    `before` are words that go before the command.
    """
    command = [
        *before,
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    command += ["--directory", str(folder), "--cores", "2", *options]
    if sections:
        override = Path(folder) / "override.yaml"
        override.write_text(yaml.safe_dump(sections))
        command += ["--configfile", str(override)]
    return subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=environment(),
    )


def environment():
    """Return an environment in which the tools beside this Python are found first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path}


def planned(done):
    """Return how many jobs of each rule a dry run plans."""
    counts, inside = {}, False
    for line in done.stdout.splitlines():
        words = line.split()
        if words[:2] == ["job", "count"]:
            inside = True
        elif inside and len(words) == 2 and words[1].isdigit():
            counts[words[0]] = int(words[1])
        elif inside and not words:
            break
    counts.pop("total", None)
    return counts


def text_of(done):
    """Return all that a run said."""
    return done.stdout + done.stderr
