"""The whole line on small simulated reads: what was planted must be found."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import yaml
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
from running import ROOT, environment, planned, snakemake, text_of

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


@pytest.fixture(scope="module")
def graph(finished):
    """Return the names of all rules by number, and which comes after which."""
    drawn = snakemake(finished, "--rulegraph", "dot").stdout
    names, edges = {}, []
    for line in drawn.splitlines():
        words = line.strip().rstrip(";").split()
        if "label" in line and "->" not in line and words[0].split("[")[0].isdigit():
            names[words[0].split("[")[0]] = line.split('label = "')[1].split('"')[0]
        elif "->" in words:
            edges.append((words[0], words[2]))
    return names, edges


def descendants(graph, rule):
    """Return a rule and those that come after it, by Snakemake's own graph."""
    names, edges = graph
    found, new = set(), {number for number, name in names.items() if name == rule}
    while new:
        found |= new
        new = {target for source, target in edges if source in new} - found
    return {names[number] for number in found}


# one key of every section of the config, and the rules that it belongs to
KEYS = {
    "seed": (2, {"call_cells", "score_doublets", "reduce_dimensions"}),
    "preview_reads": (50_000, {"check_reads", "count_reads", "call_cells"}),
    "strict": (True, {"inspect_reads", "check_reads", "probe_strand", "filter_cells"}),
    "design": (
        {"formula": "~ condition + donor"},
        {"check_design", "sum_pseudobulks", "test_composition", "export_object"},
    ),
    "check_reference": ({"mito_contigs": ["M"]}, {"check_reference"}),
    # a far shorter overhang than the reads is warned of
    "index_genome": ({"sjdbOverhang": 99}, {"index_genome", "probe_strand"}),
    # more lists to look reads up in
    "fetch_whitelist": (
        {"allowed": True},
        {"fetch_whitelist", "prepare_whitelist", "record_inputs", "write_readme"},
    ),
    # no sample comes from an archive
    "fetch_reads": ({"server": "http://127.0.0.1:9"}, set()),
    "prepare_whitelist": (
        {"3M-february-2018": "resources/whitelists/copy.txt.gz"},
        {"prepare_whitelist", "record_inputs"},
    ),
    "inspect_reads": ({"chemistry": "10x_3p_v3"}, {"inspect_reads"}),
    "probe_strand": ({"n_reads": 20_000}, {"probe_strand"}),
    "count_reads": ({"outFilterScoreMin": 20}, {"count_reads"}),
    "call_cells": ({"fdr": 0.05}, {"call_cells"}),
    "load_cells": ({"mito_pattern": "^mt"}, {"load_cells"}),
    # what goes on is another matrix
    "correct_ambient": ({"use": True}, {"correct_ambient", "merge_samples"}),
    # the method does not ask for it, but the object tells the whole config
    "run_cellbender": ({"epochs": 9}, {"export_object"}),
    "score_doublets": ({"threshold": 0.3}, {"score_doublets"}),
    # a target of its own
    "parity": ({"sample": "d1_ctrl", "matrix": "outs"}, set()),
    "filter_cells": ({"min_genes": 5}, {"filter_cells"}),
    "check_swaps": ({"max_percent_shared": 30}, {"check_swaps"}),
    "normalize_counts": ({"n_top_genes": 100}, {"normalize_counts"}),
    "reduce_dimensions": ({"n_comps": 20}, {"reduce_dimensions"}),
    "integrate_batches": ({"batch_column": "donor"}, {"integrate_batches"}),
    "find_clusters": ({"resolution": 0.9}, {"find_clusters"}),
    # a model is not given; the object tells what labels were made with
    "run_celltypist": ({"trust_pickle": True}, {"export_object"}),
    "annotate_clusters": ({"min_lead": 0.2}, {"annotate_clusters"}),
    "find_markers": ({"n_genes": 9}, {"find_markers"}),
    # optional ones that are off
    "order_cells": ({"min_connectivity": 0.1}, set()),
    "find_clones": ({"min_genes": 500}, set()),
    "infer_velocity": ({"n_genes": 500}, set()),
    "test_expression": ({"min_cells": 5}, {"test_expression"}),
    "test_composition": ({"fdr": 0.1}, {"test_composition"}),
    "test_gene_sets": ({"min_genes": 3}, {"test_gene_sets"}),
    "infer_activities": ({"min_targets": 3}, {"infer_activities"}),
    "infer_networks": ({"n_hubs": 3}, {"infer_networks"}),
    "compare_bulk": ({"min_cpm": 9}, {"compare_bulk"}),
    # without terms in the sheet there is no such file
    "export_cellxgene": ({"title": "x"}, set()),
    "export_matrices": ({"enabled": False}, {"write_readme"}),
    "draw_figures": ({"font_size": 8}, {"draw_figures"}),
    "write_report": ({"title": "x"}, {"write_report"}),
}
# the provenance of a run: they hold the config, so every change of it re-runs them
PROVENANCE = {"write_report", "write_manifest"}


def test_every_section_has_a_key_here():
    defaults = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    # an earlier run to compare with has a test of its own
    assert set(KEYS) == set(defaults) - {"samples", "reads", "previous"}


@pytest.mark.parametrize("key", KEYS)
def test_a_changed_key_plans_its_rules_and_those_after(finished, graph, key):
    value, rules = KEYS[key]
    done = snakemake(finished, "--dry-run", **{key: value})
    assert done.returncode == 0, text_of(done)
    expected = rules.union(*(descendants(graph, rule) for rule in rules))
    if key == "seed":
        rules_with_seed = set(planned(done))
        assert expected <= rules_with_seed
        assert not rules_with_seed & {"inspect_reads", "count_reads"}
    else:
        assert set(planned(done)) == expected | PROVENANCE | {"all"}


def test_the_order_of_keys_plans_nothing(finished):
    config = yaml.safe_load((finished / "config/config.yaml").read_text())
    turned = dict(reversed(config["call_cells"].items()))
    assert list(turned) != list(config["call_cells"])
    done = snakemake(finished, "--dry-run", call_cells=turned)
    assert "Nothing to be done" in text_of(done)


def test_one_sample_more_runs_that_sample_and_the_joint_rules(
    finished, graph, tmp_path
):
    folder = tmp_path / "more"
    shutil.copytree(finished, folder)
    shutil.copy(folder / "results/cells/d1_ctrl/called.h5ad", folder / "new.h5ad")
    sheet = folder / "config/samples.tsv"
    header, *rows = sheet.read_text().splitlines()
    lines = [f"{header}\tcounts", *(f"{row}\t" for row in rows)]
    sheet.write_text("\n".join([*lines, "new\tctrl\td9\t../new.h5ad\n"]))
    counts = planned(snakemake(folder, "--dry-run"))
    per_sample = {"load_cells", "score_doublets", "filter_cells"}
    assert {counts.get(rule) for rule in per_sample} == {1}
    assert not set(counts) & {"inspect_reads", "count_reads", "call_cells"}
    assert descendants(graph, "merge_samples") <= set(counts)


def test_one_sample_less_runs_the_joint_rules_alone(finished, graph, tmp_path):
    folder = tmp_path / "less"
    shutil.copytree(finished, folder)
    for name in ("samples", "reads"):
        sheet = folder / f"config/{name}.tsv"
        rows = sheet.read_text().splitlines()
        left = [row for row in rows if not row.startswith("d1_ctrl\t")]
        assert len(left) < len(rows)
        sheet.write_text("\n".join(left) + "\n")
    counts = planned(snakemake(folder, "--dry-run"))
    assert descendants(graph, "merge_samples") <= set(counts)
    assert not set(counts) & {"count_reads", "call_cells", "load_cells", "filter_cells"}


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


def tables_of(folder):
    """Return every table of a run by its place, as text."""
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.glob("results/**/*.tsv"))
    }


def wait_for(path, run, *, seconds=600):
    """Wait until a file is there, or the run has ended."""
    until = time.monotonic() + seconds
    while not path.exists() and run.poll() is None and time.monotonic() < until:
        time.sleep(0.2)


def test_a_killed_run_ends_like_an_undisturbed_one(finished, tmp_path):
    folder = tmp_path / "killed"
    shutil.copytree(
        finished, folder, ignore=shutil.ignore_patterns("results", ".snake*")
    )
    with (folder / "config/config.yaml").open("a") as config:
        config.write("\ndraw_figures:\n  formats: []\n")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
    ]
    command += ["--directory", str(folder), "--cores", "2"]
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            command, stdout=log, stderr=log, start_new_session=True, env=environment()
        )
        wait_for(folder / "results/count/d1_ctrl", run)
        time.sleep(1)
        assert run.poll() is None, "the run ended before it could be killed"
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()
    assert snakemake(folder, "--unlock").returncode == 0
    done = snakemake(folder)
    assert done.returncode == 0, text_of(done)[-5000:]
    before, after = tables_of(finished), tables_of(folder)
    before.pop("results/report/figures/index.tsv")
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == []
    cells = [
        ad.read_h5ad(Path(run) / "results/report/reads2cells.h5ad")
        for run in (finished, folder)
    ]
    pd.testing.assert_frame_equal(cells[0].obs, cells[1].obs)
    assert (cells[0].X != cells[1].X).nnz == 0
    assert np.array_equal(cells[0].obsm["X_umap"], cells[1].obsm["X_umap"])
