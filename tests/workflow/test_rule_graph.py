"""The picture of the rules in the report shows what takes files of what.

`rules/graph.tsv` holds the graph, because a job knows nothing of the others. Write it
anew with `WRITE_GRAPH=1 pytest tests/workflow/test_rule_graph.py`.
"""

import os
import re
from pathlib import Path

from running import ROOT, snakemake, text_of

GRAPH = ROOT / "rules" / "graph.tsv"
# what only asks for files, and what comes after the page
NOT_DRAWN = {"all", "inspect", "parity", "compare_parity", "compare_runs"}
LIST = "3M-february-2018"
# everything that a config can switch on, in as few runs as it takes
ON = {
    "correct_ambient": {"method": "cellbender"},
    "run_celltypist": {"model": "model.pkl", "trust_pickle": True},
    "order_cells": {"root": "0"},
    "find_clones": {"reference_types": ["0"]},
    "infer_velocity": {"mode": "stochastic"},
    "count_reads": {
        "soloFeatures": ["GeneFull_Ex50pAS", "Gene", "Velocyto"],
        "bam": "cram",
    },
    "fetch_whitelist": {"allowed": True},
    "prepare_whitelist": {LIST: f"resources/whitelists/{LIST}.txt.gz"},
}
SCENARIOS = {"default": {}, "all on": ON}


def drawn(folder, **sections) -> set[tuple[str, str]]:
    """Return the edges of Snakemake's own graph of rules."""
    done = snakemake(folder, "--rulegraph", "dot", **sections)
    names, edges = {}, set()
    for line in done.stdout.splitlines():
        node = re.match(r'\s*(\d+)\s*\[label = "(\w+)"', line)
        edge = re.match(r"\s*(\d+) -> (\d+)", line)
        if node:
            names[node[1]] = node[2]
        elif edge:
            edges.add((edge[1], edge[2]))
    assert names, text_of(done)
    named = {(names[a], names[b]) for a, b in edges}
    return {(a, b) for a, b in named if not {a, b} & NOT_DRAWN}


def stages() -> dict[str, str]:
    """Return the stage of every rule, in the order of the data."""
    included = re.findall(r'include: "rules/(\w+)\.smk"', _text("Snakefile"))
    return {
        rule: stage
        for stage in included
        for rule in re.findall(r"^rule (\w+):", _text(f"rules/{stage}.smk"), re.M)
        if rule not in NOT_DRAWN
    }


def _text(name: str) -> str:
    return (ROOT / name).read_text()


def as_text(edges: set[tuple[str, str]]) -> str:
    """Return the table: stage, rule, and the rules that it takes files of."""
    stage_of = stages()
    order = {rule: i for i, rule in enumerate(stage_of)}
    lines = ["stage\trule\tafter"]
    for rule, stage in stage_of.items():
        before = sorted((a for a, b in edges if b == rule), key=order.__getitem__)
        lines.append(f"{stage}\t{rule}\t{','.join(before)}")
    return "\n".join(lines) + "\n"


def real_edges(folder: Path) -> set[tuple[str, str]]:
    """Return every edge that some config has."""
    (folder / "model.pkl").write_text("x")
    sheet = folder / "config/reads.tsv"
    found = set()
    for sections in SCENARIOS.values():
        found |= drawn(folder, **sections)
    lines = sheet.read_text().splitlines()
    # a sample whose reads come from an archive
    fetched = [f"{lines[0]}\taccession", *(f"{line}\t" for line in lines[1:3])]
    sheet.write_text("\n".join([*fetched[:2], "b\t1\t\t\tSRR000001"]) + "\n")
    return found | drawn(folder)


def test_the_graph_of_the_report_is_that_of_snakemake(project):
    real = as_text(real_edges(project))
    if os.environ.get("WRITE_GRAPH"):
        GRAPH.write_text(real)
    assert GRAPH.read_text() == real, "write it anew with WRITE_GRAPH=1"
