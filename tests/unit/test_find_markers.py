"""Tests of the marker genes."""

from contextlib import contextmanager

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

import find_markers
from _shared.streams import Matrix, write_csr
from find_markers import COLUMNS, MarkerSettings, best_markers, compared, main


@contextmanager
def on_disk(x):
    with h5py.File("in memory", "w", driver="core", backing_store=False) as file:
        write_csr(file, "X", x)
        yield Matrix(file["X"])


def table_of(adata, **options):
    with on_disk(adata.X) as x:
        return best_markers(x, adata.obs["leiden"], adata.var, **options)


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
    return result


def test_the_test_agrees_with_that_of_scipy(adata):
    codes = adata.obs["leiden"].cat.codes.to_numpy().astype(int)
    x = adata.X[:, :50].tocsr()
    with on_disk(adata.X) as matrix:
        detected, result = compared(matrix, codes, 3)
    assert detected.tolist() == list(range(50))
    dense = x.toarray().astype(float)
    for k in range(3):
        inside, outside = dense[codes == k], dense[codes != k]
        expected = stats.mannwhitneyu(
            inside, outside, use_continuity=False, method="asymptotic"
        )
        assert np.allclose(result["p_value"][k], expected.pvalue, rtol=1e-9)
        auc = expected.statistic / (len(inside) * len(outside))
        assert np.allclose(result["auc"][k], auc)
        assert np.allclose(result["pct_in"][k], 100 * (inside > 0).mean(axis=0))
        assert np.allclose(result["pct_out"][k], 100 * (outside > 0).mean(axis=0))
        means = [np.expm1(part).mean(axis=0) + 1 for part in (inside, outside)]
        assert np.allclose(
            result["log2_fold_change"][k], np.log2(means[0] / means[1]), atol=1e-6
        )


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
    main(
        clusters=tmp_path / "clusters.h5ad",
        markers=tmp_path / "markers.tsv",
        settings=MarkerSettings(n_genes=3),
    )
    table = pd.read_csv(tmp_path / "markers.tsv", sep="\t")
    assert table.columns.tolist() == COLUMNS
    assert table.empty


def test_a_cluster_of_one_cell_is_compared(adata):
    adata.obs["leiden"] = pd.Categorical(["1"] + ["0"] * 99)
    table = table_of(adata, n_genes=2)
    assert table["cluster"].tolist() == ["0", "0", "1", "1"]
    assert table["p_value"].between(0, 1).all()


def test_blocks_of_genes_pieces_and_threads_change_nothing(adata, monkeypatch):
    whole = table_of(adata, n_genes=60)
    monkeypatch.setattr(find_markers, "BLOCK", 200)
    monkeypatch.setattr("_shared.rank_test.CHUNK", 60)
    monkeypatch.setattr("_shared.streams.PIECE", 300)
    pd.testing.assert_frame_equal(table_of(adata, n_genes=60, threads=2), whole)


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
    exact = table_of(adata, n_genes=30).set_index(["cluster", "gene_id"]).sort_index()
    monkeypatch.setattr(find_markers, "MOST_ENTRIES", adata.X.nnz // 3)
    monkeypatch.setattr(find_markers, "FEWEST_RANKED", 50)
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
