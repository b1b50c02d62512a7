"""Estimate the ambient RNA of a sample, and its cells' counts without it."""

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.ambient import (
    Share,
    corrected_counts,
    empty_droplets,
    estimate_share,
    largest_empty,
    quick_clusters,
)
from _shared.cell_callers import FEWEST_AMBIENT_BARCODES, FEWEST_AMBIENT_COUNTS
from _shared.counts import column_sums, row_sums
from _shared.jobs import job
from _shared.logs import UserError
from _shared.matrices import from_cellranger_h5, read_matrix, read_mtx
from _shared.streams import write_h5ad

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("correct_ambient")

N_TOP_GENES = 20
NO_GENE = re.compile(r"(?!)")
# ways of calling that leave no empty droplets: who called them, or what they are
WITHOUT_EMPTY = {
    "given": "the matrix holds called cells alone, so no empty droplets",
    "all": "every barcode is a cell, so there are no empty droplets",
}


@dataclass(frozen=True, kw_only=True)
class AmbientSettings:
    """The `correct_ambient` section of the config; the schema holds the ranges."""

    use: bool
    method: str


@dataclass(frozen=True, kw_only=True)
class Empty:
    """What a sample's empty droplets hold, or why there are none."""

    n: int
    # counts per gene
    counts: np.ndarray
    # counts of about the largest of them
    largest: float = 0
    reason: str = ""


def droplets_of(
    sources: dict[str, str], *, feature: str
) -> tuple[sparse.csr_matrix, pd.Index]:
    """Return counts and barcodes of all droplets, counted here or given."""
    if "counts" in sources:
        counts, barcodes, _ = read_matrix(Path(sources["counts"]), NO_GENE)
    else:
        counts, barcodes, _ = read_mtx(Path(sources["solo"], feature, "raw"))
    return counts, barcodes


def empty_of(counts: sparse.csr_matrix, is_cell: np.ndarray) -> Empty:
    """Return the empty droplets of all droplets, or why they are too few."""
    totals = row_sums(counts)
    is_empty = empty_droplets(totals, is_cell)
    largest = largest_empty(totals, is_cell)
    n, sums = int(is_empty.sum()), column_sums(counts[is_empty])
    reason = ""
    if n < FEWEST_AMBIENT_BARCODES:
        reason = f"only {n} empty droplets, {FEWEST_AMBIENT_BARCODES} are needed"
    elif sums.sum() < FEWEST_AMBIENT_COUNTS:
        reason = (
            f"the {n} empty droplets have only {sums.sum():.0f} counts, "
            f"{FEWEST_AMBIENT_COUNTS} are needed"
        )
    return Empty(n=n, counts=sums, largest=largest, reason=reason)


def by_droplets(
    cells: sparse.csr_matrix, empty: Empty, *, is_mito: np.ndarray, seed: int
) -> tuple[Share, sparse.csr_matrix, np.ndarray]:
    """Return the share, corrected counts, and the share in each cell (NaN: unknown)."""
    unknown = np.full(cells.shape[0], np.nan)
    if empty.reason:
        return Share(estimated=False, reason=empty.reason), cells, unknown
    clusters = quick_clusters(cells[:, ~is_mito], seed=seed)
    share = estimate_share(
        cells,
        clusters,
        empty.counts,
        is_mito=is_mito,
        largest_empty=empty.largest,
        seed=seed,
    )
    if not share.estimated:
        return share, cells, unknown
    counts, each = corrected_counts(
        cells, clusters, empty.counts, share=share.value, is_mito=is_mito, seed=seed
    )
    return share, counts, each


def by_cellbender(
    cells: sparse.csr_matrix, barcodes: pd.Index, genes: pd.Index, path: Path
) -> tuple[Share, sparse.csr_matrix, np.ndarray]:
    """Return what CellBender left of the cells' counts (`--output`, version 0.3).

    Raises
    ------
    UserError
        If cells or genes are not in its file.
    """
    counts, named, var = from_cellranger_h5(path, NO_GENE)
    row, column = named.get_indexer(barcodes), var.index.get_indexer(genes)
    if (row < 0).any() or (column < 0).any():
        raise UserError(
            f"{path}: lacks {(row < 0).sum()} cells and {(column < 0).sum()} genes of "
            "the sample; remove the file and run again."
        )
    # it draws from a posterior: no gene may gain
    kept = counts[row][:, column].minimum(cells).tocsr()
    kept.eliminate_zeros()
    before = row_sums(cells)
    each = 1 - row_sums(kept) / np.maximum(before, 1)
    value = 1 - kept.sum() / max(before.sum(), 1)
    reason = "CellBender's posterior, which has no interval"
    share = Share(estimated=True, reason=reason, value=float(value))
    return share, kept, each


def top_genes(empty: np.ndarray, var: pd.DataFrame) -> list[dict]:
    """Return the genes with most of the ambient RNA, and their percentage of it."""
    order = np.argsort(-empty, kind="stable")[:N_TOP_GENES]
    order = order[empty[order] > 0]
    return [
        {
            "gene_id": str(var.index[gene]),
            "gene_name": str(var["gene_name"].iloc[gene]),
            "percent_of_ambient": round(100 * empty[gene] / empty.sum(), 3),
        }
        for gene in order
    ]


def percent(share: float) -> float | None:
    """Return a share in percent; null if there is none."""
    return None if np.isnan(share) else round(100 * share, 2)


def main(
    *,
    sources: dict[str, str],
    sample: str,
    feature: str,
    settings: AmbientSettings,
    corrected: Path,
    decision: Path,
    seed: int,
) -> None:
    """Write the share of ambient RNA with its evidence, and the corrected counts.

    Parameters
    ----------
    sources
        `cells` (called.h5ad), `calling` and `barcodes` of the cells; `solo` or `counts`
        with all droplets; `cellbender`, its output, if that is the method.
    """
    adata = ad.read_h5ad(sources["cells"])
    cells, is_mito = sparse.csr_matrix(adata.X), adata.var["is_mito"].to_numpy(bool)
    called = json.loads(Path(sources["calling"]).read_text())["method_used"]
    nothing = np.zeros(adata.n_vars)
    empty = Empty(n=0, counts=nothing, reason=WITHOUT_EMPTY.get(called, ""))
    if not empty.reason:
        table = pd.read_csv(
            sources["barcodes"], sep="\t", dtype=str, keep_default_na=False
        )
        barcodes = pd.Index(table["barcode"])
        droplets, named = droplets_of(sources, feature=feature)
        empty = empty_of(droplets, named.isin(barcodes))
    if settings.method == "cellbender" and not empty.reason:
        share, counts, each = by_cellbender(
            cells, barcodes, adata.var_names, Path(sources["cellbender"])
        )
    else:
        share, counts, each = by_droplets(cells, empty, is_mito=is_mito, seed=seed)
    obs = pd.DataFrame({"ambient_percent": 100 * each}, index=adata.obs_names)
    without = ad.AnnData(counts.astype(np.int32), obs=obs, var=adata.var[[]])
    write_h5ad(without, corrected)
    found = {
        "sample": sample,
        "estimated": share.estimated,
        "reason": share.reason,
        "method": settings.method,
        "contamination_percent": percent(share.value),
        "low": percent(share.low),
        "high": percent(share.high),
        "n_empty_droplets": empty.n,
        "empty_umis": int(empty.counts.sum()),
        "n_cells": adata.n_obs,
        "n_without_cell": share.n_without_cell,
        "counts_without_cell": round(share.counts_without_cell),
        "used": settings.use and share.estimated,
        "top_genes": top_genes(empty.counts, adata.var),
    }
    logger.info("%s", {name: found[name] for name in found if name != "top_genes"})
    decision.write_text(json.dumps(found, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            sources=dict(snakemake.input.items()),
            sample=snakemake.wildcards.sample,
            feature=snakemake.params.feature,
            settings=AmbientSettings(**snakemake.params.settings),
            corrected=Path(snakemake.output.corrected),
            decision=Path(snakemake.output.decision),
            seed=snakemake.params.seed,
        )
