"""The section of the report on differences between conditions."""

import pandas as pd

from _shared.design import Contrast, read_design
from _shared.report_charts import MOST_NETWORKS, is_tested, of_contrast, top_genes
from _shared.report_tables import expression_summary, records

# more than this stays in the tables
TOP_SETS = 15
NOT_TESTED = {
    "expression_untested": "expression",
    "composition_untested": "composition",
    "gene_sets_untested": "gene sets",
    "activities_untested": "activities",
    "networks_untested": "gene networks",
}
UNTESTED = ["what", "cell_type", "contrast", "reason"]
MOST_REASONS = 20


def expression_detail(results: pd.DataFrame, *, fdr: float) -> dict:
    """Return what is found in one cell type, and its top genes."""
    tested = is_tested(results)
    return {
        "cell_type": results["cell_type"].iloc[0],
        "evidence": results["evidence"].iloc[0],
        "is_tested": tested,
        "n_found": int((results["padj"] < fdr).sum()) if tested else 0,
        "top": records(top_genes(results)),
    }


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
    contrast: Contrast, tables: dict[str, pd.DataFrame], *, config: dict
) -> dict:
    """Return what is shown of one contrast."""
    mine = {name: of_contrast(table, contrast) for name, table in tables.items()}
    expression, composition = mine["expression"], mine["composition"]
    fdr = config["test_expression"]["fdr"]
    types = mine["gene_sets"].get("cell_type", pd.Series(dtype=object))
    return {
        "name": contrast.name,
        "what": str(contrast),
        "positive": positive_side(contrast),
        "summary": counted(expression_summary(expression, fdr=fdr)),
        "details": [
            expression_detail(results, fdr=fdr)
            for _, results in expression.groupby("cell_type", sort=False)
        ],
        "composition": records(composition),
        "composition_evidence": composition["evidence"].iloc[0]
        if len(composition)
        else "",
        "set_types": list(dict.fromkeys(types)),
        "gene_sets": strongest(mine["gene_sets"], "nes"),
        "activities": strongest(mine["activities"], "activity"),
        "modules": records(mine["module_tests"]),
    }


def counted(table: pd.DataFrame) -> list[dict]:
    """Return the rows of a table that is of no file, but made from one."""
    return table.to_dict("records")


def positive_side(contrast: Contrast) -> str:
    """Return what a positive change of a contrast means."""
    if len(contrast.terms) > 1:
        return "higher effect in the first group"
    (term,) = contrast.terms
    return f"rising with {term.column}" if term.is_slope else f"up in {term.tested}"


def network_part(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """Return the modules of each cell type that has any, in the order of its charts."""
    modules = tables["modules"]
    if modules.empty:
        return []
    parts = []
    for cell_type, own in modules.groupby("cell_type", sort=False):
        rows = [
            {
                "module": module,
                "n_genes": len(genes),
                "hubs": ", ".join(genes.loc[genes["is_hub"], "gene_name"].head(8)),
            }
            for module, genes in own.groupby("module", sort=False)
        ]
        parts.append({"cell_type": cell_type, "rows": rows})
    return parts[:MOST_NETWORKS]


def untested_rows(tables: dict[str, pd.DataFrame]) -> list[dict]:
    """Return what was not tested, and why, over all tables that tell it.

    Sets and regulators, which are many, are counted by their reason.
    """
    rows = []
    for name, what in NOT_TESTED.items():
        table = tables[name].assign(what=what).reindex(columns=UNTESTED, fill_value="")
        single = tables[name].columns.intersection(["gene_set", "source"])
        many: list[dict] = []
        if len(single) and len(table):
            is_single = tables[name][single[0]].fillna("").astype(str) != ""
            many = by_reason(table[is_single])
            table = table[~is_single]
        rows += [*records(table), *many]
    return rows


def by_reason(table: pd.DataFrame) -> list[dict]:
    """Return the reasons of a table, each once, with how often it stands there."""
    sizes = table.groupby(UNTESTED, sort=False, dropna=False).size().rename("n")
    return [
        {**row, "reason": f"{n} of them, the first: {row['reason']}"} if n > 1 else row
        for row in counted(sizes.reset_index().head(MOST_REASONS))
        for n in [row.pop("n")]
    ]


def differences_section(tables: dict[str, pd.DataFrame], *, config: dict) -> dict:
    """Return what is shown of the design, its contrasts, networks and all untested.

    The charts beside it are those of `report_charts.differences_charts`.
    """
    design = read_design(config["design"])
    contrasts = design.contrasts if design.formula else ()
    return {
        "findings": records(tables["judged"]),
        "contrasts": [
            contrast_part(contrast, tables, config=config) for contrast in contrasts
        ],
        "networks": network_part(tables),
        "bulk": records(tables["bulk_samples"]),
        "shares": records(tables["composition_shares"]),
        "untested": untested_rows(tables),
    }
