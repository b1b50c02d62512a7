"""Remove differences between batches from the components, only when it helps."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.jobs import job
from _shared.sample_columns import with_sheet

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

    from _shared.integration_scores import Reference

logger = logging.getLogger("integrate_batches")

# Harmony makes one soft cluster per 30 cells; with one alone it has nothing to balance
MIN_CELLS = 60
# methods are compared on about so many cells; the one that is chosen runs on all
N_COMPARED = 10_000
# shares of mixing and biology in the total (Luecken et al. 2022)
W_MIXING, W_BIOLOGY = 0.4, 0.6
# what a method must gain over no integration, in mixing and in total
MIN_GAIN, MIN_LEAD = 0.05, 0.02
# below, a method joins cells of different kinds: correctly joined types reach 0.8 and
# more, types that only one batch has stay below 0.7 (simulations, tests)
MIN_ALIKE = 0.75
# mutual nearest neighbors join batch after batch: the time grows with their square
MAX_BATCHES_MNN = 12


@dataclass(frozen=True, kw_only=True)
class IntegrateSettings:
    """The `integrate_batches` section of the config; the schema holds the ranges."""

    method: str
    batch_column: str
    label_column: str


def why_not(
    cells: pd.DataFrame, scores: np.ndarray, settings: IntegrateSettings
) -> str:
    """Return why nothing is to be integrated, or ""."""
    column = settings.batch_column
    if settings.method == "none":
        return "integrate_batches: method is none."
    if column not in cells:
        return f'The sample sheet has no column "{column}".'
    batches = cells[column].astype(object)
    blank = batches.isna() | (batches.astype(str).str.strip() == "")
    if blank.any():
        return (
            f'{blank.sum()} cells are of samples without a value in column "{column}". '
            "Fill it in for every sample."
        )
    if batches.nunique() < 2:
        return f'Column "{column}" has {batches.nunique()} value(s): one batch alone.'
    if len(cells) < MIN_CELLS:
        return f"{len(cells)} cells are too few; {MIN_CELLS} are needed."
    if scores.shape[1] < 2 or not np.ptp(scores, axis=0).any():
        return "The cells do not differ."
    return ""


def unchanged(
    scores: np.ndarray, batches: np.ndarray, *, seed: int, threads: int
) -> np.ndarray:
    """Return the scores as they are."""
    return scores


def harmonized(
    scores: np.ndarray,
    batches: np.ndarray,
    *,
    seed: int,
    threads: int,
    theta: float = 2,
) -> np.ndarray:
    """Return the scores (cells x components) as Harmony corrects them.

    `theta` is the weight of mixing against that of compact clusters.
    """
    # harmonypy brings its own log handler; imported where it is used
    from harmonypy import run_harmony

    labels = pd.DataFrame({"batch": batches})
    done = run_harmony(
        scores,
        labels,
        "batch",
        theta=theta,
        random_state=seed,
        ncores=threads,
        verbose=False,
    )
    return np.asarray(done.Z_corr, dtype=np.float32)


def matched(
    scores: np.ndarray, batches: np.ndarray, *, seed: int, threads: int
) -> np.ndarray:
    """Return the scores as mutual nearest neighbors between batches correct them."""
    from knncolle import HnswParameters
    from scranpy import correct_mnn

    # HNSW: a third of the time of the default (Annoy), and its seed is fixed
    done = correct_mnn(
        scores.T.astype(np.float64),
        batches,
        nn_parameters=HnswParameters(),
        num_threads=threads,
    )
    return np.ascontiguousarray(done["corrected"].T, dtype=np.float32)


# of two that are as good, the first one is used
METHODS: dict[str, Callable[..., np.ndarray]] = {
    "none": unchanged,
    "harmony": harmonized,
    # for shifts larger than the distances between types
    "harmony_strong": partial(harmonized, theta=8),
    "mnn": matched,
}


def run(
    method: str, scores: np.ndarray, batches: np.ndarray, *, seed: int, threads: int
) -> np.ndarray:
    """Return the scores as a method corrects them, and log how long it took."""
    start = time.perf_counter()
    result = METHODS[method](scores, batches, seed=seed, threads=threads)
    took = time.perf_counter() - start
    logger.info("%s: %d cells, %.1f s", method, len(scores), took)
    return result


def scored(
    method: str, points: np.ndarray, before: "Reference", *, seed: int
) -> dict[str, object]:
    """Return the row of a method: its scores, without them where it broke down."""
    from threadpoolctl import threadpool_limits

    from _shared.integration_scores import scores_of

    if not np.isfinite(points).all():
        return {"method": method}
    # the order of additions, and so the last digit, would follow the thread count
    with threadpool_limits(limits=1):
        scores = scores_of(points, before, seed=seed)
    total = W_MIXING * scores["batch_mixing"] + W_BIOLOGY * scores["biology"]
    return {"method": method} | scores | {"total": total}


def verdicts(rows: dict[str, dict[str, object]]) -> tuple[str, dict[str, str]]:
    """Return the method to use, and a sentence for each method on why or why not.

    The highest total wins among the methods that gain in mixing, join like with like,
    and lead in total over no integration; within `MIN_LEAD` of it the one named first.
    """
    none = rows["none"]
    reasons, fit = {}, {}
    for method, row in rows.items():
        if method == "none":
            continue
        if "total" not in row:
            reasons[method] = row.get("reason", "Gave values that are not finite.")
            continue
        gain, lead = (row[key] - none[key] for key in ("batch_mixing", "total"))
        if gain < MIN_GAIN:
            reasons[method] = f"Mixes batches no better than without ({gain:+.2f})."
        elif row["partners_alike"] < MIN_ALIKE:
            reasons[method] = (
                "Joins cells that were not alike: batches seem to hold types of "
                f"their own (partners_alike {row['partners_alike']:.2f})."
            )
        elif lead < MIN_LEAD:
            reasons[method] = (
                f"Mixing gains {gain:.2f}, and biology loses "
                f"{none['biology'] - row['biology']:.2f}: not worth it."
            )
        else:
            fit[method] = row["total"]
            reasons[method] = f"Gains {gain:.2f} in mixing, {lead:.2f} in total."
    top = max(fit.values(), default=0)
    best = next((m for m, total in fit.items() if total >= top - MIN_LEAD), "none")
    for method in fit:
        if method != best:
            reasons[method] += f" Not clearly better than {best}."
    reasons["none"] = (
        "No method gains enough over it." if best == "none" else f"{best} does better."
    )
    return best, reasons


def codes_of(cells: pd.DataFrame, column: str) -> np.ndarray | None:
    """Return a column's values as codes, in the order of their names, or None."""
    if not column or column not in cells:
        return None
    return pd.factorize(cells[column].astype(str), sort=True)[0]


def integrated_scores(
    scores: np.ndarray,
    cells: pd.DataFrame,
    settings: IntegrateSettings,
    *,
    seed: int,
    threads: int,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return the scores to go on with, and the table of what was tried.

    The methods are compared on a sample of the cells. The best one then runs on all
    cells, is scored again at the cells of the sample, and must still be worth it.
    """
    reason = why_not(cells, scores, settings)
    if reason:
        row = {"method": "none", "used": True, "reason": reason}
        return scores, pd.DataFrame([row])
    # scikit-learn and igraph only where there are batches
    from threadpoolctl import threadpool_limits

    from _shared.integration_scores import reference, sampled

    batches = codes_of(cells, settings.batch_column)
    labels = codes_of(cells, settings.label_column)
    picked = sampled(batches, n_most=N_COMPARED, seed=seed)
    with threadpool_limits(limits=1):
        before = reference(
            scores[picked],
            batches[picked],
            None if labels is None else labels[picked],
            seed=seed,
        )
    forced = settings.method != "auto"
    methods = ["none", settings.method] if forced else list(METHODS)
    skipped = {}
    n_batches = batches.max() + 1
    if not forced and n_batches > MAX_BATCHES_MNN:
        methods.remove("mnn")
        reason = f"Not tried: {n_batches} batches, more than {MAX_BATCHES_MNN}."
        skipped["mnn"] = {"method": "mnn", "reason": reason}
    how = {"seed": seed, "threads": threads}
    tried = {m: run(m, before.points, before.batches, **how) for m in methods}
    rows = {m: scored(m, points, before, seed=seed) for m, points in tried.items()}
    rows |= skipped
    best, reasons = verdicts(rows)
    best = settings.method if forced else best
    result = tried[best]
    if len(picked) < len(scores):
        result = run(best, scores, batches, **how)
        rows[best] = scored(best, result[picked], before, seed=seed)
        still, reasons_now = verdicts({m: rows[m] for m in ("none", best)})
        reasons |= reasons_now
        best = settings.method if forced else still
    if forced:
        reasons[best] = f"integrate_batches: method is {best}. {reasons[best]}"
    if "total" not in rows[best]:
        best = "none"
    if best == "none":
        result = scores
    table = pd.DataFrame(list(rows.values()))
    table.insert(1, "used", table["method"] == best)
    return result, table.assign(reason=table["method"].map(reasons))


def main(
    *,
    pca: Path,
    integrated: Path,
    integration: Path,
    settings: IntegrateSettings,
    sheet: dict[str, dict[str, str]],
    seed: int,
    threads: int,
) -> None:
    """Write `obsm.X_integrated`, `X_pca` itself where nothing is integrated.

    `sheet` holds by sample the columns of the sample sheet that the settings name.
    """
    adata = ad.read_h5ad(pca)
    cells = with_sheet(adata.obs, sheet)
    scores, table = integrated_scores(
        adata.obsm["X_pca"], cells, settings, seed=seed, threads=threads
    )
    column = settings.batch_column
    used = table[table["used"]].iloc[0]
    report = {
        "method": used["method"],
        "batch_column": column,
        "n_batches": cells[column].nunique() if column in cells else 0,
        "used": used["method"] != "none",
        "reason": used["reason"],
    }
    logger.info("%s", report)
    result = ad.AnnData(obs=adata.obs[[]], obsm={"X_integrated": scores})
    result.uns["integration"] = report
    result.write_h5ad(integrated)
    table.to_csv(integration, sep="\t", index=False, float_format="%.4f")


if "snakemake" in globals():
    with job(snakemake):
        main(
            pca=Path(snakemake.input.pca),
            integrated=Path(snakemake.output.integrated),
            integration=Path(snakemake.output.integration),
            settings=IntegrateSettings(**snakemake.params.settings),
            sheet=snakemake.params.sheet,
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        )
