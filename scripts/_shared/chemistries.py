"""Geometry of the chemistries in config/chemistries.yaml, and its form for STAR."""

from dataclasses import dataclass
from pathlib import Path

READ_START, ADAPTER_START, ADAPTER_END = 0, 2, 3
# STAR loses barcode reads that are too short without a word; so many are let pass,
# or half of them where the place of the barcode, and so the length, varies
FEW_SHORT, MANY_SHORT = 0.01, 0.5


@dataclass(frozen=True)
class Span:
    """A part of the barcode read: first and last base, each relative to an anchor.

    The anchors are STAR's: 0 the first base of the read, 2 and 3 the first and the last
    base of the adapter.
    """

    first_anchor: int
    first: int
    last_anchor: int
    last: int

    def ends(self, adapter_start: int, adapter_length: int) -> tuple[int, int]:
        """Return first base and the one past the last, in a read with this adapter."""
        anchors = {
            READ_START: 0,
            ADAPTER_START: adapter_start,
            ADAPTER_END: adapter_start + adapter_length - 1,
        }
        return anchors[self.first_anchor] + self.first, (
            anchors[self.last_anchor] + self.last + 1
        )


def _span(text: str) -> Span:
    return Span(*(int(number) for number in text.split("_")))


def _simple(start: int, length: int) -> Span:
    return Span(READ_START, start - 1, READ_START, start + length - 2)


def barcode_spans(chemistry: dict) -> list[Span]:
    """Return where the parts of the barcode lie; none for a chemistry without."""
    solo = chemistry["solo"]
    if "soloCBposition" in solo:
        return [_span(text) for text in solo["soloCBposition"]]
    if "soloCBlen" in solo:
        return [_simple(solo["soloCBstart"], solo["soloCBlen"])]
    return []


def umi_span(chemistry: dict) -> Span | None:
    """Return where the UMI lies, if the chemistry has one."""
    solo = chemistry["solo"]
    if "soloUMIposition" in solo:
        return _span(solo["soloUMIposition"])
    if "soloUMIlen" in solo:
        return _simple(solo["soloUMIstart"], solo["soloUMIlen"])
    return None


def adapter_of(chemistry: dict) -> str:
    """Return the adapter that the positions refer to, "" without one; N is any base."""
    return chemistry["solo"].get("soloAdapterSequence", "")


def adapter_starts(chemistry: dict) -> range:
    """Return the places of the adapter's first base, 0 alone without an adapter."""
    first, last = chemistry.get("adapter_starts", (0, 0))
    return range(first, last + 1)


def barcode_read_length(chemistry: dict) -> int:
    """Return the length that the (joined) barcode read must have at least."""
    spans = [*barcode_spans(chemistry), umi_span(chemistry)]
    start, length = adapter_starts(chemistry)[0], len(adapter_of(chemistry))
    return max((span.ends(start, length)[1] for span in spans if span), default=0)


def most_short(chemistry: dict) -> float:
    """Return the share of the barcode reads that may be too short."""
    return MANY_SHORT if len(adapter_starts(chemistry)) > 1 else FEW_SHORT


def same_reads(chemistries: dict) -> dict[str, list[str]]:
    """Return every chemistry with those whose reads look the same, in file order.

    They have the same barcode geometry and lists, and differ in the strand. A chemistry
    that is `told_as` another is a key, but never among the values.
    """
    looks = {
        name: (chemistry["whitelists"], chemistry["solo"], chemistry.get("tag"))
        for name, chemistry in chemistries.items()
    }
    return {
        name: [
            other
            for other in chemistries
            if looks[other] == looks[name] and "told_as" not in chemistries[other]
        ]
        for name in chemistries
    }


def star_params(chemistry: dict, whitelists: list[Path], strand: str) -> str:
    """Return the geometry as STAR's options, one a line; quoted where blanks are in it.

    Parameters
    ----------
    chemistry
        Entry of the registry.
    whitelists
        Prepared lists, one per barcode part; empty for a chemistry without lists.
    strand
        Forward, Reverse or Unstranded.
    """
    params = {**chemistry["solo"], "soloStrand": strand}
    if params["soloType"] != "SmartSeq":
        paths = [f'"{path}"' if " " in str(path) else path for path in whitelists]
        params["soloCBwhitelist"] = paths or "None"
        # the barcode read may be longer than barcode and UMI; its length was checked
        params["soloBarcodeReadLength"] = 0
    return "".join(
        f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}\n"
        for key, value in params.items()
    )
