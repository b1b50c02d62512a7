import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from unit.test_pack import unpacked

from _shared import report_cells
from _shared.palette import colors_of
from _shared.report_cells import barcodes_pack, cells_packs, leb128, shown_column

PAGE = Path(report_cells.__file__).parent / "page"
EVIL = "</script><b>"
N_CELLS, N_GENES = 300, 40


def finished(folder: Path, *, n_cells: int = N_CELLS, **uns) -> ad.AnnData:
    """Write an object as `export_object` does, and return it."""
    rng = np.random.default_rng(3)
    sample = rng.choice(["s1", "s 2"], n_cells)
    counts = rng.poisson(rng.gamma(0.3, 3, N_GENES), (n_cells, N_GENES))
    if n_cells:
        counts[0, 3] = 70_000
    counts[:, 7] = 0
    total = counts.sum(axis=1)
    leiden = rng.integers(0, 3, n_cells).astype(str)
    obs = pd.DataFrame(
        {
            "sample": pd.Categorical(sample, ["s1", "s 2"]),
            "note": pd.Categorical(np.where(rng.random(n_cells) < 0.1, None, EVIL)),
            "total_counts": total,
            "doublet_score": np.where(rng.random(n_cells) < 0.1, np.nan, rng.random()),
            "pct_counts_hb": np.nan,
            "size_factor": total / 100,
            "leiden": pd.Categorical(leiden, ["0", "1", "2"]),
            "cell_type": pd.Categorical(leiden).rename_categories(
                lambda name: f"type {name}"
            ),
        },
        index=[f"{''.join(rng.choice(list('ACGT'), 16))}-{name}" for name in sample],
    )
    genes = [f"G{k:02d}" for k in range(N_GENES)]
    symbols = pd.Series([EVIL, "", *genes[2:]], index=genes).str.lower()
    adata = ad.AnnData(
        sparse.csr_matrix(np.log1p(counts / np.maximum(total, 1)[:, None])),
        obs=obs,
        var=pd.DataFrame({"gene_name": symbols, "variances_norm": rng.random(N_GENES)}),
        layers={"counts": sparse.csr_matrix(counts.astype(np.int32))},
        obsm={
            "X_umap": rng.normal(0, 5, (n_cells, 2)).astype(np.float32),
            "leiden_by_resolution": rng.integers(0, 9, (n_cells, 2), dtype=np.int32),
        },
        uns={"leiden_colors": np.array(colors_of("012"), dtype=object), **uns},
    )
    adata.write_h5ad(folder / "cells.h5ad")
    return adata


def tables() -> dict[str, pd.DataFrame]:
    resolutions = {"resolution": [0.1, 0.8], "n_clusters": 9, "stability": [1, np.nan]}
    padj = {"gene_id": ["G05", "G06", "G09"], "padj": [0.2, np.nan, 0.01]}
    return {
        "resolutions": pd.DataFrame(resolutions).assign(chosen=[False, True]),
        "markers": pd.DataFrame({"gene_id": ["G11", "G10", "gone"], "rank": [2, 1, 1]}),
        "expression": pd.DataFrame(padj),
        "cluster_stability": pd.DataFrame({"cluster": ["0"], "stability": [0.9]}),
    }


def numbers_in(text: np.ndarray) -> list[int]:
    """Read numbers of 7 bits a byte, one after the other."""
    found, value, shift = [], 0, 0
    for byte in text.tolist():
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(value)
            value = shift = 0
    return found


def counts_in(packs: dict[str, str], n_cells: int) -> dict[str, np.ndarray]:
    """Return the counts of every embedded gene, as the page reads them."""
    genes = unpacked(packs["genes"])[1]["genes"]
    found, at = {}, {}
    for gene, part in zip(genes["id"], genes["part"], strict=True):
        content = unpacked(packs[f"genes-{part}"])[1]
        row, start = at.get(part, (0, 0))
        stop = start + content["genes"]["n"][row]
        places = np.cumsum(numbers_in(content["gaps"]["byte"])[start:stop])
        found[gene] = np.zeros(n_cells, int)
        values = numbers_in(content["counts"]["byte"])[start:stop]
        found[gene][places.astype(int)] = values
        at[part] = row + 1, stop
    return found


def names_in(packs: dict[str, str]) -> list[str]:
    header, content = unpacked(packs["barcodes"])
    samples = unpacked(packs["cells"])[1]["cells"]["sample"]
    length = header["meta"]["length"]
    return [
        "".join("ACGT"[number // 4**k % 4] for k in reversed(range(length)))
        + f"-{sample}"
        for number, sample in zip(
            content["barcodes"]["number"].tolist(), samples, strict=True
        )
    ]


def test_packs_hold_every_cell_as_the_object_has_it(tmp_path):
    adata = finished(tmp_path)

    packs = cells_packs(tmp_path / "cells.h5ad", tables=tables()).packs

    header, content = unpacked(packs["cells"])
    meta, cells, places = header["meta"], content["cells"], content["map"]
    sorted_ = adata[names_in(packs)]
    assert sorted(names_in(packs)) == sorted(adata.obs_names)
    for name in ("sample", "leiden", "cell_type"):
        assert cells[name] == list(sorted_.obs[name])
    missing = sorted_.obs["note"].isna()
    assert [value is None for value in cells["note"]] == list(missing)
    for name in ("total_counts", "doublet_score"):
        about = meta["columns"][name]
        shown = (cells[name].astype(float) + about["base"]) * about["step"]
        shown[cells[name] == about["gap"]] = np.nan
        error = about["step"] / 2 + 1e-9
        np.testing.assert_allclose(shown, sorted_.obs[name], rtol=0, atol=error)
    for axis, name in enumerate("xy"):
        place = meta["origin"][axis] + meta["step"] * places[name].astype(float)
        error = meta["step"] / 2 + 1e-6
        np.testing.assert_allclose(
            place, sorted_.obsm["X_umap"][:, axis], rtol=0, atol=error
        )
    np.testing.assert_allclose(places["size_factor"], sorted_.obs["size_factor"], 1e-6)
    for i in range(2):
        np.testing.assert_array_equal(
            content["resolutions"][f"r{i}"],
            sorted_.obsm["leiden_by_resolution"][:, i],
        )
    assert meta["resolutions"][1]["stability"] is None
    assert meta["columns"]["leiden"]["colors"] == colors_of("012")


def test_counts_of_genes_are_exact_and_in_the_order_of_the_rule(tmp_path):
    adata = finished(tmp_path)

    explorer = cells_packs(tmp_path / "cells.h5ad", tables=tables())

    found = counts_in(explorer.packs, adata.n_obs)
    assert list(found)[:4] == ["G10", "G09", "G05", "G11"]
    others = adata.var.drop(index=list(found)[:4])["variances_norm"]
    assert list(found)[4:] == list(others.sort_values(ascending=False).index)
    matrix = adata[names_in(explorer.packs)].layers["counts"].toarray()
    for gene, counts in found.items():
        np.testing.assert_array_equal(counts, matrix[:, adata.var_names == gene][:, 0])
    assert explorer.facts["n_embedded"] == N_GENES
    names = unpacked(explorer.packs["genes"])[1]["genes"]["name"]
    assert EVIL in names
    # a gene without a symbol goes by its id
    assert "G01" in names


def test_genes_are_left_out_where_the_budget_ends(tmp_path):
    finished(tmp_path)
    path = tmp_path / "cells.h5ad"
    whole = cells_packs(path, tables=tables())
    fixed = sum(len(whole.packs[name]) for name in ("cells", "barcodes"))

    budget = fixed + (whole.facts["bytes"] - fixed) // 2
    half = cells_packs(path, tables=tables(), budget=budget)

    assert 0 < half.facts["n_embedded"] < N_GENES
    assert half.facts["bytes"] <= budget + 4_000
    kept, every = (
        unpacked(explorer.packs["genes"])[1]["genes"]["id"]
        for explorer in (half, whole)
    )
    assert kept == every[: len(kept)]


def test_counts_in_use_are_those_that_x_was_made_from(tmp_path):
    adata = finished(tmp_path, normalization={"counts": "corrected", "method": "log"})
    adata.layers["corrected"] = sparse.csr_matrix(adata.layers["counts"].toarray() // 2)
    adata.write_h5ad(tmp_path / "cells.h5ad")

    packs = cells_packs(tmp_path / "cells.h5ad", tables={}).packs

    whole = sum(counts.sum() for counts in counts_in(packs, adata.n_obs).values())
    assert whole == adata.layers["corrected"].sum()


def test_columns_that_tell_nothing_or_too_much_are_left_out(tmp_path):
    adata = finished(tmp_path)
    adata.obs["same"] = "no"
    # a name that the explorer has a use for elsewhere
    adata.obs["x"] = "left", *["right"] * (adata.n_obs - 1)
    adata.obs["each"] = [f"cell {k}" for k in range(adata.n_obs)]
    adata.write_h5ad(tmp_path / "cells.h5ad")

    explorer = cells_packs(tmp_path / "cells.h5ad", tables={})

    assert set(explorer.facts["left_out"]) == {"each", "pct_counts_hb", "same"}
    assert explorer.facts["n_resolutions"] == 0


def test_without_cells_there_are_no_packs(tmp_path):
    finished(tmp_path, n_cells=0)

    explorer = cells_packs(tmp_path / "cells.h5ad", tables=tables())

    assert explorer.packs == {}
    assert explorer.facts == {"n_cells": 0}


def test_one_cell_is_a_map_as_well(tmp_path):
    finished(tmp_path, n_cells=1)

    explorer = cells_packs(tmp_path / "cells.h5ad", tables=tables())

    assert explorer.facts["n_cells"] == 1
    assert counts_in(explorer.packs, 1)["G03"] == [70_000]


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([0, 1, 2800], 1),
        ([0, 60_000], 10),
        ([0.0, 12.5, np.nan], 0.01),
        ([0.2, 0.2], 0.001),
        ([2e-5, 2e-5], 1e-7),
        ([-1234.5, -1234.5], 0.001),
        ([-3.0, 1e-3], 0.001),
        ([0.0, np.inf, 1.0], 0.001),
    ],
)
def test_numbers_are_rounded_to_a_thousandth_of_their_range_or_less(values, step):
    levels, about = shown_column(pd.Series(values, name="x"))

    assert about["step"] == pytest.approx(step)
    shown = (levels.astype(float) + about["base"]) * 10.0 ** -about["digits"]
    expected = np.where(np.isfinite(values), values, np.nan)
    shown[levels == about["gap"]] = np.nan
    np.testing.assert_allclose(shown, expected, rtol=0, atol=step / 2 + 1e-12)


@pytest.mark.parametrize(
    "barcodes",
    [["AAC_GGT", "TTT_AAA"], ["ACGTN", "ACGTA"], ["A" * 20, "C" * 20], ["é1", "b2"]],
)
def test_other_barcodes_stay_text(barcodes):
    obs = pd.DataFrame(
        {"sample": ["x", "y"]},
        index=[f"{b}-{s}" for b, s in zip(barcodes, "xy", strict=True)],
    )

    content = unpacked(barcodes_pack(obs))[1]

    assert content["barcodes"]["text"] == barcodes


def test_names_that_do_not_end_with_their_sample_are_kept_whole():
    obs = pd.DataFrame({"sample": ["x", "y"]}, index=["one-x", "two"])

    header, content = unpacked(barcodes_pack(obs))

    assert not header["meta"]["ends"]
    assert content["barcodes"]["text"] == ["one-x", "two"]


def test_numbers_of_all_sizes_come_back():
    values = [0, 1, 127, 128, 16_383, 16_384, 2**21 - 1, 2**21, 2**28, 2**31 - 1]

    assert numbers_in(leb128(values)) == values
    assert len(leb128([])) == 0


def test_the_library_of_the_page_is_the_one_that_is_named():
    said = (PAGE / "vendor.txt").read_text()
    lock = json.loads((PAGE / "package-lock.json").read_text())["packages"]

    assert hashlib.sha256((PAGE / "vendor.js").read_bytes()).hexdigest() in said
    for name in ("echarts", "zrender", "tslib"):
        assert f"{name} {lock[f'node_modules/{name}']['version']}" in said
    wanted = json.loads((PAGE / "package.json").read_text())["dependencies"]
    assert wanted["echarts"] == lock["node_modules/echarts"]["version"]
    assert not any("resolved" in package for package in lock.values())


@pytest.mark.skipif(shutil.which("node") is None, reason="no node on PATH")
def test_the_page_reads_numbers_and_polygons_as_they_are(tmp_path):
    script = tmp_path / "try.js"
    script.write_text(
        f"globalThis.R2C = {{}};\n{(PAGE / 'points.js').read_text()}\n"
        "const order = R2C.points.shuffled(1000);\n"
        "const u = R2C.points.inside([[0, 0], [9, 0], [9, 9], [6, 9], [6, 3], [3, 3], "
        "[3, 9], [0, 9]]);\n"
        "console.log(JSON.stringify({all: new Set(order).size, first: order[0],"
        "u: [u(1, 8), u(5, 8), u(8, 8), u(20, 1)],"
        "mixed: R2C.points.mixed('#fff', '#000000', 0.5)}));"
    )

    said = subprocess.run(["node", script], capture_output=True, text=True, check=True)

    found = json.loads(said.stdout)
    assert found["all"] == 1000
    assert found["first"] != 0
    assert found["u"] == [True, False, True, False]
    assert found["mixed"] == "#808080"
