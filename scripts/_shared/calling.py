"""Cells among the barcodes of one matrix: the call, and the tables that show it."""

import json
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.cell_callers import Call, CallSettings, calls_of, compare_callers

N_RANKS = 2000


@dataclass(frozen=True, kw_only=True)
class Calling:
    """Which barcodes are cells, and what every caller said."""

    totals: np.ndarray
    # barcodes that were looked at
    seen: np.ndarray
    is_cell: np.ndarray
    # each caller's answer on the barcodes that were looked at
    calls: dict[str, Call]
    chosen: str | None
    evidence: list[str]


def totals_of(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the counts per barcode."""
    return np.asarray(counts.sum(axis=1)).ravel()


def call_barcodes(
    counts: sparse.csr_matrix, settings: CallSettings, *, seed: int
) -> Calling:
    """Call cells among all barcodes of a matrix; without counts there are none."""
    totals = totals_of(counts)
    seen = totals > 0
    is_cell = np.zeros(len(totals), dtype=bool)
    calls, chosen, evidence = {}, None, ["no counts, so no cells"]
    if seen.any():
        rng = np.random.default_rng(seed)
        calls, chosen = calls_of(counts[seen], totals[seen], settings, rng=rng)
        is_cell[seen] = calls[chosen].is_cell
        evidence = calls[chosen].evidence
    return Calling(
        totals=totals,
        seen=seen,
        is_cell=is_cell,
        calls=calls,
        chosen=chosen,
        evidence=evidence,
    )


def rank_curve(totals: np.ndarray, is_cell: np.ndarray) -> pd.DataFrame:
    """Return counts by rank, thinned evenly in log rank, with the share of cells.

    `is_cell_share` of a row is the share of cells from the rank before it to its own.
    """
    order = np.argsort(-totals, kind="stable")
    order = order[totals[order] > 0]
    if not len(order):
        return pd.DataFrame({"rank": [], "total_counts": [], "is_cell_share": []})
    ranks = np.unique(np.geomspace(1, len(order), N_RANKS).round().astype(int))
    cells = np.concatenate([[0], np.cumsum(is_cell[order])])
    previous = np.concatenate([[0], ranks[:-1]])
    share = (cells[ranks] - cells[previous]) / (ranks - previous)
    return pd.DataFrame(
        {
            "rank": ranks,
            "total_counts": totals[order][ranks - 1],
            "is_cell_share": share.round(4),
        }
    )


def write_calling(
    calling: Calling,
    barcodes: Collection[str],
    *,
    settings: CallSettings,
    outputs: dict[str, Path],
    **more,
) -> None:
    """Write called barcodes, the callers beside each other, the curve, the decision.

    `more` is said in the decision besides.
    """
    cells = pd.DataFrame({"barcode": barcodes, "total_counts": calling.totals})
    cells = cells[calling.is_cell]
    cells.to_csv(outputs["called"], sep="\t", index=False)
    curve = rank_curve(calling.totals, calling.is_cell)
    curve.to_csv(outputs["ranks"], sep="\t", index=False)
    table = compare_callers(calling.calls, calling.chosen, calling.totals[calling.seen])
    table.to_csv(outputs["callers"], sep="\t", index=False)
    decision = {
        "settings": asdict(settings),
        "method_used": calling.chosen,
        "barcodes_seen": int(calling.seen.sum()),
        "n_called": int(calling.is_cell.sum()),
        "evidence": calling.evidence,
        **more,
    }
    outputs["calling"].write_text(json.dumps(decision, indent=2) + "\n")
