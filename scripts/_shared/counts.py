"""Sums of counts, and their logarithms at one depth."""

import numpy as np
from scipy import sparse

# counts below have their logarithms looked up, cell by cell
LOOKED_UP = 32


def row_sums(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the total of every row, as float."""
    return np.asarray(counts.sum(axis=1), dtype=float).ravel()


def column_sums(counts: sparse.csr_matrix) -> np.ndarray:
    """Return the total of every column, as float."""
    return np.asarray(counts.sum(axis=0), dtype=float).ravel()


def log_normalized(counts: sparse.csr_matrix, factors: np.ndarray) -> sparse.csr_matrix:
    """Return log(1 + counts / factor) as float32; counts are whole numbers."""
    # a cell has few different counts: a table of their logarithms is quicker than all
    table = np.log1p(np.arange(LOOKED_UP) / factors[:, None]).astype(np.float32)
    place = np.repeat(np.arange(len(factors)) * LOOKED_UP, np.diff(counts.indptr))
    place += np.minimum(counts.data, LOOKED_UP - 1)
    values = table.ravel()[place]
    high = np.flatnonzero(counts.data >= LOOKED_UP)
    values[high] = np.log1p(counts.data[high] / factors[place[high] // LOOKED_UP])
    return sparse.csr_matrix(
        (values, counts.indices, counts.indptr), shape=counts.shape, copy=False
    )
