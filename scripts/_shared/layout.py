"""A map of the cells from their graph of neighbors, by UMAP."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy import sparse
from scipy.optimize import curve_fit

# fewer rounds for many cells, each costs more: at 20,000 cells the map of 100 rounds
# keeps 96 % of the neighbors that 200 rounds keep, of 60 rounds 93 %
EPOCHS = ((20_000, 200), (300_000, 100), (np.inf, 60))
SPREAD = 1.0


def umap_steps() -> Callable:
    """Return umap's optimizer without what its package loads beside it.

    The package compiles pynndescent on import (4 CPU-s); its module of layouts does not
    need that, and the package stays importable as a whole.
    """
    if "umap" in sys.modules:
        from umap.layouts import optimize_layout_euclidean

        return optimize_layout_euclidean
    bare = ModuleType("umap")
    bare.__path__ = [str(Path(find_spec("umap").origin).parent)]
    sys.modules["umap"] = bare
    try:
        from umap.layouts import optimize_layout_euclidean
    finally:
        del sys.modules["umap"]
    return optimize_layout_euclidean


def curve(min_dist: float) -> tuple[float, float]:
    """Return a and b of 1 / (1 + a d^2b), fitted as UMAP does."""
    d = np.linspace(0, 3 * SPREAD, 300)
    wanted = np.where(d < min_dist, 1.0, np.exp(-(d - min_dist) / SPREAD))
    (a, b), _ = curve_fit(lambda x, a, b: 1 / (1 + a * x ** (2 * b)), d, wanted)
    return float(a), float(b)


def two_columns(scores: np.ndarray) -> np.ndarray:
    """Return the first two components, zeros where there are fewer."""
    pair = np.zeros((len(scores), 2), dtype=np.float32)
    pair[:, : scores.shape[1]] = scores[:, :2]
    return pair


def layout(
    graph: sparse.csr_matrix, start: np.ndarray, *, min_dist: float, seed: int
) -> np.ndarray:
    """Return map coordinates (cells x 2, float32), from `start` of the same shape.

    From the components: as good as the spectral start and four times faster. On one
    thread: on several the order of steps, and so the map, would be another every time.
    """
    n = graph.shape[0]
    spread = np.ptp(start, axis=0).max(initial=0)
    if graph.nnz == 0 or spread == 0:
        return start.astype(np.float32)
    n_epochs = next(epochs for most, epochs in EPOCHS if n <= most)
    edges = graph.tocoo()
    strong = edges.data >= edges.data.max() / n_epochs
    weights = edges.data[strong].astype(np.float64)
    place = (10 * (start - start.min(axis=0)) / spread).astype(np.float32)
    a, b = curve(min_dist)
    state = np.random.RandomState(seed % 2**32)
    return umap_steps()(
        place,
        place,
        edges.row[strong],
        edges.col[strong],
        n_epochs,
        n,
        weights.max() / weights,
        a,
        b,
        state.randint(-(2**31) + 1, 2**31 - 2, 3).astype(np.int64),
        parallel=False,
        move_other=True,
    )
