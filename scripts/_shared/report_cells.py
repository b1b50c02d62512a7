"""The finished object as packs for the cell explorer of the page.

Cells are put in the order of their clusters: equal labels stand side by side and genes
come in runs, which compresses well. Matrices are read in pieces of bounded memory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.pack import packed
from _shared.palette import colors_of
from _shared.streams import Matrix, in_order, read_tables

# bytes of the page for 10,000 cells and for 1,000,000; in between, and below, linear
SMALL, LARGE = (10_000, 5_000_000), (1_000_000, 54_000_000)
# the page unpacks genes in so many parts, each when one of its genes is asked for
PARTS = 48
# bytes that id and symbol of a gene take, at most
NAME = 40
# pieces of the matrix that tell how many cells a gene has, roughly
LOOKED_AT = 16
# the page draws from palettes of 256 colors, a few of them taken
MOST_CATEGORIES = 250
# places on either axis of the map
GRID = 65_535
# levels of a number that is shown, at least; past so many cells, a tenth of them
LEVELS, MANY = 1_000, 100_000
TITLES = {
    "leiden": "cluster",
    "cell_type": "cell type",
    "cell_label": "label of the cell alone",
    "sample": "sample",
    "leiden_stability": "stability of the cell",
    "cell_type_confidence": "confidence of the cell type",
    "cell_label_confidence": "confidence of the cell's label",
    "total_counts": "counts",
    "n_genes_by_counts": "genes",
    "pct_counts_mt": "mitochondrial counts (%)",
    "pct_counts_ribo": "ribosomal counts (%)",
    "pct_counts_hb": "hemoglobin counts (%)",
    "pct_intronic": "intronic reads (%)",
    "complexity": "log genes / log counts",
    "doublet_score": "doublet score",
    "predicted_doublet": "doublet",
    "ambient_percent": "ambient RNA (%)",
    "cell_type_ontology_term_id": "ontology id",
}
RULE = (
    "In turn: markers of the clusters and of the cell types by rank, genes that differ "
    "between conditions by adjusted p-value; then all others, the most variable first."
)


@dataclass(frozen=True, kw_only=True)
class Explorer:
    """Packs by name, and what the page says of them."""

    packs: dict[str, str]
    facts: dict


def budget_for(n_cells: int) -> int:
    """Return how many bytes of the page the explorer may take."""
    (few, least), (many, most) = SMALL, LARGE
    share = (max(n_cells, few) - few) / (many - few)
    return int(least + min(share, 1) * (most - least))


def cells_packs(
    cells: Path,
    *,
    tables: dict[str, pd.DataFrame],
    budget: int | None = None,
    threads: int = 1,
) -> Explorer:
    """Return all that the explorer shows; no packs where there are no cells.

    `tables`: `markers`, `cell_type_markers`, `expression`, `resolutions`,
    `cluster_stability`, each of which may be missing. `budget`: bytes of all packs.
    """
    adata = read_tables(cells)
    if not adata.n_obs or "X_umap" not in adata.obsm:
        return Explorer(packs={}, facts={"n_cells": adata.n_obs})
    budget = budget or budget_for(adata.n_obs)
    leiden, sample = (adata.obs[name].cat.codes for name in ("leiden", "sample"))
    order = np.lexsort((sample, leiden))
    obs = adata.obs.iloc[order]
    columns, about = {}, {}
    for name in obs:
        if name == "size_factor":
            continue
        levels = LEVELS if len(obs) <= MANY else LEVELS // 10
        if found := shown_column(obs[name], levels=levels):
            columns[name], about[name] = found
    add_colors(about, adata.uns)
    xy, origin, step = on_grid(adata.obsm["X_umap"][order])
    place = pd.DataFrame(xy, columns=["x", "y"])
    place["size_factor"] = obs["size_factor"].to_numpy(np.float32)
    assigned, resolutions = by_resolution(adata, order, tables.get("resolutions"))
    stability = tables.get("cluster_stability", pd.DataFrame())
    meta = {
        "columns": about,
        "origin": origin,
        "step": step,
        "decimals": max(int(np.ceil(-np.log10(step))), 0),
        "resolutions": resolutions,
        "clusters": plain_records(stability),
    }
    frames = {"map": place, "cells": pd.DataFrame(columns), "resolutions": assigned}
    packs = {
        "cells": packed(frames, meta, is_noise=adata.n_obs > MANY),
        "barcodes": barcodes_pack(obs),
    }
    with h5py.File(cells) as file:
        places, number, parts = gene_packs(
            Matrix(file["layers"][counts_layer(adata, file)]),
            ranked_genes(adata.var, tables),
            order=order,
            budget=budget - sum(map(len, packs.values())),
            threads=threads,
        )
    genes = pd.DataFrame(
        {
            "id": adata.var_names[places],
            "name": gene_names(adata.var).iloc[places].to_numpy(),
            "part": number,
        }
    )
    packs["genes"] = packed({"genes": genes})
    packs |= {f"genes-{i}": part for i, part in enumerate(parts)}
    facts = {
        "n_cells": adata.n_obs,
        "n_genes": adata.n_vars,
        "n_embedded": len(genes),
        "rule": RULE,
        "step": step,
        "steps": [(a["title"], a["step"]) for a in about.values() if "step" in a],
        "n_resolutions": len(resolutions),
        "left_out": [name for name in obs if name not in (*columns, "size_factor")],
        "bytes": sum(map(len, packs.values())),
    }
    return Explorer(packs=packs, facts=facts)


def counts_layer(adata: ad.AnnData, file: h5py.File) -> str:
    """Return the layer of counts that X was made from."""
    how = adata.uns.get("normalization", {}).get("counts", "raw")
    return (
        "corrected"
        if how == "corrected" and "corrected" in file["layers"]
        else "counts"
    )


def gene_names(var: pd.DataFrame) -> pd.Series:
    """Return the symbol of every gene, its id where it has none."""
    ids = pd.Series(var.index.astype(str), index=var.index)
    if "gene_name" not in var:
        return ids
    names = var["gene_name"].astype(object)
    return names.where(names.notna() & (names != ""), ids).astype(str)


def plain_records(table: pd.DataFrame) -> list[dict]:
    """Return the rows of a table as JSON has them: None for what is missing."""
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [
        {k: v.item() if hasattr(v, "item") else v for k, v in r.items()} for r in rows
    ]


def on_grid(umap: np.ndarray) -> tuple[np.ndarray, list[float], float]:
    """Return the map on a square grid (uint16), the grid's origin and its step."""
    umap = np.asarray(umap, dtype=float)[:, :2]
    low = umap.min(axis=0)
    step = float(np.ptp(umap, axis=0).max()) / GRID or 1.0
    return np.rint((umap - low) / step).astype(np.uint16), low.tolist(), step


def shown_column(
    values: pd.Series, *, levels: int = LEVELS
) -> tuple[pd.Series, dict] | None:
    """Return a column as it is packed and what it is; None where it shows nothing.

    A number is packed as its distance to the lowest one in steps, a power of ten, that
    divide the range in `levels` or more; one above the highest is a gap.
    """
    title = TITLES.get(values.name, values.name)
    if values.dtype == bool:
        values = values.map({True: "yes", False: "no"})
    if not pd.api.types.is_numeric_dtype(values):
        values = values.astype("category")
        names = values.cat.categories
        # what is the same for all is worth a word only where one expects it
        is_same = values.nunique(dropna=False) < 2 and values.name not in TITLES
        if is_same or not 0 < len(names) <= MOST_CATEGORIES:
            return None
        return values, {"title": title, "colors": colors_of([str(n) for n in names])}
    found = values.to_numpy(dtype=float, na_value=np.nan)
    found = np.where(np.isfinite(found), found, np.nan)
    if np.isnan(found).all():
        return None
    low, high = np.nanmin(found), np.nanmax(found)
    if high > low:
        digits = int(np.ceil(np.log10(levels / (high - low))))
    else:
        # one number for all: three digits of it at least
        digits = max(3, 2 - int(np.floor(np.log10(abs(low))))) if low else 3
    if pd.api.types.is_integer_dtype(values):
        digits = min(digits, 0)
    step = 10.0**-digits
    base = int(np.rint(low / step))
    level = np.rint(found / step) - base
    gap = int(np.nanmax(level)) + 1
    level = np.where(np.isnan(level), gap, level).astype(np.int64)
    about = {"title": title, "digits": digits, "step": step, "base": base, "gap": gap}
    return pd.Series(level, index=values.index), about


def add_colors(about: dict[str, dict], uns: dict) -> None:
    """Give clusters and types the colors of the object, and labels those of types."""
    for name in ("leiden", "cell_type"):
        colors = uns.get(f"{name}_colors")
        if name in about and colors is not None:
            about[name]["colors"] = [str(color) for color in colors]


def by_resolution(
    adata: ad.AnnData, order: np.ndarray, table: pd.DataFrame | None
) -> tuple[pd.DataFrame, list[dict]]:
    """Return the clusters of every cell by resolution, and what each of them is."""
    levels = np.asarray(adata.obsm.get("leiden_by_resolution", np.zeros((0, 0))))
    if table is None or not len(table) or levels.shape != (adata.n_obs, len(table)):
        return pd.DataFrame(index=range(adata.n_obs)), []
    names = [f"r{i}" for i in range(len(table))]
    return pd.DataFrame(levels[order], columns=names), plain_records(table)


def barcodes_pack(obs: pd.DataFrame) -> str:
    """Return the pack of the cells' barcodes, without the sample that ends the name.

    Up to 16 letters of DNA are one number, two bits a letter, the first one highest.
    """
    names, samples = obs.index.astype(str), obs["sample"].astype(str)
    is_named = all(
        name.endswith(f"-{sample}") for name, sample in zip(names, samples, strict=True)
    )
    if not is_named:
        return packed({"barcodes": pd.DataFrame({"text": names})}, {"ends": False})
    texts = [
        name[: -len(sample) - 1] for name, sample in zip(names, samples, strict=True)
    ]
    meta = {"ends": True, "length": len(texts[0])}
    letters = (
        np.array([text.encode() for text in texts])
        .view(np.uint8)
        .reshape(len(texts), -1)
    )
    codes = np.full(256, 4, np.uint8)
    codes[np.frombuffer(b"ACGT", np.uint8)] = range(4)
    if meta["length"] > 16 or (codes[letters] > 3).any():
        return packed({"barcodes": pd.DataFrame({"text": texts})}, meta)
    places = 4 ** np.arange(meta["length"], dtype=np.uint64)[::-1]
    numbers = codes[letters].astype(np.uint64) @ places
    return packed({"barcodes": pd.DataFrame({"number": numbers})}, meta)


def ranked_genes(var: pd.DataFrame, tables: dict[str, pd.DataFrame]) -> np.ndarray:
    """Return the places of all genes, those first that one would look for (`RULE`)."""
    lists = []
    for name, column in (
        ("markers", "rank"),
        ("cell_type_markers", "rank"),
        ("expression", "padj"),
    ):
        table = tables.get(name, pd.DataFrame())
        if {"gene_id", column} <= set(table):
            value = pd.to_numeric(table[column], errors="coerce").dropna()
            best = value.sort_values(kind="stable").index
            lists.append(table["gene_id"].loc[best].drop_duplicates())
    in_turn = chain.from_iterable(zip_longest(*lists))
    places = var.index.get_indexer([gene for gene in in_turn if gene is not None])
    keys = [-var[name].to_numpy(float) for name in ("variances_norm",) if name in var]
    if "highly_variable" in var:
        keys.append(~var["highly_variable"].to_numpy(bool))
    others = np.lexsort(keys) if keys else np.arange(len(var))
    both = np.concatenate([places[places >= 0], others]).astype(np.int64)
    return pd.unique(both)


def detected_roughly(matrix: Matrix) -> np.ndarray:
    """Return in about how many cells each gene is found, from a few pieces."""
    pieces = matrix.pieces()
    chosen = np.unique(np.linspace(0, len(pieces) - 1, LOOKED_AT).astype(int))
    found, n_seen = np.zeros(matrix.shape[1]), 0
    for start, stop in (pieces[i] for i in chosen):
        found += np.bincount(matrix.rows(start, stop).indices, minlength=len(found))
        n_seen += stop - start
    return found * matrix.shape[0] / max(n_seen, 1)


def gene_packs(
    counts: Matrix,
    ranked: np.ndarray,
    *,
    order: np.ndarray,
    budget: int,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return the places of the embedded genes, the part of each, and the parts.

    Genes go in by their rank, as long as all parts together keep to the budget.
    """
    found = np.maximum(detected_roughly(counts)[ranked], 1)
    # the gap to the next cell, of about this many bits, and a count of a few
    bits = found * (np.log2(counts.shape[0] / found + 1) + 4)
    reached = np.cumsum(bits / 8 * 4 / 3)
    tried = ranked[: np.searchsorted(reached, 1.5 * budget) + 1]

    def chosen(rows: tuple[int, int]) -> sparse.csr_matrix:
        return counts.rows(*rows)[:, tried].astype(np.int32)

    pieces = list(in_order(chosen, counts.pieces(), threads=threads))
    columns = sparse.vstack(pieces, format="csr")[order].tocsc()
    del pieces
    parts, number, used = [], [], 0
    for first, last in spans(columns.indptr, PARTS, reached[len(tried) - 1], budget):
        part = genes_pack(columns, first, last)
        used += len(part) + NAME * (last - first)
        if used > budget and parts:
            break
        number += [len(parts)] * (last - first)
        parts.append(part)
    return tried[: len(number)], np.array(number, dtype=np.int64), parts


def spans(
    ends: np.ndarray, n_parts: int, expected: float, budget: int
) -> Iterator[tuple[int, int]]:
    """Yield ranges of genes that have about as many entries each."""
    wanted = max(ends[-1] * min(budget / expected, 1) / n_parts, 1)
    first = 0
    while first < len(ends) - 1:
        last = int(np.searchsorted(ends, ends[first] + wanted, side="right")) - 1
        last = min(max(last, first + 1), len(ends) - 1)
        yield first, last
        first = last


def genes_pack(columns: sparse.csc_matrix, first: int, last: int) -> str:
    """Return the pack of some genes: how many entries, gaps between cells, counts.

    Gaps and counts are numbers of 7 bits a byte, the lowest first; the top bit says
    that there are more (LEB128).
    """
    start, stop = columns.indptr[[first, last]]
    cells = columns.indices[start:stop].astype(np.int64)
    gaps = np.diff(cells, prepend=0)
    begins = columns.indptr[first:last] - start
    begins = begins[begins < len(gaps)]
    gaps[begins] = cells[begins]
    n = np.diff(columns.indptr[first : last + 1])
    return packed(
        {
            "genes": pd.DataFrame({"n": n}),
            "gaps": pd.DataFrame({"byte": leb128(gaps)}),
            "counts": pd.DataFrame({"byte": leb128(columns.data[start:stop])}),
        },
        is_noise=True,
    )


def leb128(values: Iterable[int]) -> np.ndarray:
    """Return numbers from 0 to 2^31 as bytes of 7 bits, the lowest first."""
    values = np.asarray(values, dtype=np.int64)
    width = 1 + sum((values >= 1 << 7 * k).astype(np.int64) for k in range(1, 5))
    ends = np.cumsum(width)
    out = np.zeros(ends[-1] if len(ends) else 0, np.uint8)
    for k in range(int(width.max(initial=0))):
        here = width > k
        more = (width[here] > k + 1).astype(np.uint8) << 7
        out[(ends - width)[here] + k] = (values[here] >> 7 * k & 127) | more
    return out
