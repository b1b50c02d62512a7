"""Cells of an annotated reference, read in pieces."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.logs import UserError
from _shared.streams import Matrix

logger = logging.getLogger("annotate_clusters")

# cells of the reference that are learned from: per type, and in all
MAX_PER_TYPE = 300
MAX_CELLS = 20_000
# a type with fewer cells cannot be learned
MIN_PER_TYPE = 5
# fewer shared genes: other species, or other names
MIN_SHARED = 50
# logarithms of levels stay below; counts of whole cells do not
MAX_LOG = 20


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Cells to learn from: log levels of the genes that the data have too.

    `x` is cells x genes; `columns` are the places of these genes in the data;
    `ontology` the id of each type that has one.
    """

    x: sparse.csr_matrix
    labels: np.ndarray
    columns: np.ndarray
    ontology: dict[str, str]


def read_column(obs: pd.DataFrame, column: str, *, path: Path, key: str) -> np.ndarray:
    """Return a column of the reference as text, "" where it is empty.

    Raises
    ------
    UserError
        If there is no such column.
    """
    if column not in obs:
        there = ", ".join(map(str, obs.columns)) or "none at all"
        raise UserError(
            f"{path}: obs has no column '{column}' (it has {there}); set "
            f"annotate_clusters: {key} to one of these."
        )
    values = obs[column].astype(object)
    return values.where(values.notna(), "").astype(str).str.strip().to_numpy()


def matched(
    genes: pd.Index, symbols: pd.Series, names: list[pd.Index]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the shared genes in the reference, and in the data.

    `genes` and `symbols` are ids and symbols of the data, `names` the names that the
    genes of the reference have: a gene is found by its id, else by its symbol.
    """
    ids = pd.Index([gene.split(".")[0] for gene in genes.astype(str)])
    best = np.zeros((0, 2), dtype=int)
    for known in (ids, pd.Index(symbols.astype(str))):
        place = pd.Series(np.arange(len(known)), index=known)
        place = place[~place.index.duplicated()]
        for of_reference in names:
            plain = [name.split(".")[0] for name in of_reference.astype(str)]
            given = pd.Index(plain) if known is ids else of_reference.astype(str)
            here = place.reindex(given).to_numpy()
            there = np.flatnonzero(~np.isnan(here))
            pairs = np.column_stack([there, here[there].astype(int)])
            # a gene of the data that is named twice is taken once
            _, first = np.unique(pairs[:, 1], return_index=True)
            if len(first) > len(best):
                best = pairs[np.sort(first)]
    return best[:, 0], best[:, 1]


def chosen_cells(labels: np.ndarray, *, seed: int) -> np.ndarray:
    """Return the cells to learn from, in order: as many at most of every type."""
    rng = np.random.default_rng(seed)
    named = pd.Series(np.arange(len(labels)))[labels != ""]
    groups = [part.to_numpy() for _, part in named.groupby(labels[labels != ""])]
    groups = [part for part in groups if len(part) >= MIN_PER_TYPE]
    if not groups:
        return np.zeros(0, dtype=int)
    most = max(MIN_PER_TYPE, min(MAX_PER_TYPE, MAX_CELLS // len(groups)))
    parts = [
        part if len(part) <= most else rng.choice(part, most, replace=False)
        for part in groups
    ]
    return np.sort(np.concatenate(parts))


def stored_matrices(file: h5py.File) -> Iterator[tuple[str, str]]:
    """Yield where levels or counts may be, best first, and where their genes are."""
    for name, var in (("layers/counts", "var"), ("X", "var"), ("raw/X", "raw/var")):
        if name in file and var in file:
            yield name, var


def read_cells(matrix: Matrix, cells: np.ndarray) -> sparse.csr_matrix:
    """Return some rows, read in pieces."""
    parts = [
        matrix.rows(start, stop)[cells[(cells >= start) & (cells < stop)] - start]
        for start, stop in matrix.pieces()
    ]
    empty = sparse.csr_matrix((0, matrix.shape[1]), dtype=np.float32)
    return sparse.vstack([empty, *parts], format="csr").astype(np.float32)


def log_levels(x: sparse.csr_matrix, *, target: float) -> sparse.csr_matrix:
    """Return log levels of counts, of linear levels, or of log levels.

    Whole numbers are counts, and values above `MAX_LOG` cannot be logarithms; what is
    left has its logarithm already, and is only brought to the same sum per cell where
    it has all genes (then the sums hardly differ).
    """
    x = x.copy()
    is_log = len(x.data) and x.data.max() <= MAX_LOG and (x.data % 1 != 0).any()
    if is_log:
        x.data = np.expm1(x.data)
    total = np.asarray(x.sum(axis=1)).ravel()
    even = total.std() <= 0.05 * total.mean() if len(total) else True
    if even or not is_log:
        scale = target / np.maximum(total, 1e-12)
        x.data *= np.repeat(scale, np.diff(x.indptr)).astype(np.float32)
    x.data = np.log1p(x.data)
    return x


def read_reference(
    path: Path,
    *,
    labels: str,
    ontology: str,
    genes: pd.Index,
    symbols: pd.Series,
    target: float,
    seed: int,
) -> Reference:
    """Return a part of the cells of an annotated `.h5ad`, read in pieces.

    `target` is the sum of the levels of a cell of the data.

    Raises
    ------
    UserError
        If it cannot be learned from, with the reason.
    """
    if not h5py.is_hdf5(path):
        raise UserError(f"{path}: is no .h5ad file; give an annotated one.")
    with h5py.File(path) as file:
        obs = ad.io.read_elem(file["obs"])
        names = read_column(obs, labels, path=path, key="reference_labels")
        ids = np.full(len(obs), "", dtype=object)
        if ontology:
            ids = read_column(obs, ontology, path=path, key="reference_ontology")
        cells = chosen_cells(names, seed=seed)
        if len(np.unique(names[cells])) < 2:
            raise UserError(
                f"{path}: column '{labels}' has fewer than two types with "
                f"{MIN_PER_TYPE} cells or more; give a reference of several types."
            )
        why = "it has no matrix"
        for where, of_genes in stored_matrices(file):
            var = ad.io.read_elem(file[of_genes])
            try:
                x = read_cells(Matrix(file[where]), cells)
            except ValueError:
                why = f"{where} is not stored by cells (CSR)"
                continue
            if len(x.data) and not x.data.min() >= 0:
                why = f"{where} has negative or missing values, as scaled data have"
                continue
            break
        else:
            raise UserError(
                f"{path}: {why}; give counts or log-normalized levels in X or in the "
                "layer 'counts'."
            )
    named = [var.index]
    named += [
        pd.Index(var[c].astype(str)) for c in var if var[c].dtype.kind not in "bifu"
    ]
    there, here = matched(genes, symbols, named)
    if len(here) < MIN_SHARED:
        raise UserError(
            f"{path}: only {len(here)} of its {len(var)} genes (such as "
            f"{next(iter(var.index), 'none')}) are in the data; give a reference "
            "of the same species with gene ids or symbols."
        )
    of_type = pd.DataFrame({"type": names, "id": ids})[ids != ""]
    known = of_type.groupby("type")["id"].agg(lambda of: of.mode().iloc[0]).to_dict()
    logger.info(
        "reference: %d cells of %d types, %d shared genes, from %s",
        len(cells),
        len(np.unique(names[cells])),
        len(here),
        where,
    )
    return Reference(
        x=log_levels(x, target=target)[:, there],
        labels=names[cells],
        columns=here,
        ontology=known,
    )
