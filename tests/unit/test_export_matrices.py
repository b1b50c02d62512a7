"""The matrices of a sample are Cell Ranger's format, and the same counts."""

import gzip
import time
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
from scipy import sparse
from scipy.io import mmread

from _shared import streams
from _shared.streams import write_h5ad
from export_matrices import main

# symbols repeat, as in real annotations
pytestmark = pytest.mark.filterwarnings("ignore:Variable names are not unique")


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 64)
    monkeypatch.setattr(streams, "PIECE", 50)


def cells_of(n_cells: int, **var: list[str]) -> ad.AnnData:
    """Return counts of five genes, with a cell and a gene that have none."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(0.8, (n_cells, 5)).astype(np.int32)
    counts[1:2], counts[:, 3] = 0, 0
    counts[:1, 0] = 70_000
    names = [f"AC{i:03d}-001" for i in range(n_cells)]
    genes = pd.DataFrame(var, index=[f"ENSG{i}" for i in range(5)])
    adata = ad.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"sample": ["001"] * n_cells}, index=names),
        var=genes.rename_axis("gene_id"),
    )
    adata.layers["counts"] = adata.X.copy()
    return adata


def export(folder: Path, adata: ad.AnnData) -> SimpleNamespace:
    folder.mkdir()
    write_h5ad(adata, folder / "cells.h5ad")
    paths = {
        "barcodes": folder / "001/barcodes.tsv.gz",
        "features": folder / "001/features.tsv.gz",
        "matrix": folder / "001/matrix.mtx.gz",
        "h5": folder / "001.h5",
    }
    (folder / "001").mkdir()
    main(cells=folder / "cells.h5ad", **paths)
    return SimpleNamespace(folder=folder / "001", **paths)


def text(path: Path) -> str:
    with gzip.open(path, "rt") as lines:
        return lines.read()


NAMES = ["B", "A", "A", "MT-X", "Ö"]


def test_scanpy_reads_both_forms_as_the_same_counts(tmp_path):
    adata = cells_of(40, gene_name=NAMES)
    made = export(tmp_path / "x", adata)
    folder = sc.read_10x_mtx(made.folder, var_names="gene_ids")
    file = sc.read_10x_h5(made.h5)
    assert file.var["gene_ids"].tolist() == adata.var_names.tolist()
    # the file has ASCII alone, as its readers expect
    assert file.var_names.tolist() == [*NAMES[:4], r"\xd6"]
    assert folder.var["gene_symbols"].tolist() == NAMES
    for found in (folder, file):
        assert found.obs_names.tolist() == adata.obs_names.tolist()
        assert (adata.layers["counts"] != found.X).nnz == 0
        assert set(found.var["feature_types"]) == {"Gene Expression"}


def test_the_raw_counts_are_written_whatever_goes_on(tmp_path):
    adata = cells_of(9, gene_name=NAMES)
    adata.X = adata.X * 0
    made = export(tmp_path / "x", adata)
    assert (adata.layers["counts"] != sc.read_10x_h5(made.h5).X).nnz == 0


def test_the_folder_is_text_in_three_columns(tmp_path):
    made = export(tmp_path / "x", cells_of(3, gene_name=NAMES))
    assert text(made.features).splitlines()[4] == "ENSG4\tÖ\tGene Expression"
    assert text(made.barcodes) == "AC000-001\nAC001-001\nAC002-001\n"
    first, size, *entries = text(made.matrix).splitlines()
    assert first == "%%MatrixMarket matrix coordinate integer general"
    assert size == f"5 3 {len(entries)}"
    assert entries[0] == "1 1 70000"


def test_the_types_are_those_of_cell_ranger(tmp_path):
    made = export(tmp_path / "x", cells_of(40, gene_name=NAMES))
    with h5py.File(made.h5) as file:
        assert file.attrs["filetype"] == "matrix"
        group = file["matrix"]
        kinds = {name: group[name].dtype.str for name in group if name != "features"}
        assert kinds == {
            "barcodes": "|S9",
            "data": "<i4",
            "indices": "<i8",
            "indptr": "<i8",
            "shape": "<i4",
        }
        assert group["shape"][:].tolist() == [5, 40]
        assert group["features/_all_tag_keys"][:].tolist() == [b"genome"]


def test_genes_of_several_species_say_which(tmp_path):
    species = ["human", "human", "mouse", "mouse", "mouse"]
    made = export(tmp_path / "x", cells_of(4, gene_name=NAMES, species=species))
    assert sc.read_10x_h5(made.h5).var["genome"].tolist() == species


def test_genes_without_names_have_their_ids(tmp_path):
    made = export(tmp_path / "x", cells_of(4))
    assert text(made.features).splitlines()[0] == "ENSG0\tENSG0\tGene Expression"


def test_a_sample_without_cells_has_valid_empty_files(tmp_path):
    made = export(tmp_path / "x", cells_of(0, gene_name=NAMES))
    assert sc.read_10x_h5(made.h5).shape == (0, 5)
    assert text(made.barcodes) == ""
    assert len(text(made.features).splitlines()) == 5
    assert mmread(str(made.matrix), spmatrix=False).shape == (5, 0)


def test_the_same_counts_make_the_same_bytes(tmp_path, monkeypatch):
    now = time.time()
    made = []
    for i, folder in enumerate(("a", "b")):
        monkeypatch.setattr(time, "time", lambda i=i: now + 5000 * i)
        made.append(export(tmp_path / folder, cells_of(40, gene_name=NAMES)))
    for name in ("barcodes", "features", "matrix", "h5"):
        one, other = (getattr(of, name).read_bytes() for of in made)
        assert one == other, name
