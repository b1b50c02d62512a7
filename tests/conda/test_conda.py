"""Every rule in its environment of envs/, STAR from a package of a local channel.

The channels of conda are a folder with one package, conda itself its library for
Python behind the commands that Snakemake calls; other packages are PyPI's. What this
cannot tell is whether the real channels have all that envs/ name.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from cluster.packages import python_with
from conda.local_channel import MARK, make_channels
from running import ROOT, snakemake, text_of

pytestmark = pytest.mark.skipif(
    not os.environ.get("CONDA"), reason="takes minutes: make test-conda"
)
STAND_IN = ROOT / "tests/conda/stand_in_conda.py"
# what does not tell of the run itself is the same without conda
TABLES = "results/**/*.tsv"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with channels, and a `conda` that knows them."""
    home = tmp_path_factory.mktemp("conda")
    python = python_with("rattler", "py-rattler==0.28.0", folder="conda")
    make_channels(home / "channels")
    (home / "commands").mkdir()
    conda = home / "commands/conda"
    conda.write_text(f'#!/bin/sh\nexec "{python}" "{STAND_IN}" "$@"\n')
    conda.chmod(0o755)
    return home


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate one sample, without figures for print, which take long."""
    folder = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    subprocess.run([*command, "--size", "tiny"], check=True)
    config = folder / "config/config.yaml"
    settings = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump({**settings, "draw_figures": {"formats": []}}))
    return folder


@pytest.fixture
def with_conda(home, monkeypatch):
    """A function that calls Snakemake with environments of conda."""
    path = f"{home / 'commands'}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    monkeypatch.setenv("CONDA_STAND_IN", str(home))
    prefix = ["--conda-prefix", str(home / "environments")]
    return lambda folder, *options: snakemake(
        folder, "--sdm", "conda", *prefix, *options
    )


@pytest.fixture
def finished(simulated, with_conda):
    """Run the whole line, once; later calls find it done."""
    done = with_conda(simulated)
    assert done.returncode == 0, text_of(done)[-5000:]
    return simulated


def test_star_is_that_of_the_package(home, finished):
    calls = [
        line
        for file in home.glob(f"environments/*/{MARK}")
        for line in file.read_text().splitlines()
    ]
    # both indices, the strand, the sample
    assert sum("genomeGenerate" in call for call in calls) == 2
    assert sum("--soloType" in call for call in calls) == 1
    manifest = json.loads((finished / "results/report/manifest.json").read_text())
    [made] = json.loads(
        (home / "channels/bioconda/linux-64/repodata.json").read_text()
    )["packages"].values()
    assert manifest["versions"]["STAR"] == made["version"]


def test_every_file_of_envs_that_a_rule_names_was_made(home, finished):
    made = {
        repr(yaml.safe_load(file.read_text())["dependencies"])
        for file in home.glob("environments/*.yaml")
    }
    for name in ("analysis", "reads", "star"):
        wanted = yaml.safe_load((ROOT / f"envs/{name}.yaml").read_text())
        assert repr(wanted["dependencies"]) in made, name


def test_tables_are_those_of_a_run_without_conda(finished, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(finished, plain, ignore=shutil.ignore_patterns(".snakemake"))
    for made in ("results", "logs", "benchmarks"):
        shutil.rmtree(plain / made)
    done = snakemake(plain)
    assert done.returncode == 0, text_of(done)[-5000:]
    tables = {path.relative_to(plain) for path in plain.glob(TABLES)}
    assert len(tables) > 30
    assert {path.relative_to(finished) for path in finished.glob(TABLES)} == tables
    others = [
        str(name)
        for name in sorted(tables)
        if (plain / name).read_bytes() != (finished / name).read_bytes()
    ]
    assert others == []


def test_nothing_is_left_to_do(finished, with_conda):
    assert "Nothing to be done" in text_of(with_conda(finished))


def test_all_is_verified_and_made_again_in_the_same_environments(finished, with_conda):
    done = with_conda(finished, "verify", "--config", "verify_rerun=true")
    assert done.returncode == 0, text_of(done)[-5000:]
    assert "Run again: all " in done.stdout
    assert "Creating conda environment" not in text_of(done)


def test_a_version_that_no_channel_has_is_told(home, simulated, with_conda, tmp_path):
    workflow = tmp_path / "workflow"
    shutil.copytree(ROOT, workflow, ignore=shutil.ignore_patterns(".venv", ".git"))
    star = workflow / "envs/star.yaml"
    star.write_text(star.read_text().replace("star =2.7.10b", "star =9.9.9"))
    options = ["--snakefile", str(workflow / "Snakefile"), "--conda-create-envs-only"]
    done = with_conda(simulated, *options, "--forceall")
    assert done.returncode == 1
    assert "Could not create conda environment" in text_of(done)
    assert "9.9.9" in text_of(done)
