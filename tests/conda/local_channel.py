"""A conda channel in a folder, with the STAR of this machine as a package."""

import bz2
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

SUBDIRS = ("linux-64", "noarch")
# beside the program, in an environment of conda: who called it was told to use that
MARK = "star.calls"
WRAPPER = f"""\
#!/bin/bash
prefix=$(dirname "$(dirname "$(readlink -f "${{BASH_SOURCE[0]}}")")")
echo "$@" >>"$prefix/{MARK}"
exec "$prefix/lib/star/STAR" "$@"
"""


def installed_star() -> tuple[Path, str]:
    """Return the program that STAR is on this machine, and its version.

    Debian's is a script that calls the one which fits the processor.
    """
    star = Path(shutil.which("STAR"))
    version = subprocess.run(
        [star, "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if star.read_bytes()[:4] == b"\x7fELF":
        return star, version
    words = Path("/proc/cpuinfo").read_text().split()
    for kind in ("avx2", "avx", "plain"):
        program = Path(f"/usr/lib/rna-star/bin/STAR-{kind}")
        if program.exists() and (kind == "plain" or kind in words):
            return program, version
    raise FileNotFoundError(f"{star}: where the program itself is, is not known")


def package(channel: Path, name: str, version: str, files: dict[str, bytes]) -> None:
    """Add a package of programs to a channel, in the first form that conda had."""
    paths = [
        {
            "_path": place,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        for place, content in sorted(files.items())
    ]
    index = {
        "name": name,
        "version": version,
        "build": "0",
        "build_number": 0,
        "depends": [],
        "subdir": SUBDIRS[0],
        "arch": "x86_64",
        "platform": "linux",
    }
    about = {
        "info/index.json": json.dumps(index).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        "info/files": "".join(f"{place}\n" for place in sorted(files)).encode(),
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for place, content in [*about.items(), *sorted(files.items())]:
            member = tarfile.TarInfo(place)
            member.size, member.mode = len(content), 0o755
            archive.addfile(member, io.BytesIO(content))
    content = bz2.compress(packed.getvalue(), 1)
    file = channel / SUBDIRS[0] / f"{name}-{version}-0.tar.bz2"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    entry = index | {
        "sha256": hashlib.sha256(content).hexdigest(),
        "md5": hashlib.md5(content, usedforsecurity=False).hexdigest(),
        "size": len(content),
    }
    write_index(channel, {file.name: entry})


def write_index(channel: Path, packages: dict[str, dict]) -> None:
    """Write what solvers read of a channel: its packages, of every kind of machine."""
    for subdir in SUBDIRS:
        folder = channel / subdir
        folder.mkdir(parents=True, exist_ok=True)
        content = {
            "info": {"subdir": subdir},
            "packages": packages if subdir == SUBDIRS[0] else {},
            "packages.conda": {},
            "repodata_version": 1,
        }
        (folder / "repodata.json").write_text(json.dumps(content))


def make_channels(folder: Path) -> str:
    """Make the channels that envs/ name; return the version of STAR in one of them."""
    star, version = installed_star()
    files = {"bin/STAR": WRAPPER.encode(), "lib/star/STAR": star.read_bytes()}
    write_index(folder / "conda-forge", {})
    package(folder / "bioconda", "star", version, files)
    return version
