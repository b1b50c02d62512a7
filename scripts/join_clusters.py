"""Bring together what the rules of the stage found, beside levels and counts."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import pandas as pd

from _shared.jobs import job
from _shared.streams import csr_group, new_h5ad, read_tables, share_places

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("join_clusters")


def joined_obs(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return all columns of all tables; of the same name, those of the first.

    Raises
    ------
    ValueError
        If the tables are not of the same cells in the same order.
    """
    (first, obs), *others = tables.items()
    for name, table in others:
        if not table.index.equals(obs.index):
            raise ValueError(f"{name} has not the cells of {first}")
        obs = obs.join(table[table.columns.difference(obs.columns, sort=False)])
    return obs


def copy_matrices(merged: h5py.File, normalized: h5py.File, out: h5py.File) -> None:
    """Copy levels and counts as they lie, still compressed, in pieces by HDF5 itself.

    The levels have their entries where the counts have that they were made from, so
    these places are stored once.
    """
    normalized.copy(normalized["X"], out, name="X")
    counts = {"counts": merged["X"], **merged["layers"]}
    made_from = "corrected" if "corrected" in counts else "counts"
    for name, element in counts.items():
        if name == made_from:
            group = csr_group(out["layers"], name)
            merged.copy(element["data"], group, name="data")
            share_places(out["X"], group)
        else:
            merged.copy(element, out["layers"], name=name)


def main(
    *, merged: Path, normalized: Path, parts: dict[str, Path], clusters: Path
) -> None:
    """Write `X`, the layers, and the tables of the normalized object and the parts."""
    with (
        h5py.File(merged) as counts,
        h5py.File(normalized) as levels,
        new_h5ad(clusters) as out,
    ):
        copy_matrices(counts, levels, out)
        tables = {"normalized": read_tables(normalized)}
        tables |= {name: read_tables(path) for name, path in parts.items()}
        obs = joined_obs({name: of.obs for name, of in tables.items()})
        ad.io.write_elem(out, "obs", obs)
        ad.io.write_elem(out, "var", tables["normalized"].var)
        for kind in ("obsm", "uns"):
            found = {}
            for of in tables.values():
                found |= dict(getattr(of, kind))
            ad.io.write_elem(out, kind, found)
        logger.info("%d cells, columns %s", len(obs), ", ".join(obs.columns))


if "snakemake" in globals():
    with job(snakemake):
        paths = {name: Path(path) for name, path in snakemake.input.items()}
        main(
            merged=paths.pop("merged"),
            normalized=paths.pop("normalized"),
            parts=paths,
            clusters=Path(snakemake.output.clusters),
        )
