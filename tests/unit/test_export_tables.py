"""Parquet has the values of the text tables, and text stays text."""

from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import export_tables
from export_tables import NUMBERS, TEXT, TYPES, WHOLE, main
from find_markers import COLUMNS as MARKERS
from test_expression import COLUMNS as EXPRESSION
from test_gene_sets import COLUMNS as GENE_SETS

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))
ROWS = {
    "expression": pd.DataFrame(
        {
            "cell_type": ["001", 'a "b"\tc', ""],
            "contrast": ["NA", "x", "y"],
            "gene_id": ["1", "2", "3"],
            "gene_name": ["nan", "inf", "TRUE"],
            "evidence": "tested",
            "base_mean": [0.1, 1e300, 123456789.123],
            "log2_fold_change": [-0.3, np.nan, np.inf],
            "p_value": [5e-324, 1, 0.1 + 0.2],
        }
    ),
    "markers": pd.DataFrame({"cluster": ["01", "3.0"], "rank": [1, 2], "auc": [1, 0]}),
    "gene_sets": pd.DataFrame(columns=GENE_SETS),
}


@pytest.fixture
def made(tmp_path) -> dict[str, Path]:
    """Return the Parquet files of three tables and an object, by name."""
    rng = np.random.default_rng(0)
    adata = tree.clusters(
        rng, samples=("001", "A.1"), n_cells=7, n_genes=20, n_clusters=2
    )
    adata.write_h5ad(tmp_path / "cells.h5ad")
    tables = {name: tmp_path / f"{name}.tsv" for name in ROWS}
    for name, path in tables.items():
        ROWS[name].to_csv(path, sep="\t", index=False)
    exported = {name: tmp_path / f"{name}.parquet" for name in [*ROWS, "cells"]}
    main(tables=tables, cells=tmp_path / "cells.h5ad", exported=exported)
    return exported


@pytest.mark.parametrize("name", ["expression", "markers"])
def test_values_are_those_of_the_text(made, name):
    found = pd.read_parquet(made[name])
    pd.testing.assert_frame_equal(
        found, ROWS[name], check_exact=True, check_dtype=False
    )


def test_names_that_look_like_numbers_stay_text(made):
    found = parquet.read_table(made["expression"])
    for name in ("cell_type", "gene_id", "gene_name", "contrast"):
        assert found.schema.field(name).type == pa.string()
        assert found[name].null_count == 0
    assert parquet.read_table(made["markers"])["cluster"].to_pylist() == ["01", "3.0"]


def test_a_table_without_rows_has_its_types(made):
    found = parquet.read_table(made["gene_sets"])
    assert found.num_rows == 0
    assert found.schema.field("n_genes").type == pa.int64()
    assert found.schema.field("padj").type == pa.float64()
    assert found.schema.field("leading_edge").type == pa.string()


def test_a_missing_number_is_null_and_infinity_stays(made):
    column = parquet.read_table(made["expression"])["log2_fold_change"]
    assert column.null_count == 1
    assert column.to_pylist() == [-0.3, None, float("inf")]


@pytest.mark.parametrize("rows", [3, 100_000])
def test_the_table_of_cells_is_that_of_the_object(made, tmp_path, monkeypatch, rows):
    monkeypatch.setattr(export_tables, "ROWS", rows)
    cells = tmp_path / "again.parquet"
    main(tables={}, cells=tmp_path / "cells.h5ad", exported={"cells": cells})
    obs = ad.read_h5ad(tmp_path / "cells.h5ad").obs
    found = pd.read_parquet(cells)
    assert found["cell"].tolist() == obs.index.tolist()
    assert found["sample"].tolist() == obs["sample"].astype(str).tolist()
    assert found["leiden"].tolist() == obs["leiden"].astype(str).tolist()
    assert (found["total_counts"] == obs["total_counts"].to_numpy()).all()
    assert found["pct_counts_hb"].isna().all()
    assert found["predicted_doublet"].dtype == bool
    assert found["leiden_stability"].dtype == np.float32
    assert list(found) == ["cell", *obs]


def test_an_object_without_cells_has_its_columns(tmp_path):
    rng = np.random.default_rng(0)
    adata = tree.clusters(rng, samples=("a",), n_cells=3, n_genes=20, n_clusters=1)
    adata[:0].copy().write_h5ad(tmp_path / "cells.h5ad")
    cells = tmp_path / "cells.parquet"
    main(tables={}, cells=tmp_path / "cells.h5ad", exported={"cells": cells})
    assert parquet.read_schema(cells).names == ["cell", *adata.obs]


def test_the_same_tables_make_the_same_bytes(made, tmp_path):
    before = made["cells"].read_bytes()
    exported = {"cells": tmp_path / "again.parquet"}
    main(tables={}, cells=tmp_path / "cells.h5ad", exported=exported)
    assert exported["cells"].read_bytes() == before


def test_every_column_of_the_tables_has_a_type():
    composition = {"share_tested", "log2_ratio", "ci_low", "statistic", "padj"}
    assert {"cluster", *MARKERS, *EXPRESSION, *GENE_SETS, *composition} <= set(TYPES)
    assert len(TYPES) == len(TEXT) + len(WHOLE) + len(NUMBERS)


def test_a_column_without_a_type_is_refused(tmp_path):
    path = tmp_path / "x.tsv"
    path.write_text("cell_type\tnovel\n")
    with pytest.raises(
        ValueError, match=r"no type is known of the columns \['novel'\]"
    ):
        main(tables={"x": path}, cells=path, exported={"x": tmp_path / "x.parquet"})
