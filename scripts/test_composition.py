"""Differences in the shares of cell types between conditions."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import pandas as pd

from _shared.design import (
    EXPLORATORY,
    REFUSED,
    Contrast,
    Design,
    cell_types_of,
    contrast_vector,
    design_matrix,
    group_means,
    judge,
    read_design,
    sample_table,
    unit_table,
    units_of,
    why_nothing,
)
from _shared.jobs import job
from _shared.log_ratios import moderated_effects, plain_effects
from _shared.sample_columns import with_sheet

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("test_composition")

COLUMNS = [
    "cell_type",
    "contrast",
    "evidence",
    "share_tested",
    "share_reference",
    "log2_ratio",
]
UNTESTED_COLUMNS = ["cell_type", "contrast", "reason"]


@dataclass(frozen=True, kw_only=True)
class CompositionSettings:
    """The `test_composition` section of the config; the schema holds the ranges."""

    min_samples: int
    min_cells: int
    min_cells_per_type: float
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


def compare_shares(
    counts: pd.DataFrame,
    shares: pd.DataFrame,
    samples: pd.DataFrame,
    design: Design,
    contrast: Contrast,
    *,
    evidence: str,
) -> pd.DataFrame:
    """Return the effects of a contrast on the types of `counts`, one row each.

    `counts` and `shares`, which are those among all cells, have the rows of `samples`.
    """
    matrix = design_matrix(samples, design).to_numpy()
    vector = contrast_vector(samples, design, contrast)
    look = plain_effects if evidence == EXPLORATORY else moderated_effects
    result = look(counts, matrix, vector)
    tested, reference = group_means(shares, samples, contrast)
    # a slope or an interaction has not two groups
    result["share_tested"] = float("nan") if tested is None else tested
    result["share_reference"] = float("nan") if reference is None else reference
    result["contrast"], result["evidence"] = contrast.name, evidence
    result = result.rename_axis("cell_type").reset_index()
    return result[[*COLUMNS, *result.columns.difference(COLUMNS, sort=False)]]


def why_no_shares(counts: pd.DataFrame) -> str:
    """Return why no share can be compared, or ""."""
    if counts.shape[1] < 2:
        return (
            f"All cells have one label ({', '.join(counts.columns)}), so there are no "
            "shares to compare. Give a marker table in annotate_clusters: markers."
        )
    return ""


def look_at(
    contrast: Contrast,
    counts: pd.DataFrame,
    samples: pd.DataFrame,
    design: Design,
    settings: CompositionSettings,
) -> tuple[pd.DataFrame | None, dict[str, str]]:
    """Return the effects of a contrast, and why types ("": all) were not tested."""
    if samples.empty:
        return None, {"": f"No sample has {settings.min_cells} cells."}
    judgement = judge(samples, design, contrast, min_samples=settings.min_samples)
    if judgement.evidence == REFUSED:
        return None, {"": judgement.reason}
    if judgement.reason:
        logger.info("%s: %s: %s", contrast.name, judgement.evidence, judgement.reason)
    shares = counts.div(counts.sum(axis=1), axis=0)
    # the log ratio of a type with next to no cells follows the size of the sample
    is_common = counts.mean() >= settings.min_cells_per_type
    too_few = (
        f"Fewer than {settings.min_cells_per_type:g} cells per sample on average "
        "(test_composition: min_cells_per_type)"
    )
    if is_common.sum() < 2:
        return None, {"": f"{too_few} in all cell types but one."}
    table = compare_shares(
        counts.loc[:, is_common],
        shares.loc[:, is_common],
        samples,
        design,
        contrast,
        evidence=judgement.evidence,
    )
    reasons = dict.fromkeys(counts.columns[~is_common], f"{too_few}.")
    if judgement.evidence == EXPLORATORY:
        return table, {"": judgement.reason} | reasons
    return table, reasons


def compare(
    counts: pd.DataFrame,
    samples: pd.DataFrame,
    design: Design,
    settings: CompositionSettings,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the effects of all contrasts, and what was not tested and why.

    `counts` (samples x types) and `samples` have one row per unit.
    """
    tables, skipped = [pd.DataFrame(columns=COLUMNS)], []
    nothing = why_nothing(samples, design) or why_no_shares(counts)
    if nothing:
        names = [contrast.name for contrast in design.contrasts] or [""]
        skipped = [("", name, nothing) for name in names]
    else:
        n_cells = counts.sum(axis=1)
        small = n_cells.index[n_cells < settings.min_cells]
        counts, samples = counts.drop(index=small), samples.drop(index=small)
        of_small = ""
        if len(small):
            of_small = f" Left out: {', '.join(small)}, with fewer than "
            of_small += f"{settings.min_cells} cells."
            logger.info(of_small.strip())
        for contrast in design.contrasts:
            table, reasons = look_at(contrast, counts, samples, design, settings)
            skipped += [
                (cell_type, contrast.name, reason + (of_small if not cell_type else ""))
                for cell_type, reason in reasons.items()
            ]
            if table is not None:
                tables.append(table)
    result = pd.concat(tables[1:] or tables, ignore_index=True)
    return result, pd.DataFrame(skipped, columns=UNTESTED_COLUMNS)


def main(
    *,
    clusters: Path,
    annotation: Path,
    composition: Path,
    shares: Path,
    untested: Path,
    design: dict,
    sheet: dict[str, dict[str, str]],
    settings: CompositionSettings,
) -> None:
    """Write shares per sample, the tests, and what was not tested and why."""
    # only the table of cells is needed, not the matrix
    with h5py.File(clusters) as file:
        cells = ad.io.read_elem(file["obs"])
    asked = read_design(design)
    samples = sample_table(with_sheet(cells, sheet), asked)
    # technical repeats are one sample
    units = units_of(samples, asked)
    samples = unit_table(samples, asked)
    names = cells["sample"].astype(object).map(units)
    counts = cells_per_type(names, cell_types_of(cells, annotation))
    counts = counts.reindex(samples.index)
    long_table(counts).to_csv(shares, sep="\t", index=False, float_format="%.6g")

    result, skipped = compare(counts, samples, asked, settings)
    for row in skipped.itertuples():
        logger.info("not tested: %s %s: %s", row.contrast, row.cell_type, row.reason)
    n_found = int((result["padj"] < settings.fdr).sum()) if "padj" in result else 0
    logger.info("%d of %d shares differ", n_found, len(result))
    result.to_csv(composition, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            composition=Path(snakemake.output.composition),
            shares=Path(snakemake.output.shares),
            untested=Path(snakemake.output.untested),
            design=snakemake.params.design,
            sheet=snakemake.params.sheet,
            settings=CompositionSettings(**snakemake.params.settings),
        )
