"""Count matrices on disk, as STARsolo, Cell Ranger and anndata write them."""

import csv
import re
import zlib
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from scipy import io, sparse

from _shared.logs import UserError

# a matrix in which more barcodes than this share have fewer counts holds empty droplets
EMPTY_COUNTS, MOST_EMPTY = 10, 0.5
# so does one in which more than that share are this far below a large barcode (the
# first percentile from above, or this rank if it is higher) ...
LARGE_RANK, LARGE_RATIO = 30, 10
# ... and vary no more than draws from one profile: of so many barcodes and genes
SOUP_BARCODES, SOUP_GENES, MOST_DISPERSED = 2000, 100, 1.2
# what reading a damaged file raises
DAMAGED = (ValueError, OSError, EOFError, zlib.error)
Counts = tuple[sparse.csr_matrix, pd.Index, pd.DataFrame]


def part(folder: Path, *names: str) -> Path:
    """Return the first of `names` in `folder`, plain or gzipped.

    Raises
    ------
    UserError
        If none is there.
    """
    for name in names:
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return path
    raise UserError(
        f"{folder}: has no {' or '.join(names)} (plain or .gz); give the folder that "
        "holds matrix.mtx, barcodes.tsv and features.tsv."
    )


def read_columns(path: Path) -> pd.DataFrame:
    """Return a table without header as text; without lines, without columns.

    Raises
    ------
    UserError
        If it is damaged.
    """
    try:
        return pd.read_csv(
            path,
            sep="\t",
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
        )
    except pd.errors.EmptyDataError:
        return pd.DataFrame({0: pd.Series(dtype=str)})
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again.") from None


def read_mtx(folder: Path) -> tuple[sparse.csr_matrix, pd.Index, pd.DataFrame]:
    """Read a folder of matrix, barcodes and features.

    Returns
    -------
    tuple
        Counts (barcodes x features, int32 CSR), barcodes, features (features x columns
        of the file: id, name, ...).

    Raises
    ------
    UserError
        If a file is missing or the three do not fit together.
    """
    path = part(folder, "matrix.mtx")
    try:
        counts = io.mmread(path, spmatrix=True).T.tocsr()
    except DAMAGED as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again.") from None
    barcodes = pd.Index(read_columns(part(folder, "barcodes.tsv"))[0])
    features = read_columns(part(folder, "features.tsv", "genes.tsv"))
    if counts.shape != (len(barcodes), len(features)):
        raise UserError(
            f"{folder}: the matrix has {counts.shape[0]} barcodes and "
            f"{counts.shape[1]} features, the tables have {len(barcodes)} and "
            f"{len(features)}; the files do not belong together."
        )
    return as_counts(counts, source=path), barcodes, features


def as_counts(matrix, *, source: Path) -> sparse.csr_matrix:
    """Return `matrix` as int32 CSR.

    Raises
    ------
    UserError
        If a value is negative or not a whole number.
    """
    matrix = sparse.csr_matrix(matrix)
    values = matrix.data
    if values.size and (
        values.min() < 0 or not np.array_equal(values, np.rint(values))
    ):
        raise UserError(
            f"{source}: holds values that are no counts (negative or not whole); give "
            "the raw counts."
        )
    matrix = matrix.astype(np.int32)
    matrix.sort_indices()
    return matrix


def from_mtx(folder: Path, mito: re.Pattern) -> Counts:
    """Return counts, barcodes and genes of a folder as Cell Ranger writes it.

    Of several feature types only gene expression is taken.
    """
    counts, barcodes, features = read_mtx(folder)
    if features.shape[1] > 2:
        is_gene = (features[2] == "Gene Expression").to_numpy()
        counts, features = counts[:, is_gene], features[is_gene]
    names = features[1 if features.shape[1] > 1 else 0]
    return counts, barcodes, gene_table(features[0], names, mito)


def from_cellranger_h5(path: Path, mito: re.Pattern) -> Counts:
    """Return counts, barcodes and genes of a Cell Ranger (version 3 or later) file."""
    with h5py.File(path) as file:
        if "matrix" not in file:
            raise UserError(
                f"{path}: has no group 'matrix'; give the "
                "filtered_feature_bc_matrix.h5 of Cell Ranger 3 or later."
            )
        matrix = file["matrix"]
        n_features, n_barcodes = matrix["shape"][:]
        counts = sparse.csr_matrix(
            (matrix["data"][:], matrix["indices"][:], matrix["indptr"][:]),
            shape=(n_barcodes, n_features),
        )
        texts = {
            name: matrix["features"][name].asstr()[:]
            for name in ("id", "name", "feature_type")
        }
        barcodes = pd.Index(matrix["barcodes"].asstr()[:])
    is_gene = texts["feature_type"] == "Gene Expression"
    var = gene_table(texts["id"][is_gene], texts["name"][is_gene], mito)
    return as_counts(counts, source=path)[:, is_gene], barcodes, var


def from_h5ad(path: Path, mito: re.Pattern) -> Counts:
    """Return counts (layer `counts`, else X), barcodes and genes of an AnnData file."""
    # most rules read no such file, and its import takes longer than their work
    import anndata as ad

    adata = ad.read_h5ad(path)
    matrix = adata.layers.get("counts", adata.X)
    if matrix is None:
        raise UserError(f"{path}: has neither a layer counts nor X; write it again.")
    counts = as_counts(matrix, source=path)
    named = [name for name in ("gene_name", "gene_symbols") if name in adata.var]
    names = adata.var[named[0]] if named else adata.var_names
    var = gene_table(adata.var_names, names, mito)
    return counts, adata.obs_names, var


def gene_table(ids, names, mito: re.Pattern) -> pd.DataFrame:
    """Return `gene_name` and `is_mito` by gene id."""
    names = pd.Series(np.asarray(names, dtype=str), index=np.asarray(ids, dtype=str))
    is_mito = names.str.contains(mito).to_numpy()
    return pd.DataFrame({"gene_name": names, "is_mito": is_mito}).rename_axis("gene_id")


def read_matrix(path: Path, mito: re.Pattern) -> Counts:
    """Read a count matrix by what it is: folder, `.h5` or `.h5ad`.

    Raises
    ------
    UserError
        If it is none of these, or cannot be read.
    """
    readers = {".h5ad": from_h5ad, ".h5": from_cellranger_h5}
    reader = from_mtx if path.is_dir() else readers.get(path.suffix)
    if reader is None:
        raise UserError(
            f"{path}: is no count matrix that can be read; give an mtx folder, a Cell "
            "Ranger .h5 or an .h5ad."
        )
    try:
        return reader(path, mito)
    except (OSError, KeyError) as error:
        raise UserError(f"{path}: cannot be read ({error}); fetch it again.") from None


def share_empty(counts: sparse.csr_matrix) -> float:
    """Return the share of barcodes with next to no counts."""
    totals = np.asarray(counts.sum(axis=1)).ravel()
    return float((totals < EMPTY_COUNTS).mean()) if len(totals) else 0.0


def is_soup(counts: sparse.csr_matrix) -> bool:
    """Tell whether barcodes (rows) vary as draws from one profile do, no more.

    Of Pearson's residuals of the genes with the most counts: their mean square is 1
    where each barcode is a handful of the same soup, and above where cells differ.
    """
    totals = np.asarray(counts.sum(axis=1)).ravel().astype(float)
    genes = np.asarray(counts.sum(axis=0)).ravel()
    most = np.argsort(-genes, kind="stable")[:SOUP_GENES]
    most = most[genes[most] > 0]
    if not len(most) or len(totals) < 2:
        return False
    expected = np.outer(totals, genes[most] / genes.sum())
    squares = (counts[:, most].toarray() - expected) ** 2 / expected
    return float(np.median(squares.mean(axis=0))) < MOST_DISPERSED


def emptiness(counts: sparse.csr_matrix) -> tuple[bool, str]:
    """Tell whether a matrix holds empty droplets, and by what.

    It does where most barcodes have next to no counts; and where most are far below the
    largest and all of one profile, as when droplets hold much ambient RNA.
    """
    totals = np.asarray(counts.sum(axis=1)).ravel()
    share = share_empty(counts)
    said = (
        f"{share:.1%} of {len(totals)} barcodes have fewer than {EMPTY_COUNTS} counts"
    )
    if share > MOST_EMPTY:
        return True, f"{said}, so the matrix holds empty droplets"
    falling = np.sort(totals)[::-1]
    large = falling[min(LARGE_RANK, len(falling) // 100)] if len(falling) else 0
    is_low = totals < large / LARGE_RATIO
    if len(totals) and is_low.mean() > MOST_EMPTY:
        low = np.flatnonzero(is_low & (totals > 0))
        # evenly spread over the file, as barcodes may be sorted by counts
        if is_soup(counts[low[:: max(1, len(low) // SOUP_BARCODES)]]):
            return True, (
                f"{is_low.sum()} of {len(totals)} barcodes have fewer than "
                f"{large / LARGE_RATIO:.0f} counts and all one profile, so the matrix "
                "holds empty droplets"
            )
    return False, f"{said}, so the matrix holds called cells"
