"""Which species each cell is of, where the reference holds several (barnyard)."""

import numpy as np
import pandas as pd
from scipy import sparse

COLUMNS = ("barcode", "species", "share", "first", "first_counts", "second")
COLUMNS += ("second_counts",)
MIXED = "mixed"
# a species has a cell in a barcode whose counts reach this percentile of its cells
LEAST_PERCENTILE = 10


def call_species(
    cells: sparse.csr_matrix, barcodes: pd.Index, species: pd.Series | None
) -> pd.DataFrame:
    """Return the species of every cell: a name, or `mixed`.

    As in Cell Ranger: a cell belongs to the species with most of its counts; it is
    mixed when the counts of another one reach the tenth percentile of the cells of that
    species too.

    Parameters
    ----------
    cells
        Counts (cells x genes).
    species
        Species of every gene; None or of one name: the table is empty.

    Returns
    -------
    DataFrame
        `share` is that of the first species in the counts of both.
    """
    names = [] if species is None else species.unique()
    if len(names) < 2 or not cells.shape[0]:
        return pd.DataFrame(columns=COLUMNS)
    counts = np.column_stack(
        [
            np.asarray(cells[:, (species == name).to_numpy()].sum(axis=1)).ravel()
            for name in names
        ]
    )
    order = np.argsort(-counts, axis=1, kind="stable")
    first, second = order[:, 0], order[:, 1]
    least = np.array(
        [
            np.percentile(own, LEAST_PERCENTILE) if len(own) else np.inf
            for own in (counts[first == at, at] for at in range(len(names)))
        ]
    )
    row = np.arange(len(counts))
    highest, next_highest = counts[row, first], counts[row, second]
    is_mixed = (counts >= least).sum(axis=1) > 1
    return pd.DataFrame(
        {
            "barcode": barcodes,
            "species": np.where(is_mixed, MIXED, names[first]),
            "share": (highest / np.maximum(highest + next_highest, 1)).round(4),
            "first": names[first],
            "first_counts": highest,
            "second": names[second],
            "second_counts": next_highest,
        }
    )


def species_summary(table: pd.DataFrame) -> dict | None:
    """Return cells per species and the rate of multiplets, those of one species too.

    Two cells of one species are not seen as such: of random pairs they are the share
    `sum(p**2)`, `p` being the shares of the species.
    """
    if table.empty:
        return None
    n_cells = table["species"].value_counts()
    alone = n_cells.drop(MIXED, errors="ignore")
    n_mixed = int(n_cells.get(MIXED, 0))
    visible = 1 - ((alone / alone.sum()) ** 2).sum()
    rate = min(n_mixed / len(table) / visible, 1) if visible > 0 else None
    return {
        "n_cells": {name: int(n) for name, n in n_cells.sort_index().items()},
        "multiplet_rate": None if rate is None else round(rate, 4),
    }
