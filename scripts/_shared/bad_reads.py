"""What is wrong with a sample's reads, told so that its owner can mend it."""


class BadReadsError(Exception):
    """A clause that names file and fault, and a sentence on what to do.

    `stage` is the rule that found it, where that is not the one that raises.
    """

    def __init__(self, reason: str, hint: str, *, stage: str = "") -> None:
        super().__init__(reason)
        self.hint = hint
        self.stage = stage
