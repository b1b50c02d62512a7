"""Interactive charts of the report: tables in, what the page needs to draw them out."""

from dataclasses import dataclass, field
from itertools import product

import anndata as ad
import numpy as np
import pandas as pd

from _shared.design import Contrast, members, read_design
from _shared.figures import QC_PANELS
from _shared.network_figures import drawn_genes, places
from _shared.pack import packed
from _shared.palette import CATEGORIES
from _shared.report_tables import best_genes, cells_by_gene, dot_plot_genes, z_scores
from _shared.streams import Matrix

# genes of all scatters together: more make the page slow to open
MOST_POINTS = 60_000
# genes of each scatter that stay for their large changes alone
N_EXTREME = 50
N_BINS = 60
# rows that fit on a screen
MOST_DOTS = 48
MOST_MARKERS = 80
TOP_GENES = 25
TOP_SETS = 20
MOST_NETWORKS = 12
GENE = ["gene_id", "gene_name"]
SCATTER = [*GENE, "base_mean", "log2_fold_change"]


@dataclass(frozen=True)
class Chart:
    """A chart of the page; its table is what it shows and what its CSV holds."""

    id: str
    kind: str
    title: str
    table: pd.DataFrame
    options: dict = field(default_factory=dict)


def packed_charts(charts: list[Chart]) -> str:
    """Return all charts as one compressed text, a table each."""
    described = {
        chart.id: {"kind": chart.kind, "title": chart.title, "options": chart.options}
        for chart in charts
    }
    tables = {chart.id: lean(chart.table) for chart in charts}
    return packed(tables, {"charts": described})


def lean(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with columns as float32 where that loses no digit.

    The shortest text that reads back as the float32, which the page writes, must be the
    number: so are those with six digits, as the tables on disk mostly have.
    """
    short = {}
    for name in table.select_dtypes("float64"):
        values = table[name].to_numpy()
        with np.errstate(over="ignore", under="ignore"):
            single = values.astype(np.float32)
        again = single.astype(str).astype(float)
        if np.array_equal(again, values, equal_nan=True):
            short[name] = single
    return table.assign(**short)


# --- reads and cells --------------------------------------------------------------


def has_knee(facts: dict) -> bool:
    """Return whether barcodes that are no cells are known of a sample."""
    ranks = facts["ranks"]
    return ranks is not None and bool((ranks["is_cell_share"] < 1).any())


def binned(cells: pd.DataFrame, metric: str, *, log: bool) -> pd.DataFrame:
    """Return how many cells of each sample lie in each of `N_BINS` bins of a metric.

    The bins are the same for all samples; with `log` they are evenly wide in
    log10(value + 1). Columns `sample`, `bin_from`, `bin_to`, `n_cells`.
    """
    measured = pd.to_numeric(cells[metric]).to_numpy(dtype=float)
    keep = np.isfinite(measured)
    values = np.log10(measured[keep] + 1) if log else measured[keep]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    edges = np.linspace(low, high if high > low else low + 1, N_BINS + 1)
    ends = 10**edges - 1 if log else edges
    # numbers are compared much quicker than names
    codes, samples = pd.factorize(cells["sample"])
    codes, parts = codes[keep], []
    for i, sample in enumerate(samples):
        n, _ = np.histogram(values[codes == i], bins=edges)
        part = {"bin_from": ends[:-1], "bin_to": ends[1:], "n_cells": n}
        parts.append(pd.DataFrame({"sample": sample, **part}))
    return pd.concat(parts, ignore_index=True)


def limits_of(facts: dict, metric: str) -> dict[str, float]:
    """Return the limits of a metric in one sample, as its tables have them."""
    table = facts["thresholds"]
    own = table[table["metric"] == metric]
    if len(own):
        return {side: float(own[side].iloc[0]) for side in ("lower", "upper")}
    at = facts["doublets"]["threshold"] if metric == "doublet_score" else None
    return {"lower": np.nan, "upper": np.nan if at is None else float(at)}


def qc_charts(samples: dict[str, dict]) -> list[Chart]:
    """Return the distribution of each metric that was measured, with its limits."""
    cells = pd.concat([s["cell_metrics"] for s in samples.values()], ignore_index=True)
    charts = []
    for metric, (title, log) in QC_PANELS.items():
        if metric not in cells or not pd.to_numeric(cells[metric]).notna().any():
            continue
        table = binned(cells, metric, log=log)
        limits = {name: limits_of(facts, metric) for name, facts in samples.items()}
        for side in ("lower", "upper"):
            table[side] = [limits[name][side] for name in table["sample"]]
        options = {"log": log, "xlabel": title}
        heading = f"{title[0].upper()}{title[1:]}"
        charts.append(Chart(f"qc-{metric}", "qc", heading, table, options))
    return charts


def reads_charts(samples: dict[str, dict]) -> list[Chart]:
    """Return knees, saturation, the fate of the called cells and their metrics.

    Knees are numbered over the samples that have one, in the order of `samples`.
    """
    with_knee = [name for name, facts in samples.items() if has_knee(facts)]
    charts = [
        Chart(
            f"knee-{i}",
            "knee",
            f"Barcode ranks of {name}",
            samples[name]["ranks"],
            {"sample": name},
        )
        for i, name in enumerate(with_knee, start=1)
    ]
    curves = [
        facts["saturation"].assign(sample=name)
        for name, facts in samples.items()
        if facts["saturation"] is not None and len(facts["saturation"])
    ]
    if curves:
        table = pd.concat(curves, ignore_index=True)
        table = table[["sample", *table.columns.drop("sample")]]
        title = "Saturation by depth"
        charts.append(Chart("saturation", "saturation", title, table))
    ledger = pd.concat([s["ledger"] for s in samples.values()], ignore_index=True)
    aside = [
        name for name, facts in samples.items() if facts["verdict"]["verdict"] != "kept"
    ]
    options = {"samples": list(samples), "set_aside": aside}
    title = "From called cells to the final ones"
    charts.append(Chart("flow", "flow", title, ledger, options))
    return charts + qc_charts(samples)


# --- clusters and types -----------------------------------------------------------


def marker_genes(markers: pd.DataFrame) -> list[str]:
    """Return the best markers of every cluster, as many as fit, each gene once."""
    n_clusters = max(markers["cluster"].nunique(), 1)
    each = int(np.clip(MOST_MARKERS // n_clusters, 1, 8))
    best = markers[markers.groupby("cluster").cumcount() < each]
    return list(dict.fromkeys(best["gene_id"]))


def expression_of(
    adata: ad.AnnData, matrix: Matrix, genes: list[str], annotation: pd.DataFrame
) -> pd.DataFrame:
    """Return mean expression and percent of cells of genes by cluster, a row each."""
    means, shares = cells_by_gene(adata, matrix, genes)
    label_of = dict(zip(annotation["cluster"], annotation["cell_type"], strict=True))
    clusters = list(means.index)
    return pd.DataFrame(
        {
            "cluster": np.repeat(clusters, len(genes)),
            "cell_type": np.repeat([label_of.get(c, "") for c in clusters], len(genes)),
            "gene_id": genes * len(clusters),
            "gene_name": list(means.columns) * len(clusters),
            "mean_expression": means.to_numpy().ravel(),
            "percent_cells": shares.to_numpy().ravel(),
        }
    )


def cells_charts(
    tables: dict[str, pd.DataFrame], adata: ad.AnnData, matrix: Matrix
) -> list[Chart]:
    """Return the markers of the clusters as dots and as a heatmap.

    `matrix` is read in pieces; `adata` says what its rows and columns are.
    """
    markers = tables["markers"]
    if not adata.n_obs or markers.empty:
        return []
    dots = dot_plot_genes(markers, most=MOST_DOTS)
    more = marker_genes(markers)
    genes = [gene for gene in dict.fromkeys([*more, *dots]) if gene in adata.var_names]
    if not genes:
        return []
    table = expression_of(adata, matrix, genes, tables["annotation"])
    return [
        Chart(name, kind, title, of_genes(table, chosen))
        for name, kind, title, chosen in (
            ("dotplot", "dotplot", "Top markers of the clusters", dots),
            ("marker-heatmap", "markers", "More markers of the clusters", more),
        )
    ]


def of_genes(table: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    """Return the rows of some genes, within each cluster in the order of `genes`."""
    place = {gene: i for i, gene in enumerate(genes)}
    own = table[table["gene_id"].isin(place)]
    cluster = own["cluster"].map({c: i for i, c in enumerate(own["cluster"].unique())})
    order = np.lexsort([own["gene_id"].map(place), cluster])
    return own.iloc[order].reset_index(drop=True)


# --- differences between conditions -----------------------------------------------


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


def is_tested(results: pd.DataFrame) -> bool:
    """Return whether a test has p-values; without replicates there are none."""
    return "padj" in results and bool(results["p_value"].notna().any())


def drawn_rows(
    expression: pd.DataFrame, *, fdr: float, most: int = MOST_POINTS
) -> np.ndarray:
    """Return which genes of all tests stand in the scatters, at most `most`.

    First the genes with an adjusted p-value below `fdr`; of the others each test shows
    an equal share: its largest changes, then every k-th gene by p-value.
    """
    n = len(expression)
    if n <= most:
        return np.ones(n, dtype=bool)
    nothing = pd.Series(np.nan, index=expression.index)
    found = (expression.get("padj", nothing) < fdr).to_numpy()
    n_found = found.sum()
    drawn = np.zeros(n, dtype=bool)
    keys = expression.groupby(["contrast", "cell_type"], sort=False).indices
    for rows in keys.values():
        own = found[rows].sum()
        if n_found <= most:
            room = (most - n_found) * (len(rows) - own) // (n - n_found)
            quota = own + room
        else:
            quota = most * own // n_found
        drawn[rows[_spread(expression.iloc[rows], found[rows], int(quota))]] = True
    return drawn


def _spread(results: pd.DataFrame, found: np.ndarray, quota: int) -> np.ndarray:
    """Return the places of `quota` genes of one test; see `drawn_rows`."""
    nothing = pd.Series(np.nan, index=results.index)
    p_value = results.get("p_value", nothing).fillna(np.inf).to_numpy()
    size = results["log2_fold_change"].abs().fillna(0).to_numpy()
    order = np.lexsort([-size, p_value])
    first, rest = order[found[order]][:quota], order[~found[order]]
    extreme = rest[np.argsort(-size[rest], kind="stable")]
    extreme = extreme[: min(N_EXTREME, quota - len(first))]
    rest = rest[~np.isin(rest, extreme)]
    n_regular = min(quota - len(first) - len(extreme), len(rest))
    # evenly over the ranks
    regular = rest[np.arange(n_regular) * len(rest) // max(n_regular, 1)]
    return np.concatenate([first, extreme, regular])


def scatter_chart(
    name: str, results: pd.DataFrame, contrast: Contrast, *, drawn: np.ndarray, fdr
) -> Chart:
    """Return the genes of one test: volcano, or changes over mean counts alone.

    Where nothing was tested, the changes are those with counts added: of few counts
    any change is large.
    """
    tested = is_tested(results)
    more = ["p_value", "padj"] if tested else ["log2_fold_change_shrunken"]
    cell_type = str(results["cell_type"].iloc[0])
    options = {
        "contrast": contrast.name,
        "cell_type": cell_type,
        "is_tested": tested,
        "fdr": fdr,
        "change": "log2_fold_change" if tested else "log2_fold_change_shrunken",
        "n_genes": len(results),
    }
    title = f"{'Volcano' if tested else 'Changes'} of {cell_type}, {contrast.name}"
    table = results.loc[drawn, [*SCATTER, *more]]
    return Chart(name, "volcano", title, table.reset_index(drop=True), options)


def top_genes(results: pd.DataFrame) -> pd.DataFrame:
    """Return the genes of one test that come first; untested, the largest changes."""
    if is_tested(results):
        return best_genes(results, n=TOP_GENES)
    size = results["log2_fold_change_shrunken"].abs()
    order = size.sort_values(ascending=False, kind="stable").index
    return results.loc[order].head(TOP_GENES)


def heatmap_chart(
    name: str,
    results: pd.DataFrame,
    pseudobulk: ad.AnnData,
    contrast: Contrast,
    *,
    min_cells: int,
) -> Chart | None:
    """Return the top genes of a test by sample; None without two samples.

    Of one alone all z-scores are 0.
    """
    obs, cell_type = pseudobulk.obs, str(results["cell_type"].iloc[0])
    group = groups_of(obs, contrast)
    of_type = obs["cell_type"].astype(str).eq(cell_type)
    rows = np.flatnonzero(of_type & (obs["n_cells"] >= min_cells) & (group != ""))
    rows = sorted(rows, key=lambda i: group.iloc[i])
    genes = list(top_genes(results)["gene_id"])
    if len(rows) < 2 or not genes:
        return None
    scores = z_scores(pseudobulk, genes, rows=rows)
    n = len(rows)
    table = pd.DataFrame(
        {
            "gene_id": np.repeat(genes, n),
            "gene_name": np.repeat(scores.index, n),
            "sample": list(scores.columns) * len(genes),
            "group": list(group.iloc[rows]) * len(genes),
            "z_score": scores.to_numpy().ravel(),
        }
    )
    return Chart(name, "heatmap", f"Top genes of {cell_type} by sample", table)


def shares_chart(
    name: str,
    shares: pd.DataFrame,
    found: set[str],
    samples: pd.DataFrame,
    contrast: Contrast,
) -> Chart | None:
    """Return the shares of the two groups of a contrast; None where there are not two.

    `samples` has the design columns of each unit of `shares`.
    """
    groups = group_names(contrast)
    points = shares.assign(group=shares["sample"].map(groups_of(samples, contrast)))
    points = points[points["group"].isin(groups)].reset_index(drop=True)
    if len(groups) != 2 or points["group"].nunique() < 2:
        return None
    types = points["cell_type"].unique()
    options = {"groups": groups, "found": [name for name in types if name in found]}
    title = f"Shares of the cell types, {contrast.name}"
    return Chart(name, "shares", title, points, options)


def sets_charts(number: int, sets: pd.DataFrame, contrast: Contrast, fdr) -> list:
    """Return the strongest gene sets of one contrast, a chart per cell type."""
    charts = []
    if sets.empty:
        return charts
    for i, (cell_type, own) in enumerate(sets.groupby("cell_type", sort=False), 1):
        keys = [key for key in ("padj", "p_value") if key in own]
        ordered = own.assign(size=-own["nes"].abs()).sort_values([*keys, "size"])
        table = ordered.drop(columns="size").head(TOP_SETS).reset_index(drop=True)
        title = f"Gene sets of {cell_type}, {contrast.name}"
        chart = Chart(f"sets-{number}-{i}", "sets", title, table, {"fdr": fdr})
        charts.append(chart)
    return charts


def network_charts(tables: dict[str, pd.DataFrame]) -> list[Chart]:
    """Return the modules of each cell type: a table of links, the genes as options."""
    modules, edges = tables["modules"], tables["network_edges"]
    charts = []
    types = [] if modules.empty else list(dict.fromkeys(modules["cell_type"]))
    for number, cell_type in enumerate(types[:MOST_NETWORKS], start=1):
        genes = drawn_genes(modules[modules["cell_type"] == cell_type])
        known = genes.set_index("gene_id")
        own = edges[edges["cell_type"] == cell_type]
        own = own[own["source"].isin(known.index) & own["target"].isin(known.index)]
        for end in ("source", "target"):
            own = own.assign(**{f"{end}_name": own[end].map(known["gene_name"])})
        sizes = modules.loc[modules["cell_type"] == cell_type, "module"].value_counts()
        options = {"genes": _placed(genes), "sizes": sizes.to_dict()}
        title = f"Gene network of {cell_type}"
        table = own.reset_index(drop=True)
        charts.append(Chart(f"network-{number}", "network", title, table, options))
    return charts


def _placed(genes: pd.DataFrame) -> list[dict]:
    """Return genes with a place in their module, hubs in the middle, within -1 to 1."""
    rows = []
    for module, own in genes.groupby("module", sort=False):
        is_hub = own["is_hub"].to_numpy(dtype=bool)
        for row, (x, y) in zip(own.itertuples(), places(is_hub).tolist(), strict=True):
            named = {"gene_id": row.gene_id, "gene_name": row.gene_name}
            rows.append({**named, "module": module, "is_hub": bool(row.is_hub)})
            rows[-1] |= {"x": x, "y": y}
    return rows


def differences_charts(
    tables: dict[str, pd.DataFrame],
    pseudobulk: ad.AnnData,
    sheet: dict[str, dict[str, str]],
    *,
    colors: dict[str, str],
    config: dict,
) -> list[Chart]:
    """Return the charts of all contrasts, of the cell types and of the networks.

    Takes what `differences_section` takes; contrasts and cell types are numbered in
    its order.
    """
    design = read_design(config["design"])
    contrasts = design.contrasts if design.formula else ()
    settings = config["test_expression"]
    samples = pseudobulk.obs.drop_duplicates("sample").set_index("sample")
    shares = tables["composition_shares"]
    expression = [of_contrast(tables["expression"], one) for one in contrasts]
    known = pd.concat([tables["expression"].iloc[:0], *expression], ignore_index=True)
    drawn = drawn_rows(known, fdr=settings["fdr"])
    charts, start = [], 0
    for c, (contrast, tested) in enumerate(zip(contrasts, expression, strict=True), 1):
        own = tested.assign(drawn=drawn[start : start + len(tested)])
        start += len(tested)
        for t, (_, results) in enumerate(own.groupby("cell_type", sort=False), 1):
            charts.append(
                scatter_chart(
                    f"volcano-{c}-{t}",
                    results,
                    contrast,
                    drawn=results["drawn"].to_numpy(),
                    fdr=settings["fdr"],
                )
            )
            least = settings["min_cells"]
            charts.append(
                heatmap_chart(
                    f"heatmap-{c}-{t}", results, pseudobulk, contrast, min_cells=least
                )
            )
        changes = of_contrast(tables["composition"], contrast).reset_index(drop=True)
        fdr = config["test_composition"]["fdr"]
        nothing = pd.Series(np.nan, index=changes.index)
        found = changes.get("padj", nothing) < fdr
        if len(changes):
            title = f"Change of the shares, {contrast.name}"
            options = {"fdr": fdr}
            charts.append(
                Chart(f"composition-{c}", "composition", title, changes, options)
            )
            found = set(changes.loc[found, "cell_type"])
        else:
            found = set()
        charts.append(shares_chart(f"shares-{c}", shares, found, samples, contrast))
        sets = of_contrast(tables["gene_sets"], contrast)
        charts += sets_charts(c, sets, contrast, config["test_gene_sets"]["fdr"])
    charts.append(stacks_chart(shares, sheet, colors))
    return [chart for chart in charts if chart] + network_charts(tables)


def stacks_chart(
    shares: pd.DataFrame, sheet: dict[str, dict[str, str]], colors: dict[str, str]
) -> Chart | None:
    """Return the shares of the cell types, samples in the order of the sheet."""
    if shares.empty:
        return None
    order = {name: i for i, name in enumerate(sheet)}
    # units of several samples last
    place = shares["sample"].map(lambda name: order.get(name, len(order)))
    table = shares.iloc[np.argsort(place, kind="stable")].reset_index(drop=True)
    types = list(dict.fromkeys(shares["cell_type"]))
    spare = dict(zip(types, CATEGORIES * len(types), strict=False))
    options = {"colors": {name: colors.get(name, spare[name]) for name in types}}
    return Chart("stacks", "stacks", "Cell types per sample", table, options)
