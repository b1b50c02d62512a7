"""Machines that let a run down: what STAR meets, or what is done to the disk."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
BREAKING_STAR = """\
#!/bin/sh
case "$*" in
*{at}*) if mkdir {folder}/broke 2>/dev/null; then {act}; fi ;;
esac
exec {star} "$@"
"""


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """What goes wrong.

    `act` is what the first STAR does (in shell) whose arguments hold `at`. `mount` is
    done, in a namespace of its own, before the workflow starts.
    """

    at: str = "soloFeatures"
    act: str = ":"
    mount: str = ""

    def star(self, folder: Path) -> Path:
        """Write a STAR that breaks once; return the folder to put first on PATH."""
        folder.mkdir()
        text = BREAKING_STAR.format(
            at=self.at, act=self.act, folder=folder, star=shutil.which("STAR")
        )
        (folder / "STAR").write_text(text)
        (folder / "STAR").chmod(0o755)
        return folder

    def before(self) -> list[str]:
        """Return the words that go before the command of a run."""
        return [*NAMESPACE, f'{self.mount} && exec "$@"', "sh"] if self.mount else []


def can_mount() -> bool:
    """Tell whether this machine lets a process mount in a namespace of its own."""
    if shutil.which("unshare") is None:
        return False
    command = [*NAMESPACE, "mount -t tmpfs none /mnt"]
    return subprocess.run(command, capture_output=True).returncode == 0


def killed() -> Trouble:
    return Trouble(act="kill -9 $$")


def killed_at_index() -> Trouble:
    return Trouble(at="sjdbGTFfile", act="kill -9 $$")


def no_memory() -> Trouble:
    return Trouble(act="ulimit -v 150000")


def no_simd() -> Trouble:
    said = "EXITING because of fatal PARAMETERS error: no CellRanger4 clipping"
    return Trouble(act=f"echo {said} >&2; exit 102")


def crash() -> Trouble:
    return Trouble(act="kill -11 $$")


def file_limit() -> Trouble:
    return Trouble(act="ulimit -f 100")


def small_disk() -> Trouble:
    return Trouble(mount="mount -t tmpfs -o size=600k tmpfs results/count")


def disk_full() -> Trouble:
    return Trouble(
        mount="mount -t tmpfs -o size=200m tmpfs results/count",
        act="cat /dev/zero >results/count/others 2>/dev/null",
    )


def read_only() -> Trouble:
    return Trouble(
        mount="mount --bind results results && mount -o remount,bind,ro results"
    )
