"""Sections of the report: what each of them shows, as values for the page template."""

import logging

import anndata as ad
import pandas as pd

from _shared import figures
from _shared.report_evidence import (
    ambient_section,
    chosen_resolution,
    doublet_figure,
    integration_columns,
    reasons_figure,
    resolution_section,
    swaps_section,
)
from _shared.report_sources import place_of
from _shared.report_tables import ledger_problems, records
from _shared.svg import picture

logger = logging.getLogger("write_report")

# markers of each group that the page shows at once; its scripts add the others
TOP_MARKERS = 10
# more than this stays in the tables
TOP_SETS = 5
# columns of the tables of markers: (key, heading, kind)
MARKER_COLUMNS = {
    "markers": [
        ("cluster", "cluster", "text"),
        ("rank", "rank", "number"),
        ("gene_name", "gene", "gene"),
        ("gene_id", "id", "text"),
        ("score", "score", "decimal"),
        ("log2_fold_change", "log2 fold change", "decimal"),
        ("pct_in", "% in", "number"),
        ("pct_out", "% out", "number"),
        ("auc", "AUC", "decimal"),
        ("padj", "adj. p", "p"),
        ("nearest", "nearest", "text"),
        ("nearest_auc", "AUC against it", "decimal"),
    ],
    "cell_type_markers": [
        ("cell_type", "cell type", "text"),
        ("rank", "rank", "number"),
        ("gene_name", "gene", "gene"),
        ("gene_id", "id", "text"),
        ("log2_fold_change", "log2 fold change", "decimal"),
        ("pct_in", "% in", "number"),
        ("pct_out", "% out", "number"),
        ("auc", "AUC", "decimal"),
        ("nearest", "nearest", "text"),
        ("nearest_auc", "AUC against it", "decimal"),
    ],
}

# what not every method of scoring doublets tells
NOT_TOLD = {"method": "", "automatic_rate": None, "expected_from": ""}


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
        file = facts["files"].get("metrics")
        facts["metrics_place"] = place_of(file) if file else None
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


def with_doublet_limit(facts: dict) -> list[dict]:
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
        return records(table)
    return [*records(table), limit]


def reads_section(
    samples: dict[str, dict],
    adata: ad.AnnData,
    *,
    reads: pd.DataFrame | None,
    reference: list[dict],
    swaps: pd.DataFrame,
    swaps_evidence: dict | None,
) -> dict:
    """Return reads, calling, ambient RNA, limits, doublets, ledger and swaps."""
    ledger = pd.concat([s["ledger"] for s in samples.values()])
    final = adata.obs["sample"].astype(str).value_counts().to_dict()
    problems = ledger_problems(
        ledger,
        verdicts={name: s["verdict"]["verdict"] for name, s in samples.items()},
        final_cells=final,
    )
    for problem in problems:
        logger.error("ledger: %s", problem)
    return {
        "table": [] if reads is None else records(reads),
        "evidence": {
            name: [
                {**row, "_file": facts["files"]["inspection"], "_at": f"evidence.{i}"}
                for i, row in enumerate(facts["inspection"]["evidence"])
            ]
            for name, facts in samples.items()
            if facts["inspection"]
        },
        "reference_warnings": [
            text for facts in reference for text in facts["warnings"]
        ],
        "callers": [
            {"sample": name, **row}
            for name, facts in samples.items()
            if facts["callers"] is not None
            for row in records(facts["callers"])
        ],
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
        "n_called": sum(facts["n_called"] for facts in samples.values()),
        "n_given": sum(not facts["inspection"] for facts in samples.values()),
        "thresholds": [
            row for facts in samples.values() for row in with_doublet_limit(facts)
        ],
        "doublets": [
            {
                "sample": name,
                **NOT_TOLD,
                **facts["doublets"],
                "_file": facts["files"].get("doublets"),
            }
            for name, facts in samples.items()
        ],
        "doublet_figure": doublet_figure(samples),
        "swaps": swaps_section(swaps, swaps_evidence, samples),
        "ledger": [row for s in samples.values() for row in records(s["ledger"])],
        "ledger_reasons": reasons_figure(ledger),
        "ledger_problems": problems,
    }


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
    adata: ad.AnnData, *, tables: dict[str, pd.DataFrame], config: dict
) -> dict:
    """Return cluster sizes, labels, markers, and why these clusters."""
    markers, annotation = tables["markers"], tables["annotation"]
    integration = tables["integration"]
    section = {
        "n_cells": adata.n_obs,
        "n_clusters": adata.obs["leiden"].cat.categories.size,
        "annotation": records(annotation),
        "markers": records(
            markers[markers.groupby("cluster").cumcount() < TOP_MARKERS]
        ),
        "type_markers": of_types(tables["cell_type_markers"]),
        "marker_columns": MARKER_COLUMNS,
        "n_markers": {name: len(tables[name]) for name in MARKER_COLUMNS},
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
        "sizes": None,
    }
    if not adata.n_obs:
        return section
    sizes = adata.obs["leiden"].value_counts(sort=False)
    label_of = dict(zip(annotation["cluster"], annotation["cell_type"], strict=True))
    types = [label_of.get(name, "") for name in sizes.index]
    numbers = pd.DataFrame(
        {"cluster": sizes.index.astype(str), "cell_type": types, "n_cells": sizes.array}
    )
    sizes.index = [f"{row.cluster}  {row.cell_type}" for row in numbers.itertuples()]
    section["sizes"] = picture(
        "cluster-sizes",
        numbers,
        "Cells per cluster",
        figures.bars,
        sizes,
        colors=adata.uns["leiden_colors"],
        xlabel="cells",
    )
    return section
