"""Sections of the report: what each of them shows, as values for the page template."""

import logging

import anndata as ad
import numpy as np
import pandas as pd

from _shared import figures
from _shared.palette import CATEGORIES, colors_of
from _shared.report_evidence import (
    ambient_section,
    chosen_resolution,
    doublet_figure,
    integration_columns,
    reasons_figure,
    resolution_section,
    swaps_section,
)
from _shared.report_tables import (
    cells_by_gene,
    dot_plot_genes,
    ledger_problems,
    ledger_shares,
    records,
)
from _shared.streams import Matrix
from _shared.svg import svg

logger = logging.getLogger("write_report")

# more than this stays in the tables
TOP_MARKERS = 10
TOP_SETS = 5
REMOVED = tuple(color for color in CATEGORIES if color != figures.CELL)

# what not every method of scoring doublets tells
NOT_TOLD = {"method": "", "automatic_rate": None, "expected_from": ""}
UMAP_CAPTIONS = {
    "leiden": "Look for clusters without a gap between them, or torn in two.",
    "cell_type": "Look for a type in two distant places: one may be another type.",
    "total_counts": "Look for clusters of very low counts: debris or dying cells.",
    "pct_counts_mt": "Look for clusters of high values: stressed or dying cells.",
    "doublet_score": "Look for clusters of high values between others: doublets.",
    "leiden_stability": "Look for cells of low values: the border of two clusters.",
}


def verdict_section(samples: dict[str, dict]) -> dict:
    """Return samples, those set aside first, and every metric that one of them has."""
    metrics: dict[str, dict] = {}
    for facts in samples.values():
        measured = {
            name: {"title": name, **metric}
            for name, metric in (facts["metrics"] or {}).items()
        }
        facts["metrics"] = measured
        metrics = {**measured, **metrics}
        facts["lights"] = {
            status: [
                m for m in measured.values() if m["limit"] and m["status"] == status
            ]
            for status in ("pass", "warn", "fail")
        }
    # those set aside first, then those with something to look at
    ordered = sorted(
        samples.values(),
        key=lambda s: (s["verdict"]["verdict"] == "kept", not s["verdict"]["warnings"]),
    )
    n_kept = sum(s["verdict"]["verdict"] == "kept" for s in ordered)
    return {"samples": ordered, "metrics": metrics, "n_kept": n_kept}


def with_doublet_limit(facts: dict) -> pd.DataFrame:
    """Return the thresholds of a sample, that of the doublet scores among them."""
    table, decision = facts["thresholds"], facts["doublets"]
    limit = {
        "sample": facts["sample"],
        "metric": "doublet_score",
        "lower": float("nan"),
        "upper": decision["threshold"],
        "median": facts["cell_metrics"]["doublet_score"].median(),
        "mad": float("nan"),
        "source": decision["threshold_source"],
    }
    if decision["threshold"] is None or "doublet_score" in set(table["metric"]):
        return table
    return pd.concat([table, pd.DataFrame([limit])], ignore_index=True)


def reads_section(
    samples: dict[str, dict],
    adata: ad.AnnData,
    *,
    reads: pd.DataFrame | None,
    reference: list[dict],
    swaps: pd.DataFrame,
    swaps_evidence: dict | None,
) -> dict:
    """Return reads, knees, ambient RNA, distributions, doublets, ledger and swaps."""
    curves = {
        name: facts["saturation"]
        for name, facts in samples.items()
        if facts["saturation"] is not None and len(facts["saturation"])
    }
    cells = pd.concat([s["cell_metrics"] for s in samples.values()], ignore_index=True)
    thresholds = pd.concat([with_doublet_limit(s) for s in samples.values()])
    ledger = pd.concat([s["ledger"] for s in samples.values()])
    final = adata.obs["sample"].astype(str).value_counts().to_dict()
    problems = ledger_problems(
        ledger,
        verdicts={name: s["verdict"]["verdict"] for name, s in samples.items()},
        final_cells=final,
    )
    for problem in problems:
        logger.error("ledger: %s", problem)
    shares = ledger_shares(ledger)
    colors = [figures.CELL, *(REMOVED * len(shares.columns))][: len(shares.columns)]
    ridges = svg(
        "Distributions of the cell metrics", figures.qc_ridges, cells, thresholds
    )
    bars = svg(
        "Cells kept and removed per sample",
        figures.stacked_bars,
        shares.rename(columns=lambda name: name.replace("_", " ")),
        colors=colors,
        xlabel="cells called",
    )
    return {
        "table": [] if reads is None else records(reads),
        "reference_warnings": [
            text for facts in reference for text in facts["warnings"]
        ],
        "callers": [
            {"sample": name, **row}
            for name, facts in samples.items()
            if facts["callers"] is not None
            for row in records(facts["callers"])
        ],
        "saturation": svg("Saturation by depth", figures.saturation_curves, curves)
        if curves
        else None,
        "knees": {
            name: svg(f"Barcode ranks of {name}", figures.knee_plot, facts["ranks"])
            for name, facts in samples.items()
            if facts["ranks"] is not None
            and (facts["ranks"]["is_cell_share"] < 1).any()
        },
        "called": [
            {"sample": name, **facts["calling"]}
            for name, facts in samples.items()
            if facts["calling"]
        ],
        "ambient": ambient_section(samples),
        "nuclei": [
            f"{name} (by the {facts['verdict']['nuclei']['by']})"
            for name, facts in samples.items()
            if facts["verdict"].get("nuclei", {}).get("is_nuclei")
        ],
        "ridges": ridges if len(cells) else None,
        "thresholds": records(thresholds),
        "doublets": [
            {"sample": name, **NOT_TOLD, **facts["doublets"]}
            for name, facts in samples.items()
        ],
        "doublet_figure": doublet_figure(samples),
        "swaps": swaps_section(swaps, swaps_evidence, samples),
        "ledger": records(ledger),
        "ledger_bars": bars if shares.to_numpy().sum() else None,
        "ledger_reasons": reasons_figure(ledger),
        "ledger_problems": problems,
    }


def umaps(adata: ad.AnnData, design: list[str]) -> list[dict]:
    """Return the embedding colored by everything that is worth a look."""
    umap = np.asarray(adata.obsm["X_umap"])
    shown = [
        ("leiden", "cluster", adata.uns["leiden_colors"], True),
        ("cell_type", "cell type", adata.uns["cell_type_colors"], False),
    ]
    for name in ("sample", *design):
        levels = adata.obs[name].astype("category").cat.categories
        shown.append((name, name, colors_of(levels), False))
    drawn = [
        {
            "title": f"By {title}",
            "caption": UMAP_CAPTIONS.get(name, "Look for clusters of one color alone."),
            "svg": svg(
                f"UMAP colored by {title}",
                figures.umap_by_category,
                umap,
                adata.obs[name].astype("category"),
                colors=list(colors),
                name_groups=named,
            ),
        }
        for name, title, colors, named in shown
    ]
    for name, title, label, limits in (
        ("total_counts", "counts", "log10(counts + 1)", None),
        ("pct_counts_mt", "mitochondrial share", "mitochondrial (%)", None),
        ("doublet_score", "doublet score", "doublet score", None),
        # where all cells are stable, the scale does not make a pattern of nothing
        ("leiden_stability", "stability", "stability", (0.5, 1)),
    ):
        if name not in adata.obs:
            continue
        value = adata.obs[name].to_numpy(dtype=float)
        if not np.isfinite(value).any():
            # not measured: no gene is known to be mitochondrial, too few cells
            continue
        if name == "total_counts":
            value = np.log10(value + 1)
        drawn.append(
            {
                "title": f"By {title}",
                "caption": UMAP_CAPTIONS[name],
                "svg": svg(
                    f"UMAP colored by {title}",
                    figures.umap_by_value,
                    umap,
                    value,
                    label=label,
                    limits=limits,
                ),
            }
        )
    return drawn


def of_types(markers: pd.DataFrame) -> list[dict]:
    """Return the best markers of every cell type."""
    if markers.empty:
        return []
    return records(markers[markers.groupby("cell_type").cumcount() < TOP_MARKERS])


def sets_of_markers(table: pd.DataFrame) -> dict:
    """Return the gene sets that fit the markers of each group best, with columns."""
    columns = [("grouping", "of", "text"), ("group", "group", "text")]
    columns += [("collection", "collection", "text"), ("gene_set", "set", "text")]
    columns += [("n_overlap", "overlap", "number"), ("odds_ratio", "odds", "decimal")]
    columns += [("padj", "adj. p", "p"), ("genes", "genes", "gene")]
    rows = []
    if len(table):
        best = table.sort_values(["grouping", "group", "p_value"], kind="stable")
        rows = records(best.groupby(["grouping", "group"]).head(TOP_SETS))
    return {"marker_sets": rows, "marker_set_columns": columns}


def cells_section(
    adata: ad.AnnData,
    matrix: Matrix,
    *,
    design: list[str],
    tables: dict[str, pd.DataFrame],
    config: dict,
) -> dict:
    """Return embeddings, cluster sizes, labels, markers, and why these clusters."""
    markers, annotation = tables["markers"], tables["annotation"]
    integration = tables["integration"]
    section = {
        "n_cells": adata.n_obs,
        "n_drawn": min(adata.n_obs, figures.MOST_DRAWN),
        "n_clusters": adata.obs["leiden"].cat.categories.size,
        "annotation": records(annotation),
        "markers": records(
            markers[markers.groupby("cluster").cumcount() < TOP_MARKERS]
        ),
        "type_markers": of_types(tables["cell_type_markers"]),
        **sets_of_markers(tables["marker_sets"]),
        "integration": records(integration),
        "integration_columns": integration_columns(integration),
        "evidence": resolution_section(
            tables,
            colors=dict(
                zip(
                    adata.obs["leiden"].cat.categories,
                    adata.uns["leiden_colors"],
                    strict=True,
                )
            ),
            least=config["find_clusters"].get("min_stability"),
        ),
        "resolution": chosen_resolution(tables["resolutions"], config),
        "umaps": [],
        "sizes": None,
        "dots": None,
    }
    if not adata.n_obs:
        return section
    sizes = adata.obs["leiden"].value_counts(sort=False)
    label_of = dict(zip(annotation["cluster"], annotation["cell_type"], strict=True))
    sizes.index = [f"{name}  {label_of.get(name, '')}" for name in sizes.index]
    section["umaps"] = umaps(adata, design)
    section["sizes"] = svg(
        "Cells per cluster",
        figures.bars,
        sizes,
        colors=adata.uns["leiden_colors"],
        xlabel="cells",
    )
    genes = dot_plot_genes(markers) if len(markers) else []
    genes = [gene for gene in genes if gene in adata.var_names]
    if genes:
        means, shares = cells_by_gene(adata, matrix, genes)
        section["dots"] = svg("Top markers", figures.dot_plot, means, shares)
    return section
