"""The section of the report on differences between conditions."""

from itertools import product

import anndata as ad
import numpy as np
import pandas as pd
from markupsafe import Markup

from _shared import figures
from _shared.design import Contrast, members, read_design
from _shared.network_figures import network
from _shared.palette import CATEGORIES
from _shared.report_tables import best_genes, expression_summary, records, z_scores
from _shared.svg import svg

# more than this stays in the tables
TOP_GENES = 25
TOP_SETS = 15
MOST_TYPES = 12
NOT_TESTED = {
    "expression_untested": "expression",
    "composition_untested": "composition",
    "gene_sets_untested": "gene sets",
    "activities_untested": "activities",
    "networks_untested": "gene networks",
}
UNTESTED = ["what", "cell_type", "contrast", "reason"]
MOST_REASONS = 20


def of_contrast(table: pd.DataFrame, contrast: Contrast) -> pd.DataFrame:
    """Return the rows of a table that are of a contrast; none of an empty table."""
    if "contrast" not in table:
        return table.iloc[:0]
    return table[table["contrast"] == contrast.name]


def group_names(contrast: Contrast) -> list[str]:
    """Return the levels of each group of a contrast, in the order of `members`."""
    levels = [
        (term.tested, term.reference) for term in contrast.terms if not term.is_slope
    ]
    return [", ".join(group) or "all" for group in product(*levels)]


def groups_of(samples: pd.DataFrame, contrast: Contrast) -> pd.Series:
    """Return the name of the group that each sample is in, "" for none."""
    name = pd.Series("", index=samples.index, dtype=object)
    flags = members(samples, contrast).values()
    for group, own in zip(group_names(contrast), flags, strict=True):
        name[own] = group
    return name


def expression_detail(
    results: pd.DataFrame, pseudobulk: ad.AnnData, contrast: Contrast, *, config: dict
) -> dict:
    """Return volcano, heatmap and table of one contrast in one cell type.

    Where nothing was tested, changes stand over mean counts in place of the volcano.
    """
    settings = config["test_expression"]
    cell_type = results["cell_type"].iloc[0]
    is_tested = "padj" in results and results["p_value"].notna().any()
    obs = pseudobulk.obs
    rows = obs["cell_type"].astype(str).eq(cell_type)
    rows &= obs["n_cells"] >= settings["min_cells"]
    level = groups_of(obs, contrast)
    rows &= level != ""
    order = sorted(np.flatnonzero(rows), key=lambda i: level.iloc[i])
    name = f"{cell_type}, {contrast.name}"
    if is_tested:
        top = best_genes(results, n=TOP_GENES)
        drawn = svg(f"Volcano of {name}", figures.volcano, results, fdr=settings["fdr"])
    else:
        results = results.assign(raw=results["log2_fold_change"])
        # of few counts any change is large
        results["log2_fold_change"] = results["log2_fold_change_shrunken"]
        size = results["log2_fold_change"].abs()
        top = results.loc[size.sort_values(ascending=False, kind="stable").index]
        top = top.head(TOP_GENES)
        drawn = svg(f"Changes of {name}", figures.mean_difference, results)
    return {
        "cell_type": cell_type,
        "evidence": results["evidence"].iloc[0],
        "is_tested": is_tested,
        "n_found": int((results["padj"] < settings["fdr"]).sum()) if is_tested else 0,
        "scatter": drawn,
        "heatmap": svg(
            f"Top genes of {name}",
            figures.heatmap,
            z_scores(pseudobulk, list(top["gene_id"]), rows=order),
            groups=level.iloc[order],
        )
        if order and len(top)
        else None,
        "top": records(top),
    }


def composition_figure(
    shares: pd.DataFrame, tests: pd.DataFrame, samples: pd.DataFrame, contrast: Contrast
) -> Markup | None:
    """Return the shares of the two groups of a contrast, None where there are not two.

    `samples` has the design columns of each unit of `shares`.
    """
    named = groups_of(samples, contrast)
    groups = group_names(contrast)
    points = shares.assign(
        group=shares["sample"].map(named), share=100 * shares["share"]
    )
    points = points[points["group"].isin(groups)]
    if len(groups) != 2 or points["group"].nunique() < 2:
        return None
    found = tests.loc[tests["is_found"], "cell_type"] if len(tests) else []
    return svg(
        f"Shares of the cell types, {contrast.name}",
        figures.share_points,
        points,
        groups=tuple(groups),
        found=set(found),
    )


def strongest(table: pd.DataFrame, by: str) -> list[dict]:
    """Return the rows of each cell type with the smallest p-values, or values of `by`.

    Of gene sets and activities, which are many.
    """
    if table.empty:
        return []
    ordered = table.assign(size=-table[by].abs())
    keys = [key for key in ("padj", "p_value") if key in table]
    ordered = ordered.sort_values(["cell_type", *keys, "size"], kind="stable")
    top = ordered.groupby("cell_type", sort=False).head(TOP_SETS)
    return records(top.drop(columns="size"))


def contrast_part(
    contrast: Contrast,
    tables: dict[str, pd.DataFrame],
    pseudobulk: ad.AnnData,
    samples: pd.DataFrame,
    *,
    config: dict,
) -> dict:
    """Return what is shown of one contrast."""
    mine = {name: of_contrast(table, contrast) for name, table in tables.items()}
    expression, composition = mine["expression"], mine["composition"]
    fdr = config["test_composition"]["fdr"]
    padj = composition.get("padj", pd.Series(np.nan, index=composition.index))
    composition = composition.assign(is_found=padj < fdr)
    return {
        "name": contrast.name,
        "what": str(contrast),
        "positive": positive_side(contrast),
        "summary": records(
            expression_summary(expression, fdr=config["test_expression"]["fdr"])
        ),
        "details": [
            expression_detail(results, pseudobulk, contrast, config=config)
            for _, results in expression.groupby("cell_type", sort=False)
        ],
        "composition": records(composition),
        "composition_evidence": composition["evidence"].iloc[0]
        if len(composition)
        else "",
        "shares": composition_figure(
            tables["composition_shares"], composition, samples, contrast
        ),
        "gene_sets": strongest(mine["gene_sets"], "nes"),
        "activities": strongest(mine["activities"], "activity"),
        "modules": records(mine["module_tests"]),
    }


def positive_side(contrast: Contrast) -> str:
    """Return what a positive change of a contrast means."""
    if len(contrast.terms) > 1:
        return "higher effect in the first group"
    (term,) = contrast.terms
    return f"rising with {term.column}" if term.is_slope else f"up in {term.tested}"


def network_part(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """Return figure and modules of each cell type that has any."""
    modules, edges = tables["modules"], tables["network_edges"]
    if modules.empty:
        return []
    parts = []
    for cell_type, own in modules.groupby("cell_type", sort=False):
        mine = edges[edges["cell_type"] == cell_type]
        rows = [
            {
                "module": module,
                "n_genes": len(genes),
                "hubs": ", ".join(genes.loc[genes["is_hub"], "gene_name"].head(8)),
            }
            for module, genes in own.groupby("module", sort=False)
        ]
        drawn = svg(f"Gene network of {cell_type}", network, own, mine)
        parts.append({"cell_type": cell_type, "rows": rows, "figure": drawn})
    return parts[:MOST_TYPES]


def untested_rows(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """Return what was not tested, and why, over all tables that tell it.

    Sets and regulators, which are many, are counted by their reason.
    """
    rows = []
    for name, what in NOT_TESTED.items():
        table = tables[name].assign(what=what).reindex(columns=UNTESTED, fill_value="")
        single = tables[name].columns.intersection(["gene_set", "source"])
        if len(single) and len(table):
            is_single = tables[name][single[0]].fillna("").astype(str) != ""
            counted = table[is_single].groupby(UNTESTED, sort=False, dropna=False)
            many = counted.size().rename("n").reset_index()
            many["reason"] = [
                f"{row.n} of them, the first: {row.reason}" if row.n > 1 else row.reason
                for row in many.itertuples()
            ]
            table = pd.concat([table[~is_single], many[UNTESTED].head(MOST_REASONS)])
        rows += records(table)
    return rows


def differences_section(
    tables: dict[str, pd.DataFrame],
    pseudobulk: ad.AnnData,
    sheet: dict[str, dict[str, str]],
    *,
    colors: dict[str, str],
    config: dict,
) -> dict:
    """Return what is shown of the design, its contrasts, networks and all untested."""
    design = read_design(config["design"])
    shares = tables["composition_shares"]
    wide = shares.pivot_table(
        index="sample", columns="cell_type", values="share", aggfunc="sum", sort=False
    ).fillna(0)
    # in the order of the sheet, units of several samples last
    order = {name: i for i, name in enumerate(sheet)}
    wide = wide.loc[sorted(wide.index, key=lambda name: order.get(name, len(order)))]
    spare = dict(zip(wide.columns, CATEGORIES * len(wide.columns), strict=False))
    samples = pseudobulk.obs.drop_duplicates("sample").set_index("sample")
    contrasts = design.contrasts if design.formula else ()
    stacks = svg(
        "Cell types per sample",
        figures.stacked_bars,
        100 * wide,
        colors=[colors.get(name, spare[name]) for name in wide.columns],
        xlabel="share of the sample's cells (%)",
        percent=True,
    )
    return {
        "findings": records(tables["judged"]),
        "contrasts": [
            contrast_part(contrast, tables, pseudobulk, samples, config=config)
            for contrast in contrasts
        ],
        "networks": network_part(tables),
        "bulk": records(tables["bulk_samples"]),
        "stacks": stacks if len(wide) else None,
        "shares": records(shares),
        "untested": untested_rows(tables),
    }
