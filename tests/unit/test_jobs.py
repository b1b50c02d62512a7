"""What a job writes appears whole or not at all."""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.iocontainers import Log, OutputFiles

from _shared import jobs
from _shared.jobs import full_disk, job, sweep
from _shared.logs import UserError

SCRIPTS = Path(jobs.__file__).parents[1]
SIZE = 20_000_000


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """Return what a script of a rule with a file and a folder is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "log_to", lambda path: None)
    Path("results/deep").mkdir(parents=True)
    return given()


def given():
    outputs = {"table": "results/t.tsv", "folder": "results/deep/folder"}
    return SimpleNamespace(
        log=Log(fromdict={"0": "log"}), output=OutputFiles(fromdict=outputs)
    )


def write(snakemake, content="x"):
    Path(snakemake.output.table).write_text(content)
    folder = Path(snakemake.output.folder)
    folder.mkdir()
    (folder / "a").write_text(content)
    (folder / "link").symlink_to("/nowhere")


def here():
    return sorted(str(path) for path in Path("results").rglob("*"))


WHOLE = ["results/deep", "results/deep/folder", "results/deep/folder/a"]
WHOLE += ["results/deep/folder/link", "results/t.tsv"]


def test_outputs_have_their_names_when_all_is_written(snakemake):
    with job(snakemake):
        assert list(snakemake.output.keys()) == ["table", "folder"]
        assert Path(snakemake.output.table).name == "t.tsv"
        write(snakemake)
        assert not Path("results/t.tsv").exists()
        assert not Path("results/deep/folder").exists()
    assert here() == WHOLE


def test_an_older_output_is_replaced(snakemake):
    Path("results/t.tsv").write_text("old")
    with job(snakemake):
        write(snakemake)
        assert Path("results/t.tsv").read_text() == "old"
    assert Path("results/t.tsv").read_text() == "x"


def test_a_job_that_fails_leaves_nothing(snakemake):
    def work():
        with job(snakemake):
            write(snakemake)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        work()
    assert here() == ["results/deep"]


def test_an_output_that_is_not_written_fails_before_any_is_moved(snakemake):
    def work():
        with job(snakemake):
            Path(snakemake.output.table).write_text("x")

    with pytest.raises(FileNotFoundError):
        work()
    assert here() == ["results/deep"]


def test_what_a_killed_job_left_is_removed_and_not_what_others_write(snakemake):
    left = jobs._folders([Path("results/t.tsv")], resumes=False)[Path("results")]
    other = jobs._folders([Path("results/u.tsv")], resumes=False)[Path("results")]
    with job(snakemake):
        assert not left.exists()
        write(snakemake)
    assert other.exists()
    sweep(Path("results"))
    assert here() == WHOLE


def test_a_job_that_resumes_finds_what_it_had(snakemake):
    def work(text):
        with job(snakemake, resumes=True):
            part = Path(snakemake.output.table).with_name("part")
            part.write_text(part.read_text() + text if part.exists() else text)
            if text == "a":
                raise UserError("broken off")
            write(snakemake, part.read_text())

    with pytest.raises(UserError, match="broken off"):
        work("a")
    assert "results/t.tsv" not in here()
    sweep(Path("results"))
    snakemake.output = given().output
    work("b")
    assert Path("results/t.tsv").read_text() == "ab"
    assert here() == WHOLE


def test_sentences_name_the_final_folder(snakemake):
    def work():
        with job(snakemake):
            folder = Path(snakemake.output.table).parent
            raise UserError(f"{folder}/x: bad; {folder.resolve()} is bad.")

    said = f"results/x: bad; {Path('results').resolve()} is bad."
    with pytest.raises(UserError) as error:
        work()
    assert str(error.value) == said


@pytest.mark.parametrize(
    "cause",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # as h5py says it, without a number
        RuntimeError("Can't write data (error message = 'No space left on device')"),
    ],
)
def test_a_full_disk_is_told_in_a_sentence(snakemake, cause):
    def work():
        with job(snakemake):
            try:
                raise cause
            except Exception as error:
                raise ValueError("cannot go on") from error

    with pytest.raises(UserError, match=r"disk of .* is full; make room and"):
        work()


def test_a_folder_of_another_user_is_told(snakemake, monkeypatch):
    def denied(*_, dir, **__):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/.unfinished")

    monkeypatch.setattr(jobs.tempfile, "mkdtemp", denied)
    with pytest.raises(UserError, match=r"results: cannot be written to \(Perm"):
        job(snakemake).__enter__()


def test_the_full_one_of_several_disks_is_named(monkeypatch, tmp_path):
    free = {Path("a"): 10**12, Path("b"): 10**5, Path("c"): 10**9}
    usage = {path: SimpleNamespace(free=value) for path, value in free.items()}
    monkeypatch.setattr(shutil, "disk_usage", usage.get)
    # a child that could write no more ends with any error
    assert full_disk(ValueError("exit code 1"), list(free)) == Path("b")
    del usage[Path("b")]
    assert full_disk(ValueError("exit code 1"), [Path("a"), Path("c")]) is None


KILLED = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(SCRIPTS)!r})
sys.path.insert(0, {str(Path(__file__).parent)!r})
from _shared.jobs import job
from test_jobs import given, SIZE
snakemake = given()
print("started", flush=True)
with job(snakemake):
    Path(snakemake.output.table).write_bytes(b"x" * SIZE)
    folder = Path(snakemake.output.folder)
    folder.mkdir()
    for name in "abcdef":
        (folder / name).write_bytes(b"x" * (SIZE // 20))
print("done", flush=True)
"""


def test_a_job_killed_at_any_moment_leaves_whole_files_or_none(tmp_path):
    """Killed at seeded moments, among them those in which the outputs are moved."""
    (tmp_path / "results/deep").mkdir(parents=True)
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    moments, seen, needed = random.Random(7), set(), 0.0
    table = tmp_path / "results/t.tsv"
    folder = tmp_path / "results/deep/folder"
    for attempt in range(12):
        for left in (table, folder):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        assert run.stdout.readline() == "started\n"
        start = time.monotonic()
        if attempt == 0:
            assert run.stdout.readline() == "done\n"
            needed = time.monotonic() - start
        else:
            time.sleep(moments.uniform(0, needed))
        run.send_signal(signal.SIGKILL)
        run.stdout.close()
        run.wait()
        assert not table.exists() or table.stat().st_size == SIZE
        sizes = [path.stat().st_size for path in folder.glob("*")]
        assert sizes in ([], [SIZE // 20] * 6)
        seen.add(table.exists())
    assert seen == {True, False}
    sweep(tmp_path / "results")
    assert not [*tmp_path.rglob(".unfinished*")]
