"""What a script says goes to the log of its job."""

import logging
import sys
import traceback
from contextlib import suppress
from pathlib import Path

# what HDF5 and child processes say of a full disk, who give no error number
NO_SPACE = "No space left on device"


class UserError(Exception):
    """A mistake of the user's: told in one sentence, without a traceback."""


def log_to(path: str) -> None:
    """Send logging, warnings and errors to `path`, line by line."""
    terminal = sys.stderr
    sys.stderr = Path(path).open("w", buffering=1)  # noqa: SIM115
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
        force=True,
    )
    logging.captureWarnings(True)

    def excepthook(kind, error, trace):
        # the disk of the log may be full
        with suppress(OSError):
            if issubclass(kind, UserError):
                print(f"ERROR: {error}", file=terminal)
                print(f"ERROR: {error}", file=sys.stderr)
            elif NO_SPACE in str(error):
                # HDF5 says so again of everything that is still open, here and below
                print(f"{kind.__name__}: {error}", file=sys.stderr)
            else:
                traceback.print_exception(kind, error, trace, file=sys.stderr)

    sys.excepthook = excepthook
    shown = sys.unraisablehook

    def unraisablehook(what):
        if NO_SPACE not in str(what.exc_value):
            shown(what)

    sys.unraisablehook = unraisablehook
