"""One run at a time in a folder, and what is done after one that was killed."""

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from _shared import one_run
from _shared.logs import UserError
from _shared.one_run import (
    FILE,
    TOKEN,
    end_processes,
    file_system,
    one_at_a_time,
    only_run,
)

LAST = {
    "state": "running",
    "host": socket.gethostname(),
    "process": 2**22 + 1,
    "since": "2026-01-02 03:04:05+00:00",
    "token": "abc",
    "queue": None,
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(TOKEN, raising=False)
    return tmp_path


def leave(**changed):
    """Write what a run that is gone has left."""
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(LAST | changed).ljust(500) + "\n")


def enter(queue=None):
    with only_run(queue=queue):
        pass


def kept():
    return json.loads(FILE.read_text())


def test_a_run_is_known_while_it_lives_and_after():
    with only_run(queue=None):
        own = kept()
        assert (own["state"], own["process"]) == ("running", os.getpid())
        assert os.environ[TOKEN] == own["token"]
    assert kept() == own | {"state": "ended"}
    assert TOKEN not in os.environ


def test_a_run_that_fails_has_ended():
    def fail():
        with only_run(queue=None):
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert kept()["state"] == "ended"


def test_a_run_within_a_job_keeps_the_token_of_the_outer(monkeypatch):
    monkeypatch.setenv(TOKEN, "outer")
    with only_run(queue=None):
        assert os.environ[TOKEN].startswith("outer:")
    assert os.environ[TOKEN] == "outer"


def test_a_second_run_is_refused_with_a_sentence():
    leave(process=123)
    with FILE.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(UserError) as error:
            enter()
    assert str(error.value) == (
        f"another run is at work in {Path.cwd()} (process 123 on {LAST['host']}, since "
        f"{LAST['since']}); wait for it, or end it (kill 123) and run again."
    )


def test_a_second_run_that_comes_before_the_first_has_told_itself():
    FILE.parent.mkdir()
    FILE.touch()
    with FILE.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(
            UserError, match=r"\(just started\); wait for it, or end it "
        ):
            enter()


def test_without_locks_of_the_system_the_process_tells(monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    leave(process=os.getpid())
    with pytest.raises(UserError, match="another run"):
        enter()
    leave()
    enter()


@pytest.mark.parametrize(("kind", "refused"), [("nfs4", True), ("ext4", False)])
def test_a_run_of_another_machine_may_still_live(monkeypatch, kind, refused):
    leave(host="elsewhere")
    monkeypatch.setattr(one_run, "file_system", lambda folder: kind)
    if refused:
        with pytest.raises(UserError, match="was on another machine"):
            enter()
        FILE.unlink()
    enter()


def test_the_kind_of_a_disk_is_that_of_the_nearest_mount(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/a / ext4 rw 0 0\n"
        f"server:/b {tmp_path} nfs4 rw 0 0\n"
        f"c {tmp_path}/with\\040blank xfs rw 0 0\n"
    )
    assert file_system(Path("/"), mounts=mounts) == "ext4"
    assert file_system(tmp_path / "x/y", mounts=mounts) == "nfs4"
    assert file_system(tmp_path / "with blank/y", mounts=mounts) == "xfs"
    assert file_system(tmp_path, mounts=tmp_path / "none") == ""


def sleeper(token):
    return subprocess.Popen(["sleep", "60"], env={**os.environ, TOKEN: token})


def test_processes_of_a_killed_run_are_ended_and_no_others(capsys):
    leave()
    own, inner, other = sleeper("abc"), sleeper("abc:def"), sleeper("abcd")
    try:
        with only_run(queue=None):
            assert own.wait(10) == inner.wait(10) == -9
            assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    said = capsys.readouterr().err
    assert said == (
        f"reads2cells: the last run here (process {LAST['process']} on {LAST['host']}, "
        f"since {LAST['since']}) was ended by force (of which 2 processes "
        "still ran); this one goes on from there.\n"
    )


def test_processes_that_do_not_end_stop_the_run(monkeypatch):
    monkeypatch.setattr(one_run, "PATIENCE", 0.1)
    monkeypatch.setattr(one_run, "processes_of", lambda token: {2**22 + 1})
    with pytest.raises(UserError, match="do not end"):
        end_processes("abc")


def test_what_a_killed_run_has_left_is_brought_in_order():
    leave()
    files = {
        "locks/0.output.lock": "results/a.tsv\n",
        "metadata/torn": '{"rule": "a',
        "metadata/@long/empty": "",
        "metadata/whole": '{"rule": "a"}',
    }
    for name, text in files.items():
        path = FILE.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    Path("results/x/.unfinished-1-2/y").mkdir(parents=True)
    Path("results/x/.resumed-1").mkdir()
    with only_run(queue=None):
        assert not (FILE.parent / "locks").exists()
    left = (path.relative_to(FILE.parent) for path in FILE.parent.rglob("*"))
    assert {str(path) for path in left} == {
        *("metadata", "metadata/@long", "metadata/whole", "reads2cells.lock"),
        *("incomplete", "incomplete/@long", "incomplete/@long/empty"),
        "incomplete/torn",
    }
    assert [path.name for path in Path("results/x").iterdir()] == [".resumed-1"]


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"state": "runn'])
def test_a_torn_file_of_the_lock_is_no_obstacle(text):
    FILE.parent.mkdir()
    FILE.write_text(text)
    enter()
    assert kept()["state"] == "ended"


def test_locks_that_are_not_ours_are_left_to_snakemake():
    leave(state="ended")
    lock = FILE.parent / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text("results/a.tsv\n")
    with only_run(queue=None):
        assert lock.exists()


def squeue(folder, monkeypatch, text):
    """Put a queue in the place of SLURM's."""
    tool = folder / "bin/squeue"
    tool.parent.mkdir(exist_ok=True)
    tool.write_text(f"#!/bin/sh\n{text}\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")


def test_jobs_of_a_killed_run_in_the_queue_stop_the_next(folder, monkeypatch):
    leave(queue="slurm")
    mark = FILE.parent / "incomplete/abc"
    mark.parent.mkdir()
    mark.write_text('{"external_jobid": "77"}')

    squeue(folder, monkeypatch, "echo '78 other'; echo '77_[1-3] 0a-1b'")
    with pytest.raises(UserError, match=r"\(scancel --name 0a-1b\) and run again"):
        enter("slurm")
    assert kept()["state"] == "running"
    squeue(folder, monkeypatch, "exit 1")
    with pytest.raises(UserError, match=r"its jobs \(77\) still run cannot be told"):
        enter("slurm")
    squeue(folder, monkeypatch, "echo '78 other'")
    enter("slurm")


def test_jobs_of_another_queue_are_not_guessed():
    leave(queue="kubernetes")
    mark = FILE.parent / "incomplete/abc"
    mark.parent.mkdir()
    mark.write_text('{"external_jobid": "pod"}')
    with pytest.raises(UserError, match="cannot be told"):
        enter()
    # it was killed before it had sent any
    mark.write_text('{"external_jobid": null}')
    enter()


def executed(execute, *, lock=True, **settings):
    shared = SimpleNamespace(dryrun_exec=False, non_local_exec=False)
    shared.__dict__.update(settings)
    plugin = SimpleNamespace(name="local", common_settings=shared)
    run = one_at_a_time(execute, lambda: SimpleNamespace(lock=lock))
    run(executor_plugin=plugin, scheduler_plugin="greedy")


@pytest.mark.parametrize("free", [{"dryrun_exec": True}, {"lock": False}])
def test_dry_runs_and_nolock_take_no_lock(free):
    seen = []
    executed(lambda **options: seen.append(options["scheduler_plugin"]), **free)
    assert seen == ["greedy"]
    assert not FILE.exists()


def test_a_run_on_a_full_disk_ends_with_a_sentence(folder):
    def execute(**_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(SystemExit) as end:
        executed(execute)
    assert str(end.value) == (
        f"reads2cells: the disk of {folder} is full; make room and run the same "
        "command again: it goes on from here."
    )


def test_a_folder_that_cannot_be_written_to_is_told(monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(SystemExit, match="cannot be written to") as end:
        executed(lambda **_: None)
    assert sys.exc_info()[0] is None
    assert str(end.value).endswith("or work in another folder (--directory).")
