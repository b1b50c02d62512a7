"""What `snakemake explain` says: which keys changed, and what jobs will take."""

from dataclasses import replace

import pytest

from _shared.earlier_jobs import Cost, expected
from _shared.explanation import Task, finish_times, gigabytes, minutes, told
from _shared.param_changes import changes

CONFIG = {
    "seed": 1,
    "call_cells": {"fdr": 0.05, "method": "OrdMag"},
    "test_expression": {"fdr": 0.05, "min_cells": 10},
    "find_clusters": {"n_pcs": 31},
}


def said(old, new, *, rule="call_cells"):
    return changes([repr(value) for value in old], new, rule=rule, config=CONFIG)


def test_a_key_is_named_with_its_section_and_both_values():
    before = {"fdr": 0.01, "method": "OrdMag"}
    now = {"settings": CONFIG["call_cells"]}
    assert said([before], now) == ["call_cells: fdr: 0.01 -> 0.05"]
    assert said([before], now, rule="call_given") == ["call_cells: fdr: 0.01 -> 0.05"]


def test_a_bare_value_is_named_by_the_one_section_that_has_it():
    assert said([2], {"seed": 1}) == ["seed: 2 -> 1"]
    assert said([30], {"n_pcs": 31}) == ["find_clusters: n_pcs: 30 -> 31"]
    assert said(["a"], {"feature": "b"}) == ["call_cells: feature: a -> b"]


def test_a_whole_config_names_what_differs_inside():
    before = {**CONFIG, "seed": 2, "find_clusters": {"n_pcs": 30}}
    found = said([before], {"config": CONFIG}, rule="write_report")
    assert found == ["seed: 2 -> 1", "find_clusters: n_pcs: 30 -> 31"]


def test_null_and_true_are_written_as_in_a_config():
    assert said([None], {"preview_reads": 5000}) == [
        "call_cells: preview_reads: null -> 5000"
    ]
    assert said([False], {"strict": True}) == ["call_cells: strict: false -> true"]


def test_two_values_of_a_type_are_not_guessed():
    assert said([2, 30], {"seed": 1, "n_pcs": 31}) == [
        "seed is now 1",
        "find_clusters: n_pcs is now 31",
    ]


def test_shared_code_is_not_a_key():
    assert said(["0a1b"], {"shared": "2c3d"}) == [
        "code that its script shares with others has changed"
    ]


HEADER = "s\tmax_rss\tinput_size_mb"


def write_benchmark(path, seconds, memory, size):
    path.parent.mkdir(parents=True, exist_ok=True)
    row = f"{seconds}\t{memory}\t{{'x.h5ad': {size}}}"
    path.write_text(f"{HEADER}\n{row}\n")


@pytest.fixture
def grown(tmp_path):
    """Return a file of two megabytes."""
    path = tmp_path / "x.h5ad"
    path.write_bytes(b"x" * 2 * 1024 * 1024)
    return path


def cost(path, *inputs, rule="filter_cells"):
    return expected(path, rule=rule, inputs=inputs, limits=(30, 2000))


def test_twice_the_input_takes_twice_the_time_and_memory(tmp_path, grown):
    path = tmp_path / "filter_cells/a.tsv"
    write_benchmark(path, 10, 300, 1.0)
    found = cost(path, grown)
    assert (found.seconds, found.megabytes) == (20, 600)
    # what is not there yet tells nothing
    assert cost(path, grown, tmp_path / "absent").seconds == 10


def test_memory_does_not_fall_below_what_was_measured(tmp_path, grown):
    path = tmp_path / "filter_cells/a.tsv"
    write_benchmark(path, 10, 300, 4.0)
    found = cost(path, grown)
    assert (found.seconds, found.megabytes) == (5, 300)


def test_a_new_sample_is_judged_by_others_of_its_rule(tmp_path):
    for name, seconds in (("a", 10), ("b", 12), ("c", 50)):
        write_benchmark(tmp_path / f"filter_cells/{name}.tsv", seconds, 300, 1.0)
    assert cost(tmp_path / "filter_cells/new.tsv").seconds == 12
    # a rule of all has a file of its own, beside those of other rules
    write_benchmark(tmp_path / "merge_samples.tsv", 7, 300, 1.0)
    assert cost(tmp_path / "find_markers.tsv", rule="find_markers").seconds is None


BROKEN = ["", "s\tmax_rss\n", "s\tmax_rss\nx\t1\n", "s\tmax_rss\n5\n"]


@pytest.mark.parametrize("text", BROKEN)
def test_a_broken_benchmark_tells_nothing(tmp_path, text):
    path = tmp_path / "merge_samples.tsv"
    path.write_text(text)
    found = cost(path, rule="merge_samples")
    assert found == Cost(seconds=None, limit_seconds=1800, megabytes=2000)


def test_a_job_too_short_to_be_measured_has_what_is_reserved(tmp_path):
    path = tmp_path / "merge_samples.tsv"
    write_benchmark(path, 0.1, "NA", 1.0)
    assert cost(path, rule="merge_samples").megabytes == 2000


def task(rule, seconds, *after, threads=1, sample="", own=()):
    limit = None if seconds else 3600
    known = Cost(seconds=seconds, limit_seconds=limit, megabytes=500)
    return Task(
        rule=rule,
        sample=sample,
        own=list(own),
        cost=known,
        threads=threads,
        after=list(after),
    )


def test_jobs_wait_for_cores_and_for_each_other():
    tasks = [task("a", 10), task("b", 20), task("c", 5, 0), task("d", 7, 1, 2)]
    assert finish_times(tasks) == [10, 20, 15, 27]
    assert max(finish_times(tasks, cores=2)) == 27
    assert max(finish_times(tasks, cores=1)) == 42
    # more threads than cores is all cores
    wide = [task("a", 10, threads=16), task("b", 10, threads=16)]
    assert max(finish_times(wide, cores=2)) == 20


def test_what_would_run_is_told_by_rule_with_the_first_reason():
    tasks = [
        task("call_cells", 10, sample="a", own=["call_cells: fdr: 0.01 -> 0.05"]),
        task("call_cells", 20, sample="b", own=["call_cells: fdr: 0.01 -> 0.05"]),
        task("load_cells", 60, 0, sample="a"),
        task("write_report", None, 2),
    ]
    text = told(tasks, n_jobs=40, cores=1)
    assert text.startswith("4 of 40 jobs would run, of 3 rules. Nothing has been star")
    assert (
        "  call_cells (2: a, b)\n    time 30 s; memory 500 MB\n"
        "    because call_cells: fdr: 0.01 -> 0.05\n"
        "  load_cells (1: a)\n    time 60 s; memory 500 MB\n    follows call_cells\n"
    ) in text
    assert "time at most 60 min each" in text
    assert "about 90 s on 1 core" in text or "about 2 min on 1 core" in text
    assert "No earlier job tells of write_report" in text


def test_memory_that_cannot_be_told_yet_is_not_none_at_all():
    unknown = task("write_report", None)
    unknown.cost = replace(unknown.cost, megabytes=None)
    text = told([unknown], n_jobs=40, cores=1)
    assert "memory not known yet" in text
    assert "The most memory" not in text
    assert "0 MB" not in text


def test_nothing_to_do_is_a_sentence():
    assert told([], n_jobs=40, cores=2).startswith("Nothing would run")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89, "89 s"), (600, "10 min"), (9000, "2.5 h")]
)
def test_times_are_said_as_by_people(seconds, text):
    assert minutes(seconds) == text


def test_memory_is_said_as_by_people():
    assert [gigabytes(mb) for mb in (26.9, 949, 1250)] == ["27 MB", "949 MB", "1.2 GB"]
