"""Sections of the report: what each of them shows, as values for the page template."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
from markupsafe import Markup

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
    best_genes,
    cells_by_gene,
    dot_plot_genes,
    expression_summary,
    ledger_problems,
    ledger_shares,
    records,
    z_scores,
)
from _shared.streams import Matrix
from _shared.svg import svg

logger = logging.getLogger("write_report")

# more than this stays in the tables
TOP_MARKERS = 10
TOP_GENES = 25
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


def expression_detail(
    results: pd.DataFrame, pseudobulk: ad.AnnData, *, config: dict
) -> dict:
    """Return volcano, heatmap and table of one contrast in one cell type."""
    settings = config["test_expression"]
    contrast, cell_type = results[["contrast", "cell_type"]].iloc[0]
    column, tested, reference = config["design"]["contrasts"][contrast]
    obs = pseudobulk.obs
    level = obs[column].astype(str)
    rows = obs["cell_type"].astype(str).eq(cell_type) & level.isin([tested, reference])
    rows &= obs["n_cells"] >= settings["min_cells"]
    order = sorted(np.flatnonzero(rows), key=lambda i: level.iloc[i] == tested)
    top = best_genes(results, n=TOP_GENES)
    name = f"{cell_type}, {contrast}"
    return {
        "cell_type": cell_type,
        "n_found": int((results["padj"] < settings["fdr"]).sum()),
        "volcano": svg(
            f"Volcano of {name}", figures.volcano, results, fdr=settings["fdr"]
        ),
        "heatmap": svg(
            f"Top genes of {name}",
            figures.heatmap,
            z_scores(pseudobulk, list(top["gene_id"]), rows=order),
            groups=level.iloc[order],
        )
        if order
        else None,
        "top": records(top),
    }


def composition_figure(
    shares: pd.DataFrame,
    tests: pd.DataFrame,
    groups: dict[str, str],
    *,
    config: dict,
    name: str,
) -> Markup | None:
    """Return the shares of the two groups of a contrast, None without any."""
    _, tested, reference = config["design"]["contrasts"][name]
    points = shares.assign(
        group=shares["sample"].map(groups), share=100 * shares["share"]
    )
    points = points[points["group"].isin([tested, reference])]
    found = tests[tests["padj"] < config["test_composition"]["fdr"]]
    if not len(points):
        return None
    return svg(
        f"Shares of the cell types, {name}",
        figures.share_points,
        points,
        groups=(tested, reference),
        found=set(found["cell_type"]),
    )


def differences_section(
    tables: dict[str, pd.DataFrame],
    pseudobulk: ad.AnnData,
    design: dict[str, dict[str, str]],
    *,
    colors: dict[str, str],
    config: dict,
) -> dict:
    """Return expression and composition for every contrast, and what was not tested."""
    expression, composition = tables["expression"], tables["composition"]
    shares = tables["composition_shares"]
    wide = shares.pivot_table(
        index="sample", columns="cell_type", values="share", aggfunc="sum", sort=False
    ).fillna(0)
    wide = wide.loc[[sample for sample in design if sample in wide.index]]
    spare = dict(zip(wide.columns, CATEGORIES * len(wide.columns), strict=False))
    contrasts = []
    for name, (column, tested, reference) in config["design"]["contrasts"].items():
        mine = expression[expression["contrast"] == name]
        tests = composition[composition["contrast"] == name]
        contrasts.append(
            {
                "name": name,
                "column": column,
                "tested": tested,
                "reference": reference,
                "summary": records(
                    expression_summary(mine, fdr=config["test_expression"]["fdr"])
                ),
                "details": [
                    expression_detail(results, pseudobulk, config=config)
                    for _, results in mine.groupby("cell_type", sort=False)
                ],
                "composition": records(tests),
                "shares": composition_figure(
                    shares,
                    tests,
                    {sample: row[column] for sample, row in design.items()},
                    config=config,
                    name=name,
                ),
            }
        )
    stacks = svg(
        "Cell types per sample",
        figures.stacked_bars,
        100 * wide,
        colors=[colors.get(name, spare[name]) for name in wide.columns],
        xlabel="share of the sample's cells (%)",
        percent=True,
    )
    return {
        "contrasts": contrasts,
        "stacks": stacks if len(wide) else None,
        "shares": records(shares),
        "untested": [
            {"what": "expression", **row}
            for row in records(tables["expression_untested"])
        ]
        + [
            {"what": "composition", "cell_type": "", **row}
            for row in records(tables["composition_untested"])
        ],
    }
