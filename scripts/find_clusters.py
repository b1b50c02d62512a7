"""Neighbor graph, clusters and a map of the cells."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd

from _shared.logs import log_to
from _shared.palette import colors_of

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_clusters")

# below, a graph of neighbors says nothing: one cluster
MIN_CELLS = 10
# exact neighbors up to here (time grows with the square), approximate ones above
MAX_EXACT = 100_000


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """The `find_clusters` section of the config; the schema holds the ranges."""

    n_neighbors: int
    n_pcs: int
    resolution: float
    min_dist: float


def two_columns(scores: np.ndarray) -> np.ndarray:
    """Return the first two components, zeros where there are fewer."""
    pair = np.zeros((len(scores), 2), dtype=np.float32)
    pair[:, : scores.shape[1]] = scores[:, :2]
    return pair


def named_by_size(labels: np.ndarray) -> pd.Categorical:
    """Rename labels "0", "1", … from the largest; ties by their first cell."""
    labels = pd.Series(labels)
    # value_counts sorts by size only: order of appearance decides ties
    appearance = labels.drop_duplicates().tolist()
    sizes = labels.value_counts()
    order = sorted(appearance, key=lambda label: -sizes[label])
    names = {label: str(rank) for rank, label in enumerate(order)}
    return pd.Categorical(labels.map(names), categories=list(names.values()))


def clustered(
    scores: np.ndarray, settings: ClusterSettings, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return cluster labels and map coordinates of the cells."""
    if len(scores) < MIN_CELLS or scores.shape[1] == 0:
        return np.zeros(len(scores), dtype=int), two_columns(scores)
    # scanpy compiles at import and first use: only where there is work for it
    import scanpy as sc

    graph = ad.AnnData(obsm={"X_integrated": scores[:, : settings.n_pcs]})
    sc.pp.neighbors(
        graph,
        n_neighbors=min(settings.n_neighbors, graph.n_obs - 1),
        use_rep="X_integrated",
        transformer="sklearn" if graph.n_obs <= MAX_EXACT else "pynndescent",
        random_state=seed,
    )
    sc.tl.leiden(
        graph,
        resolution=settings.resolution,
        flavor="igraph",
        directed=False,
        n_iterations=-1,
        random_state=seed,
    )
    # from the components: as good as the spectral start and four times faster
    sc.tl.umap(
        graph,
        min_dist=settings.min_dist,
        init_pos=two_columns(scores),
        maxiter=200,
        random_state=seed,
    )
    return graph.obs["leiden"].to_numpy(), graph.obsm["X_umap"].astype(np.float32)


def main(
    *,
    normalized: Path,
    pca: Path,
    integrated: Path,
    clusters: Path,
    settings: ClusterSettings,
    seed: int,
) -> None:
    """Write `obs.leiden` and `obsm.X_umap` beside all that the inputs hold."""
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    adata = ad.read_h5ad(normalized)
    reduced = ad.read_h5ad(pca)
    adata.obsm["X_pca"] = reduced.obsm["X_pca"]
    adata.uns["pca"] = dict(reduced.uns["pca"])
    source = ad.read_h5ad(integrated)
    adata.obsm["X_integrated"] = source.obsm["X_integrated"]
    adata.uns["integration"] = dict(source.uns["integration"])

    with threadpool_limits(limits=1):
        labels, umap = clustered(adata.obsm["X_integrated"], settings, seed=seed)
    adata.obs["leiden"] = named_by_size(labels)
    adata.obsm["X_umap"] = umap
    names = adata.obs["leiden"].cat.categories
    adata.uns["leiden_colors"] = colors_of(list(names))
    sizes = adata.obs["leiden"].value_counts(sort=False)
    logger.info("%d clusters: %s", len(sizes), sizes.to_dict())
    adata.write_h5ad(clusters)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        normalized=Path(snakemake.input.normalized),
        pca=Path(snakemake.input.pca),
        integrated=Path(snakemake.input.integrated),
        clusters=Path(snakemake.output.clusters),
        settings=ClusterSettings(**snakemake.params.settings),
        seed=snakemake.params.seed,
    )
