"""What a job writes appears whole under its name, or not at all."""

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from _shared.logs import NO_SPACE, UserError, log_to

# files that the next attempt of a job goes on with, and those that it removes
RESUMED, UNFINISHED = ".resumed-", ".unfinished-"
FULL = (errno.ENOSPC, errno.EDQUOT)
# bytes; with less free a disk counts as full
TOO_LITTLE = 1_000_000


@contextmanager
def job(snakemake: Any, *, resumes: bool = False) -> Iterator[None]:
    """Run what is inside as a job: said to its log, its outputs written apart.

    Inside, `snakemake.output` names files in hidden folders beside the final ones. At
    the end they are moved to their names; if anything fails, nothing is.

    Parameters
    ----------
    resumes
        Whether what a failed attempt has written is for the next one to go on with.
    """
    log_to(snakemake.log[0])
    try:
        apart = _folders(list(map(Path, snakemake.output)), resumes=resumes)
    except OSError as error:
        raise UserError(unwritable(Path(error.filename).parent, error)) from None
    hidden = {
        path: apart[Path(path).parent] / Path(path).name for path in snakemake.output
    }
    snakemake.output = type(snakemake.output)(
        toclone=snakemake.output, custom_map=lambda path: str(hidden[path])
    )
    try:
        yield
        for made in hidden.values():
            _reach_disk(made)
        for path, made in hidden.items():
            made.replace(path)
        for folder in apart:
            _sync_folder(folder)
    except UserError as error:
        # to the user the hidden folders are those that they stand in
        said = str(error)
        for folder in apart.values():
            said = said.replace(f"/{folder.name}", "")
        raise UserError(said) from None
    except Exception as error:
        if folder := full_disk(error, [*apart, Path(tempfile.gettempdir())]):
            with suppress(OSError):
                print(f"{type(error).__name__}: {error}", file=sys.stderr)
            raise UserError(no_room(folder)) from None
        raise
    else:
        resumes = False
    finally:
        if not resumes:
            for folder in apart.values():
                shutil.rmtree(folder, ignore_errors=True)


def full_disk(error: Exception, folders: list[Path]) -> Path | None:
    """Return the folder whose disk is full, if that is what an error comes from.

    A child that could write no more may end with any error; then the disk tells.
    """
    free = {folder: shutil.disk_usage(folder).free for folder in folders}
    fullest = min(free, key=free.get)
    chain, link = [], error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    told = any(
        getattr(link, "errno", None) in FULL or NO_SPACE in str(link) for link in chain
    )
    return fullest if told or free[fullest] < TOO_LITTLE else None


def no_room(folder: Path) -> str:
    """Return what there is to say of a full disk."""
    return (
        f"the disk of {folder.absolute()} is full; make room and run the same command "
        "again: it goes on from here."
    )


def unwritable(folder: Path, error: OSError) -> str:
    """Return why nothing can be made in a folder, and what to do."""
    while not folder.exists():
        folder = folder.parent
    if full := full_disk(error, [folder]):
        return no_room(full)
    return (
        f"{folder.absolute()}: cannot be written to ({error.strerror}); mend that, or "
        "work in another folder (--directory)."
    )


def sweep(results: Path) -> None:
    """Remove what jobs that are gone have left unfinished."""
    for folder, names, _ in os.walk(results):
        for name in [name for name in names if name.startswith(UNFINISHED)]:
            names.remove(name)
            shutil.rmtree(Path(folder, name), ignore_errors=True)


def _folders(outputs: list[Path], *, resumes: bool) -> dict[Path, Path]:
    """Return a hidden folder, without leftovers, in every folder of the outputs."""
    found = {}
    for output in outputs:
        parent = output.parent
        if parent in found:
            continue
        # jobs of other samples may write to the same folder
        own = hashlib.sha256(output.name.encode()).hexdigest()[:8]
        if resumes:
            found[parent] = parent / f"{RESUMED}{own}"
            found[parent].mkdir(parents=True, exist_ok=True)
            continue
        prefix = f"{UNFINISHED}{own}-"
        for left in parent.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
        # a name of its own: a child of a killed job may still write to the last one
        made = tempfile.mkdtemp(prefix=prefix, dir=parent)
        found[parent] = parent / Path(made).name
    return found


def _reach_disk(made: Path) -> None:
    """Wait until a file, or all of a folder, will be there after a power cut."""
    if not made.is_dir():
        _sync(made)
    for folder, _, names in os.walk(made):
        for path in [Path(folder, name) for name in names]:
            if not path.is_symlink():
                _sync(path)
        _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    # some network disks cannot, and need not
    with suppress(OSError):
        _sync(folder)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
