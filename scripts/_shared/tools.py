"""Where the jobs of the workflow find their tools, and where they write."""

import os
import shlex
import sys
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from _shared.logs import UserError


def prefer_own_tools() -> None:
    """Put the tools beside this Python first on PATH.

    So that jobs find them also when Snakemake was called by its path, without its
    environment being activated; a conda environment of a rule goes before them.
    """
    own = str(Path(sys.executable).parent)
    paths = os.environ["PATH"].split(os.pathsep)
    if paths[0] != own:
        os.environ["PATH"] = os.pathsep.join([own, *paths])


def check_writable(*folders: str) -> None:
    """Raise `UserError` if a folder is there and nothing can be made in it."""
    for folder in folders:
        path = Path(folder)
        if path.exists() and not (path.is_dir() and os.access(path, os.W_OK | os.X_OK)):
            raise UserError(
                f"{path.absolute()}: cannot be written to (read-only, another user's, "
                "or no folder); mend that, or work in another folder (--directory)."
            )


def check_times(paths: Iterable[str]) -> None:
    """Raise `UserError` if a file was changed in the future, by its time.

    All that is made of it would be older, and a failure to Snakemake.
    """
    now = time.time()
    for path in map(Path, paths):
        if path.exists() and (changed := path.stat().st_mtime) > now:
            until = datetime.fromtimestamp(changed).isoformat(" ", "seconds")
            raise UserError(
                f"{path}: was changed in the future ({until}), by the clock of this "
                f"machine; set its time (touch {shlex.quote(str(path))}), or wait "
                "until then."
            )
