"""Tests of the marker genes."""

from contextlib import contextmanager

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from _shared import rank_test
from _shared.streams import Matrix, write_csr
from find_markers import (
    COLUMNS,
    MarkerSettings,
    against_nearest,
    against_rest,
    best_markers,
    main,
    measure,
    nearest_groups,
)

TYPES = {"0": "T cell", "1": "B cell", "2": "T cell"}
HEAD = {name: [name, *COLUMNS] for name in ("cluster", "cell_type")}


@contextmanager
def on_disk(x):
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        write_csr(file, "X", x)
        yield Matrix(file["X"])


def tables_of(adata, *, n_genes, n_nearest=0, labels=TYPES, threads=1):
    with on_disk(adata.X) as x:
        return best_markers(
            x,
            adata.obs["leiden"],
            adata.obsm["X_integrated"],
            pd.Series(labels, dtype=object),
            adata.var,
            MarkerSettings(n_genes=n_genes, n_nearest=n_nearest),
            threads=threads,
        )


def table_of(adata, **options):
    return tables_of(adata, **options)[0]


def with_components(adata):
    """Put cluster k at 3^k: the nearest of each is the one before it."""
    codes = adata.obs["leiden"].cat.codes.to_numpy()
    adata.obsm["X_integrated"] = (3.0 ** codes[:, None]).astype(np.float32)
    return adata


@pytest.fixture
def adata():
    """Three clusters, 60 genes with many ties; genes 0-4 mark cluster "1"."""
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [50, 30, 20])
    counts = rng.poisson(0.7, (100, 60))
    counts[codes == 1, :5] += rng.poisson(4, (30, 5))
    counts[:, 50:] = 0
    x = sparse.csr_matrix(np.log1p(counts).astype(np.float32))
    genes = [f"g{i}" for i in range(60)]
    result = ad.AnnData(x, var=pd.DataFrame({"gene_name": genes}, index=genes))
    result.obs["leiden"] = pd.Categorical(codes.astype(str))
    return with_components(result)


def expected_of(inside, outside):
    test = stats.mannwhitneyu(
        inside, outside, use_continuity=False, method="asymptotic"
    )
    means = [np.expm1(part).mean(axis=0) + 1 for part in (inside, outside)]
    return test, np.log2(means[0] / means[1])


# a cluster, several together, and all but one; the other side: the rest, or a group
@pytest.mark.parametrize("group", [(0,), (1,), (2,), (0, 2), (1, 2)])
def test_the_test_agrees_with_that_of_scipy(adata, group):
    codes = adata.obs["leiden"].cat.codes.to_numpy().astype(int)
    with on_disk(adata.X) as matrix:
        of = measure(matrix, codes, 3, pairs=[])
    assert of.detected.tolist() == list(range(50))
    dense = adata.X[:, :50].toarray().astype(float)
    inside, outside = dense[np.isin(codes, group)], dense[~np.isin(codes, group)]
    result = against_rest(of, group)
    test, fold_change = expected_of(inside, outside)
    assert np.allclose(result["p_value"], test.pvalue, rtol=1e-9)
    assert np.allclose(result["auc"], test.statistic / (len(inside) * len(outside)))
    assert np.allclose(result["pct_in"], 100 * (inside > 0).mean(axis=0))
    assert np.allclose(result["pct_out"], 100 * (outside > 0).mean(axis=0))
    assert np.allclose(result["log2_fold_change"], fold_change, atol=1e-6)
    adjusted = stats.false_discovery_control(test.pvalue)
    assert np.allclose(result["padj"], adjusted, rtol=1e-9)


@pytest.mark.parametrize("pair", [((0,), (1,)), ((1,), (2,)), ((0, 2), (1,))])
def test_groups_in_pairs_agree_with_scipy_from_both_sides(adata, pair):
    codes = adata.obs["leiden"].cat.codes.to_numpy().astype(int)
    with on_disk(adata.X) as matrix:
        of = measure(matrix, codes, 3, pairs=[pair])
    dense = adata.X[:, :50].toarray().astype(float)
    for inside, outside in (pair, pair[::-1]):
        one, other = (dense[np.isin(codes, side)] for side in (inside, outside))
        result = against_nearest(of, inside, outside)
        test, fold_change = expected_of(one, other)
        auc = test.statistic / (len(one) * len(other))
        assert np.allclose(result["nearest_auc"], auc)
        assert np.allclose(result["nearest_log2_fold_change"], fold_change, atol=1e-6)
        p_value = 2 * stats.norm.sf(np.abs(result["nearest_score"]))
        # a gene that no cell of the two has is nan for scipy
        tested = np.isfinite(test.pvalue)
        assert np.allclose(p_value[tested], test.pvalue[tested], rtol=1e-9)
        assert (np.sign(result["nearest_score"]) == np.sign(auc - 0.5)).all()


def test_the_nearest_has_the_closest_center_and_of_a_tie_the_first_name():
    centers = np.array([[0.0], [1.0], [2.0], [9.0]])
    groups = {"b": (1,), "a": (0,), "c": (2,), "d": (3,)}
    nearest = nearest_groups(groups, centers, np.array([5, 5, 5, 5]))
    assert nearest == {"a": "b", "b": "a", "c": "b", "d": "c"}
    # the center of two clusters is that of their cells: at 0.2, or at 1.8
    groups = {"x": (0, 2), "y": (1,), "z": (3,)}
    sizes = np.array([9, 5, 1, 5])
    assert nearest_groups(groups, centers, sizes)["z"] == "y"
    assert nearest_groups(groups, centers, sizes[[2, 1, 0, 3]])["z"] == "x"
    assert nearest_groups({"a": (0,)}, centers, sizes) == {}


def test_genes_of_the_nearest_comparison_are_added_once(adata):
    table = table_of(adata, n_genes=5, n_nearest=5)
    assert dict(zip(table["cluster"], table["nearest"], strict=True)) == {
        "0": "1",
        "1": "0",
        "2": "1",
    }
    assert not table.duplicated(["cluster", "gene_id"]).any()
    wanted = (table["rank"] <= 5) | (table["nearest_rank"] <= 5)
    assert wanted.all()
    for _, rows in table.groupby("cluster"):
        assert rows["rank"].is_monotonic_increasing
        assert rows["rank"].tolist()[:5] == [1, 2, 3, 4, 5]
        assert sorted(rows["nearest_rank"])[:5] == [1, 2, 3, 4, 5]
    # what cluster 2 lacks beside its nearest is what marks that one
    far = table[(table["cluster"] == "2") & table["gene_id"].isin(["g0", "g1"])]
    assert (far["nearest_auc"] < 0.5).all()


def test_a_gene_that_tells_siblings_apart_is_found_beside_the_nearest_alone():
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], 200)
    counts = rng.poisson(1.0, (600, 40))
    counts[codes < 2, :10] += rng.poisson(6, (400, 10))
    # cluster 0 and the far cluster 2 have gene 20, its sibling 1 has not
    counts[codes != 1, 20] += rng.poisson(3, 400)
    genes = [f"g{i}" for i in range(40)]
    adata = ad.AnnData(sparse.csr_matrix(np.log1p(counts).astype(np.float32)))
    adata.var = pd.DataFrame({"gene_name": genes}, index=genes)
    adata.obs["leiden"] = pd.Categorical(codes.astype(str))
    adata.obsm["X_integrated"] = np.array([0, 1, 9], np.float32)[codes][:, None]
    best = table_of(adata, n_genes=10).query("cluster == '0'")
    assert "g20" not in set(best["gene_id"])
    both = table_of(adata, n_genes=10, n_nearest=1).query("cluster == '0'")
    (added,) = both[both["rank"] > 10].itertuples()
    assert (added.gene_id, added.nearest, added.nearest_rank) == ("g20", "1", 1)
    assert added.nearest_auc > 0.85


def test_cell_types_are_the_union_of_their_clusters(adata):
    clusters, types = tables_of(adata, n_genes=50, n_nearest=50)
    assert types["cell_type"].unique().tolist() == ["B cell", "T cell"]
    # one cluster is the type, and the other two are its rest and its nearest
    one = types[types["cell_type"] == "B cell"].set_index("gene_id")
    same = clusters[clusters["cluster"] == "1"].set_index("gene_id")
    for name in ("score", "auc", "padj", "pct_in", "pct_out", "log2_fold_change"):
        assert np.array_equal(one[name], same[name])
    assert (one["nearest"] == "T cell").all()
    assert np.allclose(one["nearest_auc"], one["auc"])
    other = types[types["cell_type"] == "T cell"].set_index("gene_id")
    assert np.allclose(other["auc"], 1 - one["auc"].loc[other.index])
    assert np.allclose(other["nearest_score"], other["score"])


def test_unknown_clusters_are_no_type_but_cells_to_compare_with(adata):
    labels = {"0": "unknown", "1": "B cell", "2": "unknown"}
    clusters, types = tables_of(adata, n_genes=5, n_nearest=5, labels=labels)
    assert set(types["cell_type"]) == {"B cell"}
    same = clusters[(clusters["cluster"] == "1") & (clusters["rank"] <= 5)]
    assert types["gene_id"].tolist() == same["gene_id"].tolist()
    assert (types["nearest"] == "").all()
    nearest = [name for name in COLUMNS if name.startswith("nearest_")]
    assert types[nearest].isna().all(axis=None)
    nothing = dict.fromkeys("012", "unknown")
    assert tables_of(adata, n_genes=5, labels=nothing)[1].empty
    assert tables_of(adata, n_genes=5, labels=dict.fromkeys("012", "B cell"))[1].empty


def test_planted_markers_come_first(adata):
    table = table_of(adata, n_genes=5).query("cluster == '1'")
    assert set(table["gene_id"]) == {f"g{i}" for i in range(5)}
    assert table["rank"].tolist() == [1, 2, 3, 4, 5]
    assert (table["padj"] < 1e-6).all()


def test_every_cluster_has_its_rows_and_undetected_genes_none(adata):
    table = table_of(adata, n_genes=100)
    assert table.groupby("cluster").size().tolist() == [50, 50, 50]


@pytest.mark.parametrize("n_cells", [0, 1, 3])
def test_fewer_than_two_clusters_have_a_table_without_rows(n_cells, adata, tmp_path):
    few = adata[:n_cells].copy()
    few.obs["leiden"] = few.obs["leiden"].cat.remove_unused_categories()
    few.write_h5ad(tmp_path / "clusters.h5ad")
    run(tmp_path)
    for kind, name in (("cluster", "markers"), ("cell_type", "cell_type_markers")):
        table = pd.read_csv(tmp_path / f"{name}.tsv", sep="\t")
        assert table.columns.tolist() == HEAD[kind]
        assert table.empty


def run(folder):
    rows = [f"{cluster}\t{name}" for cluster, name in TYPES.items()]
    (folder / "annotation.tsv").write_text("\n".join(["cluster\tcell_type", *rows]))
    main(
        clusters=folder / "clusters.h5ad",
        annotation=folder / "annotation.tsv",
        markers=folder / "markers.tsv",
        cell_type_markers=folder / "cell_type_markers.tsv",
        settings=MarkerSettings(n_genes=3, n_nearest=2),
        n_pcs=1,
    )


def test_both_tables_are_written_from_the_components_that_were_used(adata, tmp_path):
    # the second component, which was not used, would say otherwise
    far = 100 * (adata.obs["leiden"] == "0").to_numpy(dtype=np.float32)
    adata.obsm["X_integrated"] = np.c_[adata.obsm["X_integrated"], far]
    adata.write_h5ad(tmp_path / "clusters.h5ad")
    run(tmp_path)
    table = pd.read_csv(tmp_path / "markers.tsv", sep="\t", dtype=str)
    assert table.columns.tolist() == HEAD["cluster"]
    assert set(table.loc[table["cluster"] == "1", "nearest"]) == {"0"}
    types = pd.read_csv(tmp_path / "cell_type_markers.tsv", sep="\t")
    assert types.columns.tolist() == HEAD["cell_type"]
    assert set(types["cell_type"]) == {"B cell", "T cell"}


def test_a_cluster_of_one_cell_is_compared(adata):
    adata.obs["leiden"] = pd.Categorical(["1"] + ["0"] * 99)
    table = table_of(adata, n_genes=2)
    assert table["nearest_auc"].between(0, 1).all()
    assert table["cluster"].tolist() == ["0", "0", "1", "1"]
    assert table["p_value"].between(0, 1).all()


def test_blocks_of_genes_pieces_and_threads_change_nothing(adata, monkeypatch):
    whole = tables_of(adata, n_genes=60, n_nearest=60)
    monkeypatch.setattr(rank_test, "BLOCK", 200)
    monkeypatch.setattr(rank_test, "CHUNK", 60)
    monkeypatch.setattr("_shared.streams.PIECE", 300)
    again = tables_of(adata, n_genes=60, n_nearest=60, threads=2)
    for one, other in zip(again, whole, strict=True):
        pd.testing.assert_frame_equal(one, other)


def test_more_clusters_than_a_byte_holds_are_compared(adata):
    names = np.arange(100) + 300
    codes = pd.Categorical(names.astype(str), [str(i) for i in range(400)])
    sizes = np.bincount(codes.codes, minlength=400)
    x = adata.X[:, :50].tocoo()
    order = np.lexsort((codes.codes[x.row], x.data, x.col))
    keys = rank_test.packed(
        x.col[order], x.data[order], codes.codes[x.row[order]].astype(np.int64)
    )
    pair = ((300, 305), (310, 344))
    ranks = rank_test.rank_sums(keys, sizes, n_genes=50, pairs=[pair])
    dense = adata.X[[0, 5, 10, 44]][:, :50].toarray()
    expected = stats.rankdata(dense, axis=0)[:2].sum(axis=0)
    assert np.array_equal(ranks.pair_sums[0], expected)
    assert np.array_equal(
        ranks.sums[300:], stats.rankdata(adata.X[:, :50].toarray(), axis=0)
    )


def test_of_too_many_cells_a_part_is_ranked(monkeypatch):
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1, 2], [1500, 480, 20])
    counts = rng.poisson(0.7, (2000, 30))
    counts[codes == 1, :5] += rng.poisson(1, (480, 5))
    counts[codes == 2, 5:8] += rng.poisson(2, (20, 3))
    genes = pd.DataFrame({"gene_name": [f"g{i}" for i in range(30)]})
    adata = ad.AnnData(sparse.csr_matrix(np.log1p(counts).astype(np.float32)))
    adata.obs["leiden"] = pd.Categorical(codes.astype(str))
    adata.var = genes.set_index(genes["gene_name"], drop=False)
    adata = with_components(adata)
    exact = table_of(adata, n_genes=30).set_index(["cluster", "gene_id"]).sort_index()
    monkeypatch.setattr(rank_test, "MOST_ENTRIES", adata.X.nnz // 3)
    monkeypatch.setattr(rank_test, "FEWEST_RANKED", 50)
    part = table_of(adata, n_genes=30).set_index(["cluster", "gene_id"]).sort_index()
    # levels are of all cells, ranks of a third, or of all of a small cluster
    for name in ("pct_in", "pct_out", "log2_fold_change"):
        assert np.array_equal(part[name], exact[name])
    assert np.abs(part["auc"] - exact["auc"]).max() < 0.06
    best = part.reset_index().sort_values(["cluster", "rank"]).groupby("cluster")
    assert set(best.get_group("1")["gene_id"][:5]) == {f"g{i}" for i in range(5)}
    assert set(best.get_group("2")["gene_id"][:3]) == {"g5", "g6", "g7"}
    again = table_of(adata, n_genes=30).set_index(["cluster", "gene_id"]).sort_index()
    pd.testing.assert_frame_equal(again, part)
