"""Differences in the shares of cell types between conditions."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import stats

from _shared.design import (
    Contrast,
    cell_types_of,
    contrast_vector,
    contrasts_of,
    design_matrix,
    sample_table,
    why_nothing,
    why_untestable,
)
from _shared.logs import log_to

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("test_composition")

# added to every count, so that a type without cells has a logarithm
PSEUDOCOUNT = 0.5
COLUMNS = [
    "cell_type",
    "contrast",
    "share_tested",
    "share_reference",
    "log_ratio",
    "lfc_se",
    "statistic",
    "p_value",
    "padj",
]


@dataclass(frozen=True, kw_only=True)
class CompositionSettings:
    """The `test_composition` section of the config; the schema holds the ranges."""

    min_samples: int
    fdr: float


def cells_per_type(samples: pd.Series, cell_types: pd.Series) -> pd.DataFrame:
    """Return the number of cells (samples x cell types), zeros included."""
    table = pd.crosstab(samples.astype(str).to_numpy(), cell_types.to_numpy())
    return table.rename_axis(index="sample", columns="cell_type")


def long_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return number and share of cells, one row per sample and cell type."""
    long = counts.melt(ignore_index=False, value_name="n_cells").reset_index()
    long["share"] = long["n_cells"] / long.groupby("sample")["n_cells"].transform("sum")
    return long.sort_values(["sample", "cell_type"])


def centered_log_ratio(counts: pd.DataFrame) -> pd.DataFrame:
    """Return log counts minus their mean over the types of a sample."""
    logs = np.log(counts + PSEUDOCOUNT)
    return logs.sub(logs.mean(axis=1), axis=0)


def linear_contrast(
    y: pd.DataFrame, matrix: np.ndarray, vector: np.ndarray
) -> pd.DataFrame:
    """Return estimate, standard error, t and p of a contrast, per column of `y`."""
    n, n_coefficients = matrix.shape
    inverse = np.linalg.inv(matrix.T @ matrix)
    coefficients = inverse @ matrix.T @ y.to_numpy()
    residuals = y.to_numpy() - matrix @ coefficients
    variance = (residuals**2).sum(axis=0) / (n - n_coefficients)
    se = np.sqrt(variance * (vector @ inverse @ vector))
    estimate = vector @ coefficients
    # a spread of 0 to within rounding tells nothing of the error
    known = se > 1e-12
    t = np.divide(estimate, se, out=np.full(len(se), np.nan), where=known)
    return pd.DataFrame(
        {
            "log_ratio": estimate,
            "lfc_se": se,
            "statistic": t,
            "p_value": 2 * stats.t.sf(np.abs(t), n - n_coefficients),
        },
        index=y.columns,
    )


def adjusted(p_values: pd.Series) -> pd.Series:
    """Return Benjamini-Hochberg adjusted p-values; what is missing stays missing."""
    padj = p_values.copy()
    known = p_values.notna()
    padj[known] = stats.false_discovery_control(p_values[known]) if known.any() else []
    return padj


def compare_shares(
    counts: pd.DataFrame, samples: pd.DataFrame, formula: str, contrast: Contrast
) -> pd.DataFrame:
    """Test a contrast for every cell type; `counts` has the rows of `samples`."""
    result = linear_contrast(
        centered_log_ratio(counts),
        design_matrix(samples, formula).to_numpy(),
        contrast_vector(samples, formula, contrast),
    )
    shares = counts.div(counts.sum(axis=1), axis=0)
    levels = samples[contrast.column].astype(str)
    result["share_tested"] = shares[levels == contrast.tested].mean()
    result["share_reference"] = shares[levels == contrast.reference].mean()
    result["padj"] = adjusted(result["p_value"])
    result["contrast"] = contrast.name
    return result.rename_axis("cell_type").reset_index()[COLUMNS]


def compare(
    counts: pd.DataFrame, samples: pd.DataFrame, design: dict, *, min_samples: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of all tests and that of what was not tested."""
    tables, reasons = [], {}
    contrasts = contrasts_of(design)
    nothing = why_nothing(samples, design)
    if not nothing and counts.shape[1] < 2:
        nothing = (
            f"All cells have one label ({', '.join(counts.columns)}), so there are no "
            "shares to compare. Give a marker table in annotate_clusters: markers."
        )
    for contrast in contrasts:
        reason = nothing or why_untestable(
            samples, design["formula"], contrast, min_samples=min_samples
        )
        if reason:
            reasons[contrast.name] = reason
        else:
            tables.append(compare_shares(counts, samples, design["formula"], contrast))
    if nothing and not contrasts:
        reasons[""] = nothing
    untested = pd.DataFrame(list(reasons.items()), columns=["contrast", "reason"])
    return (
        pd.concat(tables, ignore_index=True)
        if tables
        else pd.DataFrame(columns=COLUMNS),
        untested,
    )


def main(
    *,
    clusters: Path,
    annotation: Path,
    composition: Path,
    shares: Path,
    untested: Path,
    design: dict,
    settings: CompositionSettings,
) -> None:
    """Write shares per sample, the tests, and what was not tested and why."""
    # only the table of cells is needed, not the matrix
    with h5py.File(clusters) as file:
        cells = ad.io.read_elem(file["obs"])
    samples = sample_table(cells, design)
    counts = cells_per_type(cells["sample"], cell_types_of(cells, annotation))
    counts = counts.reindex(samples.index)
    long_table(counts).to_csv(shares, sep="\t", index=False, float_format="%.6g")

    result, skipped = compare(counts, samples, design, min_samples=settings.min_samples)
    for row in skipped.itertuples():
        logger.info("not tested: %s: %s", row.contrast, row.reason)
    n_found = (result["padj"] < settings.fdr).sum()
    logger.info("%d of %d shares differ", n_found, len(result))
    result.to_csv(composition, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        annotation=Path(snakemake.input.annotation),
        composition=Path(snakemake.output.composition),
        shares=Path(snakemake.output.shares),
        untested=Path(snakemake.output.untested),
        design=snakemake.params.design,
        settings=CompositionSettings(**snakemake.params.settings),
    )
