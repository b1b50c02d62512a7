"""The whole line on small simulated reads: what was planted must be found."""

import json
import re
import shutil
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from browser import needs_browser, show
from opened import browser, opened
from page_acts import ACTS
from page_numbers import (
    compared_cells,
    compared_charts,
    compared_counts,
    packs_of,
    without_source,
)
from running import ROOT, snakemake, text_of

from _shared.sheets import OF_CELLS
from planted_found import score

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """Simulate the small experiment."""
    folder = tmp_path_factory.mktemp("small")
    command = [sys.executable, str(ROOT / "tests/demo/simulate.py"), str(folder)]
    subprocess.run([*command, "--size", "small"], check=True)
    return folder


@pytest.fixture(scope="module")
def finished(simulated):
    """Run the workflow on the small experiment, once for all tests."""
    done = snakemake(simulated)
    assert done.returncode == 0, text_of(done)[-5000:]
    # for a test that names another file of the same barcodes
    whitelists = simulated / "resources/whitelists"
    shutil.copy(whitelists / "3M-february-2018.txt.gz", whitelists / "copy.txt.gz")
    return simulated


def test_what_was_planted_is_found(finished):
    table = score(finished)
    assert table["ok"].all(), table.to_string()


def test_a_second_run_has_nothing_to_do(finished):
    assert "Nothing to be done" in text_of(snakemake(finished))


def test_the_object_keeps_its_contract(finished):
    adata = ad.read_h5ad(finished / "results/report/reads2cells.h5ad")
    counts = adata.layers["counts"]
    assert np.issubdtype(counts.dtype, np.integer)
    assert counts.format == "csr"
    assert adata.X.dtype == np.float32
    assert adata.obs_names.is_unique
    assert adata.var_names.is_unique
    barcode, sample = adata.obs_names[0].split("-", 1)
    assert len(barcode) == 16
    assert sample == adata.obs["sample"].iloc[0]
    for column in ("leiden", "cell_type", "condition", "donor"):
        assert isinstance(adata.obs[column].dtype, pd.CategoricalDtype)
    # no column of the sheet may be called so
    assert set(adata.obs) - {"sample", "condition", "donor"} <= OF_CELLS
    totals = np.asarray(counts.sum(axis=1)).ravel()
    assert (adata.obs["total_counts"] == totals).all()
    assert {"X_pca", "X_umap"} <= set(adata.obsm)
    assert adata.uns["reads2cells"]["seed"] == 1


def test_no_cell_is_lost_unaccounted(finished):
    adata = ad.read_h5ad(finished / "results/report/reads2cells.h5ad", backed="r")
    kept = adata.obs["sample"].value_counts()
    for sample in kept.index:
        ledger = pd.read_csv(finished / f"results/cells/{sample}/ledger.tsv", sep="\t")
        start, end = ledger["remaining"].iloc[[0, -1]]
        assert start - ledger["removed_first"].sum() == end == kept[sample]


def test_the_manifest_knows_every_input(finished):
    manifest = json.loads((finished / "results/report/manifest.json").read_text())
    said = json.dumps(manifest)
    for path in finished.glob("reads/*/*.fastq.gz"):
        assert path.name in said


def test_every_result_is_verified_and_a_flipped_byte_is_told(finished):
    done = snakemake(finished, "verify")
    assert done.returncode == 0, text_of(done)
    assert "Verified: all " in done.stdout
    path = finished / "results/cells/swaps.tsv"
    whole = path.read_bytes()
    path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
    try:
        done = snakemake(finished, "verify")
    finally:
        path.write_bytes(whole)
    assert done.returncode == 1, text_of(done)
    assert done.stdout.count("results/") == 1
    assert "output altered: results/cells/swaps.tsv (SHA-256 " in done.stdout


@needs_browser
def test_a_browser_shows_every_section_of_the_page(finished, tmp_path):
    seen = show(finished / "results/report/report.html", tmp_path)
    assert seen.console == []
    assert seen.urls == set()
    sections = re.findall(r'<section[^>]* id="([^"]+)"', seen.dom)
    assert sections == ["trust", "reads-and-cells", "cells", "differences", "how"]


@needs_browser
def test_the_page_is_used_and_its_numbers_are_those_on_disk(finished):
    page = finished / "results/report/report.html"
    with browser() as shell, opened(shell, page, finished) as seen:
        for act in ACTS:
            act(seen)
        packs = packs_of(seen)
        counts = compared_cells(seen)
        assert counts["numbers"] >= 1_000, counts
        assert without_source(counts) == set()
        assert compared_counts(seen, packs) >= 25
        assert compared_charts(seen, packs).total() >= 1_000
        assert seen.heard == []


def test_the_readme_explains_every_file_that_is_there(finished):
    text = (finished / "results/README.md").read_text()
    named = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    found = {
        str(path)
        for name in named
        for path in finished.glob(f"results/{re.sub('<.+?>', '*', name)}")
    }
    there = [path for path in finished.glob("results/**/*") if path.is_file()]
    assert len(there) > 100
    for path in there:
        parents = {str(parent) for parent in path.parents}
        assert str(path) in found or found & parents or path.name == "README.md", path


def test_a_run_compared_with_its_own_copy_has_not_changed(finished, tmp_path):
    shutil.copytree(finished / "results", tmp_path / "results")
    done = snakemake(finished, "compare_runs", previous=str(tmp_path))
    assert done.returncode == 0, text_of(done)
    assert "Nothing changed" in text_of(done)
    facts = finished / "results/report/comparison/comparison.json"
    assert json.loads(facts.read_text())["identical"]
    shutil.rmtree(facts.parent)


def test_snakemakes_own_report_names_the_results_without_a_network(finished, tmp_path):
    page = tmp_path / "report.html"
    done = snakemake(finished, "--report", str(page))
    assert done.returncode == 0, text_of(done)
    text = page.read_text()
    for category in ("Start here", "Reads", "Cells", "Clusters", "Differences"):
        assert f'"{category}"' in text
    assert not re.findall(r'(?:src|href)="https?:', text)


def test_a_bad_sample_is_set_aside_and_the_others_finish(finished, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(finished, folder)
    reads = sorted(folder.glob("reads/d1_ctrl/*_R2_001.fastq.gz"))[0]
    reads.write_bytes(reads.read_bytes()[:-1000])

    strict = snakemake(folder, "--until", "check_reads", strict=True)
    assert strict.returncode != 0
    assert "ERROR: sample d1_ctrl: " in text_of(strict)
    assert "Traceback" not in text_of(strict)

    done = snakemake(folder, draw_figures={"formats": []})
    assert done.returncode == 0, text_of(done)[-5000:]
    verdict = json.loads((folder / "results/cells/d1_ctrl/verdict.json").read_text())
    assert (verdict["verdict"], verdict["stage"]) == ("set_aside", "inspect_reads")
    assert reads.name in verdict["reason"]
    assert ad.read_h5ad(folder / "results/cells/d1_ctrl/cells.h5ad").n_obs == 0
    cells = ad.read_h5ad(folder / "results/report/reads2cells.h5ad", backed="r").obs
    before = ad.read_h5ad(finished / "results/report/reads2cells.h5ad", backed="r").obs
    others = before["sample"] != "d1_ctrl"
    assert list(cells.index) == list(before.index[others])
    page = (folder / "results/report/report.html").read_text()
    assert "set aside" in page
    assert reads.name in page
