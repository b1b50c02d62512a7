"""Cells in the order of their distance from a root that the user names."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.design import cell_types_of
from _shared.jobs import job
from _shared.labels import cells_called
from _shared.logs import UserError
from _shared.near_misses import did_you_mean
from _shared.streams import Matrix
from _shared.trajectory import Ordered, ordered, strongest_tree

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("order_cells")

LINK_COLUMNS = ["cluster", "other", "connectivity", "in_tree"]


@dataclass(frozen=True, kw_only=True)
class OrderSettings:
    """The `order_cells` section of the config; the schema holds the ranges.

    `root` is a cell type or a cluster, `root_gene` a gene; `clusters` those that are
    looked at, all where it is empty.
    """

    root: str
    root_gene: str
    clusters: list[str]
    min_connectivity: float


def levels_of(x: Matrix, var: pd.DataFrame, gene: str) -> np.ndarray:
    """Return the levels of a gene, by its id or its name, in all cells.

    Raises
    ------
    UserError
        If no gene is called so.
    """
    found = np.flatnonzero(var.index == gene)
    if not len(found):
        found = np.flatnonzero((var["gene_name"] == gene).to_numpy())
    if not len(found):
        near = did_you_mean(gene, [*var["gene_name"].astype(str), *var.index])
        raise UserError(
            f"config: order_cells: root_gene: no gene '{gene}'{near}; there are "
            f"{len(var)}, as {', '.join(var['gene_name'].astype(str)[:3])}: give the "
            "name or the id of one that was counted."
        )
    parts = [x.rows(*rows)[:, found].sum(axis=1).A1 for rows in x.pieces()]
    return np.concatenate(parts) if parts else np.zeros(0)


def link_table(done: Ordered) -> pd.DataFrame:
    """Return a row per two clusters that are joined at all, the strongest first."""
    tree = strongest_tree(done.links)
    rows = [
        (done.names[i], done.names[j], done.links[i, j], bool(tree[i, j]))
        for i, j in zip(*np.triu_indices(len(done.names), 1), strict=True)
        if done.links[i, j] > 0
    ]
    table = pd.DataFrame(rows, columns=LINK_COLUMNS)
    return table.sort_values("connectivity", ascending=False, kind="stable")


def cluster_table(cells: pd.DataFrame, done: Ordered) -> pd.DataFrame:
    """Return a row per cluster: its cells, those with pseudotime, and their median."""
    times = cells.groupby("cluster")["pseudotime"].agg(["size", "count", "median"])
    times = times.reindex(done.names)
    types = cells.drop_duplicates("cluster").set_index("cluster")["cell_type"]
    return pd.DataFrame(
        {
            "cluster": done.names,
            "cell_type": types.reindex(done.names).to_numpy(),
            "n_cells": times["size"].to_numpy(),
            "n_ordered": times["count"].to_numpy(),
            "is_connected": done.reached,
            "median_pseudotime": times["median"].to_numpy(),
        }
    )


def warning_of(done: Ordered, *, n_left_out: int) -> str:
    """Return what a reader has to know of cells without pseudotime, "" for nothing."""
    apart = [
        name for name, is_in in zip(done.names, done.reached, strict=True) if not is_in
    ]
    if done.root < 0:
        return f"No cell has a pseudotime: {done.why}."
    if apart:
        return (
            f"No trajectory leads from the root to clusters {', '.join(apart)}: they "
            "are not joined with it beyond chance, so their cells have no pseudotime."
        )
    if n_left_out:
        return f"{n_left_out} cells are joined with no other and have no pseudotime."
    return ""


def main(
    *,
    clusters: Path,
    annotation: Path,
    pseudotime: Path,
    links: Path,
    by_cluster: Path,
    facts: Path,
    settings: OrderSettings,
    n_neighbors: int,
    n_pcs: int,
    seed: int,
) -> None:
    """Write the pseudotime of cells, links of clusters, and what it all stands on."""
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    if bool(settings.root) == bool(settings.root_gene):
        raise UserError(
            "config: order_cells: give either root (a cell type or a cluster) or "
            "root_gene, from which cells are ordered."
        )
    with h5py.File(clusters) as file:
        obs = ad.io.read_elem(file["obs"])
        scores = ad.io.read_elem(file["obsm/X_integrated"])[:, :n_pcs]
        levels = None
        if settings.root_gene:
            var = ad.io.read_elem(file["var"])
            levels = levels_of(Matrix(file["X"]), var, settings.root_gene)
    names = obs["leiden"].astype(str).to_numpy(dtype=object)
    types = cell_types_of(obs, annotation).fillna("unknown").to_numpy(dtype=object)
    keep = np.ones(len(obs), dtype=bool)
    if settings.clusters:
        wanted = [
            cells_called(name, names, types, key="order_cells: clusters")
            for name in settings.clusters
        ]
        keep = np.any(wanted, axis=0)
    start = None
    if settings.root and keep.any():
        start = cells_called(
            settings.root, names[keep], types[keep], key="order_cells: root"
        )
    order = [
        name for name in obs["leiden"].cat.categories if (names[keep] == name).any()
    ]
    with threadpool_limits(limits=1):
        done = ordered(
            scores[keep],
            pd.Categorical(names[keep], categories=order),
            start=start,
            levels=None if levels is None else levels[keep],
            min_connectivity=settings.min_connectivity,
            n_neighbors=n_neighbors,
            seed=seed,
        )
    cells = pd.DataFrame({"cell": obs.index[keep], "cluster": names[keep]})
    cells["cell_type"], cells["pseudotime"] = types[keep], done.time
    n_left_out = int(np.isnan(done.time).sum())
    found = {
        "root": settings.root or settings.root_gene,
        "root_cell": "" if done.root < 0 else cells.loc[done.root, "cell"],
        "root_cluster": "" if done.root < 0 else cells.loc[done.root, "cluster"],
        "why": done.why,
        "n_cells": len(cells),
        "n_ordered": len(cells) - n_left_out,
        "unconnected_clusters": [
            name
            for name, is_in in zip(done.names, done.reached, strict=True)
            if not is_in
        ],
        "warning": warning_of(done, n_left_out=n_left_out),
    }
    logger.info("%s", found)
    if found["warning"]:
        logger.warning("%s", found["warning"])
    cells.to_csv(pseudotime, sep="\t", index=False, float_format="%.6g")
    link_table(done).to_csv(links, sep="\t", index=False, float_format="%.6g")
    table = cluster_table(cells, done)
    table.to_csv(by_cluster, sep="\t", index=False, float_format="%.6g")
    facts.write_text(json.dumps(found, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            pseudotime=Path(snakemake.output.pseudotime),
            links=Path(snakemake.output.links),
            by_cluster=Path(snakemake.output.by_cluster),
            facts=Path(snakemake.output.facts),
            settings=OrderSettings(**snakemake.params.settings),
            n_neighbors=snakemake.params.n_neighbors,
            n_pcs=snakemake.params.n_pcs,
            seed=snakemake.params.seed,
        )
