"""Put what was found out about the reads of all samples into one table."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from _shared.jobs import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("summarize_reads")


def span(lengths: list[int] | None) -> str:
    """Return shortest and longest length as text, `28` or `26-28`."""
    return "-".join(dict.fromkeys(map(str, lengths or [])))


def row_of(inspection: dict, integrity: dict, chemistry: dict) -> dict:
    """Return what is told of a sample; the first check that it failed, if any."""
    checks = (inspection, integrity, chemistry)
    fault = next((check for check in checks if not check["ok"]), None)
    lengths = inspection.get("read_lengths") or {}
    warnings = [text for check in checks for text in check.get("warnings") or []]
    return {
        "sample": inspection["sample"],
        "verdict": "set_aside" if fault else "good",
        "chemistry": chemistry.get("chemistry") or inspection.get("chemistry"),
        "named_by": inspection.get("named_by"),
        "whitelists": ",".join(inspection.get("whitelists") or []),
        "hit_rate": inspection.get("hit_rate"),
        "barcode_read_length": span(lengths.get("barcode")),
        "cdna_read_length": span(lengths.get("cdna")),
        "strand": chemistry.get("strand"),
        "strand_by": chemistry.get("strand_by"),
        "sense_share": chemistry.get("sense_share"),
        "n_reads": integrity.get("n_reads"),
        "stage": fault["stage"] if fault else "",
        "reason": fault["reason"] if fault else "",
        "hint": fault["hint"] if fault else "",
        "warnings": " | ".join(warnings),
    }


def same_in_others(inspections: list[dict]) -> dict[str, list[str]]:
    """Return a warning per file of a sample that begins as one of another sample."""
    owners: dict[str, list[tuple[str, str]]] = {}
    for inspection in inspections:
        for file, content in inspection.get("fingerprints", {}).items():
            owners.setdefault(content, []).append((inspection["sample"], file))
    found: dict[str, list[str]] = {}
    for files in owners.values():
        for sample, file in files:
            for other, twin in files:
                if other != sample:
                    found.setdefault(sample, []).append(
                        f"{file} holds the same reads as {twin} of sample {other}: one "
                        "of the two rows of the read sheet is wrong"
                    )
    return found


def told(row: dict) -> str:
    """Return one line about a sample, to be read on a terminal."""
    if row["verdict"] == "set_aside":
        return f"SET ASIDE by {row['stage']}: {row['reason']}. {row['hint']}"
    words = [row["chemistry"]]
    if row["hit_rate"] is not None:
        lists = row["whitelists"].replace(",", ", ")
        words.append(f"{row['hit_rate']:.1%} of barcodes in {lists}")
    lengths = [row["barcode_read_length"], row["cdna_read_length"]]
    words.append(f"reads of {' and '.join(filter(None, lengths))} nt")
    strand = f"strand {row['strand']}"
    if row["strand_by"] == "reads":
        strand += f" ({row['sense_share']:.1%} sense)"
    words += [strand, f"{row['n_reads']:,} reads", row["verdict"]]
    return "; ".join(words) + (f"; WARNING: {row['warnings']}" * bool(row["warnings"]))


def main(*, checks: list[tuple[Path, Path, Path]], table: Path, text: Path) -> None:
    """Write a row, and a line of text, per sample.

    `checks` are a sample's inspection, integrity and chemistry.
    """
    facts = [[json.loads(path.read_text()) for path in paths] for paths in checks]
    same = same_in_others([inspection for inspection, *_ in facts])
    for inspection, *_ in facts:
        inspection["warnings"] += same.get(inspection["sample"], [])
    for sample, warnings in same.items():
        logger.warning("sample %s: %s", sample, "; ".join(warnings))
    rows = [row_of(*of_sample) for of_sample in facts]
    pd.DataFrame(rows).to_csv(table, sep="\t", index=False)
    width = max((len(row["sample"]) for row in rows), default=0)
    lines = (f"{row['sample']:{width}}  {told(row)}\n" for row in rows)
    told_all = "".join(lines) or "No sample has reads: all enter with counts.\n"
    text.write_text(told_all, encoding="utf-8")


if "snakemake" in globals():
    with job(snakemake):
        main(
            checks=[
                (Path(inspection), Path(integrity), Path(chemistry))
                for inspection, integrity, chemistry in zip(
                    snakemake.input.inspection,
                    snakemake.input.integrity,
                    snakemake.input.chemistry,
                    strict=True,
                )
            ],
            table=Path(snakemake.output.table),
            text=Path(snakemake.output.text),
        )
