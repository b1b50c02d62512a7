"""What changed between two runs is what was planted."""

import gzip
import json
import re
from pathlib import Path

import anndata as ad
import h5py
import jinja2
import numpy as np
import pandas as pd
import pytest
from browser import needs_browser, show
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from _shared.alluvial import HEIGHT, alluvial
from _shared.comparison_page import TEMPLATES, with_drawings
from _shared.logs import UserError
from _shared.previous_run import find_previous, read_previous
from _shared.report_tables import shown
from _shared.result_files import FILES
from _shared.run_changes import (
    adjusted_rand,
    changed_inputs,
    counterparts,
    expression_changes,
    flat,
    flows,
)
from _shared.same_content import same
from find_changes import main

EVIL = "<script>alert(1)</script>"
CONFIG = {
    "samples": "config/samples.tsv",
    "seed": 1,
    "find_clusters": {"resolution": "auto"},
    "find_markers": {"n_genes": 2},
    "filter_cells": {"min_genes": 200},
    "test_expression": {"fdr": 0.05},
}
GRAPH = {
    "call_cells": [],
    "filter_cells": ["call_cells"],
    "find_clusters": ["filter_cells"],
    "annotate_clusters": ["find_clusters"],
    "find_markers": ["annotate_clusters"],
    "order_cells": ["annotate_clusters"],
    "test_expression": ["annotate_clusters"],
}
PATHS = {
    "call_cells": ["count/a/metrics.json", "count/b/metrics.json"],
    "filter_cells": ["cells/a/cell_metrics.tsv", "cells/b/cell_metrics.tsv"],
    "find_clusters": ["clusters/resolutions.tsv"],
    "annotate_clusters": ["annotate/cell_labels.tsv.gz"],
    "find_markers": ["annotate/markers.tsv", "annotate/cell_type_markers.tsv"],
    "test_expression": ["compare/expression.tsv"],
}
GENES = [f"G{i}" for i in range(8)]


def record(name: str, content: str = "") -> dict:
    return {"path": name, "sha256": f"{content or name:0<64}", "bytes": 1}


def write_tsv(path: Path, rows: list, columns: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=columns).to_csv(path, sep="\t", index=False)


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def markers(results: Path, name: str, grouping: str, rows: list[tuple]) -> None:
    rows = [(group, rank, gene, gene.lower()) for group, rank, gene in rows]
    columns = [grouping, "rank", "gene_id", "gene_name"]
    write_tsv(results / f"annotate/{name}.tsv", rows, columns)


class Tree:
    """A small run that can be changed before it is written.

    Two samples with six cells each, in two clusters of three; cell 5 is a doublet.
    """

    def __init__(self, root: Path):
        self.results = root / "results"
        self.samples = ["a", "b"]
        self.config = json.loads(json.dumps(CONFIG))
        self.inputs = {"fastq": [record("a.fastq.gz"), record("b.fastq.gz")]}
        self.reference = {"fasta": record("g.fa"), "gtf": record("g.gtf")}
        self.versions = {"python": "3.12", "scanpy": "1.0"}
        self.dropped = {f"C5-{s}": "doublet" for s in self.samples}
        self.called = [f"C{i}-{s}" for s in self.samples for i in range(6)]
        self.cluster = {c: "0" if c[1] in "012" else "1" for c in self.called}
        self.types = {"0": "T cells", "1": EVIL}
        self.markers = {"0": ["G0", "G1"], "1": ["G2", "G3"]}
        self.expression = [
            ("T cells", "x", gene, gene.lower(), 1.0, 0.01 if i < 4 else 0.5)
            for i, gene in enumerate(GENES)
        ]
        self.n_reads = {"a": 100, "b": 200}
        self.verdict = dict.fromkeys(self.samples, "kept")
        self.outputs = {}

    def write(self) -> Path:
        results = self.results
        kept = [c for c in self.called if c not in self.dropped]
        for sample in self.samples:
            rows = [
                (c, c not in self.dropped, self.dropped.get(c, ""))
                for c in self.called
                if c.endswith(f"-{sample}")
            ]
            columns = ["barcode", "kept", "reason"]
            write_tsv(results / f"cells/{sample}/cell_metrics.tsv", rows, columns)
            n = sum(kept for _, kept, _ in rows)
            steps = [("barcodes_seen", 0, 90), ("doublet", len(rows) - n, n)]
            columns = ["step", "removed_first", "remaining"]
            write_tsv(results / f"cells/{sample}/ledger.tsv", steps, columns)
            verdict = {"verdict": self.verdict[sample], "reason": ""}
            write_json(results / f"cells/{sample}/verdict.json", verdict)
            reads = {"value": self.n_reads[sample], "status": "pass"}
            write_json(results / f"count/{sample}/metrics.json", {"n_reads": reads})
        labels = [(c, self.cluster[c], self.types[self.cluster[c]]) for c in kept]
        columns = ["cell", "cluster", "cell_type"]
        write_tsv(results / "annotate/cell_labels.tsv.gz", labels, columns)
        write_tsv(results / "clusters/resolutions.tsv", [(1, 2)], ["resolution", "n"])
        rows = [
            (group, rank, gene)
            for group, genes in self.markers.items()
            for rank, gene in enumerate(genes, 1)
        ]
        markers(results, "markers", "cluster", rows)
        of_types = [(self.types[g], rank, gene) for g, rank, gene in rows]
        markers(results, "cell_type_markers", "cell_type", of_types)
        columns = ["cell_type", "contrast", "gene_id", "gene_name"]
        columns += ["log2_fold_change", "padj"]
        write_tsv(results / "compare/expression.tsv", self.expression, columns)
        genes = [
            (gene, gene.lower())
            for gene in dict.fromkeys(r[2] for r in self.expression)
        ]
        write_tsv(
            results / "compare/pseudobulk_samples.tsv", genes, ["gene_id", "gene_name"]
        )
        sheet = "sample\n" + "\n".join(self.samples) + "\n"
        manifest = {
            "created": "2026-01-01T00:00:00+00:00",
            "workflow": {"commit": "a" * 40, "dirty": False},
            "versions": self.versions,
            "config": self.config,
            "sheets": {"config/samples.tsv": sheet},
            "inputs": self.inputs,
            "reference": self.reference,
            "outputs": [
                {"path": f"results/{name}", "sha256": "", "bytes": size}
                for name, size in self.outputs.items()
            ],
        }
        write_json(results / "report/manifest.json", manifest)
        recorded = {"inputs": self.inputs, "reference": self.reference}
        write_json(results / "report/inputs.json", recorded)
        return results


@pytest.fixture
def pair(tmp_path, monkeypatch) -> tuple[Tree, Tree]:
    """Two runs that are the same until a test changes one."""
    before, now = Tree(tmp_path / "before"), Tree(tmp_path / "now")
    monkeypatch.setattr("find_changes.versions", lambda star: now.versions)
    state = {"commit": "a" * 40, "dirty": False}
    monkeypatch.setattr("find_changes.git_state", lambda: state)
    return before, now


def compare(before: Tree, now: Tree, paths: dict | None = None) -> tuple[dict, Path]:
    """Return comparison.json and the folder of the tables."""
    before.write()
    results = now.write()
    graph = results.parent / "graph.tsv"
    rows = [("x", rule, ",".join(after)) for rule, after in GRAPH.items()]
    write_tsv(graph, rows, ["stage", "rule", "after"])
    folder = results / "report/comparison"
    main(
        previous=before.results,
        recorded=results / "report/inputs.json",
        star_version=None,
        graph=graph,
        samples=now.samples,
        paths=paths or PATHS,
        config=now.config,
        title=f"Trial {EVIL}",
        folder=folder,
        results=results,
    )
    return json.loads((folder / "comparison.json").read_text()), folder


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(
        folder / f"{name}.tsv", sep="\t", dtype=str, keep_default_na=False
    )


def rule(content: dict, name: str) -> dict | None:
    return next((row for row in content["rules"] if row["rule"] == name), None)


def test_of_two_equal_runs_nothing_changed(pair):
    content, folder = compare(*pair)
    assert content["identical"]
    assert content["headline"].startswith("Nothing changed")
    assert content["rules"] == content["config"] == content["metrics"] == []
    assert content["clusters"]["ari"] == 1
    assert len(table(folder, "rules")) == 0
    assert "Nothing changed" in (folder / "comparison.txt").read_text()


def test_keys_files_and_versions_that_differ_are_told_with_both_values(pair):
    before, now = pair
    now.config["find_clusters"]["resolution"] = 0.5
    now.config["find_markers"]["new_key"] = [1, 2]
    now.inputs["fastq"][0] = record("a.fastq.gz", "beef")
    now.versions = {"python": "3.12", "scanpy": "2.0"}
    _, folder = compare(before, now)
    found = {tuple(row) for row in table(folder, "config").to_numpy()}
    old, new = record("a.fastq.gz")["sha256"][:12], record("", "beef")["sha256"][:12]
    assert found == {
        ("config", "find_clusters: resolution", "auto", "0.5"),
        ("config", "find_markers: new_key", "", "[1, 2]"),
        ("input", "fastq: a.fastq.gz", old, new),
        ("version", "scanpy", "1.0", "2.0"),
    }


def test_a_moved_file_is_no_change_and_the_order_of_keys_is_none():
    assert changed_inputs([record("x/a", "1")], [record("y/a", "1")]) == {}
    assert flat({"a": {"b": 1, "c": "x"}}) == flat({"a": {"c": "x", "b": 1}})
    assert flat({"a": {}, "b": None}) == {"b": "null"}


def test_cells_gained_and_lost_have_their_reasons(pair):
    before, now = pair
    # a doublet before that is kept now, two cells that are lost, one not called before
    del now.dropped["C5-a"]
    now.dropped |= {"C0-a": "low_total_counts", "C1-b": "high_pct_counts_mt"}
    before.called.remove("C4-b")
    content, folder = compare(before, now)
    found = {tuple(row) for row in table(folder, "cells").to_numpy()}
    assert found == {
        ("a", "kept", "", "4"),
        ("a", "gained", "doublet", "1"),
        ("a", "lost", "low_total_counts", "1"),
        ("b", "kept", "", "3"),
        ("b", "gained", "not_called", "1"),
        ("b", "lost", "high_pct_counts_mt", "1"),
    }
    for row in content["cells"]:
        assert row["previous"] + row["gained"] - row["lost"] == row["now"]
    assert content["cells"][1]["gained_by"][0]["reason"] == "not called a cell"


def test_a_sample_of_one_run_alone_counts_as_a_whole(pair):
    before, now = pair
    before.samples, before.verdict = ["a"], {"a": "kept"}
    content, folder = compare(before, now)
    assert content["samples"] == {
        "shared": ["a"],
        "only_now": ["b"],
        "only_previous": [],
    }
    rows = table(folder, "cells").set_index(["sample", "change"])
    assert rows.loc[("b", "gained"), "n_cells"] == "5"
    assert set(table(folder, "metrics")["sample"]) == {"a"}
    assert any("only now: b" in note for note in content["notes"])


def test_runs_without_a_shared_sample_are_compared_as_far_as_they_can_be(pair):
    before, now = pair
    before.samples = ["x", "y"]
    before.verdict = dict.fromkeys(before.samples, "kept")
    before.n_reads = {"x": 1, "y": 2}
    swap = str.maketrans("ab", "xy")
    before.called = [c.translate(swap) for c in before.called]
    before.dropped = {c.translate(swap): r for c, r in before.dropped.items()}
    before.cluster = {c.translate(swap): k for c, k in before.cluster.items()}
    content, folder = compare(before, now)
    assert content["notes"][0].startswith("No sample is in both runs")
    assert content["clusters"] is content["labels"] is None
    assert len(table(folder, "clusters")) == len(table(folder, "metrics")) == 0
    assert set(table(folder, "expression")["change"]) == {"kept"}
    assert (folder / "comparison.html").read_text()


def test_another_genome_is_said_and_genes_are_compared_by_id(pair):
    before, now = pair
    now.reference["fasta"] = record("g.fa", "abcd")
    now.expression = [(*r[:2], f"N{r[2]}", *r[3:]) for r in now.expression]
    now.markers = {k: [f"N{g}" for g in genes] for k, genes in now.markers.items()}
    content, folder = compare(before, now)
    said = " ".join(content["notes"])
    assert "reference differs (g.fa)" in said
    assert "Of 8 genes before and 8 now both have 0." in said
    assert "No gene id is in both runs" in said
    changes = table(folder, "expression").groupby("change").size().to_dict()
    assert changes == {"gained": 4, "lost": 4}
    assert set(table(folder, "markers")["change"]) == {"gained", "lost"}


def test_renumbered_clusters_agree_and_keep_their_markers(pair):
    before, now = pair
    other = {"0": "1", "1": "0"}
    now.cluster = {c: other[k] for c, k in now.cluster.items()}
    now.types = {other[k]: name for k, name in now.types.items()}
    now.markers = {other[k]: genes for k, genes in now.markers.items()}
    content, folder = compare(before, now)
    assert content["clusters"]["ari"] == 1
    assert content["labels"]["n_changed"] == 0
    of_clusters = table(folder, "markers").query("grouping == 'cluster'")
    assert set(of_clusters["change"]) == {"kept"}
    pairs = set(zip(of_clusters["previous_group"], of_clusters["group"], strict=True))
    assert pairs == {("0", "1"), ("1", "0")}


def test_markers_gained_and_lost_are_those_that_were_planted(pair):
    before, now = pair
    now.markers["0"] = ["G1", "G7"]
    _, folder = compare(before, now)
    found = table(folder, "markers").query("grouping == 'cell_type'")
    found = found[found["group"] == "T cells"].set_index("gene_id")
    assert found["change"].to_dict() == {"G0": "lost", "G1": "kept", "G7": "gained"}
    assert found.loc["G1", ["previous_rank", "rank"]].tolist() == ["2", "1"]
    assert found.loc["G7", ["previous_rank", "rank"]].tolist() == ["", "2"]


def test_a_changed_label_is_counted_by_cell(pair):
    before, now = pair
    now.types = {"0": "B cells", "1": EVIL}
    content, folder = compare(before, now)
    assert content["labels"]["n_changed"] == 6
    assert {tuple(r) for r in table(folder, "labels").to_numpy()} == {
        ("T cells", "B cells", "6"),
        (EVIL, EVIL, "4"),
    }


def test_differential_genes_are_judged_at_the_limit_of_their_own_run():
    columns = ["contrast", "cell_type", "gene_id", "gene_name"]
    columns += ["log2_fold_change", "padj"]

    def genes(rows):
        return pd.DataFrame([("c", "t", g, g, *r) for g, *r in rows], columns=columns)

    before = genes(
        [
            ("kept", 1, 0.01),
            ("turned", 1, 0.01),
            ("lost", 1, 0.01),
            ("absent", 1, 0.01),
            ("exploratory", 1, 0.01),
            ("gained", 1, 0.2),
            ("neither", 1, 0.9),
            ("by_limit", 1, 0.07),
        ]
    )
    now = genes(
        [
            ("kept", 2, 0.02),
            ("turned", -1, 0.01),
            ("lost", 1, 0.3),
            ("exploratory", 1, np.nan),
            ("gained", 1, 0.01),
            ("neither", 1, 0.9),
            ("new", 1, 0.01),
            ("by_limit", 1, 0.07),
        ]
    )
    found = expression_changes(before, now, fdr=(0.05, 0.1)).set_index("gene_id")
    assert found["change"].to_dict() == {
        "kept": "kept",
        "turned": "turned",
        "lost": "lost",
        "absent": "lost",
        "exploratory": "lost",
        "gained": "gained",
        "new": "gained",
        "by_limit": "gained",
    }
    reasons = found["reason"]
    assert reasons["absent"] == "not tested now"
    assert reasons["exploratory"] == "no padj now"
    assert reasons["lost"] == "above the limit now"
    assert reasons["new"] == "not tested before"
    assert reasons["kept"] == ""


@pytest.mark.parametrize("of", ["before", "now"])
def test_a_run_in_which_nothing_was_tested_loses_or_gains_every_gene(pair, of):
    before, now = pair
    (before if of == "before" else now).expression = []
    _, folder = compare(before, now)
    found = table(folder, "expression")
    change = {"before": "gained", "now": "lost"}[of]
    assert found["change"].tolist() == [change] * 4
    assert set(found["reason"]) == {f"not tested {of}"}


def test_a_run_without_p_values_has_no_padj_to_compare(pair):
    before, now = pair
    before.write()
    path = before.results / "compare/expression.tsv"
    effects = pd.read_csv(path, sep="\t").drop(columns="padj")
    effects.to_csv(path, sep="\t", index=False)
    before.write = lambda: None
    _, folder = compare(before, now)
    found = table(folder, "expression")
    assert found["change"].tolist() == ["gained"] * 4
    assert set(found["reason"]) == {"no padj before"}


def test_names_that_look_like_missing_values_are_names(pair):
    before, now = pair
    for run in pair:
        run.types["1"] = "None"
        run.expression = [("NA", *row[1:]) for row in run.expression]
    before.samples = now.samples = ["a", "NA"]
    for run in pair:
        run.called = [c.replace("-b", "-NA") for c in run.called]
        run.dropped = {f"C5-{s}": "doublet" for s in run.samples}
        run.cluster = {c.replace("-b", "-NA"): k for c, k in run.cluster.items()}
        run.n_reads, run.verdict = {"a": 1, "NA": 1}, {"a": "kept", "NA": "kept"}
    content, folder = compare(before, now)
    assert content["samples"]["shared"] == ["a", "NA"]
    assert content["labels"]["n_cells"] == 10
    assert set(table(folder, "labels")["cell_type"]) == {"T cells", "None"}
    assert content["expression"][0]["cell_type"] == "NA"


def test_a_number_that_is_judged_otherwise_is_told_though_it_is_the_same(pair):
    before, now = pair
    before.write(), now.write()
    reads = {"n_reads": {"value": 100, "status": "fail"}}
    write_json(now.results / "count/a/metrics.json", reads)
    now.write = lambda: now.results
    content, _ = compare(before, now)
    assert "a: n_reads 100 → 100 (pass → fail)." in content["sentences"]


def test_a_number_that_differs_is_told_with_its_difference(pair):
    before, now = pair
    now.n_reads["a"] = 150
    now.verdict["b"] = "set_aside"
    content, folder = compare(before, now)
    rows = table(folder, "metrics").set_index(["sample", "metric"])
    assert rows.loc[("a", "n_reads"), ["previous", "now", "difference"]].tolist() == [
        "100",
        "150",
        "50",
    ]
    told = {(row["sample"], row["metric"]) for row in content["metrics"]}
    assert told == {("a", "n_reads"), ("b", "verdict")}
    assert "b: verdict kept → set_aside." in content["sentences"]


def test_a_rule_is_told_by_its_files_and_causes_by_what_it_reads(pair):
    before, now = pair
    now.config["filter_cells"]["min_genes"] = 300
    now.config["find_markers"]["n_genes"] = 9
    now.dropped["C0-a"] = "low_n_genes_by_counts"
    content, _ = compare(before, now)
    assert [row["rule"] for row in content["rules"]] == [
        "filter_cells",
        "annotate_clusters",
        "find_markers",
    ]
    first, second, third = content["rules"]
    assert first["status"] == second["status"] == "results differ"
    assert (first["n_files"], first["n_different"]) == (2, 1)
    assert first["causes"] == "filter_cells: min_genes: 200 → 300"
    assert third["status"] == "same results"
    assert third["causes"] == "find_markers: n_genes: 2 → 9"
    assert content["headline"].startswith(
        "Results differ from filter_cells on (2 rules)"
    )


def test_a_rule_follows_those_before_it_whose_results_differ(pair):
    before, now = pair
    now.types["0"] = "B cells"
    content, _ = compare(before, now)
    assert rule(content, "find_markers")["causes"] == "follows annotate_clusters"
    # neither a key, nor a file, nor a rule before it
    assert rule(content, "annotate_clusters")["causes"] == "not told by the manifests"


def test_where_no_setting_differs_versions_are_named(pair):
    before, now = pair
    now.types["0"] = "B cells"
    now.versions = {"python": "3.12", "scanpy": "2.0"}
    content, _ = compare(before, now)
    assert rule(content, "annotate_clusters")["causes"] == "scanpy: 1.0 → 2.0"


def test_rules_of_which_only_one_run_has_files_are_told_so(pair):
    before, now = pair
    gone = before.results / "annotate/paga.tsv"
    gone.parent.mkdir(parents=True)
    gone.write_text("x\n")
    without = {r: p for r, p in PATHS.items() if r != "test_expression"}
    content, _ = compare(
        before, now, {**without, "find_clusters": ["clusters/new.tsv"]}
    )
    assert rule(content, "find_clusters")["status"] == "only now"
    assert rule(content, "order_cells")["status"] == "only before"
    assert rule(content, "test_expression")["status"] == "only before"


def test_a_run_that_lacks_a_table_is_compared_without_it(pair):
    before, now = pair
    before.write()
    (before.results / "annotate/cell_labels.tsv.gz").unlink()
    before.write = lambda: None
    content, folder = compare(before, now)
    assert content["clusters"] is None
    assert any("annotate/cell_labels.tsv.gz" in note for note in content["notes"])
    assert table(folder, "clusters").columns.tolist() == [
        "previous_cluster",
        "cluster",
        "n_cells",
    ]


def test_cells_are_not_gained_where_only_their_table_is_gone(pair):
    before, now = pair
    before.write()
    (before.results / "cells/a/cell_metrics.tsv").unlink()
    before.write = lambda: None
    content, folder = compare(before, now)
    assert set(table(folder, "cells")["sample"]) == {"b"}
    said = " ".join(content["notes"])
    assert "Cells of a are not compared: a run lacks cell_metrics.tsv" in said
    assert "lacks 1 result of this one's (cells/a/cell_metrics.tsv)" in said
    # the rest is the same, but that is not all
    assert not content["identical"]
    assert content["headline"] == "The results that both runs have are the same."


def test_a_run_without_any_table_of_cells_is_compared(pair):
    before, now = pair
    before.write()
    for sample in before.samples:
        (before.results / f"cells/{sample}/cell_metrics.tsv").unlink()
    before.write = lambda: None
    content, folder = compare(before, now)
    assert content["cells"] == []
    assert len(table(folder, "cells")) == 0
    assert rule(content, "filter_cells")["status"] == "only now"


def test_a_sample_more_lacks_nothing_whatever_its_name(pair):
    before, now = pair
    before.samples, before.verdict = ["a"], {"a": "kept"}
    now.samples = ["a", "cells"]
    now.n_reads, now.verdict = {"a": 1, "cells": 1}, {"a": "kept", "cells": "kept"}
    now.called = [c.replace("-b", "-cells") for c in now.called]
    now.dropped = {"C5-a": "doublet"}
    now.cluster = {c: "0" if c[1] in "012" else "1" for c in now.called}
    paths = {
        "filter_cells": [
            f"cells/{s}/{name}.tsv"
            for s in now.samples
            for name in ("cell_metrics", "ledger")
        ]
    }
    before.write()
    (before.results / "cells/a/ledger.tsv").unlink()
    before.write = lambda: None
    content, _ = compare(before, now, paths)
    (note,) = [note for note in content["notes"] if "lacks" in note]
    assert "lacks 1 result of this one's (cells/a/ledger.tsv)" in note


def test_contrasts_of_another_design_are_told(pair):
    before, now = pair
    before.config["design"] = {"contrasts": {"x": ["condition", "b", "a"]}}
    now.config["design"] = {"contrasts": {"x": ["condition", "a", "b"]}}
    content, _ = compare(before, now)
    assert any("design: contrasts: x): contrasts are" in n for n in content["notes"])


def test_a_folder_that_a_later_run_left_half_way_is_told(pair):
    before, now = pair
    before.outputs = {"annotate/markers.tsv": 1, "report/report.html": 5}
    content, _ = compare(before, now)
    (note,) = content["notes"]
    assert "not what its manifest says (annotate/markers.tsv, report/report.h" in note


def test_a_folder_that_is_as_its_manifest_says_needs_no_word(pair):
    before, now = pair
    before.write()
    path = before.results / "annotate/markers.tsv"
    before.outputs = {"annotate/markers.tsv": path.stat().st_size}
    content, _ = compare(before, now)
    assert content["notes"] == []


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("annotate/cell_labels.tsv.gz", b"\x1f\x8b\x08\x00half"),
        ("annotate/markers.tsv", b"cluster\tgene\n0\tG1\n"),
        ("cells/a/verdict.json", b"{"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_a_sentence(pair, name, content):
    before, now = pair
    before.write()
    (before.results / name).write_bytes(content)
    before.write = lambda: None
    with pytest.raises(UserError, match=f"{name}: cannot be read .*written anew"):
        compare(before, now)


@pytest.mark.parametrize("seed", range(5))
def test_the_rand_index_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    cells = [f"c{i}" for i in range(200)]
    a = pd.Series(rng.integers(0, 4, 200).astype(str), index=cells)
    b = a.where(rng.random(200) < 0.6, rng.integers(0, 6, 200).astype(str))
    table = flows(a, b.sample(frac=1, random_state=seed))
    assert table["n_cells"].sum() == 200
    assert adjusted_rand(table) == pytest.approx(adjusted_rand_score(a, b))


def test_of_one_cell_or_one_cluster_the_index_is_defined():
    empty = pd.DataFrame({"previous": [], "now": [], "n_cells": []})
    assert adjusted_rand(empty) is None
    one = pd.DataFrame({"previous": ["0"], "now": ["0"], "n_cells": [9]})
    assert adjusted_rand(one) == 1


def test_the_halves_of_a_split_cluster_have_one_counterpart_between_them():
    table = pd.DataFrame(
        {
            "previous": ["0", "0", "1"],
            "now": ["0", "10", "2"],
            "n_cells": [60, 40, 50],
        }
    )
    found = counterparts(table).set_index("now")
    assert found.index.tolist() == ["0", "2", "10"], "numbers in their own order"
    assert found["previous"].to_dict() == {"0": "0", "2": "1", "10": "0"}
    assert found["is_mutual"].to_dict() == {"0": True, "2": True, "10": False}


def test_content_is_compared_not_when_it_was_written(tmp_path):
    for name, mtime in (("a", 1), ("b", 2)):
        with gzip.GzipFile(tmp_path / f"{name}.tsv.gz", "wb", mtime=mtime) as handle:
            handle.write(b"x\n" * 9)
    a, b = tmp_path / "a.tsv.gz", tmp_path / "b.tsv.gz"
    assert a.read_bytes() != b.read_bytes()
    assert same(a, b)
    with gzip.GzipFile(b, "wb", mtime=1) as handle:
        handle.write(b"x\n" * 8 + b"y\n")
    assert not same(a, b)


def test_objects_are_the_same_if_their_arrays_are(tmp_path):
    counts = sparse.csr_matrix(np.eye(4, dtype=np.float32))
    adata = ad.AnnData(counts, obsm={"X_pca": np.array([[np.nan, 1.0]] * 4)})
    a, b = tmp_path / "a.h5ad", tmp_path / "b.h5ad"
    adata.write_h5ad(a)
    adata.write_h5ad(b, compression="gzip")
    assert a.read_bytes() != b.read_bytes()
    assert same(a, b)
    with h5py.File(b, "r+") as file:
        file["X/data"][2] = 7
    assert not same(a, b)


@pytest.mark.parametrize("name", ["x.h5ad", "x.tsv.gz"])
def test_a_broken_file_is_not_the_same(tmp_path, name):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / name
        if name.endswith(".gz"):
            with gzip.GzipFile(path, "wb", mtime=0) as handle:
                handle.write(np.random.default_rng(0).bytes(9999))
        else:
            ad.AnnData(np.eye(4)).write_h5ad(path)
    path.write_bytes(path.read_bytes()[:600])
    assert not same(tmp_path / "a" / name, path)


def test_numbers_that_are_missing_in_both_objects_are_the_same(tmp_path):
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.h5ad", "w") as file:
            file.attrs["written"] = name
            file["missing"] = np.nan
            file["text"] = "x"
    assert same(tmp_path / "a.h5ad", tmp_path / "b.h5ad")


def test_folders_are_compared_by_their_files_but_for_what_tells_of_the_job(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "raw").mkdir(parents=True)
        (tmp_path / name / "raw/matrix.mtx").write_text("1\n")
        (tmp_path / name / "Log.out").write_text(name)
    assert same(tmp_path / "a", tmp_path / "b")
    (tmp_path / "b/raw/more").write_text("x")
    assert not same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("folder", ["run", "run/results"])
def test_an_earlier_run_is_found_by_its_folder_or_that_of_its_results(tmp_path, folder):
    Tree(tmp_path / "run").write()
    found = find_previous(str(tmp_path / folder))
    assert found == tmp_path / "run/results"
    assert read_previous(found).samples == ["a", "b"]


def test_what_is_no_earlier_run_is_said_in_a_sentence(tmp_path):
    assert find_previous("") is None
    with pytest.raises(UserError, match=r"previous: no such folder: .*none; name"):
        find_previous(str(tmp_path / "none"))
    with pytest.raises(UserError, match=r"holds no finished run \(there is no results"):
        find_previous(str(tmp_path))
    with pytest.raises(UserError, match=r"File name too long; name a folder that you"):
        find_previous("x" * 5000)
    results = Tree(tmp_path).write()
    with pytest.raises(UserError, match="is the folder of this run; copy"):
        find_previous(str(tmp_path), present=results)


def test_samples_are_read_from_the_sheet_of_a_manifest_as_from_the_sheet(tmp_path):
    results = Tree(tmp_path).write()
    path = results / "report/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["config"]["samples"] = "./config//samples.tsv"
    sheet = "# mine\ncondition\t sample \n\t\nx\t001\n#y\tb\nx\tNA \n"
    manifest["sheets"] = {"config/samples.tsv": sheet}
    write_json(path, manifest)
    assert read_previous(results).samples == ["001", "NA"]
    manifest["sheets"] = {}
    write_json(path, manifest)
    with pytest.raises(UserError, match=r"is no manifest .*samples.tsv"):
        read_previous(results)


@pytest.mark.parametrize("text", ["{", "[]", '{"config": {}}'])
def test_a_broken_manifest_is_said_in_a_sentence(tmp_path, text):
    results = Tree(tmp_path).write()
    (results / "report/manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest.json: is no manifest of this"):
        read_previous(results)


def test_a_ribbon_is_as_high_as_its_share_of_the_cells():
    rows = [("a", "x", 75), ("b", "x", 20), ("b", EVIL, 5)]
    keys = ("previous", "now", "n_cells")
    drawn = alluvial([dict(zip(keys, row, strict=True)) for row in rows], "flow")
    ends = re.findall(r'd="M162,([\d.]+)C.*?V.*? 162,([\d.]+)Z"', drawn)
    heights = [float(end) - float(start) for start, end in ends]
    assert heights == pytest.approx([HEIGHT * n / 100 for *_, n in rows], abs=0.02)
    assert EVIL not in drawn
    assert "&lt;script&gt;" in drawn


def test_every_column_that_the_readme_explains_is_there(pair):
    before, now = pair
    now.dropped["C0-a"] = "doublet"
    _, folder = compare(before, now)
    explained = {
        Path(file.path).name: set(file.columns)
        for file in FILES
        if file.path.startswith("report/comparison/") and file.columns
    }
    assert len(explained) == 8
    for name, columns in explained.items():
        assert columns <= set(table(folder, name.removesuffix(".tsv")).columns), name


def test_the_page_escapes_names_and_needs_no_network(pair):
    before, now = pair
    now.types["0"] = "B cells"
    _, folder = compare(before, now)
    page = (folder / "comparison.html").read_text()
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "http" not in re.sub(r"http-equiv", "", page)
    assert "default-src 'none'" in page
    assert "var(--ink)" in page
    assert "prefers-color-scheme: dark" in page


@needs_browser
def test_a_browser_shows_the_page(pair, tmp_path):
    before, now = pair
    now.types["0"] = "B cells"
    _, folder = compare(before, now)
    seen = show(folder / "comparison.html", tmp_path)
    assert seen.console == []
    assert seen.urls == set()
    assert seen.dom.count("<svg") == 2


def test_the_report_takes_the_same_part_below_its_own_heading(pair):
    before, now = pair
    now.types["0"] = "B cells"
    content, _ = compare(before, now)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["shown"] = shown
    part = environment.get_template("report_comparison.html.j2").render(
        comparison=with_drawings(content)
    )
    assert "<h3" not in part
    assert "<h4>Labels</h4>" in part
    assert part.count("<svg") == 2
    assert EVIL not in part
