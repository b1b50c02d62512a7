"""Tests of the labels of clusters."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from _shared.logs import UserError
from _shared.marker_table import read_markers
from annotate_clusters import ANNOTATION_COLUMNS, AnnotateSettings, main

SETTINGS = AnnotateSettings(markers="", min_score=0.5, min_lead=0.1)
TABLE = """\
cell_type	gene	direction
T cell	CD3D	up
T cell	CD3E	up
T cell	CD79A	down
B cell	CD79A	up
B cell	MS4A1	up
B cell	CD3D	down
"""
SYMBOLS = ["CD3D", "CD3E", "CD79A", "MS4A1", "ACTB"]


def cells(**expression):
    """Make ten cells per cluster with the given mean log expression of each gene."""
    means = np.array(list(expression.values()), dtype=float).reshape(-1, 5)
    x = np.repeat(means, 10, axis=0)
    labels = np.repeat([name.removeprefix("c") for name in expression], 10)
    return ad.AnnData(
        sparse.csr_matrix(x.astype(np.float32)),
        obs=pd.DataFrame(
            {"leiden": pd.Categorical(labels)},
            index=[f"c{i}" for i in range(len(labels))],
        ),
        var=pd.DataFrame({"gene_name": SYMBOLS}, index=[f"ENSG{i}" for i in range(5)]),
    )


@pytest.fixture
def annotate(tmp_path):
    def run(adata, table=TABLE, settings=SETTINGS):
        adata.write_h5ad(tmp_path / "clusters.h5ad")
        (tmp_path / "markers.tsv").write_text(table or "")
        main(
            clusters=tmp_path / "clusters.h5ad",
            markers=tmp_path / "markers.tsv" if table else None,
            labels=tmp_path / "annotation.tsv",
            scores=tmp_path / "scores.tsv",
            settings=settings,
        )
        text = {"cluster": str}
        annotation = pd.read_csv(
            tmp_path / "annotation.tsv", sep="\t", dtype=text, keep_default_na=False
        )
        scores = pd.read_csv(tmp_path / "scores.tsv", sep="\t", dtype=text)
        assert annotation.columns.tolist() == ANNOTATION_COLUMNS
        assert scores.columns.tolist() == ["cluster", "cell_type", "score"]
        return annotation.set_index("cluster"), scores

    return run


def test_clusters_get_the_type_whose_markers_they_express(annotate):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4])
    annotation, scores = annotate(adata)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]
    assert annotation["runner_up"].tolist() == ["B cell", "T cell"]
    assert annotation["n_cells"].tolist() == [10, 10]
    assert annotation.loc["0", "evidence"] == "CD3D,CD3E"
    assert len(scores) == 4
    # all up genes at their highest, no down gene: only the floor takes from 1
    expected = np.mean([3 / 3.1, 2 / 2.1])
    assert np.isclose(float(annotation.loc["0", "score"]), expected, atol=1e-5)


def test_a_lone_cluster_is_labeled(annotate):
    annotation, _ = annotate(cells(c0=[0.02, 0.01, 2, 1.5, 4]))
    assert annotation.loc["0", "cell_type"] == "B cell"


def test_a_cluster_without_the_markers_is_unknown(annotate):
    adata = cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4], c2=[0.1, 0, 0.1, 0, 4])
    annotation, _ = annotate(adata)
    assert annotation.loc["2", "cell_type"] == "unknown"
    assert annotation.loc["2", "evidence"] == ""
    assert annotation.loc["2", "runner_up"] in ("T cell", "B cell")


def test_a_cluster_with_the_markers_of_two_types_is_unknown(annotate):
    table = "".join(row for row in TABLE.splitlines(keepends=True) if "down" not in row)
    adata = cells(c0=[3, 2, 3, 2, 4], c1=[0, 0, 3, 2, 4])
    annotation, _ = annotate(adata, table)
    assert annotation["cell_type"].tolist() == ["unknown", "B cell"]


def test_ambient_traces_of_a_missing_type_do_not_make_it(annotate):
    adata = cells(c0=[3, 2, 0.05, 0.02, 4], c1=[2.5, 2, 0.03, 0.01, 4])
    annotation, _ = annotate(adata)
    assert annotation["cell_type"].tolist() == ["T cell", "T cell"]


def test_ids_name_genes_as_well_as_symbols(annotate):
    table = TABLE.replace("CD79A", "ENSG2").replace("MS4A1", "ENSG3")
    annotation, _ = annotate(cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]), table)
    assert annotation["cell_type"].tolist() == ["T cell", "B cell"]


def test_without_a_table_all_clusters_are_unknown(annotate):
    annotation, scores = annotate(cells(c0=[3, 2, 0, 0, 4], c1=[0, 0, 3, 2, 4]), None)
    assert annotation["cell_type"].tolist() == ["unknown", "unknown"]
    assert scores.empty


def test_without_cells_the_tables_have_no_rows(annotate):
    annotation, scores = annotate(cells())
    assert annotation.empty
    assert scores.empty


def test_a_table_of_another_species_is_refused(annotate):
    table = "cell_type\tgene\tdirection\nT cell\tCd3d\tup\n"
    with pytest.raises(UserError, match=r"none of its 1 genes \(such as Cd3d\)"):
        annotate(cells(c0=[1, 1, 1, 1, 1]), table)


def test_absent_genes_are_named_in_the_log(annotate, caplog):
    annotate(cells(c0=[3, 2, 0, 0, 4]), TABLE + "T cell\tTRAC\tup\n")
    assert "['TRAC']" in caplog.text


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("cell_type\tgene\n", "row 1: column 'direction'"),
        ("", "row 1: column 'cell_type'"),
        ("cell_type\tgene\tdirection\n", "no markers"),
        ("cell_type\tgene\tdirection\nT\tCD3D\tUP\n", "row 2, column 'direction'"),
        ("cell_type\tgene\tdirection\nT\t\tup\n", "row 2, column 'gene'"),
        ("cell_type\tgene\tdirection\n\nT\tA\n", "row 3, column 'direction'"),
        ("cell_type\tgene\tdirection\nunknown\tA\tup\n", "row 2, column 'cell_type'"),
        (
            "cell_type\tgene\tdirection\nT\tA\tup\nT\tA\tdown\n",
            "row 3, column 'direction'",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_file_row_and_column(table, message, tmp_path):
    path = tmp_path / "markers.tsv"
    path.write_text(table)
    with pytest.raises(UserError, match=message) as error:
        read_markers(path)
    assert str(path) in str(error.value)
