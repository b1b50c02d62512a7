"""What a dry run plans, as a function of sheets and config."""

import pytest
from running import planned, snakemake, text_of

PER_READ_SAMPLE = {
    "inspect_reads",
    "check_reads",
    "probe_strand",
    "count_reads",
    "call_cells",
}
PER_SAMPLE = {
    "load_cells",
    "correct_ambient",
    "score_doublets",
    "filter_cells",
    "export_matrices",
}


def dry_run(folder, *options, **sections):
    return snakemake(folder, "--dry-run", *options, **sections)


def test_each_sample_is_a_node_and_lanes_are_not(project):
    done = dry_run(project)
    assert done.returncode == 0, text_of(done)
    counts = planned(done)
    assert {counts[rule] for rule in PER_READ_SAMPLE} == {2}
    assert {counts[rule] for rule in PER_SAMPLE} == {3}
    others = set(counts) - PER_READ_SAMPLE - PER_SAMPLE
    assert {counts[rule] for rule in others} == {1}


def test_both_lanes_of_a_sample_reach_star_in_sheet_order(project):
    done = dry_run(project, "results/count/a/Log.final.out")
    assert (
        "reads/a_1.fastq, reads/a_2.fastq, reads/a2_1.fastq, reads/a2_2.fastq, "
        "results/reads/a/inspection.json, results/reads/a/integrity.json, "
        "results/reads/a/chemistry.json, results/reads/a/star.params"
    ) in text_of(done)


def test_samples_with_counts_alone_need_no_reference(project):
    (project / "config/samples.tsv").write_text("sample\tcounts\nc\t../counts.h5ad\n")
    (project / "config/reads.tsv").unlink()
    done = dry_run(project, check_reference={"fasta": "", "gtf": ""})
    assert done.returncode == 0, text_of(done)
    assert not set(planned(done)) & {
        *PER_READ_SAMPLE,
        "index_genome",
        "check_reference",
    }


def test_a_kit_without_a_list_needs_none(project):
    lists = {"prepare_whitelist": {"3M-february-2018": "none.txt"}}
    done = dry_run(project, inspect_reads={"chemistry": "dropseq"}, **lists)
    assert "prepare_whitelist" not in planned(done)
    done = dry_run(project, inspect_reads={"chemistry": "10x_3p_v3"}, **lists)
    assert "3M-february-2018: no such file" in text_of(done)


def test_parity_compares_the_sample_that_is_named(project):
    done = dry_run(project, "parity", parity={"sample": "a", "matrix": "counts.h5ad"})
    assert done.returncode == 0, text_of(done)
    counts = planned(done)
    assert counts["compare_parity"] == counts["count_reads"] == 1
    assert "load_cells" not in counts


@pytest.mark.parametrize("sample", ["", "c", "x"])
def test_parity_without_a_sample_with_reads_says_what_to_add(project, sample):
    done = dry_run(
        project, "parity", parity={"sample": sample, "matrix": "counts.h5ad"}
    )
    assert done.returncode != 0
    assert f"parity: cannot compare sample '{sample}'" in text_of(done)
    assert "Traceback" not in text_of(done)


def test_alignments_are_kept_only_when_asked_for(project):
    assert "Aligned" not in text_of(dry_run(project))
    for kind in ("bam", "cram"):
        asked = dry_run(project, count_reads={"bam": kind})
        assert asked.returncode == 0
        assert f"Aligned.sortedByCoord.out.{kind}" in text_of(asked)
    refused = dry_run(project, count_reads={"bam": True})
    assert "count_reads: bam: True is not one of ['none', 'bam', 'cram']" in text_of(
        refused
    )


def replace(project, name, old, new):
    path = project / name
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("change", "sections", "message"),
    [
        (
            None,
            {"filter_cells": {"min_gene": 5}},
            "filter_cells: unknown key 'min_gene'",
        ),
        (("config/reads.tsv", "b_1", "x_1"), {}, "row 3 column fastq_1: no such file"),
        (
            ("config/samples.tsv", "\nb\t", "\na\t"),
            {},
            "samples.tsv row 3 column sample",
        ),
        (
            ("config/samples.tsv", "condition", "conditon"),
            {},
            "unknown column 'conditon'",
        ),
        (("config/reads.tsv", "lane", "lame"), {}, "reads.tsv row 1: unknown column"),
        (("reads/b_2.fastq", "@b_2\nA\n+\nI\n", ""), {}, "b_2.fastq is empty"),
        (None, {"inspect_reads": {"chemistry": "10x"}}, "unknown chemistry '10x'"),
        (None, {"check_reference": {"gtf": "no.gtf"}}, "gtf: no such file: no.gtf"),
        (
            None,
            {"design": {"formula": "~ age"}},
            'formula "~ age" names the column "age"',
        ),
    ],
    ids=[
        "key",
        "missing",
        "twice",
        "column",
        "read-column",
        "empty",
        "chemistry",
        "gtf",
        "formula",
    ],
)
def test_a_mistake_is_one_sentence_before_any_job(project, change, sections, message):
    if change:
        replace(project, *change)
    done = snakemake(project, **sections)
    assert done.returncode != 0
    said = [
        line for line in done.stderr.splitlines() if line.startswith("reads2cells:")
    ]
    assert len(said) == 1
    assert message in said[0]
    assert "Traceback" not in text_of(done)
    assert not (project / "results").exists()
