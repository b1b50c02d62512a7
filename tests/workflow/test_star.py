"""Our cell callers against STAR's own, on simulated droplets."""

import shutil
import subprocess

import numpy as np
import pytest
import yaml
from running import ROOT
from scipy import sparse

from _shared.cell_callers import CallSettings, calls_of

pytestmark = pytest.mark.skipif(shutil.which("STAR") is None, reason="no STAR on PATH")
SETTINGS = yaml.safe_load((ROOT / "config/config.yaml").read_text())["call_cells"]
N_CELLS, N_SMALL, N_EMPTY, N_GENES = 200, 150, 3000, 500


def droplets():
    """Return counts of cells, of small cells ever less like the soup, and of soup."""
    rng = np.random.default_rng(0)
    soup = rng.lognormal(0, 1.5, N_GENES)
    large = [soup * rng.lognormal(0, 1, N_GENES)] * N_CELLS
    small = [soup * rng.lognormal(0, like, N_GENES) for like in np.linspace(0, 1, 150)]
    sizes = [
        *rng.integers(4000, 9000, N_CELLS),
        *rng.integers(300, 500, N_SMALL),
        *rng.integers(5, 60, N_EMPTY),
    ]
    kinds = [*large, *small, *[soup] * N_EMPTY]
    rows = [
        rng.multinomial(size, kind / kind.sum())
        for size, kind in zip(sizes, kinds, strict=True)
    ]
    return sparse.csr_matrix(np.array(rows))


def called_by_star(counts, folder, options):
    """Return which rows STAR calls cells.

    STAR 2.7.10b leaves out the last barcode with counts: one more is put behind.
    """
    raw = folder / "raw"
    raw.mkdir()
    rows, columns = counts.nonzero()
    entries = np.column_stack([columns + 1, rows + 1, counts.data])
    n_barcodes, n_genes = counts.shape
    size = f"{n_genes} {n_barcodes + 1} {len(entries) + 1}"
    (raw / "matrix.mtx").write_text(
        f"%%MatrixMarket matrix coordinate integer general\n%\n{size}\n"
        + "".join(f"{gene} {barcode} {n}\n" for gene, barcode, n in entries)
        + f"1 {n_barcodes + 1} 1\n"
    )
    names = [f"B{number}" for number in range(n_barcodes + 1)]
    (raw / "barcodes.tsv").write_text("".join(f"{name}\n" for name in names))
    genes = [f"G{number}\tg\tGene Expression\n" for number in range(n_genes)]
    (raw / "features.tsv").write_text("".join(genes))
    command = ["STAR", "--runMode", "soloCellFiltering", str(raw), f"{folder}/out/"]
    command += ["--soloCellFilter", *map(str, options)]
    command += ["--outFileNamePrefix", f"{folder}/"]
    subprocess.run(command, check=True, capture_output=True)
    called = set((folder / "out/barcodes.tsv").read_text().split())
    return np.array([name in called for name in names[:-1]])


@pytest.mark.parametrize("method", ["CellRanger2.2", "EmptyDrops_CR"])
def test_we_call_the_cells_that_star_calls(tmp_path, method):
    """All by the knee; by EmptyDrops but for a few, as random numbers differ."""
    counts = droplets()
    own = SETTINGS | {"method": method, "expected_cells": 200}
    own |= {"ind_min": 500, "ind_max": 3000, "umi_min": 250}
    knee = ["expected_cells", "max_percentile", "max_min_ratio"]
    ambient = ["ind_min", "ind_max", "umi_min", "umi_min_frac_median", "cand_max_n"]
    keys = [*knee, *ambient, "fdr", "sim_n"] if method == "EmptyDrops_CR" else knee
    theirs = called_by_star(counts, tmp_path, [method, *(own[key] for key in keys)])
    calls, chosen = calls_of(
        counts,
        np.asarray(counts.sum(axis=1)).ravel(),
        CallSettings(**own),
        rng=np.random.default_rng(0),
    )
    ours = calls[chosen].is_cell
    assert chosen == method
    assert theirs[:N_CELLS].all()
    differing = (ours != theirs).sum()
    if method == "CellRanger2.2":
        assert differing == 0
        assert ours.sum() == N_CELLS
    else:
        assert N_CELLS + 50 < theirs.sum() < N_CELLS + N_SMALL
        assert differing <= 3
