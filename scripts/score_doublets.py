"""Score every called cell as a doublet with Scrublet (Wolock 2019), per sample."""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("score_doublets")

# Scrublet simulates doublets of neighbours: it needs some cells and genes to do so
FEWEST_CELLS = 50
# a call of this many times more, or fewer, doublets than expected is not believed
ABSURD = 2.5


@dataclass(frozen=True, kw_only=True)
class DoubletSettings:
    """The `score_doublets` section of the config; the schema holds the ranges."""

    enabled: bool
    percent_per_1000_cells: float
    threshold: float | None

    def expected_rate(self, n_cells: int) -> float:
        """Return the share of doublets expected among `n_cells` recovered cells."""
        return min(0.5, self.percent_per_1000_cells / 100 * n_cells / 1000)


def scrublet_scores(
    adata: ad.AnnData, *, expected_rate: float, seed: int
) -> tuple[np.ndarray, float | None]:
    """Return Scrublet's score per cell, and its threshold if it found one."""
    import scanpy as sc

    counts = ad.AnnData(adata.X.astype(np.float32), obs=adata.obs[[]].copy())
    detected = np.asarray((counts.X > 0).sum(axis=0)).ravel() >= 3
    counts = counts[:, detected].copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.scrublet(
            counts,
            expected_doublet_rate=max(expected_rate, 1e-3),
            n_prin_comps=min(30, counts.n_obs - 1, counts.n_vars - 1),
            random_state=seed,
        )
    threshold = counts.uns["scrublet"].get("threshold")
    scores = counts.obs["doublet_score"].to_numpy(dtype=float)
    return scores, None if threshold is None else float(threshold)


def choose_threshold(
    scores: np.ndarray,
    *,
    automatic: float | None,
    expected_rate: float,
    fixed: float | None,
) -> tuple[float, str]:
    """Return the threshold and where it comes from.

    A fixed one wins; Scrublet's own is taken unless it is missing or calls absurdly
    many or few; then the expected share of cells with the highest scores is called.
    """
    if fixed is not None:
        return fixed, "config"
    said = "found none"
    if automatic is not None:
        rate = (scores > automatic).mean()
        if expected_rate / ABSURD <= rate <= expected_rate * ABSURD:
            return automatic, "scrublet"
        said = f"would call {rate:.1%}"
    fallback = float(np.quantile(scores, 1 - expected_rate))
    return fallback, f"expected rate, because Scrublet {said}"


def score(
    adata: ad.AnnData, settings: DoubletSettings, *, seed: int
) -> tuple[pd.DataFrame, dict]:
    """Return `doublet_score` and `predicted_doublet` per cell, and the decision."""
    rate = settings.expected_rate(adata.n_obs)
    scores = np.full(adata.n_obs, np.nan)
    threshold, source = None, "off in the config"
    if settings.enabled and adata.n_obs < FEWEST_CELLS:
        source = f"not scored: fewer than {FEWEST_CELLS} cells"
    elif settings.enabled:
        try:
            scores, automatic = scrublet_scores(adata, expected_rate=rate, seed=seed)
            threshold, source = choose_threshold(
                scores,
                automatic=automatic,
                expected_rate=rate,
                fixed=settings.threshold,
            )
        except ValueError as error:
            # shallow cells have fewer variable genes than Scrublet has components
            source = f"not scored: {error}"
    predicted = scores > (np.inf if threshold is None else threshold)
    table = pd.DataFrame(
        {"doublet_score": scores, "predicted_doublet": predicted},
        index=adata.obs_names.rename("barcode"),
    )
    decision = {
        "threshold": threshold,
        "threshold_source": source,
        "expected_rate": rate,
        "observed_rate": float(predicted.mean()) if adata.n_obs else None,
        "n_cells": adata.n_obs,
    }
    return table, decision


def main(
    *,
    called: Path,
    doublets: Path,
    decision: Path,
    settings: DoubletSettings,
    seed: int,
) -> None:
    """Read the called cells, write scores and the decision on the threshold."""
    table, evidence = score(ad.read_h5ad(called), settings, seed=seed)
    logger.info("%s", evidence)
    table.to_csv(doublets, sep="\t")
    decision.write_text(json.dumps(evidence, indent=2) + "\n")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        called=Path(snakemake.input.called),
        doublets=Path(snakemake.output.doublets),
        decision=Path(snakemake.output.decision),
        settings=DoubletSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
    )
