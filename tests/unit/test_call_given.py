"""Cells of a given matrix: all of its barcodes, or those that are called."""

import json

import anndata as ad
import pandas as pd
import pytest
import yaml
from running import ROOT
from scipy import sparse

from _shared.cell_callers import CallSettings
from call_given import main
from simulated_counts import Plan, make_profiles, simulate_sample

SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]
PLAN = Plan(n_genes=300, n_types=3, rare_shares=(), ambient_share=0.05)
COLUMNS = {
    "called": ["barcode", "total_counts"],
    "ranks": ["rank", "total_counts", "is_cell_share"],
}


def droplets(n_cells, n_empty):
    return simulate_sample(
        PLAN,
        make_profiles(PLAN, seed=1),
        sample="s",
        batch=0,
        n_cells=n_cells,
        seed=1,
        n_empty=n_empty,
    )


def call(folder, adata):
    """Write the matrix, call its cells, return what was written."""
    adata.copy().write_h5ad(folder / "given.h5ad")
    names = ("called", "callers", "ranks", "calling")
    outputs = {name: folder / name for name in names}
    main(
        counts=folder / "given.h5ad",
        settings=CallSettings(**SETTINGS),
        outputs=outputs,
        seed=1,
    )
    tables = {name: pd.read_csv(outputs[name], sep="\t") for name in names[:3]}
    for name, columns in COLUMNS.items():
        assert list(tables[name]) == columns
    return tables | {"calling": json.loads(outputs["calling"].read_text())}


def test_all_barcodes_of_a_matrix_of_cells_are_cells(tmp_path):
    adata = droplets(40, 0)
    # somebody called it a cell: it is for the filters to drop it
    adata.X[3] = sparse.csr_matrix((1, adata.n_vars), dtype=adata.X.dtype)
    found = call(tmp_path, adata)
    assert found["called"]["barcode"].tolist() == list(adata.obs_names)
    assert found["calling"]["method_used"] == "given"
    assert found["calling"]["matrix"] == "called cells"
    assert found["calling"]["n_called"] == 40
    assert found["calling"]["barcodes_seen"] == 40
    assert found["callers"]["n_cells"].tolist() == [40]
    assert "holds called cells" in found["calling"]["evidence"][0]


def test_cells_are_called_among_all_droplets(tmp_path):
    adata = droplets(100, 1500)
    found = call(tmp_path, adata)
    is_cell = adata.obs_names.isin(found["called"]["barcode"])
    assert (is_cell == (adata.obs["true_type"] != "empty")).mean() > 0.995
    assert found["calling"]["matrix"] == "all droplets"
    assert found["calling"]["method_used"] in ("EmptyDrops_CR", "CellRanger2.2")
    assert found["calling"]["n_called"] == is_cell.sum()
    assert found["calling"]["barcodes_seen"] == 1600
    assert "holds empty droplets" in found["calling"]["evidence"][0]
    assert found["callers"]["chosen"].sum() == 1
    assert len(found["callers"]) >= 2


@pytest.mark.parametrize("n", [0, 1, 3])
def test_few_barcodes_have_a_defined_answer(n, tmp_path):
    found = call(tmp_path, droplets(10, 0)[:n])
    assert len(found["called"]) == found["calling"]["n_called"] == n
    assert found["calling"]["method_used"] == "given"


def test_a_raw_matrix_without_counts_has_no_cells(tmp_path):
    nothing = sparse.csr_matrix((20, 5), dtype="int32")
    obs = pd.DataFrame(index=[f"B{n}" for n in range(20)])
    found = call(tmp_path, ad.AnnData(nothing, obs=obs))
    assert found["calling"]["n_called"] == 0
    assert found["called"].empty
    assert found["calling"]["evidence"][-1] == "no counts, so no cells"
