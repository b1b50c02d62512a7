"""What the way from clusters to conclusions costs: labels, markers, tests.

    python tests/benchmarks/conclusions.py FOLDER [--cells 500000] [--cores 2]

Clusters with a planted truth are simulated into FOLDER/<cells>: 20,000 genes, about
2,000 of them detected per cell, 20 types, 20 donors in 2 conditions each (40 samples).
In one type, genes differ between the conditions, and its share of the cells does.
The line is what Snakemake runs from `annotate_clusters` to `test_composition`, its own
start included. After it the same is done as by hand (scanpy's Wilcoxon test, sums by
scanpy), of a tenth of the cells: more does not fit in memory, so its time counts ten
times.
"""

import argparse
import shutil
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in ("tests/demo", "scripts")]

from measure import cost_by_rule, watched  # noqa: E402

from _shared.streams import CsrWriter, new_h5ad, read_tables, write_h5ad  # noqa: E402
from simulated_counts import (  # noqa: E402
    Plan,
    Profiles,
    make_profiles,
    simulate_sample,
)

RULES = ["annotate_clusters", "find_markers", "sum_pseudobulks"]
RULES += ["test_expression", "test_composition"]
TARGETS = ["annotate/markers.tsv", "annotate/cell_type_markers.tsv"]
TARGETS += ["compare/expression.tsv", "compare/composition.tsv"]
MADE = ["results/annotate", "results/compare", "logs", "benchmarks", ".snakemake"]
PLAN = Plan(n_types=20, n_batches=1, median_counts=3_800)
N_DONORS = 20
# of natural logarithms: donors differ so in every gene
DONOR_SD = 0.2
# what is planted in a type: genes, their log2 fold change, the share's log2 change
CHANGED, N_CHANGED, FOLD, SHIFT = 3, 300, 1.0, 1.0
SEED = 7


def changed_genes() -> np.ndarray:
    """Return the signs of the planted changes, 0 for genes that do not change."""
    rng = np.random.default_rng(SEED)
    signs = np.zeros(PLAN.n_genes)
    chosen = rng.choice(np.arange(100, PLAN.n_genes), N_CHANGED, replace=False)
    signs[chosen] = rng.choice([-1, 1], N_CHANGED)
    return signs


def profiles_of(donor: int, *, is_stim: bool) -> Profiles:
    """Return the base profiles of a sample."""
    base = make_profiles(PLAN, seed=SEED)
    rng = np.random.default_rng([SEED, donor])
    kinds = base.types * np.exp(rng.normal(0, DONOR_SD, PLAN.n_genes))
    shares = base.shares * np.exp(rng.normal(0, 0.2, PLAN.n_types))
    if is_stim:
        kinds[CHANGED] *= 2 ** (FOLD * changed_genes())
        shares[CHANGED] *= 2**SHIFT
    kinds /= kinds.sum(axis=-1, keepdims=True)
    return Profiles(
        types=kinds,
        mito=base.mito,
        ambient=base.ambient,
        shares=shares / shares.sum(),
        markers=base.markers,
    )


def simulated(folder: Path, number: int, n_cells: int) -> Path:
    """Write one sample as `clusters.h5ad` has its cells."""
    donor, is_stim = number // 2, bool(number % 2)
    sample = f"d{donor:02d}_{'stim' if is_stim else 'ctrl'}"
    profiles = profiles_of(donor, is_stim=is_stim)
    adata = simulate_sample(
        PLAN, profiles, sample=sample, batch=0, n_cells=n_cells, seed=SEED + number
    )
    kind = adata.obs["true_type"].str.removeprefix("type_").astype(int).to_numpy()
    rng = np.random.default_rng([SEED, number, 1])
    centers = np.random.default_rng(SEED).normal(0, 5, (PLAN.n_types, 10))
    adata.obsm["X_integrated"] = centers[kind] + rng.normal(0, 1, (n_cells, 10))
    adata.obs = pd.DataFrame(
        {
            "sample": sample,
            "condition": "stim" if is_stim else "ctrl",
            "donor": f"d{donor:02d}",
            "leiden": kind.astype(str),
        },
        index=adata.obs_names,
    )
    path = folder / f"{sample}.h5ad"
    write_h5ad(adata, path)
    return path


def simulate(folder: Path, *, n_cells: int, cores: int) -> None:
    """Write `clusters.h5ad`, the sheet and the marker table."""
    parts, config = folder / "parts", folder / "config"
    for path in (parts, config, folder / "results/clusters"):
        path.mkdir(parents=True)
    n_samples = 2 * N_DONORS
    sizes = np.diff(np.linspace(0, n_cells, n_samples + 1).astype(int)).tolist()
    with ProcessPoolExecutor(cores) as pool:
        paths = list(pool.map(partial(simulated, parts), range(n_samples), sizes))
    obs, components = [], []
    with new_h5ad(folder / "results/clusters/clusters.h5ad") as out:
        # both layers side by side: one pass over the samples
        writers = [
            CsrWriter(out, "X", n_columns=PLAN.n_genes, dtype=np.dtype("float32")),
            CsrWriter(
                out["layers"],
                "counts",
                n_columns=PLAN.n_genes,
                dtype=np.dtype("int32"),
            ),
        ]
        for path in paths:
            adata = ad.read_h5ad(path)
            counts = sparse.csr_matrix(adata.X)
            totals = np.asarray(counts.sum(axis=1)).ravel()
            levels = counts.astype(np.float32)
            levels.data *= np.repeat(1e4 / totals, np.diff(counts.indptr)).astype("f4")
            np.log1p(levels.data, out=levels.data)
            writers[0].append(levels)
            writers[1].append(counts)
            obs.append(adata.obs.astype(object))
            components.append(adata.obsm["X_integrated"])
        for writer in writers:
            writer.close()
        table = pd.concat(obs)
        table["leiden"] = pd.Categorical(
            table["leiden"], categories=[str(k) for k in range(PLAN.n_types)]
        )
        for name in ("sample", "condition", "donor"):
            table[name] = table[name].astype("category")
        # the sheet has the others
        ad.io.write_elem(out, "obs", table.drop(columns=["condition", "donor"]))
        ad.io.write_elem(out, "var", adata.var[["gene_name"]])
        ad.io.write_elem(out, "obsm", {"X_integrated": np.vstack(components)})
    shutil.rmtree(parts)
    samples = table.drop_duplicates("sample")
    rows = [f"{s}\t{c}\t{d}\tnone.h5ad" for s, c, d in samples.iloc[:, :3].to_numpy()]
    sheet = ["sample\tcondition\tdonor\tcounts", *rows]
    (config / "samples.tsv").write_text("\n".join(sheet) + "\n")
    (config / "none.h5ad").touch()
    markers = make_profiles(PLAN, seed=SEED).markers
    lines = ["cell_type\tgene\tdirection"]
    for kind in range(PLAN.n_types):
        only = markers[kind] & (markers.sum(axis=0) == 1)
        names = adata.var["gene_name"][only][:20]
        lines += [f"type_{kind}\t{gene}\tup" for gene in names]
    (config / "markers.tsv").write_text("\n".join(lines) + "\n")
    (config / "config.yaml").write_text(
        "annotate_clusters: {markers: config/markers.tsv}\n"
        "design:\n"
        '  formula: "~ donor + condition"\n'
        "  contrasts: {stim: [condition, stim, ctrl]}\n"
    )


def by_hand(source: Path, out: Path) -> None:
    """Take markers and pseudobulks of every tenth cell, as one does in a notebook."""
    import scanpy as sc

    adata = ad.read_h5ad(source, backed="r")[::10].to_memory()
    sc.tl.rank_genes_groups(adata, "leiden", method="wilcoxon", pts=True)
    bulk = sc.get.aggregate(adata, ["sample", "leiden"], func="sum", layer="counts")
    bulk.write_h5ad(out)


def found(folder: Path) -> str:
    """Return how well the planted changes were found."""
    labels = pd.read_csv(
        folder / "results/annotate/annotation.tsv", sep="\t", dtype=str
    )
    right = (labels["cell_type"] == "type_" + labels["cluster"]).sum()
    shares = pd.read_csv(folder / "results/compare/composition.tsv", sep="\t")
    moved = shares.loc[shares["padj"] < 0.05, "cell_type"].tolist()
    table = pd.read_csv(folder / "results/compare/expression.tsv", sep="\t")
    signs = changed_genes()
    names = np.array([f"G{n:05d}" for n in range(PLAN.n_genes)])
    # "all" is a mixture of types, so that whatever moves there is no false finding
    table = table[table["cell_type"] != "all"]
    is_planted = table["gene_id"].isin(names[signs != 0])
    is_planted &= table["cell_type"] == f"type_{CHANGED}"
    is_called = table["padj"] < 0.05
    able = is_called[is_planted & (table["base_mean"] >= 50)]
    return (
        f"{right} of {len(labels)} clusters labelled right; {len(table)} tests, "
        f"{is_called.sum()} below padj 0.05, of them {(is_called & ~is_planted).sum()} "
        f"not planted; power at mean count 50 and more {able.mean():.1%}; shares that "
        f"moved: {', '.join(moved)} (planted: type_{CHANGED})"
    )


def main() -> None:
    """Print time and memory, by rule and in all, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cells", type=int, default=500_000)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--memory", type=float, default=20, help="GB for a run")
    parser.add_argument("--by-hand", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    folder = (arguments.folder / str(arguments.cells)).resolve()
    clusters = folder / "results/clusters/clusters.h5ad"
    if arguments.by_hand:
        by_hand(clusters, folder / "by_hand.h5ad")
        return
    if not clusters.exists() or not (folder / "config/config.yaml").exists():
        shutil.rmtree(folder, ignore_errors=True)
        simulate(folder, n_cells=arguments.cells, cores=arguments.cores)
    print(f"{read_tables(clusters).n_obs} cells", file=sys.stderr)
    for name in MADE:
        shutil.rmtree(folder / name, ignore_errors=True)
    command = [sys.executable, "-m", "snakemake", "--directory", str(folder)]
    command += ["--snakefile", str(ROOT / "Snakefile"), "--cores", str(arguments.cores)]
    command += [f"results/{name}" for name in TARGETS]
    command += ["--allowed-rules", *RULES]
    line = watched(command, memory=arguments.memory, cwd=folder)
    hand = watched(
        [
            *(sys.executable, __file__, str(arguments.folder.resolve())),
            *("--by-hand", "--cells", str(arguments.cells)),
        ],
        memory=arguments.memory,
        cwd=folder,
    )
    head = ["wall_s", "cpu_s", "peak_gb", "largest_gb"]
    print(f"{arguments.cells:,} cells".ljust(24), *(f"{name:>11}" for name in head))
    for name, run in (("line", line), ("by hand, a tenth", hand)):
        numbers = (run.wall, run.cpu, run.peak, run.largest)
        print(name.ljust(24), *(f"{n:11.1f}" for n in numbers), run.failed)
    if not line.failed:
        print(cost_by_rule(folder).round(1).to_string())
        print(found(folder))


if __name__ == "__main__":
    main()
