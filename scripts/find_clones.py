"""Clones of a tumor: groups of cells with copy numbers of their own."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.clones import (
    called_cells,
    grouped,
    profile_tables,
    ranked_by_size,
    refined,
)
from _shared.copy_number import (
    Genome,
    called_parts,
    cell_profiles,
    in_genome_order,
    merged_groups,
    part_counts,
)
from _shared.design import cell_types_of
from _shared.gene_positions import read_positions
from _shared.jobs import job
from _shared.labels import cells_called
from _shared.logs import UserError
from _shared.streams import Matrix, sums_by_group

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_clones")

# genes with fewer counts per reference cell say little of copies
LEAST_COUNTS = 0.05
NORMAL = "normal"
REFERENCE = "reference"
# rounds in which clones are drawn anew from their cells
MOST_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class CloneSettings:
    """The `find_clones` section of the config; the schema holds the ranges.

    `reference_types` are cell types or clusters; `gene_positions` a table, the
    annotation of the reference where it is empty.
    """

    reference_types: list[str]
    gene_positions: str
    exclude_chromosomes: list[str]
    min_log2_ratio: float
    min_reference_cells: int
    min_genes: int
    resolution: float


@dataclass(frozen=True, kw_only=True)
class Clones:
    """What was found: of each cell its clone and score, of each clone its profile."""

    clone: np.ndarray
    score: np.ndarray
    profiles: pd.DataFrame
    segments: pd.DataFrame
    cutoff: float


def reference_types_of(
    obs: pd.DataFrame, types: np.ndarray, settings: CloneSettings
) -> np.ndarray:
    """Return the number of the reference type of each cell, -1 for none.

    Raises
    ------
    UserError
        If there are no such cells, or too few of all types together.
    """
    if not settings.reference_types:
        raise UserError(
            "config: find_clones: reference_types: name the cell types or clusters of "
            "normal cells, with which the others are compared."
        )
    clusters = obs["leiden"].astype(str).to_numpy(dtype=object)
    number = np.full(len(obs), -1)
    for k, name in enumerate(settings.reference_types):
        chosen = cells_called(name, clusters, types, key="find_clones: reference_types")
        number[chosen & (number < 0)] = k
    n_cells = int((number >= 0).sum())
    if n_cells < settings.min_reference_cells:
        raise UserError(
            f"config: find_clones: reference_types: only {n_cells} cells are "
            f"{', '.join(settings.reference_types)}, and min_reference_cells is "
            f"{settings.min_reference_cells}; name more types of normal cells."
        )
    return number


def usable_genes(
    genome: Genome, sums: np.ndarray, *, n_cells: int, settings: CloneSettings
) -> Genome:
    """Return the genome of the genes that have counts enough in the reference.

    Raises
    ------
    UserError
        If they are too few.
    """
    if len(genome.columns) < settings.min_genes:
        raise UserError(
            f"find_clones: only {len(genome.columns)} genes have a position, and "
            f"min_genes is {settings.min_genes}; give a table whose gene_id are those "
            "of the counts in find_clones: gene_positions."
        )
    enough = sums[:, genome.columns].sum(axis=0) >= LEAST_COUNTS * n_cells
    if enough.sum() < settings.min_genes:
        raise UserError(
            f"find_clones: only {enough.sum()} genes with a position have "
            f"{LEAST_COUNTS} counts per reference cell, and min_genes is "
            f"{settings.min_genes}; lower it, or name more reference_types."
        )
    return Genome(columns=genome.columns[enough], genes=genome.genes[enough])


def clones_of(
    x: Matrix,
    counts: Matrix,
    genome: Genome,
    reference: np.ndarray,
    *,
    settings: CloneSettings,
    seed: int,
    threads: int = 1,
) -> Clones:
    """Find the clones among the cells that are not of the reference (-1 in it)."""
    n_types = reference.max() + 1
    # the cells to be judged are the last group
    group = np.where(reference < 0, n_types, reference)
    levels = sums_by_group(x, group, n_types + 1, threads=threads)[:n_types]
    sums = sums_by_group(counts, group, n_types + 1, threads=threads)[:n_types]
    present = np.flatnonzero(np.bincount(reference[reference >= 0], minlength=n_types))
    levels, sums = levels[present], sums[present]
    sizes = np.bincount(group, minlength=n_types + 1)[present]
    genome = usable_genes(genome, sums, n_cells=sizes.sum(), settings=settings)
    means = levels[:, genome.columns] / sizes[:, None]
    of_reference = sums[:, genome.columns]

    cells = np.arange(len(reference))
    profiles = cell_profiles(
        x, genome, means.astype(np.float32), cells=cells, threads=threads
    )
    is_reference = reference >= 0
    scores, groups = grouped(
        profiles, is_reference, resolution=settings.resolution, seed=seed
    )
    least = settings.min_log2_ratio

    def sums_of(labels: np.ndarray) -> np.ndarray:
        n = labels.max(initial=-1) + 1
        # those without a label are the last group
        every = np.where(labels < 0, n, labels)
        return sums_by_group(counts, every, n + 1, threads=threads)[:n][
            :, genome.columns
        ]

    def merged(labels: np.ndarray) -> np.ndarray:
        found = merged_groups(sums_of(labels), of_reference, genome, least=least)
        return np.append(found, -1)[labels]

    clone, score, cutoff = called_cells(scores, groups, merged(groups), is_reference)
    for _ in range(MOST_ROUNDS):
        before = clone
        _, parts = profile_tables(sums_of(clone), of_reference, genome, least=least)
        firsts, ratios = called_parts(parts, clone.max(initial=-1) + 1)
        by_part = part_counts(counts, genome, firsts, threads=threads)
        clone = merged(refined(by_part, clone, ratios))
        if np.array_equal(before, clone):
            break
    clone = ranked_by_size(clone)
    bins, parts = profile_tables(sums_of(clone), of_reference, genome, least=least)
    names = np.where(is_reference, REFERENCE, NORMAL).astype(object)
    names[clone >= 0] = [str(number + 1) for number in clone[clone >= 0]]
    return Clones(
        clone=names,
        score=score,
        profiles=bins,
        segments=parts.drop(columns="first"),
        cutoff=cutoff,
    )


def share_table(cells: pd.DataFrame) -> pd.DataFrame:
    """Return a row per sample and clone: its cells, and their share of the sample's."""
    counts = pd.crosstab(cells["sample"], cells["clone"])
    long = counts.melt(ignore_index=False, value_name="n_cells").reset_index()
    long["share"] = long["n_cells"] / long.groupby("sample")["n_cells"].transform("sum")
    return long.sort_values(["sample", "clone"])[
        ["sample", "clone", "n_cells", "share"]
    ]


def main(
    *,
    clusters: Path,
    annotation: Path,
    positions: Path,
    clones: Path,
    profiles: Path,
    segments: Path,
    shares: Path,
    facts: Path,
    settings: CloneSettings,
    seed: int,
    threads: int = 1,
) -> None:
    """Write the clone of each cell, the profiles of clones, and their shares."""
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    with h5py.File(clusters) as file, threadpool_limits(limits=1):
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        types = cell_types_of(obs, annotation).fillna("unknown").to_numpy(dtype=object)
        reference = reference_types_of(obs, types, settings)
        genome = in_genome_order(
            read_positions(positions), var.index, excluded=settings.exclude_chromosomes
        )
        done = clones_of(
            Matrix(file["X"]),
            Matrix(file["layers/counts"]),
            genome,
            reference,
            settings=settings,
            seed=seed,
            threads=threads,
        )
    cells = pd.DataFrame({"cell": obs.index, "sample": obs["sample"].astype(str)})
    cells["clone"], cells["cnv_score"] = done.clone, done.score
    is_clone = ~np.isin(done.clone, [NORMAL, REFERENCE])
    cells["is_aneuploid"] = is_clone
    called = done.segments[done.segments["call"] != "neutral"]
    found = {
        "n_cells": len(cells),
        "n_reference": int((reference >= 0).sum()),
        "n_aneuploid": int(is_clone.sum()),
        "n_clones": int(done.segments["clone"].nunique()),
        "cutoff": done.cutoff,
        "altered": {
            clone: [
                f"{row.call} {row.chromosome}:{row.start}-{row.end}"
                for row in part.itertuples()
            ]
            for clone, part in called.groupby("clone", sort=False)
        },
    }
    logger.info("%s", found)
    cells.to_csv(clones, sep="\t", index=False, float_format="%.6g")
    done.profiles.to_csv(profiles, sep="\t", index=False, float_format="%.6g")
    done.segments.to_csv(segments, sep="\t", index=False, float_format="%.6g")
    share_table(cells).to_csv(shares, sep="\t", index=False, float_format="%.6g")
    facts.write_text(json.dumps(found, indent=2) + "\n")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            positions=Path(snakemake.input.positions),
            clones=Path(snakemake.output.clones),
            profiles=Path(snakemake.output.profiles),
            segments=Path(snakemake.output.segments),
            shares=Path(snakemake.output.shares),
            facts=Path(snakemake.output.facts),
            settings=CloneSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        )
