"""One run at a time in a folder, and what to do after one that was ended by force."""

import errno
import fcntl
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

from _shared.jobs import TOO_LITTLE, full_disk, no_room, sweep, unwritable
from _shared.logs import UserError

# beside what Snakemake keeps of a folder
KEPT = Path(".snakemake")
FILE = KEPT / "reads2cells.lock"
# by which processes of a run are known
TOKEN = "READS2CELLS_RUN"
# file systems on which a lock of one machine holds for all that can see the files
OWN_DISKS = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay"}
OWN_DISKS |= {"ramfs", "reiserfs", "tmpfs", "xfs", "zfs"}
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
PATIENCE = 30
SLURM = "slurm"


def one_at_a_time(execute: Callable[..., None], settings: Any) -> Callable[..., None]:
    """Return `Workflow.execute` for one run at a time.

    Snakemake's own lock stays behind when a run is killed, and does not tell whose it
    is. Here the operating system holds one for as long as the process lives.

    Parameters
    ----------
    settings
        Returns the `execution_settings` of the workflow, not known before it starts.
    """

    def run(*, executor_plugin: Any, **options: Any) -> None:
        shared = executor_plugin.common_settings
        if shared.dryrun_exec or not settings().lock:
            execute(executor_plugin=executor_plugin, **options)
            return
        # jobs of other executors live on when their Snakemake is killed
        queue = executor_plugin.name if shared.non_local_exec else None
        try:
            with only_run(queue=queue):
                execute(executor_plugin=executor_plugin, **options)
        except UserError as error:
            sys.exit(f"reads2cells: {error}")
        except Exception as error:
            if folder := full_disk(error, [KEPT]):
                sys.exit(f"reads2cells: {no_room(folder.absolute().parent)}")
            raise

    return run


@contextmanager
def only_run(*, queue: str | None) -> Iterator[None]:
    """Be the only run in this folder; bring in order what a killed one has left.

    Parameters
    ----------
    queue
        The executor, if jobs are sent to one that outlives this process.

    Raises
    ------
    UserError
        If another run is at work here, or its jobs are, or if that cannot be told.
    """
    try:
        KEPT.mkdir(exist_ok=True)
        file = os.fdopen(os.open(FILE, os.O_RDWR | os.O_CREAT, 0o664), "r+")
    except OSError as error:
        raise UserError(unwritable(Path.cwd(), error)) from None
    if shutil.disk_usage(KEPT).free < TOO_LITTLE:
        raise UserError(no_room(Path.cwd()))
    with file:
        _hold(file, _read(file))
        last = _read(file)
        killed = last.get("state") == "running"
        if killed and last.get("queue"):
            _check_queue(last)
        n_ended = end_processes(last.get("token", ""))
        if killed:
            _tidy()
            left = f" (of which {n_ended} processes still ran)" if n_ended else ""
            print(
                f"reads2cells: the last run here ({_told(last)}) was ended by force"
                f"{left}; this one goes on from there.",
                file=sys.stderr,
            )
        own = {
            "state": "running",
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now().astimezone().isoformat(" ", "seconds"),
            "token": uuid.uuid4().hex,
            "queue": queue,
        }
        try:
            _write(file, own)
        except OSError as error:
            raise UserError(unwritable(Path.cwd(), error)) from None
        before = os.environ.get(TOKEN)
        os.environ[TOKEN] = ":".join(filter(None, [before, own["token"]]))
        try:
            yield
        finally:
            # the same length: there is room for it on a full disk
            with suppress(OSError):
                _write(file, own | {"state": "ended"})
            if before is None:
                del os.environ[TOKEN]
            else:
                os.environ[TOKEN] = before


def end_processes(token: str) -> int:
    """Kill all processes of a run on this machine; return how many there were."""
    ended, until = set(), time.monotonic() + PATIENCE
    while token and (left := processes_of(token)):
        if time.monotonic() > until:
            numbers = " ".join(map(str, sorted(left)))
            raise UserError(
                f"processes of the last run do not end ({numbers}), perhaps for a disk "
                "that does not answer; run again when they are gone."
            )
        for number in left:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        ended |= left
        time.sleep(0.05)
    return len(ended)


def processes_of(token: str) -> set[int]:
    """Return the processes of this user that were started by a run."""
    name, found = f"{TOKEN}=".encode(), set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            # another user's, or gone
            continue
        own = [v.removeprefix(name) for v in variables if v.startswith(name)]
        if own and token.encode() in own[0].split(b":"):
            found.add(int(path.parent.name))
    return found - {os.getpid()}


def _read(file: TextIO) -> dict:
    """Return what the last run has left; {} if nothing, or cut short."""
    file.seek(0)
    try:
        found = json.loads(file.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(file: TextIO, content: dict) -> None:
    file.seek(0)
    # blanks behind it: no write is longer than the first one
    file.write(json.dumps(content).ljust(500) + "\n")
    file.flush()
    os.fsync(file.fileno())


def _hold(file: TextIO, last: dict) -> None:
    """Take the lock on the file for as long as this process lives."""
    folder = Path.cwd()
    may_live = last.get("state") == "running"
    is_here = last.get("host") == socket.gethostname()
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        is_held, is_sure = True, True
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        is_sure = is_here
        is_held = may_live and is_here and Path(f"/proc/{last['process']}").exists()
    else:
        is_held, is_sure = False, is_here or file_system(folder) in OWN_DISKS
    if is_held:
        # it may not have written who it is yet
        told = _told(last) if may_live else "just started"
        how = f" (kill {last['process']})" if may_live and is_here else ""
        raise UserError(
            f"another run is at work in {folder} ({told}); wait for it, or end it{how} "
            "and run again."
        )
    if may_live and not is_sure:
        raise UserError(
            f"the last run in {folder} ({_told(last)}) was on another machine and has "
            f"not ended as far as can be told from here; if it has, remove {FILE} and "
            "run again."
        )


def _told(last: dict) -> str:
    return f"process {last['process']} on {last['host']}, since {last['since']}"


def file_system(folder: Path, *, mounts: Path = Path("/proc/self/mounts")) -> str:
    """Return the kind of file system that a folder is on, "" if it cannot be told."""
    if not mounts.exists():
        return ""
    found = {Path("/"): ""}
    for line in mounts.read_text().splitlines():
        _, place, kind = line.split()[:3]
        # blanks in it are written as octal numbers
        found[Path(place.encode().decode("unicode_escape"))] = kind
    folder = folder.resolve()
    return next(found[path] for path in [folder, *folder.parents] if path in found)


def _check_queue(last: dict) -> None:
    """Raise `UserError` if jobs that a killed run has sent may still be at work."""
    sent = set()
    for path in (KEPT / "incomplete").rglob("*"):
        with suppress(OSError, ValueError, AttributeError):
            sent.add(json.loads(path.read_text()).get("external_jobid"))
    sent = {str(number).split("_")[0] for number in sent if number}
    if not sent:
        return
    names = _queued(sent) if last["queue"] == SLURM else None
    if names is None:
        raise UserError(
            f"the last run ({_told(last)}) was ended by force, and whether its jobs "
            f"({', '.join(sorted(sent))}) still run cannot be told from here; end "
            f"them, remove {FILE} and run again."
        )
    if names:
        raise UserError(
            f"the last run ({_told(last)}) was ended by force, and its jobs are still "
            f"in the queue; end them (scancel --name {','.join(sorted(names))}) and "
            "run again."
        )


def _queued(sent: set[str]) -> set[str] | None:
    """Return the names of those jobs that SLURM still has, None if it does not tell."""
    command = ["squeue", "--noheader", "--format=%i %j", "--user", getpass.getuser()]
    if shutil.which("squeue") is None:
        return None
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        return None
    lines = (line.split(maxsplit=1) for line in done.stdout.splitlines() if line)
    # the tasks of an array are 12_3, or 12_[3-5] while they wait
    return {name.strip() for number, name in lines if number.split("_")[0] in sent}


def _tidy() -> None:
    """Remove what a killed run has left: its locks, files without a name, torn records.

    An output whose record is torn is made again.
    """
    shutil.rmtree(KEPT / "locks", ignore_errors=True)
    sweep(Path("results"))
    records = KEPT / "metadata"
    for record in records.rglob("*"):
        if record.is_dir():
            continue
        try:
            json.loads(record.read_bytes())
        except ValueError:
            mark = KEPT / "incomplete" / record.relative_to(records)
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text('{"external_jobid": null}')
            record.unlink()
