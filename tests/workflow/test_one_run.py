"""One run at a time in a folder, and after one that was killed the next goes on."""

import fcntl
import json
import socket

from running import snakemake, text_of

from _shared.one_run import FILE

LAST = {"state": "running", "host": socket.gethostname(), "process": 2**22 + 1}
LAST |= {"since": "2026-01-02 03:04:05+00:00", "token": "abc", "queue": None}
TARGET = "results/README.md"


def test_one_run_at_a_time_and_after_a_killed_one_the_next(project):
    file = project / FILE
    file.parent.mkdir()
    file.write_text(json.dumps(LAST).ljust(500) + "\n")
    lock = file.parent / "locks/0.output.lock"
    lock.parent.mkdir()
    lock.write_text(f"{TARGET}\n")
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        second = snakemake(project, TARGET)
        planned = snakemake(project, TARGET, "--dry-run")
    assert second.returncode == 1
    assert second.stderr.splitlines()[-1].startswith(
        f"reads2cells: another run is at work in {project} (process "
    )
    assert "Traceback" not in text_of(second)
    assert planned.returncode == 0, text_of(planned)

    done = snakemake(project, TARGET)
    assert done.returncode == 0, text_of(done)
    assert "was ended by force; this one goes on from there." in done.stderr
    assert (project / TARGET).exists()
    assert json.loads(file.read_text())["state"] == "ended"
    assert "by force" not in text_of(snakemake(project, TARGET))
