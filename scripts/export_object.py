"""Write the object that users open: labels, colors, provenance, contract checked."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.logs import log_to
from _shared.palette import colors_of
from _shared.provenance import config_digest, versions

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


def label_cells(leiden: pd.Series, annotation: pd.DataFrame) -> pd.Categorical:
    """Return the cell type of every cell by its cluster, "unknown" as last category.

    Raises
    ------
    ValueError
        If a cluster has no row in `annotation`.
    """
    label_of = dict(zip(annotation["cluster"], annotation["cell_type"], strict=True))
    missing = sorted(set(leiden.astype(str)) - set(label_of))
    if missing:
        raise ValueError(f"clusters without a row in annotation.tsv: {missing}")
    labels = leiden.astype(str).map(label_of)
    named = dict.fromkeys(label_of.values())
    order = [name for name in named if name != "unknown"]
    order += ["unknown"] if "unknown" in named else []
    return pd.Categorical(labels, categories=order)


def problems(adata: ad.AnnData) -> list[str]:
    """Return what breaks the contract of the object, a sentence each."""
    found = [f"obs has no '{name}'" for name in NEEDED_OBS if name not in adata.obs]
    found += [f"obsm has no '{n}'" for n in ("X_pca", "X_umap") if n not in adata.obsm]
    for names, what in ((adata.obs_names, "cell"), (adata.var_names, "gene")):
        if not names.is_unique:
            found.append(f"{what} names repeat, first {names[names.duplicated()][0]}")
    if "counts" not in adata.layers:
        return [*found, "layers has no 'counts'"]
    values = sparse.csr_matrix(adata.layers["counts"]).data
    if (values < 0).any() or (values != np.floor(values)).any():
        found.append("layers['counts'] holds values that are no counts")
    if "sample" in adata.obs:
        cells = zip(adata.obs_names, adata.obs["sample"].astype(str), strict=True)
        bad = [name for name, sample in cells if not name.endswith(f"-{sample}")]
        if bad:
            found.append(f"{len(bad)} cells are not named <barcode>-<sample>: {bad[0]}")
    return found


def finish(
    adata: ad.AnnData,
    annotation: pd.DataFrame,
    *,
    config: dict,
    seed: int,
    star: str | None,
) -> ad.AnnData:
    """Add labels, colors and provenance to `adata`, in place, and return it.

    Writes `obs["cell_type"]`, `uns["leiden_colors"]`, `uns["cell_type_colors"]`,
    `uns["reads2cells"]`; makes X float32 and `layers["counts"]` int32, both CSR.

    Raises
    ------
    ValueError
        If the object breaks the contract.
    """
    found = problems(adata)
    if found:
        raise ValueError("; ".join(found))
    adata.X = sparse.csr_matrix(adata.X, dtype=np.float32)
    adata.layers["counts"] = sparse.csr_matrix(adata.layers["counts"], dtype=np.int32)
    adata.obs["leiden"] = adata.obs["leiden"].astype("category")
    adata.obs["cell_type"] = label_cells(adata.obs["leiden"], annotation)
    for name in ("leiden", "cell_type"):
        categories = list(adata.obs[name].cat.categories)
        adata.uns[f"{name}_colors"] = np.array(colors_of(categories), dtype=object)
    known = {name: text for name, text in versions(star=star).items() if text}
    adata.uns["reads2cells"] = {
        "versions": known,
        "config_digest": config_digest(config),
        "seed": seed,
    }
    return adata


def main(
    *,
    clusters: Path,
    annotation: Path,
    star_version: Path | None,
    cells: Path,
    config: dict,
    seed: int,
) -> None:
    """Read clusters and their labels, write the finished object."""
    labels = pd.read_csv(annotation, sep="\t", dtype=str, keep_default_na=False)
    adata = finish(
        ad.read_h5ad(clusters),
        labels,
        config=config,
        seed=seed,
        star=star_version.read_text().strip() if star_version else None,
    )
    logger.info(
        "%d cells, %d genes, %d clusters, %d labels",
        *adata.shape,
        adata.obs["leiden"].cat.categories.size,
        adata.obs["cell_type"].cat.categories.size,
    )
    adata.write_h5ad(cells, compression="gzip")


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        clusters=Path(snakemake.input.clusters),
        annotation=Path(snakemake.input.annotation),
        star_version=Path(snakemake.input.star_version[0])
        if snakemake.input.star_version
        else None,
        cells=Path(snakemake.output.cells),
        config=snakemake.params.config,
        seed=snakemake.params.seed,
    )
