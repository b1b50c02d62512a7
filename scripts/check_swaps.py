"""Check that samples are what their names say: barcodes, sex, expression, species."""

import json
import logging
import re
from itertools import combinations
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.jobs import job
from _shared.streams import Matrix
from _shared.swaps import (
    N_PARTS,
    Sample,
    SwapSettings,
    all_checks,
    declared_sex,
    sex_genes,
    species_of_genes,
    told_sex,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("check_swaps")


def read_sample(path: Path, name: str) -> Sample:
    """Return barcodes and sums of a sample, its matrix read in blocks of cells."""
    with h5py.File(path) as file:
        names = pd.Index(ad.io.read_elem(file["obs"]).index.astype(str))
        var = ad.io.read_elem(file["var"])
        matrix = Matrix(file["X"])
        is_xist, is_y = sex_genes(var)
        totals = np.zeros(len(names), dtype=np.int64)
        parts = np.zeros((len(var), N_PARTS), dtype=np.int64)
        has = np.zeros((len(names), 2), dtype=bool)
        for start, stop in matrix.pieces():
            block = matrix.rows(start, stop)
            totals[start:stop] = np.asarray(block.sum(axis=1)).ravel()
            for part in range(N_PARTS):
                dealt = block[(part - start) % N_PARTS :: N_PARTS]
                parts[:, part] += np.asarray(dealt.sum(axis=0)).ravel()
            for nth, chosen in enumerate((is_xist, is_y)):
                with_gene = block[:, np.flatnonzero(chosen)]
                has[start:stop, nth] = np.diff(with_gene.indptr) > 0
    species = species_of_genes(var)
    counts = pd.Series(parts.sum(axis=1))
    measured = is_xist.any() and is_y.any()
    is_mito = var["is_mito"].to_numpy(dtype=bool)
    return Sample(
        name=name,
        barcodes=bare_barcodes(names, name),
        totals=totals,
        parts=pd.DataFrame(parts[~is_mito], index=var.index[~is_mito].astype(str)),
        n_xist=int(has[:, 0].sum()) if measured else None,
        n_y=int(has[:, 1].sum()) if measured else None,
        species={}
        if species is None
        else {k: int(n) for k, n in counts.groupby(species.to_numpy()).sum().items()},
    )


def bare_barcodes(names: pd.Index, sample: str) -> pd.Index:
    """Return barcodes without the sample's name, and without the number of a library.

    The number stays where several libraries were joined before, as by `cellranger
    aggr`: it is part of the name there.
    """
    full = pd.Index([name.removesuffix(f"-{sample}") for name in names], dtype=object)
    bare = pd.Index([re.sub(r"-\d+$", "", name) for name in full], dtype=object)
    return bare if bare.is_unique else full


def list_lengths(
    reads_table: Path | None, sizes: dict[str, int | None]
) -> dict[str, int]:
    """Return how many barcodes there can be, by sample, where its reads told.

    A barcode of several parts has a list for each; the length of some is not known.
    """
    if reads_table is None:
        return {}
    table = pd.read_csv(reads_table, sep="\t", dtype=str, keep_default_na=False)
    names = table.set_index("sample")["whitelists"].str.split(",")
    return {
        sample: prod(sizes[name] for name in lists)
        for sample, lists in names.items()
        if all(sizes.get(name) for name in lists)
    }


def facts_of(sample: Sample, sheet: dict[str, str], settings: SwapSettings) -> dict:
    """Return what was measured of a sample, as the report draws it."""
    sex, percent = told_sex(sample, settings)
    n_cells = max(sample.n_cells, 1)
    return {
        "sample": sample.name,
        "n_cells": sample.n_cells,
        "percent_cells_xist": None
        if sample.n_xist is None
        else round(100 * sample.n_xist / n_cells, 3),
        "percent_cells_y": None
        if sample.n_y is None
        else round(100 * sample.n_y / n_cells, 3),
        "percent_xist": None if np.isnan(percent) else round(percent, 3),
        "sex_found": sex,
        "sex_declared": declared_sex(sheet),
        "species_counts": sample.species,
    }


def pairs_of(apart: pd.DataFrame) -> list[dict]:
    """Return the distance of every pair of samples that could be compared."""
    return [
        {"sample": one, "other": two, "value": round(float(apart.loc[one, two]), 5)}
        for one, two in combinations(apart.index, 2)
        if np.isfinite(apart.loc[one, two])
    ]


def main(
    *,
    called: dict[str, Path],
    sheet: dict[str, dict[str, str]],
    reads_table: Path | None,
    list_sizes: dict[str, int | None],
    swaps: Path,
    evidence: Path,
    settings: SwapSettings,
) -> None:
    """Read the samples one after the other, write the table and the evidence.

    Parameters
    ----------
    called
        Called cells by sample, in the order of the sheet.
    sheet
        What the sample sheet says of each: `sex`, `condition`, `donor`, `species`.
    reads_table
        A row per sample with reads, which names its barcode lists.
    list_sizes
        Barcodes on each list; None where nobody counted them.
    """
    samples = [read_sample(path, name) for name, path in called.items()]
    lengths = list_lengths(reads_table, list_sizes)
    table, skipped, apart = all_checks(samples, settings, sheet=sheet, n_listed=lengths)
    for found in table[table["status"] == "warn"].itertuples():
        logger.warning("%s %s: %s", found.check, found.sample, found.meaning)
    table.to_csv(swaps, sep="\t", index=False, float_format="%.6g")
    facts = [facts_of(s, sheet.get(s.name, {}), settings) for s in samples]
    content = {
        "n_warnings": int((table["status"] == "warn").sum()),
        "samples": facts,
        "not_checked": skipped,
        "distances": pairs_of(apart),
    }
    evidence.write_text(json.dumps(content, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            called=dict(
                zip(
                    snakemake.params.sheet,
                    map(Path, snakemake.input.called),
                    strict=True,
                )
            ),
            sheet=snakemake.params.sheet,
            reads_table=Path(snakemake.input.reads_table[0])
            if snakemake.input.reads_table
            else None,
            list_sizes=snakemake.params.list_sizes,
            swaps=Path(snakemake.output.swaps),
            evidence=Path(snakemake.output.evidence),
            settings=SwapSettings(**snakemake.params.settings),
        )
