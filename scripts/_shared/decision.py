"""Which chemistry the evidence speaks for, or what to say where it speaks for none."""

import numpy as np

from _shared.bad_reads import BadReadsError
from _shared.chemistries import barcode_read_length, same_reads
from _shared.detection import CLEAR_LEAD, Evidence, structure
from _shared.heads import Stream
from _shared.lanes import GET_TECHNICAL, LONGEST_INDEX, Lane

# reads of this length that no barcode explains are taken for cDNA
SHORTEST_LONE_CDNA = 35
# first bases of a read without a signal: nearly all the same
DARK_BASES, DARK_SHARE = 16, 0.9
COLUMNS = ("chemistry", "whitelist", "file", "orientation", "share", "by", "verdict")


def table_of(evidence: list[dict]) -> str:
    """Return evidence as text, one row per chemistry."""
    rows = [[str(row[column]) for column in COLUMNS] for row in evidence]
    rows = [list(COLUMNS), *rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )


def dark_base(stream: Stream) -> str:
    """Return the letter that nearly all first bases are, "" for a good read."""
    counts = np.bincount(stream.digits[:, :DARK_BASES].ravel(), minlength=5)
    return "ACGTN"[counts.argmax()] if counts.max() >= DARK_SHARE * counts.sum() else ""


def no_match(
    lane: Lane, evidence: list[Evidence], *, chemistries: dict, lists: dict
) -> BadReadsError:
    """Return what to say of reads that no chemistry explains."""
    shown = {stream: structure(stream) for stream in lane.streams}
    built = [(stream, found) for stream, found in shown.items() if found]
    best = max(evidence, key=lambda one: one.share, default=None)
    for stream in lane.streams:
        base = dark_base(stream)
        if base and stream.length > LONGEST_INDEX:
            return BadReadsError(
                f"{stream.file} has no barcodes: nearly all of its first bases are "
                f"{base}, as where the machine sees no signal",
                "Ask the sequencing centre for this read again.",
            )
    if not built and all(
        not LONGEST_INDEX < stream.length < SHORTEST_LONE_CDNA
        for stream in lane.streams
    ):
        return BadReadsError(
            f"lane {lane.number} has no barcode read: {lane.shown()} look like cDNA or "
            "index reads",
            GET_TECHNICAL,
        )
    nearest = f"; the nearest is {best.chemistry} with {best.share:.1%}" if best else ""
    looks = "".join(
        f"; {stream.file} looks like a barcode of {barcode} and a UMI of "
        f"{end - barcode} bases"
        for stream, (barcode, end) in built[:1]
    )
    needed = {name for one in chemistries.values() for name in one["whitelists"]}
    missing = ", ".join(sorted(needed - set(lists)))
    return BadReadsError(
        f"no chemistry fits lane {lane.number}: {lane.shown()}{nearest}{looks}",
        "A right barcode list is hit by more than 90 % of the reads: give the list of "
        "the kit (config: prepare_whitelist"
        + (f"; not there are {missing}" if missing else "")
        + "), and the reads as they came from the sequencer.",
    )


def choose(
    lane: Lane,
    evidence: list[Evidence],
    *,
    chemistries: dict,
    lists: dict,
    named: str,
) -> Evidence:
    """Return the evidence for the chemistry of a lane.

    Raises
    ------
    BadReadsError
        If none fits, more than one, or another than the one that was named.
    """
    fitting = [one for one in evidence if one.verdict == "match"]
    own = next((one for one in evidence if _looks(one, named, chemistries)), None)
    best = fitting[0] if fitting else None
    if own in fitting and own.share > CLEAR_LEAD * best.share:
        best = own
    if named and (best is None or not _looks(best, named, chemistries)):
        # structure needs many reads to show, so that its absence says little
        if best is None and own and own.by == "structure":
            if any(map(dark_base, own.streams)):
                raise no_match(lane, evidence, chemistries=chemistries, lists=lists)
            return own
        raise _disagreement(lane, named, own, best, chemistries=chemistries)
    if best is None:
        raise no_match(lane, evidence, chemistries=chemistries, lists=lists)
    rivals = [
        one
        for one in fitting[1:]
        if not _looks(one, best.chemistry, chemistries)
        and one.by == best.by
        and one.share > CLEAR_LEAD * best.share
    ]
    if rivals and not named:
        raise BadReadsError(
            f"the reads of lane {lane.number} fit {best.chemistry} ({best.share:.1%}) "
            f"and {rivals[0].chemistry} ({rivals[0].share:.1%}) alike",
            "Name the chemistry in the column chemistry of the sample sheet.",
        )
    if best.orientation == "reverse":
        raise BadReadsError(
            f"the barcodes of {best.streams[0].file} are in the list of "
            f"{best.chemistry} only as reverse complement ({best.share:.1%})",
            "Give the reads as they came from the sequencer, or a list that is reverse "
            "complemented.",
        )
    missing = [name for name in best.whitelists if name not in lists]
    if missing:
        raise BadReadsError(
            f"the reads of lane {lane.number} are {best.chemistry} ({best.share:.1%} "
            f"by {best.by}), but its barcode list {missing[0]} is not there",
            f"Give the list in the config: prepare_whitelist: {missing[0]}.",
        )
    return best


def _looks(evidence: Evidence, name: str, chemistries: dict) -> bool:
    return bool(name) and evidence.chemistry in same_reads(chemistries)[name]


def _disagreement(
    lane: Lane,
    named: str,
    own: Evidence | None,
    best: Evidence | None,
    *,
    chemistries: dict,
) -> BadReadsError:
    lists = " ".join(dict.fromkeys(chemistries[named]["whitelists"]))
    place = f"are in its list {lists}" if lists else "are built as its reads"
    what = "barcodes"
    if "tag" in chemistries[named]:
        what, place = "reads", "have its tag"
    needed = barcode_read_length(chemistries[named])
    said = (
        f"only {own.share:.1%} of the {what} of lane {lane.number} {place}"
        if own
        else f"no read of lane {lane.number} fits it, which takes a barcode read of "
        f"{needed} nt: {lane.shown()}"
    )
    other = (
        f", while {best.share:.1%} fit {best.chemistry} by {best.by}" if best else ""
    )
    return BadReadsError(
        f"chemistry {named} is named, but {said}{other}",
        f"Name {best.chemistry}, or none, in the sample sheet or the config."
        if best
        else "A right list is hit by more than 90 % of the reads: name the right "
        "chemistry, or none, and give the barcode list of the kit.",
    )


def summed(evidence: list[list[Evidence]]) -> list[dict]:
    """Return the rows of evidence over all lanes, as those of the first lane."""
    rows = {}
    for one in (one for lane in evidence for one in lane):
        row = rows.setdefault(
            one.chemistry, one.row() | {"n_looked_up": 0, "n_hits": 0}
        )
        row["n_looked_up"] += one.n_looked_up
        row["n_hits"] += one.n_hits
        row["share"] = round(row["n_hits"] / max(1, row["n_looked_up"]), 4)
    return list(rows.values())
