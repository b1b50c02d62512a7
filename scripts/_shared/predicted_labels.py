"""Labels of cells that CellTypist predicted with a stored model."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy import sparse

from _shared.consensus import Opinion

# what it says of cells that no type fits
NO_LABEL = {"", "unassigned", "unknown", "nan"}


def predicted(path: Path, cells: pd.Index, codes: np.ndarray, n: int) -> Opinion:
    """Return what CellTypist says: of a cluster, what it says of most of its cells.

    The table has a row per cell: `cell`, `predicted_label`, `conf_score`. The
    confidence in a cluster is the sum of that in the cells with its label, per cell.
    """
    table = pd.read_csv(path, sep="\t", dtype={"cell": str}, keep_default_na=False)
    table = table.set_index("cell").reindex(cells)
    names = table["predicted_label"].fillna("").astype(str).str.strip()
    said = ~names.str.casefold().isin(NO_LABEL)
    types = sorted(set(names[said]))
    label = pd.Categorical(names.where(said), categories=types).codes.astype(int)
    sure = pd.to_numeric(table["conf_score"], errors="coerce").fillna(0).clip(0, 1)
    sure = np.where(label >= 0, sure, 0)
    # the last column is for cells without a label
    shape = n, len(types) + 1
    counts = sparse.coo_matrix((np.ones(len(codes)), (codes, label % shape[1])), shape)
    shares = counts.toarray() / np.maximum(np.bincount(codes, minlength=n), 1)[:, None]
    weight = sparse.coo_matrix((sure, (codes, label % shape[1])), shape).toarray()
    order = np.argsort(-shares, axis=1, kind="stable")
    first = order[:, 0] if n else np.zeros(0, dtype=int)
    best = np.where(first < len(types), first, -1)
    second = np.full(n, -1)
    for cluster in range(n):
        others = [t for t in order[cluster] if t != best[cluster] and t < len(types)]
        if others and shares[cluster, others[0]] > 0:
            second[cluster] = others[0]
    sizes = np.maximum(np.bincount(codes, minlength=n), 1)
    confidence = np.where(best >= 0, weight[np.arange(n), best] / sizes, 0)
    return Opinion(
        method="celltypist",
        types=types,
        ontology={},
        scores=shares[:, :-1],
        label=best,
        confidence=confidence,
        runner_up=second,
        cell_label=label,
        cell_confidence=sure,
    )
