"""`snakemake explain` tells of planted changes, and leaves everything as it is."""

import fcntl

import pytest
import yaml
from plans import finish
from running import snakemake, text_of


@pytest.fixture
def finished(project):
    """Return a folder where all has run, with what two of its jobs took."""
    finish(project, "all")
    write_benchmark(project, "call_given/c", 10)
    write_benchmark(project, "load_cells/a", 60)
    return project


def write_benchmark(folder, name, seconds):
    path = folder / f"benchmarks/{name}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\tmax_rss\n{seconds}\t700\n")


def explained(folder, *options, **sections):
    done = snakemake(folder, "explain", *options, **sections)
    assert done.returncode == 0, text_of(done)
    return done.stdout


def everything(folder):
    """Return times and sizes of the files of a folder, not Snakemake's logs."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_size)
        for path in folder.rglob("*")
        if path.is_file() and "log" not in path.relative_to(folder).parts
    }


def test_a_finished_folder_is_told_in_a_sentence_and_left_alone(finished):
    before = everything(finished)
    assert "Nothing would run: all results are there" in explained(finished)
    assert everything(finished) == before


def test_the_changed_key_the_samples_and_the_time_are_told(finished):
    text = explained(finished, call_cells={"fdr": 0.05})
    assert (
        "\n  call_given (1: c)\n    time 10 s; memory 700 MB\n"
        "    because call_cells: fdr: 0.01 -> 0.05\n"
    ) in text
    assert "\n  call_cells (2: a, b)\n    time at most 60 min each; memory " in text
    # measured for one sample, and so for all
    assert "\n  load_cells (3: a, b, c)\n    time 3 min; memory 700 MB\n" in text
    assert "follows call_cells" in text or "follows call_given" in text
    assert "inspect_reads" not in text
    assert "write_report: title" not in text
    assert "No earlier job tells of" in text


def test_files_sheets_and_lost_results_are_told(finished):
    (finished / "results/clusters/pca.h5ad").unlink()
    (finished / "genes.gtf").write_text("other\n")
    sheet = finished / "config/samples.tsv"
    sheet.write_text(sheet.read_text().replace("a\tx", "a\tz"))
    text = explained(finished)
    assert "\n  reduce_dimensions\n" in text
    assert "because results are missing: results/clusters/pca.h5ad" in text
    assert "because files have changed: genes.gtf" in text
    assert "condition: x -> z" in text


def test_it_tells_of_other_targets_and_with_options_of_a_run(finished):
    config = {"find_clusters": {"resolution": 0.7}}
    path = finished / "more.yaml"
    path.write_text(yaml.safe_dump(config))
    text = explained(
        finished, "results/clusters/clusters.h5ad", "--configfile", str(path), "-n"
    )
    assert "find_clusters: resolution: auto -> 0.7" in text
    assert text.index("2 of ") < text.index("find_clusters")
    assert "write_report" not in text


def test_it_can_be_asked_while_another_run_is_at_work(finished):
    """The lock of a run is held by a process that lives."""
    lock = finished / ".snakemake/reads2cells.lock"
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("{}")
        file.flush()
        assert "Nothing would run" in explained(finished)
