"""Genes that set each cluster apart, by the Wilcoxon rank-sum test."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import stats

from _shared.logs import log_to
from _shared.rank_test import MOST_GENES, packed, rank_sums, tested
from _shared.streams import Matrix, in_order

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_markers")

# values sorted at once: 400 MB
BLOCK = 50_000_000
# values that are ranked at all (of about 200,000 cells), and of a cluster so many cells
MOST_ENTRIES = 400_000_000
FEWEST_RANKED = 500

COLUMNS = [
    "cluster",
    "rank",
    "gene_id",
    "gene_name",
    "score",
    "log2_fold_change",
    "p_value",
    "padj",
    "pct_in",
    "pct_out",
    "auc",
]


@dataclass(frozen=True, kw_only=True)
class MarkerSettings:
    """The `find_markers` section of the config; the schema holds the ranges."""

    n_genes: int


def levels_by_cluster(
    x: Matrix, codes: np.ndarray, n_clusters: int, *, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return sums of normalized counts and numbers of cells with a gene, by cluster.

    Both are clusters x genes; `x` holds log(1 + normalized counts).
    """
    size = n_clusters * x.shape[1]

    def summed(rows: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        part = x.rows(*rows)
        place = part.indices + np.repeat(
            codes[slice(*rows)] * x.shape[1], np.diff(part.indptr)
        )
        linear = np.expm1(part.data)
        found = np.bincount(place[part.data > 0], minlength=size)
        return np.bincount(place, weights=linear, minlength=size), found

    sums, n_found = np.zeros(size), np.zeros(size, dtype=np.int64)
    for linear, found in in_order(summed, x.pieces(), threads=threads):
        sums += linear
        n_found += found
    shape = (n_clusters, x.shape[1])
    return sums.reshape(shape), n_found.reshape(shape)


def cells_to_rank(
    codes: np.ndarray, n_clusters: int, *, n_entries: int
) -> np.ndarray | None:
    """Return a flag per cell, None for all: the same share of each cluster.

    Of a small cluster more, so that each has `FEWEST_RANKED` where it can.
    """
    if n_entries <= MOST_ENTRIES:
        return None
    rng = np.random.default_rng(0)
    flags = np.zeros(len(codes), dtype=bool)
    for k in range(n_clusters):
        cells = np.flatnonzero(codes == k)
        n = int(np.ceil(len(cells) * MOST_ENTRIES / n_entries))
        n = min(max(n, FEWEST_RANKED), len(cells))
        flags[rng.choice(cells, n, replace=False)] = True
    return flags


def gene_blocks(n_found: np.ndarray) -> list[np.ndarray]:
    """Return the positions of genes that are ranked together: so many entries each."""
    genes = np.flatnonzero(n_found)
    block = np.cumsum(n_found[genes]) // BLOCK
    blocks = np.split(genes, np.flatnonzero(np.diff(block)) + 1)
    return [
        part[i : i + MOST_GENES]
        for part in blocks
        for i in range(0, len(part), MOST_GENES)
    ]


def ranked(
    x: Matrix,
    codes: np.ndarray,
    n_clusters: int,
    *,
    genes: np.ndarray,
    n_entries: int,
    flags: np.ndarray | None,
    threads: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Return rank sums (clusters x genes) and ties of genes, of the flagged cells.

    All cells have `n_entries` values of these genes.
    """
    number = np.full(x.shape[1], -1, dtype=np.int32)
    number[genes] = np.arange(len(genes))

    def keys_of(rows: tuple[int, int]) -> np.ndarray:
        part, cluster = x.rows(*rows), codes[slice(*rows)]
        if flags is not None:
            part, cluster = part[flags[slice(*rows)]], cluster[flags[slice(*rows)]]
        gene, cluster = number[part.indices], np.repeat(cluster, np.diff(part.indptr))
        keep = (gene >= 0) & (part.data > 0)
        return packed(gene[keep], part.data[keep], cluster[keep])

    keys, end = np.empty(n_entries, dtype=np.int64), 0
    for part in in_order(keys_of, x.pieces(), threads=threads):
        keys[end : end + len(part)] = part
        end += len(part)
    keys = keys[:end]
    keys.sort()
    chosen = codes if flags is None else codes[flags]
    sizes = np.bincount(chosen, minlength=n_clusters)
    return rank_sums(keys, sizes, n_genes=len(genes))


def compared(
    x: Matrix, codes: np.ndarray, n_clusters: int, *, threads: int = 1
) -> tuple[np.ndarray, dict]:
    """Return the detected genes, and every column as an array (clusters x these).

    The fold change is that of the mean normalized counts, with 1 added to both. Beyond
    `MOST_ENTRIES` the ranks alone are of a part of the cells.
    """
    sums, n_found = levels_by_cluster(x, codes, n_clusters, threads=threads)
    per_gene = n_found.sum(axis=0)
    detected = np.flatnonzero(per_gene)
    flags = cells_to_rank(codes, n_clusters, n_entries=int(x.ends[-1]))
    if flags is not None:
        logger.info("%d of %d cells are ranked", flags.sum(), len(flags))
    share = 1 if flags is None else flags.mean()
    blocks = [
        ranked(
            x,
            codes,
            n_clusters,
            genes=genes,
            n_entries=per_gene[genes].sum(),
            flags=flags,
            threads=threads,
        )
        for genes in gene_blocks(per_gene * share)
    ]
    rank_sum = np.hstack([block[0] for block in blocks])
    ties = np.concatenate([block[1] for block in blocks])
    chosen = codes if flags is None else codes[flags]
    result = tested(rank_sum, ties, np.bincount(chosen, minlength=n_clusters))

    mean, n_found = sums[:, detected], n_found[:, detected]
    size = np.bincount(codes, minlength=n_clusters)[:, None]
    rest = len(codes) - size
    result["log2_fold_change"] = np.log2(
        (mean / size + 1) / ((mean.sum(axis=0) - mean) / rest + 1)
    )
    result["pct_in"] = 100 * n_found / size
    result["pct_out"] = 100 * (n_found.sum(axis=0) - n_found) / rest
    result["padj"] = stats.false_discovery_control(result["p_value"], axis=1)
    return detected, result


def best_markers(
    x: Matrix, leiden: pd.Series, var: pd.DataFrame, *, n_genes: int, threads: int = 1
) -> pd.DataFrame:
    """Return the genes with the highest scores per cluster; none for one cluster."""
    clusters = leiden.cat.categories
    if len(clusters) < 2 or x.ends[-1] == 0:
        return pd.DataFrame(columns=COLUMNS)
    codes = leiden.cat.codes.to_numpy().astype(np.int64)
    detected, result = compared(x, codes, len(clusters), threads=threads)
    tables = []
    for k, cluster in enumerate(clusters):
        best = np.argsort(-result["score"][k], kind="stable")[:n_genes]
        genes = var.iloc[detected[best]]
        values = {name: value[k, best] for name, value in result.items()}
        values |= {"cluster": cluster, "rank": np.arange(1, len(best) + 1)}
        values |= {"gene_id": genes.index, "gene_name": genes["gene_name"].to_numpy()}
        tables.append(pd.DataFrame(values)[COLUMNS])
    return pd.concat(tables, ignore_index=True)


def main(
    *, clusters: Path, markers: Path, settings: MarkerSettings, threads: int = 1
) -> None:
    """Write the best markers of every cluster."""
    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        table = best_markers(
            Matrix(file["X"]),
            obs["leiden"],
            var,
            n_genes=settings.n_genes,
            threads=threads,
        )
    if table.empty:
        logger.warning("fewer than two clusters: nothing to compare")
    logger.info("%d rows", len(table))
    table.to_csv(markers, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        markers=Path(snakemake.output.markers),
        settings=MarkerSettings(**snakemake.params.settings),
        threads=snakemake.threads,
    )
