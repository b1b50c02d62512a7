"""Write the object as CELLxGENE takes it: terms of the sample sheet, Ensembl ids.

The layout is that of the public schema; `cellxgene-schema validate` judges the result.
"""

import gzip
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.cellxgene import (
    OF_CELLS,
    ORGANISM,
    SCHEMA_VERSION,
    bare_id,
    cell_type_term,
    column_name,
    why_dropped,
)
from _shared.jobs import job
from _shared.logs import UserError
from _shared.plain_text import write_plain
from _shared.streams import (
    ArrayWriter,
    CsrWriter,
    Matrix,
    csr_group,
    new_h5ad,
    read_tables,
    share_places,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("export_cellxgene")


@dataclass(frozen=True, kw_only=True)
class CellxgeneSettings:
    """The `export_cellxgene` section of the config."""

    title: str
    genes: str
    is_primary_data: bool


def read_genes(path: Path) -> set[str]:
    """Return the gene ids of a list: the first field of every line, no version.

    Fields end at a comma, a tab or a space; the file may be gzipped.
    """
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as lines:
        first = (re.split(r"[,\t ]", line.strip(), maxsplit=1)[0] for line in lines)
        return {bare_id(gene_id) for gene_id in first if gene_id}


def cells_table(obs: pd.DataFrame, terms: dict[str, dict[str, str]]) -> pd.DataFrame:
    """Return the table of cells with the terms of their samples; text as categories."""
    own = "cell_type_ontology_term_id"
    cells = obs.drop(columns=own).rename(columns=column_name)
    for name in OF_CELLS:
        cells[name] = obs["sample"].map({key: of[name] for key, of in terms.items()})
    cells[own] = obs[own].map(cell_type_term)
    # numbers as categories, mixed types and categories that no cell has are refused
    for name, column in cells.items():
        if not pd.api.types.is_numeric_dtype(column.dtype):
            levels = column.astype("category").cat.remove_unused_categories()
            cells[name] = levels.cat.rename_categories(str)
    return cells


def colors_of_cells(uns: dict, obs: pd.DataFrame, cells: pd.DataFrame) -> dict:
    """Return the colors of clusters and cell types, in the order of the categories."""
    colors = {}
    for name in ("leiden", "cell_type"):
        new = column_name(name)
        of = dict(zip(obs[name].cat.categories, uns[f"{name}_colors"], strict=True))
        ordered = [of[category] for category in cells[new].cat.categories]
        colors[f"{new}_colors"] = np.array(ordered, dtype=object)
    return colors


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Counts of every gene, and which cells have any of the genes that are kept."""

    of_genes: np.ndarray
    has_counts: np.ndarray


def sums(counts: Matrix, keep: np.ndarray) -> Sums:
    """Return what `Sums` holds, read in pieces; `keep`: a flag per gene."""
    of_genes, has_counts = np.zeros(counts.shape[1]), np.zeros(counts.shape[0], bool)
    for start, stop in counts.pieces():
        part = counts.rows(start, stop)
        of_genes += np.asarray(part.sum(axis=0)).ravel()
        has_counts[start:stop] = part[:, keep].getnnz(axis=1) > 0
    return Sums(of_genes=of_genes, has_counts=has_counts)


def subset(
    matrix: Matrix, *, rows: np.ndarray, keep: np.ndarray
) -> Iterator[sparse.csr_matrix]:
    """Yield the flagged rows and columns in pieces, as float32, indices sorted."""
    for start, stop in matrix.pieces():
        part = matrix.rows(start, stop)[rows[start:stop]][:, keep].astype(np.float32)
        part.sort_indices()
        yield part


def write_matrices(
    source: h5py.File, out: h5py.File, *, rows: np.ndarray, keep: np.ndarray
) -> None:
    """Write `X` and `raw/X`, CSR of float32; equal indices are stored once."""
    x, counts = Matrix(source["X"]), Matrix(source["layers/counts"])
    size = {"n_columns": int(keep.sum()), "dtype": np.dtype(np.float32)}
    chosen = partial(subset, rows=rows, keep=keep)
    writer = CsrWriter(out, "X", **size)
    for part in chosen(x):
        writer.append(part)
    writer.close()
    if not (x.is_sparse and x.element["indices"] == counts.element["indices"]):
        writer = CsrWriter(out["raw"], "X", **size)
        for part in chosen(counts):
            writer.append(part)
        writer.close()
        return
    group = csr_group(out["raw"], "X")
    data = ArrayWriter(group, "data", dtype=size["dtype"], threads=1)
    for part in chosen(counts):
        data.append(part.data)
    data.close()
    share_places(out["X"], group)


def write_tables(
    out: h5py.File,
    tables: ad.AnnData,
    *,
    rows: np.ndarray,
    keep: np.ndarray,
    terms: dict[str, dict[str, str]],
    settings: CellxgeneSettings,
) -> None:
    """Write all but the matrices: `obs`, `var`, `raw/var`, `obsm`, `uns`."""
    cells = cells_table(tables.obs[rows], terms)
    colors = colors_of_cells(tables.uns, tables.obs, cells)
    cells["is_primary_data"] = settings.is_primary_data
    ids = pd.Index([bare_id(gene_id) for gene_id in tables.var.index[keep]])
    # the portal adds its own names as `feature_name`
    names = tables.var["gene_name"].astype(str).to_numpy()[keep]
    genes = pd.DataFrame({"gene_name": names}, index=ids)
    maps = {name: of for name, of in tables.obsm.items() if name.startswith("X_")}
    ours = tables.uns["reads2cells"]
    uns = {
        "title": settings.title,
        ORGANISM: next(iter(terms.values()))[ORGANISM],
        "default_embedding": "X_umap",
        "X_approximate_distribution": "normal",
        # the portal writes `schema_version` itself, and refuses a file that has it
        "reads2cells": {
            **{name: ours[name] for name in ("versions", "config_digest", "seed")},
            "cellxgene_schema": SCHEMA_VERSION,
        },
        **colors,
    }
    parts = {
        "obs": cells,
        "var": genes.assign(feature_is_filtered=False),
        "obsm": {name: np.asarray(of)[rows] for name, of in maps.items()},
        "uns": uns,
    }
    for name, part in parts.items():
        write_plain(out, name, part)
    for name, part in {"var": genes, "varm": {}}.items():
        write_plain(out["raw"], name, part)


def main(
    *,
    cells: Path,
    terms: dict[str, dict[str, str]],
    settings: CellxgeneSettings,
    exported: Path,
    dropped: Path,
) -> None:
    """Write the export and the table of genes that it lacks.

    Raises
    ------
    UserError
        If no gene or no cell is left.
    """
    organism = next(iter(terms.values()))[ORGANISM]
    known = read_genes(Path(settings.genes)) if settings.genes else None
    tables = read_tables(cells)
    why = why_dropped(tables.var.index, organism=organism, known=known)
    keep = np.array([not reason for reason in why])
    if not keep.any():
        raise UserError(
            f"{cells}: none of {len(keep)} gene ids (the first is "
            f"{tables.var.index[0]}) can be in a CELLxGENE file of {organism}; count "
            "with an annotation of Ensembl or GENCODE, mend the organism or "
            "export_cellxgene: genes, or remove the terms from the sample sheet."
        )
    with h5py.File(cells) as source:
        found = sums(Matrix(source["layers/counts"]), keep)
        rows = found.has_counts
        if not rows.any():
            raise UserError(
                f"{cells}: no cell has counts of the {keep.sum()} genes that can be in "
                "a CELLxGENE file; look at the samples that were set aside."
            )
        lost = pd.DataFrame({"reason": why, "counts": found.of_genes.astype(np.int64)})
        lost.insert(0, "gene_id", tables.var.index)
        lost.insert(1, "gene_name", tables.var["gene_name"].to_numpy())
        lost[~keep].to_csv(dropped, sep="\t", index=False)
        with new_h5ad(exported) as out:
            raw = out.create_group("raw")
            raw.attrs.update({"encoding-type": "raw", "encoding-version": "0.1.0"})
            write_matrices(source, out, rows=rows, keep=keep)
            write_tables(
                out, tables, rows=rows, keep=keep, terms=terms, settings=settings
            )
    logger.info("%d cells, %d genes", rows.sum(), keep.sum())
    logger.info("%d genes are left out", (~keep).sum())
    if not rows.all():
        logger.warning("%d cells have none of the genes: left out", (~rows).sum())


if "snakemake" in globals():
    with job(snakemake):
        main(
            cells=Path(snakemake.input.cells),
            terms=snakemake.params.terms,
            settings=CellxgeneSettings(**snakemake.params.settings),
            exported=Path(snakemake.output.exported),
            dropped=Path(snakemake.output.dropped),
        )
