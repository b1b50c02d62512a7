"""Tests of the order of cells along a trajectory."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats
from threadpoolctl import threadpool_limits

from _shared.logs import UserError
from _shared.neighbors import fuzzy_graph, nearest_neighbors
from _shared.trajectory import (
    cluster_links,
    diffusion_places,
    parts_of,
    pseudotime,
    strongest_tree,
)
from order_cells import OrderSettings, main

DEFAULTS = {"root": "", "root_gene": "", "clusters": [], "min_connectivity": 0.05}
OUTPUTS = {
    "pseudotime": "pseudotime.tsv.gz",
    "links": "paga.tsv",
    "by_cluster": "pseudotime_clusters.tsv",
    "facts": "pseudotime.json",
}


def linear(n, *, seed=0, dims=12):
    """Return scores along a bent line, and the true time of each cell."""
    rng = np.random.default_rng(seed)
    time = rng.random(n)
    scores = rng.normal(size=(n, dims))
    scores[:, 0] += 20 * time
    scores[:, 1] += 5 * np.sin(2 * np.pi * time)
    scores[:, 2] += 4 * np.cos(3 * np.pi * time)
    return scores.astype(np.float32), time


def branched(n, *, seed=0, dims=12):
    """Return scores of a stem (0) with two branches (1, 2), true times, branches."""
    rng = np.random.default_rng(seed)
    time = rng.random(n)
    branch = np.where(time < 0.4, 0, rng.integers(1, 3, n))
    scores = rng.normal(size=(n, dims))
    late = 25 * np.maximum(time - 0.4, 0)
    scores[:, 0] += 25 * np.minimum(time, 0.4) + 0.3 * late
    for k in (1, 2):
        scores[:, k] += np.where(branch == k, late, 0)
    return scores.astype(np.float32), time, branch


def write(folder, scores, clusters, *, expressed=None, types=None):
    """Write the object and labels: cluster c is type "type c" unless named."""
    n = len(scores)
    x = np.zeros((n, 3), dtype=np.float32)
    x[:, 2] = 1
    if expressed is not None:
        x[:, 0] = expressed
    names = [str(c) for c in np.unique(clusters)]
    adata = ad.AnnData(
        sparse.csr_matrix(x),
        obs=pd.DataFrame(
            {"leiden": pd.Categorical([str(c) for c in clusters], categories=names)},
            index=[f"c{i}" for i in range(n)],
        ),
        var=pd.DataFrame(
            {"gene_name": ["KIT", "CD4", "ACTB"]}, index=["g1", "g2", "g3"]
        ),
        obsm={"X_integrated": scores},
    )
    adata.write_h5ad(folder / "clusters.h5ad")
    types = types or {name: f"type {name}" for name in names}
    table = pd.DataFrame({"cluster": names})
    table["cell_type"] = table["cluster"].map(types)
    table.to_csv(folder / "annotation.tsv", sep="\t", index=False)


@pytest.fixture
def order(tmp_path):
    def run(**changes):
        main(
            clusters=tmp_path / "clusters.h5ad",
            annotation=tmp_path / "annotation.tsv",
            settings=OrderSettings(**DEFAULTS | changes),
            n_neighbors=15,
            n_pcs=30,
            seed=1,
            **{name: tmp_path / file for name, file in OUTPUTS.items()},
        )
        cells, links, by_cluster = (
            pd.read_csv(tmp_path / OUTPUTS[name], sep="\t", dtype={"cluster": str})
            for name in ("pseudotime", "links", "by_cluster")
        )
        facts = json.loads((tmp_path / OUTPUTS["facts"]).read_text())
        return cells, links, by_cluster, facts

    run.folder = tmp_path
    return run


def test_a_line_is_ordered_from_the_type_that_is_named(order):
    scores, time = linear(800)
    write(order.folder, scores, (5 * time).astype(int))
    cells, links, by_cluster, facts = order(root="type 0")
    assert stats.spearmanr(cells["pseudotime"], time)[0] >= 0.95
    assert facts["root_cluster"] == "0"
    assert facts["n_ordered"] == 800
    assert facts["warning"] == ""
    assert by_cluster["median_pseudotime"].is_monotonic_increasing
    tree = {
        tuple(row) for row in links[links["in_tree"]][["cluster", "other"]].to_numpy()
    }
    assert {(a, int(b)) for a, b in tree} == {(str(i), i + 1) for i in range(4)}


def test_a_root_at_the_other_end_reverses_the_order(order):
    scores, time = linear(800)
    write(order.folder, scores, (5 * time).astype(int))
    cells = order(root="4")[0]
    assert stats.spearmanr(cells["pseudotime"], time)[0] <= -0.95


def test_the_branches_of_a_tree_are_ordered_each(order):
    scores, time, branch = branched(1500)
    write(
        order.folder, scores, np.where(branch == 0, (5 * time).astype(int), branch + 2)
    )
    cells, links = order(root="0")[:2]
    for k in range(3):
        mine = branch == k
        assert stats.spearmanr(cells["pseudotime"][mine], time[mine])[0] >= 0.9
    links = links.set_index(["cluster", "other"])["connectivity"]
    assert links["1", 3] > 2 * links.get(("3", 4), 0)
    assert links["1", 4] > 2 * links.get(("3", 4), 0)


def test_the_root_is_the_cell_where_a_gene_is_highest_outliers_aside(order):
    scores, time = linear(800)
    rng = np.random.default_rng(1)
    expressed = rng.poisson(4 * np.maximum(0.3 - time, 0)).astype(np.float32)
    expressed[np.argmax(time)] = 9
    write(order.folder, scores, (5 * time).astype(int), expressed=expressed)
    for gene in ("KIT", "g1"):
        cells, _, _, facts = order(root_gene=gene)
        assert stats.spearmanr(cells["pseudotime"], time)[0] >= 0.95
        assert facts["root_cluster"] == "0"
    facts = order(root_gene="CD4")[3]
    assert facts["n_ordered"] == 0
    assert "no cell has counts" in facts["warning"]


def test_a_population_apart_has_no_pseudotime(order):
    scores, time = linear(500)
    other = np.random.default_rng(2).normal(size=(100, 12)) + 40
    both = np.vstack([scores, other]).astype(np.float32)
    clusters = np.append((3 * time).astype(int), np.full(100, 3))
    write(order.folder, both, clusters)
    cells, _, by_cluster, facts = order(root="0")
    assert cells["pseudotime"][:500].notna().all()
    assert cells["pseudotime"][500:].isna().all()
    assert stats.spearmanr(cells["pseudotime"][:500], time)[0] >= 0.95
    assert facts["unconnected_clusters"] == ["3"]
    assert "No trajectory leads from the root to clusters 3" in facts["warning"]
    assert by_cluster["n_ordered"].tolist()[3] == 0


def test_a_thin_bridge_of_cells_makes_no_trajectory(order):
    rng = np.random.default_rng(3)
    one, two = rng.normal(size=(300, 12)), rng.normal(size=(300, 12))
    two[:, 0] += 14
    bridge = rng.normal(size=(4, 12))
    bridge[:, 0] += np.linspace(3, 11, 4)
    both = np.vstack([one, two, bridge]).astype(np.float32)
    write(order.folder, both, np.repeat([0, 1, 0], [300, 300, 4]))
    facts = order(root="0")[3]
    assert facts["unconnected_clusters"] == ["1"]


def test_only_the_clusters_asked_for_are_ordered(order):
    scores, time = linear(800)
    write(order.folder, scores, (5 * time).astype(int))
    cells = order(root="1", clusters=["type 1", "2", "3"])[0]
    assert set(cells["cluster"]) == {"1", "2", "3"}
    mine = (time >= 0.2) & (time < 0.8)
    assert stats.spearmanr(cells["pseudotime"], time[mine])[0] >= 0.95


def test_roots_that_are_not_there_are_told_with_those_that_are(order):
    scores, time = linear(100)
    write(order.folder, scores, (2 * time).astype(int), types={"0": "stem", "1": "T"})
    with pytest.raises(UserError, match=r"'stm'.*did you mean 'stem'.*stem, 0, 1\.$"):
        order(root="stm")
    with pytest.raises(UserError, match=r"no gene 'KTI' \(did you mean 'KIT'\?\)"):
        order(root_gene="KTI")
    with pytest.raises(UserError, match="clusters: no cell type or cluster '7'"):
        order(root="stem", clusters=["7"])
    with pytest.raises(UserError, match="root: no cell type or cluster 'T'"):
        order(root="T", clusters=["stem"])
    for neither_nor in ({}, {"root": "stem", "root_gene": "KIT"}):
        with pytest.raises(UserError, match="give either root"):
            order(**neither_nor)


@pytest.mark.parametrize("n", [1, 9, 16])
def test_few_cells_give_tables_nonetheless(order, n):
    scores, _ = linear(n)
    write(order.folder, scores, np.zeros(n, dtype=int))
    cells, links, by_cluster, facts = order(root="0")
    assert len(cells) == n
    assert links.empty
    assert len(by_cluster) == 1
    assert cells["pseudotime"].isna().all() == (n < 10)
    assert ("No cell has a pseudotime" in facts["warning"]) == (n < 10)


def test_no_cells_and_identical_cells_have_no_order(order):
    write(order.folder, np.zeros((0, 5), dtype=np.float32), [])
    assert order(root="0")[0].empty
    assert order(root_gene="KIT")[0].empty
    write(order.folder, np.ones((30, 5), dtype=np.float32), [0] * 30)
    assert order(root="0")[3]["n_ordered"] == 0


def test_links_and_pseudotime_are_those_of_scanpy(monkeypatch):
    monkeypatch.setenv("TQDM_DISABLE", "1")
    sc = pytest.importorskip("scanpy")
    scores, time, branch = branched(600)
    indices, distances = nearest_neighbors(scores, 14, seed=1)
    graph = fuzzy_graph(indices, distances)
    codes = np.where(branch == 0, (5 * time).astype(int), branch + 1)
    ends = np.arange(0, 600 * 14 + 1, 14)
    names = [f"c{i}" for i in range(600)]
    obs = pd.DataFrame({"g": codes.astype(str)}, index=names, dtype="category")
    adata = ad.AnnData(obs=obs)
    adata.obsp["connectivities"] = graph
    adata.obsp["distances"] = sparse.csr_matrix(
        (distances.ravel(), indices.ravel(), ends), shape=graph.shape
    )
    adata.uns["neighbors"] = {
        "connectivities_key": "connectivities",
        "distances_key": "distances",
        "params": {"n_neighbors": 15, "method": "umap"},
    }
    sc.tl.paga(adata, groups="g")
    links = cluster_links(indices, codes, 4)
    assert np.allclose(links, adata.uns["paga"]["connectivities"].toarray())
    tree = adata.uns["paga"]["connectivities_tree"].toarray() > 0
    assert np.array_equal(strongest_tree(links), tree | tree.T)
    root = int(np.argmin(time))
    adata.uns["iroot"] = root
    sc.tl.diffmap(adata)
    sc.tl.dpt(adata)
    mine = pseudotime(diffusion_places(graph, seed=1), root)
    assert stats.spearmanr(mine, adata.obs["dpt_pseudotime"])[0] > 0.99


def test_distances_are_those_of_all_steps_summed():
    """Weights l / (1 - l) are the sum of l + l^2 + ... over walks of every length."""
    scores, _ = linear(60)
    graph = fuzzy_graph(*nearest_neighbors(scores, 14, seed=1))
    dense = graph.toarray().astype(float)
    inverse = 1 / dense.sum(axis=0)
    kernel = dense * np.outer(inverse, inverse)
    density = kernel.sum(axis=0)
    steps = kernel / density[:, None]
    stationary = density / density.sum()
    rest = steps - np.outer(np.ones(60), stationary)
    walks = rest @ np.linalg.inv(np.eye(60) - rest)
    scaled = walks / np.sqrt(stationary)
    expected = ((scaled[0] - scaled[40]) ** 2).sum()
    # all but one of the components, of which the last counts next to nothing
    places = diffusion_places(graph, seed=1, n_components=58)
    # to a common factor
    other = ((scaled[5] - scaled[20]) ** 2).sum()
    mine = [((places[i] - places[j]) ** 2).sum() for i, j in ((0, 40), (5, 20))]
    assert np.isclose(mine[0] / mine[1], expected / other, rtol=0.01)


def test_parts_hang_together_by_strong_links_alone():
    links = np.array([[0, 0.5, 0], [0.5, 0, 0.01], [0, 0.01, 0]])
    assert parts_of(links, least=0.05).tolist() == [0, 0, 1]
    assert parts_of(links, least=0.0).tolist() == [0, 0, 0]


def test_results_do_not_depend_on_the_thread_count(order):
    scores, time = linear(2000)
    write(order.folder, scores, (5 * time).astype(int))
    tables = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            tables.append(order(root="0")[0])
    pd.testing.assert_frame_equal(*tables, check_exact=True)
