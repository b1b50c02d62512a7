"""Sections of the report that show evidence: ambient RNA, doublets, swaps, clusters."""

import numpy as np
import pandas as pd

from _shared import evidence_figures
from _shared.figures import LIMIT
from _shared.report_tables import failed_shares, records, square
from _shared.svg import Drawn, picture

# more samples than this have no room in a square of all pairs
MOST_SAMPLES = 60
# percent of the counts from which on marker genes of one type are seen in all others
HIGH_AMBIENT = 10
# genes of the ambient RNA that are named
TOP_AMBIENT = 8
CHECKS = {
    "shared_barcodes": "shared barcodes, %",
    "sex_genes": "sex, % with XIST",
    "donor_sex": "sexes of a donor",
    "expression_distance": "distance from replicates",
    "same_donor": "likeness of a donor's samples",
    "species_mix": "other species, %",
}
# what a resolution is judged by, as far as the table has it
RESOLUTION_PANELS = {
    "stable_cells_percent": "cells in stable clusters (%)",
    "stability": "mean stability",
    "n_clusters": "clusters",
}


def number(value: object) -> float:
    """Return a value as a number, NaN where there is none."""
    return float("nan") if value is None or value == "" else float(value)


def ambient_rows(samples: dict[str, dict]) -> list[dict]:
    """Return the ambient RNA of each sample that somebody looked at."""
    found = {
        name: facts["ambient"] for name, facts in samples.items() if facts["ambient"]
    }
    return [
        {
            "sample": name,
            "contamination_percent": number(facts["contamination_percent"]),
            "low": number(facts["low"]),
            "high": number(facts["high"]),
            "used": bool(facts["used"]),
            "n_empty_droplets": facts["n_empty_droplets"],
            "n_without_cell": facts["n_without_cell"],
            "method": facts["method"],
            "remark": facts["reason"] or f"by {facts['method']}",
            "genes": ", ".join(
                f"{gene['gene_name']} {gene['percent_of_ambient']:.1f} %"
                for gene in facts["top_genes"][:TOP_AMBIENT]
            ),
            "_file": samples[name].get("files", {}).get("ambient"),
        }
        for name, facts in found.items()
    ]


def ambient_points(rows: list[dict]) -> pd.DataFrame:
    """Return the ambient share of each sample with its interval, to be drawn."""
    places = {"sample": "name", "contamination_percent": "value"}
    places |= {"low": "low", "high": "high", "used": "filled"}
    return pd.DataFrame(rows, columns=list(places)).rename(columns=places)


def ambient_section(samples: dict[str, dict]) -> dict | None:
    """Return ambient RNA with intervals and top genes; None: nobody looked."""
    rows = ambient_rows(samples)
    if not rows:
        return None
    points = ambient_points(rows)
    drawn = points["value"].notna().any()
    return {
        "rows": rows,
        # known to be high, and left in the counts
        "high": [
            row["sample"]
            for row in rows
            if row["low"] >= HIGH_AMBIENT and not row["used"]
        ],
        "methods": sorted({row["method"] for row in rows}),
        "any_used": any(row["used"] for row in rows),
        "figure": picture(
            "ambient",
            points.rename(
                columns={
                    "name": "sample",
                    "value": "contamination_percent",
                    "filled": "used",
                }
            ),
            "Ambient RNA per sample",
            evidence_figures.interval_points,
            points,
            xlabel="counts from ambient RNA (%)",
        )
        if drawn
        else None,
    }


def doublet_points(samples: dict[str, dict]) -> pd.DataFrame:
    """Return expected and observed doublets of each scored sample, in percent."""
    rows = [
        {
            "name": name,
            "expected": 100 * number(facts["doublets"]["expected_rate"]),
            "observed": 100 * number(facts["doublets"]["observed_rate"]),
        }
        for name, facts in samples.items()
        if facts["doublets"]["threshold"] is not None
    ]
    return pd.DataFrame(rows, columns=["name", "expected", "observed"])


def doublet_figure(samples: dict[str, dict]) -> Drawn | None:
    """Return expected against observed doublets; None where nothing was scored."""
    points = doublet_points(samples)
    if not len(points):
        return None
    return picture(
        "doublets",
        points.rename(
            columns={
                "name": "sample",
                "expected": "expected_percent",
                "observed": "observed_percent",
            }
        ),
        "Expected and observed doublets",
        evidence_figures.rate_pairs,
        points,
        xlabel="doublets (%)",
    )


def reasons_figure(ledger: pd.DataFrame) -> Drawn | None:
    """Return the share of called cells that fail each rule; None without cells."""
    shares = failed_shares(ledger)
    if not shares.size:
        return None
    return picture(
        "failed-rules",
        shares.rename_axis("sample").reset_index(),
        "Called cells failing each rule",
        evidence_figures.tiles,
        shares.rename(columns=lambda name: name.replace("_", " ")),
        label="called cells that fail the rule (%)",
        most=max(25.0, float(np.nanmax(shares.to_numpy(), initial=0))),
        color=LIMIT,
        digits=1,
    )


def swaps_section(
    table: pd.DataFrame, evidence: dict | None, samples: dict[str, dict]
) -> dict | None:
    """Return what was found of swaps, warnings apart; None where nobody looked."""
    if evidence is None:
        return None
    rows = [
        {**row, "what": CHECKS.get(row["check"], row["check"])}
        for row in records(table)
    ]
    drawn = pair_squares(table, evidence, list(samples))
    squares = dict.fromkeys(("shared_barcodes", "expression_distance"))
    squares |= {
        check: picture(
            check.replace("_", "-"),
            wide.rename_axis("sample").reset_index(),
            CHECKS[check],
            evidence_figures.tiles,
            wide,
            **options,
        )
        for check, (wide, options) in drawn.items()
    }
    return {
        "warnings": [row for row in rows if row["status"] == "warn"],
        "rows": rows,
        "squares": squares,
        "sex": sex_figure(sex_table(table, evidence)),
        "not_checked": [
            {**row, "what": CHECKS.get(row["check"], row["check"])}
            for row in evidence["not_checked"]
        ],
        "n_checked": len(rows),
    }


def pair_squares(
    table: pd.DataFrame, evidence: dict, names: list[str]
) -> dict[str, tuple[pd.DataFrame, dict]]:
    """Return what was measured of pairs of samples, and how `tiles` shows it.

    By check; without one that has no pairs, or more samples than fit.
    """
    shared = table[table["check"] == "shared_barcodes"]
    warned = shared[shared["status"] == "warn"]
    pairs = set(zip(warned["sample"], warned["other"], strict=True))
    drawn = {
        "shared_barcodes": (
            shared,
            {
                "label": CHECKS["shared_barcodes"],
                "most": 100.0,
                "marked": pairs | {(b, a) for a, b in pairs},
            },
        ),
        "expression_distance": (
            pd.DataFrame(evidence.get("distances", [])),
            {"label": "distance between profiles (1 - correlation)", "digits": 2},
        ),
    }
    return {
        check: (square(found, names), options)
        for check, (found, options) in drawn.items()
        if len(found) and len({*found["sample"], *found["other"]}) <= MOST_SAMPLES
    }


def sex_table(table: pd.DataFrame, evidence: dict) -> pd.DataFrame:
    """Return XIST and Y genes of each sample where they were measured."""
    facts = pd.DataFrame(evidence["samples"])
    if not len(facts):
        return facts
    facts = facts[facts["percent_xist"].notna()].reset_index(drop=True)
    is_warned = table["check"].isin(["sex_genes", "donor_sex"])
    named = table.loc[is_warned & (table["status"] == "warn"), "sample"]
    return facts.assign(warned=facts["sample"].isin(named))


def sex_figure(facts: pd.DataFrame) -> Drawn | None:
    """Return XIST against Y genes by sample; None where neither was measured."""
    if not len(facts):
        return None
    numbers = facts.drop(columns="species_counts", errors="ignore")
    draw = evidence_figures.sex_points
    return picture("sex-genes", numbers, "Genes of the sexes", draw, facts)


def resolution_panels(resolutions: pd.DataFrame) -> dict[str, str]:
    """Return what resolutions were judged by; nothing of a single one."""
    if len(resolutions) < 2:
        return {}
    return {
        name: label
        for name, label in RESOLUTION_PANELS.items()
        if name in resolutions and resolutions[name].notna().any()
    }


def resolution_section(
    tables: dict[str, pd.DataFrame],
    *,
    colors: dict[str, str],
    least: float | None,
) -> dict:
    """Return why there are these clusters: resolutions, stability, tree, doublets.

    Parameters
    ----------
    colors
        Of the clusters, by name.
    least
        Stability from which on a cluster counts as found again.
    """
    resolutions = tables["resolutions"]
    stability = tables["cluster_stability"]
    panels = resolution_panels(resolutions)
    section = {
        "resolutions": records(resolutions),
        "resolution_columns": columns_of(resolutions),
        "curves": None,
        "stability": records(stability),
        "stability_columns": columns_of(stability),
        "stability_bars": None,
        "tree": tree_figure(tables["cluster_tree"], resolutions, colors=colors),
        "doublets": records(tables["cluster_doublets"]),
        "doublet_columns": columns_of(tables["cluster_doublets"]),
    }
    if panels:
        section["curves"] = picture(
            "resolutions",
            resolutions,
            "Stability and number of clusters by resolution",
            evidence_figures.resolution_curves,
            resolutions,
            panels=panels,
        )
    if "stability" in stability and stability["stability"].notna().any():
        bars = pd.DataFrame(
            {"name": stability["cluster"], "value": stability["stability"]}
        )
        section["stability_bars"] = picture(
            "cluster-stability",
            stability,
            "Stability of the clusters",
            evidence_figures.score_bars,
            bars,
            xlabel="stability under subsampling",
            limit=least,
        )
    return section


def chosen_resolution(resolutions: pd.DataFrame, config: dict) -> float | str:
    """Return the resolution in use: the chosen one, else that of the config."""
    if "chosen" in resolutions and resolutions["chosen"].any():
        return resolutions.loc[resolutions["chosen"], "resolution"].iloc[0]
    return config["find_clusters"]["resolution"]


def columns_of(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return key, heading and kind of every column of a table, for the page."""
    return [
        (
            name,
            name.replace("_", " "),
            "decimal"
            if pd.api.types.is_float_dtype(table[name])
            and not (table[name].dropna() % 1 == 0).all()
            else "number"
            if pd.api.types.is_numeric_dtype(table[name])
            and not pd.api.types.is_bool_dtype(table[name])
            else "text",
        )
        for name in table.columns
    ]


def tree_figure(
    tree: pd.DataFrame, resolutions: pd.DataFrame, *, colors: dict[str, str]
) -> Drawn | None:
    """Return the tree of clusters over the resolutions; None without two of them."""
    if not len(tree) or tree["resolution"].nunique() < 2:
        return None
    nodes, edges, labels, chosen = evidence_figures.tree_tables(tree, resolutions)
    return picture(
        "cluster-tree",
        tree,
        "Clusters across resolutions",
        evidence_figures.cluster_tree,
        nodes,
        edges,
        labels=labels,
        chosen=chosen,
        colors=colors,
    )


def integration_columns(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the columns of the integration table: the choice first, reason last."""
    first = [("method", "method", "text"), ("used", "used", "text")]
    last = [("seconds", "seconds", "number"), ("reason", "reason", "text")]
    fixed = {name for name, _, _ in first + last}
    between = [column for column in columns_of(table) if column[0] not in fixed]
    present = set(table.columns)
    return (
        [c for c in first if c[0] in present]
        + between
        + [c for c in last if c[0] in present]
    )
