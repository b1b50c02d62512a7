"""Types, batches, ambient RNA, doublets and dying cells planted in counts are found."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from running import snakemake, text_of
from sklearn.metrics import adjusted_rand_score

from simulated_counts import Plan, make_profiles, simulate_sample

pytestmark = pytest.mark.e2e
PLAN = Plan(
    n_genes=6000,
    median_counts=4000,
    ambient_share=0.08,
    doublet_rate=0.05,
    damaged_rate=0.03,
)
N_CELLS, N_EMPTY = 1500, 4000


def simulated(number):
    """Return all droplets of a sample that is a batch of its own."""
    return simulate_sample(
        PLAN,
        make_profiles(PLAN, seed=11),
        sample=f"s{number}",
        batch=number,
        n_cells=N_CELLS,
        seed=11 + number,
        n_empty=N_EMPTY,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Run the line on four samples in four batches, from all of their droplets."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "config").mkdir()
    rows, truth = ["sample\tbatch\tcounts"], []
    for number in range(PLAN.n_batches):
        adata = simulated(number)
        name = f"s{number}"
        truth.append(adata.obs.assign(total=np.asarray(adata.X.sum(axis=1)).ravel()))
        adata.obs = adata.obs[[]].set_axis(adata.obs_names.str.removesuffix(f"-{name}"))
        adata.write_h5ad(folder / f"{name}.h5ad")
        rows.append(f"{name}\t{number}\t../{name}.h5ad")
    (folder / "config/samples.tsv").write_text("\n".join(rows) + "\n")
    pd.concat(truth).to_csv(folder / "truth.tsv.gz", sep="\t")
    done = snakemake(folder, "results/clusters/clusters.h5ad")
    assert done.returncode == 0, text_of(done)[-5000:]
    return folder


@pytest.fixture(scope="module")
def truth(folder):
    return pd.read_csv(folder / "truth.tsv.gz", sep="\t", index_col=0)


@pytest.fixture(scope="module")
def sound(folder, truth):
    """Return the single, undamaged cells in the object, with cluster and truth."""
    obs = ad.read_h5ad(folder / "results/clusters/clusters.h5ad", backed="r").obs
    cells = truth.reindex(obs.index).assign(leiden=obs["leiden"].astype(str))
    cells = cells[cells["true_type"] != "empty"]
    is_odd = cells["is_doublet"].astype(bool) | cells["is_damaged"].astype(bool)
    return cells[~is_odd]


def test_every_type_is_a_cluster_of_its_own(sound):
    table = pd.crosstab(sound["true_type"], sound["leiden"])
    assert len(table) == PLAN.n_types
    home = table.idxmax(axis="columns")
    assert home.is_unique
    assert (table.max(axis="columns") / table.sum(axis="columns")).min() > 0.9
    # the rarest is a two-hundredth of all
    assert table.sum(axis="columns").min() < 0.008 * len(sound)


def test_no_cluster_mixes_two_types(sound):
    table = pd.crosstab(sound["leiden"], sound["true_type"])
    table = table[table.sum(axis="columns") >= 10]
    assert (table.max(axis="columns") / table.sum(axis="columns")).min() >= 0.95


def test_no_type_is_split_by_batch(sound):
    for _, cells in sound.groupby("true_type"):
        assert adjusted_rand_score(cells["batch"], cells["leiden"]) <= 0.05


def test_ambient_rna_is_found_within_two_points(folder, truth):
    for name, droplets in truth.groupby(truth.index.str.rsplit("-", n=1).str[-1]):
        found = json.loads((folder / f"results/cells/{name}/ambient.json").read_text())
        cells = droplets[droplets["true_type"] != "empty"]
        true = 100 * cells["true_ambient"] @ cells["total"] / cells["total"].sum()
        assert abs(found["contamination_percent"] - true) < 2
        assert found["low"] <= true <= found["high"]


def test_damaged_cells_and_doublets_go_and_others_stay(folder, truth):
    tables = folder.glob("results/cells/*/cell_metrics.tsv")
    cells = pd.concat([pd.read_csv(path, sep="\t", index_col=0) for path in tables])
    known = truth.reindex(cells.index)
    known = known[known["true_type"] != "empty"]
    kept = cells.loc[known.index, "kept"]
    is_doublet = known["is_doublet"].astype(bool)
    is_damaged = known["is_damaged"].astype(bool)
    assert kept[is_damaged].mean() < 0.05
    assert kept[is_doublet].mean() < 0.35
    assert kept[~is_doublet & ~is_damaged].mean() > 0.97


def test_no_cell_is_lost(folder):
    obs = ad.read_h5ad(folder / "results/clusters/clusters.h5ad", backed="r").obs
    for number in range(PLAN.n_batches):
        path = folder / f"results/cells/s{number}/ledger.tsv"
        ledger = pd.read_csv(path, sep="\t")
        start, end = ledger["remaining"].iloc[[0, -1]]
        assert start - ledger["removed_first"].sum() == end
        assert (obs["sample"] == f"s{number}").sum() == end
