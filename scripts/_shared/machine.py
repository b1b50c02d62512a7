"""How much memory and disk this job may use."""

import shutil
from pathlib import Path

from _shared.logs import UserError

MEGABYTE = 1_000_000


def free_disk(folder: Path) -> int:
    """Return the disk space in MB that is free where a folder is."""
    return shutil.disk_usage(folder).free // MEGABYTE


def check_room(what: str, *, memory_mb: int, disk_mb: int, folder: Path) -> None:
    """Raise `UserError` if what is about to be done does not fit on this machine."""
    memory, disk = free_memory(), free_disk(folder)
    if memory is not None and memory_mb > memory:
        raise UserError(
            f"{what} takes about {memory_mb:,} MB of memory, and {memory:,} MB are "
            "free; use a larger machine, or a sparser index (index_genome: "
            "genomeSAsparseD)."
        )
    if disk_mb > disk:
        raise UserError(
            f"{what} takes about {disk_mb:,} MB of disk, and {disk:,} MB are free in "
            f"{folder.resolve()}; make room."
        )


def free_memory(
    *, meminfo: Path = Path("/proc/meminfo"), cgroups: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Return the memory in MB that is free, or that control groups allow if less.

    Clusters and containers limit a job by control groups, of version 1 or 2. None where
    the system does not tell (it is no Linux).
    """
    limits = []
    if meminfo.exists():
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
    for path in _cgroup_files(cgroups):
        text = path.read_text().strip() if path.exists() else "max"
        if text != "max":
            limits.append(int(text))
    return min(limits) // MEGABYTE if limits else None


def _cgroup_files(root: Path, own: Path = Path("/proc/self/cgroup")) -> list[Path]:
    """Return where the limits of this process and of all groups above it stand."""
    if not own.exists():
        return []
    files = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = root / controllers
        name = "memory.limit_in_bytes" if controllers else "memory.max"
        folder = top / path.strip("/")
        while folder.is_relative_to(top):
            files.append(folder / name)
            folder = folder.parent
    return files
