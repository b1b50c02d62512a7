"""Tests of the integration of batches."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from integrate_batches import IntegrateSettings, main

HARMONY = IntegrateSettings(method="harmony", batch_column="batch")


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
    def run(adata, settings=HARMONY, seed=1):
        adata.write_h5ad(tmp_path / "pca.h5ad")
        main(
            pca=tmp_path / "pca.h5ad",
            integrated=tmp_path / "integrated.h5ad",
            integration=tmp_path / "integration.tsv",
            settings=settings,
            seed=seed,
        )
        table = pd.read_csv(tmp_path / "integration.tsv", sep="\t")
        return ad.read_h5ad(tmp_path / "integrated.h5ad"), table.iloc[0]

    return run


def gap(scores, flags):
    return abs(scores[flags].mean(axis=0) - scores[~flags].mean(axis=0)).max()


def test_a_shift_between_batches_goes_and_the_types_stay(cells, integrate):
    result, report = integrate(cells)
    scores = result.obsm["X_integrated"]
    assert report["used"]
    assert report["n_batches"] == 2
    assert scores.shape == (400, 5)
    assert gap(cells.obsm["X_pca"], (cells.obs["batch"] == "two").to_numpy()) > 5
    assert gap(scores, (cells.obs["batch"] == "two").to_numpy()) < 2.5
    assert gap(scores, (cells.obs["kind"] == 1).to_numpy()) > 9


def test_the_same_seed_gives_the_same_scores(cells, integrate):
    first, _ = integrate(cells)
    second, _ = integrate(cells)
    assert np.array_equal(first.obsm["X_integrated"], second.obsm["X_integrated"])


@pytest.mark.parametrize(
    ("change", "settings", "reason"),
    [
        (lambda a: a, IntegrateSettings(method="none", batch_column="batch"), "none"),
        (lambda a: a, IntegrateSettings(method="harmony", batch_column="lab"), "lab"),
        (lambda a: a[:200].copy(), HARMONY, "1 value"),
        (lambda a: a[180:220].copy(), HARMONY, "40 cells are too few"),
        (lambda a: a[:0].copy(), HARMONY, "0 value"),
    ],
)
def test_where_nothing_is_integrated_the_reason_is_written(
    change, settings, reason, cells, integrate
):
    adata = change(cells)
    result, report = integrate(adata, settings)
    assert not report["used"]
    assert reason in report["reason"]
    assert np.array_equal(result.obsm["X_integrated"], adata.obsm["X_pca"])
    assert not result.uns["integration"]["used"]


def test_a_sample_without_a_batch_stops_the_integration(cells, integrate):
    batches = cells.obs["batch"].astype(object)
    batches.iloc[:30] = np.nan
    cells.obs["batch"] = pd.Categorical(batches)
    _, report = integrate(cells)
    assert "30 cells" in report["reason"]
