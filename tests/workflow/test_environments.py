"""The conda environments, the locks and the imports of the scripts say the same."""

import ast
import re
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
ENVIRONMENTS = sorted((ROOT / "envs").glob("*.yaml"))
# requirements: what was asked for, and the lock that was written from it
LOCKS = {
    ROOT / "envs/requirements.in": ROOT / "envs/requirements.txt",
    ROOT / "tests/requirements.in": ROOT / "tests/requirements.txt",
    ROOT / "envs/slurm.in": ROOT / "envs/slurm.txt",
    ROOT / "envs/uv.in": ROOT / "envs/uv.txt",
    ROOT / "envs/sbom.in": ROOT / "envs/sbom.txt",
}
# conda-forge's names where PyPI has another one
PYPI_NAMES = {
    "matplotlib-base": "matplotlib",
    "python-igraph": "igraph",
    "python-isal": "isal",
}
NOT_ON_PYPI = {"python", "star"}
# asked for by a key of the config, with versions of their own
APART = {"cellbender.yaml", "celltypist.yaml", "velocity.yaml"}


def read_requirements(path: Path) -> list[Requirement]:
    """Return the entries of a requirements file, without hashes and comments."""
    lines = re.sub(r"\\\n\s*", "", path.read_text()).splitlines()
    entries = [re.sub(r"(--hash|#).*", "", line).strip() for line in lines]
    return [Requirement(entry) for entry in entries if entry]


def read_lock(path: Path) -> dict[str, str]:
    """Return the version of every package in a lock, by normalized name."""
    return {
        canonicalize_name(entry.name): str(entry.specifier).removeprefix("==")
        for entry in read_requirements(path)
    }


def read_pins(path: Path) -> dict[str, str]:
    """Return the version of every package in a conda environment."""
    *conda, last = yaml.safe_load(path.read_text())["dependencies"]
    entries = conda + (last["pip"] if isinstance(last, dict) else [last])
    return dict(
        re.fullmatch(r"([a-z0-9-]+) ==?([0-9a-z.]+)", entry).groups()
        for entry in entries
        if entry != "pip"
    )


def is_prefix(pin: str, version: str) -> bool:
    """Tell whether conda's `=pin` takes a version."""
    parts = pin.split(".")
    return version.split(".")[: len(parts)] == parts


def imported_modules(path: Path) -> set[str]:
    """Return the modules that a file imports when it runs, with their full names."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


@cache
def installed_packages() -> dict[str, str]:
    """Return the package on PyPI of every module that is installed, by its top name."""
    return {
        module: canonicalize_name(names[0])
        for module, names in packages_distributions().items()
    }


def own_file(module: str, folders: list[Path]) -> Path | None:
    """Return the project's file for a module, if it is one of the project's own."""
    files = (folder / (module.replace(".", "/") + ".py") for folder in folders)
    return next((file for file in files if file.exists()), None)


def third_party(path: Path, folders: list[Path]) -> set[str]:
    """Return the packages on PyPI that a file needs, itself or by the project's own."""
    todo, seen, packages = [path], set(), set()
    while todo:
        file = todo.pop()
        seen.add(file)
        for module in imported_modules(file):
            own = own_file(module, folders)
            top = module.split(".")[0]
            if own and own not in seen:
                todo.append(own)
            elif top in installed_packages() and top not in sys.stdlib_module_names:
                packages.add(installed_packages()[top])
    return packages


def scripts_with_environment() -> list[tuple[Path, Path]]:
    """Return every script with the environment of the rule that runs it."""
    pairs = []
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            found = {
                name: re.search(rf'^    {name}:\s+"([^"]+)"', rule, re.MULTILINE)
                for name in ("conda", "script")
            }
            if found["script"]:
                assert found["conda"], (
                    f"{file.name}: {rule.splitlines()[0]} lacks conda"
                )
                pairs.append(tuple(file.parent / found[name][1] for name in found))
    return pairs


PAIRS = [
    (script.resolve(), env.resolve()) for env, script in scripts_with_environment()
]


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_pins_what_the_lock_pins(path):
    if path.name in APART:
        assert read_pins(path).keys() - {"python"}, "it pins what it is for"
        return
    lock = read_lock(ROOT / "envs/requirements.txt")
    pins = {
        PYPI_NAMES.get(name, name): version
        for name, version in read_pins(path).items()
        if name not in NOT_ON_PYPI
    }
    differing = {
        name: (version, lock.get(name))
        for name, version in pins.items()
        if not is_prefix(version, lock.get(name, ""))
    }
    assert differing == {}


@pytest.mark.parametrize("path", ENVIRONMENTS, ids=lambda path: path.name)
def test_an_environment_has_python_and_the_channels(path):
    assert read_pins(path)["python"] == "3.12" or path.name in APART
    channels = yaml.safe_load(path.read_text())["channels"]
    assert channels == ["conda-forge", "bioconda", "nodefaults"]


def test_every_environment_belongs_to_a_rule():
    named = re.findall(
        r'conda:\s+"([^"]+)"',
        "".join(file.read_text() for file in (ROOT / "rules").glob("*.smk")),
    )
    assert {(ROOT / "rules" / name).resolve() for name in named} == set(ENVIRONMENTS)


@pytest.mark.parametrize(
    ("script", "environment"), PAIRS, ids=[script.name for script, _ in PAIRS]
)
def test_an_environment_lists_what_its_scripts_import(script, environment):
    listed = {PYPI_NAMES.get(name, name) for name in read_pins(environment)}
    assert third_party(script, [SCRIPTS]) - listed == set()


def test_every_script_belongs_to_a_rule():
    assert {script for script, _ in PAIRS} == set(SCRIPTS.glob("*.py"))


def test_requirements_name_what_the_project_imports():
    own = [SCRIPTS, ROOT / "tests/demo"]
    files = [*SCRIPTS.rglob("*.py"), *(ROOT / "tests").rglob("*.py")]
    needed = set().union(*(third_party(file, own) for file in files))
    named = {
        canonicalize_name(entry.name)
        for file in LOCKS
        for entry in read_requirements(file)
    }
    assert needed - named == set()


@pytest.mark.parametrize("asked", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_lock_has_what_was_asked_for(asked):
    lock = read_lock(LOCKS[asked])
    missing = [
        str(entry)
        for entry in read_requirements(asked)
        if not entry.specifier.contains(lock.get(canonicalize_name(entry.name), "0"))
        or canonicalize_name(entry.name) not in lock
    ]
    assert missing == []


@pytest.mark.parametrize("other", ["envs/slurm.txt", "tests/requirements.txt"])
def test_a_lock_agrees_with_that_of_the_workflow(other):
    workflow, more = (
        read_lock(ROOT / name) for name in ("envs/requirements.txt", other)
    )
    shared = workflow.keys() & more.keys()
    assert shared
    assert {name: more[name] for name in shared} == {
        name: workflow[name] for name in shared
    }


@pytest.mark.parametrize(
    "lock", LOCKS.values(), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_lock_has_exact_versions_and_hashes(lock):
    for entry in re.split(r"\n(?=[a-z0-9])", lock.read_text()):
        assert re.match(r"[a-z0-9.-]+==[0-9]", entry), entry
        assert "--hash=sha256:" in entry, entry


@pytest.mark.parametrize(
    "path", [*LOCKS, *LOCKS.values()], ids=lambda path: str(path.relative_to(ROOT))
)
def test_no_requirements_file_names_an_index(path):
    assert (
        re.findall(
            r"\S*://\S*|^-.*|.*(?:index-url|find-links).*",
            path.read_text(),
            re.MULTILINE,
        )
        == []
    )
