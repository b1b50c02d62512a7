"""Compare the results with those of an earlier run, and say what changed and why."""

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from _shared.change_summary import sum_up
from _shared.comparison_page import comparison_page
from _shared.jobs import job
from _shared.previous_run import Run, read_previous, with_genome
from _shared.provenance import git_state, versions
from _shared.rule_causes import read_graph
from _shared.run_changes import (
    cell_table,
    config_table,
    counterparts,
    expression_table,
    flows,
    lacking,
    marker_table,
    metric_table,
    read_labels,
    rule_table,
    shared_genes,
)

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("find_changes")

# of the tables that are None where a run lacks what they are made from
COLUMNS = {
    "clusters": ["previous", "now", "n_cells"],
    "labels": ["previous", "now", "n_cells"],
    "expression": [
        "contrast",
        "cell_type",
        "gene_id",
        "gene_name",
        "change",
        "reason",
        "previous_log2_fold_change",
        "previous_padj",
        "log2_fold_change",
        "padj",
    ],
}
# of flows, what `previous` and `now` are in the table on disk
NAMES = {
    "clusters": {"previous": "previous_cluster", "now": "cluster"},
    "labels": {"previous": "previous_cell_type", "now": "cell_type"},
}


def compared(
    previous: Run, now: Run, *, paths: dict[str, list[str]], graph: dict[str, list[str]]
) -> dict:
    """Return all tables of a comparison by name."""
    labels = [read_labels(run) for run in (previous, now)]
    found: dict[str, pd.DataFrame | None] = {"clusters": None, "labels": None}
    if labels[0] is not None and labels[1] is not None:
        found["clusters"] = flows(labels[0]["cluster"], labels[1]["cluster"])
        found["labels"] = flows(labels[0]["cell_type"], labels[1]["cell_type"])
    pairs = found["clusters"]
    if pairs is None:
        pairs = pd.DataFrame(columns=COLUMNS["clusters"])
    config = config_table(previous, now)
    return {
        **found,
        "config": config,
        "rules": rule_table(previous, now, paths=paths, graph=graph, config=config),
        "cells": cell_table(previous, now),
        "markers": marker_table(previous, now, counterparts(pairs)),
        "expression": expression_table(previous, now),
        "metrics": metric_table(previous, now),
    }


def as_text(content: dict) -> str:
    """Return the comparison in a few lines."""
    lines = [content["headline"], *content["notes"], *content["sentences"]]
    return "\n".join(lines) + "\n"


def main(
    *,
    previous: Path,
    recorded: Path,
    star_version: Path | None,
    graph: Path,
    samples: list[str],
    paths: dict[str, list[str]],
    config: dict,
    title: str,
    folder: Path,
    results: Path = Path("results"),
) -> None:
    """Read both runs, write the tables, the page and a few sentences.

    Parameters
    ----------
    previous
        Folder of the earlier run's results.
    recorded
        Checksums of what went into this run, as `record_inputs` writes them.
    graph
        Table of the rules that every rule takes files of.
    paths
        By rule the files that this run makes, below `results`.
    folder
        Where everything goes.
    """
    before = read_previous(previous)
    inputs = json.loads(recorded.read_text(encoding="utf-8"))
    star = star_version.read_text().strip() if star_version else None
    now = Run(
        results=results,
        samples=samples,
        config=config,
        inputs=with_genome(inputs["inputs"], inputs["reference"]),
        versions=versions(star=star),
        workflow=git_state(),
    )
    tables = compared(before, now, paths=paths, graph=read_graph(graph))
    content = sum_up(
        before,
        now,
        tables,
        genes=shared_genes(before, now),
        lacking=lacking(before, now, paths),
    )

    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        written = pd.DataFrame(columns=COLUMNS[name]) if table is None else table
        written.rename(columns=NAMES.get(name, {})).to_csv(
            folder / f"{name}.tsv", sep="\t", index=False
        )
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "comparison.json").write_text(text + "\n", encoding="utf-8")
    (folder / "comparison.txt").write_text(as_text(content), encoding="utf-8")
    page = comparison_page(content, title)
    (folder / "comparison.html").write_text(page, encoding="utf-8")
    logger.info("%s", content["headline"])


if "snakemake" in globals():
    with job(snakemake):
        main(
            previous=Path(snakemake.params.previous),
            recorded=Path(snakemake.input.recorded),
            star_version=Path(snakemake.input.star_version[0])
            if snakemake.input.star_version
            else None,
            graph=Path(snakemake.input.graph),
            samples=snakemake.params.samples,
            paths=snakemake.params.paths,
            config=snakemake.params.config,
            title=snakemake.params.title,
            folder=Path(snakemake.output.page).parent,
        )
