"""What Snakemake asks of `conda`, done by its library for Python, for the tests.

Channels are folders below CONDA_STAND_IN/channels. What none of them has comes from
PyPI: there is no channel here with all of it.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import rattler
import yaml

HOME = Path(os.environ["CONDA_STAND_IN"])
# the lowest that Snakemake takes
VERSION = "24.7.1"
# called as `source activate FOLDER`
ACTIVATE = """\
export CONDA_PREFIX="$1" CONDA_DEFAULT_ENV="$1" CONDA_SHLVL=1
export PATH="$1/bin:$PATH"
"""
# where conda-forge has another name than PyPI
PYPI_NAMES = {
    "matplotlib-base": "matplotlib",
    "python-igraph": "igraph",
    "python-isal": "isal",
}


def after(option: str) -> str:
    """Return what follows an option of the command."""
    return sys.argv[sys.argv.index(option) + 1]


def in_channels() -> set[str]:
    """Return the names of all packages of the channels."""
    files = HOME.glob("channels/*/*/repodata.json")
    found = [json.loads(file.read_text())["packages"].values() for file in files]
    return {entry["name"] for packages in found for entry in packages}


async def install(specs: list[str], channels: list[str], prefix: Path) -> None:
    """Solve and install packages of channels."""
    folders = [(HOME / "channels" / name).as_uri() for name in channels]
    records = await rattler.solve(
        [rattler.Channel(folder) for folder in folders],
        specs,
        gateway=rattler.Gateway(cache_dir=HOME / "repodata"),
        platforms=["linux-64", "noarch"],
        virtual_packages=rattler.VirtualPackage.detect(),
    )
    await rattler.install(
        records, prefix, cache_dir=HOME / "packages", show_progress=False
    )


def create(file: Path, prefix: Path) -> None:
    """Make the environment that a file describes."""
    wanted = yaml.safe_load(file.read_text())
    channels = [name for name in wanted["channels"] if name != "nodefaults"]
    plain = [entry for entry in wanted["dependencies"] if isinstance(entry, str)]
    own = in_channels()
    specs = [entry for entry in plain if entry.split()[0] in own]
    pip = [
        word
        for entry in wanted["dependencies"]
        if isinstance(entry, dict)
        for word in entry["pip"]
    ]
    for entry in plain:
        name, _, version = entry.partition(" =")
        if entry in specs or name == "pip":
            continue
        if name == "python":
            command = [f"python{version}", "-m", "venv", str(prefix)]
            subprocess.run(command, check=True)
        else:
            pip.append(f"{PYPI_NAMES.get(name, name)}=={version}.*")
    if specs:
        asyncio.run(install(specs, channels, prefix))
    (prefix / "conda-meta").mkdir(parents=True, exist_ok=True)
    (prefix / "conda-meta/history").touch()
    if pip:
        command = [f"{prefix}/bin/python", "-m", "pip", "install", "--quiet"]
        pip = [re.sub(r"\s", "", word) for word in pip]
        subprocess.run([*command, "--disable-pip-version-check", *pip], check=True)


def main() -> None:
    """Do what one call asks for."""
    words = sys.argv[1:]
    if words[0] == "--version":
        print("conda", VERSION)
    elif words[0] == "info":
        (HOME / "bin").mkdir(exist_ok=True)
        (HOME / "bin/activate").write_text(ACTIVATE)
        about = {"conda_prefix": str(HOME), "platform": "linux-64"}
        print(json.dumps(about | {"conda_version": VERSION}))
    elif words[:2] == ["config", "--get"]:
        print(json.dumps({"get": {"channel_priority": "strict"}}))
    elif words[:2] == ["env", "create"]:
        create(Path(after("--file")), Path(after("--prefix")))
    elif words[0] != "clean":
        sys.exit(f"the stand-in for conda does not know: {' '.join(words)}")


if __name__ == "__main__":
    main()
    # threads of the library may bring the interpreter down while it ends
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
