"""Tests of matrices on disk that are read and written in pieces."""

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared import streams
from _shared.streams import (
    CsrWriter,
    Matrix,
    in_order,
    read_slice,
    sums_by_group,
    write_h5ad,
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 64)
    monkeypatch.setattr(streams, "PIECE", 100)


@pytest.fixture
def counts():
    """40 rows, some of them empty, with values that need one, two and four bytes."""
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.7, (40, 25)).astype(np.int32)
    dense[[0, 7, 8, 39]] = 0
    dense[3, 4], dense[5, 6] = 1000, 2**30
    return sparse.csr_matrix(dense)


def same(one, other):
    return one.dtype == other.dtype and np.array_equal(one.toarray(), other.toarray())


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_rows_that_are_written_in_pieces_are_what_anndata_reads(
    counts, dtype, threads, tmp_path
):
    counts = counts.astype(dtype)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        writer = CsrWriter(
            file, "X", n_columns=25, dtype=np.dtype(dtype), threads=threads
        )
        for start in range(0, 40, 9):
            writer.append(counts[start : start + 9])
        writer.close()
        assert file["X/data"].compression == "gzip"
    with h5py.File(tmp_path / "x.h5") as file:
        # HDF5's own filters undo what isal did
        assert np.array_equal(file["X/indices"][:], counts.indices)
        read = ad.io.read_elem(file["X"])
        assert same(read, counts)
        assert read.indptr.dtype == read.indices.dtype == np.int32
        # and the file can be grown by others
        assert file["X/data"].maxshape == (None,)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "fletcher32": True},
        {"compression": "lzf"},
    ],
)
def test_files_of_others_are_read_as_they_are(counts, options, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        kwargs = options | ({"chunks": (50,)} if options else {})
        ad.io.write_elem(file, "X", counts, dataset_kwargs=kwargs)
        matrix = Matrix(file["X"])
        pieces = [matrix.rows(*rows) for rows in matrix.pieces()]
        assert len(pieces) > 3
        assert same(sparse.vstack(pieces, format="csr"), counts)
        dataset = file["X/data"]
        for start, stop in ((0, 0), (3, 3), (49, 51), (0, 200), (130, len(dataset))):
            assert np.array_equal(read_slice(dataset, start, stop), dataset[start:stop])


def test_pieces_hold_every_row_once_and_end_at_cuts(counts, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        streams.write_csr(file, "X", counts)
        pieces = Matrix(file["X"]).pieces(cuts=[11, 12])
    rows = [row for start, stop in pieces for row in range(start, stop)]
    assert rows == list(range(40))
    assert {11, 12} <= {stop for _, stop in pieces}


def test_a_row_larger_than_a_piece_is_a_piece(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        streams.write_csr(file, "X", sparse.csr_matrix(np.ones((3, 500))))
        assert Matrix(file["X"]).pieces() == [(0, 1), (1, 2), (2, 3)]


@pytest.mark.parametrize("n_rows", [0, 1])
def test_a_matrix_without_entries(n_rows, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        streams.write_csr(file, "X", sparse.csr_matrix((n_rows, 5), dtype=np.int32))
        assert same(
            ad.io.read_elem(file["X"]), sparse.csr_matrix((n_rows, 5), dtype=np.int32)
        )
        assert len(Matrix(file["X"]).pieces()) == n_rows


def test_an_object_comes_back_as_it_was(counts, tmp_path):
    adata = ad.AnnData(counts, obs=pd.DataFrame(index=[f"c{i}" for i in range(40)]))
    adata.obs["sample"] = pd.Categorical(["a", "b"] * 20)
    adata.layers["counts"] = counts.copy()
    adata.layers["fewer"] = sparse.csr_matrix(counts.toarray() // 2)
    adata.obsm["X_pca"] = np.ones((40, 2), dtype=np.float32)
    adata.uns["said"] = {"n": 3}
    write_h5ad(adata, tmp_path / "x.h5ad")
    back = ad.read_h5ad(tmp_path / "x.h5ad")
    assert same(back.X, counts)
    assert same(back.layers["counts"], counts)
    assert same(back.layers["fewer"], adata.layers["fewer"])
    pd.testing.assert_frame_equal(back.obs, adata.obs)
    assert back.obsm["X_pca"].dtype == np.float32
    assert back.uns["said"]["n"] == 3
    with h5py.File(tmp_path / "x.h5ad") as file:
        assert file["X/indices"] == file["layers/counts/indices"]
        assert file["X/indices"] != file["layers/fewer/indices"]


@pytest.mark.parametrize("threads", [1, 3])
def test_results_come_in_the_order_of_the_items(threads):
    results = in_order(lambda n: n**2, range(20), threads=threads)
    assert list(results) == [n**2 for n in range(20)]


def test_an_error_in_a_thread_is_raised():
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda n: 1 // n, [2, 1, 0], threads=2))


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_are_of_the_rows_of_each_group(counts, threads, tmp_path):
    groups = np.array([3, 0, 1, 1] * 10)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        streams.write_csr(file, "X", counts)
        sums = sums_by_group(Matrix(file["X"]), groups, 4, threads=threads)
    dense = counts.toarray()
    expected = [dense[groups == group].sum(axis=0) for group in range(4)]
    assert np.array_equal(sums, expected)
