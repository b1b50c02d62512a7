"""Modules of genes that go together within a cell type, and their activity."""

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anndata as ad
import h5py
import numpy as np
import pandas as pd
from scipy import sparse, stats
from threadpoolctl import threadpool_limits

from _shared.design import (
    EXPLORATORY,
    REFUSED,
    Design,
    cell_types_of,
    contrast_vector,
    design_matrix,
    judge,
    read_design,
    why_nothing,
)
from _shared.jobs import job
from _shared.marker_table import UNKNOWN
from _shared.metacells import balanced, log_cpm, n_metacells, read_cells, variability
from _shared.network_file import read_network
from _shared.networks import (
    activity,
    connectivity,
    correlated_edges,
    edges_of,
    estimated,
    graph_of,
    hubs,
    known_edges,
    metacell_correlations,
    modules_of,
    pairs_above,
    sample_correlations,
)
from _shared.streams import Matrix

if TYPE_CHECKING:
    from snakemake.iocontainers import snakemake

logger = logging.getLogger("infer_networks")

# rows of a correlation: metacells beyond one per sample, or samples
MIN_ROWS = 20
# counts of a gene per metacell, or per sample, on average
MIN_COUNTS = {"metacells": 1, "pseudobulk": 5}
# entries of the cells in memory: 2 GB; beyond, fewer cells of each type
MOST_ENTRIES = 400_000_000
MODULE_COLUMNS = [
    "cell_type",
    "module",
    "gene_id",
    "gene_name",
    "connectivity",
    "is_hub",
]
ACTIVITY_COLUMNS = ["cell_type", "module", "sample", "activity"]
TEST_COLUMNS = ["cell_type", "module", "contrast", "evidence", "effect"]
P_COLUMNS = ["se", "p_value", "padj"]
EDGE_COLUMNS = ["cell_type", "source", "target", "weight", "kind"]
EVIDENCE_COLUMNS = [
    "cell_type",
    "source",
    "n_cells",
    "n_cells_used",
    "n_samples",
    "n_rows",
    "n_genes",
    "threshold",
    "n_edges",
    "n_edges_by_chance",
    "n_modules",
    "n_genes_in_modules",
]


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """The `infer_networks` section of the config; the schema holds the ranges."""

    cell_types: list[str]
    source: str
    min_cells: int
    max_cells: int
    cells_per_metacell: int
    n_genes: int
    edge_fdr: float
    min_genes: int
    n_hubs: int
    min_cells_per_sample: int
    min_samples: int
    fdr: float


@dataclass(frozen=True, kw_only=True)
class Network:
    """What is found in one cell type: rows of the tables, by their columns."""

    modules: pd.DataFrame
    edges: pd.DataFrame
    evidence: dict


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The activity of a type's modules, its tests, and why there are no more."""

    activity: pd.DataFrame
    tests: pd.DataFrame
    reasons: list[str]


def chosen_cells(
    types: pd.Series, ends: np.ndarray, settings: NetworkSettings, *, seed: int
) -> dict[str, np.ndarray]:
    """Return the positions of the cells that stand for each type, at random.

    `ends` tells where the entries of the cells end, as in `Matrix`.
    """
    if settings.source == "none":
        return {}
    names = settings.cell_types or sorted(set(types.dropna()) - {UNKNOWN})
    chosen, n_entries = {}, 0
    for name in names:
        own = np.flatnonzero((types == name).to_numpy())
        rng = np.random.default_rng([seed, len(own)])
        chosen[name] = rng.permutation(own)[: settings.max_cells]
        n_entries += np.diff(ends)[chosen[name]].sum()
    share = min(MOST_ENTRIES / max(n_entries, 1), 1)
    return {
        name: np.sort(own[: int(np.ceil(len(own) * share))])
        for name, own in chosen.items()
    }


def source_of(
    samples: np.ndarray, n_units: int, settings: NetworkSettings
) -> tuple[str, str]:
    """Return what correlations are made from, and why from nothing.

    Metacells where there are enough, for only there do differences between donors not
    count; else the pseudobulks of many samples.

    Parameters
    ----------
    samples
        The sample of each cell, as a number from 0.
    n_units
        Samples with enough cells for a pseudobulk.
    settings
        Of the rule.
    """
    size = settings.cells_per_metacell
    rows = n_metacells(samples, size=size) - (np.bincount(samples) >= 2 * size).sum()
    n = len(samples)
    if settings.source != "pseudobulk" and n >= settings.min_cells and rows >= MIN_ROWS:
        return "metacells", ""
    if settings.source != "metacells" and n_units >= MIN_ROWS:
        return "pseudobulk", ""
    of_cells = (
        f"{n} cells make {max(rows, 0)} metacells of {size} cells beyond one per "
        f"sample; {settings.min_cells} cells and {MIN_ROWS} metacells are needed"
    )
    of_samples = (
        f"{n_units} samples have {settings.min_cells_per_sample} cells of it or more; "
        f"{MIN_ROWS} are needed"
    )
    told = {"metacells": of_cells, "pseudobulk": of_samples}
    reason = told.get(settings.source, f"{of_cells}, or else: {of_samples}")
    return "", f"{reason}. Add samples or cells."


def genes_to_use(
    counts: sparse.csr_matrix,
    samples: np.ndarray,
    regulators: np.ndarray,
    *,
    n_genes: int,
    least: float,
) -> np.ndarray:
    """Return the positions of the most variable genes, and of expressed regulators."""
    score = variability(counts, samples, least=least)
    best = np.argsort(-score, kind="stable")[:n_genes]
    return np.flatnonzero(
        (score > 0) & (np.isin(np.arange(len(score)), best) | regulators)
    )


def find_network(
    name: str,
    counts: sparse.csr_matrix,
    samples: np.ndarray,
    bulk: ad.AnnData,
    regulation: pd.DataFrame,
    *,
    source: str,
    design: Design,
    settings: NetworkSettings,
    seed: int,
) -> Network:
    """Return modules and edges of a cell type.

    `counts` (cells x genes) and `samples` are of its cells, `bulk` has its pseudobulks,
    `regulation` the known edges as positions `source` and `target` of genes, and
    `weight`.
    """
    var = bulk.var
    of_cells = source == "metacells"
    n_rows = len(samples) / settings.cells_per_metacell if of_cells else bulk.n_obs
    rows = counts if of_cells else sparse.csr_matrix(bulk.X)
    of = samples if of_cells else np.zeros(bulk.n_obs, dtype=np.int64)
    genes = genes_to_use(
        rows,
        of,
        np.isin(np.arange(len(var)), regulation["source"]),
        n_genes=settings.n_genes,
        least=MIN_COUNTS[source] * n_rows,
    )
    x = rows[:, genes].toarray().astype(np.float32)
    depth = np.asarray(rows.sum(axis=1)).ravel()
    if of_cells:
        size = settings.cells_per_metacell
        found = metacell_correlations(x, depth, samples, size=size, seed=seed)
        n_rows = n_metacells(samples, size=size)
    else:
        known = np.zeros((len(x), 1))
        if design.formula:
            known = design_matrix(bulk.obs, design).to_numpy()
        found = sample_correlations(x, depth, known, seed=seed)
    r = next(found)
    edges = edges_of(pairs_above(r), pairs_above(next(found)), fdr=settings.edge_fdr)
    modules = modules_of(r, edges.threshold, min_genes=settings.min_genes, seed=seed)
    strength = connectivity(r, edges.threshold, modules)
    table = pd.DataFrame(
        {
            "cell_type": name,
            "module": [f"M{number}" for number in modules],
            "gene_id": var.index[genes],
            "gene_name": var["gene_name"].astype(str).to_numpy()[genes],
            "connectivity": strength,
            "is_hub": hubs(strength, modules, n=settings.n_hubs),
        }
    )[modules > 0]
    order = np.lexsort((-strength[modules > 0], modules[modules > 0]))
    evidence = {
        "cell_type": name,
        "source": source,
        "n_cells_used": len(samples) if of_cells else int(bulk.obs["n_cells"].sum()),
        "n_samples": len(np.unique(samples)) if of_cells else bulk.n_obs,
        "n_rows": n_rows,
        "n_genes": len(genes),
        "threshold": edges.threshold if np.isfinite(edges.threshold) else np.nan,
        "n_edges": edges.n_edges,
        "n_edges_by_chance": edges.n_chance,
        "n_modules": modules.max(initial=0),
        "n_genes_in_modules": int((modules > 0).sum()),
    }
    known = known_edges(r, edges, modules, genes, regulation)
    drawn = pd.concat([correlated_edges(r, edges, modules), known], ignore_index=True)
    for end in ("source", "target"):
        drawn[end] = var.index.to_numpy()[genes[drawn[end].to_numpy(dtype=int)]]
    drawn["cell_type"] = name
    return Network(
        modules=table.iloc[order], edges=drawn[EDGE_COLUMNS], evidence=evidence
    )


def read_regulation(networks: list[Path], var: pd.DataFrame) -> pd.DataFrame:
    """Return the edges of network files as positions of genes.

    A gene is found by its id, else by its symbol; what is not found is left out.
    """
    position = pd.Series(np.arange(len(var)), index=var["gene_name"].astype(str))
    ids = pd.Series(np.arange(len(var)), index=var.index.astype(str))
    position = pd.concat([ids, position])
    position = position[~position.index.duplicated()]
    rows = [
        (source, target, weight)
        for path in networks
        for source, targets in read_network(path).items()
        for target, weight in targets.items()
    ]
    table = pd.DataFrame(rows, columns=["source", "target", "weight"], dtype=object)
    for end in ("source", "target"):
        table[end] = table[end].astype(str).map(position)
    table = table.dropna(subset=["source", "target"])
    return table.astype({"source": int, "target": int, "weight": float})


def bulk_of(bulk: ad.AnnData, name: str, *, min_cells: int) -> ad.AnnData:
    """Return the pseudobulks of a cell type with enough cells, by their sample."""
    obs = bulk.obs
    own = bulk[((obs["cell_type"] == name) & (obs["n_cells"] >= min_cells)).to_numpy()]
    own = own.copy()
    own.obs_names = own.obs["sample"].astype(str).tolist()
    return own


def levels_of(bulk: ad.AnnData, genes: pd.Index) -> pd.DataFrame:
    """Return log CPM of genes (samples x genes), the median gene at its mean."""
    total = np.asarray(bulk.X.sum(axis=0)).ravel()
    own = bulk.var_names.isin(genes)
    keep = own | (total >= MIN_COUNTS["pseudobulk"] * bulk.n_obs)
    depth = np.asarray(bulk.X.sum(axis=1)).ravel()
    levels = log_cpm(bulk.X[:, keep].toarray(), depth)
    levels = balanced(levels, np.zeros(bulk.n_obs, dtype=np.int64))
    names = bulk.var_names[keep]
    return pd.DataFrame(levels, index=bulk.obs_names, columns=names)[genes]


def tested(
    scores: pd.DataFrame, samples: pd.DataFrame, design: Design, *, min_samples: int
) -> tuple[list[pd.DataFrame], list[str]]:
    """Test the activity (samples x modules): a table per contrast; and reasons."""
    tables, reasons = [], []
    for contrast in design.contrasts if design.formula else ():
        judged = judge(samples, design, contrast, min_samples=min_samples)
        if judged.evidence == REFUSED:
            reasons.append(f"{contrast.name}: {judged.reason}")
            continue
        table = estimated(
            scores,
            design_matrix(samples, design).to_numpy(),
            contrast_vector(samples, design, contrast),
        )
        if judged.evidence == EXPLORATORY:
            table[["se", "p_value"]] = np.nan
        known = table["p_value"].notna()
        table["padj"] = np.nan
        if known.any():
            padj = stats.false_discovery_control(table.loc[known, "p_value"])
            table.loc[known, "padj"] = padj
        table["contrast"], table["evidence"] = contrast.name, judged.evidence
        tables.append(table.rename_axis("module").reset_index())
    return tables, reasons


def compare(
    name: str,
    genes: pd.Series,
    bulk: ad.AnnData,
    design: Design,
    settings: NetworkSettings,
) -> Comparison:
    """Compare the modules of a cell type; `genes` is the module of each gene by id."""
    columns = [*TEST_COLUMNS, *P_COLUMNS]
    tables, reasons = [], []
    scores = pd.DataFrame(index=pd.Index([], name="sample"))
    if genes.empty:
        reasons = ["No genes go together more than by chance, so there are no modules."]
    elif bulk.n_obs == 0:
        reasons = [
            f"No sample has {settings.min_cells_per_sample} cells of it, so the "
            "activity of its modules is not compared."
        ]
    else:
        scores = activity(levels_of(bulk, genes.index), genes)
        tables, reasons = tested(
            scores, bulk.obs, design, min_samples=settings.min_samples
        )
    long = scores.rename_axis("sample").melt(
        ignore_index=False, var_name="module", value_name="activity"
    )
    return Comparison(
        activity=long.reset_index().assign(cell_type=name),
        tests=joined([table.assign(cell_type=name) for table in tables], columns),
        reasons=reasons,
    )


def joined(tables: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Return rows of all tables; without any, the header."""
    tables = [table for table in tables if len(table)]
    empty = pd.DataFrame(columns=columns)
    return (pd.concat(tables, ignore_index=True) if tables else empty)[columns]


def main(
    *,
    clusters: Path,
    annotation: Path,
    pseudobulk: Path,
    networks: list[Path],
    outputs: dict[str, Path],
    design: dict,
    settings: NetworkSettings,
    seed: int,
    threads: int = 1,
) -> None:
    """Write modules, their activity and its tests, edges, evidence, and the graph."""
    design = read_design(design)
    found, compared, untested = [], [], []
    all_bulk = ad.read_h5ad(pseudobulk)
    if reason := why_nothing(all_bulk.obs, design):
        untested.append(("all", reason))
    with h5py.File(clusters) as file:
        cells, var = (ad.io.read_elem(file[name]) for name in ("obs", "var"))
        types = cell_types_of(cells, annotation)
        numbers = pd.Categorical(cells["sample"].astype(str)).codes.astype(np.int64)
        counts = Matrix(file["layers/counts"])
        chosen, sources, bulks = {}, {}, {}
        for name, own in chosen_cells(types, counts.ends, settings, seed=seed).items():
            bulk = bulk_of(all_bulk, name, min_cells=settings.min_cells_per_sample)
            source, reason = source_of(numbers[own], bulk.n_obs, settings)
            if reason:
                untested.append((name, reason))
                continue
            sources[name], bulks[name] = source, bulk
            chosen[name] = own if source == "metacells" else own[:0]
        of_type = read_cells(counts, chosen, threads=threads)
    regulation = read_regulation(networks, var)
    for name, source in sources.items():
        # the order of additions, and so the last digit, would follow the thread count
        with threadpool_limits(limits=1):
            network = find_network(
                name,
                of_type.pop(name),
                numbers[chosen[name]],
                bulks[name],
                regulation,
                source=source,
                design=design,
                settings=settings,
                seed=seed,
            )
        network.evidence["n_cells"] = int((types == name).sum())
        logger.info("%s", network.evidence)
        found.append(network)
        genes = network.modules.set_index("gene_id")["module"]
        compared.append(compare(name, genes, bulks[name], design, settings))
        untested += [(name, reason) for reason in compared[-1].reasons]
    for row in untested:
        logger.info("not tested: %s: %s", *row)

    modules = joined([network.modules for network in found], MODULE_COLUMNS)
    edges = joined([network.edges for network in found], EDGE_COLUMNS)
    tests = joined([one.tests for one in compared], [*TEST_COLUMNS, *P_COLUMNS])
    logger.info("%d tests below the FDR", (tests["padj"] < settings.fdr).sum())
    if (tests["evidence"] == EXPLORATORY).all():
        tests = tests[TEST_COLUMNS]
    evidence = [network.evidence for network in found]
    write = partial(pd.DataFrame.to_csv, sep="\t", index=False, float_format="%.6g")
    write(modules, outputs["modules"])
    write(
        joined([one.activity for one in compared], ACTIVITY_COLUMNS),
        outputs["activity"],
    )
    write(tests, outputs["tests"])
    write(edges, outputs["edges"])
    write(pd.DataFrame(evidence, columns=EVIDENCE_COLUMNS), outputs["evidence"])
    write(pd.DataFrame(untested, columns=["cell_type", "reason"]), outputs["untested"])
    graph = graph_of(modules, edges, var["gene_name"])
    graph.write_graphml(str(outputs["graph"]))


if "snakemake" in globals():
    with job(snakemake):
        main(
            clusters=Path(snakemake.input.clusters),
            annotation=Path(snakemake.input.annotation),
            pseudobulk=Path(snakemake.input.pseudobulk),
            networks=[Path(path) for path in snakemake.input.networks],
            outputs={name: Path(path) for name, path in snakemake.output.items()},
            design=snakemake.params.design,
            settings=NetworkSettings(**snakemake.params.settings),
            seed=snakemake.params.seed,
            threads=snakemake.threads,
        )
