"""Which clusters may be doublets of two others.

As `findDoubletClusters` of scDblFinder (after Bach et al. 2017): the profile of a
cluster of doublets lies between those of its two parents, so it has next to no genes
above, or below, both. It is told, and never removed: a type between two others, as on
the way from one to the other, looks the same but for scores and counts.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from scipy import sparse

# how far a gene must be above, or below, both parents: Student's t and times
LEAST_T = 4.5
LEAST_FOLD = 1.5
# of cells with few counts, a profile is not known
LEAST_CELLS = 10
# so many genes beyond both parents are no type of their own
MOST_GENES_AGAINST = 10
# times the median score of all cells, and at least this
RAISED_SCORE = 3
LEAST_SCORE = 0.15
# times the counts of the larger parent
RAISED_COUNTS = 1.1
COLUMNS = {
    "cluster": str,
    "n_cells": int,
    "parent_1": str,
    "parent_2": str,
    "n_genes_against": float,
    "median_score": float,
    "lib_size_ratio": float,
    "flagged": bool,
    "reason": str,
}


@dataclass(kw_only=True)
class Moments:
    """Sums over the cells of each cluster, while they are added up (cluster x gene)."""

    clusters: list[str]
    n_genes: int
    total: np.ndarray = field(init=False)
    squares: np.ndarray = field(init=False)
    n_cells: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.total = np.zeros((len(self.clusters), self.n_genes))
        self.squares = np.zeros((len(self.clusters), self.n_genes))
        self.n_cells = np.zeros(len(self.clusters), dtype=int)

    def add(self, counts: sparse.csr_matrix, labels: np.ndarray) -> None:
        """Add cells (raw counts, cells x genes) with the name of the cluster of each.

        Their shares of counts are added, in counts per 10,000: those of a doublet are
        the mean of its cells' shares, which logarithms would not be.
        """
        codes = pd.Index(self.clusters).get_indexer(np.asarray(labels, dtype=str))
        sums = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
        shares = counts.astype(float)
        shares.data *= np.repeat(1e4 / sums, np.diff(shares.indptr))
        shape = len(self.clusters), len(codes)
        member = sparse.csr_matrix(
            (np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=shape
        )
        self.total += (member @ shares).toarray()
        shares.data **= 2
        self.squares += (member @ shares).toarray()
        self.n_cells += np.bincount(codes, minlength=len(self.clusters))

    def mean(self) -> np.ndarray:
        """Return the mean per cluster and gene."""
        return self.total / np.maximum(self.n_cells, 1)[:, None]

    def error(self) -> np.ndarray:
        """Return the squared standard error of the mean per cluster and gene."""
        n = np.maximum(self.n_cells, 2)[:, None]
        variance = np.maximum(self.squares - n * self.mean() ** 2, 0) / (n - 1)
        # a gene that is in no cell of a few has no variance, and is not known exactly
        return (variance + self.mean().mean(axis=0) / n) / n


def genes_against(moments: Moments, cluster: int) -> np.ndarray:
    """Return how many genes are above, or below, both of each two clusters.

    Clusters x clusters; infinite where the two cannot be the parents of `cluster`: one
    of them is the cluster itself, or smaller than it, or they are the same.
    """
    mean, error = moments.mean(), moments.error()
    own = mean[cluster]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (own - mean) / np.sqrt(error + error[cluster])
    above = ((t > LEAST_T) & (own > LEAST_FOLD * mean)).astype(np.float32)
    below = ((t < -LEAST_T) & (own * LEAST_FOLD < mean)).astype(np.float32)
    against = above @ above.T + below @ below.T
    unfit = moments.n_cells < moments.n_cells[cluster]
    unfit[cluster] = True
    against[unfit] = against[:, unfit] = np.inf
    np.fill_diagonal(against, np.inf)
    return against


def doublet_clusters(
    moments: Moments, *, labels: pd.Series, totals: pd.Series, scores: pd.Series
) -> pd.DataFrame:
    """Return for each cluster which two it lies between, and whether it is flagged.

    Parameters
    ----------
    moments
        Made of all cells; its clusters are the rows, in its order.
    labels, totals, scores
        Cluster, counts and doublet score of each cell (NaN: not scored).

    Returns
    -------
    pandas.DataFrame
        `n_genes_against` genes beyond both parents, of the two that leave the fewest;
        `lib_size_ratio` counts beside the parent with more. `reason` says what speaks
        against doublets, or for them where it is flagged.
    """
    labels = labels.astype(str)
    sizes = totals.groupby(labels).median().reindex(moments.clusters).to_numpy()
    medians = scores.groupby(labels).median().reindex(moments.clusters).to_numpy()
    raised = max(LEAST_SCORE, RAISED_SCORE * np.nan_to_num(scores.median()))
    rows = []
    for number, cluster in enumerate(moments.clusters):
        row = {
            "cluster": cluster,
            "n_cells": int(moments.n_cells[number]),
            "parent_1": "",
            "parent_2": "",
            "n_genes_against": np.nan,
            "median_score": medians[number],
            "lib_size_ratio": np.nan,
            "flagged": False,
        }
        against = genes_against(moments, number)
        if row["n_cells"] < LEAST_CELLS:
            row["reason"] = f"fewer than {LEAST_CELLS} cells"
        elif not np.isfinite(against).any():
            row["reason"] = "no two larger clusters"
        else:
            # first parents that are themselves no doublets: few counts, low scores
            unlikely = (RAISED_COUNTS * sizes > sizes[number]) | (medians >= raised)
            likely = np.where(unlikely | unlikely[:, None], np.inf, against)
            if np.isfinite(likely).any():
                against = likely
            pair = np.unravel_index(np.argmin(against), against.shape)
            parents = [moments.clusters[of] for of in pair]
            row["parent_1"], row["parent_2"] = parents
            row["n_genes_against"] = float(against[pair])
            row["lib_size_ratio"] = sizes[number] / max(sizes[list(pair)].max(), 1)
            judged = {
                "genes of its own": row["n_genes_against"] <= MOST_GENES_AGAINST,
                "doublet scores are not raised": row["median_score"] >= raised,
                "no more counts than its parents": row["lib_size_ratio"]
                >= RAISED_COUNTS,
            }
            row["flagged"] = all(judged.values())
            row["reason"] = (
                f"between {parents[0]} and {parents[1]}, raised scores and counts"
                if row["flagged"]
                else "; ".join(said for said, holds in judged.items() if not holds)
            )
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
