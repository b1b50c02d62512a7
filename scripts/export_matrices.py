"""Write the raw counts of a sample's kept cells as Cell Ranger writes its matrices.

The folder and the HDF5 file hold the same; the same counts make the same bytes.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pyarrow as pa
from isal import igzip
from pyarrow import csv

from _shared.jobs import job
from _shared.streams import LEVEL, ArrayWriter, Matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("export_matrices")

KIND = "Gene Expression"
# Cell Ranger names the genome of each gene; where one species was counted, its name is
# not known here
GENOME = "genome"


@contextmanager
def gzipped(path: Path) -> Iterator[IO[bytes]]:
    """Open a gzip file without name and time in its header, so that bytes repeat."""
    with (
        path.open("wb") as handle,
        igzip.IGzipFile("", "wb", compresslevel=LEVEL, fileobj=handle, mtime=0) as out,
    ):
        yield out


def gene_table(var: pd.DataFrame) -> pd.DataFrame:
    """Return `id`, `name` and `genome` of every gene, as text."""
    genes = pd.DataFrame({"id": var.index.astype(str)})
    for name, column in (("name", "gene_name"), ("genome", "species")):
        if column in var:
            genes[name] = var[column].astype(str).to_numpy()
    return genes.assign(
        name=genes.get("name", genes["id"]), genome=genes.get("genome", GENOME)
    )


def triplets(matrix: Matrix) -> Iterator[pa.Table]:
    """Yield gene, cell and count of the entries in pieces, numbered from 1."""
    for start, stop in matrix.pieces():
        part = matrix.rows(start, stop)
        part.sort_indices()
        cell = np.repeat(np.arange(start, stop) + 1, np.diff(part.indptr))
        yield pa.table({"gene": part.indices + 1, "cell": cell, "count": part.data})


def write_folder(
    matrix: Matrix,
    genes: pd.DataFrame,
    names: pd.Index,
    *,
    barcodes: Path,
    features: Path,
    mtx: Path,
) -> None:
    """Write the three files of a folder: genes x cells, by cell."""
    with gzipped(barcodes) as out:
        out.write("".join(f"{name}\n" for name in names).encode())
    with gzipped(features) as out:
        rows = zip(genes["id"], genes["name"], strict=True)
        out.write("".join(f"{i}\t{name}\t{KIND}\n" for i, name in rows).encode())
    plain = csv.WriteOptions(
        include_header=False, delimiter=" ", quoting_style="none", batch_size=2**16
    )
    n_cells, n_genes = matrix.shape
    with gzipped(mtx) as out:
        out.write(b"%%MatrixMarket matrix coordinate integer general\n")
        out.write(f"{n_genes} {n_cells} {matrix.ends[-1]}\n".encode())
        for table in triplets(matrix):
            csv.write_csv(table, out, plain)


def text_array(values: Iterable[str]) -> np.ndarray:
    """Return text of one width (one byte at least), as Cell Ranger stores it.

    Readers take it for ASCII, so other letters are written as their escapes.
    """
    texts = [value.encode("ascii", "backslashreplace") for value in values]
    return np.array(texts, dtype=f"S{max(map(len, texts), default=1) or 1}")


def write_h5(matrix: Matrix, genes: pd.DataFrame, names: pd.Index, path: Path) -> None:
    """Write the HDF5 format of Cell Ranger 3 and later: CSC of genes x cells."""
    n_cells, n_genes = matrix.shape
    with h5py.File(path, "w") as file:
        file.attrs["filetype"] = "matrix"
        file.attrs["version"] = 2
        group = file.create_group("matrix")
        group["barcodes"] = text_array(names)
        group["shape"] = np.array([n_genes, n_cells], dtype=np.int32)
        # by cell, which is how the cells lie; the types are Cell Ranger's
        group["indptr"] = matrix.ends
        writers = {
            "data": ArrayWriter(group, "data", dtype=np.dtype(np.int32), threads=1),
            "indices": ArrayWriter(
                group, "indices", dtype=np.dtype(np.int64), threads=1
            ),
        }
        for start, stop in matrix.pieces():
            part = matrix.rows(start, stop)
            part.sort_indices()
            writers["data"].append(part.data)
            writers["indices"].append(part.indices)
        for writer in writers.values():
            writer.close()
        of_genes = group.create_group("features")
        of_genes["_all_tag_keys"] = text_array(["genome"])
        of_genes["feature_type"] = text_array([KIND] * n_genes)
        for name in ("genome", "id", "name"):
            of_genes[name] = text_array(genes[name])


def main(
    *, cells: Path, barcodes: Path, features: Path, matrix: Path, h5: Path
) -> None:
    """Write both forms of the counts; of a sample without cells, empty ones."""
    with h5py.File(cells) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        counts = Matrix(
            file["layers/counts"] if "counts" in file["layers"] else file["X"]
        )
        genes = gene_table(var)
        write_folder(
            counts, genes, obs.index, barcodes=barcodes, features=features, mtx=matrix
        )
        write_h5(counts, genes, obs.index, h5)
    logger.info("%d cells, %d genes, %d entries", *counts.shape, counts.ends[-1])


if "snakemake" in globals():
    with job(snakemake):
        main(
            cells=Path(snakemake.input.cells),
            barcodes=Path(snakemake.output.barcodes),
            features=Path(snakemake.output.features),
            matrix=Path(snakemake.output.matrix),
            h5=Path(snakemake.output.h5),
        )
