"""Numbers of the report: reading, checking and summarizing the result tables."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from _shared.streams import Matrix

NUMERIC = {
    "activity",
    "agreement",
    "auc",
    "base_mean",
    "ci_high",
    "ci_low",
    "confidence",
    "connectivity",
    "doublet_score",
    "effect",
    "es",
    "hit_rate",
    "is_cell_share",
    "jaccard",
    "lfc_se",
    "log2_fold_change",
    "log2_fold_change_shrunken",
    "log2_ratio",
    "log2_ratio_se",
    "lower",
    "mad",
    "mean_reads_per_cell",
    "median",
    "median_genes_per_cell",
    "median_umi_counts_per_cell",
    "n_batches",
    "n_cells",
    "n_genes",
    "n_genes_by_counts",
    "n_overlap",
    "n_reads",
    "n_shared",
    "n_targets",
    "nearest_auc",
    "nearest_log2_fold_change",
    "nearest_rank",
    "nearest_score",
    "nes",
    "odds_ratio",
    "p_value",
    "padj",
    "pct_counts_mt",
    "pct_in",
    "pct_out",
    "pearson",
    "rank",
    "remaining",
    "removed_any",
    "removed_first",
    "runner_up_score",
    "score",
    "se",
    "sense_share",
    "sequencing_saturation",
    "share",
    "share_reference",
    "share_tested",
    "spearman",
    "spearman_centered",
    "statistic",
    "total_counts",
    "upper",
    "weight",
}
BOOLEAN = {"chosen", "flagged", "is_best_match", "is_hub", "kept"}
BOOLEAN |= {"predicted_doublet", "used"}
# what is no number though it may look like one
NAMES = {"child", "cluster", "method", "other", "parent", "reason", "sample", "meaning"}
NAMES |= {"batch_column", "check", "parent_1", "parent_2", "parents", "status"}
MISSING = {"", "nan", "NaN", "inf", "-inf"}
# embeddings, overrides and isolates: one that is never ended turns all words after it
BIDI_CONTROL = re.compile("[\u202a-\u202e\u2066-\u2069]")


def read_table(path: Path) -> pd.DataFrame:
    """Return a result table; text stays text, so sample `001` and gene `NA` survive.

    Its index numbers the rows of the file, and stays with them when they are chosen
    from or sorted: the page tells of every number where it stands (`report_sources`).
    """
    table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    table.attrs["file"] = str(path)
    for name in NUMERIC & set(table):
        table[name] = pd.to_numeric(table[name], errors="coerce")
    for name in BOOLEAN & set(table):
        table[name] = table[name].str.lower() == "true"
    return table


def read_evidence(path: Path) -> pd.DataFrame:
    """Return a table in which every column of numbers alone, or of nothing, is numeric.

    Names stay text though they look like numbers: clusters, samples, methods.
    """
    table = read_table(path)
    for name in set(table) - NAMES:
        if not pd.api.types.is_string_dtype(table[name]):
            continue
        values = pd.to_numeric(table[name], errors="coerce")
        if len(table) and table.loc[values.isna(), name].isin(MISSING).all():
            table[name] = values
        elif len(table) and table[name].str.lower().isin(["true", "false"]).all():
            table[name] = table[name].str.lower() == "true"
    return table


def records(table: pd.DataFrame) -> list[dict]:
    """Return the rows of a table, those of a file with its name and their place."""
    rows = table.to_dict("records")
    file = table.attrs.get("file")
    if file is None:
        return rows
    places = table.index.to_list()
    return [
        {**row, "_file": file, "_row": place}
        for row, place in zip(rows, places, strict=True)
    ]


def bidi_shown(text: str) -> str:
    """Return a text whose bidi controls are seen as their escapes, and do nothing."""
    return BIDI_CONTROL.sub(lambda found: f"\\u{ord(found[0]):x}", text)


def shown(value: object, kind: str = "text") -> str:
    """Return a value as the report writes it; what is missing is a dash."""
    if value is None or value == "":
        return "-"
    if isinstance(value, float) and not math.isfinite(value):
        return "-" if math.isnan(value) else "none"
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    if isinstance(value, str):
        return bidi_shown(value)
    if kind == "p":
        return f"{value:.1e}" if 0 < value < 0.001 else f"{value:.3g}"
    if kind == "percent":
        return f"{value:.1f} %"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "decimal":
        return f"{value:.2f}"
    # whole numbers in full, the others as far as they matter
    whole = float(value).is_integer() or abs(value) >= 1000
    return f"{value:,.0f}" if whole else f"{value:,.3g}"


def ledger_problems(
    ledger: pd.DataFrame, *, verdicts: dict[str, str], final_cells: dict[str, int]
) -> list[str]:
    """Return what does not add up in the ledger, a sentence each.

    Parameters
    ----------
    ledger
        The ledgers of all samples, one below the other.
    verdicts
        `kept` or `set_aside` by sample.
    final_cells
        Cells in the final object by sample.
    """
    problems = []
    for sample, verdict in verdicts.items():
        steps = ledger[ledger["sample"] == sample]
        before = steps["remaining"].shift()
        gap = before - steps["removed_first"] - steps["remaining"]
        for step in steps.loc[gap.notna() & (gap != 0), "step"]:
            problems.append(f"{sample}: step {step} does not add up.")
        left = int(steps["remaining"].iloc[-1]) if len(steps) else 0
        expected = left if verdict == "kept" else 0
        found = final_cells.get(sample, 0)
        if found != expected:
            problems.append(
                f"{sample}: the ledger ends with {left:,} cells ({verdict}), "
                f"the final object has {found:,}."
            )
    return problems


def ledger_shares(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return cells kept and first removed by each rule, one row per sample.

    The barcodes that were never called cells are left out: they would dwarf the rest.
    """
    steps = ledger[~ledger["step"].isin(["barcodes_seen", "not_called"])].copy()
    ends = steps["step"] == "kept"
    steps["n"] = steps["removed_first"].where(~ends, steps["remaining"])
    wide = steps.pivot_table(
        index="sample", columns="step", values="n", aggfunc="sum", sort=False
    )
    rules = [name for name in wide.columns if name != "kept"]
    return wide[[name for name in ("kept", *rules) if name in wide]].fillna(0)


def failed_shares(ledger: pd.DataFrame) -> pd.DataFrame:
    """Return the percent of called cells that fail each rule, samples by rules.

    A cell that fails several is counted for each; rules that none fails are left out.
    """
    ends = {"barcodes_seen", "not_called", "kept"}
    called = ledger[ledger["step"] == "not_called"].set_index("sample")["remaining"]
    steps = ledger[~ledger["step"].isin(ends)]
    wide = steps.pivot_table(
        index="sample",
        columns="step",
        values="removed_any",
        aggfunc="sum",
        sort=False,
    ).fillna(0)
    wide = wide.loc[:, (wide > 0).any()]
    shares = 100 * wide.div(called.reindex(wide.index).clip(lower=1), axis=0)
    return shares[called.reindex(shares.index) > 0]


def square(pairs: pd.DataFrame, names: list[str]) -> pd.DataFrame | None:
    """Return a value for every pair as a symmetric table; None without two names."""
    if not len(pairs):
        return None
    there = set(pairs["sample"]) | set(pairs["other"])
    order = [name for name in names if name in there]
    wide = pd.DataFrame(np.nan, index=order, columns=order)
    for row in pairs.itertuples():
        wide.loc[row.sample, row.other] = wide.loc[row.other, row.sample] = row.value
    return wide


def best_genes(results: pd.DataFrame, *, n: int) -> pd.DataFrame:
    """Return the `n` genes with the smallest p-values of one test."""
    ordered = results.assign(size=-results["log2_fold_change"].abs())
    ordered = ordered.sort_values(["padj", "p_value", "size", "gene_id"])
    return ordered.drop(columns="size").head(n)


def expression_summary(expression: pd.DataFrame, *, fdr: float) -> pd.DataFrame:
    """Return genes, those found up and down, and the evidence by cell type.

    Of one contrast; where nothing was tested, nothing is found.
    """
    nothing = pd.Series(np.nan, index=expression.index)
    found = expression.get("padj", nothing) < fdr
    change = expression["log2_fold_change"]
    flags = expression[["cell_type", "evidence"]].assign(
        genes=1, up=found & (change > 0), down=found & (change < 0)
    )
    keys = ["cell_type", "evidence"]
    return flags.groupby(keys, sort=False, as_index=False).sum().astype({"genes": int})


def z_scores(
    pseudobulk: ad.AnnData, genes: list[str], *, rows: Sequence[int]
) -> pd.DataFrame:
    """Return log-CPM of `genes` (rows) by sample, scaled to mean 0 and deviation 1."""
    counts = sparse.csr_matrix(pseudobulk.X)[rows]
    depth = np.maximum(np.asarray(counts.sum(axis=1)).ravel(), 1)
    chosen = counts[:, pseudobulk.var_names.get_indexer(genes)].toarray()
    log_cpm = np.log2(1e6 * chosen / depth[:, None] + 1).T
    spread = log_cpm.std(axis=1, keepdims=True)
    scaled = (log_cpm - log_cpm.mean(axis=1, keepdims=True)) / np.where(
        spread, spread, 1
    )
    names = pseudobulk.var.loc[genes, "gene_name"].astype(str)
    samples = pseudobulk.obs["sample"].astype(str).iloc[rows]
    return pd.DataFrame(scaled, index=names, columns=samples)


def read_metrics(path: Path, names: Iterable[str]) -> pd.DataFrame:
    """Return those of the metrics `names` that a table of cells has, and `kept`."""
    wanted = {*names, "kept"}
    return pd.read_csv(path, sep="\t", usecols=lambda name: name in wanted)


def cells_by_gene(
    adata: ad.AnnData, matrix: Matrix, genes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return mean expression and percent of cells with the gene, clusters by genes.

    `matrix` is read in pieces; `adata` says what its rows and columns are.
    """
    columns = adata.var_names.get_indexer(genes)
    clusters = adata.obs["leiden"]
    names = list(clusters.cat.categories)
    member = sparse.csr_matrix(
        (np.ones(len(clusters)), (clusters.cat.codes, np.arange(len(clusters)))),
        shape=(len(names), len(clusters)),
    )
    sizes = np.maximum(np.asarray(member.sum(axis=1)), 1)
    symbols = adata.var.loc[genes, "gene_name"].astype(str).to_numpy()
    means, shares = (np.zeros((len(names), len(genes))) for _ in range(2))
    for start, stop in matrix.pieces():
        values = matrix.rows(start, stop)[:, columns].astype(float)
        part = member[:, start:stop]
        means += (part @ values).toarray()
        shares += (part @ (values > 0).astype(float)).toarray()
    return (
        pd.DataFrame(means / sizes, index=names, columns=symbols),
        pd.DataFrame(100 * shares / sizes, index=names, columns=symbols),
    )


def dot_plot_genes(markers: pd.DataFrame, *, most: int = 48) -> list[str]:
    """Return the best markers of every cluster, as many as fit, each gene once."""
    n_clusters = markers["cluster"].nunique()
    each = int(np.clip(most // max(n_clusters, 1), 1, 4))
    best = markers[markers["rank"] <= markers["rank"].min() + each - 1]
    return list(dict.fromkeys(best["gene_id"]))
