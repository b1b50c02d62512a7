"""What is laid out for a second run, and what is said of it."""

import shutil
from pathlib import Path

import pytest
import yaml

from _shared import second_run
from _shared.logs import UserError
from _shared.provenance import git_state, records, versions
from _shared.second_run import SCRATCH, compared, lay_out, other_software, run_again

OUTPUTS = ("cells/a.tsv", "clusters/b.tsv", "report/report.html", "count/a/Log.out")


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """Work in the folder of a finished run; return its manifest."""
    near, far = Path("config/samples.tsv"), Path("../../data/reads.fastq")
    whole = tmp_path / "genome.fa"
    folder = tmp_path / "project/run"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    outputs = [Path("results", name) for name in OUTPUTS]
    fetched = Path("results/reads/fetched/x.fastq")
    for path in (near, far, whole, fetched, *outputs):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"what {path.name} holds")
    return {
        "config": {"seed": 3, "write_report": {"title": "ä: 'b'"}},
        "inputs": {"sheets": records([near]), "fastq": records([far, fetched])},
        "reference": {"fasta": records([whole])[0]},
        "outputs": records(outputs),
        "versions": versions(star="2.7"),
        "workflow": git_state(),
    }


def test_inputs_have_the_same_paths_from_there(manifest):
    folder = lay_out(manifest)
    for name in ("config/samples.tsv", "../../data/reads.fastq"):
        path = folder / name
        assert path.resolve() == Path(name).resolve()
        # the folder itself is inside what is removed afterwards
        assert SCRATCH.absolute() in path.parent.resolve().parents
    # a job makes it again
    assert not (folder / "results").exists()
    text = (SCRATCH / second_run.CONFIG).read_text()
    assert yaml.safe_load(text) == manifest["config"]


def test_an_earlier_try_is_kept(manifest):
    SCRATCH.mkdir()
    with pytest.raises(UserError, match="from an earlier try; remove it"):
        lay_out(manifest)


def test_too_small_a_disk_is_told_before(manifest):
    manifest["outputs"][0]["bytes"] = 10**18
    with pytest.raises(UserError, match=r"no room .*1,000,000,000\.0 GB"):
        lay_out(manifest)
    assert not SCRATCH.exists()


def test_a_change_and_a_loss_are_found_and_logs_are_passed_over(manifest):
    folder = lay_out(manifest)
    shutil.copytree("results", folder / "results")
    for name in OUTPUTS[2:]:
        (folder / "results" / name).write_text("another time")
    assert compared(manifest, folder) == ([], 2)
    (folder / "results" / OUTPUTS[0]).write_text("another result")
    (folder / "results" / OUTPUTS[1]).unlink()
    found, n_compared = compared(manifest, folder)
    assert found == [f"results/{name}" for name in OUTPUTS[:2]]
    assert n_compared == 2


@pytest.fixture
def second(monkeypatch):
    """Let the second run copy the first, with other texts; return these."""
    texts = {}

    def copied(folder, config):
        shutil.copytree("results", folder / "results")
        for name, text in texts.items():
            (folder / "results" / name).write_text(text)
        return int("failed" in texts)

    monkeypatch.setattr(second_run, "start", copied)
    return texts


def test_the_folder_goes_when_all_is_the_same(manifest, second, capsys):
    assert run_again(manifest) == 0
    assert "Run again: all 2 outputs" in capsys.readouterr().out
    assert not SCRATCH.exists()


def test_the_folder_stays_when_something_differs(manifest, second, capsys):
    second[OUTPUTS[0]] = "another result"
    manifest["versions"]["numpy"] = "0.1"
    assert run_again(manifest) == 1
    lines = capsys.readouterr().out.splitlines()[1:]
    assert lines[0] == f"output differs when run again: results/{OUTPUTS[0]}"
    assert lines[1].startswith("Not the same when run again: 1 of 2 outputs")
    assert lines[2].startswith("That may be why: numpy was 0.1, is ")
    assert len(lines) == 3
    assert (SCRATCH / "above/above/run/results" / OUTPUTS[0]).exists()


def test_a_failed_run_takes_a_sentence(manifest, second, capsys):
    second["failed"] = ""
    assert run_again(manifest) == 1
    assert "has failed, see above; remove verify_rerun" in capsys.readouterr().err


def test_other_software_is_named(manifest):
    assert other_software(manifest) == []
    manifest["workflow"] = {"commit": "abc", "dirty": False}
    assert "commit of the workflow was abc, is " in other_software(manifest)[0]
