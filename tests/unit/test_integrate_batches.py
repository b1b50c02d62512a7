"""Tests of the integration of batches."""

from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import linalg
from sheet_apart import taken_apart
from sklearn.metrics import adjusted_rand_score

import integrate_batches
from _shared.integration_scores import clusters, nearest
from integrate_batches import IntegrateSettings, integrated_scores, main, verdicts
from simulated_counts import Plan, make_profiles, simulate_sample

AUTO = IntegrateSettings(method="auto", batch_column="batch", label_column="")
HARMONY = replace(AUTO, method="harmony")
NONE = replace(AUTO, method="none")


@pytest.fixture
def cells():
    """Two types of cells in two batches, the second batch shifted."""
    rng = np.random.default_rng(0)
    n = 400
    batch = np.repeat(["one", "two"], n // 2)
    kind = np.tile([0, 1], n // 2)
    scores = rng.normal(size=(n, 5)).astype(np.float32)
    scores[:, 0] += 12 * kind
    scores[:, 1] += 6 * (batch == "two")
    obs = pd.DataFrame({"batch": pd.Categorical(batch), "kind": kind})
    obs.index = [f"c{i}" for i in range(n)]
    return ad.AnnData(obs=obs, obsm={"X_pca": scores})


@pytest.fixture
def integrate(tmp_path):
    def run(adata, settings=HARMONY, seed=1, threads=1):
        samples = adata.obs.get("batch", pd.Series("s", adata.obs_names))
        adata, sheet = taken_apart(
            ad.AnnData(obs=adata.obs.assign(sample=samples), obsm=adata.obsm),
            "batch",
        )
        # and one that was set aside
        sheet["none"] = dict.fromkeys(next(iter(sheet.values()), ["batch"]), "one")
        adata.write_h5ad(tmp_path / "pca.h5ad")
        main(
            pca=tmp_path / "pca.h5ad",
            integrated=tmp_path / "integrated.h5ad",
            integration=tmp_path / "integration.tsv",
            settings=settings,
            sheet=sheet,
            seed=seed,
            threads=threads,
        )
        table = pd.read_csv(tmp_path / "integration.tsv", sep="\t")
        return ad.read_h5ad(tmp_path / "integrated.h5ad"), table.set_index("method")

    return run


def planted(effect, n_cells, *, types=None, shares=None, n_types=6):
    """Return components and obs of simulated counts, one batch per number of cells.

    `types` are those that a batch may have, `shares` how many it has of each.
    """
    plan = Plan(
        n_genes=800,
        n_types=n_types,
        n_batches=len(n_cells),
        rare_shares=(),
        n_marker_genes=40,
        median_counts=1200,
        batch_effect=effect,
    )
    profiles = make_profiles(plan, seed=3)
    parts = []
    for batch, n in enumerate(n_cells):
        own = np.array(profiles.shares if shares is None else shares[batch])
        if types is not None:
            own = own * np.isin(np.arange(n_types), types[batch])
        parts.append(
            simulate_sample(
                plan,
                replace(profiles, shares=own / own.sum()),
                sample=f"s{batch}",
                batch=batch,
                n_cells=n,
                seed=4,
            )
        )
    adata = ad.concat(parts)
    counts = adata.X.toarray()
    x = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    x -= x.mean(axis=0)
    _, loadings = linalg.eigh(x.T @ x, subset_by_index=(len(x.T) - 30, len(x.T) - 1))
    return (x @ loadings).astype(np.float32), adata.obs


def found_in(scores):
    """Return clusters of the cells, for the comparison with what was planted."""
    return clusters(nearest(scores, 15)[1], seed=0, resolution=0.5)


def split_by_batch(scores, obs):
    """Return the largest ARI of clusters against batches within a type."""
    found = found_in(scores)
    return max(
        adjusted_rand_score(obs["batch"][of_type], found[of_type])
        for of_type in (obs["true_type"] == kind for kind in obs["true_type"].unique())
        if of_type.sum() >= 20 and len(obs["batch"][of_type].unique()) > 1
    )


def gap(scores, flags):
    return abs(scores[flags].mean(axis=0) - scores[~flags].mean(axis=0)).max()


def test_a_shift_between_batches_goes_and_the_types_stay(cells, integrate):
    result, table = integrate(cells)
    scores = result.obsm["X_integrated"]
    assert table["used"].to_dict() == {"none": False, "harmony": True}
    assert result.uns["integration"]["used"]
    assert result.uns["integration"]["n_batches"] == 2
    assert scores.shape == (400, 5)
    assert scores.dtype == np.float32
    assert gap(cells.obsm["X_pca"], (cells.obs["batch"] == "two").to_numpy()) > 5
    assert gap(scores, (cells.obs["batch"] == "two").to_numpy()) < 2.5
    assert gap(scores, (cells.obs["kind"] == 1).to_numpy()) > 9


@pytest.mark.parametrize("method", ["harmony", "mnn", "auto"])
def test_seed_and_threads_leave_nothing_to_chance(method, cells, integrate):
    settings = replace(AUTO, method=method)
    first, table = integrate(cells, settings)
    second, again = integrate(cells, settings, threads=2)
    assert np.array_equal(first.obsm["X_integrated"], second.obsm["X_integrated"])
    pd.testing.assert_frame_equal(table, again)


def test_all_methods_are_in_the_table_and_the_best_is_used(cells, integrate):
    result, table = integrate(cells, AUTO)
    assert list(table.index) == ["none", "harmony", "harmony_strong", "mnn"]
    assert table["used"].sum() == 1
    best = result.uns["integration"]["method"]
    assert best != "none"
    assert table.loc[best, "used"]
    assert table.loc[best, "total"] >= table["total"].max() - 0.02
    assert table["reason"].str.len().min() > 0
    expected = 0.4 * table["batch_mixing"] + 0.6 * table["biology"]
    assert table["total"].to_numpy() == pytest.approx(expected.to_numpy(), abs=1e-3)
    assert table.loc["none", "neighbors_kept"] == 1


def test_the_chosen_method_is_scored_as_it_ran_on_all_cells(
    cells, integrate, monkeypatch
):
    monkeypatch.setattr(integrate_batches, "N_COMPARED", 200)
    harmony = integrate_batches.METHODS["harmony"]

    def only_on_few(scores, batches, **how):
        return harmony(scores, batches, **how) if len(scores) < 400 else scores

    _, right = integrate(cells)
    assert right.loc["harmony", "batch_mixing"] > right.loc["none", "batch_mixing"]
    monkeypatch.setitem(integrate_batches.METHODS, "harmony", only_on_few)
    _, wrong = integrate(cells)
    assert wrong.loc["harmony", "batch_mixing"] == wrong.loc["none", "batch_mixing"]


@pytest.mark.parametrize("n_cells", [(400, 400), (90,) * 8, (1200, 60)])
@pytest.mark.parametrize("effect", [0, 0.25, 0.5])
def test_no_type_is_split_by_batch_and_none_is_lost(effect, n_cells):
    before, obs = planted(effect, n_cells)
    after, table = integrated_scores(before, obs, AUTO, seed=1, threads=1)
    best = table.loc[table["used"], "method"].item()
    assert split_by_batch(after, obs) <= 0.05
    types = obs["true_type"]
    agreement = [adjusted_rand_score(types, found_in(s)) for s in (before, after)]
    assert agreement[1] >= agreement[0] - 0.02
    if effect == 0:
        assert best == "none"
        assert np.array_equal(before, after)
    if effect == 0.5:
        assert best != "none"


@pytest.mark.parametrize("effect", [0, 0.5])
def test_different_shares_of_types_are_no_batch_effect(effect):
    shares = [(9, 6, 4, 2, 1, 1), (1, 1, 2, 4, 6, 9), (1, 4, 9, 1, 4, 9)]
    before, obs = planted(effect, (300,) * 3, shares=shares)
    after, table = integrated_scores(before, obs, AUTO, seed=1, threads=1)
    assert (table.loc[table["used"], "method"].item() == "none") == (effect == 0)
    assert split_by_batch(after, obs) <= 0.05


@pytest.mark.parametrize("effect", [0, 0.5])
@pytest.mark.parametrize(
    "types", [((0, 1, 2), (3, 4, 5)), ((0, 1), (2, 3)), ((0,), (1,))]
)
def test_types_of_one_batch_alone_are_not_put_upon_each_other(types, effect):
    before, obs = planted(effect, (300, 300), types=types)
    after, table = integrated_scores(before, obs, AUTO, seed=1, threads=1)
    assert table.loc[table["used"], "method"].item() == "none"
    assert np.array_equal(before, after)
    mnn = table.set_index("method").loc["mnn"]
    assert mnn["batch_mixing"] > 0.5
    assert "types of their own" in mnn["reason"]


def test_only_shared_types_are_joined():
    before, obs = planted(0.5, (500, 500), types=((0, 1, 2, 3), (2, 3, 4, 5)))
    after, _ = integrated_scores(before, obs, AUTO, seed=1, threads=1)
    assert split_by_batch(after, obs) <= 0.05
    found = pd.crosstab(found_in(after), obs["true_type"].to_numpy())
    pure = found.max(axis=1).sum() / len(obs)
    assert pure >= 0.95


def test_sixty_samples_of_thirty_cells():
    before, obs = planted(0.5, (30,) * 60)
    after, table = integrated_scores(before, obs, AUTO, seed=1, threads=1)
    assert "60 batches" in table.set_index("method").loc["mnn", "reason"]
    assert split_by_batch(after, obs) <= 0.05
    types = obs["true_type"]
    agreement = [adjusted_rand_score(types, found_in(s)) for s in (before, after)]
    assert agreement[1] >= agreement[0] - 0.02


def test_known_labels_are_scored_as_well(cells, integrate):
    cells.obs["sorted"] = np.where(cells.obs["kind"] == 1, "T", "B")
    _, table = integrate(cells, replace(HARMONY, label_column="sorted"))
    assert table.loc["harmony", "labels_pure"] > 0.95
    names = ["neighbors_kept", "clusters_kept", "partners_alike"]
    names += ["labels_found", "labels_pure"]
    expected = table[names].mean(axis=1).to_numpy()
    assert table["biology"].to_numpy() == pytest.approx(expected, abs=1e-3)
    _, table = integrate(cells, replace(HARMONY, label_column="absent"))
    assert "labels_pure" not in table


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda a: a, NONE, "method is none"),
        (lambda a: a, replace(AUTO, batch_column="lab"), "lab"),
        (lambda a: a[:200].copy(), AUTO, "1 value"),
        (lambda a: a[180:220].copy(), AUTO, "40 cells are too few"),
        (lambda a: a[195:205].copy(), HARMONY, "10 cells are too few"),
        (lambda a: a[:1].copy(), AUTO, "1 value"),
        (lambda a: a[:0].copy(), AUTO, "0 value"),
    ],
)
def test_where_nothing_is_integrated_the_reason_is_written(
    change, settings, reason, cells, integrate
):
    adata = change(cells)
    result, table = integrate(adata, settings)
    assert list(table.index) == ["none"]
    assert table.loc["none", "used"]
    assert reason in table.loc["none", "reason"]
    assert np.array_equal(result.obsm["X_integrated"], adata.obsm["X_pca"])
    assert not result.uns["integration"]["used"]


@pytest.mark.parametrize("n_comps", [0, 1, 3])
def test_identical_cells_are_left_alone(n_comps, cells, integrate):
    cells.obsm["X_pca"] = np.ones((400, n_comps), dtype=np.float32)
    result, table = integrate(cells, AUTO)
    assert table.loc["none", "reason"] == "The cells do not differ."
    assert result.obsm["X_integrated"].shape == (400, n_comps)


def test_a_batch_of_one_cell_and_cells_that_are_alike(cells, integrate):
    batches = cells.obs["batch"].astype(object)
    batches.iloc[0] = "alone"
    cells.obs["batch"] = pd.Categorical(batches)
    cells.obsm["X_pca"][1:150] = 0
    result, table = integrate(cells, AUTO)
    assert np.isfinite(result.obsm["X_integrated"]).all()
    assert table["total"].between(0, 1).all()


def test_a_sample_without_a_batch_stops_the_integration(cells, integrate):
    batches = cells.obs["batch"].astype(object)
    batches.iloc[:30] = np.nan
    cells.obs["batch"] = pd.Categorical(batches)
    _, table = integrate(cells)
    assert "30 cells" in table.loc["none", "reason"]


def test_a_method_that_breaks_down_is_not_used(cells, integrate, monkeypatch):
    def broken(scores, batches, *, seed, threads):
        return np.full_like(scores, np.nan)

    monkeypatch.setitem(integrate_batches.METHODS, "harmony", broken)
    result, table = integrate(cells)
    assert table.loc["none", "used"]
    assert "not finite" in table.loc["harmony", "reason"]
    assert np.array_equal(result.obsm["X_integrated"], cells.obsm["X_pca"])


def row(mixing, biology, alike=0.95):
    total = 0.4 * mixing + 0.6 * biology
    return {
        "batch_mixing": mixing,
        "biology": biology,
        "total": total,
        "partners_alike": alike,
    }


@pytest.mark.parametrize(
    ("harmony", "mnn", "best", "said"),
    [
        (row(0.9, 0.9), row(0.8, 0.9), "harmony", "Gains 0.70 in mixing"),
        (row(0.8, 0.9), row(0.9, 0.9), "mnn", "Not clearly better than mnn"),
        (row(0.87, 0.9), row(0.9, 0.9), "harmony", "Gains 0.67 in mixing"),
        (row(0.24, 1.0), row(0.2, 0.9), "none", "no better than without (+0.04)"),
        (row(0.9, 0.9, 0.6), row(0.2, 0.9), "none", "types of their own"),
        (row(0.5, 0.8), row(0.2, 0.9), "none", "biology loses 0.20: not worth it"),
        ({"method": "harmony"}, row(0.9, 0.9), "mnn", "not finite"),
    ],
)
def test_the_rule(harmony, mnn, best, said):
    rows = {"none": row(0.2, 1.0), "harmony": harmony, "mnn": mnn}
    chosen, reasons = verdicts(rows)
    assert chosen == best
    assert said in reasons["harmony"]
    assert set(reasons) == set(rows)
