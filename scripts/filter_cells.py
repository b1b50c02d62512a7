"""Drop low-quality cells, count every reason, judge the sample."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.logs import UserError, log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("filter_cells")

# a spread estimated from fewer cells bounds nothing
FEWEST_CELLS = 10
# what the stage `reads` writes of a sample that has reads
CHECKS = ("inspection", "integrity", "chemistry")


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """The `filter_cells` section of the config; the schema holds the ranges."""

    n_mads_counts: float
    n_mads_genes: float
    n_mads_mito: float
    min_counts: float | None
    max_counts: float | None
    min_genes: float | None
    max_genes: float | None
    max_pct_counts_mt: float | None
    min_outlier_pct_mt: float
    remove_doublets: bool
    min_cells: int
    set_aside_when_failing: list[str]


def quality(adata: ad.AnnData) -> pd.DataFrame:
    """Return total counts, detected genes and mitochondrial percent per cell.

    Names as in `scanpy.pp.calculate_qc_metrics`.
    """
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    mito = np.asarray(adata.X[:, adata.var["is_mito"].to_numpy()].sum(axis=1)).ravel()
    return pd.DataFrame(
        {
            "total_counts": total,
            "n_genes_by_counts": np.diff(adata.X.indptr),
            # an empty barcode has no mitochondrial share: call it 0, not NaN
            "pct_counts_mt": (100 * mito / np.maximum(total, 1)).round(4),
        },
        index=adata.obs_names,
    )


def mad_bounds(
    values: np.ndarray, *, n_mads: float
) -> tuple[float, float, float, float]:
    """Return lower and upper bound, median and MAD (unscaled, as in scanpy's book).

    A MAD of 0 (equal cells), or one of few cells, bounds nothing.
    """
    if not len(values):
        return -np.inf, np.inf, np.nan, np.nan
    median = float(np.median(values))
    mad = float(np.median(np.abs(values - median)))
    reach = n_mads * mad if mad > 0 and len(values) >= FEWEST_CELLS else np.inf
    return median - reach, median + reach, median, mad


def _tighter(automatic: float, fixed: float | None, *, lower: bool) -> float:
    if fixed is None:
        return automatic
    return max(automatic, fixed) if lower else min(automatic, fixed)


def thresholds(metrics: pd.DataFrame, settings: FilterSettings) -> pd.DataFrame:
    """Return the bounds in use per metric: the tighter of MADs and fixed values."""
    rows = []
    for name, n_mads, least, most in (
        ("total_counts", settings.n_mads_counts, "min_counts", "max_counts"),
        ("n_genes_by_counts", settings.n_mads_genes, "min_genes", "max_genes"),
    ):
        low, high, median, mad = mad_bounds(np.log1p(metrics[name]), n_mads=n_mads)
        fixed = getattr(settings, least), getattr(settings, most)
        low = _tighter(float(np.expm1(low)), fixed[0], lower=True)
        high = _tighter(float(np.expm1(high)), fixed[1], lower=False)
        source = f"{n_mads:g} MADs of log1p" + (
            " and fixed bounds" if any(bound is not None for bound in fixed) else ""
        )
        rows.append((name, low, high, np.expm1(median), mad, source))
    percent = metrics["pct_counts_mt"].to_numpy()
    _, high, median, mad = mad_bounds(percent, n_mads=settings.n_mads_mito)
    high = max(high, settings.min_outlier_pct_mt)
    high = _tighter(high, settings.max_pct_counts_mt, lower=False)
    source = f"{settings.n_mads_mito:g} MADs, not below {settings.min_outlier_pct_mt:g}"
    source += "" if settings.max_pct_counts_mt is None else " and a fixed bound"
    rows.append(("pct_counts_mt", -np.inf, high, median, mad, source))
    columns = ["metric", "lower", "upper", "median", "mad", "source"]
    return pd.DataFrame(rows, columns=columns)


def failures(
    metrics: pd.DataFrame, bounds: pd.DataFrame, *, doublets: np.ndarray
) -> pd.DataFrame:
    """Return one boolean column per reason, in the order of the ledger."""
    limits = bounds.set_index("metric")
    return pd.DataFrame(
        {
            f"{side}_{name}": (
                metrics[name] < limits.loc[name, "lower"]
                if side == "low"
                else metrics[name] > limits.loc[name, "upper"]
            )
            for side, name in (
                ("low", "total_counts"),
                ("low", "n_genes_by_counts"),
                ("high", "total_counts"),
                ("high", "n_genes_by_counts"),
                ("high", "pct_counts_mt"),
            )
        }
        | {"doublet": doublets},
        index=metrics.index,
    )


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
    if rows[-1][3] != rows[-2][3]:
        raise AssertionError(f"ledger of {sample} does not add up: {rows}")
    table = pd.DataFrame(
        rows, columns=["step", "removed_first", "removed_any", "remaining"]
    )
    table.insert(0, "sample", sample)
    return table


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
        for name in (*CHECKS, "metrics", "calling")
    }
    adata = ad.read_h5ad(sources["called"])
    doublets = pd.read_csv(sources["doublets"], sep="\t", index_col="barcode")
    doublets = doublets.loc[adata.obs_names]
    is_doublet = doublets["predicted_doublet"].to_numpy(dtype=bool)

    metrics = quality(adata)
    bounds = thresholds(metrics, settings)
    failed = failures(metrics, bounds, doublets=is_doublet & settings.remove_doublets)
    verdict = judge(
        sample=sample,
        n_kept=int((~failed.any(axis="columns")).sum()),
        settings=settings,
        checks=[read[name] for name in CHECKS if read[name]],
        metrics=read["metrics"],
    )
    if verdict["verdict"] == "set_aside":
        if strict:
            raise UserError(f"sample {sample}: {verdict['reason']}. {verdict['hint']}")
        logger.error("sample %s is set aside: %s", sample, verdict["reason"])
        failed["sample_set_aside"] = True
    keep = ~failed.any(axis="columns").to_numpy()
    seen = read["calling"]["barcodes_seen"] if read["calling"] else adata.n_obs
    ledger = make_ledger(failed, sample=sample, barcodes_seen=seen)

    cells = adata[keep].copy()
    for name, column in {**metrics, **doublets}.items():
        cells.obs[name] = column[keep]
    cells.layers["counts"] = cells.X.copy()
    cells.write_h5ad(outputs["cells"], compression="gzip")

    names_of = failed.columns.to_numpy()
    reasons = [list(names_of[row]) for row in failed.to_numpy(dtype=bool)]
    table = metrics.join(doublets)
    table["kept"] = keep
    table["reason"] = [names[0] if names else "" for names in reasons]
    table["reasons"] = [",".join(names) for names in reasons]
    table.to_csv(outputs["cell_metrics"], sep="\t")
    bounds.insert(0, "sample", sample)
    bounds.to_csv(outputs["thresholds"], sep="\t", index=False)
    ledger.to_csv(outputs["ledger"], sep="\t", index=False)
    outputs["verdict"].write_text(json.dumps(verdict, indent=2) + "\n")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        sample=snakemake.wildcards.sample,
        sources={name: Path(path) for name, path in snakemake.input.items()},
        outputs={name: Path(path) for name, path in snakemake.output.items()},
        settings=FilterSettings(**snakemake.params.settings),
        strict=snakemake.params.strict,
    )
