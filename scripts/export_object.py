"""Write the object that users open: labels, colors, provenance, contract checked."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.design import judge, read_design, sample_table, unit_table, why_nothing
from _shared.jobs import job
from _shared.palette import colors_of
from _shared.plain_text import write_plain
from _shared.provenance import config_digest, versions
from _shared.sample_columns import with_sheet
from _shared.streams import Matrix, copy_layer, copy_matrix, new_h5ad, read_tables

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("export_object")

NEEDED_OBS = (
    "sample",
    "leiden",
    "total_counts",
    "n_genes_by_counts",
    "pct_counts_mt",
    "doublet_score",
    "predicted_doublet",
)


def by_cluster(leiden: pd.Series, annotation: pd.DataFrame, column: str) -> pd.Series:
    """Return what `annotation` says of the cluster of every cell."""
    values = dict(zip(annotation["cluster"], annotation[column], strict=True))
    return leiden.astype(str).map(values)


def label_cells(leiden: pd.Series, annotation: pd.DataFrame) -> pd.Categorical:
    """Return the cell type of every cell by its cluster, "unknown" as last category.

    Raises
    ------
    ValueError
        If a cluster has no row in `annotation`.
    """
    missing = sorted(set(leiden.astype(str)) - set(annotation["cluster"]))
    if missing:
        raise ValueError(f"clusters without a row in annotation.tsv: {missing}")
    labels = by_cluster(leiden, annotation, "cell_type")
    named = dict.fromkeys(annotation["cell_type"])
    order = [name for name in named if name != "unknown"]
    order += ["unknown"] if "unknown" in named else []
    return pd.Categorical(labels, categories=order)


def problems(tables: ad.AnnData, layers: dict[str, Matrix]) -> list[str]:
    """Return what breaks the contract of the object, a sentence each."""
    obs = tables.obs
    found = [f"obs has no '{name}'" for name in NEEDED_OBS if name not in obs]
    found += [f"obsm has no '{n}'" for n in ("X_pca", "X_umap") if n not in tables.obsm]
    for names, what in ((tables.obs_names, "cell"), (tables.var_names, "gene")):
        if not names.is_unique:
            found.append(f"{what} names repeat, first {names[names.duplicated()][0]}")
    if "counts" not in layers:
        return [*found, "layers has no 'counts'"]
    if not all_counts(layers["counts"]):
        found.append("layers['counts'] holds values that are no counts")
    if "sample" in obs:
        cells = zip(tables.obs_names, obs["sample"].astype(str), strict=True)
        bad = [name for name, sample in cells if not name.endswith(f"-{sample}")]
        if bad:
            found.append(f"{len(bad)} cells are not named <barcode>-<sample>: {bad[0]}")
    return found


def all_counts(matrix: Matrix) -> bool:
    """Tell whether all values of a matrix are whole and not negative."""
    is_whole = np.issubdtype(matrix.dtype, np.integer)
    for start, stop in matrix.pieces():
        values = matrix.data(start, stop)
        if (values < 0).any() or not (is_whole or (values == np.floor(values)).all()):
            return False
    return True


def contrasts_in(cells: pd.DataFrame, section: dict, *, min_samples: int) -> dict:
    """Return what each contrast compares, and how far these samples carry it."""
    design = read_design(section)
    samples = unit_table(sample_table(cells, design), design)
    if why_nothing(samples, design):
        return {}
    return {
        contrast.name: {
            "comparison": str(contrast),
            "evidence": judge(
                samples, design, contrast, min_samples=min_samples
            ).evidence,
        }
        for contrast in design.contrasts
    }


def finish(
    tables: ad.AnnData,
    annotation: pd.DataFrame,
    cell_labels: pd.DataFrame,
    *,
    config: dict,
    seed: int,
    star: str | None,
    contrasts: dict,
) -> None:
    """Add labels, colors and provenance to the tables, in place.

    Writes `obs["cell_type"]` (of the cell's cluster) with `cell_type_confidence` and
    `cell_type_ontology_term_id`, `cell_label` (of the cell alone) with
    `cell_label_confidence`, `uns["leiden_colors"]`, `uns["cell_type_colors"]`,
    `uns["reads2cells"]`.
    """
    leiden = tables.obs["leiden"] = tables.obs["leiden"].astype("category")
    tables.obs["cell_type"] = label_cells(leiden, annotation)
    confidence = by_cluster(leiden, annotation, "confidence")
    tables.obs["cell_type_confidence"] = pd.to_numeric(confidence).astype(np.float32)
    ids = by_cluster(leiden, annotation, "ontology_id").replace("", "unknown")
    tables.obs["cell_type_ontology_term_id"] = ids.astype("category")
    own = cell_labels.set_index("cell").reindex(tables.obs_names)
    tables.obs["cell_label"] = own["cell_label"].fillna("unknown").astype("category")
    tables.obs["cell_label_confidence"] = own["cell_confidence"].astype(np.float32)
    for name in ("leiden", "cell_type"):
        categories = list(tables.obs[name].cat.categories)
        tables.uns[f"{name}_colors"] = np.array(colors_of(categories), dtype=object)
    known = {name: text for name, text in versions(star=star).items() if text}
    tables.uns["reads2cells"] = {
        "versions": known,
        "config_digest": config_digest(config),
        "seed": seed,
        "contrasts": contrasts,
    }


def main(
    *,
    clusters: Path,
    annotation: Path,
    cell_labels: Path,
    star_version: Path | None,
    cells: Path,
    config: dict,
    seed: int,
    design: dict,
    min_samples: int,
    sheet: dict[str, dict[str, str]],
) -> None:
    """Write the finished object: X float32 and counts int32, both CSR.

    Raises
    ------
    ValueError
        If the object breaks the contract; then nothing is written.
    """
    labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
    tables = read_tables(clusters)
    tables.obs = with_sheet(tables.obs, sheet)
    with h5py.File(clusters) as file:
        layers = {name: Matrix(layer) for name, layer in file["layers"].items()}
        if found := problems(tables, layers):
            raise ValueError("; ".join(found))
        finish(
            tables,
            labels,
            pd.read_csv(cell_labels, sep="\t", keep_default_na=False),
            config=config,
            seed=seed,
            contrasts=contrasts_in(tables.obs, design, min_samples=min_samples),
            star=star_version.read_text().strip() if star_version else None,
        )
        with new_h5ad(cells) as out:
            copy_matrix(file["X"], out, "X", dtype=np.float32)
            for name, layer in file["layers"].items():
                copy_layer(layer, out["layers"], name, dtype=np.int32)
            for name in ("obs", "var"):
                write_plain(out, name, getattr(tables, name))
            for name in ("obsm", "uns"):
                write_plain(out, name, dict(getattr(tables, name)))
    logger.info(
        "%d cells, %d genes, %d clusters, %d labels",
        *tables.shape,
        tables.obs["leiden"].cat.categories.size,
        tables.obs["cell_type"].cat.categories.size,
    )


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            cell_labels=Path(snakemake.input.cell_labels),
            star_version=Path(snakemake.input.star_version[0])
            if snakemake.input.star_version
            else None,
            cells=Path(snakemake.output.cells),
            config=snakemake.params.config,
            seed=snakemake.params.seed,
            design=snakemake.params.design,
            min_samples=snakemake.params.min_samples,
            sheet=snakemake.params.sheet,
        )
