"""Bring the called cells of a sample, counted here or elsewhere, into one form."""

import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import pandas as pd
from scipy import sparse

from _shared.logs import UserError, log_to
from _shared.matrices import read_counts, read_mtx

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("load_cells")


def from_starsolo(
    raw: Path, *, called: Path, genes: Path
) -> tuple[sparse.csr_matrix, pd.Index, pd.DataFrame]:
    """Return counts, barcodes and genes of the called cells of a raw matrix."""
    counts, barcodes, features = read_mtx(raw)
    is_cell = barcodes.isin(pd.read_csv(called, sep="\t", dtype=str)["barcode"])
    # text as it stands: a gene may be called "NA"
    columns = pd.read_csv(genes, sep="\t", dtype=str, keep_default_na=False)
    columns["is_mito"] = columns["is_mito"] == "True"
    var = columns.set_index("gene_id").loc[features[0]]
    return counts[is_cell], barcodes[is_cell], var


def as_anndata(
    counts: sparse.csr_matrix,
    barcodes: pd.Index,
    var: pd.DataFrame,
    *,
    sample: str,
    sheet: dict[str, str],
) -> ad.AnnData:
    """Return the object of the stage: `<barcode>-<sample>`, gene ids, sheet columns.

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
    obs = pd.DataFrame({"sample": sample, **sheet}, index=bare + f"-{sample}")
    adata = ad.AnnData(counts, obs=obs.astype("category"), var=var)
    adata.obs_names.name = "barcode"
    return adata


def main(*, sources: dict, sample: str, settings: dict, sheet: dict, out: Path) -> None:
    """Write the called cells with raw counts."""
    if "counts" in sources:
        mito = re.compile(settings["mito_pattern"])
        parts = read_counts(Path(sources["counts"]), mito)
    else:
        raw = Path(sources["solo"], settings["feature"], "raw")
        parts = from_starsolo(
            raw, called=Path(sources["called"]), genes=Path(sources["genes"])
        )
    adata = as_anndata(*parts, sample=sample, sheet=sheet)
    logger.info(
        "%d cells, %d genes, %d of them mitochondrial",
        *adata.shape,
        adata.var["is_mito"].sum(),
    )
    adata.write_h5ad(out, compression="gzip")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        sources=dict(snakemake.input.items()),
        sample=snakemake.wildcards.sample,
        settings=snakemake.params.settings,
        sheet=snakemake.params.sheet,
        out=Path(snakemake.output.called),
    )
