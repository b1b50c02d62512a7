"""Files for labels and comparisons are looked at before anything runs."""

import copy
import hashlib
from pathlib import Path

import pytest
import yaml

from _shared.given_files import check_given, check_optional
from _shared.logs import UserError

CONFIG = Path(__file__).parents[2] / "config"
DEFAULTS = yaml.safe_load((CONFIG / "config.yaml").read_text())
SHIPPED = CONFIG / "markers"


def changed(**sections):
    config = copy.deepcopy(DEFAULTS)
    for section, keys in sections.items():
        config[section].update(keys)
    return config


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Work in a folder with one file of each kind, some of them broken."""
    monkeypatch.chdir(tmp_path)
    texts = {
        "good.gmt": "SET\tx\tA\tB\tC\n",
        "broken.gmt": "SET\tx\tA\nOTHER\tx\n",
        "good.tsv": "source\ttarget\tweight\nSTAT1\tISG15\t1\n",
        "broken.tsv": "source\ttarget\tweight\nSTAT1\tISG15\thigh\n",
        "markers.tsv": "cell_type\tgene\tdirection\nB cell\tCD19\tsideways\n",
        "aliases.tsv": "label\tcell_type\nCD4+ T\tT cell\n",
        "model.pkl": "no pickle",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_defaults_need_nothing():
    check_optional(DEFAULTS, has_reads=False)
    assert check_given(DEFAULTS, shipped=SHIPPED) == []


@pytest.mark.parametrize("table", sorted(path.stem for path in SHIPPED.glob("*.tsv")))
def test_shipped_marker_tables_are_good_and_found_by_name(table):
    config = changed(annotate_clusters={"markers": table})
    assert check_given(config, shipped=SHIPPED) == [str(SHIPPED / f"{table}.tsv")]


def test_good_files_pass(files):
    digest = hashlib.sha256((files / "good.gmt").read_bytes()).hexdigest()
    config = changed(
        annotate_clusters={"aliases": "aliases.tsv"},
        test_gene_sets={"gene_sets": {"own": "good.gmt"}, "checksums": {"own": digest}},
        infer_activities={"networks": {"own": "good.tsv"}},
        run_celltypist={"model": "model.pkl", "trust_pickle": True},
    )
    assert check_given(config, shipped=SHIPPED) == []


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"annotate_clusters": {"markers": "no.tsv"}}, "human_blood"),
        ({"annotate_clusters": {"markers": "markers.tsv"}}, "row 2.*'sideways'"),
        ({"annotate_clusters": {"reference": "no.h5ad"}}, "reference: no such file"),
        ({"annotate_clusters": {"aliases": "markers.tsv"}}, "label"),
        ({"compare_bulk": {"table": "no.tsv"}}, "compare_bulk: table: no such file"),
        ({"test_gene_sets": {"gene_sets": {"a": "no.gmt"}}}, "no.gmt: no such file"),
        ({"test_gene_sets": {"gene_sets": {"a": "broken.gmt"}}}, "line 2"),
        (
            {
                "test_gene_sets": {
                    "gene_sets": {"a": "good.gmt"},
                    "checksums": {"a": "0" * 64},
                }
            },
            "its SHA-256 is",
        ),
        ({"infer_activities": {"networks": {"a": "broken.tsv"}}}, "row 2.*high"),
        ({"run_celltypist": {"model": "model.pkl"}}, "is a pickle.*trust_pickle: true"),
        ({"run_celltypist": {"model": "Immune_All_Low.pkl"}}, "nothing is downloaded"),
    ],
)
def test_a_missing_or_broken_file_is_told_in_one_sentence(files, sections, message):
    with pytest.raises(UserError, match=message) as error:
        check_given(changed(**sections), shipped=SHIPPED)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"order_cells": {"root": "a", "root_gene": "b"}}, "either root"),
        ({"infer_velocity": {"mode": "stochastic"}}, "needs Velocyto"),
        ({"test_gene_sets": {"min_genes": 600}}, "is above max_genes"),
        ({"find_clones": {"reference_types": ["T cell"]}}, "gene_id, chromosome"),
        (
            {
                "infer_velocity": {"mode": "stochastic"},
                "count_reads": {"soloFeatures": ["Gene", "Velocyto"]},
            },
            "samples that enter as reads",
        ),
    ],
)
def test_an_optional_analysis_says_what_it_lacks(sections, message):
    with pytest.raises(UserError, match=message):
        check_optional(changed(**sections), has_reads=False)
