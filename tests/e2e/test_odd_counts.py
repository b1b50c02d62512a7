"""Samples of a few cells, or of cells that say nothing, through the whole line."""

import json
import os

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from running import snakemake, text_of
from scipy import sparse

from simulated_counts import Plan, make_profiles, simulate_sample

pytestmark = pytest.mark.e2e
PLAN = Plan(n_genes=1500, n_types=4, rare_shares=(0.05,), median_counts=1500)
PROFILES = make_profiles(PLAN, seed=1)
SIZES = {"none": 0, "one": 1, "three": 3, "ten": 10, "fifty": 50, "good": 300}


def sampled(name, n_cells, *, seed=1):
    """Return a sample; without cells, it has its genes all the same."""
    adata = simulate_sample(
        PLAN, PROFILES, sample=name, batch=0, n_cells=max(n_cells, 1), seed=seed
    )
    return adata[:n_cells].copy()


def alike(name, n_cells=60):
    """Return so many times one cell."""
    adata = sampled(name, n_cells)
    adata.X = sparse.vstack([adata.X[:1]] * n_cells, format="csr")
    return adata


def broken(name):
    """Return cells of which nothing is left but mitochondria."""
    adata = sampled(name, 60)
    is_mito = adata.var["is_mito"].to_numpy()
    adata.X = sparse.csr_matrix(adata.X.multiply(is_mito) * 10, dtype=np.int32)
    return adata


def run(folder, samples, **sections):
    """Run the line on counts, all of them valid input; return the folder."""
    (folder / "config").mkdir()
    rows = ["sample\tcondition\tcounts"]
    for number, (name, adata) in enumerate(samples.items()):
        adata.obs = adata.obs[[]].copy()
        adata.obs_names = adata.obs_names.str.removesuffix(f"-{name}")
        adata.write_h5ad(folder / f"{name}.h5ad")
        rows.append(f"{name}\t{'ab'[number % 2]}\t../{name}.h5ad")
    (folder / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    done = snakemake(folder, draw_figures={"formats": []}, **sections)
    assert done.returncode == 0, text_of(done)[-5000:]
    return folder


def check_sums(folder, samples):
    """Assert that every cell is in the object, or in the ledger with its reason."""
    cells = ad.read_h5ad(folder / "results/report/reads2cells.h5ad")
    for name, adata in samples.items():
        ledger = pd.read_csv(folder / f"results/cells/{name}/ledger.tsv", sep="\t")
        verdict = folder / f"results/cells/{name}/verdict.json"
        is_kept = json.loads(verdict.read_text())["verdict"] == "kept"
        start, end = ledger["remaining"].iloc[[0, -1]]
        assert start == adata.n_obs
        assert start - ledger["removed_first"].sum() == end
        in_object = (cells.obs["sample"] == name).sum()
        assert in_object == (end if is_kept else 0)
    assert (folder / "results/report/report.html").stat().st_size > 10_000
    return cells


def test_samples_of_any_size_have_a_result_of_their_own(tmp_path):
    samples = {name: sampled(name, n) for name, n in SIZES.items()}
    samples |= {"alike": alike("alike"), "broken": broken("broken")}
    folder = run(tmp_path, samples)
    cells = check_sums(folder, samples)
    kept = set(cells.obs["sample"].unique())
    assert {"fifty", "good"} <= kept
    assert not kept & {"none", "one", "three", "broken"}
    assert cells.obs["leiden"].nunique() >= 3


@pytest.mark.parametrize("name", ["nothing", "a_gene", "one_kind"])
def test_what_says_nothing_has_a_defined_result(tmp_path, name):
    adata = sampled("s", 60)
    if name == "nothing":
        adata = adata[:0].copy()
    elif name == "a_gene":
        adata = adata[:, [int(adata.X.sum(axis=0).argmax())]].copy()
    else:
        adata = alike("s")
    cells = check_sums(run(tmp_path, {"s": adata}), {"s": adata})
    assert len(cells.obs["leiden"].cat.categories) <= 1


@pytest.mark.skipif(
    not os.environ.get("MANY_SAMPLES"), reason="takes minutes: make test-many"
)
def test_sixty_samples_of_thirty_cells(tmp_path):
    samples = {f"s{n:02d}": sampled(f"s{n:02d}", 30, seed=n) for n in range(60)}
    truth = pd.concat(
        [adata.obs["true_type"].set_axis(adata.obs_names) for adata in samples.values()]
    )
    cells = check_sums(run(tmp_path, samples), samples)
    assert cells.obs["sample"].nunique() == 60
    table = pd.crosstab(cells.obs["leiden"], truth.loc[cells.obs_names])
    assert table.to_numpy().max(axis=1).sum() >= 0.95 * len(cells)
