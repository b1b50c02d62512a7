"""What the stages cost beside a plain way to the same result, in one session.

    python tests/benchmarks/stages.py FOLDER

FOLDER is a finished run, as `make demo` leaves it. Printed are CPU seconds of ours and
of the reference, and their ratio: below 1 is quicker. Each pair is run once to warm up
and then three times; the median counts.
"""

import argparse
import resource
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scanpy as sc
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

from _shared.counts import log_normalized  # noqa: E402
from _shared.fastq import scan_fastq  # noqa: E402
from _shared.matrices import read_mtx  # noqa: E402
from _shared.streams import Matrix  # noqa: E402
from filter_cells import quality  # noqa: E402
from find_clusters import ClusterSettings, clustered  # noqa: E402
from find_markers import MarkerSettings, best_markers  # noqa: E402
from normalize_counts import size_factors  # noqa: E402
from reduce_dimensions import principal_components  # noqa: E402
from sum_pseudobulks import summed  # noqa: E402

REPEATS = 3
Pair = tuple[Callable[[], object], Callable[[], object]]


def cpu_seconds(action: Callable[[], object]) -> float:
    """Return the median CPU time of an action, its children included."""

    def spent() -> float:
        usages = map(
            resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return sum(usage.ru_utime + usage.ru_stime for usage in usages)

    action()
    runs = []
    for _ in range(REPEATS):
        start = spent()
        action()
        runs.append(spent() - start)
    return median(runs)


def read_pairs(folder: Path) -> Pair:
    """Whole-file pass over one pair of FASTQ files, against decompression alone."""
    files = sorted(folder.glob("reads/*/*_R[12]_001.fastq.gz"))[:2]

    def plain() -> None:
        for file in files:
            subprocess.run(["gzip", "-t", str(file)], check=True)

    return lambda: [scan_fastq(file, every=25) for file in files], plain


def read_matrix(folder: Path) -> Pair:
    """Raw matrix of one sample, against scanpy's reader."""
    raw = sorted(folder.glob("results/count/*/Solo.out/*/raw"))[0]
    return lambda: read_mtx(raw), lambda: sc.read_10x_mtx(raw, var_names="gene_ids")


def measure_cells(folder: Path) -> Pair:
    """Quality of cells, against scanpy's metrics."""
    adata = ad.read_h5ad(sorted(folder.glob("results/cells/*/called.h5ad"))[0])
    return lambda: quality(adata), lambda: sc.pp.calculate_qc_metrics(
        adata, qc_vars=["is_mito"], percent_top=None
    )


def normalize(folder: Path) -> Pair:
    """Log-normalised matrix, against scanpy's two calls."""
    counts = ad.read_h5ad(folder / "results/clusters/merged.h5ad").X

    def plain() -> None:
        copy = ad.AnnData(counts.astype(np.float32))
        sc.pp.normalize_total(copy, target_sum=1e4)
        sc.pp.log1p(copy)

    def ours() -> object:
        return log_normalized(counts, size_factors(counts, target_sum=1e4))

    return ours, plain


def reduce(folder: Path) -> Pair:
    """Principal components, against scanpy's default solver."""
    path = folder / "results/clusters/variable.h5ad"
    x = ad.read_h5ad(path).X

    def ours() -> object:
        with h5py.File(path) as file:
            return principal_components(Matrix(file["X"]), n_comps=50)

    return ours, lambda: sc.pp.pca(x, n_comps=50, random_state=1)


def cluster(folder: Path) -> Pair:
    """Neighbours, Leiden and UMAP, against scanpy's defaults."""
    scores = ad.read_h5ad(folder / "results/clusters/pca.h5ad").obsm["X_pca"]
    defaults = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    settings = ClusterSettings(**defaults["find_clusters"])

    def plain() -> None:
        adata = ad.AnnData(obsm={"X_pca": scores})
        sc.pp.neighbors(adata, n_pcs=30, use_rep="X_pca")
        sc.tl.leiden(adata, flavor="igraph", directed=False)
        sc.tl.umap(adata)

    return lambda: clustered(scores, settings, seed=1), plain


def find_markers(folder: Path) -> Pair:
    """Wilcoxon markers, against scanpy's, both corrected for ties."""
    path = folder / "results/clusters/clusters.h5ad"
    adata = ad.read_h5ad(path)
    leiden, var = adata.obs["leiden"], adata.var
    labels = pd.Series("unknown", index=leiden.cat.categories)
    settings = MarkerSettings(n_genes=100, n_nearest=0)

    def ours() -> object:
        with h5py.File(path) as file:
            scores = adata.obsm["X_integrated"]
            return best_markers(
                Matrix(file["X"]), leiden, scores, labels, var, settings
            )

    return ours, lambda: sc.tl.rank_genes_groups(
        adata, "leiden", method="wilcoxon", tie_correct=True, n_genes=100
    )


def sum_pseudobulks(folder: Path) -> Pair:
    """Pseudobulks, against scanpy's aggregation."""
    path = folder / "results/report/reads2cells.h5ad"
    adata = ad.read_h5ad(path)
    labels = adata.obs["cell_type"].astype(object)

    def ours() -> object:
        with h5py.File(path) as file:
            counts = Matrix(file["layers/counts"])
            return summed(counts, adata.obs["sample"], labels)

    return ours, lambda: sc.get.aggregate(
        adata, by=["sample", "cell_type"], func="sum", layer="counts"
    )


STAGES = {
    "reads: whole-file pass / gzip -t": read_pairs,
    "count: read raw matrix / scanpy": read_matrix,
    "cells: quality / scanpy": measure_cells,
    "clusters: log-normalise / scanpy": normalize,
    "clusters: PCA / scanpy arpack": reduce,
    "clusters: graph, Leiden, UMAP / scanpy": cluster,
    "annotate: Wilcoxon / scanpy": find_markers,
    "compare: pseudobulk / scanpy": sum_pseudobulks,
}


def main() -> None:
    """Print one line per stage."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    sc.settings.verbosity = 0
    print(f"{'stage: ours / reference':40} {'ours_s':>8} {'plain_s':>8} {'ratio':>6}")
    for name, prepare in STAGES.items():
        ours, plain = map(cpu_seconds, prepare(folder))
        print(f"{name:40} {ours:8.3f} {plain:8.3f} {ours / plain:6.2f}")


if __name__ == "__main__":
    main()
