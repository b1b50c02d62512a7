"""How far the tests between conditions can be trusted, on simulated cohorts.

    python tests/benchmarks/expression_truth.py [--seeds 20] [--cells] [--pydeseq2]

Cells of two conditions with four donors each, 50 to 500 of each type per sample, depths
that differ threefold, a dispersion between donors of 0.05 to 0.4, and effects of 1 to 2
log2 units in a tenth of the genes of one type. Printed are the share of false findings
at an adjusted p-value of 0.05, the power for genes of 50 counts and more, and what is
found where there is nothing: in types that do not respond, and with permuted labels.
`--cells`: also by a Wilcoxon test that takes cells for replicates; `--pydeseq2`: also
by PyDESeq2 with its own filters and apeGLM shrinkage (which takes minutes).
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse, stats

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/demo"), str(ROOT / "scripts")]

from _shared.design import read_design  # noqa: E402
from _shared.quasi_likelihood import size_factors  # noqa: E402
from simulated_cohorts import Plan, gene_table, sample_sheet, simulate_cohort  # noqa: E402
from test_expression import ExpressionSettings, compare  # noqa: E402

SETTINGS = ExpressionSettings(
    method="quasi_likelihood", min_cells=10, min_samples=2, min_counts=2, fdr=0.05
)
FORMULAS = {"paired": "~ donor + condition", "unpaired": "~ condition"}
# with fewer counts in a pseudobulk on average, a gene is not part of the power
ENOUGH = 50
# what must hold of the workflow's test on average; unpaired, no test could do it
MOST_FALSE, LEAST_POWER = 0.07, 0.8
RESPONDS, STILL = "type_0", "type_1"


def design_of(kind: str):
    """Return the design of a cohort, paired or unpaired."""
    return read_design(
        {
            "formula": FORMULAS[kind],
            "contrasts": {"stim": ["condition", "stim", "ctrl"]},
            "columns": [],
            "numeric": [],
            "replicate": "donor",
        }
    )


def bulk_of(cells: ad.AnnData, sheet: pd.DataFrame) -> ad.AnnData:
    """Return the pseudobulks of the cells of each type and sample of the sheet."""
    parts, rows = [], []
    for cell_type in cells.obs["cell_type"].cat.categories:
        for sample in sheet.index:
            own = (cells.obs["sample"] == sample) & (
                cells.obs["cell_type"] == cell_type
            )
            parts.append(cells.layers["counts"][own.to_numpy()].sum(axis=0))
            rows.append((sample, cell_type, own.sum(), *sheet.loc[sample]))
    obs = pd.DataFrame(rows, columns=["sample", "cell_type", "n_cells", *sheet])
    obs.index = obs.index.astype(str)
    return ad.AnnData(
        sparse.csr_matrix(np.vstack(parts)), obs=obs, var=cells.var[["gene_name"]]
    )


def this_line(bulk: ad.AnnData, cells: ad.AnnData, kind: str) -> pd.DataFrame:
    """Return the table of the workflow's own test."""
    return compare(bulk, design_of(kind), SETTINGS)[0]


def cell_level(bulk: ad.AnnData, cells: ad.AnnData, kind: str) -> pd.DataFrame:
    """Return what a Wilcoxon test finds that takes cells for replicates."""
    condition = bulk.obs.drop_duplicates("sample").set_index("sample")["condition"]
    tables = []
    for cell_type, of_type in this_line(bulk, cells, kind).groupby("cell_type"):
        own = cells[(cells.obs["cell_type"] == cell_type).to_numpy()]
        genes = cells.var_names.get_indexer(of_type["gene_id"])
        counts = own.layers["counts"]
        totals = np.asarray(counts.sum(axis=1))
        x = np.log1p(counts[:, genes].toarray() / totals.reshape(-1, 1) * 1e4)
        stim = (own.obs["sample"].map(condition) == "stim").to_numpy()
        p = stats.mannwhitneyu(x[stim], x[~stim], method="asymptotic").pvalue
        p = np.nan_to_num(p, nan=1)
        found = {"p_value": p, "padj": stats.false_discovery_control(p)}
        tables.append(of_type.assign(**found))
    return pd.concat(tables)


def pydeseq2(bulk: ad.AnnData, cells: ad.AnnData, kind: str) -> pd.DataFrame:
    """Return PyDESeq2's table, with its own filters and shrinkage."""
    from pydeseq2.dds import DeseqDataSet
    from pydeseq2.ds import DeseqStats

    tables = []
    for cell_type, of_type in this_line(bulk, cells, kind).groupby("cell_type"):
        own = bulk[(bulk.obs["cell_type"] == cell_type).to_numpy(), of_type["gene_id"]]
        counts = pd.DataFrame(own.X.toarray().astype(int), own.obs_names, own.var_names)
        fit = DeseqDataSet(
            counts=counts, metadata=own.obs, design=FORMULAS[kind], quiet=True, n_cpus=1
        )
        fit.deseq2()
        contrast = ["condition", "stim", "ctrl"]
        table = DeseqStats(fit, contrast=contrast, alpha=0.05, quiet=True, n_cpus=1)
        table.summary()
        plain = table.results_df
        of_type = of_type.set_index("gene_id")
        of_type["p_value"] = plain["pvalue"].fillna(1)
        of_type["padj"] = plain["padj"].fillna(1)
        of_type["log2_fold_change"] = plain["log2FoldChange"].copy()
        table.lfc_shrink(coeff="condition[T.stim]")
        of_type["log2_fold_change_shrunken"] = table.results_df["log2FoldChange"]
        tables.append(of_type.reset_index())
    return pd.concat(tables)


def judged(table: pd.DataFrame, truth: pd.DataFrame, depth: pd.Series) -> Iterator:
    """Yield the figures of each cell type; `depth` is the mean count by type, gene."""
    for cell_type, own in table.groupby("cell_type"):
        effect = truth["log2_fold_change"].reindex(own["gene_id"]).to_numpy()
        effect = effect * (cell_type == RESPONDS)
        found = (own["padj"] < SETTINGS.fdr).to_numpy()
        is_null = effect == 0
        keys = pd.MultiIndex.from_product([[cell_type], own["gene_id"]])
        deep = ~is_null & (depth.reindex(keys) >= ENOUGH).to_numpy()
        p = own["p_value"].to_numpy()[is_null]
        yield {
            "cell_type": cell_type,
            "genes": len(own),
            "found": found.sum(),
            "false": (found & is_null).sum(),
            "fdr": (found & is_null).sum() / max(found.sum(), 1),
            "power": found[deep].mean() if deep.any() else np.nan,
            "p<0.01": (p < 0.01).mean(),
            "p<0.05": (p < 0.05).mean(),
            "ks_p": stats.kstest(p, "uniform").pvalue,
            "rmse": rmse(own["log2_fold_change"], effect),
            "rmse_shrunken": rmse(own["log2_fold_change_shrunken"], effect),
        }


def rmse(found: pd.Series, true: np.ndarray) -> float:
    """Return the root of the mean squared error."""
    return float(np.sqrt(np.mean((found.to_numpy() - true) ** 2)))


def permuted(sheet: pd.DataFrame, kind: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return the sheet with half of the labels exchanged, so that nothing is true.

    Of pairs, two of four are turned round; else two of four samples of either side
    change it. Real effects are then in both groups alike.
    """
    labels = sheet["condition"].to_numpy(dtype=object).copy()
    if kind == "paired":
        donors = sheet["donor"].unique()
        turned = sheet["donor"].isin(rng.permutation(donors)[: len(donors) // 2])
        swap = {"ctrl": "stim", "stim": "ctrl"}
        labels[turned] = [swap[label] for label in labels[turned]]
    else:
        for label, other in (("ctrl", "stim"), ("stim", "ctrl")):
            own = rng.permutation(np.flatnonzero(sheet["condition"] == label))
            labels[own[: len(own) // 2]] = other
    return sheet.assign(condition=labels)


def all_figures(seeds: range, methods: dict[str, Callable]) -> pd.DataFrame:
    """Return the figures of every cohort, cell type and method."""
    rows = []
    for seed in seeds:
        for kind in FORMULAS:
            plan = Plan(n_types=2, paired=kind == "paired")
            cells, sheet = simulate_cohort(plan, seed=seed), sample_sheet(plan)
            shuffled = permuted(sheet, kind, np.random.default_rng(seed))
            for labels, of in (("true", sheet), ("permuted", shuffled)):
                bulk = bulk_of(cells, of)
                depth = depths(bulk)
                truth = cells.var
                if labels == "permuted":
                    truth = truth.assign(log2_fold_change=0.0)
                for name, method in methods.items():
                    start = time.process_time()
                    table = method(bulk, cells, kind)
                    seconds = time.process_time() - start
                    keys = {"method": name, "design": kind, "labels": labels}
                    rows += [
                        keys | {"seed": seed} | row | {"cpu_s": seconds / 2}
                        for row in judged(table, truth, depth)
                    ]
    return pd.DataFrame(rows)


def depths(bulk: ad.AnnData) -> pd.Series:
    """Return the mean count of each type and gene, by size factors of its samples."""
    found = {}
    for cell_type in bulk.obs["cell_type"].unique():
        own = (bulk.obs["cell_type"] == cell_type).to_numpy()
        counts = bulk.X[own].toarray().astype(float)
        scaled = counts / size_factors(counts)[:, None]
        found[cell_type] = pd.Series(scaled.mean(axis=0), index=bulk.var_names)
    return pd.concat(found)


def summary(table: pd.DataFrame) -> str:
    """Return the means over the seeds, and the share of seeds that look uniform."""
    table = table.assign(**{"ks_p>0.01": table["ks_p"] > 0.01})
    keys = ["labels", "cell_type", "design", "method"]
    means = table.drop(columns=["seed", "ks_p"]).groupby(keys, sort=False).mean()
    return means.round(4).sort_index(level=[0, 1, 2], ascending=False).to_string()


def attainable(n_donors: int, seeds: range) -> float:
    """Return the power, unpaired, of a normal test that knows every dispersion."""
    powers = []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        plan = Plan(n_donors=n_donors)
        genes = gene_table(plan, rng)
        cells = np.sqrt(plan.min_cells * plan.max_cells)
        mean = genes["share"].to_numpy() * plan.median_counts * cells
        variance = 2 / n_donors * (genes["dispersion"].to_numpy() + 1 / mean)
        effect = genes["log2_fold_change"].to_numpy()
        z = effect * np.log(2) / np.sqrt(variance) + rng.normal(size=len(genes))
        kept = mean >= SETTINGS.min_counts
        padj = stats.false_discovery_control(2 * stats.norm.sf(np.abs(z[kept])))
        deep = (effect != 0)[kept] & (mean[kept] >= ENOUGH)
        powers.append((padj[deep] < SETTINGS.fdr).mean())
    return float(np.mean(powers))


def failures(table: pd.DataFrame) -> list[str]:
    """Return what the workflow's test promises and did not keep."""
    own = table[(table["method"] == "line") & (table["labels"] == "true")]
    own = own[own["cell_type"] == RESPONDS].groupby("design")
    fdr, power = own["fdr"].mean(), own["power"].mean()
    told = [f"{kind}: {x:.3f} of the findings false" for kind, x in fdr.items()]
    bad = [text for text, x in zip(told, fdr, strict=True) if x > MOST_FALSE]
    return bad + [f"power {power['paired']:.3f}"] * int(power["paired"] < LEAST_POWER)


def main() -> None:
    """Print the means over the seeds; fail where the test does not keep its word."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--pydeseq2", action="store_true")
    parser.add_argument("--cells", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    methods = {"line": this_line}
    if arguments.cells:
        methods["cells"] = cell_level
    if arguments.pydeseq2:
        methods["pydeseq2"] = pydeseq2
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    table = all_figures(seeds, methods)
    print(summary(table))
    for n_donors in (4, 6, 8):
        power = attainable(n_donors, range(20))
        print(f"attainable power, unpaired, {n_donors} donors per side: {power:.3f}")
    if bad := failures(table):
        sys.exit("; ".join(bad))


if __name__ == "__main__":
    main()
