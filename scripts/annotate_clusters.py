"""Name clusters and cells by marker genes, a reference, and a model, as they agree.

How the methods are brought together stands in `_shared/consensus.py`.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd

from _shared.alike_cells import Cells, averages, level_sum, one_pass
from _shared.consensus import (
    METHODS,
    Opinion,
    joined,
    read_aliases,
    vocabulary,
)
from _shared.jobs import job
from _shared.label_transfer import Model, by_reference, learned, model_evidence
from _shared.logs import UserError
from _shared.marker_scores import by_markers, marker_columns, marker_evidence
from _shared.marker_table import UNKNOWN, read_markers
from _shared.predicted_labels import predicted
from _shared.reference_cells import read_reference
from _shared.streams import Matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("annotate_clusters")

# absent genes that are named in the log
MAX_NAMED = 20
ANNOTATION_COLUMNS = [
    "cluster",
    "n_cells",
    "cell_type",
    "ontology_id",
    "confidence",
    "agreement",
    "score",
    "runner_up",
    "runner_up_score",
    "methods",
    "evidence",
    *(f"{method}_{what}" for method in METHODS for what in ("label", "confidence")),
]
SCORE_COLUMNS = ["cluster", "method", "cell_type", "score"]
CELL_COLUMNS = ["cell", "cluster", "cell_type", "cell_label", "cell_confidence"]


@dataclass(frozen=True, kw_only=True)
class AnnotateSettings:
    """The `annotate_clusters` section of the config; the schema holds the ranges."""

    markers: str | list[str]
    min_score: float
    min_lead: float
    reference: str
    reference_labels: str
    reference_ontology: str
    min_probability: float
    aliases: str


def check_genes(
    table: pd.DataFrame, places: dict[str, np.ndarray], var: pd.DataFrame
) -> None:
    """Log what genes the data lack; raise `UserError` if that is all of them."""
    genes = list(dict.fromkeys(table["gene"]))
    absent = [gene for gene in genes if gene not in places]
    if absent:
        some = f"{', '.join(absent[:MAX_NAMED])}{', …' * (len(absent) > MAX_NAMED)}"
        logger.warning("%d markers are not in the data: %s", len(absent), some)
    if len(var) and genes and not places:
        raise UserError(
            f"annotate_clusters: markers: none of the {len(genes)} genes of the table "
            f"(such as {genes[0]}) is in the data (which has "
            f"{var['gene_name'].iloc[0]}). Give gene ids or symbols of the same "
            "species, in the same case."
        )


def evidence_of(
    row,
    levels: pd.Series,
    table: pd.DataFrame,
    model: Model | None,
    means: np.ndarray,
    var: pd.DataFrame,
) -> str:
    """Return the genes that carry a cluster's label, by the first method that agrees.

    `row` is the cluster's row of the result; `levels` (of the markers) and `means` (of
    all genes) are the cluster's as well.
    """
    methods = row.methods.split(",")
    genes = []
    if "markers" in methods:
        genes = marker_evidence(row.markers_label, levels, table)
    elif "reference" in methods:
        place = model.types.index(row.reference_label)
        genes = model_evidence(model, place, means, var["gene_name"])
    return ",".join(genes)


def long_scores(clusters: list[str], opinions: list[Opinion]) -> pd.DataFrame:
    """Return a row per cluster, method and type."""
    parts = [
        pd.DataFrame(opinion.scores, index=clusters, columns=opinion.types)
        .rename_axis(index="cluster")
        .melt(ignore_index=False, var_name="cell_type", value_name="score")
        .reset_index()
        .assign(method=opinion.method)
        for opinion in opinions
        if opinion.types
    ]
    empty = pd.DataFrame(columns=SCORE_COLUMNS)
    return pd.concat(parts, ignore_index=True)[SCORE_COLUMNS] if parts else empty


def look_through(
    clusters: Path,
    table: pd.DataFrame,
    reference: Path | None,
    settings: AnnotateSettings,
    *,
    seed: int,
    threads: int,
) -> tuple[Cells, pd.DataFrame, pd.DataFrame, dict[str, np.ndarray], Model | None]:
    """Return what is needed of the cells, their tables, the markers' columns, a model.

    Raises
    ------
    UserError
        If marker table or reference have no gene of the data.
    """
    with h5py.File(clusters) as file:
        obs, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        x = Matrix(file["X"])
        places = marker_columns(
            list(dict.fromkeys(table["gene"])), var.index, var["gene_name"]
        )
        check_genes(table, places, var)
        model = None
        if reference and len(obs):
            known = read_reference(
                reference,
                labels=settings.reference_labels,
                ontology=settings.reference_ontology,
                genes=var.index,
                symbols=var["gene_name"],
                target=level_sum(x),
                seed=seed,
            )
            model = learned(known)
        names = list(obs["leiden"].cat.categories)
        codes = obs["leiden"].cat.codes.to_numpy().astype(int)
        means, markers, decisions = one_pass(
            x,
            codes,
            len(names),
            np.concatenate([*places.values(), np.zeros(0, dtype=int)]).astype(int),
            model.decisions if model else lambda rows: np.zeros((rows.shape[0], 0)),
            threads=threads,
        )
        where = next((n for n in ("X_integrated", "X_pca") if n in file["obsm"]), None)
        space = file["obsm"][where][:] if where else np.zeros((len(codes), 0))
    cells = Cells(
        clusters=names,
        codes=codes,
        means=means,
        markers=markers,
        decisions=decisions,
        alike=averages(space, seed=seed),
    )
    return cells, obs, var, places, model


def main(
    *,
    clusters: Path,
    markers: list[Path],
    reference: Path | None,
    celltypist: Path | None,
    aliases: Path | None,
    annotation: Path,
    scores: Path,
    cell_labels: Path,
    settings: AnnotateSettings,
    seed: int,
    threads: int = 1,
) -> None:
    """Write the labels of clusters with their evidence, all scores, and cells' labels.

    Raises
    ------
    UserError
        If a table or the reference is wrong, or has no gene of the data.
    """
    # the order of additions, and so the last digit, would follow the thread count
    from threadpoolctl import threadpool_limits

    table = read_markers(*markers)
    renamed = read_aliases(aliases) if aliases else {}
    with threadpool_limits(limits=1):
        cells, obs, var, places, model = look_through(
            clusters, table, reference, settings, seed=seed, threads=threads
        )
        opinions, levels = [], pd.DataFrame(index=cells.clusters)
        if markers:
            opinion, levels = by_markers(
                cells,
                table,
                places,
                min_score=settings.min_score,
                min_lead=settings.min_lead,
            )
            opinions.append(opinion)
        if model:
            opinions.append(
                by_reference(cells, model, min_probability=settings.min_probability)
            )
    if celltypist:
        said = predicted(celltypist, obs.index, cells.codes, len(cells.clusters))
        opinions.append(said)
    words = vocabulary(opinions, renamed)
    result, cell_label, cell_confidence = joined(cells, opinions, words)
    result["evidence"] = [
        evidence_of(row, levels.iloc[number], table, model, cells.means[number], var)
        for number, row in enumerate(result.itertuples())
    ]
    for row in result.itertuples():
        logger.info(
            "cluster %s: %s, confidence %.2f",
            row.cluster,
            row.cell_type,
            row.confidence,
        )
    options = {"sep": "\t", "index": False}
    result[ANNOTATION_COLUMNS].to_csv(annotation, float_format="%.6g", **options)
    long = long_scores(cells.clusters, opinions)
    long.to_csv(scores, float_format="%.6g", **options)
    pd.DataFrame(
        {
            "cell": obs.index,
            "cluster": obs["leiden"].to_numpy(),
            "cell_type": result["cell_type"].to_numpy(dtype=object)[cells.codes],
            "cell_label": np.array([*words.names, UNKNOWN], dtype=object)[cell_label],
            "cell_confidence": cell_confidence,
        },
        columns=CELL_COLUMNS,
    ).to_csv(
        cell_labels,
        float_format="%.3f",
        compression={"method": "gzip", "compresslevel": 1, "mtime": 0},
        **options,
    )


if "snakemake" in globals():
    with job(snakemake):
        given = {
            name: [Path(path) for path in getattr(snakemake.input, name)]
            for name in ("markers", "reference", "celltypist", "aliases")
        }
        main(
            clusters=Path(snakemake.input.clusters),
            markers=given["markers"],
            reference=next(iter(given["reference"]), None),
            celltypist=next(iter(given["celltypist"]), None),
            aliases=next(iter(given["aliases"]), None),
            annotation=Path(snakemake.output.annotation),
            scores=Path(snakemake.output.scores),
            cell_labels=Path(snakemake.output.cell_labels),
            settings=AnnotateSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        )
