"""Spliced and unspliced counts, as STARsolo counts them (`soloFeatures: Velocyto`)."""

import gzip
import re
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.logs import UserError

KINDS = ("spliced", "unspliced", "ambiguous")


def _found(raw: Path, name: str, *, sample: str) -> Path:
    for path in (raw / f"{name}.gz", raw / name):
        if path.is_file():
            return path
    raise UserError(
        f"sample {sample}: {raw} has no {name}; add Velocyto to count_reads: "
        "soloFeatures, and the sample is counted anew."
    )


def _first_column(path: Path) -> pd.Index:
    table = pd.read_csv(path, sep="\t", header=None, dtype=str, usecols=[0])
    return pd.Index(table[0].to_numpy(dtype=object))


def _read_mtx(path: Path) -> sparse.csr_matrix:
    """Return a matrix of whole numbers (genes x barcodes in the file) transposed.

    Read by pandas, as options of scipy's reader differ between its versions, and that
    of this environment is not the others'.
    """
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt") as file:
        line = file.readline()
        while line.startswith("%"):
            line = file.readline()
        n_genes, n_barcodes, n_entries = map(int, line.split())
        table = pd.read_csv(
            file,
            sep=" ",
            header=None,
            names=["gene", "barcode", "count"],
            dtype="Int64",
        )
    if len(table) != n_entries or table.isna().to_numpy().any():
        raise ValueError(f"{len(table)} of {n_entries} entries are there")
    columns = table.astype(np.int64).to_numpy().T
    places = columns[1] - 1, columns[0] - 1
    return sparse.csr_matrix(
        (columns[2].astype(np.int32), places), shape=(n_barcodes, n_genes)
    )


def read_velocyto(
    solo: Path, *, sample: str, cells: pd.Index, genes: pd.Index
) -> dict[str, sparse.csr_matrix]:
    """Return the counts of each kind (cells x genes, int32) of a sample.

    `cells` are names as `<barcode>-<sample>`, `genes` ids; one that was not counted is
    0. STAR's matrices are genes x barcodes.

    Raises
    ------
    UserError
        If the matrices are not there or do not fit each other.
    """
    raw = solo / "Velocyto" / "raw"
    paths = {kind: _found(raw, f"{kind}.mtx", sample=sample) for kind in KINDS}
    ids = _first_column(_found(raw, "features.tsv", sample=sample))
    try:
        barcodes = _first_column(_found(raw, "barcodes.tsv", sample=sample))
    except pd.errors.EmptyDataError:
        barcodes = pd.Index([], dtype=object)
    names = [re.sub(r"-1$", "", barcode) + f"-{sample}" for barcode in barcodes]
    rows = pd.Index(names, dtype=object).get_indexer(cells)
    columns = ids.get_indexer(genes)
    result = {}
    for kind, path in paths.items():
        try:
            counts = _read_mtx(path)
        except (ValueError, EOFError) as error:
            raise UserError(
                f"sample {sample}: {path} is damaged ({error}); delete the folder "
                f"{solo} and run again."
            ) from None
        if counts.shape != (len(barcodes), len(ids)):
            raise UserError(
                f"sample {sample}: {path} is of {counts.shape[1]} genes and "
                f"{counts.shape[0]} barcodes, its tables of {len(ids)} and "
                f"{len(barcodes)}; delete the folder {solo} and run again."
            )
        # a row and a column of zeros for what was not counted
        counts.resize(len(barcodes) + 1, len(ids) + 1)
        result[kind] = counts[rows][:, columns].tocsr()
    return result


def informative_genes(
    spliced: sparse.csr_matrix,
    unspliced: sparse.csr_matrix,
    *,
    min_shared_counts: int,
    n_genes: int,
) -> np.ndarray:
    """Return the most variable genes with counts enough in cells that have both kinds.

    Variable is a high ratio of variance to mean, of spliced counts at one depth.
    """
    both = spliced.multiply(unspliced > 0) + unspliced.multiply(spliced > 0)
    enough = np.asarray(both.sum(axis=0)).ravel() >= min_shared_counts
    levels = at_one_depth(spliced)
    mean = np.asarray(levels.mean(axis=0)).ravel()
    square = np.asarray(levels.multiply(levels).mean(axis=0)).ravel()
    score = np.divide(square - mean**2, mean, out=np.zeros_like(mean), where=mean > 0)
    score[~enough] = -1
    best = np.argsort(-score, kind="stable")[: min(n_genes, int(enough.sum()))]
    return np.sort(best)


def at_one_depth(counts: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return counts scaled so that every cell has the median total."""
    totals = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    target = np.median(totals[totals > 0]) if (totals > 0).any() else 1.0
    factors = np.divide(target, totals, out=np.zeros_like(totals), where=totals > 0)
    return sparse.csr_matrix(sparse.diags(factors) @ counts)
