"""Compare a sample with another count of the same reads, and say what differs."""

import json
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.cell_callers import CallSettings, calls_of
from _shared.jobs import job
from _shared.logs import UserError
from _shared.matrices import MOST_EMPTY, read_matrix, read_mtx, share_empty

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

COUNTED = {
    "Gene": "reads within exons",
    "GeneFull": "reads anywhere in a gene",
    "GeneFull_ExonOverIntron": "reads anywhere in a gene, exons first",
    "GeneFull_Ex50pAS": "exons first, then introns",
}
# differences below these are not worth a sentence
LEAST_SHARE, LEAST_RATIO, LEAST_JACCARD = 0.005, 0.02, 0.95
# an entry is high with this many UMIs of both sides together
HIGH = 20
# a barcode of Cell Ranger ends in the number of its run, a gene id in its version
RUN_NUMBER = re.compile(r"-\d+$")
VERSION = re.compile(r"\.\d+$")
# which genes are mitochondrial does not matter here
NO_GENE = re.compile("^$")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Counts (barcodes x genes), with the names of both."""

    counts: sparse.csr_matrix
    barcodes: pd.Index
    genes: pd.Index

    def of(self, barcodes: pd.Index, genes: pd.Index) -> sparse.csr_matrix:
        """Return the counts of some barcodes and genes; 0 for barcodes not there."""
        nothing = sparse.csr_matrix((1, len(self.genes)), dtype=self.counts.dtype)
        padded = sparse.vstack([self.counts, nothing], format="csr")
        rows = self.barcodes.get_indexer(barcodes)
        return padded[rows][:, self.genes.get_indexer(genes)]


def read_theirs(path: Path) -> tuple[Table | None, Table | None, dict[str, str]]:
    """Return their cells, all their barcodes, and their metrics, as far as they are.

    Raises
    ------
    UserError
        If nothing that can be read is there.
    """
    named = {"filtered": None, "raw": None}
    for kind in named:
        for name in (f"{kind}_feature_bc_matrix", f"{kind}_feature_bc_matrix.h5"):
            if named[kind] is None and (path / name).exists():
                named[kind] = _table(path / name)
    if named["filtered"] is None and named["raw"] is None:
        table = _table(path)
        named["raw" if share_empty(table.counts) > MOST_EMPTY else "filtered"] = table
    return named["filtered"], named["raw"], read_summary(path / "metrics_summary.csv")


def read_summary(path: Path) -> dict[str, str]:
    """Return Cell Ranger's metrics by title: of `count`, or of genes in `multi`.

    Raises
    ------
    UserError
        If the file is no table of them.
    """
    if not path.is_file():
        return {}
    try:
        table = pd.read_csv(path, dtype=str)
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read ({error}); copy it again, or remove it."
        ) from None
    if "Metric Name" in table:
        table = table[table["Library Type"] == "Gene Expression"]
        return dict(zip(table["Metric Name"], table["Metric Value"], strict=True))
    return table.iloc[0].to_dict() if len(table) else {}


def _table(path: Path) -> Table:
    counts, barcodes, var = read_matrix(path, NO_GENE)
    barcodes = barcodes.astype(str).str.replace(RUN_NUMBER, "", regex=True)
    if not (barcodes.is_unique and var.index.is_unique):
        raise UserError(
            f"{path}: has a barcode or a gene id twice; give the counts of one sample, "
            "its genes named by id."
        )
    return Table(counts=counts, barcodes=barcodes, genes=var.index.astype(str))


def read_ours(solo: Path) -> dict[str, Table]:
    """Return all barcodes of every matrix of genes that was counted."""
    tables = {}
    for feature in COUNTED:
        if (solo / feature / "raw").is_dir():
            counts, barcodes, features = read_mtx(solo / feature / "raw")
            genes = pd.Index(features[0])
            tables[feature] = Table(counts=counts, barcodes=barcodes, genes=genes)
    return tables


def without_versions(ours: Table, theirs: Table) -> tuple[Table, Table]:
    """Return both with gene ids without versions, if only so they share any."""
    if len(ours.genes.intersection(theirs.genes)):
        return ours, theirs
    bare = [
        replace(table, genes=table.genes.str.replace(VERSION, "", regex=True))
        for table in (ours, theirs)
    ]
    if all(table.genes.is_unique for table in bare):
        return bare[0], bare[1]
    return ours, theirs


def correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return Pearson's r of log1p; null for fewer than two, or for equal values."""
    if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    return round(float(np.corrcoef(np.log1p(a), np.log1p(b))[0, 1]), 6)


def ratio(ours: float, theirs: float) -> float | None:
    """Return ours over theirs."""
    return round(float(ours / theirs), 5) if theirs else None


def compare_counts(
    ours: sparse.csr_matrix, theirs: sparse.csr_matrix
) -> dict[str, float | None]:
    """Return how alike two matrices of the same barcodes and genes are.

    The ratio is also given of low and of high entries: UMIs that are collapsed
    otherwise change the high ones most, reads that are mapped otherwise both.
    """
    both = ours + theirs
    high = both >= HIGH
    differing = (ours != theirs).nnz
    high_ours, high_theirs = (int(m.multiply(high).sum()) for m in (ours, theirs))
    total_ours, total_theirs = int(ours.sum()), int(theirs.sum())
    per_cell = [np.asarray(m.sum(axis=1)).ravel() for m in (ours, theirs)]
    per_gene = [np.asarray(m.sum(axis=0)).ravel() for m in (ours, theirs)]
    return {
        "total_ours": total_ours,
        "total_theirs": total_theirs,
        "totals_ratio": ratio(total_ours, total_theirs),
        "low_ratio": ratio(total_ours - high_ours, total_theirs - high_theirs),
        "high_ratio": ratio(high_ours, high_theirs),
        "cell_correlation": correlation(*per_cell),
        "gene_correlation": correlation(*per_gene),
        "entries_identical": round(1 - differing / both.nnz, 5) if both.nnz else None,
    }


def jaccard(a: pd.Index, b: pd.Index) -> float | None:
    """Return the share of what either has that both have."""
    union = len(a.union(b))
    return round(len(a.intersection(b)) / union, 5) if union else None


def compare_cells(
    called: pd.Index, theirs: Table, raw: Table, settings: CallSettings, seed: int
) -> dict:
    """Return how the called cells overlap, and what our callers make of `raw`."""
    totals = np.asarray(raw.counts.sum(axis=1)).ravel()
    seen = totals > 0
    rng = np.random.default_rng(seed)
    calls = {}
    if seen.any():
        calls, _ = calls_of(raw.counts[seen], totals[seen], settings, rng=rng)
    return {
        "n_ours": len(called),
        "n_theirs": len(theirs.barcodes),
        "n_both": len(called.intersection(theirs.barcodes)),
        "jaccard": jaccard(called, theirs.barcodes),
        "callers": {
            name: jaccard(raw.barcodes[seen][call.is_cell], theirs.barcodes)
            for name, call in calls.items()
        },
    }


def number(text: str) -> float | None:
    """Return the number of a metric as Cell Ranger writes it: `1,234` or `95.4%`."""
    try:
        return float(text.replace(",", "").rstrip("%"))
    except (AttributeError, ValueError):
        return None


def compare_metrics(ours: dict[str, dict], theirs: dict[str, str]) -> list[dict]:
    """Return the metrics that both have, side by side."""
    by_title = {title.casefold(): text for title, text in theirs.items()}
    rows = []
    for name, metric in ours.items():
        value = number(by_title.get(metric["title"].casefold()))
        if value is not None:
            row = {"metric": name, "unit": metric["unit"]}
            rows.append(row | {"ours": metric["value"], "theirs": value})
    return rows


def explain(
    found: dict, *, feature: str, settings: CallSettings
) -> list[dict[str, str]]:
    """Return what explains the difference, a sentence for each setting.

    `found` is parity.json without its explanations.
    """
    said = []

    def say(setting: str, sentence: str) -> None:
        said.append({"setting": setting, "sentence": sentence})

    for row in found["metrics"]:
        if row["metric"] == "number_of_reads" and row["ours"] != row["theirs"]:
            say(
                "reads",
                f"They counted {row['theirs']:.0f} reads, we {row['ours']:.0f}: not "
                "the same files, so compare nothing else before this is mended.",
            )
    barcodes, genes = found["barcodes"], found["genes"]
    if barcodes["share_not_ours"] > LEAST_SHARE:
        say(
            "barcodes",
            f"{barcodes['share_not_ours']:.1%} of their cells are not among our "
            "barcodes: another sample, another whitelist, or barcodes of another form.",
        )
    for whose, other in (("theirs", "we"), ("ours", "they")):
        share = genes[f"share_only_{whose}"]
        if share > LEAST_SHARE:
            say(
                "genes",
                f"{share:.1%} of the UMIs that are {whose} lie in "
                f"{genes[f'n_only_{whose}']} genes that {other} do not count: another "
                "annotation, or other biotypes (check_reference).",
            )
    table = {row["feature"]: row for row in found["features"]}
    equal = {name: row["entries_identical"] or 0 for name, row in table.items()}
    best = max(table, key=equal.get)
    if equal[best] - equal[feature] > LEAST_SHARE:
        say(
            "introns",
            f"Their counts are nearest to {best} ({COUNTED[best]}): {equal[best]:.1%} "
            f"of the entries are equal, with {feature} {equal[feature]:.1%}; set "
            f"load_cells: feature: {best} to count as they did.",
        )
    else:
        best = feature
    if sentence := more_umis(table[best], sorted(set(COUNTED) - set(table))):
        say("UMIs and mapping", sentence)
    cells = found["cells"]
    if cells and cells["callers"] and (cells["jaccard"] or 0) < LEAST_JACCARD:
        nearest = max(cells["callers"], key=lambda name: cells["callers"][name] or 0)
        say(
            "cell caller",
            f"{cells['n_both']} cells are in both (Jaccard {cells['jaccard']}). On "
            f"{cells['counts_of']} counts {nearest} is nearest to them (Jaccard "
            f"{cells['callers'][nearest]}); ours is {settings.method} with "
            f"{settings.expected_cells} expected cells (call_cells).",
        )
    return said


def more_umis(nearest: dict, not_counted: list[str]) -> str:
    """Return what UMIs too many or too few in the nearest matrix come from."""
    left = nearest["totals_ratio"]
    if left is None or abs(left - 1) <= LEAST_RATIO:
        return ""
    low, high = nearest["low_ratio"] or 1, nearest["high_ratio"] or 1
    cause = "in low and high entries alike, so reads are mapped, clipped or assigned"
    cause += " to genes otherwise (STAR index, strand, count_reads: clipAdapterType,"
    cause += " outFilterScoreMin), or are not the same reads"
    if abs(high - 1) > 2 * abs(low - 1):
        cause = "mostly in entries with many UMIs, so UMIs are collapsed otherwise"
        cause += " (count_reads: soloUMIdedup, soloUMIfiltering)"
    sentence = f"With {nearest['feature']} we count {left - 1:+.1%} UMIs, {cause}."
    if not_counted:
        sentence += f" Not compared, as not counted: {', '.join(not_counted)}."
    return sentence


def as_text(sample: str, found: dict) -> str:
    """Return the comparison in words."""
    lines = [f"{sample} against {found['matrix']}", ""]
    cells, barcodes, genes = found["cells"], found["barcodes"], found["genes"]
    if cells:
        lines.append(
            f"cells: {cells['n_ours']} ours, {cells['n_theirs']} theirs, "
            f"{cells['n_both']} both; Jaccard {cells['jaccard']}"
        )
    lines.append(
        f"compared: {barcodes['n_compared']} barcodes, {genes['n_compared']} genes"
    )
    for row in found["features"]:
        lines.append(
            f"{row['feature']}: UMIs {row['total_ours']} ours, {row['total_theirs']} "
            f"theirs, ratio {row['totals_ratio']}; entries equal "
            f"{row['entries_identical']}; r of cells {row['cell_correlation']}, of "
            f"genes {row['gene_correlation']}"
        )
    lines += [
        f"{row['metric']}: {row['ours']} ours, {row['theirs']} theirs ({row['unit']})"
        for row in found["metrics"]
    ]
    lines += ["", "What explains the difference:"]
    said = [f"- {each['setting']}: {each['sentence']}" for each in found["explained"]]
    return "\n".join([*lines, *(said or ["- nothing worth a sentence"])]) + "\n"


def compare_genes(ours: Table, theirs: Table, barcodes: pd.Index) -> dict:
    """Return genes that one side has alone, and their share of its UMIs."""

    def alone(table: Table, genes: pd.Index) -> float | None:
        of_cells = table.of(barcodes, table.genes)
        inside = of_cells[:, table.genes.isin(genes)].sum()
        return ratio(inside, of_cells.sum()) or 0.0

    only_ours = ours.genes.difference(theirs.genes)
    only_theirs = theirs.genes.difference(ours.genes)
    return {
        "n_compared": len(ours.genes.intersection(theirs.genes)),
        "n_only_ours": len(only_ours),
        "n_only_theirs": len(only_theirs),
        "share_only_ours": alone(ours, only_ours),
        "share_only_theirs": alone(theirs, only_theirs),
    }


def compare(
    ours: dict[str, Table],
    called: pd.Index,
    filtered: Table | None,
    raw: Table | None,
    *,
    source: Path,
    feature: str,
    settings: CallSettings,
    seed: int,
) -> dict:
    """Return cells, genes and counts of both, compared in their cells.

    Raises
    ------
    UserError
        If the two share no barcode or no gene.
    """
    mine, theirs = without_versions(ours[feature], filtered or raw)
    if not len(mine.barcodes):
        raise UserError(
            "the sample has no counts, as when its reads are set aside; `snakemake "
            "inspect` says why."
        )
    genes = mine.genes.intersection(theirs.genes)
    # where they called no cells: in ours
    wanted = called if filtered is None else filtered.barcodes
    barcodes = wanted.intersection(mine.barcodes).intersection(theirs.barcodes)
    if not len(genes) or not len(barcodes):
        what = "barcode" if len(genes) else "gene id"
        raise UserError(
            f"{source}: shares no {what} with the sample; give other counts of the "
            "same sample, with genes named by id."
        )
    their_counts = theirs.of(barcodes, genes)
    cells = None
    if filtered is not None:
        cells = compare_cells(called, filtered, raw or mine, settings, seed)
        cells["counts_of"] = "their" if raw else "our"
    return {
        "cells": cells,
        "barcodes": {
            "n_compared": len(barcodes),
            "share_not_ours": round(1 - wanted.isin(mine.barcodes).mean(), 5),
        },
        "genes": compare_genes(mine, theirs, barcodes),
        "features": [
            {"feature": name}
            | compare_counts(
                replace(table, genes=mine.genes).of(barcodes, genes), their_counts
            )
            for name, table in ours.items()
        ],
    }


def main(
    *,
    sample: str,
    solo: Path,
    called: Path,
    metrics: Path,
    theirs: Path,
    feature: str,
    settings: CallSettings,
    seed: int,
    outputs: dict[str, Path],
) -> None:
    """Compare, explain, and write it as table, as JSON and in words."""
    filtered, raw, their_metrics = read_theirs(theirs)
    # text as it stands: a cell may be called "NA"
    cells = pd.read_csv(called, sep="\t", dtype=str, keep_default_na=False)
    our_cells = pd.Index(cells["barcode"])
    found = {
        "sample": sample,
        "matrix": str(theirs),
        "feature": feature,
        "settings": asdict(settings),
    }
    found |= compare(
        read_ours(solo),
        our_cells,
        filtered,
        raw,
        source=theirs,
        feature=feature,
        settings=settings,
        seed=seed,
    )
    our_metrics = json.loads(metrics.read_text())
    found["metrics"] = compare_metrics(our_metrics, their_metrics)
    found["explained"] = explain(found, feature=feature, settings=settings)
    table = pd.DataFrame(found["features"])
    table.to_csv(outputs["table"], sep="\t", index=False)
    outputs["json"].write_text(json.dumps(found, indent=2) + "\n")
    outputs["text"].write_text(as_text(sample, found))


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            solo=Path(snakemake.input.solo),
            called=Path(snakemake.input.called),
            metrics=Path(snakemake.input.metrics),
            theirs=Path(snakemake.input.theirs),
            feature=snakemake.params.feature,
            settings=CallSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            outputs={name: Path(path) for name, path in snakemake.output.items()},
        )
