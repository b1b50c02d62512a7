"""STAR as a child process: its messages in the log, its failure as an error."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# exit codes of a process that was killed, also through the shell that started it
KILLED = (-9, 137)
# Large pages for what STAR allocates: its jumps through the index miss the processor's
# table of pages less often (3 % of the wall time of 5 M reads); older systems ignore it
LARGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


class StarError(Exception):
    """STAR gave up: why, in one line, and its exit code."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(reason)
        self.code = code

    @property
    def killed(self) -> bool:
        """Whether it was ended from outside."""
        return self.code in KILLED

    def remedy(self, rule: str) -> str:
        """Return what to do about it, where it is a rule's own STAR."""
        if self.killed:
            return f"ask for more (--set-resources {rule}:mem_mb=...)"
        return "the log of the rule has the whole of it"


def reason_of(errors: str) -> str:
    """Return why STAR gave up, in one line, from what it wrote to stderr."""
    lines = re.findall(r"(?im)^(?:EXITING|Fatal|SOLUTION).*$", errors)
    return " ".join(" ".join(lines[:2]).split()).rstrip(".") or "no reason given"


def environment() -> dict[str, str]:
    """Return the environment that STAR runs in; what the user has tuned stays."""
    return LARGE_PAGES | os.environ


@contextmanager
def scratch_in(parent: Path) -> Iterator[Path]:
    """Yield a folder for a while, by its path from here.

    STAR reads double quotes and line breaks in a path as its own: the name of the
    working folder, which may have them, must not be in it.
    """
    with tempfile.TemporaryDirectory(dir=parent) as folder:
        yield Path(os.path.relpath(folder))


def run_star(options: dict[str, object], *, scratch: Path) -> None:
    """Run STAR with options and a folder for what it writes beside its results.

    Raises
    ------
    StarError
        If STAR gives up or is killed.
    """
    command = ["STAR", "--outFileNamePrefix", f"{scratch}/"]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(
        command,
        check=False,
        env=environment(),
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
    )
    sys.stderr.write(done.stderr)
    if done.returncode in KILLED:
        raise StarError("STAR was killed, most likely for memory", code=done.returncode)
    if done.returncode:
        raise StarError(
            f"STAR ended with code {done.returncode}: {reason_of(done.stderr)}",
            code=done.returncode,
        )
