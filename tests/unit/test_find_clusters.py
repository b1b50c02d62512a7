"""Tests of clusters, the evidence for them, and the map."""

import dataclasses

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from _shared.logs import UserError
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from find_clusters import (
    ClusterSettings,
    Evidence,
    chosen_resolution,
    clustered,
    least_cells,
    main,
    named_by_size,
    rare_populations,
    without_noise,
)

SETTINGS = ClusterSettings(
    n_neighbors=15,
    n_pcs=30,
    resolution="auto",
    resolutions=[0.1, 0.2, 0.4, 0.8, 1.6],
    min_stability=0.95,
    subclusters={},
    min_dist=0.5,
)


def with_settings(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.fixture
def groups():
    """Scores of 300 cells in four groups, one of them rare."""
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2, 3], [140, 100, 50, 10])
    centers = 15 * np.eye(4, 6)
    scores = centers[kind] + rng.normal(size=(300, 6))
    order = rng.permutation(300)
    return scores[order].astype(np.float32), kind[order]


def gradient(n, *, seed):
    """Return scores of one type: noise, and a continuum along one component."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(n, 10))
    scores[:, 0] += 4 * rng.beta(0.8, 0.8, n)
    return scores.astype(np.float32)


def test_planted_groups_are_found_the_rare_one_too(groups):
    scores, kind = groups
    done = clustered(scores, SETTINGS, seed=1)
    assert adjusted_rand_score(kind, done.names.codes) == 1
    assert done.umap.shape == (300, 2)
    assert done.umap.dtype == np.float32
    assert np.isfinite(done.umap).all()
    assert (done.stability["stability"] > 0.95).all()
    assert done.cell_stability.min() > 0.8
    assert done.about["automatic"]
    assert done.resolutions["chosen"].sum() == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_type_without_structure_is_one_cluster(seed):
    scores = np.random.default_rng(seed).normal(size=(800, 10)).astype(np.float32)
    done = clustered(scores, SETTINGS, seed=seed)
    assert done.names.categories.tolist() == ["0"]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_continuum_is_not_cut(seed):
    done = clustered(gradient(800, seed=seed), SETTINGS, seed=seed)
    assert done.names.categories.tolist() == ["0"]


def test_a_rare_type_beside_large_ones_is_a_cluster_of_its_own():
    rng = np.random.default_rng(3)
    kind = np.repeat([0, 1, 2], [1400, 580, 20])
    scores = rng.normal(size=(2000, 12)) + 8 * np.eye(3, 12)[kind]
    done = clustered(scores.astype(np.float32), SETTINGS, seed=1)
    assert adjusted_rand_score(kind, done.names.codes) == 1
    assert done.stability["n_cells"].tolist() == [1400, 580, 20]


def test_the_same_seed_gives_the_same_clusters_map_and_tables(groups):
    scores, _ = groups
    first, second = (clustered(scores, SETTINGS, seed=1) for _ in range(2))
    assert list(first.names) == list(second.names)
    assert np.array_equal(first.umap, second.umap)
    assert np.array_equal(first.cell_stability, second.cell_stability)
    for table in ("resolutions", "stability", "tree"):
        pd.testing.assert_frame_equal(getattr(first, table), getattr(second, table))


def test_a_resolution_can_be_given(groups):
    scores, _ = groups
    done = clustered(scores, with_settings(resolution=3.0), seed=1)
    assert done.about["resolution"] == 3.0
    assert not done.about["automatic"]
    assert len(done.names.categories) > 4
    at = done.resolutions.set_index("resolution")
    assert at.index.tolist() == [0.1, 0.2, 0.4, 0.8, 1.6, 3.0]
    assert at["chosen"].tolist() == [False] * 5 + [True]


def test_a_named_cluster_is_split_in_its_place(groups):
    scores, _ = groups
    # as YAML reads 1: 2.0
    settings = with_settings(subclusters={1: 2.0})
    whole = clustered(scores, SETTINGS, seed=1)
    done = clustered(scores, settings, seed=1)
    names = done.names.categories.tolist()
    parts = [name for name in names if name.startswith("1.")]
    assert len(parts) > 1
    assert names == ["0", *[f"1.{n}" for n in range(len(parts))], "2", "3"]
    inside = np.asarray(whole.names) == "1"
    assert set(np.asarray(done.names)[inside]) == set(parts)
    assert (np.asarray(done.names) == np.asarray(whole.names))[~inside].all()
    origin = done.stability.set_index("cluster")["origin"]
    assert origin["1.0"] == "part of 1"


def test_a_cluster_that_is_not_there_cannot_be_split(groups):
    scores, _ = groups
    with pytest.raises(UserError, match="names 9; the clusters are 0, 1, 2, 3"):
        clustered(scores, with_settings(subclusters={"9": 1.0}), seed=1)


def chosen_at(done):
    return done.resolutions["chosen"].tolist().index(True)


def test_the_tree_links_every_cluster_to_those_of_the_coarser_resolution(groups):
    scores, _ = groups
    done = clustered(scores, SETTINGS, seed=1)
    tree = done.tree
    assert tree["resolution"].unique().tolist() == SETTINGS.resolutions
    first = tree["resolution"] == SETTINGS.resolutions[0]
    assert (tree.loc[first, "parent"] == "").all()
    shares = tree[~first].groupby(["resolution", "cluster"])["share"].sum()
    assert shares.between(0.8, 1.0001).all()
    once = tree.drop_duplicates(["resolution", "cluster"])
    assert (once.groupby("resolution")["n_cells"].sum() == 300).all()
    chosen = once[once["resolution"] == done.about["resolution"]]
    assert chosen["cluster"].tolist() == list(done.names.categories)
    assert chosen["n_cells"].tolist() == done.stability["n_cells"].tolist()
    for labels, (_, part) in zip(
        done.by_resolution.T, once.groupby("resolution"), strict=True
    ):
        assert np.bincount(labels).tolist() == part["n_cells"].tolist()
    assert np.array_equal(done.by_resolution[:, chosen_at(done)], done.names.codes)


def test_the_finest_resolution_that_holds_is_chosen():
    means = np.array([0.99, 0.9, 0.97, 0.8])
    assert chosen_resolution(np.array([1.0, 0.7, 0.93, 0.6]), means) == 2
    # without one, that with the most stable clusters, the finest of equals
    means = np.array([0.8, 0.931, 0.93, 0.5])
    assert chosen_resolution(np.array([0.5, 0.4, 0.3, 0.6]), means) == 2


def test_a_rare_population_that_the_chosen_resolution_hides_is_kept_apart():
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [600, 375, 25])
    scores = rng.normal(size=(1000, 8)) + 10 * np.eye(3, 8)[kind]
    scores = scores.astype(np.float32)
    graph = fuzzy_graph(*nearest_neighbors(scores, 14, seed=0))
    joined = np.minimum(kind, 1)
    # beside the rare type, a part of the largest one, as small but not apart
    part = np.where(np.arange(1000) < 25, 3, kind)
    evidence = Evidence(
        resolutions=[0.1, 0.5],
        labels=np.stack([joined, part]),
        chosen=0,
        judged=np.arange(1000),
        halves=None,
        stability=np.ones(6),
        stable_share=np.ones(2),
        mean_stability=np.ones(2),
    )
    (rare,) = rare_populations(graph, evidence, min_stability=0.95)
    assert rare.tolist() == list(range(975, 1000))
    unstable = dataclasses.replace(evidence, stability=np.array([1, 1, 1, 1, 0.5, 1]))
    assert rare_populations(graph, unstable, min_stability=0.95) == []


def test_clusters_of_few_cells_go_to_the_one_they_are_joined_to():
    from scipy import sparse

    labels = np.repeat([0, 1, 2, 3], [40, 40, 3, 2])
    graph = sparse.lil_matrix((85, 85), dtype=np.float32)
    graph[80, 50] = graph[50, 80] = 1
    graph[81, 5] = graph[5, 81] = 0.5
    scores = np.zeros((85, 2))
    scores[40:80, 0] = 5
    scores[83:, 0] = 1
    merged = without_noise(labels, graph.tocsr(), scores)
    assert merged[:80].tolist() == labels[:80].tolist()
    # by the strongest edge; without one, to the nearest center
    assert merged[80:].tolist() == [1, 1, 1, 0, 0]


def test_a_cluster_has_a_dozen_cells_or_half_a_percent():
    assert [least_cells(n) for n in (10, 300, 2000, 1_000_000)] == [5, 5, 10, 12]


def test_clusters_are_named_by_size_and_ties_by_the_first_cell():
    names = named_by_size(np.array(["x", "z", "y", "y", "y", "z", "x"]))
    assert list(names) == ["1", "2", "0", "0", "0", "2", "1"]
    assert names.categories.tolist() == ["0", "1", "2"]


def test_eleven_clusters_are_in_the_order_of_numbers():
    names = named_by_size(np.repeat(np.arange(11), np.arange(20, 9, -1)))
    assert names.categories.tolist() == [str(i) for i in range(11)]


def run_main(tmp_path, scores, **changes):
    """Run the script on scores; return what it wrote."""
    obs = pd.DataFrame(index=[f"c{i}" for i in range(len(scores))])
    integrated = ad.AnnData(obs=obs, obsm={"X_integrated": scores})
    integrated.write_h5ad(tmp_path / "integrated.h5ad")
    tables = ("resolutions", "stability", "tree")
    paths = {name: tmp_path / f"{name}.tsv" for name in tables}
    main(
        integrated=tmp_path / "integrated.h5ad",
        clustering=tmp_path / "clustering.h5ad",
        **paths,
        settings=with_settings(**changes),
        seed=1,
    )
    read = {
        name: pd.read_csv(path, sep="\t", dtype={"cluster": str, "parent": str})
        for name, path in paths.items()
    }
    return ad.read_h5ad(tmp_path / "clustering.h5ad"), read


@pytest.mark.parametrize(("n_cells", "n_comps"), [(0, 0), (1, 0), (3, 2), (9, 8)])
def test_few_cells_are_one_cluster(n_cells, n_comps, tmp_path):
    scores = np.random.default_rng(0).normal(size=(n_cells, n_comps))
    adata, tables = run_main(tmp_path, scores.astype(np.float32))
    assert adata.obs["leiden"].tolist() == ["0"] * n_cells
    assert adata.obs["leiden_stability"].isna().all()
    assert adata.obsm["X_umap"].shape == (n_cells, 2)
    assert len(adata.uns["leiden_colors"]) == min(n_cells, 1)
    assert len(tables["resolutions"]) == len(tables["tree"]) == 0
    assert tables["stability"]["n_cells"].tolist() == [n_cells] * bool(n_cells)


@pytest.mark.parametrize("n_cells", [10, 16, 50])
def test_cells_just_enough_for_a_graph_are_clustered(n_cells, tmp_path):
    scores = np.random.default_rng(0).normal(size=(n_cells, 4)).astype(np.float32)
    adata, tables = run_main(tmp_path, scores)
    assert adata.obs["leiden"].tolist() == ["0"] * n_cells
    assert np.isfinite(adata.obsm["X_umap"]).all()
    assert np.isfinite(adata.obs["leiden_stability"]).all()
    assert tables["resolutions"]["chosen"].sum() == 1


def test_identical_cells_are_one_cluster(tmp_path):
    adata, _ = run_main(tmp_path, np.ones((40, 5), dtype=np.float32))
    assert adata.obs["leiden"].tolist() == ["0"] * 40
    assert adata.uns["clustering"]["reason"] == "all cells are identical"


def test_two_kinds_of_identical_cells_are_two_clusters(tmp_path):
    scores = np.repeat(np.eye(2, 5, dtype=np.float32), [40, 60], axis=0)
    adata, _ = run_main(tmp_path, scores)
    assert adata.obs["leiden"].tolist() == ["1"] * 40 + ["0"] * 60
    assert np.isfinite(adata.obsm["X_umap"]).all()


def test_one_component_is_enough(tmp_path):
    kind = np.repeat([0, 1], 60)
    scores = 40 * kind + np.random.default_rng(0).normal(size=120)
    adata, _ = run_main(tmp_path, scores[:, None].astype(np.float32))
    # along a line there is a gap wherever one looks: no cluster has both, that is all
    assert (pd.crosstab(adata.obs["leiden"], kind) > 0).sum(axis=1).eq(1).all()
    assert np.isfinite(adata.obsm["X_umap"]).all()


def test_sixty_samples_of_thirty_cells(tmp_path):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 1800)
    scores = rng.normal(size=(1800, 8)) + 10 * np.eye(3, 8)[kind]
    adata, tables = run_main(tmp_path, scores.astype(np.float32))
    assert adjusted_rand_score(kind, adata.obs["leiden"]) == 1
    assert list(adata.obs["leiden"].cat.categories) == ["0", "1", "2"]
    columns = ["cluster", "n_cells", "stability", "inside", "origin"]
    assert tables["stability"].columns.tolist() == columns
    assert adata.X is None
