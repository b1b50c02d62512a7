"""Sparse matrices on disk, read and written in pieces of bounded memory.

The files are plain `.h5ad`: CSR in HDF5, shuffled and gzipped. HDF5 compresses with one
thread and an old zlib; here the chunks are made by isal, several times as fast, and
handed over as they are, so that every program can read them.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
from isal import isal_zlib
from scipy import sparse

# entries of a chunk on disk, and about as many of a piece in memory
CHUNK = 2**17
PIECE = 4_000_000
LEVEL = 1


def in_order[Item, Result](
    function: Callable[[Item], Result], items: Iterable[Item], *, threads: int
) -> Iterator[Result]:
    """Yield the result of every item, in order, `threads` of them made at a time."""
    if threads < 2:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def encoded(values: np.ndarray, *, shuffle: bool) -> bytes:
    """Return a chunk as HDF5's filters `shuffle` and `gzip` write it."""
    if shuffle:
        values = values.view(np.uint8).reshape(len(values), -1).T
    return isal_zlib.compress(values.tobytes(), LEVEL)


def decoded(raw: bytes, dtype: np.dtype, *, n: int, shuffled: bool) -> np.ndarray:
    """Return the `n` values of a gzipped chunk."""
    text = isal_zlib.decompress(raw, bufsize=n * dtype.itemsize)
    if not shuffled:
        return np.frombuffer(text, dtype)
    planes = np.frombuffer(text, np.uint8).reshape(dtype.itemsize, n)
    values = np.zeros((n, dtype.itemsize), np.uint8)
    for byte, plane in enumerate(planes):
        # the upper bytes of counts and of gene numbers are all 0
        if plane.any():
            values[:, byte] = plane
    return values.view(dtype).ravel()


def read_slice(dataset: h5py.Dataset, start: int, stop: int) -> np.ndarray:
    """Return the values from `start` to `stop` of a one-dimensional dataset."""
    if dataset.compression != "gzip" or dataset.fletcher32 or dataset.scaleoffset:
        return dataset[start:stop]
    if start >= stop:
        return np.zeros(0, dataset.dtype)
    (size,) = dataset.chunks
    first = start // size * size
    parts = []
    for offset in range(first, stop, size):
        left_out, raw = dataset.id.read_direct_chunk((offset,))
        if left_out:
            return dataset[start:stop]
        chunk = decoded(raw, dataset.dtype, n=size, shuffled=dataset.shuffle)
        parts.append(chunk[max(start - offset, 0) : stop - offset])
    return np.concatenate(parts)


class Matrix:
    """A matrix in a file (CSR or dense), read by ranges of rows.

    `shape`, and `ends`: where the entries of each row begin and end (rows + 1).
    """

    def __init__(self, element: h5py.Group | h5py.Dataset) -> None:
        self.element = element
        self.is_sparse = isinstance(element, h5py.Group)
        if not self.is_sparse:
            self.shape = element.shape
            self.dtype = element.dtype
            self.ends = np.arange(self.shape[0] + 1, dtype=np.int64) * self.shape[1]
            return
        if element.attrs["encoding-type"] != "csr_matrix":
            raise ValueError(
                f"{element.file.filename}: {element.name} is no CSR matrix"
            )
        self.shape = tuple(int(n) for n in element.attrs["shape"])
        self.dtype = element["data"].dtype
        self.ends = element["indptr"][:].astype(np.int64)

    def data(self, start: int, stop: int) -> np.ndarray:
        """Return the stored values of some rows."""
        return read_slice(self.element["data"], self.ends[start], self.ends[stop])

    def rows(self, start: int, stop: int) -> sparse.csr_matrix:
        """Return some rows; their indices are int32."""
        if not self.is_sparse:
            return sparse.csr_matrix(self.element[start:stop])
        indices = read_slice(self.element["indices"], self.ends[start], self.ends[stop])
        ends = (self.ends[start : stop + 1] - self.ends[start]).astype(np.int32)
        parts = self.data(start, stop), indices.astype(np.int32, copy=False), ends
        return sparse.csr_matrix(parts, shape=(stop - start, self.shape[1]))

    def dense(self, start: int, stop: int) -> np.ndarray:
        """Return some rows as float32."""
        if not self.is_sparse:
            return self.element[start:stop].astype(np.float32, copy=False)
        return self.rows(start, stop).astype(np.float32, copy=False).toarray()

    def pieces(self, *, cuts: Iterable[int] = ()) -> list[tuple[int, int]]:
        """Return ranges of rows (start, stop) of about `PIECE` entries.

        They depend on nothing but the matrix and `cuts`, rows at which one has to end.
        """
        ranges = []
        bounds = sorted({0, self.shape[0], *cuts})
        for low, high in pairwise(bounds):
            start = low
            while start < high:
                wanted = self.ends[start] + PIECE
                stop = int(np.searchsorted(self.ends, wanted, side="right")) - 1
                stop = min(max(stop, start + 1), high)
                ranges.append((start, stop))
                start = stop
        return ranges


def sums_by_group(
    x: Matrix, groups: np.ndarray, n_groups: int, *, threads: int = 1
) -> np.ndarray:
    """Return the sum over the rows of each group (float64, groups x columns).

    `groups` is the number of the group of each row, from 0.
    """

    def summed(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        part = x.rows(*rows)
        present, group = np.unique(groups[slice(*rows)], return_inverse=True)
        place = part.indices + np.repeat(group * x.shape[1], np.diff(part.indptr))
        shape = len(present), x.shape[1]
        sums = np.bincount(place, weights=part.data, minlength=shape[0] * shape[1])
        return present, sums.reshape(shape)

    total = np.zeros((n_groups, x.shape[1]))
    for present, sums in in_order(summed, x.pieces(), threads=threads):
        total[present] += sums
    return total


class ArrayWriter:
    """A growing one-dimensional dataset, compressed chunk by chunk."""

    def __init__(
        self, parent: h5py.Group, name: str, *, dtype: np.dtype, threads: int
    ) -> None:
        self.dataset = parent.create_dataset(
            name,
            shape=(0,),
            maxshape=(None,),
            dtype=dtype,
            chunks=(CHUNK,),
            compression="gzip",
            compression_opts=LEVEL,
            # the few values of a cell come back whole; whole numbers have empty bytes
            shuffle=np.issubdtype(dtype, np.integer),
        )
        self.encoded = partial(encoded, shuffle=self.dataset.shuffle)
        self.threads = threads
        self.rest = np.zeros(0, dtype)
        self.written = 0

    def append(self, values: np.ndarray) -> None:
        """Write all whole chunks, and keep what is left for later."""
        values = np.concatenate([self.rest, values.astype(self.rest.dtype, copy=False)])
        whole = len(values) // CHUNK * CHUNK
        self._write(values[:whole])
        self.rest = values[whole:].copy()

    def _write(self, values: np.ndarray) -> None:
        chunks = [values[i : i + CHUNK] for i in range(0, len(values), CHUNK)]
        self.dataset.resize((self.written + len(values),))
        for raw in in_order(self.encoded, chunks, threads=self.threads):
            self.dataset.id.write_direct_chunk((self.written,), raw)
            self.written += CHUNK

    def close(self) -> None:
        """Write what is left: a last chunk, filled up with zeros."""
        if len(self.rest):
            length = self.written + len(self.rest)
            self._write(np.pad(self.rest, (0, CHUNK - len(self.rest))))
            self.dataset.resize((length,))


class CsrWriter:
    """A growing CSR matrix, as anndata stores it."""

    def __init__(
        self,
        parent: h5py.Group,
        name: str,
        *,
        n_columns: int,
        dtype: np.dtype,
        threads: int = 1,
    ) -> None:
        self.group = csr_group(parent, name)
        self.n_columns = n_columns
        self.data = ArrayWriter(self.group, "data", dtype=dtype, threads=threads)
        self.indices = ArrayWriter(
            self.group, "indices", dtype=np.dtype(np.int32), threads=threads
        )
        self.ends = [np.zeros(1, dtype=np.int64)]

    def append(self, rows: sparse.csr_matrix) -> None:
        """Add rows, whose indices are sorted."""
        self.data.append(rows.data)
        self.indices.append(rows.indices)
        self.ends.append(rows.indptr[1:].astype(np.int64) + self.ends[-1][-1])

    def close(self) -> None:
        """Write what is left, and where the rows end."""
        self.data.close()
        self.indices.close()
        ends = np.concatenate(self.ends)
        # of mixed types scipy would make int64 for both, and copies of the indices
        if ends[-1] <= np.iinfo(np.int32).max:
            ends = ends.astype(np.int32)
        self.group.create_dataset("indptr", data=ends, maxshape=(None,))
        self.group.attrs["shape"] = np.array([len(ends) - 1, self.n_columns])


def csr_group(parent: h5py.Group, name: str) -> h5py.Group:
    """Return a new group that says to be a CSR matrix."""
    group = parent.create_group(name)
    group.attrs["encoding-type"] = "csr_matrix"
    group.attrs["encoding-version"] = "0.1.0"
    return group


@contextmanager
def new_h5ad(path: Path) -> Iterator[h5py.File]:
    """Open a new `.h5ad`; its elements are written with `ad.io.write_elem`, or here."""
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"] = "anndata"
        file.attrs["encoding-version"] = "0.1.0"
        for name in ("layers", "obsm", "obsp", "uns", "varm", "varp"):
            ad.io.write_elem(file, name, {})
        yield file


def read_tables(path: Path) -> ad.AnnData:
    """Return an object without its matrices: obs, var, obsm, uns."""
    with h5py.File(path) as file:
        parts = {
            name: ad.io.read_elem(file[name])
            for name in ("obs", "var", "obsm", "uns")
            if name in file
        }
    return ad.AnnData(**parts)


def write_h5ad(adata: ad.AnnData, path: Path, *, threads: int = 1) -> None:
    """Write an object whose X and layers are CSR; equal indices are stored once."""
    with new_h5ad(path) as file:
        write_csr(file, "X", adata.X, threads=threads)
        for name, layer in adata.layers.items():
            # anndata 0.13 lists X itself under the name None
            if name is not None:
                write_csr(file["layers"], name, layer, threads=threads, like=adata.X)
        for name in ("obs", "var", "obsm", "varm", "uns"):
            ad.io.write_elem(file, name, _plain(getattr(adata, name)))


def _plain(element):
    return element if hasattr(element, "columns") else dict(element)


def write_csr(
    parent: h5py.Group,
    name: str,
    matrix: sparse.csr_matrix,
    *,
    threads: int = 1,
    like: sparse.csr_matrix | None = None,
) -> None:
    """Write a CSR matrix; one with the indices of `like`, which is X, shares them."""
    if like is not None and same_places(matrix, like):
        group = csr_group(parent, name)
        data = ArrayWriter(group, "data", dtype=matrix.dtype, threads=threads)
        data.append(matrix.data)
        data.close()
        share_places(parent.file["X"], group)
        return
    writer = CsrWriter(
        parent, name, n_columns=matrix.shape[1], dtype=matrix.dtype, threads=threads
    )
    writer.append(matrix)
    writer.close()


def same_places(one: sparse.csr_matrix, other: sparse.csr_matrix) -> bool:
    """Tell whether two matrices have their entries at the same places."""
    return (
        one.shape == other.shape
        and np.array_equal(one.indptr, other.indptr)
        and np.array_equal(one.indices, other.indices)
    )


def share_places(source: h5py.Group, target: h5py.Group) -> None:
    """Give a CSR matrix the indices of another of the same file, without a copy."""
    for name in ("indices", "indptr"):
        target[name] = source[name]
    target.attrs["shape"] = source.attrs["shape"]


def copy_matrix(
    element: h5py.Group | h5py.Dataset, parent: h5py.Group, name: str, *, dtype: type
) -> None:
    """Copy a matrix as it lies, still compressed; make another form CSR of `dtype`."""
    matrix = Matrix(element)
    if matrix.is_sparse and matrix.dtype == dtype:
        element.file.copy(element, parent, name=name)
        return
    writer = CsrWriter(parent, name, n_columns=matrix.shape[1], dtype=np.dtype(dtype))
    for rows in matrix.pieces():
        writer.append(matrix.rows(*rows).astype(dtype))
    writer.close()


def copy_layer(
    element: h5py.Group | h5py.Dataset, parent: h5py.Group, name: str, *, dtype: type
) -> None:
    """Copy a layer beside `X`, which is there: places that are stored once stay so."""
    x = element.file["X"]
    shares = all(
        isinstance(group, h5py.Group) and group["data"].dtype == kind
        for group, kind in ((x, np.float32), (element, dtype))
    )
    if not shares or x["indices"] != element["indices"]:
        copy_matrix(element, parent, name, dtype=dtype)
        return
    group = csr_group(parent, name)
    element.file.copy(element["data"], group, name="data")
    share_places(parent.file["X"], group)
