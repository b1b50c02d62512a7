"""Differential expression between conditions: DESeq2 on pseudobulks, per cell type."""

import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.deseq import COLUMNS, fitted, tested
from _shared.design import (
    cell_types_of,
    contrast_vector,
    contrasts_of,
    design_matrix,
    sample_table,
    why_nothing,
    why_untestable,
)
from _shared.logs import log_to
from _shared.marker_table import UNKNOWN
from _shared.streams import Matrix, sums_by_group

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("test_expression")

# the pseudobulk of all cells of a sample
ALL = "all"
# a trend of dispersion over mean needs some genes
MIN_GENES = 10
KEYS = ["cell_type", "contrast", "gene_id", "gene_name"]


@dataclass(frozen=True, kw_only=True)
class ExpressionSettings:
    """The `test_expression` section of the config; the schema holds the ranges."""

    min_cells: int
    min_samples: int
    min_counts: int
    fdr: float


def pseudobulk(
    counts: Matrix, cells: pd.DataFrame, cell_types: pd.Series, samples: pd.DataFrame
) -> tuple[np.ndarray, pd.DataFrame]:
    """Return summed counts per sample and cell type, and per whole sample ("all").

    Returns
    -------
    tuple
        Counts (int64, pseudobulks x genes), and for each `sample`, `cell_type`,
        `n_cells` and the columns of `samples`.
    """
    keys = pd.MultiIndex.from_arrays([cells["sample"].astype(object), cell_types])
    groups, present = pd.factorize(keys)
    # whole numbers stay exact in sums of floats up to 2^53
    by_group = sums_by_group(counts, groups, len(present)).astype(np.int64)
    n_cells = np.bincount(groups, minlength=len(present))
    sums, rows = [], []
    for sample in samples.index:
        own = {key[1]: n for n, key in enumerate(present) if key[0] == sample}
        for cell_type in [ALL, *sorted(own)]:
            of = list(own.values()) if cell_type == ALL else [own[cell_type]]
            sums.append(by_group[of].sum(axis=0))
            rows.append((sample, cell_type, n_cells[of].sum()))
    obs = pd.DataFrame(rows, columns=["sample", "cell_type", "n_cells"])
    obs = obs.join(samples, on="sample")
    obs.index = obs["sample"].str.cat(obs["cell_type"], sep=":")
    obs.index.name = None
    return np.array(sums, dtype=np.int64).reshape(len(rows), counts.shape[1]), obs


def counts_of(bulk: ad.AnnData, *, min_counts: int) -> pd.DataFrame:
    """Return samples x genes, those with enough counts per sample on average."""
    total = np.asarray(bulk.X.sum(axis=0)).ravel()
    keep = total >= max(min_counts * bulk.n_obs, 1)
    return pd.DataFrame(
        bulk.X[:, keep].toarray(),
        index=bulk.obs["sample"],
        columns=bulk.var_names[keep],
    )


def compare_type(
    bulk: ad.AnnData, design: dict, settings: ExpressionSettings
) -> tuple[list[pd.DataFrame], dict[str, str]]:
    """Test one cell type: result tables, and reasons by contrast where there is none.

    `bulk` has the pseudobulks of the cell type, one per sample.
    """
    contrasts = contrasts_of(design)
    enough = bulk[bulk.obs["n_cells"] >= settings.min_cells].copy()
    dropped = bulk.n_obs - enough.n_obs
    note = f" ({dropped} samples have fewer than {settings.min_cells} cells of it.)"
    samples = enough.obs.set_index("sample")
    reasons = {
        contrast.name: why_untestable(
            samples, design["formula"], contrast, min_samples=settings.min_samples
        )
        for contrast in contrasts
    }
    counts = counts_of(enough, min_counts=settings.min_counts)
    if counts.shape[1] < MIN_GENES:
        few = (
            f"{counts.shape[1]} genes have {settings.min_counts} counts per sample or "
            f"more; {MIN_GENES} are needed. Lower test_expression: min_counts."
        )
        reasons = {name: reason or few for name, reason in reasons.items()}
    reasons = {
        name: reason + note * (dropped > 0)
        for name, reason in reasons.items()
        if reason
    }
    testable = [contrast for contrast in contrasts if contrast.name not in reasons]
    if not testable:
        return [], reasons

    dataset = fitted(counts, design_matrix(samples, design["formula"]))
    tables = []
    for contrast in testable:
        vector = contrast_vector(samples, design["formula"], contrast)
        table = tested(dataset, vector, fdr=settings.fdr)
        table.insert(0, "contrast", contrast.name)
        tables.append(table)
    return tables, reasons


def compare(
    bulk: ad.AnnData, design: dict, settings: ExpressionSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of all tests and that of what was not tested."""
    tables, untested = [], []
    for cell_type in bulk.obs["cell_type"].unique():
        if cell_type == UNKNOWN:
            reason = "Clusters without a label are no cell type; they are part of all."
            found, reasons = [], {c.name: reason for c in contrasts_of(design)}
        else:
            of_type = bulk[bulk.obs["cell_type"] == cell_type]
            found, reasons = compare_type(of_type, design, settings)
        tables += [table.assign(cell_type=cell_type) for table in found]
        untested += [(cell_type, name, reason) for name, reason in reasons.items()]
    result = pd.concat(tables) if tables else pd.DataFrame(columns=COLUMNS.values())
    result = result.rename_axis("gene_id").reset_index()
    result["gene_name"] = bulk.var["gene_name"].reindex(result["gene_id"]).to_numpy()
    order = [*KEYS, *COLUMNS.values()]
    return (
        result.reindex(columns=order),
        pd.DataFrame(untested, columns=["cell_type", "contrast", "reason"]),
    )


def main(
    *,
    clusters: Path,
    annotation: Path,
    pseudobulk_path: Path,
    expression: Path,
    untested: Path,
    design: dict,
    settings: ExpressionSettings,
) -> None:
    """Write pseudobulks, the long table of tests, and what was not tested and why."""
    with h5py.File(clusters) as file:
        cells, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        samples = sample_table(cells, design)
        types = cell_types_of(cells, annotation)
        counts = Matrix(file["layers/counts"])
        sums, obs = pseudobulk(counts, cells, types, samples)
    bulk = ad.AnnData(sparse.csr_matrix(sums), obs=obs, var=var[["gene_name"]])
    bulk.write_h5ad(pseudobulk_path)
    reason = why_nothing(samples, design)
    if reason:
        logger.warning("nothing is tested: %s", reason)
        names = [contrast.name for contrast in contrasts_of(design)] or [""]
        rows = [(ALL, name, reason) for name in names]
        result = pd.DataFrame(columns=[*KEYS, *COLUMNS.values()])
        skipped = pd.DataFrame(rows, columns=["cell_type", "contrast", "reason"])
    else:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            result, skipped = compare(bulk, design, settings)
        for text in dict.fromkeys(str(warning.message) for warning in caught):
            logger.info("PyDESeq2: %s", text)
    for row in skipped.itertuples():
        logger.info("not tested: %s, %s: %s", row.cell_type, row.contrast, row.reason)
    for key, table in result.groupby(["cell_type", "contrast"], sort=False):
        n_found = (table["padj"] < settings.fdr).sum()
        logger.info("%s, %s: %d of %d genes", *key, n_found, len(table))
    result.to_csv(expression, sep="\t", index=False, float_format="%.6g")
    skipped.to_csv(untested, sep="\t", index=False)


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        annotation=Path(snakemake.input.annotation),
        pseudobulk_path=Path(snakemake.output.pseudobulk),
        expression=Path(snakemake.output.expression),
        untested=Path(snakemake.output.untested),
        design=snakemake.params.design,
        settings=ExpressionSettings(**snakemake.params.settings),
    )
