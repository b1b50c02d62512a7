"""Sum the counts of cells by sample and cell type, as differences are tested on."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.design import (
    Design,
    cell_types_of,
    read_design,
    sample_table,
    unit_table,
    units_of,
)
from _shared.jobs import job
from _shared.sample_columns import with_sheet
from _shared.streams import Matrix, sums_by_group, write_h5ad

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("sum_pseudobulks")

# the pseudobulk of all cells of a unit
ALL = "all"


def summed(
    counts: Matrix, samples: pd.Series, cell_types: pd.Series, *, threads: int = 1
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Return summed counts, and `sample`, `cell_type` and `n_cells` of their rows."""
    keys = pd.MultiIndex.from_arrays([samples.astype(object), cell_types])
    groups, present = pd.factorize(keys)
    # whole numbers stay exact in sums of floats up to 2^53
    sums = sums_by_group(counts, groups, len(present), threads=threads)
    obs = present.to_frame(index=False, name=["sample", "cell_type"])
    obs["n_cells"] = np.bincount(groups, minlength=len(present))
    return sparse.csr_matrix(sums.astype(np.int64)), obs


def merged(
    sums: sparse.csr_matrix, obs: pd.DataFrame, names: pd.Series
) -> tuple[sparse.csr_matrix, pd.DataFrame]:
    """Return the sums of rows of one name and cell type; `names` is by sample."""
    keys = pd.MultiIndex.from_arrays([obs["sample"].map(names), obs["cell_type"]])
    groups, present = pd.factorize(keys, sort=True)
    indicator = sparse.csr_matrix(
        (np.ones(len(obs), np.int64), (groups, np.arange(len(obs)))),
        shape=(len(present), len(obs)),
    )
    found = present.to_frame(index=False, name=["sample", "cell_type"])
    # of no rows at all, pandas would make numbers
    found = found.astype(object)
    found["n_cells"] = indicator @ obs["n_cells"].to_numpy()
    return indicator @ sums, found


def pseudobulks(
    sums: sparse.csr_matrix, obs: pd.DataFrame, samples: pd.DataFrame, design: Design
) -> ad.AnnData:
    """Return one row per unit and cell type, and one per whole unit, with its design.

    `samples` has the design columns; a unit has those of its technical repeats.
    """
    sums, obs = merged(sums, obs, units_of(samples, design))
    names = obs["sample"].unique()
    whole, of_whole = merged(
        sums, obs.assign(cell_type=ALL), pd.Series(names, index=names)
    )
    obs = pd.concat([of_whole, obs], ignore_index=True)
    order = obs.assign(part=obs["cell_type"] != ALL)
    order = order.sort_values(["sample", "part", "cell_type"], kind="stable").index
    sums = sparse.vstack([whole, sums], format="csr")[order.to_numpy()]
    sums.sort_indices()
    units = unit_table(samples, design).astype(str)
    units = units[units.columns.difference(obs.columns, sort=False)]
    obs = obs.loc[order].join(units, on="sample")
    obs.index = pd.Index(obs["sample"] + ":" + obs["cell_type"]).rename(None)
    return ad.AnnData(sums, obs=obs)


def samples_wide(
    sums: sparse.csr_matrix, obs: pd.DataFrame, samples: pd.Index, var: pd.DataFrame
) -> pd.DataFrame:
    """Return counts of whole samples: `gene_id`, `gene_name`, a column per sample."""
    names = pd.Series(samples, index=samples)
    whole, of = merged(sums, obs.assign(cell_type=ALL), names)
    table = pd.DataFrame(whole.toarray().T, index=var.index, columns=list(of["sample"]))
    table = table.reindex(columns=list(samples))
    table.insert(0, "gene_name", var["gene_name"].astype(str))
    return table.rename_axis("gene_id").reset_index()


def main(
    *,
    clusters: Path,
    annotation: Path,
    pseudobulk: Path,
    samples_path: Path,
    design: dict,
    sheet: dict[str, dict[str, str]],
    threads: int = 1,
) -> None:
    """Write the pseudobulks of units and cell types, and a table of whole samples."""
    design = read_design(design)
    with h5py.File(clusters) as file:
        cells, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        types = cell_types_of(cells, annotation)
        counts = Matrix(file["layers/counts"])
        sums, obs = summed(counts, cells["sample"], types, threads=threads)
    samples = sample_table(with_sheet(cells, sheet), design)
    bulk = pseudobulks(sums, obs, samples, design)
    bulk.var = var[["gene_name"]].astype(str)
    n_units = bulk.obs["sample"].nunique()
    logger.info(
        "%d samples, %d units, %d pseudobulks", len(samples), n_units, bulk.n_obs
    )
    if n_units < len(samples):
        joined = [unit for unit in bulk.obs["sample"].unique() if "+" in unit]
        logger.info("technical repeats are summed: %s", ", ".join(joined))
    write_h5ad(bulk, pseudobulk, threads=threads)
    table = samples_wide(sums, obs, samples.index, var)
    table.to_csv(samples_path, sep="\t", index=False)


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            pseudobulk=Path(snakemake.output.pseudobulk),
            samples_path=Path(snakemake.output.samples),
            design=snakemake.params.design,
            sheet=snakemake.params.sheet,
            threads=snakemake.threads,
        )
