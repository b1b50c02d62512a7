"""Cells by the name of a cell type or a cluster, as a user writes it in the config."""

import numpy as np

from _shared.logs import UserError
from _shared.near_misses import did_you_mean

MOST_NAMED = 40


def cells_called(
    name: str, clusters: np.ndarray, cell_types: np.ndarray, *, key: str
) -> np.ndarray:
    """Return a flag per cell of a cell type or a cluster; a type goes first.

    `key` is the place in the config where the name stands.

    Raises
    ------
    UserError
        If there is no cell of the name.
    """
    for labels in (cell_types, clusters):
        if (labels == name).any():
            return labels == name
    known = sorted(set(cell_types.tolist()))
    others = set(clusters.tolist()) - set(known)
    known += sorted(others, key=lambda cluster: (len(cluster), cluster))
    listed = ", ".join(known[:MOST_NAMED]) + (", …" if len(known) > MOST_NAMED else "")
    raise UserError(
        f"config: {key}: no cell type or cluster '{name}' among the cells"
        f"{did_you_mean(name, known)}; there are {listed or 'no cells'}."
    )
