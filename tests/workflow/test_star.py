"""What the workflow asks of STAR itself, on matrices of a few barcodes."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from running import ROOT
from scipy import io, sparse

from call_cells import called_by_star

pytestmark = pytest.mark.skipif(shutil.which("STAR") is None, reason="no STAR on PATH")
SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]


def write_raw(folder, counts):
    """Write a gzipped raw matrix as `count_reads` leaves it; return its folder."""
    folder.mkdir()
    io.mmwrite(folder / "matrix.mtx", sparse.coo_matrix(counts.T))
    (folder / "barcodes.tsv").write_text("".join(f"B{i}\n" for i in range(len(counts))))
    genes = range(counts.shape[1])
    (folder / "features.tsv").write_text(
        "".join(f"G{i}\tg{i}\tGene Expression\n" for i in genes)
    )
    for path in list(folder.iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


@pytest.mark.parametrize("method", ["CellRanger2.2", "EmptyDrops_CR"])
def test_every_cell_is_called_also_the_last_barcode(tmp_path, monkeypatch, method):
    monkeypatch.chdir(tmp_path)
    counts = np.ones((60, 5), dtype=int)
    is_cell = np.zeros(60, dtype=bool)
    is_cell[[0, 7, 31, 59]] = True
    counts[is_cell] = 200
    settings = SETTINGS | {"method": method, "expected_cells": 4}
    called, evidence = called_by_star(write_raw(tmp_path / "raw", counts), settings)
    assert called == ["B0", "B7", "B31", "B59"]
    assert any("nCells" in line or "cells" in line for line in evidence)
    assert [path for path in Path().iterdir() if path.name != "raw"] == []
