"""Count matrices of every accepted form give the same cells and genes."""

import gzip
import re
from dataclasses import replace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from _shared.logs import UserError
from _shared.matrices import as_counts, emptiness, read_matrix, read_mtx
from simulated_counts import Plan, make_profiles, simulate_sample

COUNTS = np.array([[20, 0, 3], [0, 15, 1]])
IDS, NAMES = ["G1", "G2", "G3"], ["ACTB", "MT-CO1", "NA"]
MITO = re.compile("^MT-")


def write_mtx(folder, *, suffix="", features="features.tsv", kinds=None, counts=COUNTS):
    folder.mkdir()
    kinds = kinds or ["Gene Expression"] * len(IDS)
    rows = zip(IDS, NAMES, kinds, strict=True)
    texts = {
        "barcodes.tsv": "".join(f"B{i}-1\n" for i in range(len(counts))),
        features: "".join("\t".join(row) + "\n" for row in rows),
    }
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(counts.T))
    for name, text in texts.items():
        (folder / name).write_text(text)
    if suffix:
        for path in list(folder.iterdir()):
            path.with_name(path.name + ".gz").write_bytes(
                gzip.compress(path.read_bytes())
            )
            path.unlink()
    return folder


def write_h5(path):
    matrix = sparse.csr_matrix(COUNTS)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"] = matrix.data, matrix.indices
        group["indptr"], group["shape"] = matrix.indptr, COUNTS.T.shape
        group["barcodes"] = np.array([b"B0-1", b"B1-1"])
        group["features/id"] = np.array(IDS, dtype="S")
        group["features/name"] = np.array(NAMES, dtype="S")
        group["features/feature_type"] = np.array([b"Gene Expression"] * 3)
    return path


def write_h5ad(path):
    var = pd.DataFrame({"gene_name": NAMES}, index=IDS)
    obs = pd.DataFrame(index=["B0-1", "B1-1"])
    ad.AnnData(COUNTS.astype(np.float32), obs=obs, var=var).write_h5ad(path)
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_mtx(folder / "m"),
        lambda folder: write_mtx(folder / "m", suffix=".gz"),
        lambda folder: write_mtx(folder / "m", features="genes.tsv"),
        lambda folder: write_h5(folder / "m.h5"),
        lambda folder: write_h5ad(folder / "m.h5ad"),
    ],
    ids=["mtx", "gzipped mtx", "genes.tsv", "h5", "h5ad"],
)
def test_every_form_gives_the_same(write, tmp_path):
    counts, barcodes, var = read_matrix(write(tmp_path), MITO)
    assert (counts.toarray() == COUNTS).all()
    assert counts.dtype == np.int32
    assert list(barcodes) == ["B0-1", "B1-1"]
    assert var["gene_name"].to_dict() == dict(zip(IDS, NAMES, strict=True))
    assert var["is_mito"].tolist() == [False, True, False]


def test_only_gene_expression_is_taken(tmp_path):
    kinds = ["Gene Expression", "Gene Expression", "Antibody Capture"]
    counts, _, var = read_matrix(write_mtx(tmp_path / "m", kinds=kinds), MITO)
    assert counts.shape == (2, 2)
    assert list(var.index) == ["G1", "G2"]


def test_a_layer_of_counts_goes_before_x(tmp_path):
    adata = ad.AnnData(np.log1p(COUNTS).astype(np.float32), layers={"counts": COUNTS})
    adata.write_h5ad(tmp_path / "m.h5ad")
    counts, _, _ = read_matrix(tmp_path / "m.h5ad", MITO)
    assert (counts.toarray() == COUNTS).all()


def test_values_that_are_no_counts_are_refused(tmp_path):
    with pytest.raises(UserError, match="no counts"):
        as_counts(np.array([[0.5]]), source=tmp_path)
    with pytest.raises(UserError, match="no counts"):
        as_counts(np.array([[-1]]), source=tmp_path)


def test_mostly_empty_barcodes_tell_a_raw_matrix():
    raw, said = emptiness(sparse.csr_matrix([[20, 0, 0], *[[1, 0, 0]] * 5]))
    assert raw
    assert said == (
        "83.3% of 6 barcodes have fewer than 10 counts, so the matrix holds empty "
        "droplets"
    )


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_much_ambient_rna_does_not_hide_a_raw_matrix(share):
    plan = Plan(n_genes=500, n_types=5, ambient_share=share, median_counts=2000)
    droplets = simulate_sample(
        plan,
        make_profiles(plan, seed=1),
        sample="s",
        batch=0,
        n_cells=300,
        seed=2,
        n_empty=2000,
    )
    raw, said = emptiness(droplets.X)
    assert raw
    assert "all one profile" in said
    assert not emptiness(droplets.X[:300])[0]


def test_small_cells_of_several_types_are_no_soup():
    plan = Plan(n_genes=500, n_types=5, median_counts=150)
    profiles, deep = make_profiles(plan, seed=1), replace(plan, median_counts=5000)
    small, large = (
        simulate_sample(which, profiles, sample="s", batch=0, n_cells=n, seed=2).X
        for which, n in ((plan, 400), (deep, 100))
    )
    assert not emptiness(sparse.vstack([small, large]).tocsr())[0]


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_barcodes_are_called_cells(n):
    assert not emptiness(sparse.csr_matrix(np.full((n, 4), 50)))[0]


def test_files_that_do_not_fit_together_are_refused(tmp_path):
    folder = write_mtx(tmp_path / "m")
    (folder / "barcodes.tsv").write_text("B0\n")
    with pytest.raises(UserError, match=r"matrix has 2 barcodes.*tables have 1"):
        read_mtx(folder)
    (folder / "barcodes.tsv").unlink()
    with pytest.raises(UserError, match=r"has no barcodes.tsv"):
        read_mtx(folder)


@pytest.mark.parametrize("name", ["m.txt", "m.h5", "m.h5ad"])
def test_what_is_no_matrix_is_refused(tmp_path, name):
    (tmp_path / name).write_text("nonsense")
    with pytest.raises(
        UserError, match=rf"{name}: (is no count matrix|cannot be read)"
    ):
        read_matrix(tmp_path / name, MITO)


def test_an_object_without_counts_is_refused(tmp_path):
    ad.AnnData(obs=pd.DataFrame(index=["a"])).write_h5ad(tmp_path / "m.h5ad")
    with pytest.raises(UserError, match="neither a layer counts nor X"):
        read_matrix(tmp_path / "m.h5ad", MITO)


@pytest.mark.parametrize("name", ["matrix.mtx", "barcodes.tsv", "features.tsv"])
def test_a_cut_file_is_named(tmp_path, name):
    folder = write_mtx(tmp_path / "m", suffix=".gz")
    path = folder / f"{name}.gz"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match=f"{path}: cannot be read"):
        read_matrix(folder, MITO)
