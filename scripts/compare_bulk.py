"""Whole samples against bulk RNA-seq of the same samples, gene by gene."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.nonparametric.smoothers_lowess import lowess

from _shared.bulk_table import matched, read_bulk
from _shared.jobs import job
from _shared.logs import UserError

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("compare_bulk")

# the pseudobulk of all cells of a sample
ALL = "all"
# added to counts per million before the logarithm
PRIOR = 1.0
# a correlation, and a trend, of fewer genes tells nothing
MIN_GENES = 20
# another sample fits better with this centered correlation, and this lead of it: among
# replicates that are alike 0.2 is reached by chance, a sample's own has 0.4 or more
LEAST_FIT = 0.25
LEAST_LEAD = 0.1
SAMPLE_COLUMNS = [
    "sample",
    "bulk_sample",
    "pearson",
    "spearman",
    "spearman_centered",
    "n_genes",
    "is_best_match",
]
GENE_COLUMNS = [
    "gene_id",
    "gene_name",
    "log2_bulk",
    "log2_pseudobulk",
    "difference",
    "z",
    "disagrees",
]


@dataclass(frozen=True, kw_only=True)
class BulkSettings:
    """The `compare_bulk` section of the config; the schema holds the ranges."""

    table: str
    min_cpm: float
    max_z: float


def log_cpm(counts: pd.DataFrame) -> pd.DataFrame:
    """Return log2 counts per million (genes x samples)."""
    total = counts.sum()
    return np.log2(1e6 * counts.div(total.where(total > 0, 1)) + PRIOR)


def expressed(bulk: pd.DataFrame, single: pd.DataFrame, *, min_cpm: float) -> pd.Index:
    """Return the genes whose mean over samples reaches `min_cpm` in either table.

    Genes that none has would make all samples alike.
    """
    least = np.log2(min_cpm + PRIOR)
    return bulk.index[(bulk.mean(axis=1) >= least) | (single.mean(axis=1) >= least)]


def crossed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the Pearson correlation of all columns of one with all of the other.

    NaN for a constant column, and for fewer genes (rows) than tell anything.
    """
    if len(one) < MIN_GENES:
        return np.full((one.shape[1], other.shape[1]), np.nan)
    scaled = []
    for part in (one, other):
        part = part - part.mean(axis=0)
        norm = np.sqrt((part**2).sum(axis=0))
        scaled.append(part / np.where(norm > 1e-9, norm, np.nan))
    return scaled[0].T @ scaled[1]


def differences_of(levels: pd.DataFrame, common: list[str]) -> pd.DataFrame:
    """Return each gene's differences from its mean over `common`, free of the mean.

    Depth and a few high genes shift rare genes less than others, in any table.
    """
    mean = levels[common].mean(axis=1)
    result = levels.sub(mean, axis=0)
    if len(levels) < MIN_GENES:
        return result
    curve = np.polynomial.legendre.legvander(stats.rankdata(mean) / len(mean), 3)
    return result - curve @ np.linalg.lstsq(curve, result.to_numpy())[0]


def correlations(bulk: pd.DataFrame, single: pd.DataFrame) -> pd.DataFrame:
    """Return how well each sample (columns of `single`) goes with each bulk sample.

    What all samples share is most of a correlation, and makes a deep bulk sample the
    best match of all. So the match is judged on each gene's differences from its mean
    over the samples, in either table, where there are several; by ranks, for rare
    genes differ most.
    """
    common = [sample for sample in single if sample in bulk]
    apart = [differences_of(part, common).round(9) for part in (single, bulk)]
    ranks, ranks_apart = (
        [stats.rankdata(part, axis=0) for part in pair]
        for pair in ([single, bulk], apart)
    )
    pairs = pd.MultiIndex.from_product([single.columns, bulk.columns])
    table = pd.DataFrame(index=pairs.set_names(SAMPLE_COLUMNS[:2])).reset_index()
    table["pearson"] = crossed(single.to_numpy(), bulk.to_numpy()).ravel()
    table["spearman"] = crossed(*ranks).ravel()
    table["spearman_centered"] = crossed(*ranks_apart).ravel()
    table["n_genes"] = len(bulk)
    fit = table["spearman_centered"].fillna(table["pearson"])
    best = fit.groupby(table["sample"]).transform("max")
    return table.assign(is_best_match=fit.notna() & (fit == best))


def swaps(table: pd.DataFrame) -> list[str]:
    """Return a sentence for each sample that another sample's bulk clearly fits better.

    Replicates that hardly differ fit each other's bulk as well as their own.
    """
    told = []
    for sample, rows in table.groupby("sample", sort=False):
        fit = rows.set_index("bulk_sample")["spearman_centered"]
        if sample not in fit or fit.isna().any():
            continue
        best, own = fit.idxmax(), fit[sample]
        lead = max(LEAST_LEAD, 4 / np.sqrt(rows["n_genes"].iloc[0]))
        if fit[best] >= LEAST_FIT and fit[best] - own > lead:
            told.append(
                f"{sample} fits the bulk sample {best} better than its own "
                f"(correlation of differences between samples {fit[best]:.2f} and "
                f"{own:.2f}), so samples may be swapped: check the columns of the bulk "
                "table and the sample sheet."
            )
    return told


def residuals(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return `y` less a robust smooth curve of it over `x`."""
    if len(x) < MIN_GENES or np.ptp(x) == 0:
        return y - np.median(y) if len(y) else y
    curve = lowess(y, x, frac=0.5, it=3, delta=0.01 * np.ptp(x), return_sorted=False)
    # many genes at one place leave holes in the local fit
    return y - np.where(np.isfinite(curve), curve, np.median(y))


def robust_z(residual: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return residuals in units of the spread of genes at about the same level.

    The spread is 1.4826 times the median absolute residual, smoothed over the level,
    for genes with few counts differ more.
    """
    if len(residual) == 0:
        return residual
    size = np.abs(residual)
    overall = 1.4826 * np.median(size)
    if len(size) < MIN_GENES or np.ptp(level) == 0:
        spread = np.full(len(size), overall)
    else:
        order = np.argsort(level, kind="stable")
        window = max(len(size) // 10, MIN_GENES)
        rolling = pd.Series(size[order]).rolling(window, center=True, min_periods=1)
        spread = np.empty(len(size))
        spread[order] = 1.4826 * rolling.median().to_numpy()
    # no spread at all is no measure of what is far
    spread = np.maximum(spread, max(0.1 * overall, 1e-6))
    return residual / spread


def compare_genes(
    bulk: pd.DataFrame, single: pd.DataFrame, *, max_z: float
) -> pd.DataFrame:
    """Return each gene's levels, mean over the samples that both have, and difference.

    `difference` is what the pseudobulk has more than the curve of all genes says.
    """
    of_bulk, of_single = bulk.mean(axis=1), single.mean(axis=1)
    difference = residuals(of_bulk.to_numpy(), of_single.to_numpy())
    level = (of_bulk.to_numpy() + of_single.to_numpy()) / 2
    table = pd.DataFrame(
        {
            "log2_bulk": of_bulk,
            "log2_pseudobulk": of_single,
            "difference": difference,
            "z": robust_z(difference, level),
        },
        index=bulk.index,
    )
    table["disagrees"] = table["z"].abs() > max_z
    order = np.argsort(-table["z"].abs().to_numpy(), kind="stable")
    return table.iloc[order]


def whole_samples(bulk: ad.AnnData) -> pd.DataFrame:
    """Return the counts of whole samples (genes x samples) that have any."""
    own = bulk[(bulk.obs["cell_type"] == ALL).to_numpy()]
    counts = pd.DataFrame(
        own.X.toarray().T.astype(float),
        index=bulk.var_names,
        columns=own.obs["sample"].astype(str).tolist(),
    )
    return counts.loc[:, counts.sum() > 0]


def compare(
    path: Path, single: pd.DataFrame, var: pd.DataFrame, settings: BulkSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the tables of samples and of genes; `single` is genes x samples."""
    bulk = matched(read_bulk(path, list(single)), var, path)
    empty = bulk.columns[bulk.sum() == 0]
    if len(empty):
        raise UserError(
            f"{path}, column '{empty[0]}': has only zeros; give its values or remove "
            "the column."
        )
    left_out = [sample for sample in single if sample not in bulk]
    if left_out:
        logger.warning(
            "%s: has no column for %s; it is compared with the others' bulk alone",
            path,
            ", ".join(left_out),
        )
    of_bulk, of_single = log_cpm(bulk), log_cpm(single.loc[bulk.index])
    genes = expressed(of_bulk, of_single, min_cpm=settings.min_cpm)
    of_bulk, of_single = of_bulk.loc[genes], of_single.loc[genes]
    if len(genes) < MIN_GENES:
        logger.warning(
            "%d genes are expressed in both; %d are needed for a correlation",
            len(genes),
            MIN_GENES,
        )
    table = correlations(of_bulk, of_single)
    both = list(of_bulk)
    of_genes = compare_genes(of_bulk, of_single[both], max_z=settings.max_z)
    of_genes = of_genes.rename_axis("gene_id").reset_index()
    names = var["gene_name"].astype(str)
    of_genes["gene_name"] = names.reindex(of_genes["gene_id"]).to_numpy()
    return table[SAMPLE_COLUMNS], of_genes[GENE_COLUMNS]


def main(
    *,
    pseudobulk: Path,
    table: Path | None,
    samples: Path,
    genes: Path,
    settings: BulkSettings,
) -> None:
    """Write how samples and genes agree with the bulk table; headers without one."""
    of_samples = pd.DataFrame(columns=SAMPLE_COLUMNS)
    of_genes = pd.DataFrame(columns=GENE_COLUMNS)
    if table:
        bulk = ad.read_h5ad(pseudobulk)
        single = whole_samples(bulk)
        if single.empty:
            logger.warning("no sample has counts: nothing to compare")
        else:
            of_samples, of_genes = compare(table, single, bulk.var, settings)
        for sentence in swaps(of_samples):
            logger.warning(sentence)
        n_found = int(of_genes["disagrees"].sum())
        logger.info("%d of %d genes disagree", n_found, len(of_genes))
    of_samples.to_csv(samples, sep="\t", index=False, float_format="%.6g")
    of_genes.to_csv(genes, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    with job(snakemake):
        given = list(snakemake.input.table)
        main(
            pseudobulk=Path(snakemake.input.pseudobulk),
            table=Path(given[0]) if given else None,
            samples=Path(snakemake.output.samples),
            genes=Path(snakemake.output.genes),
            settings=BulkSettings(**snakemake.params.settings),
        )
