"""Differential expression between conditions, per cell type, on pseudobulks."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import stats
from threadpoolctl import threadpool_limits

from _shared.deseq import DeseqModel
from _shared.design import (
    Contrast,
    Design,
    contrast_vector,
    design_matrix,
    judge,
    read_design,
    why_nothing,
)
from _shared.jobs import job
from _shared.quasi_likelihood import Model
from _shared.shrinkage import shrunken
from _shared.streams import in_order

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("test_expression")

# the pseudobulk of all cells of a unit
ALL = "all"
# the label of clusters that have none
UNKNOWN = "unknown"
# a trend of dispersion over mean needs some genes
MIN_GENES = 10
# counts added for effects without an error, which therefore cannot be shrunken by it
EXPLORATORY_PRIOR = 2.0
TESTS = ["lfc_se", "statistic", "p_value", "padj"]
COLUMNS = [
    "cell_type",
    "contrast",
    "gene_id",
    "gene_name",
    "evidence",
    "base_mean",
    "log2_fold_change",
    "lfc_se",
    "log2_fold_change_shrunken",
    "statistic",
    "p_value",
    "padj",
]


@dataclass(frozen=True, kw_only=True)
class ExpressionSettings:
    """The `test_expression` section of the config; the schema holds the ranges."""

    method: str
    min_cells: int
    min_samples: int
    min_counts: float
    fdr: float


@dataclass
class Found:
    """Result tables of a cell type, and why contrasts were not tested, by name."""

    tables: list[pd.DataFrame]
    reasons: dict[str, str]


def counts_of(bulk: ad.AnnData, *, min_counts: float) -> pd.DataFrame:
    """Return samples x genes, those with enough counts per sample on average."""
    total = np.asarray(bulk.X.sum(axis=0)).ravel()
    keep = total >= max(min_counts * bulk.n_obs, 1)
    return pd.DataFrame(
        bulk.X[:, np.flatnonzero(keep)].toarray().astype(float),
        index=bulk.obs["sample"],
        columns=bulk.var_names[keep],
    )


def effects(model: Model, vector: np.ndarray) -> dict[str, np.ndarray]:
    """Return the effects alone, of samples that do not tell their error."""
    return {
        "log2_fold_change": model.effects(vector),
        "log2_fold_change_shrunken": model.effects(vector, prior=EXPLORATORY_PRIOR),
    }


def tests(model: Model, vector: np.ndarray) -> dict[str, np.ndarray]:
    """Return the effects with their errors and tests."""
    found = model.tested(vector)
    parts = found["log2_fold_change"], found["lfc_se"], found["p_value"]
    return found | {
        "log2_fold_change_shrunken": shrunken(*parts),
        "padj": stats.false_discovery_control(found["p_value"]),
    }


def compare_type(
    bulk: ad.AnnData, design: Design, settings: ExpressionSettings
) -> Found:
    """Compare the pseudobulks of one cell type, one per sample."""
    enough = bulk[bulk.obs["n_cells"] >= settings.min_cells]
    samples = enough.obs.set_index("sample")
    n_dropped = bulk.n_obs - enough.n_obs
    note = f" ({n_dropped} samples have fewer than {settings.min_cells} cells of it.)"
    note *= n_dropped > 0
    if samples.empty:
        reason = "No sample has cells enough." + note
        return Found([], dict.fromkeys((c.name for c in design.contrasts), reason))
    counts = counts_of(enough, min_counts=settings.min_counts)
    if counts.shape[1] < MIN_GENES:
        reason = (
            f"{counts.shape[1]} genes have {settings.min_counts:g} counts per sample "
            f"or more; {MIN_GENES} are needed. Lower test_expression: min_counts."
        )
        reasons = dict.fromkeys((c.name for c in design.contrasts), reason + note)
        return Found([], reasons)
    found = Found([], {})
    matrix = None
    for contrast in design.contrasts:
        verdict = judge(samples, design, contrast, min_samples=settings.min_samples)
        if verdict.evidence in ("refused", "exploratory"):
            found.reasons[contrast.name] = verdict.reason + note
        if verdict.evidence == "refused":
            continue
        if matrix is None:
            matrix = design_matrix(samples, design)
            model = Model(counts.to_numpy(), matrix.to_numpy())
            deseq = DeseqModel(counts, matrix)
        vector = contrast_vector(samples, design, contrast)
        if verdict.evidence == "exploratory":
            compared = effects(model, vector)
        elif settings.method == "pydeseq2":
            compared = deseq.tested(vector, fdr=settings.fdr)
        else:
            compared = tests(model, vector)
        table = pd.DataFrame(compared, index=counts.columns)
        table["base_mean"] = model.base_mean
        keys = {"contrast": contrast.name, "evidence": verdict.evidence}
        found.tables.append(table.assign(**keys))
    return found


def compare(
    bulk: ad.AnnData, design: Design, settings: ExpressionSettings, *, threads: int = 1
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of all comparisons and that of what was not tested."""
    types = list(bulk.obs["cell_type"].unique())

    def of_type(cell_type: str) -> Found:
        if cell_type == UNKNOWN:
            reason = "Clusters without a label are no cell type; they are part of all."
            return Found([], {c.name: reason for c in design.contrasts})
        own = bulk[(bulk.obs["cell_type"] == cell_type).to_numpy()]
        return compare_type(own, design, settings)

    tables, untested = [], []
    # PyDESeq2 catches warnings, which threads would take from each other
    threads = 1 if settings.method == "pydeseq2" else threads
    # one thread of linear algebra each: many tiny systems of equations
    with threadpool_limits(limits=1):
        results = in_order(of_type, types, threads=threads)
        for cell_type, found in zip(types, results, strict=True):
            tables += [table.assign(cell_type=cell_type) for table in found.tables]
            untested += [(cell_type, *item) for item in found.reasons.items()]
    return long_table(tables, bulk.var), pd.DataFrame(
        untested, columns=["cell_type", "contrast", "reason"]
    )


def long_table(tables: list[pd.DataFrame], var: pd.DataFrame) -> pd.DataFrame:
    """Return all tables as one; without a test, it has no columns of tests."""
    result = pd.concat(tables) if tables else pd.DataFrame(columns=["evidence"])
    result = result.rename_axis("gene_id").reset_index()
    names = var["gene_name"].astype(object)
    result["gene_name"] = names.reindex(result["gene_id"]).to_numpy()
    was_tested = result["evidence"].isin(["tested", "weak"]).any()
    left_out = [] if was_tested else TESTS
    return result.reindex(columns=[c for c in COLUMNS if c not in left_out])


def nothing(reason: str, contrasts: tuple[Contrast, ...]) -> tuple[pd.DataFrame, ...]:
    """Return the two tables where no contrast can be looked at."""
    names = [contrast.name for contrast in contrasts] or [""]
    rows = [(ALL, name, reason) for name in names]
    return (
        pd.DataFrame(columns=[c for c in COLUMNS if c not in TESTS]),
        pd.DataFrame(rows, columns=["cell_type", "contrast", "reason"]),
    )


def main(
    *,
    pseudobulk: Path,
    expression: Path,
    untested: Path,
    design: dict,
    settings: ExpressionSettings,
    threads: int = 1,
) -> None:
    """Write the long table of comparisons, and what was not tested and why."""
    bulk = ad.read_h5ad(pseudobulk)
    asked = read_design(design)
    reason = why_nothing(bulk.obs.drop_duplicates("sample"), asked)
    if reason:
        logger.warning("nothing is tested: %s", reason)
        result, skipped = nothing(reason, asked.contrasts)
    else:
        result, skipped = compare(bulk, asked, settings, threads=threads)
    for row in skipped.itertuples():
        logger.info("not tested: %s, %s: %s", row.cell_type, row.contrast, row.reason)
    for key, table in result.groupby(["cell_type", "contrast"], sort=False):
        if "padj" in table and table["padj"].notna().any():
            n_found = (table["padj"] < settings.fdr).sum()
            logger.info("%s, %s: %d of %d genes", *key, n_found, len(table))
    result.to_csv(expression, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)


if "snakemake" in globals():
    with job(snakemake):
        main(
            pseudobulk=Path(snakemake.input.pseudobulk),
            expression=Path(snakemake.output.expression),
            untested=Path(snakemake.output.untested),
            design=snakemake.params.design,
            settings=ExpressionSettings(**snakemake.params.settings),
            threads=snakemake.threads,
        )
