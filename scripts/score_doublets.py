"""Score every called cell as a doublet, per sample, and say which are called one."""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse, stats

from _shared.jobs import job

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("score_doublets")

# doublets are made of neighbors: it needs some cells and genes to do so
FEWEST_CELLS = 50
# a call of this many times more, or fewer, doublets than expected is not believed
ABSURD = 4
# so many that chance brings them this rarely are not believed either
RARE = 1e-3
# share of the loaded cells that are recovered (10x: 16,500 for 10,000)
RECOVERED = 0.6


@dataclass(frozen=True, kw_only=True)
class DoubletSettings:
    """The `score_doublets` section of the config; the schema holds the ranges."""

    method: str
    percent_per_1000_cells: float
    threshold: float | None
    # from the sample sheet
    n_cells_loaded: int | None = None

    def expected_rate(self, n_cells: int) -> float:
        """Return the share of doublets expected among `n_cells` recovered cells.

        Where it is known how many were loaded, that tells how crowded droplets were.
        """
        if self.n_cells_loaded is not None:
            n_cells = RECOVERED * self.n_cells_loaded
        return min(0.5, self.percent_per_1000_cells / 100 * n_cells / 1000)


def scrublet_scores(
    counts: sparse.csr_matrix, *, expected_rate: float, seed: int
) -> tuple[np.ndarray, float | None]:
    """Return Scrublet's score per cell (Wolock 2019), and its threshold if it has one.

    Raises
    ------
    ValueError
        If fewer genes vary than Scrublet has components.
    """
    import scanpy as sc

    detected = np.bincount(counts.indices, minlength=counts.shape[1]) >= 3
    adata = ad.AnnData(counts[:, np.flatnonzero(detected)].astype(np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.scrublet(
            adata,
            expected_doublet_rate=max(expected_rate, 1e-3),
            n_prin_comps=min(30, adata.n_obs - 1, adata.n_vars - 1),
            random_state=seed,
        )
    threshold = adata.uns["scrublet"].get("threshold")
    scores = adata.obs["doublet_score"].to_numpy(dtype=float)
    return scores, None if threshold is None else float(threshold)


def classifier_scores(
    counts: sparse.csr_matrix, *, seed: int
) -> tuple[np.ndarray, float]:
    """Return the classifier's score per cell, above which one is rather a doublet.

    Raises
    ------
    ValueError
        If too few genes vary.
    """
    from _shared.doublets import doublet_rate, doublet_scores

    scores = doublet_scores(counts, seed=seed)
    return scores, 1 - doublet_rate(scores)


def choose_threshold(
    scores: np.ndarray,
    *,
    automatic: float | None,
    expected_rate: float,
    fixed: float | None,
    method: str = "scrublet",
) -> tuple[float, str]:
    """Return the threshold and where it comes from.

    A fixed one wins; the method's own is taken unless it is missing or calls absurdly
    many or few; then the expected share of cells with the highest scores is called.
    """
    if fixed is not None:
        return fixed, "config"
    said = "found none"
    if automatic is not None:
        n_called, n_expected = (scores > automatic).sum(), expected_rate * len(scores)
        most = stats.poisson.isf(RARE, ABSURD * n_expected)
        # whole cells: of less than one expected, none is no less
        if int(n_expected / ABSURD) <= n_called <= most:
            return automatic, method
        said = f"would call {n_called / len(scores):.1%}"
    fallback = float(np.quantile(scores, 1 - expected_rate))
    return fallback, f"expected rate, because {method} {said}"


def score(
    adata: ad.AnnData, settings: DoubletSettings, *, seed: int
) -> tuple[pd.DataFrame, dict]:
    """Return `doublet_score` and `predicted_doublet` per cell, and the decision."""
    rate = settings.expected_rate(adata.n_obs)
    scores = np.full(adata.n_obs, np.nan)
    automatic, threshold, source = None, None, "off in the config"
    if settings.method != "none" and adata.n_obs < FEWEST_CELLS:
        source = f"not scored: fewer than {FEWEST_CELLS} cells"
    elif settings.method != "none":
        counts = sparse.csr_matrix(adata.X)
        try:
            if settings.method == "scrublet":
                scores, automatic = scrublet_scores(
                    counts, expected_rate=rate, seed=seed
                )
            else:
                scores, automatic = classifier_scores(counts, seed=seed)
            threshold, source = choose_threshold(
                scores,
                automatic=automatic,
                expected_rate=rate,
                fixed=settings.threshold,
                method=settings.method,
            )
        except ValueError as error:
            # shallow cells have fewer variable genes than are needed
            source = f"not scored: {error}"
    predicted = scores > (np.inf if threshold is None else threshold)
    table = pd.DataFrame(
        {"doublet_score": scores, "predicted_doublet": predicted},
        index=adata.obs_names.rename("barcode"),
    )
    decision = {
        "method": settings.method,
        "threshold": threshold,
        "threshold_source": source,
        "automatic_threshold": automatic,
        "automatic_rate": (
            None if automatic is None else float((scores > automatic).mean())
        ),
        "expected_rate": rate,
        "expected_from": (
            "cells recovered" if settings.n_cells_loaded is None else "cells loaded"
        ),
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
    with job(snakemake):
        main(
            called=Path(snakemake.input.called),
            doublets=Path(snakemake.output.doublets),
            decision=Path(snakemake.output.decision),
            settings=DoubletSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
        )
