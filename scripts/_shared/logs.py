"""What a script says goes to the log of its job."""

import logging
import sys
import traceback
from pathlib import Path


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
        if issubclass(kind, UserError):
            print(f"ERROR: {error}", file=sys.stderr)
            print(f"ERROR: {error}", file=terminal)
        else:
            traceback.print_exception(kind, error, trace, file=sys.stderr)

    sys.excepthook = excepthook
