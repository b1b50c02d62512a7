"""What is wrong with a sample's reads, told so that its owner can mend it."""

import logging
from pathlib import Path

from _shared.logs import UserError

COPY_AGAIN = "Compare its checksum with the sequencing centre's and copy it again."
# Phred+33 ends at 74 on most machines; Phred+64 starts at 59 (Solexa) and passes 80
OLD_QUALITY = (59, 80)


class BadReadsError(Exception):
    """A clause that names file and fault, and a sentence on what to do.

    `stage` is the rule that found it, where that is not the one that raises.
    """

    def __init__(self, reason: str, hint: str, *, stage: str = "") -> None:
        super().__init__(reason)
        self.hint = hint
        self.stage = stage


def refuse_old_qualities(file: Path | str, *, lowest: int, highest: int) -> None:
    """Raise `BadReadsError` if qualities of this range are in Phred+64."""
    if lowest >= OLD_QUALITY[0] and highest > OLD_QUALITY[1]:
        raise BadReadsError(
            f"{file} has qualities as Phred+64 (characters {chr(lowest)} to "
            f"{chr(highest)}), not Phred+33",
            "Convert them, for example with seqkit convert.",
        )


def set_aside(what: str, bad: BadReadsError, *, strict: bool) -> dict[str, str | bool]:
    """Return what a rule writes of reads that are set aside, and log it.

    Raises
    ------
    UserError
        In its place, if the config is `strict`.
    """
    if strict:
        raise UserError(f"{what}: {bad}. {bad.hint}") from None
    logging.error("%s is set aside: %s. %s", what, bad, bad.hint)
    return {"ok": False, "reason": str(bad), "hint": bad.hint}
