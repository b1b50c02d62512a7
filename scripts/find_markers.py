"""Genes that set each cluster and each cell type apart, by the Wilcoxon rank-sum test.

Each is compared with all other cells, and with the one that is nearest to it. That the
groups were made from the same genes makes p-values small: they rank genes, no more.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import stats

from _shared.jobs import job
from _shared.marker_table import UNKNOWN
from _shared.rank_test import Pair, Ranks, cells_to_rank, ranked, tested
from _shared.streams import Matrix, in_order

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_markers")

COLUMNS = [
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
    "nearest",
    "nearest_rank",
    "nearest_score",
    "nearest_log2_fold_change",
    "nearest_auc",
]
# the codes of the clusters of a cluster (its own) or of a cell type
Groups = dict[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class MarkerSettings:
    """The `find_markers` section of the config; the schema holds the ranges."""

    n_genes: int
    n_nearest: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Of all clusters and detected genes: levels of all cells, ranks of the ranked.

    `sums` of normalized counts and `n_found`, cells with a gene, are clusters x genes;
    `sizes` are the cells of each cluster.
    """

    detected: np.ndarray
    sums: np.ndarray
    n_found: np.ndarray
    sizes: np.ndarray
    ranks: Ranks
    pairs: list[Pair]


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


def groups_of_types(labels: pd.Series, clusters: pd.Index) -> Groups:
    """Return the clusters of every cell type, by name; `labels` is by cluster."""
    types = labels.reindex(clusters).fillna(UNKNOWN)
    names = sorted(set(types) - {UNKNOWN})
    return {name: tuple(np.flatnonzero(types == name).tolist()) for name in names}


def nearest_groups(
    groups: Groups, centers: np.ndarray, sizes: np.ndarray
) -> dict[str, str]:
    """Return the other group whose center is closest, of a tie the first by name.

    `centers` (clusters x components) and `sizes` are of the clusters. Without another
    group there is no entry.
    """
    names = sorted(groups)
    if len(names) < 2:
        return {}
    own = np.array(
        [
            np.average(centers[list(groups[n])], axis=0, weights=sizes[list(groups[n])])
            for n in names
        ]
    )
    apart = np.square(own[:, None] - own).sum(axis=-1)
    np.fill_diagonal(apart, np.inf)
    return {name: names[apart[row].argmin()] for row, name in enumerate(names)}


def pairs_of(groups: Groups, nearest: dict[str, str]) -> set[Pair]:
    """Return the groups that are compared, each two of them once."""
    return {tuple(sorted((groups[a], groups[b]))) for a, b in nearest.items()}


def measure(
    x: Matrix,
    codes: np.ndarray,
    n_clusters: int,
    *,
    pairs: list[Pair],
    threads: int = 1,
) -> Measured:
    """Return what all comparisons are made from.

    Where there are too many cells, the ranks alone are of a part of them.
    """
    sums, n_found = levels_by_cluster(x, codes, n_clusters, threads=threads)
    per_gene = n_found.sum(axis=0)
    flags = cells_to_rank(codes, n_clusters, n_entries=int(x.ends[-1]))
    if flags is not None:
        logger.info("%d of %d cells are ranked", flags.sum(), len(flags))
    detected = np.flatnonzero(per_gene)
    return Measured(
        detected=detected,
        sums=sums[:, detected],
        n_found=n_found[:, detected],
        sizes=np.bincount(codes, minlength=n_clusters),
        ranks=ranked(
            x,
            codes,
            n_clusters,
            n_found=per_gene,
            pairs=pairs,
            flags=flags,
            threads=threads,
        ),
        pairs=pairs,
    )


def log2_ratio(
    of: Measured, inside: tuple[int, ...], outside: tuple[int, ...]
) -> np.ndarray:
    """Return the fold change of mean normalized counts, with 1 added to both."""
    one, other = (
        of.sums[list(side)].sum(axis=0) / of.sizes[list(side)].sum() + 1
        for side in (inside, outside)
    )
    return np.log2(one / other)


def against_rest(of: Measured, group: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Compare a group with all other cells: every column, of the detected genes."""
    inside = list(group)
    rest = tuple(sorted(set(range(len(of.sizes))) - set(group)))
    result = tested(
        of.ranks.sums[inside].sum(axis=0),
        of.ranks.ties,
        n_inside=of.ranks.sizes[inside].sum(),
        n_outside=of.ranks.sizes[list(rest)].sum(),
    )
    result["log2_fold_change"] = log2_ratio(of, group, rest)
    for name, side in (("pct_in", inside), ("pct_out", list(rest))):
        result[name] = 100 * of.n_found[side].sum(axis=0) / of.sizes[side].sum()
    result["padj"] = stats.false_discovery_control(result["p_value"])
    return result


def against_nearest(
    of: Measured, group: tuple[int, ...], nearest: tuple[int, ...]
) -> dict[str, np.ndarray]:
    """Compare a group with one other: score, AUC and fold change of detected genes."""
    pair = tuple(sorted((group, nearest)))
    row = of.pairs.index(pair)
    first, second = (of.ranks.sizes[list(side)].sum() for side in pair)
    sums, ties = of.ranks.pair_sums[row], of.ranks.pair_ties[row]
    if pair[0] != group:
        n = first + second
        sums = n * (n + 1) / 2 - sums
        first, second = second, first
    result = tested(sums, ties, n_inside=first, n_outside=second)
    return {
        "nearest_score": result["score"],
        "nearest_auc": result["auc"],
        "nearest_log2_fold_change": log2_ratio(of, group, nearest),
    }


def places(scores: np.ndarray) -> np.ndarray:
    """Return the rank of each score, from 1 for the highest; of equals the first."""
    result = np.empty(len(scores), dtype=np.int64)
    result[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return result


def marker_table(
    of: Measured,
    groups: Groups,
    nearest: dict[str, str],
    var: pd.DataFrame,
    settings: MarkerSettings,
    *,
    kind: str,
) -> pd.DataFrame:
    """Return the best genes of every group against the rest and against the nearest.

    A gene has one row; `rank` and `nearest_rank` are its places among all detected
    genes. `kind` is the name of the column of groups.
    """
    tables = [pd.DataFrame(columns=[kind, *COLUMNS])]
    for name, group in groups.items():
        if len(group) == len(of.sizes):
            continue
        values = against_rest(of, group)
        values["rank"] = places(values["score"])
        keep = values["rank"] <= settings.n_genes
        values |= {"nearest": "", "nearest_rank": pd.NA}
        if name in nearest:
            values["nearest"] = nearest[name]
            values |= against_nearest(of, group, groups[nearest[name]])
            values["nearest_rank"] = places(values["nearest_score"])
            keep |= values["nearest_rank"] <= settings.n_nearest
        genes = var.iloc[of.detected]
        values |= {kind: name, "gene_id": genes.index}
        values["gene_name"] = genes["gene_name"].to_numpy()
        table = pd.DataFrame(values).reindex(columns=[kind, *COLUMNS])[keep]
        tables.append(table.sort_values("rank"))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def best_markers(
    x: Matrix,
    leiden: pd.Series,
    scores: np.ndarray,
    labels: pd.Series,
    var: pd.DataFrame,
    settings: MarkerSettings,
    *,
    threads: int = 1,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the markers of clusters and of cell types; none for one cluster.

    Parameters
    ----------
    scores
        The components in which clusters were found (cells x components).
    labels
        The cell type of every cluster, by its name.
    """
    clusters = leiden.cat.categories
    codes = leiden.cat.codes.to_numpy().astype(np.int64)
    by_kind = {
        "cluster": {name: (code,) for code, name in enumerate(clusters)},
        "cell_type": groups_of_types(labels, clusters),
    }
    if len(clusters) < 2 or x.ends[-1] == 0:
        empty = (pd.DataFrame(columns=[kind, *COLUMNS]) for kind in by_kind)
        return tuple(empty)
    sizes = np.bincount(codes, minlength=len(clusters))
    centers = np.stack(
        [scores[codes == code].mean(axis=0, dtype=float) for code in range(len(sizes))]
    )
    nearest = {k: nearest_groups(g, centers, sizes) for k, g in by_kind.items()}
    pairs = set().union(*(pairs_of(by_kind[kind], nearest[kind]) for kind in by_kind))
    of = measure(x, codes, len(clusters), pairs=sorted(pairs), threads=threads)
    return tuple(
        marker_table(of, groups, nearest[kind], var, settings, kind=kind)
        for kind, groups in by_kind.items()
    )


def main(
    *,
    clusters: Path,
    annotation: Path,
    markers: Path,
    cell_type_markers: Path,
    settings: MarkerSettings,
    n_pcs: int,
    threads: int = 1,
) -> None:
    """Write the best markers of every cluster and of every cell type.

    `n_pcs` is the number of components that the clustering used.
    """
    labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        tables = best_markers(
            Matrix(file["X"]),
            obs["leiden"],
            file["obsm/X_integrated"][:, :n_pcs],
            labels.set_index("cluster")["cell_type"],
            var,
            settings,
            threads=threads,
        )
    if tables[0].empty:
        logger.warning("fewer than two clusters: nothing to compare")
    for path, table in zip((markers, cell_type_markers), tables, strict=True):
        logger.info("%s: %d rows", path.name, len(table))
        table.to_csv(path, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            markers=Path(snakemake.output.markers),
            cell_type_markers=Path(snakemake.output.cell_type_markers),
            settings=MarkerSettings(**snakemake.params.settings),
            n_pcs=snakemake.params.n_pcs,
            threads=snakemake.threads,
        )
