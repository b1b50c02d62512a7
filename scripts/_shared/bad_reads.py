"""What is wrong with a sample's reads, told so that its owner can mend it."""

import logging

from _shared.logs import UserError


class BadReadsError(Exception):
    """A clause that names file and fault, and a sentence on what to do.

    `stage` is the rule that found it, where that is not the one that raises.
    """

    def __init__(self, reason: str, hint: str, *, stage: str = "") -> None:
        super().__init__(reason)
        self.hint = hint
        self.stage = stage


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
