"""A small made-up results tree, all that the rules of the stage `report` read."""

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import yaml
from scipy import sparse

ROOT = Path(__file__).parents[2]
SAMPLES = ("A.1", "B-2", "001")
READ_SAMPLES = ("A.1", "B-2")
EVIL = "<script>alert(1)</script>"
TYPES = ("T cells", "B cells", "Monocytes", EVIL)
RULES = ("low_total_counts", "high_pct_counts_mt", "doublet")


def write_tsv(path: Path, table: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(path, sep="\t", index=False, float_format="%.6g")


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def config() -> dict:
    """Return the defaults of the project with a contrast and a hostile title."""
    text = (ROOT / "config" / "config.yaml").read_text()
    settings = yaml.safe_load(text)
    settings["write_report"]["title"] = f"Trial {EVIL}"
    settings["design"] = {
        "columns": ["note"],
        "numeric": [],
        "replicate": "",
        "formula": "~ condition",
        "contrasts": {"stim_vs_ctrl": ["condition", "stim", "ctrl"]},
    }
    settings["annotate_clusters"]["markers"] = "markers.tsv"
    return dict(sorted(settings.items()))


def design(samples=SAMPLES) -> dict[str, dict[str, str]]:
    levels = ("ctrl", "stim")
    return {
        name: {"condition": levels[i % 2], "note": EVIL}
        for i, name in enumerate(samples)
    }


def gene_names(i: int) -> tuple[str, str]:
    """Return id and symbol of a gene; the symbol would be a formula to matplotlib."""
    return f"GENE{i:04d}", f"Gene$_{i}$"


def clusters(
    rng, *, samples, n_cells: int, n_genes: int, n_clusters: int
) -> ad.AnnData:
    """Return an object as `find_clusters` leaves it, with groups that can be seen."""
    n = n_cells * len(samples)
    sample = np.repeat(np.array(samples, dtype=object), n_cells)
    group = np.sort(
        rng.integers(0, max(n_clusters, 1), (len(samples), n_cells))
    ).ravel()
    rate = np.full((max(n_clusters, 1), n_genes), 0.4)
    for k in range(n_clusters):
        rate[k, 6 * k : 6 * k + 6] = 6
    counts = rng.poisson(rate[group] * rng.lognormal(0, 0.3, (n, 1))).astype(np.int32)
    total = counts.sum(axis=1)
    x = np.log1p(counts / np.maximum(total, 1)[:, None] * 1e4).astype(np.float32)
    rows = design(samples)
    names = [str(k) for k in range(n_clusters)]
    obs = pd.DataFrame(
        {
            "sample": pd.Categorical(sample, categories=list(samples)),
            **{
                column: pd.Categorical([rows[s][column] for s in sample])
                for column in ("condition", "note")
            },
            "size_factor": np.maximum(total, 1) / 1e4,
            "total_counts": total,
            "n_genes_by_counts": (counts > 0).sum(axis=1),
            "pct_counts_mt": rng.gamma(2, 1.5, n).round(3),
            "complexity": rng.normal(0.88, 0.02, n).round(3),
            "pct_counts_ribo": rng.gamma(4, 4, n).round(3),
            "pct_counts_hb": np.nan,
            "doublet_score": rng.beta(1, 12, n).round(3),
            "predicted_doublet": np.zeros(n, dtype=bool),
            "leiden": pd.Categorical(group.astype(str), categories=names),
            "leiden_stability": rng.beta(9, 1, n).astype(np.float32),
        },
        index=[f"BC{i:05d}-{s}" for i, s in enumerate(sample)],
    )
    genes = pd.DataFrame(map(gene_names, range(n_genes)), columns=["id", "gene_name"])
    var = genes.set_index("id").rename_axis(None)
    angle = 2 * np.pi * group / max(n_clusters, 1)
    umap = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 6 + rng.normal(
        0, 1, (n, 2)
    )
    return ad.AnnData(
        sparse.csr_matrix(x),
        obs=obs,
        var=var,
        layers={"counts": sparse.csr_matrix(counts)},
        obsm={
            "X_pca": rng.normal(size=(n, 5)).astype(np.float32),
            "X_umap": umap.astype(np.float32),
        },
    )


def write_sample(root: Path, name: str, rng, *, obs: pd.DataFrame, kept: bool) -> None:
    """Write the files of the stages up to `cells` for one sample."""
    n_bad = 4
    bad = pd.DataFrame(
        {
            "barcode": [f"BAD{i}-{name}" for i in range(n_bad)],
            "total_counts": 5,
            "n_genes_by_counts": 4,
            "pct_counts_mt": 40.0,
            "complexity": 0.7,
            "pct_counts_ribo": 12.0,
            "pct_counts_hb": np.nan,
            "doublet_score": 0.3,
            "predicted_doublet": False,
            "kept": False,
            "reason": RULES[1],
            "reasons": RULES[1],
        }
    )
    good = obs.rename_axis("barcode").reset_index().assign(kept=True, reason="")
    cells = pd.concat([good.assign(reasons="")[list(bad)], bad], ignore_index=True)
    n = len(cells)
    reasons = RULES if kept else (*RULES, "sample_set_aside")
    taken = [0, n_bad, 0] + ([] if kept else [n - n_bad])
    left = n - np.cumsum(taken)
    if not kept:
        cells["kept"] = False
    folder = root / "results/cells" / name
    write_tsv(folder / "cell_metrics.tsv", cells)
    bounds = [
        ("total_counts", 10, np.inf, 60, 0.2, "5 MADs"),
        ("n_genes_by_counts", 8, 300, 40, 0.1, "5 MADs"),
        ("pct_counts_mt", -np.inf, 12, 3, 1, "3 MADs"),
    ]
    columns = ["metric", "lower", "upper", "median", "mad", "source"]
    table = pd.DataFrame(bounds, columns=columns)
    table.insert(0, "sample", name)
    write_tsv(folder / "thresholds.tsv", table)
    steps = ["barcodes_seen", "not_called", *reasons, "kept"]
    first = [0, 5000 - n, *taken, 0]
    table = pd.DataFrame({"sample": name, "step": steps, "removed_first": first})
    table["removed_any"] = table["removed_first"]
    table["remaining"] = [5000, n, *left, left[-1]]
    write_tsv(folder / "ledger.tsv", table)
    decision = {
        "threshold": 0.42 if n > n_bad else None,
        "threshold_source": "scrublet" if n > n_bad else "not scored",
        "expected_rate": 0.03,
        "observed_rate": 0.021,
        "n_cells": n,
    }
    if kept:
        decision |= {"method": "classifier", "automatic_rate": 0.02}
        decision |= {"expected_from": "cells recovered"}
    write_json(folder / "doublets.json", decision)
    write_json(folder / "ambient.json", ambient(name, len(obs)))
    verdict = {"sample": name, "verdict": "kept", "stage": "cells"} | {
        "reason": "",
        "hint": "",
        "warnings": [f"high_pct_counts_mt would remove 40 % of the cells {EVIL}."]
        if name == "001"
        else [],
        "nuclei": {"is_nuclei": name == "001", "by": "intronic share"},
    }
    if not kept:
        verdict |= {
            "verdict": "set_aside",
            "stage": "count",
            "reason": "Valid Barcodes is 3.1 percent",
            "hint": f"Check the chemistry {EVIL}.",
        }
    write_json(folder / "verdict.json", verdict)


def ambient(name: str, n_cells: int) -> dict:
    """Return what `correct_ambient` tells of a sample; nothing of the last one."""
    genes = [
        {"gene_id": i, "gene_name": n, "percent_of_ambient": 9.5 - 2 * k}
        for k, (i, n) in enumerate(map(gene_names, range(3)))
    ]
    found = {"sample": name, "estimated": True, "reason": "", "method": "soup"}
    found |= {"contamination_percent": 6.2, "low": 4.9, "high": 7.8}
    found |= {"n_empty_droplets": 4000, "empty_umis": 91_000, "n_cells": n_cells}
    found |= {"n_without_cell": 12, "counts_without_cell": 640}
    found |= {"used": name == "A.1", "top_genes": genes}
    if name == "001":
        found |= {"estimated": False, "reason": f"No empty droplets {EVIL}."}
        found |= {"contamination_percent": None, "low": None, "high": None}
        found |= {
            "n_empty_droplets": 0,
            "empty_umis": 0,
            "top_genes": [],
            "n_without_cell": 0,
        }
    return found


def swaps(samples) -> tuple[pd.DataFrame, dict]:
    """Return what `check_swaps` tells: two samples that share their barcodes."""
    pairs = [(a, b) for i, a in enumerate(samples) for b in samples[i + 1 :]]
    rows = [
        (a, b, "shared_barcodes", 97.0 if not n else 0.4, 20, "pass", "3 of 700.")
        for n, (a, b) in enumerate(pairs)
    ]
    rows = [(*row[:5], "warn" if row[3] > 20 else "pass", row[6]) for row in rows]
    rows += [
        (a, "", "sex_genes", 99.0 * (n % 2), np.nan, "pass", "Its genes look female.")
        for n, a in enumerate(samples)
    ]
    if len(samples) > 1:
        meaning = f"Its genes look male, declared female {EVIL}."
        rows += [(samples[0], samples[1], "sex_genes", 1.0, 80, "warn", meaning)]
    columns = ["sample", "other", "check", "value", "limit", "status", "meaning"]
    table = pd.DataFrame(rows, columns=columns)
    facts = [
        {
            "sample": a,
            "n_cells": 700,
            "percent_cells_xist": 40.0 * (n % 2),
            "percent_cells_y": 35.0 * (1 - n % 2),
            "percent_xist": 99.0 * (n % 2) if n < 2 else None,
            "sex_found": ("male", "female")[n % 2],
            "sex_declared": "female",
            "species_counts": {},
        }
        for n, a in enumerate(samples)
    ]
    apart = [
        {"sample": a, "other": b, "value": 0.02 + 0.1 * i}
        for i, (a, b) in enumerate(pairs)
    ]
    skipped = [{"check": "species_mix", "sample": "", "reason": f"No species {EVIL}."}]
    evidence = {"n_warnings": 2, "samples": facts, "not_checked": skipped}
    return table.sort_values("status", ascending=False), evidence | {"distances": apart}


def resolutions(n_clusters: int, n_cells: int) -> dict[str, pd.DataFrame]:
    """Return what `find_clusters` tells of its choice; empty tables for one cluster."""
    grid = [0.1, 0.2, 0.4, 0.8, 1.6]
    numbers = [max(1, n_clusters + step) for step in (-2, -1, 0, 2, 5)]
    table = pd.DataFrame({"resolution": grid, "n_clusters": numbers})
    table["stability"] = [0.99, 0.97, 0.95, 0.7, 0.4]
    table["stable_cells_percent"] = [100, 100, 97.5, 61, 20]
    table["chosen"] = table["resolution"] == 0.4
    stable = pd.DataFrame({"cluster": [str(k) for k in range(n_clusters)]})
    stable["n_cells"] = n_cells // max(n_clusters, 1)
    stable["stability"] = np.linspace(0.99, 0.6, n_clusters)
    tree = [
        (
            r,
            str(k),
            n_cells // n,
            str(k * numbers[level - 1] // n) if level else "",
            0.97,
        )
        for level, (r, n) in enumerate(zip(grid, numbers, strict=True))
        for k in range(n)
    ]
    columns = ["resolution", "cluster", "n_cells", "parent", "share"]
    doublets = pd.DataFrame(
        {
            "cluster": stable["cluster"],
            "parent_1": "0",
            "parent_2": "1",
            "n_genes": 3,
            "flagged": [k == 2 for k in range(n_clusters)],
            "reason": "raised scores, between both",
        }
    )
    if n_clusters < 2:
        table, tree, doublets = table.iloc[:0], [], doublets.iloc[:0]
    return {
        "resolutions": table,
        "cluster_stability": stable,
        "cluster_tree": pd.DataFrame(tree, columns=columns),
        "cluster_doublets": doublets,
    }


def by_resolution(leiden: pd.Series, numbers: pd.Series) -> np.ndarray:
    """Return a cluster of every cell for each number of clusters, a column each."""
    code, turn = leiden.cat.codes.to_numpy(int), np.arange(len(leiden)) % 3
    n = len(leiden.cat.categories)
    levels = [
        code * wanted // n if wanted <= n else np.minimum(code + n * turn, wanted - 1)
        for wanted in numbers
    ]
    return np.stack(levels, axis=1).astype(np.int32)


def write_reads(root: Path, name: str, *, kept: bool) -> None:
    """Write the files of the stages `reads` and `count` for one sample."""

    def metric(title, value, status, limit, unit="percent"):
        return {
            "title": title,
            "value": value,
            "unit": unit,
            "status": status,
            "limit": limit,
            "meaning": "Low when the chemistry is wrong.",
        }

    limit = "warn below 75, fail below 50"
    metrics = {
        "valid_barcodes": metric("Valid Barcodes", 94.6, "pass", limit)
        if kept
        else metric("Valid Barcodes", 3.1, "fail", limit),
        "umis_in_cells": metric("UMIs in Cells", 61.5, "warn", limit),
        "saturation": metric("Sequencing Saturation", None, "pass", None),
        "n_cells": metric("Cells", 1234, "pass", "warn below 100", unit="cells"),
    }
    rank = np.unique(np.logspace(0, 4.5, 300).astype(int))
    counts = 9000 / (1 + (rank / 900) ** 3) + 40 * np.exp(-rank / 2e4)
    ranks = pd.DataFrame({"rank": rank, "total_counts": counts.astype(int)})
    ranks["is_cell_share"] = np.clip(2 - rank / 900, 0, 1)
    write_json(root / f"results/count/{name}/metrics.json", metrics)
    write_tsv(root / f"results/count/{name}/barcode_ranks.tsv", ranks)
    calling = {"n_called": 904, "barcodes_seen": 5000, "evidence": ["knee at 900"]}
    write_json(root / f"results/count/{name}/calling.json", calling)
    callers = {"caller": ["EmptyDrops_CR", "CellRanger2.2"], "chosen": [True, False]}
    callers |= {"settings": ["fdr 0.01", "0.99 10"], "n_cells": [904, 880]}
    callers |= {"n_shared": [904, 880], "jaccard": [1.0, 0.973]}
    callers |= {"median_umi_counts_per_cell": [2100, 2180]}
    write_tsv(root / f"results/count/{name}/callers.tsv", pd.DataFrame(callers))
    depth = np.geomspace(0.1, 4, 9)
    saturation = {"share": depth, "mean_reads_per_cell": 20_000 * depth}
    saturation["source"] = np.where(depth < 1, "thinned", "extrapolated")
    saturation["sequencing_saturation"] = 100 * (1 - np.exp(-depth / 2))
    saturation["median_genes_per_cell"] = 2500 * (1 - np.exp(-depth))
    write_tsv(root / f"results/count/{name}/saturation.tsv", pd.DataFrame(saturation))
    looked_up = {"chemistry": "10x_3p_v3", "whitelist": "3M-february-2018"}
    looked_up |= {"orientation": "forward", "n_looked_up": 100_000, "n_hits": 94_600}
    facts = {"sample": name, "evidence": [{**looked_up, "share": 0.946, "verdict": ""}]}
    write_json(root / f"results/reads/{name}/inspection.json", facts)


def reads_row(name: str) -> dict:
    """Return what `summarize_reads` tells of a sample."""
    return {
        "sample": name,
        "verdict": "good",
        "chemistry": "10x_3p_v3",
        "named_by": "reads",
        "hit_rate": 0.946,
        "barcode_read_length": "28",
        "cdna_read_length": "90-91",
        "strand": "Forward",
        "strand_by": "reads",
        "sense_share": 0.97,
        "n_reads": 1_250_000,
        "stage": "",
        "reason": "",
        "hint": "",
        "warnings": "",
    }


def differential(adata: ad.AnnData, rng, types) -> pd.DataFrame:
    tables = []
    for name in types:
        n = adata.n_vars
        change, p_value = rng.normal(0, 1, n), rng.uniform(0.01, 1, n)
        change[:6] = [3, -3, 2.5, -2, 4, 2]
        p_value[:6] = [0, 1e-30, 1e-20, 1e-12, 1e-9, 1e-8]
        padj = np.minimum(p_value * 10, 1)
        padj[-3:] = np.nan
        tables.append(
            pd.DataFrame(
                {
                    "cell_type": name,
                    "contrast": "stim_vs_ctrl",
                    "gene_id": adata.var_names,
                    "gene_name": adata.var["gene_name"].to_numpy(),
                    "evidence": "tested",
                    "base_mean": rng.gamma(2, 30, n),
                    "log2_fold_change": change,
                    "log2_fold_change_shrunken": 0.9 * change,
                    "lfc_se": 0.2,
                    "statistic": change / 0.2,
                    "p_value": p_value,
                    "padj": padj,
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def write_run(root: Path, adata: ad.AnnData, rng, *, contrasts: bool) -> None:
    """Write the files of the stages from `clusters` to `compare`."""
    results = root / "results"
    for folder in ("clusters", "annotate", "compare", "report"):
        (results / folder).mkdir(parents=True, exist_ok=True)
    integration = pd.DataFrame(
        {
            "method": ["none", "harmony"],
            "used": [True, False],
            "batch_mixing": [0.61, 0.66],
            "biology": [0.92, 0.81],
            "total": [0.796, 0.75],
            "seconds": [0.0, 3.2],
            "reason": ["mixed well without a correction", f"loses biology {EVIL}"],
        }
    )
    write_tsv(results / "clusters/integration.tsv", integration)
    names = list(adata.obs["leiden"].cat.categories)
    evidence = resolutions(len(names), adata.n_obs)
    for name, table in evidence.items():
        write_tsv(results / f"clusters/{name}.tsv", table)
    if len(numbers := evidence["resolutions"]["n_clusters"]):
        levels = by_resolution(adata.obs["leiden"], numbers)
        adata.obsm["leiden_by_resolution"] = levels
    adata.write_h5ad(results / "clusters/clusters.h5ad")
    labels = [TYPES[i % len(TYPES)] if i < 5 else "unknown" for i in range(len(names))]
    annotation = pd.DataFrame(
        {
            "cluster": names,
            "n_cells": adata.obs["leiden"].value_counts(sort=False).to_numpy(),
            "cell_type": labels,
            "ontology_id": "CL:0000084",
            "confidence": 0.8,
            "agreement": 0.95,
            "score": 0.91,
            "runner_up": "NK cells",
            "runner_up_score": 0.22,
            "methods": "markers",
            "evidence": "CD3E,CD2",
        }
    )
    write_tsv(results / "annotate/annotation.tsv", annotation)
    cells = pd.DataFrame({"cell": adata.obs_names, "cell_label": "T cells"})
    cells["cluster"] = adata.obs["leiden"].to_numpy()
    types_of = dict(zip(names, labels, strict=True))
    cells["cell_type"] = adata.obs["leiden"].astype(str).map(types_of).to_numpy()
    cells["cell_confidence"] = 0.7
    write_tsv(results / "annotate/cell_labels.tsv.gz", cells)
    columns = "cluster rank gene_id gene_name score log2_fold_change p_value padj"
    rows = [
        (
            name,
            r + 1,
            *gene_names(6 * k + r),
            20.5 - r,
            3.25,
            1e-9,
            1e-7,
            88.0,
            9.5,
            0.97,
        )
        for k, name in enumerate(names if len(names) > 1 else [])
        for r in range(min(12, adata.n_vars - 6 * k))
    ]
    markers = pd.DataFrame(rows, columns=[*columns.split(), "pct_in", "pct_out", "auc"])
    markers = markers.assign(nearest="1", nearest_rank=1, nearest_score=9.5)
    markers = markers.assign(nearest_log2_fold_change=1.5, nearest_auc=0.88)
    write_tsv(results / "annotate/markers.tsv", markers)

    label_of = dict(zip(names, labels, strict=True))
    cell_type = adata.obs["leiden"].astype(str).map(label_of).astype(object)
    key = pd.DataFrame(
        {"sample": adata.obs["sample"].astype(str), "cell_type": cell_type}
    )
    sizes = key.groupby(["sample", "cell_type"], sort=False).size().rename("n_cells")
    obs = sizes.reset_index()
    where = [
        ((key["sample"] == s) & (key["cell_type"] == t)).to_numpy()
        for s, t in zip(obs["sample"], obs["cell_type"], strict=True)
    ]
    counts = adata.layers["counts"].toarray()
    x = np.array([counts[w].sum(axis=0) for w in where]).reshape(len(obs), adata.n_vars)
    rows = design()
    for column in ("condition", "note"):
        obs[column] = [rows.get(s, {}).get(column, "") for s in obs["sample"]]
    obs.index = [
        f"{s}:{t}" for s, t in zip(obs["sample"], obs["cell_type"], strict=True)
    ]
    bulk = ad.AnnData(sparse.csr_matrix(x), obs=obs, var=adata.var)
    bulk.write_h5ad(results / "compare/pseudobulk.h5ad")

    types = list(dict.fromkeys(labels))[:2] if contrasts and len(adata) else []
    tested = differential(adata, rng, ["none"])
    tested = differential(adata, rng, types) if types else tested.iloc[:0]
    write_tsv(results / "compare/expression.tsv", tested)
    untested = pd.DataFrame(
        {
            "cell_type": ["Monocytes"],
            "contrast": ["stim_vs_ctrl"],
            "reason": [f"1 sample per group, 2 are needed {EVIL}."],
        }
    )
    write_tsv(results / "compare/expression_untested.tsv", untested)
    shares = obs[["sample", "cell_type", "n_cells"]].copy()
    shares["share"] = shares["n_cells"] / shares.groupby("sample")["n_cells"].transform(
        "sum"
    )
    write_tsv(results / "compare/composition_shares.tsv", shares)
    composition = pd.DataFrame(
        {
            "cell_type": types,
            "contrast": "stim_vs_ctrl",
            "share_tested": 0.4,
            "share_reference": 0.1,
            "evidence": "tested",
            "log2_ratio": 1.2,
            "log2_ratio_se": 0.2,
            "ci_low": 0.8,
            "ci_high": 1.6,
            "statistic": 6.0,
            "p_value": 0.001,
            "padj": 0.004,
        }
    )
    write_tsv(results / "compare/composition.tsv", composition)
    nothing = pd.DataFrame({"cell_type": [], "contrast": [], "reason": []})
    write_tsv(results / "compare/composition_untested.tsv", nothing)
    finding = {"status": "warn", "contrast": "stim_vs_ctrl", "finding": f"Weak {EVIL}."}
    write_tsv(results / "compare/design.tsv", pd.DataFrame([finding]))
    of_types = markers.rename(columns={"cluster": "cell_type"})
    write_tsv(results / "annotate/cell_type_markers.tsv", of_types)
    for name, table in beyond_genes(types, adata).items():
        folder = "annotate" if name == "marker_sets" else "compare"
        write_tsv(results / f"{folder}/{name}.tsv", table)


def beyond_genes(types: list[str], adata: ad.AnnData) -> dict[str, pd.DataFrame]:
    """Return what is told of gene sets, regulators, modules and bulk samples."""
    first = {"cell_type": types[:1], "contrast": "stim_vs_ctrl", "evidence": "tested"}
    p_values = {"p_value": 0.001, "padj": 0.01}
    sets = {**first, "collection": "own", "gene_set": f"SET {EVIL}", "n_genes": 12}
    sets |= {"es": 0.5, "nes": 1.9, **p_values, "leading_edge": "Gene$_1$,Gene$_2$"}
    acting = {**first, "network": "own", "source": f"REG {EVIL}", "n_targets": 9}
    acting |= {"activity": 4.2, **p_values, "top_targets": "Gene$_3$"}
    tests = {**first, "module": "M1", "effect": 0.8, "se": 0.1, **p_values}
    ids = list(adata.var_names[:6])
    modules = pd.DataFrame({"gene_id": ids, "module": ["M1"] * 3 + ["M2"] * 3})
    modules["gene_name"] = adata.var["gene_name"][:6].to_numpy()
    modules["cell_type"] = types[0] if types else ""
    modules["connectivity"] = 2.0
    modules["is_hub"] = [True, False, False] * 2
    edges = pd.DataFrame({"source": ids[:2], "target": ids[1:3], "weight": 0.6})
    edges["kind"] = ["correlation", "regulation"]
    edges["cell_type"] = types[0] if types else ""
    n = len(types[:1])
    bulk = {"sample": ["A.1"], "bulk_sample": ["A.1"], "pearson": 0.9, "spearman": 0.9}
    bulk |= {"spearman_centered": 0.5, "n_genes": 900, "is_best_match": True}
    untested = {"cell_type": "", "contrast": "", "reason": ["No sets are given."]}
    keys = {"collection": "own", "gene_set": ["FEW", "FEWER"]}
    skipped = pd.DataFrame({"cell_type": "", "contrast": "", **keys, "reason": "few"})
    return {
        "gene_sets": pd.DataFrame(sets, index=range(n)),
        "gene_sets_untested": skipped,
        "activities": pd.DataFrame(acting, index=range(n)),
        "activities_untested": pd.DataFrame(untested),
        "modules": modules if n else modules.iloc[:0],
        "module_tests": pd.DataFrame(tests, index=range(n)),
        "network_edges": edges if n else edges.iloc[:0],
        "networks_untested": pd.DataFrame({"cell_type": ["B"], "reason": "3 cells"}),
        "bulk_samples": pd.DataFrame(bulk).iloc[:n],
        "marker_sets": pd.DataFrame(columns=["cluster", "gene_set"]),
    }


def write_tree(
    root: Path,
    *,
    set_aside: tuple[str, ...] = ("B-2",),
    read_samples: tuple[str, ...] = READ_SAMPLES,
    samples: tuple[str, ...] = SAMPLES,
    n_cells: int = 30,
    n_genes: int = 40,
    n_clusters: int = 4,
    contrasts: bool = True,
    seed: int = 0,
) -> Path:
    """Write the whole tree below `root` and return it."""
    rng = np.random.default_rng(seed)
    kept = tuple(name for name in samples if name not in set_aside)
    size = {"n_genes": n_genes, "n_clusters": n_clusters if kept else 0}
    adata = clusters(rng, samples=kept, n_cells=n_cells, **size)
    for name in samples:
        obs = adata.obs[adata.obs["sample"].astype(str) == name]
        if name not in kept:
            obs = clusters(
                rng, samples=(name,), n_cells=9, n_genes=n_genes, n_clusters=1
            ).obs
        write_sample(root, name, rng, obs=obs, kept=name in kept)
    for name in read_samples:
        write_reads(root, name, kept=name in kept)
    if read_samples:
        table = pd.DataFrame([reads_row(name) for name in read_samples])
        write_tsv(root / "results/reads/reads.tsv", table)
    write_run(root, adata, rng, contrasts=contrasts)
    table, evidence = swaps(samples)
    write_tsv(root / "results/cells/swaps.tsv", table)
    write_json(root / "results/cells/swaps.json", evidence)
    write_json(root / "reference.json", {"warnings": ["9 genes have no name."]})
    (root / "samples.tsv").write_text(
        "sample\tcondition\tnote\n"
        + "".join(f"{s}\t{r['condition']}\t{r['note']}\n" for s, r in design().items())
    )
    return root


def report_arguments(
    root: Path, *, read_samples=READ_SAMPLES, samples=SAMPLES, settings=None
) -> dict:
    """Return the arguments of `write_report.main` for a tree, settings left out."""
    results = root / "results"
    own = ("verdict.json", "doublets.json", "cell_metrics.tsv", "thresholds.tsv")
    own += ("ambient.json",)
    files = {
        name: {Path(f).stem: results / "cells" / name / f for f in (*own, "ledger.tsv")}
        for name in samples
    }
    for name in read_samples:
        files[name] |= {
            "metrics": results / f"count/{name}/metrics.json",
            "calling": results / f"count/{name}/calling.json",
            "callers": results / f"count/{name}/callers.tsv",
            "saturation": results / f"count/{name}/saturation.tsv",
            "ranks": results / f"count/{name}/barcode_ranks.tsv",
            "inspection": results / f"reads/{name}/inspection.json",
        }
    places = {
        "markers": "annotate",
        "annotation": "annotate",
        "integration": "clusters",
        "swaps": "cells",
    }
    of_clusters = ("resolutions", "cluster_stability", "cluster_tree")
    places |= dict.fromkeys((*of_clusters, "cluster_doublets"), "clusters")
    names = ("expression", "composition", "composition_shares")
    names += ("expression_untested", "composition_untested")
    names += ("gene_sets", "gene_sets_untested", "activities", "activities_untested")
    names += ("modules", "module_tests", "network_edges", "networks_untested")
    places |= dict.fromkeys((*names, "bulk_samples"), "compare")
    places |= dict.fromkeys(("cell_type_markers", "marker_sets"), "annotate")
    tables = {n: results / place / f"{n}.tsv" for n, place in places.items()}
    tables["judged"] = results / "compare/design.tsv"
    return {
        "sample_files": files,
        "tables": tables,
        "swaps_evidence": results / "cells/swaps.json",
        "cells": results / "report/reads2cells.h5ad",
        "pseudobulk": results / "compare/pseudobulk.h5ad",
        "design": design(samples),
        "sheets": [root / "samples.tsv"],
        "reference": [root / "reference.json"] if read_samples else [],
        "reads_table": results / "reads/reads.tsv" if read_samples else None,
        "page": results / "report/report.html",
        "config": settings or config(),
    }
