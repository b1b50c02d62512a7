"""Predict the type of every cell with CellTypist (Domínguez Conde et al. 2022).

Optional, in its own environment; the model is a file of the user's.
"""

import logging
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.celltypist_model import check_model
from _shared.jobs import job
from _shared.logs import UserError
from _shared.streams import Matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("run_celltypist")

COLUMNS = ["cell", "predicted_label", "conf_score"]
# the counts of every cell in CellTypist's models
TARGET_SUM = 10_000


@dataclass(frozen=True, kw_only=True)
class CelltypistSettings:
    """The `run_celltypist` section of the config; the schema holds the ranges."""

    model: str
    trust_pickle: bool


def scaled(x: sparse.csr_matrix) -> sparse.csr_matrix:
    """Return log(1 + counts scaled to `TARGET_SUM` per cell) of any other target."""
    linear = np.expm1(x.data.astype(np.float64))
    cell = np.repeat(np.arange(x.shape[0]), np.diff(x.indptr))
    total = np.bincount(cell, weights=linear, minlength=x.shape[0])
    factor = TARGET_SUM / np.where(total > 0, total, 1)
    data = np.log1p(linear * factor[cell]).astype(np.float32)
    return sparse.csr_matrix((data, x.indices, x.indptr), shape=x.shape)


def names_of_genes(var: pd.DataFrame, features: np.ndarray) -> tuple[pd.Index, int]:
    """Return what genes are called in the model, and how many of its genes are there.

    By symbol or by id, whichever the model has more of. Of genes with the same symbol
    the first one has it.
    """
    symbols = pd.Index(var["gene_name"].astype(str))
    ids = pd.Index(var.index.astype(str))
    shared = [names.unique().isin(features).sum() for names in (symbols, ids)]
    if shared[1] > shared[0]:
        return ids, int(shared[1])
    return pd.Index(np.where(symbols.duplicated(), ids, symbols)), int(shared[0])


def predicted(
    x: Matrix,
    cells: pd.Index,
    genes: pd.Index,
    annotate: Callable[[ad.AnnData], tuple[np.ndarray, np.ndarray]],
) -> pd.DataFrame:
    """Return label and confidence of every cell, piece by piece."""
    tables = [pd.DataFrame(columns=COLUMNS)]
    for start, stop in x.pieces():
        part = ad.AnnData(
            scaled(x.rows(start, stop)),
            obs=pd.DataFrame(index=cells[start:stop]),
            var=pd.DataFrame(index=genes),
        )
        labels, confidence = annotate(part)
        columns = (cells[start:stop], labels, confidence)
        tables.append(pd.DataFrame(dict(zip(COLUMNS, columns, strict=True))))
    return pd.concat(tables[1:] or tables, ignore_index=True)


def read_model(path: Path):
    """Return CellTypist's model, and its function that labels cells.

    Raises
    ------
    UserError
        If CellTypist is not installed, or the file is no model of its kind.
    """
    try:
        # it makes a folder for its models on import, by default in the user's home
        with TemporaryDirectory() as folder:
            os.environ["CELLTYPIST_FOLDER"] = folder
            import celltypist
    except ImportError:
        raise UserError(
            "run_celltypist: model needs the package celltypist; run with --sdm "
            'conda, or set the model to "".'
        ) from None
    try:
        # a name without a folder would be looked for on its server
        model = celltypist.models.Model.load(str(path.absolute()))
        n_types, n_genes = len(model.cell_types), len(model.features)
    except Exception as error:
        raise UserError(
            f"run_celltypist: model: {path} is not a model that CellTypist "
            f"{celltypist.__version__} reads: {error}"
        ) from error
    logger.info("%s: %d types, %d genes", path, n_types, n_genes)

    def annotate(part: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
        done = celltypist.annotate(part, model=model)
        labels = done.predicted_labels["predicted_labels"].to_numpy(dtype=object)
        return labels, done.probability_matrix.max(axis=1).to_numpy()

    return model, annotate


def main(*, clusters: Path, output: Path, settings: CelltypistSettings) -> None:
    """Write the label of every cell, and the probability of that label.

    Raises
    ------
    UserError
        If the model is not trusted, cannot be read, or shares no gene with the data.
    """
    check_model(asdict(settings))
    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        table = pd.DataFrame(columns=COLUMNS)
        if len(obs) and len(var):
            model, annotate = read_model(Path(settings.model))
            genes, n_shared = names_of_genes(var, model.features)
            logger.info(
                "%d of %d genes of the model are not in the data",
                len(model.features) - n_shared,
                len(model.features),
            )
            if not n_shared:
                raise UserError(
                    f"run_celltypist: model: none of the {len(model.features)} genes "
                    f"of {settings.model} (such as {model.features[0]}) is in the data "
                    f"(which has {genes[0]}); give a model of the same species."
                )
            table = predicted(Matrix(file["X"]), obs.index, genes, annotate)
    logger.info("%s", table["predicted_label"].value_counts().to_dict())
    table.to_csv(output, sep="\t", index=False, float_format="%.6g")


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            output=Path(snakemake.output.celltypist),
            settings=CelltypistSettings(**snakemake.params.settings),
        )
