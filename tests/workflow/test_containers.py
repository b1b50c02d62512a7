"""What the containers install is what the lock and the environments name."""

import re

import pytest
import yaml
from running import ROOT

DOCKERFILE = ROOT / "envs/container/Dockerfile"
DEFINITION = ROOT / "envs/container/reads2cells.def"
each_file = pytest.mark.parametrize(
    "path", [DOCKERFILE, DEFINITION], ids=lambda path: path.name
)


def sections_of(text):
    """Return the sections of a definition by name, without comments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    parts = re.split(r"^%(\w+)\n", "\n".join(lines), flags=re.MULTILINE)
    assert len(parts[1::2]) == len(set(parts[1::2]))
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}


@each_file
def test_a_container_installs_the_lock_by_its_hashes(path):
    (install,) = re.findall(r"pip install(?:.*\\\n)*.*", path.read_text())
    assert "--require-hashes" in install
    assert re.search(r"-r (/opt/reads2cells/)?envs/requirements\.txt$", install)


@each_file
def test_a_container_has_star_and_python_as_the_environment_names_them(path):
    entries = yaml.safe_load((ROOT / "envs/star.yaml").read_text())["dependencies"]
    pins = dict(entry.split(" =") for entry in entries)
    text = path.read_text()
    assert f"rna-star={pins['star']}*" in text
    (image,) = re.findall(r"^FROM (\S+)$|^From: (\S+)$", text, re.MULTILINE)
    assert "".join(image) == f"python:{pins['python']}-slim-bookworm"


def test_the_image_does_not_run_as_root():
    users = re.findall(r"^USER (\S+)$", DOCKERFILE.read_text(), re.MULTILINE)
    assert users == ["1000"]


def test_the_definition_has_its_sections():
    found = sections_of(DEFINITION.read_text())
    header = dict(line.split(": ") for line in found.pop("").split("\n") if line)
    assert header.keys() == {"Bootstrap", "From"}
    assert found.keys() == {"files", "post", "environment", "runscript", "test"}
    assert found["runscript"].strip().startswith("exec snakemake --snakefile ")
    assert found["runscript"].strip().endswith('"$@"')
    for name, text in found.items():
        assert all(line.startswith("    ") for line in text.split("\n") if line), name
