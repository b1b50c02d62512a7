"""Write one page that holds everything: no server, no network, no second file."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import jinja2
import pandas as pd
from markupsafe import Markup, escape

from _shared import palette
from _shared import report_charts as charts
from _shared import report_making as making
from _shared import report_sections as sections
from _shared.comparison_page import with_drawings
from _shared.jobs import job
from _shared.pack import packed
from _shared.provenance import config_digest
from _shared.report_cells import cells_packs
from _shared.report_differences import differences_section
from _shared.report_files import TABLES, by_sample, load_sample, load_table
from _shared.report_sources import Sources
from _shared.report_tables import BIDI_CONTROL, bidi_shown, read_table, shown
from _shared.streams import Matrix, read_tables
from _shared.svg import Drawn

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("write_report")

# the page's own scripts, in the order in which they build on each other
SCRIPTS = ("vendor.js", "core.js", "tables.js", "chart_kinds.js", "charts.js")
SCRIPTS += ("values.js", "points.js", "cells.js")


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The `write_report` section of the config."""

    title: str


def slug(text: str) -> str:
    """Return a text as the name of a file."""
    return re.sub(r"\W+", "-", text.lower()).strip("-") or "figure"


def inlined(text: str) -> Markup:
    """Return a script as it may stand in a page: nothing in it ends it early.

    Both sequences only occur in strings, regular expressions and comments, where a
    backslash changes nothing.
    """
    text = re.sub(r"</(?=script)", r"<\\/", text, flags=re.IGNORECASE)
    return Markup(text.replace("<!--", r"<\!--"))


def exact(value: object) -> Markup:
    """Return a value for the scripts of the page, with its bidi controls."""
    text = str(escape(value))
    return Markup(BIDI_CONTROL.sub(lambda found: f"&#{ord(found[0])};", text))


def page_file(name: str) -> str:
    """Return a file of the page's own style and scripts."""
    return (Path(sections.__file__).parent / "page" / name).read_text(encoding="utf-8")


def drawn_in(value: object) -> Iterator[Drawn]:
    """Yield every static figure in what the page shows."""
    if isinstance(value, Drawn):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from drawn_in(part)
    elif isinstance(value, list):
        for part in value:
            yield from drawn_in(part)


def drawn_flows(comparison: dict | None) -> list[Drawn]:
    """Return the flows of a comparison that the page shows, with their numbers."""
    parts = {name: (comparison or {}).get(name) for name in ("clusters", "labels")}
    return [
        Drawn(f"{name}-before-and-now", part["drawing"], pd.DataFrame(part["flows"]))
        for name, part in parts.items()
        if part
    ]


def all_markers(tables: dict[str, Path]) -> dict[str, pd.DataFrame]:
    """Return the tables of markers as text: all rows, the columns that are shown."""
    return {
        name: pd.read_csv(
            tables[name],
            sep="\t",
            dtype=str,
            keep_default_na=False,
            usecols={key for key, *_ in columns}.__contains__,
        )
        for name, columns in sections.MARKER_COLUMNS.items()
        if name in tables
    }


def packs_of(
    figures: list[Drawn],
    drawn: list[charts.Chart],
    rows: dict[str, pd.DataFrame],
    cells: dict[str, str],
) -> dict[str, Markup]:
    """Return the packed tables of the page, by name: nothing in base64 is markup."""
    numbers = {
        figure.name: figure.numbers for figure in figures if figure.numbers is not None
    }
    packs = {"figures": packed(numbers), "charts": charts.packed_charts(drawn)}
    packs |= {"rows": packed(rows), **cells}
    return {name: Markup(text) for name, text in packs.items()}


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
    environment.filters["exact"] = exact
    environment.filters["slug"] = slug
    environment.filters["tojson_plain"] = json.dumps
    environment.tests["in_group"] = lambda name, group: name.startswith(f"{group}-")
    page = environment.get_template("report.html.j2").render(context).lstrip()
    return bidi_shown(page)


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
    graph: list[list[str]] | None = None,
    benchmarks: Path = Path("benchmarks"),
    given: list[Path] | None = None,
    comparison: Path | None = None,
    threads: int = 1,
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
    graph
        Rules of the workflow: stage, rule, the rules that it takes files of.
    benchmarks
        Folder with what each job took; it need not be there.
    given
        Objects that tell of files of the user and their checksums.
    comparison
        What changed since another run.
    """
    adata = read_tables(cells)
    samples = {name: load_sample(name, files) for name, files in sample_files.items()}
    loaded = {name: load_table(name, tables.get(name)) for name in TABLES}
    columns = [name for name in next(iter(design.values())) if name in adata.obs]
    types = adata.obs["cell_type"].cat.categories
    colors = dict(zip(types, adata.uns["cell_type_colors"], strict=True))
    bulk = ad.read_h5ad(pseudobulk)
    known = [json.loads(path.read_text()) for path in [*reference, *(given or [])]]
    drawn = charts.reads_charts(samples)
    with h5py.File(cells) as file:
        drawn += charts.cells_charts(loaded, adata, Matrix(file["X"]))
    drawn += charts.differences_charts(
        loaded, bulk, design, colors=colors, config=config
    )
    explorer = cells_packs(cells, tables=loaded, threads=threads)
    rules = making.read_graph(graph or [])
    before = rules.before(making.PAGE)
    measured = making.read_benchmarks(benchmarks, before)
    absent = before - set(measured["rule"]) if len(measured) else set()
    rules = rules.only({r for own in rules.stages.values() for r in own} - absent)
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
        "cells": sections.cells_section(adata, tables=loaded, config=config),
        "explorer": explorer.facts,
        "differences": differences_section(loaded, config=config),
        "charts": {chart.id: chart for chart in drawn},
        "making": making.making_section(
            config=config,
            versions=adata.uns["reads2cells"]["versions"],
            benchmarks=measured,
            known=known,
            sheets=sheets,
            notices=page_file("vendor.txt"),
            is_part=bool(absent),
        ),
        "graph": making.graph_figure(
            rules, dict(zip(measured["rule"], measured["seconds"], strict=True))
        ),
        "comparison": with_drawings(json.loads(comparison.read_text()))
        if comparison
        else None,
        "provenance": adata.uns["reads2cells"],
        "config_digest": config_digest(config),
        "sheets": {str(path): path.read_text(encoding="utf-8-sig") for path in sheets},
        "sources": Sources(),
        "style": Markup(page_file("style.css")),
        "scripts": [inlined(page_file(name)) for name in SCRIPTS],
        "palette": {
            "categories": palette.CATEGORIES,
            "unknown": palette.UNKNOWN,
            "up": palette.UP,
            "down": palette.DOWN,
            "neutral": palette.NEUTRAL,
        },
    }
    figures = [*drawn_in(context), *drawn_flows(context["comparison"])]
    rows = all_markers(tables)
    context["packs"] = packs_of(figures, drawn, rows, explorer.packs)
    text = render(context)
    page.write_text(text, encoding="utf-8")
    logger.info("%d samples, %.1f MB", len(samples), len(text) / 1e6)


if "snakemake" in globals():
    with job(snakemake):
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
            graph=snakemake.params.rule_graph,
            given=[Path(path) for path in snakemake.input.given],
            comparison=Path(snakemake.input.comparison[0])
            if snakemake.input.comparison
            else None,
            threads=snakemake.threads,
        )
