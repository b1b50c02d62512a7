"""Scale counts to the same depth, take logarithms, and choose variable genes."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse
from threadpoolctl import threadpool_limits

from _shared import cell_cycle
from _shared.counts import log_normalized, row_sums
from _shared.jobs import job
from _shared.logs import UserError
from _shared.sample_columns import with_sheet
from _shared.streams import (
    ArrayWriter,
    CsrWriter,
    Matrix,
    csr_group,
    in_order,
    new_h5ad,
)
from _shared.variable_genes import (
    Tally,
    combined_ranks,
    groups_of,
    mean_variance,
    standardized_variance,
    tabulated,
    top_genes,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("normalize_counts")

# overdispersion of the residuals' negative binomial, as Lause et al. (2021) advise
THETA = 100


@dataclass(frozen=True, kw_only=True)
class NormalizeSettings:
    """The `normalize_counts` section of the config; the schema holds the ranges."""

    method: str
    target_sum: float | None
    n_top_genes: int
    variable_genes: str
    cell_cycle: str
    regress_out: list[str]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What is known of the counts before any of them is scaled."""

    # per cell
    factors: np.ndarray
    # per gene: all counts, and the mean log-normalized level, 0 where not asked for
    gene_totals: np.ndarray
    mean_levels: np.ndarray
    # variability per gene, highest first to be chosen
    scores: np.ndarray
    variances: np.ndarray


def scaled(total: np.ndarray, *, target_sum: float | None) -> np.ndarray:
    """Return total counts over the target; 1 for a cell without counts.

    Without a target it is the median of the cells that have counts.
    """
    has_counts = total > 0
    if target_sum is None and has_counts.any():
        target_sum = float(np.median(total[has_counts]))
    factors = np.ones(len(total))
    factors[has_counts] = total[has_counts] / target_sum
    return factors


def size_factors(counts: sparse.csr_matrix, *, target_sum: float | None) -> np.ndarray:
    """Return total counts over the target; 1 for a cell without counts."""
    return scaled(row_sums(counts), target_sum=target_sum)


def pearson_residuals(
    counts: sparse.csr_matrix,
    genes: np.ndarray,
    *,
    gene_totals: np.ndarray,
    n_cells: int,
) -> np.ndarray:
    """Return analytic Pearson residuals of some genes (float32, cells x genes).

    Of a negative binomial whose mean is the share of the cell times that of the gene,
    clipped at sqrt(n_cells) (Lause et al. 2021). `gene_totals` are of all genes.
    """
    share = gene_totals[genes] / max(gene_totals.sum(), 1)
    mean = np.outer(row_sums(counts), share)
    spread = np.sqrt(mean + mean**2 / THETA)
    away = counts[:, genes].toarray() - mean
    residuals = np.divide(away, spread, out=np.zeros_like(away), where=spread > 0)
    limit = np.sqrt(n_cells)
    return np.clip(residuals, -limit, limit).astype(np.float32)


def survey(
    counts: Matrix,
    samples: pd.Series,
    settings: NormalizeSettings,
    *,
    with_levels: bool,
    threads: int,
) -> Survey:
    """Go through all counts once (twice where the target is their median).

    `with_levels`: whether the mean levels are asked for.
    """
    groups = groups_of(samples)
    # a piece is of one group alone
    cuts = np.flatnonzero(groups[1:] != groups[:-1]) + 1
    pieces = counts.pieces(cuts=cuts)
    factors = np.ones(counts.shape[0])
    if settings.target_sum is None:
        totals = in_order(
            lambda rows: row_sums(counts.rows(*rows)), pieces, threads=threads
        )
        factors = scaled(np.concatenate([np.zeros(0), *totals]), target_sum=None)

    def look(rows: tuple[int, int]) -> tuple:
        part = counts.rows(*rows)
        own = factors[slice(*rows)]
        if settings.target_sum is not None:
            own = size_factors(part, target_sum=settings.target_sum)
        sums = np.zeros(part.shape[1])
        if with_levels:
            levels = log_normalized(part, own).data
            sums = np.bincount(part.indices, weights=levels, minlength=part.shape[1])
        return rows, own, sums, tabulated(part)

    tallies: dict[str, Tally] = {}
    level_sums = np.zeros(counts.shape[1])
    left = pd.Series(groups).value_counts().to_dict()
    scores, n_cells, gene_totals = [], [], np.zeros(counts.shape[1])
    for rows, own, sums, table in in_order(look, pieces, threads=threads):
        start, stop = rows
        factors[start:stop] = own
        level_sums += sums
        group = groups[start]
        tally = tallies.setdefault(group, Tally(n_genes=counts.shape[1]))
        tally.add(*table, n_cells=stop - start)
        if tally.n_cells == left[group]:
            # the whole group has been seen: its table can go
            spectrum = tallies.pop(group).spectrum()
            gene_totals += spectrum.sums(spectrum.count)
            scores.append(standardized_variance(spectrum))
            n_cells.append(spectrum.n_cells)
    if not scores:
        scores, n_cells = [np.zeros(counts.shape[1])], [1]
    variances = mean_variance(scores, n_cells)
    if settings.variable_genes == "ranks":
        best = combined_ranks(scores, n_top_genes=settings.n_top_genes)
    else:
        best = variances
    return Survey(
        factors=factors,
        gene_totals=gene_totals,
        mean_levels=level_sums / max(counts.shape[0], 1),
        scores=best,
        variances=variances,
    )


def cycle_genes(
    var: pd.DataFrame, table: Path | None
) -> tuple[dict[str, np.ndarray], dict]:
    """Return the positions of the genes of each phase, and what the object says of it.

    No genes where there is no table, or too few of its genes.
    """
    if table is None:
        return {}, {"scored": False, "reason": "normalize_counts: cell_cycle is none"}
    symbols = pd.Index(var.get("gene_name", var.index))
    lists = cell_cycle.read_lists(table)
    species, genes = cell_cycle.found_genes(symbols, lists)
    record = {f"n_genes_{phase.lower()}": len(of) for phase, of in genes.items()}
    record |= {"species": species, "n_control": min(map(len, lists[species].values()))}
    if min(map(len, genes.values())) < cell_cycle.FEWEST_GENES:
        found = " and ".join(f"{len(of)} of {phase}" for phase, of in genes.items())
        reason = f"of the genes in {table.name} are there: {found}; too few"
        return {}, {"scored": False, "reason": reason, **record}
    return genes, {"scored": True, "reason": "", **record}


def check_columns(names: list[str], columns: list[str], *, scored: bool) -> None:
    """Raise `UserError` where a column that is to be regressed out is not there."""
    columns = [*columns, "size_factor", *(["S_score", "G2M_score", "phase"] * scored)]
    for name in names:
        if name not in columns:
            raise UserError(
                f"normalize_counts: regress_out: cells have no column '{name}'; they "
                f"have {', '.join(columns)}."
            )


def design_matrix(obs: pd.DataFrame, columns: list[str]) -> np.ndarray:
    """Return the columns to regress out, with a constant (cells x terms).

    Raises
    ------
    UserError
        If a column has gaps.
    """
    terms = [np.ones(len(obs))]
    for name in columns if len(obs) else []:
        values = obs[name]
        if values.isna().any():
            raise UserError(
                f"normalize_counts: regress_out: column '{name}' has gaps; fill them."
            )
        if pd.api.types.is_numeric_dtype(values):
            values = values.to_numpy(dtype=float)
            terms.append((values - values.mean()) / (values.std() or 1))
        else:
            levels = pd.Categorical(values.astype(str))
            terms += [levels == level for level in levels.categories[1:]]
    return np.column_stack(terms).astype(float)


def regress(source: Path, target: h5py.File, design: np.ndarray) -> None:
    """Write `X` of `source` less what the design explains, gene by gene (float32)."""
    # the order of additions, and so the last digit, would follow the thread count
    with h5py.File(source) as file, threadpool_limits(limits=1):
        x = Matrix(file["X"])
        pieces = x.pieces()
        sums = np.zeros((design.shape[1], x.shape[1]))
        for start, stop in pieces:
            sums += design[start:stop].T @ x.dense(start, stop).astype(float)
        effects = np.linalg.pinv(design.T @ design) @ sums
        out = dense_matrix(target, x.shape)
        for start, stop in pieces:
            out[start:stop] = x.dense(start, stop) - design[start:stop] @ effects


def dense_matrix(file: h5py.File, shape: tuple[int, int]) -> h5py.Dataset:
    """Return a new `X` of float32 values, to be filled by rows."""
    x = file.create_dataset("X", shape=shape, dtype=np.float32)
    x.attrs["encoding-type"] = "array"
    x.attrs["encoding-version"] = "0.2.0"
    return x


@contextmanager
def variable_writer(
    file: h5py.File, *, n_cells: int, n_genes: int, is_sparse: bool
) -> Iterator:
    """Give a function that adds rows to `X`, dense or CSR."""
    if is_sparse:
        writer = CsrWriter(file, "X", n_columns=n_genes, dtype=np.dtype(np.float32))
        yield writer.append
        writer.close()
        return
    x, done = dense_matrix(file, (n_cells, n_genes)), 0

    def append(rows: np.ndarray) -> None:
        nonlocal done
        x[done : done + len(rows)] = rows
        done += len(rows)

    yield append


def write_levels(
    counts: Matrix,
    known: Survey,
    *,
    out: h5py.File,
    variable: h5py.File,
    settings: NormalizeSettings,
    flags: np.ndarray,
    weights: np.ndarray | None,
    threads: int,
) -> np.ndarray | None:
    """Write `X` of both files; return the cell-cycle scores, if there are weights."""
    genes = np.flatnonzero(flags)
    use_log = settings.method == "log"

    def scale(rows: tuple[int, int]) -> tuple:
        part = counts.rows(*rows)
        levels = log_normalized(part, known.factors[slice(*rows)])
        if use_log:
            chosen = levels[:, genes]
        else:
            chosen = pearson_residuals(
                part, genes, gene_totals=known.gene_totals, n_cells=counts.shape[0]
            )
        return levels.data, chosen, None if weights is None else levels @ weights

    group = csr_group(out, "X")
    group.attrs["shape"] = np.array(counts.shape)
    for name in ("indices", "indptr"):
        # the same places as the counts, copied as they lie, still compressed
        counts.element.file.copy(counts.element[name], group, name=name)
    data = ArrayWriter(group, "data", dtype=np.dtype(np.float32), threads=threads)
    size = {"n_cells": counts.shape[0], "n_genes": len(genes)}
    scores = []
    with variable_writer(variable, **size, is_sparse=use_log) as append:
        for levels, chosen, score in in_order(scale, counts.pieces(), threads=threads):
            data.append(levels)
            append(chosen)
            scores.append(score)
    data.close()
    if weights is None:
        return None
    return np.concatenate([np.zeros((0, weights.shape[1])), *scores])


def main(
    *,
    merged: Path,
    normalized: Path,
    variable: Path,
    settings: NormalizeSettings,
    cycle_table: Path | None,
    sheet: dict[str, dict[str, str]] | None = None,
    threads: int = 1,
) -> None:
    """Write all genes' log-normalized levels, and what the components are made from.

    `normalized`: `X`, `obs` with `size_factor` (and `S_score`, `G2M_score`, `phase`),
    `var` with `variances_norm` and `highly_variable`. `variable`: the same cells with
    their highly variable genes alone, log-normalized or as Pearson residuals. `sheet`
    holds by sample the columns of the sample sheet that are to be regressed out.
    """
    plain = variable
    if settings.regress_out:
        plain = variable.with_suffix(".plain.h5ad")
    with h5py.File(merged) as file, new_h5ad(normalized) as out, new_h5ad(plain) as few:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        corrected = "corrected" in file["layers"]
        counts = Matrix(file["layers/corrected"] if corrected else file["X"])
        phases, cycle = cycle_genes(var, cycle_table)
        logger.info("cell cycle: %s", cycle)
        columns = list(with_sheet(obs[:0], sheet or {}))
        check_columns(settings.regress_out, columns, scored=cycle["scored"])
        known = survey(
            counts, obs["sample"], settings, with_levels=bool(phases), threads=threads
        )
        flags = top_genes(known.scores, n_top_genes=settings.n_top_genes)
        logger.info("%d of %d genes are highly variable", flags.sum(), len(flags))
        weights = None
        if phases:
            weights = cell_cycle.score_weights(
                known.mean_levels, phases, n_control=cycle["n_control"]
            )
        scores = write_levels(
            counts,
            known,
            out=out,
            variable=few,
            settings=settings,
            flags=flags,
            weights=weights,
            threads=threads,
        )
        obs["size_factor"] = known.factors
        if scores is not None:
            obs["S_score"], obs["G2M_score"] = scores.T
            obs["phase"] = cell_cycle.phases_of(scores)
        var["variances_norm"] = known.variances
        var["highly_variable"] = flags
        how = {"counts": "corrected" if corrected else "raw", "method": settings.method}
        uns = {"normalization": how, "cell_cycle": cycle}
        for target, genes in ((out, var), (few, var[flags])):
            ad.io.write_elem(target, "obs", obs)
            ad.io.write_elem(target, "var", genes)
            ad.io.write_elem(target, "uns", uns)
    if settings.regress_out:
        with new_h5ad(variable) as few:
            described = with_sheet(obs, sheet or {})
            regress(plain, few, design_matrix(described, settings.regress_out))
            ad.io.write_elem(few, "obs", obs)
            ad.io.write_elem(few, "var", var[flags])
            ad.io.write_elem(few, "uns", uns)
        plain.unlink()


if "snakemake" in globals():
    with job(snakemake):
        table = snakemake.input.get("cell_cycle")
        main(
            merged=Path(snakemake.input.merged),
            normalized=Path(snakemake.output.normalized),
            variable=Path(snakemake.output.variable),
            settings=NormalizeSettings(**snakemake.params.settings),
            cycle_table=Path(table) if table else None,
            sheet=snakemake.params.sheet,
            threads=snakemake.threads,
        )
