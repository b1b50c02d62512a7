"""Planted ambient RNA is found and taken away, or said to be unknown."""

import json

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from running import ROOT
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from _shared.ambient import (
    corrected_counts,
    doublets,
    empty_droplets,
    estimate_share,
    largest_empty,
    quick_clusters,
    reassigned,
)
from _shared.calling import call_barcodes
from _shared.cell_callers import CallSettings
from _shared.counts import row_sums
from _shared.logs import UserError
from correct_ambient import AmbientSettings, main
from simulated_counts import Plan, make_profiles, simulate_sample

TYPES = Plan(n_genes=2000, n_types=6, rare_shares=(0.03,), median_counts=4000)

CALLING = CallSettings(
    **yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]
)


def droplets(plan, *, n_cells=800, n_empty=2000, seed=1):
    return simulate_sample(
        plan,
        make_profiles(plan, seed=seed),
        sample="s",
        batch=0,
        n_cells=n_cells,
        seed=seed,
        n_empty=n_empty,
    )


def planted(share, **changes):
    fields = {name: getattr(TYPES, name) for name in Plan.__dataclass_fields__}
    return Plan(**fields | {"ambient_share": share} | changes)


def write(folder, adata, *, method="EmptyDrops_CR"):
    """Write what the rule reads; return main's arguments."""
    is_cell = (adata.obs["true_type"] != "empty").to_numpy()
    adata.write_h5ad(folder / "raw.h5ad")
    cells = adata[is_cell].copy()
    cells.write_h5ad(folder / "called.h5ad")
    table = pd.DataFrame({"barcode": cells.obs_names})
    table.to_csv(folder / "called.tsv", sep="\t", index=False)
    (folder / "calling.json").write_text(json.dumps({"method_used": method}))
    return {
        "sources": {
            "cells": str(folder / "called.h5ad"),
            "calling": str(folder / "calling.json"),
            "barcodes": str(folder / "called.tsv"),
            "counts": str(folder / "raw.h5ad"),
        },
        "sample": "s",
        "feature": "Gene",
        "settings": AmbientSettings(use=False, method="droplets"),
        "corrected": folder / "ambient.h5ad",
        "decision": folder / "ambient.json",
        "seed": 1,
    }


def results_of(arguments):
    main(**arguments)
    found = json.loads(arguments["decision"].read_text())
    return found, ad.read_h5ad(arguments["corrected"])


@pytest.mark.parametrize("share", [0.02, 0.05, 0.1, 0.2])
def test_a_planted_share_is_found_within_two_points(share, tmp_path):
    plan = planted(share, doublet_rate=0.05, damaged_rate=0.05)
    adata = droplets(plan)
    found, corrected = results_of(write(tmp_path, adata))
    cells = adata[(adata.obs["true_type"] != "empty").to_numpy()]
    totals = row_sums(cells.X)
    true = 100 * (cells.obs["true_ambient"] @ totals) / totals.sum()
    assert found["estimated"]
    assert abs(found["contamination_percent"] - true) < 2
    assert found["low"] - 1 <= true <= found["high"]
    assert found["n_cells"] == 800
    assert found["empty_umis"] > 5000
    assert not found["used"]
    # the same genes and cells; whole numbers, none negative, none more than before
    assert list(corrected.obs_names) == list(cells.obs_names)
    assert list(corrected.var_names) == list(cells.var_names)
    assert corrected.X.dtype.kind == "i"
    assert corrected.X.min() >= 0
    assert (cells.X - corrected.X).min() >= 0
    removed = 100 * (1 - corrected.X.sum() / totals.sum())
    assert removed == pytest.approx(found["contamination_percent"], rel=0.15)
    # shallow cells have a larger share, each near its own
    each = corrected.obs["ambient_percent"].to_numpy()
    true_each = 100 * cells.obs["true_ambient"].to_numpy()
    assert np.corrcoef(each, true_each)[0, 1] > 0.5
    # droplets differ by a fifth in how much soup they hold
    assert np.median(np.abs(each - true_each)) < 1 + 15 * share


def other_types(share, *, by_depth, n=600, seed=1):
    """Return counts of types that lack each other's genes wholly, and the soup's.

    The soup is the same share of every cell, or (`by_depth`) the same amount.
    """
    rng = np.random.default_rng(seed)
    n_types, n_genes = 5, 2000
    profiles = np.exp(rng.normal(0, 1.5, n_genes)) * np.exp(
        rng.normal(0, 0.3, (n_types, n_genes))
    )
    markers = rng.permutation(n_genes)[:500].reshape(n_types, 100)
    for kind, genes in enumerate(markers):
        profiles[:, genes] = 0
        profiles[kind, genes] = np.exp(rng.normal(1.5, 0.5, 100))
    profiles /= profiles.sum(axis=1, keepdims=True)
    kinds = rng.integers(0, n_types, n)
    soup = profiles[kinds].mean(axis=0)
    depth = rng.lognormal(np.log(3000), 0.4, n)
    amount = np.full(n, depth.mean()) if by_depth else depth
    amount = amount * share / (1 - share)
    own = rng.poisson(profiles[kinds] * depth[:, None])
    ambient = rng.poisson(amount[:, None] * soup)
    empty = rng.poisson(200_000 * soup).astype(float)
    return own, ambient, empty, kinds, markers


@pytest.mark.parametrize("by_depth", [False, True])
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_genes_that_a_type_lacks_tell_the_share_either_way(share, by_depth):
    own, ambient, empty, kinds, markers = other_types(share, by_depth=by_depth)
    counts = sparse.csr_matrix(own + ambient)
    is_mito = np.zeros(counts.shape[1], dtype=bool)
    clusters = quick_clusters(counts, seed=1)
    found = estimate_share(
        counts, clusters, empty, is_mito=is_mito, largest_empty=100, seed=1
    )
    true = ambient.sum() / counts.sum()
    assert abs(found.value - true) < 0.02
    assert found.low <= true <= found.high
    assert found.high - found.low < 0.06
    kept, _ = corrected_counts(
        counts, clusters, empty, share=true, is_mito=is_mito, seed=1
    )
    kept = kept.toarray()
    for kind, genes in enumerate(markers):
        here, others = kinds == kind, kinds != kind
        # markers go from where they do not belong, and stay where they do
        assert (
            kept[np.ix_(others, genes)].sum()
            < 0.2 * ambient[np.ix_(others, genes)].sum()
        )
        assert kept[np.ix_(here, genes)].sum() == pytest.approx(
            own[np.ix_(here, genes)].sum(), rel=0.03
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"ambient_share": 0.1},
        {"ambient_share": 0.2},
        {"ambient_share": 0.2, "marker_effect": 2.5, "median_counts": 2000},
    ],
)
def test_types_that_differ_little_beside_much_soup(changes):
    # large droplets of soup are called, and two types differ less than cells of one do
    # by their depth
    plan = Plan(doublet_rate=0.05, damaged_rate=0.03, **changes)
    adata = droplets(plan, n_cells=3000, n_empty=10_000)
    totals = row_sums(adata.X)
    is_called = call_barcodes(adata.X, CALLING, seed=1).is_cell
    is_cell = (adata.obs["true_type"] != "empty").to_numpy()
    is_mito = adata.var["is_mito"].to_numpy()
    empty = adata.X[empty_droplets(totals, is_called)].sum(axis=0)
    cells = adata.X[is_called]
    clusters = quick_clusters(cells[:, ~is_mito], seed=1)
    found = estimate_share(
        cells,
        clusters,
        np.asarray(empty, dtype=float).ravel(),
        is_mito=is_mito,
        largest_empty=largest_empty(totals, is_called),
        seed=1,
    )
    here = is_called & is_cell
    true = adata.obs["true_ambient"][here] @ totals[here] / totals[here].sum()
    assert abs(found.value - true) < 0.02
    assert found.low <= true <= found.high
    types = adata.obs["true_type"][here]
    assert adjusted_rand_score(types, clusters[is_cell[is_called]]) > 0.6
    if plan.ambient_share > 0.1:
        assert (is_called & ~is_cell).sum() > 200
        assert found.n_without_cell > 0.6 * (is_called & ~is_cell).sum()
        below = totals[is_called] < found.counts_without_cell
        assert 0.8 < below[~is_cell[is_called]].mean() < 1
        assert below[is_cell[is_called]].mean() < 0.1


def test_a_few_large_barcodes_that_were_not_called_are_no_soup():
    totals = np.concatenate([np.full(300, 9000), [7000, 6000], np.full(500, 800)])
    assert largest_empty(totals, np.arange(len(totals)) < 300) == 800
    assert largest_empty(totals[:300], np.ones(300, dtype=bool)) == 0


def test_mixtures_of_two_types_are_told_from_single_cells():
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet(np.full(500, 0.5), 3)
    pairs = np.repeat([[0, 0], [1, 1], [2, 2], [0, 1]], [100, 100, 100, 20], axis=0)
    mixed = pairs[:, 0] != pairs[:, 1]
    depth = np.where(mixed, 4000, rng.integers(1500, 2500, len(pairs)))
    counts = rng.poisson(depth[:, None] * profiles[pairs].mean(axis=1))
    found = doublets(sparse.csr_matrix(counts), pairs[:, 0])
    assert (found == mixed).all()


def test_cells_go_to_the_cluster_that_explains_them():
    rng = np.random.default_rng(0)
    profiles = rng.dirichlet(np.full(500, 0.5), 3)
    kinds = rng.integers(0, 3, 300)
    counts = rng.poisson(rng.integers(100, 3000, 300)[:, None] * profiles[kinds])
    wrong = np.where(rng.random(300) < 0.3, rng.integers(0, 3, 300), kinds)
    assert (wrong != kinds).sum() > 30
    assert (reassigned(sparse.csr_matrix(counts), wrong) == kinds).mean() > 0.99


def test_called_droplets_without_a_cell_do_not_count(tmp_path):
    adata = droplets(planted(0.2), n_cells=500)
    arguments = write(tmp_path, adata)
    # the larger of the empty droplets, as a knee takes them for cells
    totals = row_sums(adata.X)
    is_cell = (adata.obs["true_type"] != "empty").to_numpy()
    called = is_cell | (totals > np.quantile(totals[~is_cell], 0.95))
    cells = adata[called].copy()
    cells.write_h5ad(arguments["sources"]["cells"])
    table = pd.DataFrame({"barcode": cells.obs_names})
    table.to_csv(arguments["sources"]["barcodes"], sep="\t", index=False)
    found, corrected = results_of(arguments)
    n_empty = called.sum() - 500
    assert n_empty == 100
    assert abs(found["n_without_cell"] - n_empty) <= 5
    assert abs(found["contamination_percent"] - 20) < 2.5
    each = corrected.obs["ambient_percent"].to_numpy()
    assert np.median(each[500:]) > 60


@pytest.mark.parametrize("share", [0.05, 0.2])
def test_cells_of_one_type_are_told_from_no_soup(share, tmp_path):
    plan = planted(share, n_types=1, rare_shares=())
    arguments = write(tmp_path, droplets(plan, n_cells=300))
    found, corrected = results_of(arguments)
    if found["estimated"]:
        assert found["low"] <= 100 * share <= found["high"]
        assert found["high"] - found["low"] > 10
    else:
        assert "differ" in found["reason"]
        assert found["contamination_percent"] is None
        assert corrected.obs["ambient_percent"].isna().all()


@pytest.mark.parametrize(
    ("method", "n_empty", "reason"),
    [
        ("given", 0, "holds called cells alone"),
        ("all", 300, "every barcode is a cell"),
        ("EmptyDrops_CR", 150, "empty droplets, 200 are needed"),
        ("CellRanger2.2", 0, "only 0 empty droplets"),
    ],
)
def test_without_empty_droplets_nothing_is_taken_away(
    method, n_empty, reason, tmp_path
):
    adata = droplets(planted(0.1), n_cells=100, n_empty=n_empty)
    arguments = write(tmp_path, adata, method=method)
    arguments["settings"] = AmbientSettings(use=True, method="droplets")
    found, corrected = results_of(arguments)
    assert not found["estimated"]
    assert not found["used"]
    assert reason in found["reason"]
    assert found["low"] is found["high"] is None
    assert abs(corrected.X - adata.X[:100]).sum() == 0
    assert corrected.obs["ambient_percent"].isna().all()


@pytest.mark.parametrize("n_cells", [0, 1, 3, 10, 49, 50])
def test_few_cells_have_a_defined_answer(n_cells, tmp_path):
    adata = droplets(planted(0.1), n_cells=50)
    adata = adata[[*range(n_cells), *range(50, adata.n_obs)]].copy()
    found, corrected = results_of(write(tmp_path, adata))
    assert corrected.shape == (n_cells, 2000)
    assert found["n_cells"] == n_cells
    if n_cells < 50:
        assert found["reason"] == "fewer than 50 cells"


def test_what_has_no_variation_has_a_defined_answer():
    same = sparse.csr_matrix(np.tile([5, 0, 3, 40], (100, 1)))
    one_gene = sparse.csr_matrix(np.arange(1, 101)[:, None])
    nothing = sparse.csr_matrix((100, 4), dtype=int)
    for counts in (same, one_gene, nothing):
        n_genes = counts.shape[1]
        clusters = quick_clusters(counts, seed=1)
        empty = np.full(n_genes, 1000.0)
        for mito in (False, True):
            found = estimate_share(
                counts,
                clusters,
                empty,
                is_mito=np.full(n_genes, mito),
                largest_empty=10,
                seed=1,
            )
            assert not found.estimated
            kept, each = corrected_counts(
                counts,
                clusters,
                empty,
                share=0.1,
                is_mito=np.full(n_genes, mito),
                seed=1,
            )
            assert kept.min() >= 0
            assert (counts - kept).min() >= 0
            assert np.isfinite(each).all()


def test_the_same_seed_gives_the_same(tmp_path):
    arguments = write(tmp_path, droplets(planted(0.1), n_cells=300))
    first, again = results_of(arguments), results_of(arguments)
    assert first[0] == again[0]
    assert abs(first[1].X - again[1].X).sum() == 0


def test_the_soup_is_in_the_smaller_of_the_droplets_without_a_cell():
    totals = np.array([900, 0, 2, 4, 4, 3, 200, 1, 5000])
    is_cell = totals > 500
    # half of 214 counts: those of all but the largest
    assert empty_droplets(totals, is_cell).tolist() == [
        0 < total <= 200 and not cell
        for total, cell in zip(totals, is_cell, strict=True)
    ]
    totals = np.array([10, 10, 10, 30, 30])
    assert empty_droplets(totals, np.zeros(5, bool)).tolist() == [True] * 5
    totals = np.array([10, 20, 20, 20, 45])
    assert empty_droplets(totals, np.zeros(5, bool)).tolist() == [True] * 4 + [False]
    assert not empty_droplets(np.array([5, 0]), np.array([True, False])).any()


def test_genes_of_the_soup_are_named(tmp_path):
    found, _ = results_of(write(tmp_path, droplets(planted(0.1), n_cells=100)))
    shares = [gene["percent_of_ambient"] for gene in found["top_genes"]]
    assert len(shares) == 20
    assert shares == sorted(shares, reverse=True)
    assert found["top_genes"][0].keys() == {
        "gene_id",
        "gene_name",
        "percent_of_ambient",
    }


def write_cellbender(path, counts, barcodes, genes):
    """Write a matrix as CellBender does: genes x barcodes, as Cell Ranger."""
    matrix = sparse.csr_matrix(counts)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = matrix.data, matrix.indices
        group["indptr"], group["shape"] = matrix.indptr, matrix.shape[::-1]
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["features/id"] = group["features/name"] = np.array(genes, dtype="S")
        kinds = np.array([b"Gene Expression"] * len(genes))
        group["features/feature_type"] = kinds


def test_the_output_of_cellbender_is_taken_in_any_order(tmp_path):
    adata = droplets(planted(0.1), n_cells=100)
    arguments = write(tmp_path, adata)
    left = adata.X.copy()
    left.data = left.data // 2
    order = np.random.default_rng(1).permutation(adata.n_obs)
    path = tmp_path / "cellbender.h5"
    write_cellbender(path, left[order], adata.obs_names[order], adata.var_names)
    arguments["settings"] = AmbientSettings(use=True, method="cellbender")
    arguments["sources"]["cellbender"] = str(path)
    found, corrected = results_of(arguments)
    assert abs(corrected.X - left[:100]).sum() == 0
    assert found["used"]
    assert found["method"] == "cellbender"
    removed = 100 * (1 - left[:100].sum() / adata.X[:100].sum())
    assert found["contamination_percent"] == pytest.approx(removed, abs=0.01)
    assert found["low"] is None
    write_cellbender(path, left[200:], adata.obs_names[200:], adata.var_names)
    with pytest.raises(UserError, match="lacks 100 cells and 0 genes"):
        main(**arguments)
