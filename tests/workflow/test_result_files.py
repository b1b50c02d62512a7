"""What the README of the results names is what a run plans; reports have captions."""

import re

import pytest
from running import ROOT, snakemake, text_of

ON = {
    "correct_ambient": {"method": "cellbender"},
    "order_cells": {"root": "0"},
    "find_clones": {"reference_types": ["0"]},
    "count_reads": {"bam": "bam"},
}


def planned_files(project, **sections) -> set[str]:
    """Return every file below results/ that a run makes."""
    done = snakemake(project, "--summary", **sections)
    assert done.returncode == 0, text_of(done)
    return set(re.findall(r"^results/(\S+)", done.stdout, re.MULTILINE))


def named_files(project, **sections) -> set[str]:
    """Return what the README names, once it is written."""
    done = snakemake(project, "results/README.md", **sections)
    assert done.returncode == 0, text_of(done)
    text = (project / "results/README.md").read_text()
    return set(re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize("sections", [{}, ON], ids=["default", "all on"])
def test_the_readme_names_all_files_of_the_run_and_no_other(project, sections):
    named = named_files(project, **sections) | {"README.md"}
    planned = planned_files(project, **sections)
    patterns = {
        name: re.compile(re.sub(r"<\w+>", "[^/]+", re.escape(name).rstrip("/")) + "$")
        for name in named
    }
    unexplained = [
        path for path in planned if not any(p.match(path) for p in patterns.values())
    ]
    not_made = [
        name for name, p in patterns.items() if not any(p.match(f) for f in planned)
    ]
    assert unexplained == []
    assert not_made == []


@pytest.mark.parametrize(
    "sections",
    [{}, ON, {"draw_figures": {"formats": []}, "export_matrices": {"enabled": False}}],
    ids=["default", "all on", "exports off"],
)
def test_the_manifest_takes_every_file_of_the_last_stages(project, sections):
    done = snakemake(project, "--dry-run", **sections)
    assert done.returncode == 0, text_of(done)
    job = re.search(r"rule write_manifest:\n    input: (.*)", done.stdout)[1]
    taken = set(job.split(", "))
    last = re.compile(r"report/|annotate/|compare/|README\.md$|reads/multiqc\.html$")
    made = {f for f in planned_files(project, **sections) if last.match(f)}
    made -= {"report/manifest.json", "report/Snakefile"}
    assert {f"results/{path}" for path in made} <= taken


def test_comparing_without_an_earlier_run_says_what_to_add(project):
    done = snakemake(project, "--dry-run", "compare_runs")
    assert done.returncode != 0
    assert "compare_runs: no earlier run to compare with; add --config" in text_of(done)
    assert "Traceback" not in text_of(done)
    done = snakemake(project, "--dry-run", previous="nowhere")
    assert "config: previous: no such folder: nowhere" in text_of(done)


def test_an_earlier_run_adds_the_comparison_and_changes_nothing_before(project):
    manifest = project / "before/results/report/manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text("{}")
    without = planned_files(project)
    added = planned_files(project, previous="before") - without
    assert added
    assert {path.rsplit("/", 1)[0] for path in added} == {"report/comparison"}


def test_every_result_of_snakemakes_own_report_has_a_caption_and_a_category():
    marks, captions = [], set()
    for path in ROOT.glob("rules/*.smk"):
        for mark in re.findall(r"report\(\n(.*?)\n        \)", path.read_text(), re.S):
            marks.append(mark)
            captions |= set(re.findall(r'caption="report/(\w+)\.rst"', mark))
            assert "category=" in mark
            assert '"result":' in mark
    assert len(marks) > 20
    written = {path.stem for path in ROOT.glob("rules/report/*.rst")} - {"workflow"}
    assert captions == written
    assert (ROOT / "rules/report/workflow.rst").read_text()
