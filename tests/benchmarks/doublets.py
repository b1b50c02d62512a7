"""How well doublets are found, beside plain Scrublet, over ten simulated samples.

    python tests/benchmarks/doublets.py [--seeds 10] [--hashing FOLDER]

Plain Scrublet is scanpy's with its defaults and the true share of doublets as the
expected one; the line is told the same share. Samples have 300 to 5,000 cells with 2 to
15 % of doublets, 12 types with two of 0.5 and 1 %, damaged cells and ambient RNA.

AUROC of all doublets, of those of two types, and of those of one type; F1 of the cells
called; and the percentage of single cells that are called, of the two rare types and of
the others. CPU seconds with imports done. With `--hashing`, also the AUROC on cells
whose doublets are known by their hashtags: a folder with a 10x matrix and cells.tsv.gz.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
from scipy import io, sparse
from sklearn.metrics import f1_score, roc_auc_score

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests/demo"), str(ROOT / "scripts")]

from score_doublets import DoubletSettings, score  # noqa: E402
from simulated_counts import Plan, make_profiles, simulate_sample  # noqa: E402

SIZES = (300, 500, 800, 1000, 1500, 2000, 2500, 3000, 4000, 5000)
RATES = (0.02, 0.05, 0.08, 0.15, 0.10, 0.04, 0.12, 0.06, 0.03, 0.09)


def simulated(seed: int) -> ad.AnnData:
    """Return the sample of a seed with its truth."""
    plan = Plan(
        doublet_rate=RATES[seed % len(RATES)], damaged_rate=0.03, ambient_share=0.05
    )
    return simulate_sample(
        plan,
        make_profiles(plan, seed=seed),
        sample=f"s{seed}",
        batch=0,
        n_cells=SIZES[seed % len(SIZES)],
        seed=seed,
    )


def plain_scrublet(adata: ad.AnnData, *, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return score and call per cell of scanpy's Scrublet with its defaults."""
    counts = ad.AnnData(adata.X.astype(np.float32))
    sc.pp.scrublet(counts, expected_doublet_rate=rate, random_state=0, verbose=False)
    called = counts.obs.get("predicted_doublet", pd.Series(False, counts.obs_names))
    return counts.obs["doublet_score"].to_numpy(), called.to_numpy(dtype=bool)


def this_line(adata: ad.AnnData, *, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return score and call per cell of the workflow's default."""
    settings = DoubletSettings(
        method="classifier",
        percent_per_1000_cells=100 * rate / (adata.n_obs / 1000),
        threshold=None,
    )
    table, _ = score(adata, settings, seed=0)
    return table["doublet_score"].to_numpy(), table["predicted_doublet"].to_numpy()


METHODS: dict[str, Callable] = {"scrublet": plain_scrublet, "line": this_line}


def judged(adata: ad.AnnData, method: str) -> dict:
    """Return the figures of a method on a sample with truth."""
    obs = adata.obs
    truth = obs["is_doublet"].to_numpy()
    start = time.process_time()
    scores, called = METHODS[method](adata, rate=truth.mean())
    seconds = time.process_time() - start
    one_type = truth & (obs["true_type"] == obs["true_second_type"]).to_numpy()
    rare = obs["true_type"].isin(["type_10", "type_11"]).to_numpy()
    row = {"auroc": roc_auc_score(truth, scores), "f1": f1_score(truth, called)}
    for name, some in (("two_types", truth & ~one_type), ("one_type", one_type)):
        known = some | ~truth
        row[f"auroc_{name}"] = (
            roc_auc_score(truth[known], scores[known]) if some.any() else np.nan
        )
    for name, some in (("rare", rare), ("common", ~rare)):
        row[f"n_single_{name}"] = (some & ~truth).sum()
        row[f"n_false_{name}"] = (some & ~truth & called).sum()
    return row | {"called": called.mean(), "cpu": seconds}


def hashed(folder: Path) -> dict[str, float]:
    """Return the AUROC of each method on hashtagged cells, without the untagged."""
    counts = sparse.csr_matrix(io.mmread(folder / "matrix.mtx.gz").T, dtype=np.int32)
    kind = pd.read_csv(folder / "cells.tsv.gz", sep="\t")["hto_classification_global"]
    truth, known = (kind == "Doublet").to_numpy(), (kind != "Negative").to_numpy()
    adata = ad.AnnData(counts)
    return {
        name: roc_auc_score(truth[known], method(adata, rate=truth.mean())[0][known])
        for name, method in METHODS.items()
    }


def main() -> None:
    """Print a table of all samples, the means, and in how many the line is better."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--hashing", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    # what is compiled at the first call is no part of the comparison
    plain_scrublet(simulated(0), rate=0.02)
    rows = []
    for seed in range(arguments.seeds):
        adata = simulated(seed)
        for method in METHODS:
            truth = {"seed": seed, "cells": adata.n_obs}
            truth["doublets"] = adata.obs["is_doublet"].mean()
            rows.append(truth | {"method": method} | judged(adata, method))
    table = pd.DataFrame(rows)
    print(table.round(3).to_string(index=False))
    by_method = table.groupby("method", sort=False)
    means = by_method[["auroc", "auroc_two_types", "auroc_one_type", "f1"]].mean()
    sums = by_method[[c for c in table if c.startswith("n_")]].sum()
    for of in ("rare", "common"):
        means[f"false_{of}_%"] = 100 * sums[f"n_false_{of}"] / sums[f"n_single_{of}"]
    means["cpu"] = by_method["cpu"].sum()
    print("\nmean over the samples\n" + means.round(3).to_string())
    plain, line = (table[table["method"] == name].set_index("seed") for name in METHODS)
    for figure in ("auroc", "f1"):
        better = int((line[figure] > plain[figure]).sum())
        print(f"{figure} better than plain Scrublet in {better} of {len(line)} samples")
    print(
        f"CPU time of plain Scrublet / the line: {plain['cpu'].sum():.0f} s / ", end=""
    )
    print(f"{line['cpu'].sum():.0f} s")
    if arguments.hashing:
        print("AUROC on hashtagged cells:", hashed(arguments.hashing))


if __name__ == "__main__":
    main()
