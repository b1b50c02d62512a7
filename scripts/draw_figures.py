"""Draw what the report shows as files for print, and list what each of them shows."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from _shared import evidence_figures, figures, network_figures, trajectory_figures
from _shared.clone_figures import copy_number_heatmap
from _shared.design import Contrast, read_design
from _shared.jobs import job
from _shared.palette import CATEGORIES, UNKNOWN, colors_of
from _shared.paper import (
    MM_PER_INCH,
    MOST_VECTOR_CELLS,
    MOST_VECTOR_GENES,
    FigureSettings,
    FileNames,
    on_paper,
    save,
)
from _shared.report_charts import (
    group_names,
    groups_of,
    is_tested,
    of_contrast,
    top_genes,
)
from _shared.report_evidence import (
    ambient_points,
    ambient_rows,
    doublet_points,
    pair_squares,
    resolution_panels,
    sex_table,
)
from _shared.report_files import by_sample, load_sample, load_table
from _shared.report_tables import (
    cells_by_gene,
    dot_plot_genes,
    failed_shares,
    ledger_shares,
    read_table,
    z_scores,
)
from _shared.streams import Matrix, read_tables

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("draw_figures")

TABLES = (
    "markers",
    "annotation",
    "integration",
    "swaps",
    "resolutions",
    "cluster_stability",
    "cluster_tree",
    "marker_sets",
    "expression",
    "composition",
    "composition_shares",
    "gene_sets",
    "activities",
    "modules",
    "module_tests",
    "network_edges",
)
# of analyses that the config switches on
OPTIONAL = ("pseudotime", "links", "clones", "clone_profiles", "clone_shares")
OPTIONAL += ("velocity",)
# cells of `clones.tsv.gz` that are in no clone
NOT_CLONES = ("normal", "reference")
REMOVED = tuple(color for color in CATEGORIES if color != figures.CELL)
# samples, or other rows, of one figure: the others are on further ones
ROWS_OF_RIDGES, CURVES, ROWS = 12, 12, 30
TOP_SETS = 15
SETS_OF_GROUP, MOST_SETS = 3, 40
METRICS = (
    ("total_counts", "counts", "log10(counts + 1)", None),
    ("pct_counts_mt", "mitochondrial share", "mitochondrial (%)", None),
    ("doublet_score", "doublet score", "doublet score", None),
    ("leiden_stability", "cluster stability", "stability", (0.5, 1)),
)
INDEX = ["name", "files", "shows", "source", "width_mm", "height_mm"]


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure to draw: what its file is called and shows, and where it comes from.

    `source` names tables below `results/`; `draw` is called with `data` and
    `options`.
    """

    name: tuple[str, ...]
    shows: str
    source: str
    draw: Callable[..., Figure]
    data: tuple = ()
    options: dict = field(default_factory=dict)
    most_points: int = MOST_VECTOR_CELLS


def runs(names: list, most: int) -> list[tuple[tuple[str, ...], list]]:
    """Return names in runs of `most`, each with its number where there are several."""
    starts = range(0, len(names), most)
    return [
        ((str(n),) if len(starts) > 1 else (), names[start : start + most])
        for n, start in enumerate(starts, start=1)
    ]


def bounds_of(facts: dict) -> pd.DataFrame:
    """Return the limits of a sample's metrics, that of doublet scores among them."""
    table, limit = facts["thresholds"], facts["doublets"]["threshold"]
    if limit is None or "doublet_score" in set(table["metric"]):
        return table
    row = {"sample": facts["sample"], "metric": "doublet_score", "upper": limit}
    return pd.concat([table, pd.DataFrame([row])], ignore_index=True)


def read_drawings(samples: dict[str, dict]) -> Iterator[Drawing]:
    """Yield knees, saturation, distributions, ledger, doublets and ambient RNA."""
    for name, facts in samples.items():
        ranks = facts["ranks"]
        if ranks is not None and (ranks["is_cell_share"] < 1).any():
            yield Drawing(
                name=("knee", name),
                shows=f"Counts of each barcode of {name} by rank, and which are cells",
                source=f"count/{name}/barcode_ranks.tsv",
                draw=figures.knee_plot,
                data=(ranks,),
            )
    curves = {
        name: facts["saturation"]
        for name, facts in samples.items()
        if facts["saturation"] is not None and len(facts["saturation"])
    }
    for part, names in runs(list(curves), CURVES):
        yield Drawing(
            name=("saturation", *part),
            shows="Saturation and genes per cell by depth; dashed: extrapolated",
            source="count/*/saturation.tsv",
            draw=figures.saturation_curves,
            data=({name: curves[name] for name in names},),
        )
    for part, names in runs(list(samples), ROWS_OF_RIDGES):
        cells = pd.concat([samples[name]["cell_metrics"] for name in names])
        if len(cells):
            bounds = pd.concat([bounds_of(samples[name]) for name in names])
            yield Drawing(
                name=("qc_distributions", *part),
                shows="Quality metrics of the called cells, with the limits in use",
                source="cells/*/cell_metrics.tsv, cells/*/thresholds.tsv",
                draw=figures.qc_ridges,
                data=(cells, bounds),
            )
    yield from ledger_drawings(pd.concat([s["ledger"] for s in samples.values()]))
    points = doublet_points(samples)
    for part, rows in runs(list(points.index), ROWS):
        yield Drawing(
            name=("doublets", *part),
            shows="Expected and observed doublets per sample",
            source="cells/*/doublets.json",
            draw=evidence_figures.rate_pairs,
            data=(points.loc[rows],),
            options={"xlabel": "doublets (%)"},
        )
    points = ambient_points(ambient_rows(samples))
    for part, rows in runs(list(points.index), ROWS):
        if points["value"].notna().any():
            yield Drawing(
                name=("ambient", *part),
                shows="Ambient RNA per sample with its interval; filled: taken away",
                source="cells/*/ambient.json",
                draw=evidence_figures.interval_points,
                data=(points.loc[rows],),
                options={"xlabel": "counts from ambient RNA (%)"},
            )


def ledger_drawings(ledger: pd.DataFrame) -> Iterator[Drawing]:
    """Yield cells kept and removed by each rule, and those that fail each rule."""
    shares = ledger_shares(ledger)
    colors = [figures.CELL, *(REMOVED * len(shares.columns))]
    # rules that remove nothing have no place, but keep their color
    taken = dict(zip(shares, colors, strict=False))
    shares = shares.loc[:, (shares > 0).any()]
    colors = [taken[name] for name in shares]
    wide = shares.rename(columns=lambda name: name.replace("_", " "))
    for part, rows in runs(list(wide.index), ROWS):
        if wide.to_numpy().sum():
            yield Drawing(
                name=("ledger", *part),
                shows="Cells kept, and removed by the first rule that they fail",
                source="cells/*/ledger.tsv",
                draw=figures.stacked_bars,
                data=(wide.loc[rows],),
                options={"colors": colors, "xlabel": "cells called"},
            )
    failed = failed_shares(ledger).rename(columns=lambda name: name.replace("_", " "))
    for part, rows in runs(list(failed.index), ROWS):
        if failed.size:
            yield Drawing(
                name=("ledger_rules", *part),
                shows="Share of the called cells that fail each rule, in percent",
                source="cells/*/ledger.tsv",
                draw=evidence_figures.tiles,
                data=(failed.loc[rows],),
                options={
                    "label": "called cells that fail the rule (%)",
                    "most": max(25.0, float(failed.to_numpy().max())),
                    "color": figures.LIMIT,
                    "digits": 1,
                },
            )


def swap_drawings(
    table: pd.DataFrame, evidence: dict | None, names: list[str]
) -> Iterator[Drawing]:
    """Yield what speaks for swapped samples, where somebody looked."""
    if evidence is None:
        return
    for kind, (wide, options) in pair_squares(table, evidence, names).items():
        yield Drawing(
            name=(kind,),
            shows=f"Pairs of samples: {options['label']}",
            source="cells/swaps.tsv, cells/swaps.json",
            draw=evidence_figures.tiles,
            data=(wide,),
            options=options,
        )
    facts = sex_table(table, evidence)
    if len(facts):
        yield Drawing(
            name=("sex_genes",),
            shows="Cells with XIST and with genes of Y, a point per sample",
            source="cells/swaps.json",
            draw=evidence_figures.sex_points,
            data=(facts,),
        )


def drawn_note(n_cells: int) -> str:
    """Return how many of the cells a map shows, "" for all of them."""
    if n_cells <= figures.MOST_DRAWN:
        return ""
    return f"; {figures.MOST_DRAWN:,} of {n_cells:,} cells, chosen at random"


def map_drawings(
    adata: ad.AnnData, *, design: list[str], numeric: list[str]
) -> Iterator[Drawing]:
    """Yield the cells on the map, colored by everything that is worth a look."""
    umap = np.asarray(adata.obsm["X_umap"])
    note = drawn_note(adata.n_obs)
    palettes = {"leiden": adata.uns["leiden_colors"]}
    palettes["cell_type"] = adata.uns["cell_type_colors"]
    titles = {"leiden": "cluster", "cell_type": "cell type"}
    for name in ("leiden", "cell_type", "sample", *design):
        if name in numeric:
            continue
        labels = adata.obs[name].astype("category")
        colors = palettes.get(name)
        if colors is None:
            colors = colors_of(labels.cat.categories)
        title = titles.get(name, name)
        yield Drawing(
            name=("umap", title),
            shows=f"Cells by {title} on the UMAP{note}",
            source="report/reads2cells.h5ad",
            draw=figures.umap_by_category,
            data=(umap, labels),
            options={"colors": list(colors), "name_groups": name == "leiden"},
        )
    own = [(name, name, name, None) for name in design if name in numeric]
    for name, title, label, limits in (*METRICS, *own):
        if name not in adata.obs:
            continue
        value = pd.to_numeric(adata.obs[name].astype(object), errors="coerce")
        value = value.to_numpy(dtype=float)
        if not np.isfinite(value).any():
            continue
        yield Drawing(
            name=("umap", title),
            shows=f"Cells by {title} on the UMAP{note}",
            source="report/reads2cells.h5ad",
            draw=figures.umap_by_value,
            data=(umap, np.log10(value + 1) if name == "total_counts" else value),
            options={"label": label, "limits": limits},
        )


def cluster_drawings(
    adata: ad.AnnData, matrix: Matrix, tables: dict[str, pd.DataFrame]
) -> Iterator[Drawing]:
    """Yield sizes of the clusters, and their markers as dots and as a heatmap."""
    markers, annotation = tables["markers"], tables["annotation"]
    if not adata.n_obs:
        return
    types = dict(zip(annotation["cluster"], annotation["cell_type"], strict=True))
    sizes = adata.obs["leiden"].value_counts(sort=False)
    names = {name: f"{name}  {types.get(name, '')}" for name in sizes.index}
    yield Drawing(
        name=("cluster_sizes",),
        shows="Cells of each cluster",
        source="report/reads2cells.h5ad",
        draw=figures.bars,
        data=(sizes.rename(index=names),),
        options={"colors": adata.uns["leiden_colors"], "xlabel": "cells"},
    )
    genes = dot_plot_genes(markers) if len(markers) else []
    genes = [gene for gene in genes if gene in adata.var_names]
    if not genes:
        return
    means, shares = cells_by_gene(adata, matrix, genes)
    means, shares = means.rename(index=names), shares.rename(index=names)
    source = "annotate/markers.tsv, report/reads2cells.h5ad"
    yield Drawing(
        name=("markers_dots",),
        shows="Best markers: share of cells with the gene, and its mean, by cluster",
        source=source,
        draw=figures.dot_plot,
        data=(means, shares),
    )
    if len(means) > 1:
        spread = means.std(ddof=0).replace(0, 1)
        yield Drawing(
            name=("markers_heatmap",),
            shows="Best markers: mean expression by cluster, z-scores over clusters",
            source=source,
            draw=figures.heatmap,
            data=(((means - means.mean()) / spread).T,),
        )


def set_tiles(table: pd.DataFrame) -> pd.DataFrame:
    """Return -log10 adjusted p of the best sets (rows) of each group (columns)."""
    ordered = table.sort_values("p_value", kind="stable")
    best = ordered.groupby("group", sort=False).head(SETS_OF_GROUP)["gene_set"]
    best = list(dict.fromkeys(best))[:MOST_SETS]
    padj = table.pivot_table(
        index="gene_set", columns="group", values="padj", aggfunc="min", sort=False
    )
    there = [name for name in best if name in padj.index]
    return -np.log10(padj.loc[there].clip(lower=1e-99))


def evidence_drawings(
    tables: dict[str, pd.DataFrame], *, colors: dict[str, str], least: float | None
) -> Iterator[Drawing]:
    """Yield why there are these clusters: resolutions, stability, tree, integration.

    `least` is the stability from which on a cluster counts as found again.
    """
    resolutions, tree = tables["resolutions"], tables["cluster_tree"]
    panels = resolution_panels(resolutions)
    if panels:
        yield Drawing(
            name=("resolution_choice",),
            shows="What each resolution gives; red: the one in use",
            source="clusters/resolutions.tsv",
            draw=evidence_figures.resolution_curves,
            data=(resolutions,),
            options={"panels": panels},
        )
    stability = tables["cluster_stability"]
    if "stability" in stability and stability["stability"].notna().any():
        table = stability.rename(columns={"cluster": "name", "stability": "value"})
        yield Drawing(
            name=("cluster_stability",),
            shows="How much of each cluster is found again in subsamples of the cells",
            source="clusters/cluster_stability.tsv",
            draw=evidence_figures.score_bars,
            data=(table,),
            options={"xlabel": "stability under subsampling", "limit": least},
        )
    if len(tree) and len(set(tree["resolution"])) > 1:
        nodes, edges, labels, level = evidence_figures.tree_tables(tree, resolutions)
        yield Drawing(
            name=("cluster_tree",),
            shows="Clusters at each resolution, and where their cells come from",
            source="clusters/cluster_tree.tsv",
            draw=evidence_figures.cluster_tree,
            data=(nodes, edges),
            options={"labels": labels, "chosen": level, "colors": colors},
        )
    integration = tables["integration"]
    scores = integration.select_dtypes("number").drop(
        columns="seconds", errors="ignore"
    )
    scores = scores.loc[:, (scores.min() >= 0) & (scores.max() <= 1)]
    if scores.size:
        scores.index = pd.Index(integration["method"])
        used = integration.loc[integration["used"], "method"]
        yield Drawing(
            name=("integration",),
            shows="Scores of the integration methods (1 is best); framed: the one used",
            source="clusters/integration.tsv",
            draw=evidence_figures.tiles,
            data=(scores.rename(columns=lambda name: name.replace("_", " ")),),
            options={
                "label": "score, 1 is best",
                "most": 1.0,
                "digits": 2,
                "marked": {
                    (method, name.replace("_", " "))
                    for method in used
                    for name in scores.columns
                },
            },
        )
    sets = tables["marker_sets"]
    for grouping in dict.fromkeys(sets["grouping"]) if "grouping" in sets else ():
        tiles = set_tiles(sets[sets["grouping"] == grouping])
        if tiles.size:
            yield Drawing(
                name=("marker_sets", grouping),
                shows=f"Gene sets that fit the markers of each {grouping} best",
                source="annotate/marker_sets.tsv",
                draw=evidence_figures.tiles,
                data=(tiles,),
                options={"label": "-log10 adjusted p", "digits": 1},
            )


def expression_drawings(
    results: pd.DataFrame, pseudobulk: ad.AnnData, contrast: Contrast, *, settings: dict
) -> Iterator[Drawing]:
    """Yield volcano, changes over counts and best genes of a contrast in a cell type.

    Where nothing was tested there is no volcano, and changes are shrunken: of few
    counts any is large. `settings` is the section `test_expression`.
    """
    cell_type = results["cell_type"].iloc[0]
    title = f"{cell_type}, {contrast.name}"
    keys = contrast.name, cell_type
    source = "compare/expression.tsv"
    fdr, top = None, top_genes(results)
    if is_tested(results):
        fdr = settings["fdr"]
        yield Drawing(
            name=("volcano", *keys),
            shows=f"Change and p-value of each gene, {title}; colored: FDR under {fdr}",
            source=source,
            draw=figures.volcano,
            data=(results,),
            options={"fdr": fdr},
            most_points=MOST_VECTOR_GENES,
        )
    else:
        results = results.assign(log2_fold_change=results["log2_fold_change_shrunken"])
    yield Drawing(
        name=("ma", *keys),
        shows=f"Change of each gene over its mean count, {title}"
        + (f"; colored: FDR under {fdr}" if fdr else "; not tested, shrunken"),
        source=source,
        draw=figures.mean_difference,
        data=(results,),
        options={"fdr": fdr},
        most_points=MOST_VECTOR_GENES,
    )
    level = groups_of(pseudobulk.obs, contrast)
    rows = pseudobulk.obs["cell_type"].astype(str).eq(cell_type) & (level != "")
    rows &= pseudobulk.obs["n_cells"] >= settings["min_cells"]
    order = sorted(np.flatnonzero(rows), key=lambda i: level.iloc[i])
    # one sample has no z-score
    if len(order) > 1 and len(top):
        yield Drawing(
            name=("top_genes", *keys),
            shows=f"Best genes by sample, z-scores of log CPM, {title}",
            source=f"{source}, compare/pseudobulk.h5ad",
            draw=figures.heatmap,
            data=(z_scores(pseudobulk, list(top["gene_id"]), rows=order),),
            options={"groups": level.iloc[order]},
        )


def composition_drawings(
    tests: pd.DataFrame,
    shares: pd.DataFrame,
    samples: pd.DataFrame,
    contrast: Contrast,
    *,
    fdr: float,
) -> Iterator[Drawing]:
    """Yield changes of the shares of cell types, and the shares of every sample.

    `samples` has the design columns of each unit of `shares`.
    """
    nothing = pd.Series(np.nan, index=tests.index)
    found = (tests.get("padj", nothing) < fdr).to_numpy()
    changes = {"value": "log2_ratio", "low": "ci_low", "high": "ci_high"}
    table = pd.DataFrame(
        {name: tests.get(column, nothing) for name, column in changes.items()}
    )
    if table["value"].notna().any():
        yield Drawing(
            name=("composition", contrast.name),
            shows=f"Change of the share of each cell type with its 95 % interval, "
            f"{contrast.name}; filled: FDR under {fdr}",
            source="compare/composition.tsv",
            draw=figures.change_intervals,
            data=(table.assign(name=tests["cell_type"], is_found=found),),
            options={"xlabel": "log2 ratio of the shares"},
        )
    groups = group_names(contrast)
    points = shares.assign(
        group=shares["sample"].map(groups_of(samples, contrast)),
        share=100 * shares["share"],
    )
    points = points[points["group"].isin(groups)]
    if len(groups) == 2 and points["group"].nunique() == 2:
        yield Drawing(
            name=("shares", contrast.name),
            shows=f"Shares of the cell types by sample, {contrast.name}; "
            "line: median, star: found to differ",
            source="compare/composition_shares.tsv, compare/composition.tsv",
            draw=figures.share_points,
            data=(points,),
            options={
                "groups": tuple(groups),
                "found": set(tests.loc[found, "cell_type"]),
            },
        )


def score_drawings(
    table: pd.DataFrame, contrast: Contrast, *, kind: str
) -> Iterator[Drawing]:
    """Yield the best gene sets, or regulators, of a contrast in each cell type."""
    columns, xlabel, size_label = {
        "gene_sets": (
            {"gene_set": "name", "nes": "value", "n_genes": "size"},
            "normalised enrichment score",
            "genes",
        ),
        "activities": (
            {"source": "name", "activity": "value", "n_targets": "size"},
            "activity",
            "targets",
        ),
    }[kind]
    for cell_type, own in table.groupby("cell_type", sort=False):
        renamed = own.rename(columns=columns)
        if "padj" not in renamed:
            renamed["padj"] = np.nan
        renamed["strength"] = -renamed["value"].abs()
        best = renamed.sort_values(["padj", "strength"], kind="stable").head(TOP_SETS)
        best = best.sort_values("value", ascending=False, kind="stable")
        yield Drawing(
            name=(kind, contrast.name, cell_type),
            shows=f"Strongest {kind.replace('_', ' ')}, {cell_type}, {contrast.name}",
            source=f"compare/{kind}.tsv",
            draw=figures.set_points,
            data=(best[["name", "value", "size", "padj"]],),
            options={"xlabel": xlabel, "size_label": size_label},
        )


def module_drawings(
    tests: pd.DataFrame, contrast: Contrast, *, fdr: float
) -> Iterator[Drawing]:
    """Yield the change of each module's activity with its standard error."""
    nothing = pd.Series(np.nan, index=tests.index)
    error = tests.get("se", nothing)
    table = pd.DataFrame(
        {
            "name": tests["cell_type"] + "  " + tests["module"],
            "value": tests["effect"],
            "low": tests["effect"] - error,
            "high": tests["effect"] + error,
            "is_found": tests.get("padj", nothing) < fdr,
        }
    )
    for part, rows in runs(list(table.index), ROWS):
        yield Drawing(
            name=("modules", contrast.name, *part),
            shows=f"Change of the activity of gene modules, {contrast.name}; "
            f"line: one standard error, filled: FDR under {fdr}",
            source="compare/module_tests.tsv",
            draw=figures.change_intervals,
            data=(table.loc[rows],),
            options={"xlabel": "change of activity"},
        )


def difference_drawings(
    tables: dict[str, pd.DataFrame],
    pseudobulk: ad.AnnData,
    sheet: dict[str, dict[str, str]],
    *,
    colors: dict[str, str],
    config: dict,
) -> Iterator[Drawing]:
    """Yield cell types per sample, then all of each contrast, then the networks."""
    shares = tables["composition_shares"]
    wide = shares.pivot_table(
        index="sample", columns="cell_type", values="share", aggfunc="sum", sort=False
    ).fillna(0)
    # in the order of the sheet, units of several samples last
    order = {name: i for i, name in enumerate(sheet)}
    wide = wide.loc[sorted(wide.index, key=lambda name: order.get(name, len(order)))]
    spare = dict(zip(wide.columns, CATEGORIES * len(wide.columns), strict=False))
    for part, rows in runs(list(wide.index), ROWS):
        yield Drawing(
            name=("cell_types_per_sample", *part),
            shows="Cell types of each sample",
            source="compare/composition_shares.tsv",
            draw=figures.stacked_bars,
            data=(100 * wide.loc[rows],),
            options={
                "colors": [colors.get(name, spare[name]) for name in wide.columns],
                "xlabel": "share of the sample's cells (%)",
                "percent": True,
            },
        )
    design = read_design(config["design"])
    samples = pseudobulk.obs.drop_duplicates("sample").set_index("sample")
    for contrast in design.contrasts if design.formula else ():
        mine = {name: of_contrast(table, contrast) for name, table in tables.items()}
        for _, results in mine["expression"].groupby("cell_type", sort=False):
            yield from expression_drawings(
                results, pseudobulk, contrast, settings=config["test_expression"]
            )
        yield from composition_drawings(
            mine["composition"],
            shares,
            samples,
            contrast,
            fdr=config["test_composition"]["fdr"],
        )
        for kind in ("gene_sets", "activities"):
            yield from score_drawings(mine[kind], contrast, kind=kind)
        yield from module_drawings(
            mine["module_tests"], contrast, fdr=config["infer_networks"]["fdr"]
        )
    modules, edges = tables["modules"], tables["network_edges"]
    for cell_type, own in modules.groupby("cell_type", sort=False):
        yield Drawing(
            name=("network", cell_type),
            shows=f"Gene modules of {cell_type}: hubs by name, arrows: known targets",
            source="compare/modules.tsv, compare/network_edges.tsv",
            draw=network_figures.network,
            data=(own, edges[edges["cell_type"] == cell_type]),
        )


def optional_drawings(
    found: dict[str, pd.DataFrame], adata: ad.AnnData, *, colors: dict[str, str]
) -> Iterator[Drawing]:
    """Yield trajectory, clones and velocity, as far as their tables are there.

    `colors` are those of the clusters.
    """
    umap = np.asarray(adata.obsm["X_umap"])
    note = drawn_note(adata.n_obs)
    if "pseudotime" in found:
        yield from trajectory_drawings(
            found["pseudotime"], found["links"], adata, colors=colors
        )
    if "clones" in found:
        clone = found["clones"].set_index("cell")["clone"].reindex(adata.obs_names)
        names = sorted(set(clone.dropna()))
        clone_colors = dict(zip(names, colors_of(names), strict=True))
        clone_colors |= dict.fromkeys(NOT_CLONES, UNKNOWN)
        yield Drawing(
            name=("umap", "clone"),
            shows=f"Cells by clone on the UMAP{note}",
            source="annotate/clones.tsv.gz",
            draw=figures.umap_by_category,
            data=(umap, clone.astype(pd.CategoricalDtype(names))),
            options={
                "colors": [clone_colors[name] for name in names],
                "name_groups": False,
            },
        )
        wide = found["clone_shares"].pivot_table(
            index="sample", columns="clone", values="share", aggfunc="sum", sort=False
        )
        for part, rows in runs(list(wide.index), ROWS):
            yield Drawing(
                name=("clones_per_sample", *part),
                shows="Clones of each sample",
                source="annotate/clone_shares.tsv",
                draw=figures.stacked_bars,
                data=(100 * wide.fillna(0).loc[rows],),
                options={
                    "colors": [clone_colors.get(name, UNKNOWN) for name in wide],
                    "xlabel": "share of the sample's cells (%)",
                    "percent": True,
                },
            )
        if len(found["clone_profiles"]):
            yield Drawing(
                name=("copy_numbers",),
                shows="Copy numbers of the clones along the genome",
                source="annotate/clone_profiles.tsv",
                draw=copy_number_heatmap,
                data=(found["clone_profiles"],),
            )
    if len(found.get("velocity", ())):
        yield Drawing(
            name=("velocity",),
            shows=f"Where cells are going: mean arrows over the UMAP{note}",
            source="annotate/velocity.tsv.gz",
            draw=trajectory_figures.velocity_map,
            data=(found["velocity"],),
            options={"colors": colors},
        )


def trajectory_drawings(
    cells: pd.DataFrame,
    links: pd.DataFrame,
    adata: ad.AnnData,
    *,
    colors: dict[str, str],
) -> Iterator[Drawing]:
    """Yield pseudotime on the map and by cluster, and which clusters are joined."""
    umap = np.asarray(adata.obsm["X_umap"])
    time = cells.set_index("cell")["pseudotime"].reindex(adata.obs_names)
    if time.notna().any():
        yield Drawing(
            name=("umap", "pseudotime"),
            shows=f"Cells by pseudotime on the UMAP{drawn_note(adata.n_obs)}",
            source="annotate/pseudotime.tsv.gz",
            draw=figures.umap_by_value,
            data=(umap, time.to_numpy(dtype=float)),
            options={"label": "pseudotime"},
        )
        named = cells.assign(name=cells["cluster"] + "  " + cells["cell_type"])
        yield Drawing(
            name=("pseudotime_by_cluster",),
            shows="Pseudotime of the clusters: median, middle half, 5 to 95 %",
            source="annotate/pseudotime.tsv.gz",
            draw=trajectory_figures.times_by_cluster,
            data=(named,),
            options={"colors": colors},
        )
    where = pd.DataFrame(umap, columns=["x", "y"]).groupby(
        adata.obs["leiden"].astype(str).to_numpy()
    )
    places = where.median().assign(n_cells=where.size())
    places = places[places.index.isin(cells["cluster"])]
    if len(places) and len(links):
        yield Drawing(
            name=("trajectory",),
            shows="Clusters that are joined; dark: the strongest tree",
            source="annotate/paga.tsv",
            draw=trajectory_figures.cluster_links,
            data=(places, links),
            options={"colors": colors},
        )


def read_optional(path: Path) -> pd.DataFrame:
    """Return a table of an analysis that the config switches on."""
    table = read_table(path)
    columns = {"connectivity", "pseudotime", "start", "log2_ratio", "share"}
    columns |= {"umap_1", "umap_2", "arrow_1", "arrow_2"}
    for name in columns & set(table):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    if "in_tree" in table:
        table["in_tree"] = table["in_tree"] == "True"
    return table


def write_all(
    drawings: Iterator[Drawing], folder: Path, *, settings: FigureSettings
) -> pd.DataFrame:
    """Draw one figure after the other; return the index of the files."""
    named = FileNames()
    rows = []
    for drawing in drawings:
        figure = on_paper(
            drawing.draw,
            *drawing.data,
            settings=settings,
            most_points=drawing.most_points,
            **drawing.options,
        )
        name = named(*drawing.name)
        files = save(figure, folder / name, title=drawing.shows, settings=settings)
        width, height = MM_PER_INCH * figure.get_size_inches()
        row = name, ", ".join(path.name for path in files)
        row += (drawing.shows, drawing.source, round(width, 1), round(height, 1))
        rows.append(row)
    return pd.DataFrame(rows, columns=INDEX)


def main(
    *,
    sample_files: dict[str, dict[str, Path]],
    tables: dict[str, Path],
    optional: dict[str, Path],
    swaps_evidence: Path | None,
    cells: Path,
    pseudobulk: Path,
    design: dict[str, dict[str, str]],
    folder: Path,
    config: dict,
    settings: FigureSettings,
) -> None:
    """Read all results, write every figure and `index.tsv`.

    Parameters
    ----------
    sample_files
        By sample, in the order of the sheet, and kind.
    tables
        The tables of the run, by the names in `TABLES`.
    optional
        Tables of analyses that the config switches on, by the names in `OPTIONAL`.
    swaps_evidence
        What `check_swaps` measured of each sample.
    design
        What the sample sheet says of each sample, in its order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    adata = read_tables(cells)
    samples = {name: load_sample(name, files) for name, files in sample_files.items()}
    loaded = {name: load_table(name, tables.get(name)) for name in TABLES}
    found = {name: read_optional(path) for name, path in optional.items()}
    evidence = json.loads(swaps_evidence.read_text()) if swaps_evidence else None
    columns = [name for name in next(iter(design.values())) if name in adata.obs]
    of_types = adata.obs["cell_type"].cat.categories, adata.uns["cell_type_colors"]
    of_clusters = adata.obs["leiden"].cat.categories, adata.uns["leiden_colors"]
    type_colors, cluster_colors = (
        dict(zip(*pair, strict=True)) for pair in (of_types, of_clusters)
    )

    def drawings(matrix: Matrix) -> Iterator[Drawing]:
        yield from read_drawings(samples)
        yield from swap_drawings(loaded["swaps"], evidence, list(samples))
        if adata.n_obs:
            yield from map_drawings(
                adata, design=columns, numeric=config["design"]["numeric"]
            )
        yield from cluster_drawings(adata, matrix, loaded)
        yield from evidence_drawings(
            loaded,
            colors=cluster_colors,
            least=config["find_clusters"].get("min_stability"),
        )
        yield from difference_drawings(
            loaded,
            ad.read_h5ad(pseudobulk),
            design,
            colors=type_colors,
            config=config,
        )
        if adata.n_obs:
            yield from optional_drawings(found, adata, colors=cluster_colors)

    with h5py.File(cells) as file:
        index = write_all(drawings(Matrix(file["X"])), folder, settings=settings)
    index.to_csv(folder / "index.tsv", sep="\t", index=False)
    size = sum(path.stat().st_size for path in folder.iterdir())
    logger.info("%d figures, %.1f MB", len(index), size / 1e6)


if "snakemake" in globals():
    with job(snakemake):

        def given(names: tuple[str, ...]) -> dict[str, Path]:
            """Return those of the named inputs that the rule has."""
            paths = {name: snakemake.input.get(name) for name in names}
            return {name: Path(str(path)) for name, path in paths.items() if path}

        main(
            sample_files=by_sample(
                snakemake.input,
                list(snakemake.params.design),
                snakemake.params.read_samples,
            ),
            tables=given(TABLES),
            optional=given(OPTIONAL),
            swaps_evidence=Path(snakemake.input.swaps_evidence),
            cells=Path(snakemake.input.cells),
            pseudobulk=Path(snakemake.input.pseudobulk),
            design=snakemake.params.design,
            folder=Path(snakemake.output.figures),
            config=snakemake.params.config,
            settings=FigureSettings(**snakemake.params.settings),
        )
