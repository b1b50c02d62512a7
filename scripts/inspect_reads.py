"""Find out from the first reads of a sample its chemistry, and what each file holds."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _shared.bad_reads import BadReadsError, set_aside
from _shared.barcodes import load_packed
from _shared.chemistries import barcode_read_length, same_reads
from _shared.decision import choose, summed, table_of
from _shared.detection import ENOUGH_TAGS, by_tag, judge
from _shared.jobs import job
from _shared.lanes import (
    Lane,
    cell_codes,
    droplet_lane,
    fingerprints,
    full_length_lane,
    open_lanes,
    plate_tags,
    tagged_lane,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("inspect_reads")

# Cell Ranger warns below this share of valid barcodes
GOOD_SHARE = 0.75


def inspect_droplets(
    lanes: list[Lane], *, chemistries: dict, lists: dict, named: str
) -> dict:
    """Return chemistry, hit rate, evidence and lanes of a sample with barcode reads."""
    judged = [judge(lane.streams, chemistries, lists) for lane in lanes]
    table = summed(judged)
    try:
        chosen = [
            choose(lane, one, chemistries=chemistries, lists=lists, named=named)
            for lane, one in zip(lanes, judged, strict=True)
        ]
    except BadReadsError:
        logger.error("what the reads look like:\n%s", table_of(table))
        raise
    first = chosen[0]
    for lane, one in zip(lanes, chosen, strict=True):
        if one.chemistry != first.chemistry:
            raise BadReadsError(
                f"the lanes differ: lane {lanes[0].number} is {first.chemistry} "
                f"({first.share:.1%}), lane {lane.number} is {one.chemistry} "
                f"({one.share:.1%})",
                "Make them two samples, or remove what does not belong.",
            )
    name = named or first.chemistry
    chemistry = chemistries[name]
    described = [
        tagged_lane(lane, one.streams[0], chemistry, code=None)
        if "tag" in chemistry
        else droplet_lane(lane, one, chemistry)
        for lane, one in zip(lanes, chosen, strict=True)
    ]
    share = sum(one.n_hits for one in chosen) / sum(one.n_looked_up for one in chosen)
    warnings = []
    if any(one.verdict != "match" for one in chosen):
        warnings.append(
            f"the reads are too few, or too varied, to confirm chemistry {name}"
        )
    elif chemistry["whitelists"] and share < GOOD_SHARE:
        warnings.append(
            f"only {share:.1%} of the barcodes are in the list of {name}; of good "
            "reads more than 90 % are"
        )
    return {
        "chemistry": name,
        "hit_rate": share if chemistry["whitelists"] else None,
        "evidence": table,
        "lanes": described,
        "warnings": warnings,
    }


def inspect_plate(
    lanes: list[Lane], *, chemistries: dict, lists: dict, named: str
) -> dict:
    """Return chemistry, evidence and lanes of a sample whose rows are cells."""
    nameless = [lane.number for lane in lanes if not lane.cell]
    if nameless:
        raise BadReadsError(
            f"lane {nameless[0]} names no cell, but other rows of the sample do",
            "Name the cell of every row of a plate.",
        )
    tagged_name = next(name for name, one in chemistries.items() if "tag" in one)
    full_name = next(
        name for name, one in chemistries.items() if not barcode_read_length(one)
    )
    tagged = chemistries[tagged_name]
    n_reads, n_tags, place = plate_tags(lanes, tagged_name, tagged)
    has_tags = n_tags >= ENOUGH_TAGS * n_reads
    evidence = judge(lanes[0].streams, chemistries, lists)
    table = summed([[one for one in evidence if one.chemistry != tagged_name]])
    row = by_tag(tagged_name, tagged, lanes[0].streams).row()
    row |= {"n_looked_up": n_reads, "n_hits": n_tags}
    row |= {
        "share": round(n_tags / n_reads, 4),
        "verdict": "match" if has_tags else "no match",
    }
    table.insert(0, row)
    best = next((one for one in evidence if one.verdict == "match"), None)
    found = tagged_name if has_tags else full_name
    if best and best.by != "tag":
        found = best.chemistry
    if found not in (tagged_name, full_name):
        raise BadReadsError(
            f"the rows name cells, but the reads of lane {lanes[0].number} are "
            f"{best.chemistry} ({best.share:.1%}), which has many cells in a file",
            "Empty the column cell, or give the files of single cells.",
        )
    if named and named != found:
        raise BadReadsError(
            f"chemistry {named} is named, but {n_tags} of {n_reads} reads have the tag "
            f"of {tagged_name}, so that this is {found}",
            f"Name {found}, or none.",
        )
    codes = cell_codes(lanes)
    described = [
        tagged_lane(
            lane,
            lane.streams[min(place, len(lane.streams) - 1)],
            tagged,
            code=codes[lane.cell],
        )
        if has_tags
        else full_length_lane(lane)
        for lane in lanes
    ]
    n_first = len(described[0]["cdna"])
    for lane, one in zip(lanes, described, strict=True):
        if len(one["cdna"]) != n_first:
            raise BadReadsError(
                f"the cells differ: lane {lanes[0].number} ({lanes[0].cell}) has "
                f"{n_first} cDNA reads a fragment, lane {lane.number} ({lane.cell}) "
                f"{len(one['cdna'])}",
                "Give both files of every cell, or make two samples of them.",
            )
    return {
        "chemistry": found,
        "hit_rate": None,
        "evidence": table,
        "lanes": described,
        "warnings": [],
    }


def _lengths_of(pieces: list[dict], lane: Lane) -> list[np.ndarray]:
    """Return the lengths that reads give to each piece."""
    lengths = {(one.file, one.mate): one.lengths for one in lane.streams}
    return [
        np.array([len(piece["literal"])])
        if "literal" in piece
        else np.clip(
            lengths[piece["file"], piece["mate"]] - piece["start"], 0, piece["length"]
        )
        for piece in pieces
    ]


def read_lengths(lanes: list[Lane], described: list[dict]) -> dict:
    """Return the shortest and longest read seen, by role; null without such reads."""
    seen: dict[str, list[tuple[int, int]]] = {"barcode": [], "cdna": []}
    for lane, how in zip(lanes, described, strict=True):
        barcode, cdna = (_lengths_of(how[role], lane) for role in seen)
        if lane.is_bam:
            barcode = [stream.lengths for stream in lane.streams]
            cdna = [np.array(lane.bam_lengths)]
        if barcode:
            ends = [(one.min(), one.max()) for one in barcode]
            seen["barcode"].append(tuple(map(sum, zip(*ends, strict=True))))
        seen["cdna"] += [(one.min(), one.max()) for one in cdna]
    return {
        role: [int(np.min(ends)), int(np.max(ends))] if ends else None
        for role, ends in seen.items()
    }


def inspect(
    rows: list[dict], *, chemistries: dict, lists: dict, named: str, n_reads: int
) -> dict:
    """Return all that the heads of a sample's files tell.

    Raises
    ------
    BadReadsError
        For the first thing that is wrong.
    """
    lanes = open_lanes(rows, n_reads)
    plate = any(lane.cell for lane in lanes)
    if not plate and named and not barcode_read_length(chemistries[named]):
        raise BadReadsError(
            f"chemistry {named} has no barcodes, but no row names a cell",
            "Give one row per cell, with its name in the column cell.",
        )
    facts = (inspect_plate if plate else inspect_droplets)(
        lanes, chemistries=chemistries, lists=lists, named=named
    )
    name = facts["chemistry"]
    others = [other for other in same_reads(chemistries)[name] if other != name]
    return facts | {
        "candidates": [name, *others],
        "whitelists": chemistries[name]["whitelists"],
        "read_lengths": read_lengths(lanes, facts["lanes"]),
        "n_sampled": sum(len(lane.streams[0].names) for lane in lanes),
        "n_reads_estimated": sum(lane.heads[0].n_estimated for lane in lanes),
        "fingerprints": fingerprints(lanes),
    }


def main(
    *,
    sample: str,
    rows: list[dict],
    lists: dict[str, Path],
    chemistries: dict,
    named: str,
    named_by: str,
    n_reads: int,
    strict: bool,
    inspection: Path,
) -> None:
    """Write what the first reads of a sample are, or why it is set aside.

    Parameters
    ----------
    rows
        Rows of the read sheet: `files` (or a folder), `cell` or None.
    lists
        Packed barcode lists by name: those that are there.
    chemistries
        The registry.
    named, named_by
        Chemistry that the `sheet` or the `config` names; "" to find it in the reads.
    n_reads
        Reads looked at per file.
    strict
        Whether bad reads are an error.
    """
    facts = {
        "sample": sample,
        "ok": True,
        "stage": "inspect_reads",
        "reason": "",
        "hint": "",
        "chemistry": None,
        "candidates": [],
        "named_by": named_by if named else "reads",
        "whitelists": [],
        "hit_rate": None,
        "evidence": [],
        "read_lengths": {"barcode": None, "cdna": None},
        "n_sampled": 0,
        "n_reads_estimated": 0,
        "warnings": [],
        "lanes": [],
        "fingerprints": {},
    }
    packed = {name: load_packed(path) for name, path in lists.items()}
    try:
        facts |= inspect(
            rows, chemistries=chemistries, lists=packed, named=named, n_reads=n_reads
        )
    except BadReadsError as bad:
        facts |= set_aside(f"sample {sample}", bad, strict=strict)
        facts["stage"] = bad.stage or facts["stage"]
    else:
        logger.info("%s\n%s", facts["chemistry"], table_of(facts["evidence"]))
        for warning in facts["warnings"]:
            logger.warning("sample %s: %s", sample, warning)
    inspection.write_text(json.dumps(facts, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            rows=snakemake.params.rows,
            lists=dict(
                zip(
                    snakemake.params.lists,
                    map(Path, snakemake.input.packed),
                    strict=True,
                )
            ),
            chemistries=snakemake.params.chemistries,
            named=snakemake.params.named[0],
            named_by=snakemake.params.named[1],
            n_reads=snakemake.params.n_reads,
            strict=snakemake.params.strict,
            inspection=Path(snakemake.output.inspection),
        )
