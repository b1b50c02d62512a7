"""Put the kept cells of all samples into one object, one sample after the other."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.jobs import job
from _shared.streams import CsrWriter, Matrix, in_order, new_h5ad

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
        counts.sort_indices()
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
    if twice := cells.index[cells.index.duplicated()].tolist():
        raise ValueError(f"{len(twice)} cell names occur in two samples: {twice[:3]}")
    return cells


def _plain_types(table: pd.DataFrame) -> dict[str, type]:
    """Return the types that categorical columns have without their categories."""
    return dict.fromkeys(table.select_dtypes("category").columns, object)


def is_kept(verdict: Path) -> bool:
    """Tell whether a sample goes on, by its verdict."""
    return json.loads(verdict.read_text())["verdict"] == "kept"


def append_sample(
    path: Path,
    writer: CsrWriter,
    *,
    layers: list[str],
    genes: pd.Index,
    union: pd.Index,
    threads: int,
) -> None:
    """Add the cells of a sample, from the first of the layers that it has."""
    with h5py.File(path) as file:
        there = [name for name in layers if name in file.get("layers", {})]
        matrix = Matrix(file[f"layers/{there[0]}"] if there else file["X"])

        def piece(rows: tuple[int, int]) -> sparse.csr_matrix:
            return aligned_counts(matrix.rows(*rows), genes, union)

        for counts in in_order(piece, matrix.pieces(), threads=threads):
            writer.append(counts)


def main(
    *,
    cells: list[Path],
    verdicts: list[Path],
    merged: Path,
    use_corrected: bool = False,
    threads: int = 1,
) -> None:
    """Write `X`, the raw counts of the samples that were not set aside.

    With `use_corrected`, layer `corrected` as well: there a sample whose ambient RNA
    could not be estimated has its raw counts.
    """
    keep = [is_kept(verdict) for verdict in verdicts]
    if not any(keep):
        logger.warning("all %d samples were set aside: no cells to merge", len(cells))
    # without any kept sample their empty objects still name genes and columns
    chosen = [path for path, k in zip(cells, keep, strict=True) if k or not any(keep)]
    tables = {}
    for path in chosen:
        with h5py.File(path) as file:
            tables[path] = [ad.io.read_elem(file[name]) for name in ("obs", "var")]
    if not any(keep):
        tables = {path: [obs[:0], var] for path, (obs, var) in tables.items()}
    obs = joined_cells([of for of, _ in tables.values()])
    var = union_of_genes([of for _, of in tables.values()])
    for path, (of_cells, of_genes) in tables.items():
        logger.info("%s: %d cells, %d genes", path, len(of_cells), len(of_genes))
        if missing := len(var) - len(of_genes):
            logger.warning("%s lacks %d genes: counted as 0 there", path, missing)

    layers = {"X": ["counts"]}
    if use_corrected:
        layers["layers/corrected"] = ["corrected", "counts"]
    with new_h5ad(merged) as file:
        for name, names in layers.items():
            writer = CsrWriter(
                file,
                name,
                n_columns=len(var),
                dtype=np.dtype(np.int32),
                threads=threads,
            )
            for path in chosen if any(keep) else []:
                append_sample(
                    path,
                    writer,
                    layers=names,
                    genes=tables[path][1].index,
                    union=var.index,
                    threads=threads,
                )
            writer.close()
        ad.io.write_elem(file, "obs", obs)
        ad.io.write_elem(file, "var", var)
    logger.info("merged %d cells, %d genes", len(obs), len(var))


if "snakemake" in globals():
    with job(snakemake):
        main(
            cells=[Path(path) for path in snakemake.input.cells],
            verdicts=[Path(path) for path in snakemake.input.verdicts],
            merged=Path(snakemake.output.merged),
            use_corrected=snakemake.params.use_corrected,
            threads=snakemake.threads,
        )
