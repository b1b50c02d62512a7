"""Drop low-quality cells, count every reason, judge the sample."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.jobs import job
from _shared.logs import UserError
from _shared.quality import FilterSettings, judge_nuclei, quality
from _shared.streams import write_h5ad
from _shared.thresholds import failures, thresholds

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("filter_cells")

# share of the called barcodes that may hold no cell before it is said
MOST_WITHOUT_CELL = 0.05
# what the stage `reads` writes of a sample that has reads
CHECKS = ("inspection", "integrity", "chemistry")


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What is measured of cells, and which of them fail which rule.

    `failed` has a boolean column per reason, in the order of the ledger.
    """

    metrics: pd.DataFrame
    bounds: pd.DataFrame
    failed: pd.DataFrame
    nuclei: dict
    warnings: list[str]


def make_ledger(
    failed: pd.DataFrame, *, sample: str, barcodes_seen: int
) -> pd.DataFrame:
    """Return the way from barcodes to kept cells; every step says what it took.

    `removed_first` counts a cell at the first rule it fails, `removed_any` at each.
    """
    n_called = len(failed)
    rows = [
        ("barcodes_seen", 0, 0, barcodes_seen),
        ("not_called", barcodes_seen - n_called, barcodes_seen - n_called, n_called),
    ]
    before = np.zeros(n_called, dtype=bool)
    for reason in failed.columns:
        fails = failed[reason].to_numpy()
        first = int((fails & ~before).sum())
        rows.append((reason, first, int(fails.sum()), rows[-1][3] - first))
        before |= fails
    rows.append(("kept", 0, 0, int((~before).sum())))
    if rows[-1][3] != rows[-2][3] or barcodes_seen < n_called:
        raise AssertionError(f"ledger of {sample} does not add up: {rows}")
    table = pd.DataFrame(
        rows, columns=["step", "removed_first", "removed_any", "remaining"]
    )
    table.insert(0, "sample", sample)
    return table


def share_warnings(failed: pd.DataFrame, *, most: float) -> list[str]:
    """Return what is to be said of cells that go for other reasons than a metric."""
    if failed.empty:
        return []
    n = len(failed)
    warnings = [
        f"{name} removes {taken:,} of {n:,} cells ({taken / n:.0%}), more than "
        f"max_share_removed ({most:.0%}); {remedy}."
        for name, remedy in (
            ("doublet", "look at doublets.json, and at score_doublets in the config"),
            (
                "ambient",
                "all that these cells had is told to be soup; see ambient.json",
            ),
        )
        if (taken := int(failed[name].sum())) > most * n
    ]
    n_gone = int(failed.any(axis="columns").sum())
    if n_gone > most * n and failed.mean().max() <= most:
        warnings.append(
            f"all rules together remove {n_gone:,} of {n:,} cells ({n_gone / n:.0%}), "
            f"more than max_share_removed ({most:.0%}); see ledger.tsv."
        )
    return warnings


def soup_warnings(found: dict | None) -> list[str]:
    """Return what is to be said of called barcodes that hold ambient RNA alone."""
    if found is None:
        return []
    n, n_cells = found["n_without_cell"], found["n_cells"]
    if n <= MOST_WITHOUT_CELL * n_cells:
        return []
    return [
        f"{n:,} of {n_cells:,} called barcodes ({n / n_cells:.0%}) look like droplets "
        "of ambient RNA without a cell; look at barcode_ranks.tsv and at their "
        f"cluster: min_counts {found['counts_without_cell']:,} in the sample sheet "
        "removes nine tenths of them."
    ]


def judge(
    *,
    sample: str,
    n_kept: int,
    settings: FilterSettings,
    checks: list[dict],
    metrics: dict | None,
) -> dict:
    """Return the verdict: kept, or set aside by the first stage that must.

    `checks` are what the rules of the stage `reads` found, in their order.
    """
    verdict = {"sample": sample, "verdict": "set_aside"}
    for check in checks:
        if not check["ok"]:
            said = {key: check[key] for key in ("stage", "reason", "hint")}
            return verdict | said
    for name in settings.set_aside_when_failing:
        metric = (metrics or {}).get(name, {})
        if metric.get("status") == "fail":
            value = "not measurable"
            if metric["value"] is not None:
                value = f"{metric['value']:,.2f}".removesuffix(".00")
            reason = (
                f"{metric['title']} is {value} {metric['unit']} ({metric['limit']})"
            )
            return verdict | {
                "stage": "count",
                "reason": reason,
                "hint": f"{metric['meaning']} To keep it all the same, take {name} out "
                "of filter_cells: set_aside_when_failing.",
            }
    if n_kept < max(settings.min_cells, 1):
        left = "1 cell is" if n_kept == 1 else f"{n_kept} cells are"
        reason = f"{left} left, {max(settings.min_cells, 1)} are needed"
        hint = "See ledger.tsv for the rule that took them; loosen it in filter_cells."
        return verdict | {"stage": "cells", "reason": reason, "hint": hint}
    return verdict | {"verdict": "kept", "stage": "cells", "reason": "", "hint": ""}


def read_corrected(
    sources: dict[str, Path], found: dict | None, adata: ad.AnnData
) -> tuple[ad.AnnData | None, bool]:
    """Return the counts without ambient RNA, if it was estimated; whether they go on.

    `found` is what `correct_ambient` tells of them.

    Raises
    ------
    ValueError
        If they are of other cells or genes than the counts.
    """
    if found is None or not found["estimated"]:
        return None, False
    corrected = ad.read_h5ad(sources["ambient"])
    for mine, theirs in (
        (adata.obs_names, corrected.obs_names),
        (adata.var_names, corrected.var_names),
    ):
        if not mine.equals(theirs):
            raise ValueError(f"{sources['ambient']} has other cells or genes")
    return corrected, found["used"]


def write_cells(
    cells: ad.AnnData, *, corrected: sparse.csr_matrix | None, use: bool, path: Path
) -> None:
    """Write counts in X and `layers`; what is there twice is written once and linked.

    X is what goes on: the corrected counts if they are used, else the raw ones, which
    are in `layers["counts"]` either way.
    """
    twin = "counts"
    if corrected is not None:
        twin = "corrected" if use else "counts"
        matrices = {"counts": cells.X, "corrected": corrected}
        cells.X = matrices.pop(twin)
        cells.layers.update(matrices)
    write_h5ad(cells, path)
    with h5py.File(path, "r+") as file:
        file["layers"][twin] = file["X"]


def judge_cells(
    adata: ad.AnnData,
    *,
    doublets: pd.DataFrame,
    corrected: ad.AnnData | None,
    settings: FilterSettings,
) -> Ruling:
    """Return what the rules say of the cells of a sample.

    The metrics are those of the raw counts, so that correcting them (`corrected`: the
    counts that are used) changes no cell's fate but that of one left without any.
    """
    metrics = quality(adata)
    nuclei, warnings = judge_nuclei(metrics, adata.obs.get("pct_intronic"), settings)
    bounds, said = thresholds(
        metrics, settings.for_nuclei() if nuclei["is_nuclei"] else settings
    )
    is_soup = np.zeros(adata.n_obs, dtype=bool)
    if corrected is not None:
        is_soup = np.asarray(corrected.X.sum(axis=1)).ravel() == 0
    failed = failures(
        metrics,
        bounds,
        ambient=is_soup,
        doublet=doublets["predicted_doublet"].to_numpy(dtype=bool)
        & settings.remove_doublets,
    )
    warnings += said + share_warnings(failed, most=settings.max_share_removed)
    return Ruling(
        metrics=metrics, bounds=bounds, failed=failed, nuclei=nuclei, warnings=warnings
    )


def add_reasons(table: pd.DataFrame, failed: pd.DataFrame) -> None:
    """Add whether a cell is kept, its first reason, and all of them, in place."""
    names_of = failed.columns.to_numpy()
    reasons = [list(names_of[row]) for row in failed.to_numpy(dtype=bool)]
    table["kept"] = [not names for names in reasons]
    table["reason"] = [names[0] if names else "" for names in reasons]
    table["reasons"] = [",".join(names) for names in reasons]


def main(
    *,
    sample: str,
    sources: dict[str, Path],
    outputs: dict[str, Path],
    settings: FilterSettings,
    strict: bool,
) -> None:
    """Write the kept cells, why others went, and the verdict.

    A sample that is set aside writes an object with 0 cells.
    """
    read = {
        name: json.loads(sources[name].read_text()) if name in sources else None
        for name in (*CHECKS, "metrics", "calling", "contamination")
    }
    adata = ad.read_h5ad(sources["called"])
    adata.X.eliminate_zeros()
    doublets = pd.read_csv(sources["doublets"], sep="\t", index_col="barcode")
    doublets = doublets.loc[adata.obs_names]
    ambient = read["contamination"]
    corrected, is_used = read_corrected(sources, ambient, adata)

    ruling = judge_cells(
        adata,
        doublets=doublets,
        corrected=corrected if is_used else None,
        settings=settings,
    )
    failed = ruling.failed
    warnings = ruling.warnings + soup_warnings(ambient)
    verdict = judge(
        sample=sample,
        n_kept=int((~failed.any(axis="columns")).sum()),
        settings=settings,
        checks=[read[name] for name in CHECKS if read[name]],
        metrics=read["metrics"],
    )
    verdict |= {"warnings": warnings, "nuclei": ruling.nuclei}
    for warning in warnings:
        logger.warning("sample %s: %s", sample, warning)
    if verdict["verdict"] == "set_aside":
        if strict:
            raise UserError(f"sample {sample}: {verdict['reason']}. {verdict['hint']}")
        logger.error("sample %s is set aside: %s", sample, verdict["reason"])
        failed["sample_set_aside"] = True
    keep = ~failed.any(axis="columns").to_numpy()
    seen = read["calling"]["barcodes_seen"] if read["calling"] else adata.n_obs
    ledger = make_ledger(failed, sample=sample, barcodes_seen=seen)

    table = ruling.metrics.join(doublets)
    for source in (adata, corrected):
        for name in ("pct_intronic", "ambient_percent"):
            if source is not None and name in source.obs:
                table[name] = source.obs[name]
    # a copy of a subset of an AnnData takes its counts twice
    cells = ad.AnnData(adata.X[keep], obs=adata.obs[keep].copy(), var=adata.var)
    for name, column in table.items():
        cells.obs[name] = column[keep]
    write_cells(
        cells,
        corrected=None if corrected is None else corrected.X[keep],
        use=is_used,
        path=outputs["cells"],
    )
    add_reasons(table, failed)
    table.to_csv(outputs["cell_metrics"], sep="\t")
    ruling.bounds.insert(0, "sample", sample)
    ruling.bounds.to_csv(outputs["thresholds"], sep="\t", index=False)
    ledger.to_csv(outputs["ledger"], sep="\t", index=False)
    outputs["verdict"].write_text(json.dumps(verdict, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            sample=snakemake.wildcards.sample,
            sources={name: Path(path) for name, path in snakemake.input.items()},
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            settings=FilterSettings(**snakemake.params.settings),
            strict=snakemake.params.strict,
        )
