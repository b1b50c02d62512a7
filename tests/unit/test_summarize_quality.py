"""The MultiQC page: metrics of good samples and of those set aside."""

import json

import numpy as np
import pytest

from _shared.metrics import METRICS, judged
from check_reads import judge
from summarize_quality import format_of, main, metrics_table, read_points

GOOD = dict.fromkeys(METRICS, 60.0)
SET_ASIDE = dict.fromkeys(METRICS) | {"number_of_reads": 0}


@pytest.fixture
def sample(tmp_path):
    """Write the files of a sample; return their paths as `main` takes them."""

    def of(name, values, *, ranks="", saturation="", reads=b""):
        folder = tmp_path / name
        folder.mkdir()
        texts = {
            "metrics": json.dumps(judged(values)),
            "ranks": f"rank\ttotal_counts\n{ranks}",
            "saturation": f"n_reads\tsequencing_saturation\n{saturation}",
        }
        for key, text in texts.items():
            (folder / key).write_text(text)
        judge(reads, folder / "quality.json")
        paths = {key: {name: folder / key} for key in texts}
        return {"quality": {"cDNA read": {name: folder / "quality.json"}}, **paths}

    return of


def both(one, two):
    """Return the arguments of two samples together."""
    quality = one["quality"]["cDNA read"] | two["quality"]["cDNA read"]
    others = {key: one[key] | two[key] for key in one if key != "quality"}
    return {"quality": {"cDNA read": quality}, **others}


READS = b"".join(
    b"@r%d\n%b\n+\n%b\n" % (i, bytes(row.tolist()), b"F" * 30)
    for i, row in enumerate(np.random.default_rng(0).choice([*b"ACGT"], (50, 30)))
)


def test_every_sample_is_on_the_page_by_its_name(sample, tmp_path):
    good = sample(
        "a.sorted.gz",
        GOOD,
        ranks="1\t90\n10\t9\n",
        saturation="100\t30\n200\t\n",
        reads=READS,
    )
    bad = sample("bad", SET_ASIDE)
    main(**both(good, bad), page=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    for section in (
        "Barcode ranks",
        "Sequencing saturation",
        "Per Position GC Content",
    ):
        assert section in page
    assert 'data-sorting-val="a.sorted.gz"' in page
    assert 'data-sorting-val="bad"' in page


def test_a_page_is_written_when_all_samples_were_set_aside(sample, tmp_path):
    main(**sample("bad", SET_ASIDE), page=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert 'data-sorting-val="bad"' in page
    assert "Barcode ranks" not in page
    assert "Sequali" not in page


def test_the_table_has_the_values_that_were_measured():
    metrics = {"a": judged(GOOD), "bad": judged(SET_ASIDE), "plate": judged({})}
    table = metrics_table(metrics)
    assert table["data"] == {"a": GOOD, "bad": {"number_of_reads": 0}, "plate": {}}
    assert list(table["headers"]) == list(METRICS)


def colour(header, value):
    """Return the colour of a value as MultiQC finds it: of the last rule that fits."""
    fits = {"ge": float.__ge__, "lt": float.__lt__, "gt": float.__gt__}
    fits["eq"] = float.__eq__
    found = None
    for name, rules in header["cond_formatting_rules"].items():
        for rule in rules:
            for operator, limit in rule.items():
                if fits[operator](float(value), float(limit)):
                    found = name
    return found


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].warn])
def test_the_colours_are_the_verdicts(name):
    metric = METRICS[name]
    for value in (0, 1, metric.fail, metric.warn, metric.warn + 1, 55, 99.5):
        assert colour(format_of(metric), value) == metric.judge(value)


def test_a_point_without_a_value_is_left_out(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n3\t\n5\t6.5\n")
    assert read_points(tmp_path / "x.tsv", x="a", y="b") == [[1, 2], [5, 6.5]]
