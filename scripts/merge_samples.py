"""Put the kept cells of all samples into one object."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("merge_samples")


def union_of_genes(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return one row per gene of any table, in order of first appearance."""
    genes = pd.concat(tables)
    return genes[~genes.index.duplicated()]


def aligned_counts(
    counts: sparse.csr_matrix, genes: pd.Index, union: pd.Index
) -> sparse.csr_matrix:
    """Return counts with the columns of `union`; a gene not counted is 0."""
    counts = counts.tocsr().astype(np.int32, copy=False)
    if genes.equals(union):
        return counts
    columns = union.get_indexer(genes).astype(counts.indices.dtype)
    moved = sparse.csr_matrix(
        (counts.data, columns[counts.indices], counts.indptr),
        shape=(counts.shape[0], len(union)),
    )
    moved.sort_indices()
    return moved


def joined_cells(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Return the rows of all tables, categories in order of appearance."""
    cells = pd.concat([table.astype(_plain_types(table)) for table in tables])
    categorical = {
        name for table in tables for name in table.select_dtypes("category").columns
    }
    for name in categorical:
        levels = cells[name].dropna().unique()
        cells[name] = pd.Categorical(cells[name], categories=levels)
    return cells


def _plain_types(table: pd.DataFrame) -> dict[str, type]:
    """Return the types that categorical columns have without their categories."""
    return dict.fromkeys(table.select_dtypes("category").columns, object)


def all_cells_of(samples: list[ad.AnnData]) -> ad.AnnData:
    """Return all cells of all samples over the union of their genes."""
    genes = union_of_genes([sample.var for sample in samples])
    counts = [
        aligned_counts(sample.X, sample.var_names, genes.index) for sample in samples
    ]
    cells = joined_cells([sample.obs for sample in samples])
    if twice := cells.index[cells.index.duplicated()].tolist():
        raise ValueError(f"{len(twice)} cell names occur in two samples: {twice[:3]}")
    adata = ad.AnnData(sparse.vstack(counts, format="csr"), obs=cells, var=genes)
    # the same matrix under the name that later stages read
    adata.layers["counts"] = adata.X
    return adata


def read_sample(path: Path) -> ad.AnnData:
    """Read a sample without its layers, which repeat the counts in `X`."""
    sample = ad.read_h5ad(path)
    for name in list(sample.layers):
        # anndata 0.13 lists X itself under the name None
        if name is not None:
            del sample.layers[name]
    return sample


def is_kept(verdict: Path) -> bool:
    """Tell whether a sample goes on, by its verdict."""
    return json.loads(verdict.read_text())["verdict"] == "kept"


def main(*, cells: list[Path], verdicts: list[Path], merged: Path) -> None:
    """Merge the samples that were not set aside."""
    keep = [is_kept(verdict) for verdict in verdicts]
    if not any(keep):
        logger.warning("all %d samples were set aside: no cells to merge", len(cells))
    # without any kept sample their empty objects still name genes and columns
    chosen = [path for path, k in zip(cells, keep, strict=True) if k or not any(keep)]
    samples = [read_sample(path) for path in chosen]
    if not any(keep):
        samples = [sample[:0].copy() for sample in samples]

    adata = all_cells_of(samples)
    for path, sample in zip(chosen, samples, strict=True):
        logger.info("%s: %d cells, %d genes", path, *sample.shape)
        if missing := adata.n_vars - sample.n_vars:
            logger.warning("%s lacks %d genes: counted as 0 there", path, missing)
    logger.info("merged %d cells, %d genes", *adata.shape)
    adata.write_h5ad(merged)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        cells=[Path(path) for path in snakemake.input.cells],
        verdicts=[Path(path) for path in snakemake.input.verdicts],
        merged=Path(snakemake.output.merged),
    )
