"""Whether two results hold the same: byte by byte, else what is inside them."""

import filecmp
import gzip
import zlib
from itertools import zip_longest
from pathlib import Path

import h5py
import numpy as np

# they tell when and where a job ran, not what it found
OF_THE_JOB = {
    ".snakemake_timestamp",
    "Log.out",
    "Log.final.out",
    "genomeParameters.txt",
    "index.json",
    "multiqc.html",
}
PIECE = 1 << 20


def same(a: Path, b: Path) -> bool:
    """Return whether two files or folders hold the same; both are there."""
    if a.is_dir() and b.is_dir():
        inside = [
            {str(p.relative_to(x)) for p in x.rglob("*") if p.is_file()} for x in (a, b)
        ]
        names = [
            {n for n in found if Path(n).name not in OF_THE_JOB} for found in inside
        ]
        return names[0] == names[1] and all(same(a / n, b / n) for n in names[0])
    if not (a.is_file() and b.is_file()):
        return False
    if filecmp.cmp(a, b, shallow=False):
        return True
    try:
        if a.suffix == ".gz":
            return _same_unpacked(a, b)
        if a.suffix in (".h5ad", ".h5"):
            return _same_hdf5(a, b)
    except (OSError, EOFError, zlib.error):
        # their bytes differ, and one of them is broken
        return False
    return False


def _same_unpacked(a: Path, b: Path) -> bool:
    # the head of a gzip file holds the time at which it was written
    with gzip.open(a) as one, gzip.open(b) as other:
        while True:
            first, second = one.read(PIECE), other.read(PIECE)
            if first != second:
                return False
            if not first:
                return True


def _same_hdf5(a: Path, b: Path) -> bool:
    def items(file: h5py.File) -> list[tuple[str, h5py.Dataset | h5py.Group]]:
        found: list = []
        file.visititems(lambda name, item: found.append((name, item)))
        return sorted(found, key=lambda entry: entry[0])

    with h5py.File(a) as one, h5py.File(b) as other:
        for first, second in zip_longest(items(one), items(other)):
            if first is None or second is None or first[0] != second[0]:
                return False
            if not _same_item(first[1], second[1]):
                return False
    return True


def _same_item(a: h5py.Dataset | h5py.Group, b: h5py.Dataset | h5py.Group) -> bool:
    if isinstance(a, h5py.Dataset) != isinstance(b, h5py.Dataset):
        return False
    if not isinstance(a, h5py.Dataset):
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.shape:
        return _equal(np.asarray(a[()]), np.asarray(b[()]))
    rows = max(1, PIECE // max(1, int(np.prod(a.shape[1:]))))
    return all(
        _equal(a[i : i + rows], b[i : i + rows]) for i in range(0, a.shape[0], rows)
    )


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(a, b, equal_nan=np.issubdtype(a.dtype, np.floating))
