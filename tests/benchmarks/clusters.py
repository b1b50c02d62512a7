"""What the way from counts to clusters costs beside scanpy's tutorial, in one session.

    python tests/benchmarks/clusters.py FOLDER --cells 100000 [--cores 2] [--repeats 1]

Counts with a planted truth are simulated into FOLDER/<cells>: 20,000 genes, about 2,000
of them detected per cell, 12 types with two rare ones, 4 batches, samples of at most
25,000 cells, doublets and damaged cells among them. The line is what Snakemake runs
from `load_cells` to `join_clusters`, its own start included. The canonical script takes
the steps of scanpy's clustering tutorial with their defaults in one process. They are
run in turns; wall times and ratios are of medians.

Memory is the resident memory of all processes at once, and of the largest one, looked
up five times a second. A run beyond `--memory` GB is ended and reported as such.
"""

import argparse
import json
import os
import shutil
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/demo", "scripts")]

from measure import Run, cost_by_rule, watched  # noqa: E402

from simulated_counts import Plan, make_profiles, simulate_sample  # noqa: E402

TARGET = "results/clusters/clusters.h5ad"
MOST_PER_SAMPLE = 25_000
PLAN = Plan(median_counts=3_800, doublet_rate=0.05, damaged_rate=0.03)
SEED = 4
# what a run makes; all of it goes before the next one
MADE = ("results", "logs", "benchmarks", ".snakemake")


def simulate(folder: Path, *, n_cells: int, cores: int) -> None:
    """Write counts, sample sheet and truth of so many cells."""
    n_samples = PLAN.n_batches * -(-n_cells // (PLAN.n_batches * MOST_PER_SAMPLE))
    sizes = np.diff(np.linspace(0, n_cells, n_samples + 1).astype(int))
    for name in ("counts", "config"):
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor(cores) as pool:
        write = partial(write_sample, folder)
        truth = list(pool.map(write, range(n_samples), sizes.tolist()))
    rows = [f"{t['sample'].iloc[0]}\t{t['batch'].iloc[0]}" for t in truth]
    rows = [f"{row}\t../counts/{row.split()[0]}.h5ad" for row in rows]
    sheet = "\n".join(["sample\tbatch\tcounts", *rows]) + "\n"
    (folder / "config/samples.tsv").write_text(sheet)
    pd.concat(truth).to_csv(folder / "truth.tsv.gz", sep="\t")


def write_sample(folder: Path, number: int, n_cells: int) -> pd.DataFrame:
    """Write the counts of a sample, and return the truth by its cells' names."""
    sample = f"s{number:02d}"
    adata = simulate_sample(
        PLAN,
        make_profiles(PLAN, seed=SEED),
        sample=sample,
        batch=number % PLAN.n_batches,
        n_cells=n_cells,
        seed=SEED + number,
    )
    truth = adata.obs
    adata.obs = truth[[]].set_axis(truth.index.str.removesuffix(f"-{sample}"))
    adata.write_h5ad(folder / f"counts/{sample}.h5ad")
    print(f"{sample}: {n_cells} cells", file=sys.stderr)
    return truth


def canonical(folder: Path, out: Path) -> None:
    """Take the steps of scanpy's tutorial "Preprocessing and clustering"."""
    import scanpy as sc

    seconds, last = {}, time.perf_counter()

    def done(step: str) -> None:
        nonlocal last
        now = time.perf_counter()
        seconds[step], last = now - last, now
        # what was reached stays readable when the memory does not suffice
        out.with_suffix(".json").write_text(json.dumps(seconds))

    samples = {path.stem: ad.read_h5ad(path) for path in sorted(folder.glob("*.h5ad"))}
    adata = ad.concat(samples, label="sample", merge="same", index_unique="-")
    del samples
    done("read")
    adata.var["mt"] = adata.var["gene_name"].str.startswith("MT-")
    adata.var["ribo"] = adata.var["gene_name"].str.startswith(("RPS", "RPL"))
    adata.var["hb"] = adata.var["gene_name"].str.contains("^HB[^(P)]")
    sc.pp.calculate_qc_metrics(
        adata, qc_vars=["mt", "ribo", "hb"], inplace=True, log1p=True
    )
    sc.pp.filter_cells(adata, min_genes=100)
    sc.pp.filter_genes(adata, min_cells=3)
    done("quality")
    sc.pp.scrublet(adata, batch_key="sample")
    done("scrublet")
    adata.layers["counts"] = adata.X.copy()
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    done("normalize")
    sc.pp.highly_variable_genes(adata, n_top_genes=2000, batch_key="sample")
    done("variable genes")
    sc.tl.pca(adata)
    done("pca")
    sc.pp.neighbors(adata)
    done("neighbors")
    sc.tl.umap(adata)
    done("umap")
    sc.tl.leiden(adata, flavor="igraph", n_iterations=2)
    done("leiden")
    adata.write_h5ad(out)
    done("write")


def run_line(folder: Path, *, cores: int, memory: float) -> Run:
    """Run what Snakemake needs for the clusters."""
    for name in MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    command += ["--directory", str(folder), "--cores", str(cores), TARGET]
    return watched(command, memory=memory, cwd=folder)


def run_canonical(folder: Path, *, memory: float) -> Run:
    """Run the tutorial's steps in a process of their own."""
    command = [
        sys.executable,
        str(Path(__file__).resolve()),
        str(folder),
        "--canonical",
    ]
    return watched(command, memory=memory, cwd=folder)


def agreement(cells: pd.DataFrame, truth: pd.DataFrame) -> dict[str, float]:
    """Compare clusters with the planted types: single, undamaged cells alone."""
    known = truth.reindex(cells.index)
    sound = ~(known["is_doublet"] | known["is_damaged"]).to_numpy(dtype=bool)
    clusters = cells.loc[sound, "leiden"].astype(str)
    known = known[sound]
    within = [
        adjusted_rand_score(of["batch"], clusters[of.index])
        for _, of in known.groupby("true_type")
    ]
    return {
        "cells": len(cells),
        "clusters": cells["leiden"].nunique(),
        "ari": adjusted_rand_score(known["true_type"], clusters),
        "worst_ari_batch": max(within),
    }


def main() -> None:
    """Print time and memory of both, their ratios, and how well the types are found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--memory", type=float, default=24, help="GB for a run")
    parser.add_argument("--only", choices=["line", "canonical"])
    parser.add_argument("--canonical", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.canonical:
        canonical(arguments.folder / "counts", arguments.folder / "canonical.h5ad")
        return

    folder = (arguments.folder / str(arguments.cells)).resolve()
    if not (folder / "truth.tsv.gz").exists():
        shutil.rmtree(folder, ignore_errors=True)
        simulate(folder, n_cells=arguments.cells, cores=arguments.cores)
    truth = pd.read_csv(folder / "truth.tsv.gz", sep="\t", index_col=0)
    limit = {"memory": arguments.memory}
    actions = {
        "line": lambda: run_line(folder, cores=arguments.cores, **limit),
        "canonical": lambda: run_canonical(folder, **limit),
    }
    results = {"line": folder / TARGET, "canonical": folder / "canonical.h5ad"}
    if arguments.only:
        actions = {arguments.only: actions[arguments.only]}
    runs: dict[str, list[Run]] = {name: [] for name in actions}
    for _ in range(arguments.repeats):
        for name, action in actions.items():
            results[name].unlink(missing_ok=True)
            runs[name].append(action())
            print(name, runs[name][-1], file=sys.stderr)

    head = ["wall_s", "cpu_s", "peak_gb", "largest_gb"]
    print(f"{arguments.cells:,} cells".ljust(16), *(f"{name:>11}" for name in head))
    table = {}
    for name, of in runs.items():
        table[name] = [
            median(getattr(run, what) for run in of)
            for what in ("wall", "cpu", "peak", "largest")
        ]
        note = next((run.failed for run in of if run.failed), "")
        print(name.ljust(16), *(f"{value:11.1f}" for value in table[name]), note)
    if len(table) == 2:
        ratios = np.divide(table["line"], table["canonical"])
        print("ratio".ljust(16), *(f"{ratio:11.3f}" for ratio in ratios))
    for name, path in results.items():
        if name in runs and not runs[name][-1].failed:
            cells = ad.read_h5ad(path, backed="r").obs
            values = agreement(cells, truth).items()
            print(f"{name}:", ", ".join(f"{key} {value:.4g}" for key, value in values))
    if "line" in runs and not runs["line"][-1].failed:
        print(cost_by_rule(folder).round(1).to_string())
    steps = folder / "canonical.json"
    if "canonical" in runs and steps.exists():
        seconds = json.loads(steps.read_text())
        text = ", ".join(f"{step} {value:.1f}" for step, value in seconds.items())
        print("canonical, seconds by step:", text)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    main()
