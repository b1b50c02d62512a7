"""Remove differences between batches from the principal components."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("integrate_batches")

# Harmony makes one soft cluster per 30 cells; with one alone it has nothing to balance
MIN_CELLS = 60


@dataclass(frozen=True, kw_only=True)
class IntegrateSettings:
    """The `integrate_batches` section of the config; the schema holds the ranges."""

    method: str
    batch_column: str


def why_not(cells: pd.DataFrame, n_comps: int, settings: IntegrateSettings) -> str:
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
    if len(cells) < MIN_CELLS or n_comps < 2:
        return f"{len(cells)} cells are too few; {MIN_CELLS} are needed."
    return ""


def harmonized(scores: np.ndarray, batches: pd.Series, *, seed: int) -> np.ndarray:
    """Return the scores (cells x components) as Harmony corrects them."""
    # harmonypy brings its own log handler; imported where it is used
    from harmonypy import run_harmony

    labels = pd.DataFrame({"batch": batches.astype(str).to_numpy()})
    done = run_harmony(
        scores, labels, "batch", random_state=seed, ncores=1, verbose=False
    )
    return np.asarray(done.Z_corr, dtype=np.float32)


def main(
    *,
    pca: Path,
    integrated: Path,
    integration: Path,
    settings: IntegrateSettings,
    seed: int,
) -> None:
    """Write `obsm.X_integrated`, a copy of `X_pca` where nothing is integrated."""
    adata = ad.read_h5ad(pca)
    scores = adata.obsm["X_pca"]
    reason = why_not(adata.obs, scores.shape[1], settings)
    used = not reason
    column = settings.batch_column
    n_batches = adata.obs[column].nunique() if column in adata.obs else 0
    if used:
        scores = harmonized(scores, adata.obs[column], seed=seed)
        reason = f'Column "{column}" has {n_batches} batches.'
    logger.info("integrated: %s. %s", used, reason)

    report = {
        "method": settings.method,
        "batch_column": column,
        "n_batches": n_batches,
        "used": used,
        "reason": reason,
    }
    result = ad.AnnData(obs=adata.obs[[]], obsm={"X_integrated": scores})
    result.uns["integration"] = report
    result.write_h5ad(integrated)
    pd.DataFrame([report]).to_csv(integration, sep="\t", index=False)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        pca=Path(snakemake.input.pca),
        integrated=Path(snakemake.output.integrated),
        integration=Path(snakemake.output.integration),
        settings=IntegrateSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
    )
