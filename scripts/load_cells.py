"""Bring the called cells of a sample, counted here or elsewhere, into one form."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.jobs import job
from _shared.logs import UserError
from _shared.matrices import Counts, part, read_matrix, read_mtx
from _shared.streams import write_h5ad

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("load_cells")


# matrices that count introns too, the first that is there is compared with `Gene`
WITH_INTRONS = ("GeneFull_Ex50pAS", "GeneFull", "GeneFull_ExonOverIntron")


def called_barcodes(called: Path) -> pd.Index:
    """Return the barcodes of cells, as text: one may be called "NA"."""
    table = pd.read_csv(called, sep="\t", dtype=str, keep_default_na=False)
    return pd.Index(table["barcode"])


def from_starsolo(raw: Path, *, called: Path, genes: Path) -> Counts:
    """Return counts, barcodes and genes of the called cells of a raw matrix."""
    counts, barcodes, features = read_mtx(raw)
    is_cell = barcodes.isin(called_barcodes(called))
    # text as it stands: a gene may be called "NA"
    columns = pd.read_csv(genes, sep="\t", dtype=str, keep_default_na=False)
    columns["is_mito"] = columns["is_mito"] == "True"
    var = columns.set_index("gene_id").loc[features[0]]
    return counts[is_cell], barcodes[is_cell], var


def from_given(path: Path, *, called: Path, mito: re.Pattern) -> Counts:
    """Return counts, barcodes and genes of the called cells of a user's matrix."""
    counts, barcodes, var = read_matrix(path, mito)
    is_cell = barcodes.isin(called_barcodes(called))
    return counts[is_cell], barcodes[is_cell], var


def umis_of(raw: Path, barcodes: pd.Index) -> np.ndarray:
    """Return the counts of barcodes in a raw matrix; 0 where it has no such barcode."""
    counts, named, _ = read_mtx(raw)
    totals = pd.Series(np.asarray(counts.sum(axis=1)).ravel(), index=named)
    return totals.reindex(barcodes, fill_value=0).to_numpy()


def percent_intronic(
    solo: Path, barcodes: pd.Index, *, feature: str
) -> np.ndarray | None:
    """Return the percentage of a cell's counts that lie in introns.

    From the matrices with and without introns, if STARsolo counted both; else from the
    reads by region in CellReads.stats, which STAR fills for GeneFull_Ex50pAS alone;
    None without either. A cell without counts has 0.
    """
    full = [name for name in WITH_INTRONS if (solo / name / "raw").is_dir()]
    stats = solo / feature
    if full and (solo / "Gene" / "raw").is_dir():
        whole = umis_of(solo / full[0] / "raw", barcodes)
        exonic = umis_of(solo / "Gene" / "raw", barcodes)
    elif any(stats.glob("CellReads.stats*")):
        columns = ["CB", "exonic", "intronic", "exonicAS"]
        path = part(stats, "CellReads.stats")
        reads = pd.read_csv(path, sep="\t", usecols=columns, index_col="CB")
        if not reads["exonicAS"].any():
            return None
        reads = reads.reindex(barcodes, fill_value=0)
        exonic = reads["exonic"].to_numpy()
        whole = exonic + reads["intronic"].to_numpy()
    else:
        return None
    return 100 * np.clip(1 - exonic / np.maximum(whole, 1), 0, None) * (whole > 0)


def as_anndata(
    counts: sparse.csr_matrix,
    barcodes: pd.Index,
    var: pd.DataFrame,
    *,
    sample: str,
    intronic: np.ndarray | None = None,
) -> ad.AnnData:
    """Return the object of the stage: `<barcode>-<sample>`, gene ids, `sample`.

    `intronic` becomes the column `pct_intronic`.

    Raises
    ------
    UserError
        If a barcode or a gene id stands there twice.
    """
    bare = pd.Index([re.sub(r"-1$", "", str(barcode)) for barcode in barcodes])
    for what, names in (("barcode", bare), ("gene id", var.index)):
        if not names.is_unique:
            twice = names[names.duplicated()][0]
            raise UserError(
                f"sample {sample}: {what} '{twice}' stands there twice; make it unique."
            )
    obs = pd.DataFrame({"sample": sample}, index=bare + f"-{sample}")
    obs = obs.astype("category")
    if intronic is not None:
        obs["pct_intronic"] = np.asarray(intronic, dtype=float)
    adata = ad.AnnData(counts, obs=obs, var=var)
    adata.obs_names.name = "barcode"
    return adata


def main(*, sources: dict, sample: str, settings: dict, out: Path) -> None:
    """Write the called cells with raw counts."""
    called, intronic = Path(sources["called"]), None
    if "counts" in sources:
        mito = re.compile(settings["mito_pattern"])
        parts = from_given(Path(sources["counts"]), called=called, mito=mito)
    else:
        solo, feature = Path(sources["solo"]), settings["feature"]
        genes = Path(sources["genes"])
        parts = from_starsolo(solo / feature / "raw", called=called, genes=genes)
        intronic = percent_intronic(solo, parts[1], feature=feature)
    adata = as_anndata(*parts, sample=sample, intronic=intronic)
    logger.info(
        "%d cells, %d genes, %d of them mitochondrial",
        *adata.shape,
        adata.var["is_mito"].sum(),
    )
    write_h5ad(adata, out)


if "snakemake" in globals():
    with job(snakemake):
        main(
            sources=dict(snakemake.input.items()),
            sample=snakemake.wildcards.sample,
            settings=snakemake.params.settings,
            out=Path(snakemake.output.called),
        )
