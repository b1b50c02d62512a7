"""RNA velocity: where spliced and unspliced counts say that cells are going."""

import json
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from scipy.sparse import linalg

from _shared.jobs import job
from _shared.labels import cells_called
from _shared.logs import UserError
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from _shared.velocyto import KINDS, at_one_depth, informative_genes, read_velocyto

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("infer_velocity")

# below, nothing can be fitted
MIN_CELLS, MIN_GENES = 50, 20
# of all counts unspliced; less is usual for exonic libraries, and says little
LEAST_UNSPLICED = 0.05
MODES = {"stochastic": "stochastic", "steady_state": "deterministic"}
COLUMNS = [
    "cell",
    "cluster",
    "velocity_pseudotime",
    "velocity_confidence",
    "velocity_length",
    "umap_1",
    "umap_2",
    "arrow_1",
    "arrow_2",
]


@dataclass(frozen=True, kw_only=True)
class VelocitySettings:
    """The `infer_velocity` section of the config; the schema holds the ranges."""

    mode: str
    clusters: list[str]
    n_genes: int
    min_shared_counts: int
    n_neighbors: int


def with_velocity(
    layers: dict[str, sparse.csr_matrix],
    obs: pd.DataFrame,
    var: pd.DataFrame,
    *,
    scores: np.ndarray,
    umap: np.ndarray,
    settings: VelocitySettings,
    seed: int,
) -> ad.AnnData:
    """Return the object with moments, velocities, confidence, pseudotime and arrows.

    `layers` holds spliced and unspliced counts (cells x genes), `scores` the components
    in which neighbors are looked for.
    """
    # in an environment of its own, and slow to import
    import scvelo as scv

    scv.settings.verbosity = 1
    # the library draws random cells at places
    np.random.seed(seed)  # noqa: NPY002
    n, k = len(obs), min(settings.n_neighbors, len(obs)) - 1
    scaled = {
        name: at_one_depth(layers[name]).astype(np.float32)
        for name in ("spliced", "unspliced")
    }
    adata = ad.AnnData(scaled["spliced"].copy(), obs=obs, var=var, layers=scaled)
    adata.obsm["X_umap"], adata.obsm["X_pca"] = umap, scores
    indices, distances = nearest_neighbors(scores, k, seed=seed)
    ends = np.arange(0, n * k + 1, k)
    parts = distances.ravel(), indices.ravel(), ends
    adata.obsp["distances"] = sparse.csr_matrix(parts, shape=(n, n))
    adata.obsp["connectivities"] = fuzzy_graph(indices, distances)
    adata.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "indices": np.column_stack([np.arange(n), indices]),
        "params": {"n_neighbors": k + 1, "method": "umap", "use_rep": "X_pca"},
    }
    scv.pp.moments(adata, n_neighbors=None, n_pcs=None)
    scv.tl.velocity(adata, mode=MODES[settings.mode])
    scv.tl.velocity_graph(adata, n_jobs=1, show_progress_bar=False)
    scv.tl.velocity_confidence(adata)
    # the library's iteration starts anywhere, so that the last digits would differ
    start = np.random.default_rng(seed).random(n)
    with patch.object(linalg, "eigsh", partial(linalg.eigsh, v0=start)):
        scv.tl.velocity_pseudotime(adata)
    scv.tl.velocity_embedding(adata, basis="umap", autoscale=False)
    return adata


def cell_table(adata: ad.AnnData) -> pd.DataFrame:
    """Return a row per cell: what velocity says, its place, and its arrow there."""
    table = pd.DataFrame({"cell": adata.obs_names, "cluster": adata.obs["cluster"]})
    for name in ("pseudotime", "confidence", "length"):
        table[f"velocity_{name}"] = adata.obs[f"velocity_{name}"]
    for k in (0, 1):
        table[f"umap_{k + 1}"] = adata.obsm["X_umap"][:, k]
        table[f"arrow_{k + 1}"] = adata.obsm["velocity_umap"][:, k]
    return table[COLUMNS]


def reservations(facts: dict) -> str:
    """Return what a reader has to know before believing an arrow, "" for nothing."""
    told = []
    if facts["unspliced_share"] < LEAST_UNSPLICED:
        told.append(f"only {facts['unspliced_share']:.1%} of the counts are unspliced")
    if facts["n_velocity_genes"] < 2 * MIN_GENES:
        told.append(f"only {facts['n_velocity_genes']} genes fit the model")
    if facts["samples_left_out"]:
        left_out = ", ".join(facts["samples_left_out"])
        told.append(f"samples without reads are left out: {left_out}")
    return "; ".join(told).capitalize() + ("." if told else "")


def summed(parts: list[dict]) -> dict[str, sparse.csr_matrix]:
    """Return the counts of all samples, one below the other."""
    return {
        kind: sparse.vstack([part[kind] for part in parts]).tocsr() for kind in KINDS
    }


def plain(adata: ad.AnnData) -> ad.AnnData:
    """Return what others read: the layers, places and columns, without the graphs."""
    layers = {
        name: sparse.csr_matrix(np.nan_to_num(adata.layers[name]))
        if name == "velocity"
        else adata.layers[name]
        for name in ("spliced", "unspliced", "velocity")
    }
    kept = {name: adata.obsm[name] for name in ("X_umap", "velocity_umap")}
    obs = adata.obs.filter(regex="^(sample|cluster|velocity_)")
    var = adata.var[["gene_name", "velocity_genes"]]
    return ad.AnnData(layers["spliced"], obs=obs, var=var, layers=layers, obsm=kept)


def main(
    *,
    clusters: Path,
    annotation: Path,
    solo: dict[str, Path],
    velocity: Path,
    cells: Path,
    facts: Path,
    settings: VelocitySettings,
    n_pcs: int,
    seed: int,
) -> None:
    """Write the object with velocities, a table of the cells, and what it stands on."""
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        scores = ad.io.read_elem(file["obsm/X_integrated"])[:, :n_pcs]
        umap = ad.io.read_elem(file["obsm/X_umap"])
    samples = obs["sample"].astype(str).to_numpy(dtype=object)
    keep = np.isin(samples, list(solo))
    left_out = [name for name in dict.fromkeys(samples) if name not in solo]
    if len(obs) and not keep.any():
        raise UserError(
            "config: infer_velocity: no sample has reads, so there are no unspliced "
            "counts; leave infer_velocity: mode empty."
        )
    names = obs["leiden"].astype(str).to_numpy(dtype=object)
    if settings.clusters:
        labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
        types = pd.Series(names).map(labels.set_index("cluster")["cell_type"])
        types = types.fillna("unknown").to_numpy(dtype=object)
        key = "infer_velocity: clusters"
        keep &= np.any(
            [cells_called(name, names, types, key=key) for name in settings.clusters],
            axis=0,
        )
    chosen = np.flatnonzero(keep)
    # in the order of the samples, each a run of rows
    chosen = chosen[np.argsort(samples[chosen], kind="stable")]
    parts = [
        read_velocyto(
            solo[sample],
            sample=sample,
            cells=obs.index[chosen[samples[chosen] == sample]],
            genes=var.index,
        )
        for sample in sorted(set(samples[chosen]))
    ]
    layers = summed(parts) if parts else {}
    totals = {kind: int(matrix.sum()) for kind, matrix in layers.items()}
    genes = np.zeros(0, dtype=int)
    if parts:
        genes = informative_genes(
            layers["spliced"],
            layers["unspliced"],
            min_shared_counts=settings.min_shared_counts,
            n_genes=settings.n_genes,
        )
    found = {
        "mode": settings.mode,
        "n_cells": len(chosen),
        "n_genes": len(genes),
        "n_velocity_genes": 0,
        "unspliced_share": totals.get("unspliced", 0) / max(sum(totals.values()), 1),
        "median_confidence": None,
        "samples_left_out": left_out,
    }
    table = pd.DataFrame(columns=COLUMNS)
    adata = ad.AnnData(np.zeros((0, 0), dtype=np.float32))
    if len(chosen) >= MIN_CELLS and len(genes) >= MIN_GENES:
        of_cells = pd.DataFrame(
            {"sample": samples[chosen], "cluster": names[chosen]},
            index=obs.index[chosen].astype(str),
        )
        of_genes = var.iloc[genes][["gene_name"]].astype(object)
        of_genes.index = of_genes.index.astype(str)
        with threadpool_limits(limits=1):
            adata = with_velocity(
                {kind: matrix[:, genes] for kind, matrix in layers.items()},
                of_cells,
                of_genes,
                scores=scores[chosen],
                umap=umap[chosen],
                settings=settings,
                seed=seed,
            )
        table = cell_table(adata)
        adata = plain(adata)
        found["n_velocity_genes"] = int(adata.var["velocity_genes"].sum())
        found["median_confidence"] = float(table["velocity_confidence"].median())
    else:
        logger.warning("too few cells (%d) or genes (%d)", len(chosen), len(genes))
    found["warning"] = reservations(found)
    logger.info("%s", found)
    adata.write_h5ad(velocity, compression="gzip")
    table.to_csv(cells, sep="\t", index=False, float_format="%.6g")
    facts.write_text(json.dumps(found, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            solo=dict(
                zip(
                    snakemake.params.samples,
                    map(Path, snakemake.input.solo),
                    strict=True,
                )
            ),
            velocity=Path(snakemake.output.velocity),
            cells=Path(snakemake.output.cells),
            facts=Path(snakemake.output.facts),
            settings=VelocitySettings(**snakemake.params.settings),
            n_pcs=snakemake.params.n_pcs,
            seed=snakemake.params.seed,
        )
