"""Runs that are killed at moments drawn from a seed, and what they leave behind."""

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from running import ROOT, environment

from _shared.one_run import FILE, processes_of

# Snakemake alone, whose jobs go on without it; it with all of its jobs, as when the
# power fails; one job, after whose end the others go on
VICTIMS = ("Snakemake", "everything", "STAR", "Python job")
# seconds that a victim is waited for
PATIENCE = 20


@dataclass(frozen=True)
class Kill:
    """What is killed, and how many seconds after the start of the run."""

    victim: str
    moment: float


def draw_kills(seed: int, *, n: int, seconds: float) -> list[Kill]:
    """Draw the kills of one run that takes `seconds` if nobody disturbs it."""
    rng, kills = random.Random(seed), []
    for number in range(n):
        # STAR works in the first half of a run
        weights = (2, 1, 3 if number < n / 2 else 0, 2)
        (victim,) = rng.choices(VICTIMS, weights)
        kills.append(Kill(victim, rng.uniform(0, 4 + 1.5 * seconds / n)))
    return kills


def start(folder: Path, log: Path) -> subprocess.Popen:
    """Start the plain command; what it says is added to a log."""
    command = [sys.executable, "-m", "snakemake", "--snakefile"]
    command += [str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", "2"]
    with log.open("a") as said:
        return subprocess.Popen(
            command,
            stdout=said,
            stderr=said,
            start_new_session=True,
            env=environment(),
        )


def kill(run: subprocess.Popen, wanted: Kill, *, folder: Path) -> str:
    """Kill what is wanted at its moment; return what was, "" if the run was quicker."""
    started = time.monotonic()
    while run.poll() is None:
        waited = time.monotonic() - started - wanted.moment
        victim = "Snakemake" if waited > PATIENCE else wanted.victim
        if waited >= 0 and strike(run, victim, folder=folder):
            return victim
        time.sleep(0.02)
    return ""


def strike(run: subprocess.Popen, victim: str, *, folder: Path) -> bool:
    """Kill a victim, if it is there."""
    if victim == "everything":
        os.killpg(run.pid, signal.SIGKILL)
        return True
    if victim == "Snakemake":
        run.kill()
        return True
    for number in jobs_of(folder):
        try:
            words = Path(f"/proc/{number}/cmdline").read_text().split("\0")
            is_star = Path(words[0]).name.startswith("STAR")
            is_script = len(words) > 1 and ".snakemake/scripts/" in words[1]
            wanted = is_star if victim == "STAR" else is_script
            if wanted and end(number):
                return True
        except (FileNotFoundError, ProcessLookupError):
            continue
    return False


def end(number: int) -> bool:
    """Kill a process at work; return whether it was: one that is leaving cannot be."""
    os.kill(number, signal.SIGSTOP)
    while True:
        stat = Path(f"/proc/{number}/stat").read_text()
        state = stat.rpartition(")")[2].split()[0]
        if state in "ZX":
            return False
        if state == "T":
            os.kill(number, signal.SIGKILL)
            return True


def jobs_of(folder: Path) -> list[int]:
    """Return the processes of the run in a folder, but for its Snakemake."""
    try:
        token = json.loads((folder / FILE).read_text())["token"]
    except (FileNotFoundError, ValueError):
        return []
    return sorted(processes_of(token))


def tables_of(folder: Path) -> dict[str, bytes]:
    """Return every table of a run by its place."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("results/**/*.tsv"))
    }


def damaged(folder: Path, undisturbed: Path) -> list[str]:
    """Return the outputs that are not as those of an undisturbed run, and whole.

    What another run may write otherwise (a date, an order) has to be readable. A name
    with a dot is one of a file that is no output.
    """
    found = []
    for path in sorted(folder.glob("results/**/*")):
        name = path.relative_to(folder)
        if path.is_dir() or any(part.startswith(".") for part in name.parts):
            continue
        twin = undisturbed / name
        if not twin.exists() or not is_whole(path, twin):
            found.append(str(name))
    return found


def is_whole(path: Path, twin: Path) -> bool:
    """Tell whether a file is as its twin or, where it may differ, can be read."""
    if path.read_bytes() == twin.read_bytes():
        return True
    try:
        match path.suffix:
            case ".tsv":
                return False
            case ".json":
                return bool(json.loads(path.read_text()))
            case ".gz":
                with gzip.open(path) as handle:
                    return bool(handle.read())
            case ".npy":
                return np.load(path).size > 0
            case ".h5ad" | ".h5":
                with h5py.File(path) as handle:
                    return bool(list(handle))
    except (OSError, ValueError, EOFError):
        return False
    # texts, pages, images, what STAR writes: about as long
    return path.stat().st_size > 0.9 * twin.stat().st_size
