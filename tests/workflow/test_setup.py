"""What envs/setup.sh chooses and says, on a machine made of stand-ins."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SETUP = Path(__file__).parents[2] / "envs/setup.sh"
TOOLS = (
    "awk bash cat chmod cp dirname grep head ln mkdir mktemp rm sha256sum sort touch"
)

# A Python of one version. It makes environments out of copies of itself, and its pip
# does what the file `pip` beside the stand-ins says.
PYTHON = """\
case "$*" in
  *version_info*) echo {version} ;;
  *ensurepip*) {has_venv} ;;
  "-m venv "*)
    folder="${{!#}}"
    case "$*" in *--clear*) rm -rf "$folder" ;; esac
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    echo "command = $0 -m venv $folder" >"$folder/pyvenv.cfg" ;;
  "-m pip --version") ;;
  "-m pip "*) . "$MACHINE/pip" ;;
  *importlib.metadata*) echo Python {version} ;;
esac
"""
# what the locked uv does once pip has installed it into a throw-away environment
PIP_INSTALLS_UV = 'cp "$MACHINE/uv" "${0%/*}/uv"\n'
UV = 'case "$2" in install) {install} ;; find) echo /uv/python3.12 ;; esac\n'


class Machine:
    """A project folder, a home and a PATH that has only what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "my project"
        self.bin = folder / "bin"
        self.home = folder / "home"
        self.path = [self.bin, folder / "tools"]
        for made in (self.project / "envs", self.project / "tests", *self.path):
            made.mkdir(parents=True)
        for tool in TOOLS.split():
            (folder / "tools" / tool).symlink_to(shutil.which(tool))
        shutil.copy(SETUP, self.project / "envs")
        for lock in ("envs/requirements", "envs/slurm", "tests/requirements"):
            (self.project / f"{lock}.txt").write_text("numpy==2.5.5\n")
        (folder / "pip").touch()
        self.user(1000)

    def add(self, name: str | Path, text: str) -> Path:
        """Put a program on PATH, or elsewhere; every call of it is written down."""
        file = self.bin / name
        file.parent.mkdir(parents=True, exist_ok=True)
        call = 'echo "${0##*/} $*" >>"$MACHINE/calls"\n'
        file.write_text(f"#!{shutil.which('bash')}\n{call}{text}")
        file.chmod(0o755)
        return file

    def python(self, name: str | Path, version: str, *, has_venv: str = "true") -> Path:
        return self.add(name, PYTHON.format(version=version, has_venv=has_venv))

    def user(self, number: int) -> None:
        self.add("id", f"echo {number}\n")

    def calls(self, name: str) -> list[str]:
        """Return what a program was called with, so far."""
        lines = (self.folder / "calls").read_text().splitlines()
        return [
            line.removeprefix(f"{name} ") for line in lines if line.startswith(name)
        ]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [shutil.which("bash"), self.project / "envs/setup.sh", *arguments],
            env={
                "PATH": os.pathsep.join(map(str, self.path)),
                "HOME": str(self.home),
                "MACHINE": str(self.folder),
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def choice(self, option: str, **environment: str) -> str:
        run = self.run(option, **environment)
        assert run.returncode == 0, run.stderr
        return run.stdout.strip()

    def complaint(self, *arguments: str, **environment: str) -> str:
        """Return the last line of a run that fails."""
        run = self.run(*arguments, **environment)
        assert run.returncode == 1
        assert run.stdout == ""
        return run.stderr.splitlines()[-1]


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


# --- Python ---------------------------------------------------------------------------


def test_the_first_fitting_python_on_path_is_taken(machine):
    machine.python("python3", "3.11")
    machine.python("python3.13", "3.13")
    expected = machine.python("python3.12", "3.12")
    assert machine.choice("--which-python") == str(expected)


def test_a_fitting_python3_goes_before_the_others(machine):
    expected = machine.python("python3", "3.13")
    machine.python("python3.12", "3.12")
    assert machine.choice("--which-python") == str(expected)


def test_a_second_python3_on_path_is_seen(machine):
    machine.python("python3", "3.11")
    expected = machine.python("../more/python3", "3.12").resolve()
    machine.path.append(expected.parent)
    assert machine.choice("--which-python") == str(expected)


def test_the_python_of_the_variable_goes_first(machine):
    machine.python("python3", "3.12")
    expected = machine.python(machine.folder / "mine/python", "3.13")
    assert machine.choice("--which-python", PYTHON=str(expected)) == str(expected)


@pytest.mark.parametrize("version", ["2.7", "3.9", "3.11", "3.14", "4.0"])
def test_an_unfitting_python_of_the_variable_is_passed_over_aloud(machine, version):
    expected = machine.python("python3", "3.12")
    unfitting = machine.python(machine.folder / "mine/python", version)
    run = machine.run("--which-python", PYTHON=str(unfitting))
    assert run.stdout.strip() == str(expected)
    assert run.stderr == (
        f"set-up: PYTHON={unfitting} is no Python 3.12 or 3.13 with its venv module, "
        f"so {expected} is used\n"
    )


def test_a_python_variable_that_names_nothing_is_passed_over_aloud(machine):
    machine.python("python3", "3.12")
    assert (
        "PYTHON=/nowhere is no Python"
        in machine.run("--which-python", PYTHON="/nowhere").stderr
    )


def test_a_shim_that_does_not_run_is_passed_over_for_pyenv_itself(machine):
    machine.add(
        "python3.12", 'echo "pyenv: python3.12: command not found" >&2; exit 127\n'
    )
    expected = machine.python(
        machine.home / ".pyenv/versions/3.12.9/bin/python3.12", "3.12"
    )
    assert machine.choice("--which-python") == str(expected)


def test_pyenv_is_found_by_its_variable(machine):
    root = machine.folder / "elsewhere"
    expected = machine.python(root / "versions/3.13.0/bin/python3.13", "3.13")
    assert machine.choice("--which-python", PYENV_ROOT=str(root)) == str(expected)


def test_pyenv_is_found_by_its_folder_on_path(machine):
    root = machine.folder / "elsewhere"
    machine.path.append(root / "shims")
    expected = machine.python(root / "versions/3.12.1/bin/python3.12", "3.12")
    assert machine.choice("--which-python", HOME="") == str(expected)


def test_the_environment_is_not_made_from_itself(machine):
    inside = machine.python(machine.project / ".venv/bin/python3", "3.12")
    machine.path.insert(0, inside.parent)
    expected = machine.python("python3.12", "3.12")
    assert machine.choice("--which-python") == str(expected)


def test_uv_brings_a_python_when_none_fits(machine):
    machine.python("python3", "3.14")
    machine.add("uv", UV.format(install="true"))
    assert machine.choice("--which-python") == "/uv/python3.12"
    assert machine.calls("uv") == [
        "python install 3.12",
        "python find --no-project 3.12",
    ]


def test_the_locked_uv_is_installed_when_there_is_none(machine):
    machine.python("python3", "3.9")
    (machine.folder / "pip").write_text(PIP_INSTALLS_UV)
    machine.add(machine.folder / "uv", UV.format(install="true"))
    assert machine.choice("--which-python") == "/uv/python3.12"
    assert any(
        "--require-hashes" in call and call.endswith("envs/uv.txt")
        for call in machine.calls("python")
    )


def test_a_uv_that_fails_ends_in_one_sentence(machine):
    machine.python("python3", "3.11")
    machine.add("uv", UV.format(install="exit 1"))
    assert machine.complaint("--which-python") == (
        "set-up: no Python 3.12 or 3.13 was found and uv could not fetch one: "
        "install one with its venv module, or name one by PYTHON=/path/to/python3.12, "
        "and try again."
    )


@pytest.mark.parametrize("user", [0, 1000])
def test_no_python_ends_in_one_sentence(machine, user):
    machine.user(user)
    assert machine.complaint("--which-python") == (
        "set-up: no Python 3 with its venv module was found: install them "
        "(Debian and Ubuntu: sudo apt-get install python3-venv) and try again."
    )


def test_a_user_whose_python_lacks_venv_is_told(machine):
    machine.python("python3", "3.12", has_venv="false")
    machine.add("apt-get", "true\n")
    assert "sudo apt-get install python3-venv" in machine.complaint("--which-python")
    assert machine.calls("apt-get") == []


def test_root_gets_the_missing_venv_from_debian(machine):
    machine.user(0)
    expected = machine.python("python3", "3.12", has_venv='[ -e "$MACHINE/venv" ]')
    machine.add(
        "apt-get", 'case "$*" in *python3-venv) touch "$MACHINE/venv" ;; esac\n'
    )
    assert machine.choice("--which-python") == str(expected)
    assert [call.split()[0] for call in machine.calls("apt-get")] == [
        "update",
        "install",
    ]


# --- STAR -----------------------------------------------------------------------------

NO_STAR = (
    "set-up: no STAR 2.7.10a or newer was found: install it (Debian and Ubuntu: sudo "
    "apt-get install rna-star; or install conda 24.7.1 or newer, which then brings it) "
    "and try again."
)


@pytest.mark.parametrize("version", ["2.7.10a", "2.7.10b", "2.7.11b", "2.8.0"])
def test_star_on_path_is_taken(machine, version):
    star = machine.add("STAR", f"echo {version}\n")
    machine.add("conda", "echo conda 25.1.0\n")
    assert machine.choice("--which-star") == f"path {star}"


def test_star_of_the_environment_is_taken(machine):
    star = machine.add(machine.project / ".venv/bin/STAR", "echo 2.7.10b\n")
    assert machine.choice("--which-star") == f"path {star}"


@pytest.mark.parametrize(
    ("star", "version"),
    [("echo 2.7.9a", "2.7.9a"), ("echo 2.5.2b", "2.5.2b"), ("exit 127", "unknown")],
)
def test_an_unfitting_star_is_passed_over_aloud(machine, star, version):
    file = machine.add("STAR", f"{star}\n")
    conda = machine.add("conda", "echo conda 24.7.1\n")
    run = machine.run("--which-star")
    assert run.stdout == f"conda {conda}\n"
    assert run.stderr == (
        f"set-up: {file} has version {version}, but 2.7.10a or newer is needed\n"
    )


def test_conda_goes_before_debian(machine):
    machine.user(0)
    machine.add("apt-get", "true\n")
    conda = machine.add("conda", "echo conda 25.11.0\n")
    assert machine.choice("--which-star") == f"conda {conda}"


def test_an_old_conda_is_passed_over_for_debian(machine):
    machine.user(0)
    machine.add("apt-get", "true\n")
    conda = machine.add("conda", "echo conda 24.5.0\n")
    run = machine.run("--which-star")
    assert run.stdout == "apt-get\n"
    assert run.stderr == (
        f"set-up: {conda} has version 24.5.0, but 24.7.1 or newer is needed\n"
    )


def test_a_user_without_star_is_told(machine):
    machine.add("apt-get", "true\n")
    assert machine.complaint("--which-star") == NO_STAR


def test_root_without_debian_is_told(machine):
    machine.user(0)
    assert machine.complaint("--which-star") == NO_STAR


# --- all of it ------------------------------------------------------------------------


@pytest.fixture
def ready(machine):
    """Return a machine that has all that a set-up needs."""
    machine.python("python3", "3.12")
    machine.add("STAR", "echo 2.7.10b\n")
    return machine


def installed(machine: Machine) -> list[str]:
    """Return the requirements files that pip was called with."""
    return [
        f"{Path(call).parent.name}/{Path(call).name}"
        for call in machine.calls("python")
        if "pip install" in call
    ]


def test_a_second_set_up_does_nothing(ready):
    first, second = ready.run("--tests"), ready.run("--tests")
    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert installed(ready) == ["envs/requirements.txt", "tests/requirements.txt"]
    assert second.stderr == ""
    assert second.stdout == f"Python 3.12\nSTAR 2.7.10b · {ready.bin}/STAR\n"


def test_the_tools_of_the_tests_are_left_out_unless_asked_for(ready):
    ready.run()
    assert installed(ready) == ["envs/requirements.txt"]


def test_what_slurm_needs_comes_beside_the_rest_if_asked_for(ready):
    assert ready.run("--slurm").returncode == 0
    assert ready.run("--slurm").stderr == ""
    assert installed(ready) == ["envs/requirements.txt", "envs/slurm.txt"]


def test_a_changed_lock_is_installed(ready):
    ready.run()
    (ready.project / "envs/requirements.txt").write_text("numpy==2.6.0\n")
    ready.run()
    assert installed(ready) == ["envs/requirements.txt"] * 2


def test_an_interrupted_installation_is_done_again(ready):
    (ready.folder / "pip").write_text("exit 1\n")
    assert ready.complaint() == (
        "set-up: the packages of envs/requirements.txt could not be installed, "
        "for the reason above."
    )
    (ready.folder / "pip").write_text("")
    assert ready.run().returncode == 0
    assert installed(ready) == ["envs/requirements.txt"] * 2


def test_a_moved_environment_is_made_anew(ready):
    ready.run()
    ready.project = ready.project.rename(ready.folder / "moved")
    run = ready.run()
    assert f"making .venv with {ready.bin}/python3" in run.stderr
    assert installed(ready) == ["envs/requirements.txt"] * 2


def test_conda_brings_star_into_the_environment(ready):
    (ready.bin / "STAR").unlink()
    ready.add(
        "conda",
        'case "$*" in --version) echo conda 25.1.0 ;; env*)\n'
        '  mkdir -p "$5/bin" && cp "$MACHINE/STAR" "$5/bin/STAR" ;; esac\n',
    )
    ready.add(ready.folder / "STAR", "echo 2.7.10b\n")
    run = ready.run()
    assert run.returncode == 0, run.stderr
    assert run.stdout.endswith(f"STAR 2.7.10b · {ready.project}/.venv/bin/STAR\n")
    assert ready.run().stderr == ""


def test_debian_brings_star_for_root(ready):
    ready.user(0)
    (ready.bin / "STAR").rename(ready.folder / "STAR")
    ready.add(
        "apt-get",
        'case "$*" in install*rna-star) cp "$MACHINE/STAR" "${0%/*}/STAR" ;; esac\n',
    )
    run = ready.run()
    assert run.stdout.endswith(f"STAR 2.7.10b · {ready.bin}/STAR\n"), run.stderr
    assert [call.split()[0] for call in ready.calls("apt-get")] == ["update", "install"]


def test_an_unknown_option_is_named(machine):
    assert "unknown option --all" in machine.complaint("--all")
