"""A disk of a chosen size, that runs full."""

import os
import shutil
import subprocess
from pathlib import Path

KILOBYTE = 1024
# Python reads it at its start: the disk fills when the job of a rule begins
FILLING = """
import os, sys
if sys.orig_argv[-1].endswith(".{rule}.py"):
    with open({others!r}, "wb", buffering=0) as others:
        try:
            while others.write(bytes(10_000)):
                pass
        except OSError:
            others.truncate(max(0, others.tell() - {left}))
"""


def can_mount(folder: Path) -> bool:
    """Tell whether this user may mount a disk of memory on a folder."""
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.getuid() or subprocess.run(command, capture_output=True).returncode:
        return False
    subprocess.run(["umount", str(folder)], check=True)
    return True


class Disk:
    """A disk of memory on a folder; it is gone at the end of a `with` block."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> "Disk":
        self.folder.mkdir()
        self._mount("size=2g")
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)

    def leave_free(self, n_bytes: int) -> None:
        """Give the disk a size with which so much of it is free."""
        used = shutil.disk_usage(self.folder).used
        self._mount(f"remount,size={(used + n_bytes) // KILOBYTE}k")

    def fill_at(self, rule: str, *, left: int, site: Path) -> None:
        """Let others fill the disk but for some bytes when a rule's job begins.

        `site` is a folder for PYTHONPATH.
        """
        site.mkdir()
        others = str(self.folder / "others")
        text = FILLING.format(rule=rule, others=others, left=left)
        (site / "sitecustomize.py").write_text(text)

    def make_room(self) -> None:
        """Make the disk large again."""
        (self.folder / "others").unlink(missing_ok=True)
        self._mount("remount,size=2g")

    def _mount(self, options: str) -> None:
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        subprocess.run(command, check=True)
