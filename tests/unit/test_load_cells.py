"""Called cells in the form of the contract."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from _shared.logs import UserError
from load_cells import as_anndata, main

SETTINGS = {"feature": "Gene", "mito_pattern": "^MT-"}


def test_starsolo_cells_get_genes_and_sheet_columns(tmp_path):
    raw = tmp_path / "Solo.out/Gene/raw"
    raw.mkdir(parents=True)
    io.mmwrite(raw / "matrix.mtx", sparse.coo_matrix([[1, 0, 5], [0, 2, 7]]))
    (raw / "barcodes.tsv").write_text("AA\nCC\nGG\n")
    (raw / "features.tsv").write_text(
        "G2\tx\tGene Expression\nG1\ty\tGene Expression\n"
    )
    for path in list(raw.iterdir()):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
    (tmp_path / "called.tsv").write_text("barcode\ttotal_counts\nGG\t12\nAA\t1\n")
    (tmp_path / "genes.tsv").write_text(
        "gene_id\tgene_name\tgene_biotype\tchromosome\tis_mito\n"
        "G1\tNA\t\tchrM\tTrue\nG2\tx\tlncRNA\tchr1\tFalse\n"
    )
    main(
        sources={
            "solo": tmp_path / "Solo.out",
            "called": tmp_path / "called.tsv",
            "genes": tmp_path / "genes.tsv",
        },
        sample="s1",
        settings=SETTINGS,
        sheet={"condition": "stim"},
        out=tmp_path / "called.h5ad",
    )
    adata = ad.read_h5ad(tmp_path / "called.h5ad")
    assert list(adata.obs_names) == ["AA-s1", "GG-s1"]
    assert list(adata.var_names) == ["G2", "G1"]
    assert adata.var["gene_name"].tolist() == ["x", "NA"]
    assert adata.var["is_mito"].tolist() == [False, True]
    assert adata.X.toarray().tolist() == [[1, 0], [5, 7]]
    assert adata.obs["condition"].tolist() == ["stim", "stim"]


def test_a_suffix_of_cell_ranger_is_taken_off():
    var = pd.DataFrame({"is_mito": [False]}, index=["G"])
    adata = as_anndata(
        sparse.csr_matrix(np.ones((1, 1))),
        np.array(["AA-1"]),
        var,
        sample="s",
        sheet={},
    )
    assert list(adata.obs_names) == ["AA-s"]


def test_a_repeated_barcode_or_gene_is_refused():
    counts = sparse.csr_matrix(np.ones((2, 2)))
    var = pd.DataFrame(index=["G", "H"])
    with pytest.raises(UserError, match="sample s: barcode 'AA' stands there twice"):
        as_anndata(counts, np.array(["AA-1", "AA"]), var, sample="s", sheet={})
    with pytest.raises(UserError, match="gene id 'G' stands there twice"):
        as_anndata(
            counts,
            np.array(["AA", "CC"]),
            pd.DataFrame(index=["G", "G"]),
            sample="s",
            sheet={},
        )
