"""`snakemake verify` runs nothing, whatever is gone."""

import json

from running import snakemake, text_of

from _shared.manifest import FORMAT
from _shared.provenance import file_record


def write_manifest(project):
    """Leave a run whose only result is a page, made of one file of reads."""
    page = project / "results/report/report.html"
    page.parent.mkdir(parents=True)
    page.write_text("page")

    def record(path):
        return {**file_record(project / path), "path": path}

    content = {key: {} for key in ("config", "sheets", "versions", "workflow")}
    content |= {
        "format": FORMAT,
        "created": "2026-01-01",
        "inputs": {"fastq": [record("reads/a_1.fastq")]},
        "reference": None,
        "outputs": [record("results/report/report.html")],
    }
    (page.parent / "manifest.json").write_text(json.dumps(content))


def test_a_run_is_verified_and_nothing_is_made(project):
    write_manifest(project)
    done = snakemake(project, "verify")
    assert done.returncode == 0, text_of(done)
    assert "Verified: all 1 inputs and 1 outputs" in done.stdout
    assert len(list((project / "results").rglob("*"))) == 3
    assert not (project / "benchmarks").exists()


def test_it_tells_inputs_that_are_gone_where_a_run_would_not_start(project):
    write_manifest(project)
    (project / "reads/a_1.fastq").unlink()
    done = snakemake(project, "verify")
    assert done.returncode == 1
    assert "input missing: reads/a_1.fastq\n" in done.stdout
    assert "Traceback" not in text_of(done)


def test_it_is_asked_for_alone(project):
    done = snakemake(project, "verify", "all")
    assert done.returncode == 1
    assert "verify: is asked for alone" in text_of(done)
