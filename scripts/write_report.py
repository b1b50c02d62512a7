"""Write one page that holds everything: no server, no network, no second file."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import jinja2
import pandas as pd

from _shared import report_sections as sections
from _shared.figures import QC_PANELS
from _shared.logs import log_to
from _shared.provenance import config_digest
from _shared.report_differences import differences_section
from _shared.report_tables import read_evidence, read_metrics, read_table, shown
from _shared.streams import Matrix, read_tables

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_report")

TABLES = (
    "markers",
    "annotation",
    "integration",
    "swaps",
    "resolutions",
    "cluster_stability",
    "cluster_tree",
    "cluster_doublets",
    "cell_type_markers",
    "marker_sets",
    "judged",
    "expression",
    "expression_untested",
    "composition",
    "composition_shares",
    "composition_untested",
    "gene_sets",
    "gene_sets_untested",
    "activities",
    "activities_untested",
    "modules",
    "module_tests",
    "network_edges",
    "networks_untested",
    "bulk_samples",
)
# tables whose columns are numbers unless they are names
EVIDENCE = {"integration", "swaps", "resolutions", "cluster_stability", "cluster_tree"}
EVIDENCE |= {"cluster_doublets"}
# per sample; the second lot only for samples that enter as reads
SAMPLE_FILES = ("verdict", "doublets", "cell_metrics", "thresholds", "ledger")
SAMPLE_FILES += ("ambient", "calling", "callers", "ranks")
READ_FILES = ("metrics", "inspection", "saturation")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The `write_report` section of the config."""

    title: str


def load_sample(name: str, files: dict[str, Path]) -> dict:
    """Return what is known of one sample; None for what only reads could tell."""
    facts: dict = dict.fromkeys(SAMPLE_FILES + READ_FILES)
    for kind, path in files.items():
        if kind == "cell_metrics":
            facts[kind] = read_metrics(path, QC_PANELS)
        elif path.suffix == ".tsv":
            facts[kind] = read_table(path)
        else:
            facts[kind] = json.loads(path.read_text())
    facts["cell_metrics"]["sample"] = name
    facts["verdict"].setdefault("warnings", [])
    return {
        "sample": name,
        "n_called": len(facts["cell_metrics"]),
        "n_kept": int(facts["cell_metrics"]["kept"].sum()),
        **facts,
    }


def load_table(name: str, path: Path | None) -> pd.DataFrame:
    """Return a table of the run; one that no rule wrote is empty."""
    if path is None:
        return pd.DataFrame()
    return read_evidence(path) if name in EVIDENCE else read_table(path)


def render(context: dict) -> str:
    """Return the page; a value that the template misses is an error, not a blank."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(sections.__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shown"] = shown
    environment.filters["tojson_plain"] = json.dumps
    return environment.get_template("report.html.j2").render(context).lstrip()


def main(
    *,
    sample_files: dict[str, dict[str, Path]],
    tables: dict[str, Path],
    cells: Path,
    pseudobulk: Path,
    design: dict[str, dict[str, str]],
    sheets: list[Path],
    reads_table: Path | None,
    reference: list[Path],
    swaps_evidence: Path | None,
    page: Path,
    config: dict,
    settings: ReportSettings,
) -> None:
    """Read all results, write the page.

    Parameters
    ----------
    sample_files
        By sample, in the order of the sheet, and kind (`SAMPLE_FILES`, `READ_FILES`).
    tables
        The tables of the run, by the names in `TABLES`.
    design
        What the sample sheet says of each sample, in its order.
    reads_table
        A row per sample with reads, as `summarize_reads` writes it.
    reference
        What was found out about genome, annotation and index.
    swaps_evidence
        What `check_swaps` measured of each sample.
    """
    adata = read_tables(cells)
    samples = {name: load_sample(name, files) for name, files in sample_files.items()}
    loaded = {name: load_table(name, tables.get(name)) for name in TABLES}
    columns = [name for name in next(iter(design.values())) if name in adata.obs]
    types = adata.obs["cell_type"].cat.categories
    colors = dict(zip(types, adata.uns["cell_type_colors"], strict=True))
    with h5py.File(cells) as file:
        cells_part = sections.cells_section(
            adata, Matrix(file["X"]), design=columns, tables=loaded, config=config
        )
    context = {
        "title": settings.title,
        "config": config,
        "design": design,
        "design_columns": columns,
        "verdict": sections.verdict_section(samples),
        "reads": sections.reads_section(
            samples,
            adata,
            reads=read_table(reads_table) if reads_table else None,
            reference=[json.loads(path.read_text()) for path in reference],
            swaps=loaded["swaps"],
            swaps_evidence=json.loads(swaps_evidence.read_text())
            if swaps_evidence
            else None,
        ),
        "cells": cells_part,
        "differences": differences_section(
            loaded, ad.read_h5ad(pseudobulk), design, colors=colors, config=config
        ),
        "provenance": adata.uns["reads2cells"],
        "config_digest": config_digest(config),
        "sheets": {str(path): path.read_text(encoding="utf-8-sig") for path in sheets},
    }
    text = render(context)
    page.write_text(text, encoding="utf-8")
    logger.info("%d samples, %.1f MB", len(samples), len(text) / 1e6)


def by_sample(inputs, samples: list[str], read_samples: list[str]) -> dict:
    """Return the input files of each sample by kind."""
    files: dict[str, dict[str, Path]] = {sample: {} for sample in samples}
    for kind in SAMPLE_FILES + READ_FILES:
        paths = inputs.get(kind) or []
        # what not all samples have, those with reads have
        names = samples if len(paths) == len(samples) else read_samples
        for sample, path in zip(names, paths, strict=bool(paths)):
            files[sample][kind] = Path(path)
    return files


if "snakemake" in globals():
    log_to(snakemake.log[0])
    main(
        sample_files=by_sample(
            snakemake.input,
            list(snakemake.params.design),
            snakemake.params.read_samples,
        ),
        tables={
            name: Path(snakemake.input.get(name))
            for name in TABLES
            if snakemake.input.get(name)
        },
        cells=Path(snakemake.input.cells),
        pseudobulk=Path(snakemake.input.pseudobulk),
        design=snakemake.params.design,
        sheets=[Path(path) for path in snakemake.input.sheets],
        reads_table=Path(snakemake.input.reads_table[0])
        if snakemake.input.reads_table
        else None,
        reference=[Path(path) for path in snakemake.input.reference],
        swaps_evidence=Path(snakemake.input.swaps_evidence)
        if snakemake.input.get("swaps_evidence")
        else None,
        page=Path(snakemake.output.page),
        config=snakemake.params.config,
        settings=ReportSettings(**snakemake.params.settings),
    )
