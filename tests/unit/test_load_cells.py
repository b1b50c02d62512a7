"""Called cells in the form of the contract."""

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from _shared.logs import UserError
from load_cells import as_anndata, main, percent_intronic

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
        out=tmp_path / "called.h5ad",
    )
    adata = ad.read_h5ad(tmp_path / "called.h5ad")
    assert list(adata.obs_names) == ["AA-s1", "GG-s1"]
    assert list(adata.var_names) == ["G2", "G1"]
    assert adata.var["gene_name"].tolist() == ["x", "NA"]
    assert adata.var["is_mito"].tolist() == [False, True]
    assert adata.X.toarray().tolist() == [[1, 0], [5, 7]]
    assert adata.obs["sample"].tolist() == ["s1", "s1"]


def test_a_suffix_of_cell_ranger_is_taken_off():
    var = pd.DataFrame({"is_mito": [False]}, index=["G"])
    adata = as_anndata(
        sparse.csr_matrix(np.ones((1, 1))),
        np.array(["AA-1"]),
        var,
        sample="s",
    )
    assert list(adata.obs_names) == ["AA-s"]


def test_a_repeated_barcode_or_gene_is_refused():
    counts = sparse.csr_matrix(np.ones((2, 2)))
    var = pd.DataFrame(index=["G", "H"])
    with pytest.raises(UserError, match="sample s: barcode 'AA' stands there twice"):
        as_anndata(counts, np.array(["AA-1", "AA"]), var, sample="s")
    with pytest.raises(UserError, match="gene id 'G' stands there twice"):
        as_anndata(
            counts,
            np.array(["AA", "CC"]),
            pd.DataFrame(index=["G", "G"]),
            sample="s",
        )


def write_raw(folder, counts, barcodes):
    """Write a raw matrix of STARsolo, barcodes x genes."""
    folder.mkdir(parents=True)
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(np.array(counts).T))
    (folder / "barcodes.tsv").write_text("".join(f"{name}\n" for name in barcodes))
    n_genes = len(counts[0])
    genes = "".join(f"G{n}\tg{n}\tGene Expression\n" for n in range(n_genes))
    (folder / "features.tsv").write_text(genes)


def test_only_called_barcodes_of_a_given_matrix_are_cells(tmp_path):
    write_raw(tmp_path / "m", [[0, 1], [4, 5], [6, 0]], ["NA", "CC-1", "GG-1"])
    (tmp_path / "called.tsv").write_text("barcode\ttotal_counts\nGG-1\t6\nNA\t1\n")
    main(
        sources={"counts": tmp_path / "m", "called": tmp_path / "called.tsv"},
        sample="s1",
        settings=SETTINGS | {"mito_pattern": "^g1$"},
        out=tmp_path / "called.h5ad",
    )
    adata = ad.read_h5ad(tmp_path / "called.h5ad")
    assert list(adata.obs_names) == ["NA-s1", "GG-s1"]
    assert adata.X.toarray().tolist() == [[0, 1], [6, 0]]
    assert adata.var["is_mito"].tolist() == [False, True]
    assert "pct_intronic" not in adata.obs


def test_intronic_share_is_what_the_matrix_with_introns_has_more(tmp_path):
    # its barcodes are others, and in another order
    write_raw(tmp_path / "Gene/raw", [[1, 1], [3, 2]], ["CC", "AA"])
    full = [[5, 5], [4, 0], [3, 1], [0, 0]]
    write_raw(tmp_path / "GeneFull/raw", full, ["AA", "CC", "TT", "GG"])
    barcodes = pd.Index(["AA", "CC", "TT", "GG"])
    found = percent_intronic(tmp_path, barcodes, feature="Gene")
    assert found.tolist() == [50, 50, 100, 0]


def test_intronic_share_is_never_negative(tmp_path):
    write_raw(tmp_path / "Gene/raw", [[4, 4]], ["AA"])
    write_raw(tmp_path / "GeneFull_Ex50pAS/raw", [[4, 3]], ["AA"])
    found = percent_intronic(tmp_path, pd.Index(["AA"]), feature="GeneFull_Ex50pAS")
    assert found.tolist() == [0]


def test_intronic_share_is_that_of_the_reads_where_one_matrix_is_counted(tmp_path):
    folder = tmp_path / "GeneFull_Ex50pAS"
    write_raw(folder / "raw", [[4, 3]], ["AA"])
    assert percent_intronic(tmp_path, pd.Index(["AA"]), feature=folder.name) is None
    header = "CB\texonic\tintronic\texonicAS\n"
    (folder / "CellReads.stats").write_text(f"{header}AA\t6\t2\t1\nCC\t1\t1\t0\n")
    found = percent_intronic(tmp_path, pd.Index(["AA"]), feature=folder.name)
    assert found.tolist() == [25]
    # STAR leaves the columns of regions empty for other matrices
    (folder / "CellReads.stats").write_text(f"{header}AA\t6\t0\t0\n")
    assert percent_intronic(tmp_path, pd.Index(["AA"]), feature=folder.name) is None


def test_intronic_share_stands_beside_the_sample(tmp_path):
    adata = as_anndata(
        sparse.csr_matrix(np.ones((2, 1))),
        np.array(["AA", "CC"]),
        pd.DataFrame(index=["G"]),
        sample="s",
        intronic=np.array([1.5, 0]),
    )
    assert adata.obs["pct_intronic"].tolist() == [1.5, 0]
