"""Tests of the activities of regulators, and of the files of networks."""

import gzip
import hashlib
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from _shared.activity import activities, top_targets, weight_matrix
from _shared.logs import UserError
from _shared.network_file import read_network
from infer_activities import COLUMNS, SAMPLE_COLUMNS, ActivitySettings, levels_of, main

N = 300
GENES = [f"G{i:03d}" for i in range(N)]
# what activates the first ten genes and represses the next ten
SWITCH = dict.fromkeys(GENES[:10], 1.0) | dict.fromkeys(GENES[10:20], -1.0)


def random_network(seed, n, *, signed=True):
    rng = np.random.default_rng(seed)
    return {
        f"R{i}": {
            gene: float(rng.normal()) if signed else 1.0
            for gene in rng.choice(GENES, rng.integers(5, 40), replace=False)
        }
        for i in range(n)
    }


@pytest.mark.parametrize("signed", [True, False])
def test_an_activity_is_the_t_value_of_a_regression(signed):
    network = random_network(0, 12, signed=signed)
    weights = weight_matrix(network, pd.Index(GENES))
    values = np.random.default_rng(1).normal(2, 3, size=(3, N))
    t, p_values = activities(values, weights)
    for i in range(3):
        for j in range(12):
            line = stats.linregress(weights[:, [j]].toarray().ravel(), values[i])
            assert np.isclose(t[i, j], line.slope / line.stderr, rtol=1e-9)
            assert np.isclose(p_values[i, j], line.pvalue, rtol=1e-9)


def test_without_an_effect_p_values_are_uniform():
    weights = weight_matrix(random_network(2, 200), pd.Index(GENES))
    values = np.random.default_rng(3).normal(size=(1, N))
    _, p_values = activities(values, weights)
    assert stats.kstest(p_values[0], "uniform").pvalue > 0.01


def test_where_values_or_weights_are_equal_there_is_no_activity():
    weights = weight_matrix(
        {"all": dict.fromkeys(GENES, 2.0), "R": SWITCH}, pd.Index(GENES)
    )
    values = np.vstack([np.arange(N), np.full(N, 0.1)])
    t, p_values = activities(values, weights)
    assert np.isnan(t).tolist() == [[True, False], [True, True]]
    assert (np.isnan(p_values) == np.isnan(t)).all()


def test_the_targets_on_top_speak_for_the_activity():
    values = pd.Series(np.arange(4.0), index=list("abcd"))
    targets = {"a": -1.0, "b": 1.0, "d": 1.0, "z": 1.0}
    assert top_targets(values, targets, 1) == ["a", "d"]
    assert top_targets(values, targets, -1) == ["b"]


def expression_table(evidence="tested", **changes):
    """Make a result of `test_expression` in which SWITCH is on."""
    values = np.random.default_rng(4).normal(size=N)
    values[:10] += 3
    values[10:20] -= 3
    table = pd.DataFrame(
        {
            "cell_type": "T",
            "contrast": "c",
            "gene_id": [f"E{i:03d}.1" for i in range(N)],
            "gene_name": GENES,
            "evidence": evidence,
            "base_mean": 1.0,
            "log2_fold_change": values,
            "statistic": values,
        }
    ).assign(**changes)
    return table.drop(columns="statistic") if evidence == "exploratory" else table


def pseudobulk():
    """Make two samples of a cell type, SWITCH on in the second, and one sample of none.

    Two genes have one name.
    """
    means = np.full((3, N + 1), 20.0)
    means[1, :10], means[1, 10:20] = 80, 5
    means[2] = 0
    counts = np.random.default_rng(5).poisson(means)
    obs = pd.DataFrame(
        {
            "sample": ["off", "on", "none"],
            "cell_type": ["T", "T", "T"],
            "n_cells": [50, 40, 0],
        },
        index=["off:T", "on:T", "none:T"],
    )
    var = pd.DataFrame(
        {"gene_name": [*GENES, "G000"]},
        index=[*(f"E{i:03d}.1" for i in range(N)), "E999.1"],
    )
    return ad.AnnData(sparse.csr_matrix(counts), obs=obs, var=var)


@pytest.fixture
def run(tmp_path):
    def call(network, expression=None, untested=(), **settings):
        paths = {}
        if network is not None:
            rows = [(s, t, w) for s, own in network.items() for t, w in own.items()]
            table = pd.DataFrame(rows, columns=["source", "target", "weight"])
            table.to_csv(tmp_path / "n.tsv", sep="\t", index=False)
            paths = {"mine": str(tmp_path / "n.tsv")}
        expression = expression_table() if expression is None else expression
        expression.to_csv(tmp_path / "expression.tsv", sep="\t", index=False)
        pd.DataFrame(untested, columns=["cell_type", "contrast", "reason"]).to_csv(
            tmp_path / "expression_untested.tsv", sep="\t", index=False
        )
        pseudobulk().write_h5ad(tmp_path / "pseudobulk.h5ad")
        options = {"checksums": {}, "min_targets": 5, "fdr": 0.05}
        main(
            pseudobulk=tmp_path / "pseudobulk.h5ad",
            expression=tmp_path / "expression.tsv",
            expression_untested=tmp_path / "expression_untested.tsv",
            activities=tmp_path / "activities.tsv",
            sample_activities=tmp_path / "samples.tsv",
            untested=tmp_path / "untested.tsv",
            provenance=tmp_path / "activities.json",
            settings=ActivitySettings(networks=paths, **options | settings),
        )
        return [
            pd.read_csv(tmp_path / f"{name}.tsv", sep="\t", keep_default_na=False)
            for name in ("activities", "samples", "untested")
        ]

    return call


NETWORK = {
    "switch": SWITCH,
    "back": {gene: -weight for gene, weight in SWITCH.items()},
    "few": dict.fromkeys(GENES[:4], 1.0),
    "foreign": dict.fromkeys(["A1", "A2", "A3", "A4", "A5"], 1.0),
    "all": dict.fromkeys(GENES, 1.0),
    "ids": dict.fromkeys([f"E{i:03d}" for i in range(200, 210)], 1.0),
} | random_network(6, 20)


def test_the_tables_of_a_run(run, tmp_path):
    table, samples, untested = run(
        NETWORK, untested=[("B", "c", "Too few samples."), ("T", "c", "Weak.")]
    )
    assert table.columns.tolist() == COLUMNS
    found = table.set_index("source")
    assert set(table.nlargest(1, "activity")["source"]) == {"switch"}
    assert found.loc["switch", "activity"] == -found.loc["back", "activity"]
    assert found.loc["switch", "padj"] < 1e-6
    assert found.loc["switch", "n_targets"] == 20
    assert found.loc["ids", "n_targets"] == 10
    top = found.loc["switch", "top_targets"].split(",")
    assert len(top) == 10
    assert set(top) <= set(SWITCH)
    assert found["padj"].gt(0.05).sum() >= 18

    assert samples.columns.tolist() == SAMPLE_COLUMNS
    switch = samples[samples["source"] == "switch"].set_index("sample")["activity"]
    assert switch.index.tolist() == ["off", "on"]
    assert switch["on"] > switch["off"] + 5

    reasons = dict(zip(untested["source"], untested["reason"], strict=True))
    assert reasons == {
        "": "Too few samples.",
        "few": "4 of its genes are among the 300 genes looked at; 5 are needed.",
        "foreign": "None of its genes is among the 300 genes looked at.",
        "all": "All genes looked at are its targets, with one weight.",
    }
    used = json.loads((tmp_path / "activities.json").read_text())
    digest = hashlib.sha256((tmp_path / "n.tsv").read_bytes()).hexdigest()
    assert used["files"]["mine"]["sha256"] == digest


def test_exploratory_comparisons_have_no_p_values(run):
    table, *_ = run(NETWORK, expression_table("exploratory"))
    assert set(table["evidence"]) == {"exploratory"}
    assert not {"p_value", "padj"} & set(table)
    assert table.nlargest(1, "activity")["source"].item() == "switch"


def test_without_a_network_or_results_the_tables_are_empty(run):
    for network in (None, NETWORK):
        table, samples, untested = run(network, expression_table().iloc[:0])
        assert table.empty
        assert "activity" in table
        assert "p_value" not in table
        assert samples.empty == (network is None)
        assert untested.empty


def test_equal_statistics_and_three_genes_are_told(run):
    table, _, untested = run(NETWORK, expression_table(statistic=1.0))
    assert table.empty
    assert untested["reason"].tolist() == [
        "All 300 genes have the same value, so there is no order."
    ]
    small = {"one": {"G000": 1.0}, "none": {"G200": 1.0}}
    table, _, untested = run(small, expression_table().iloc[:3], min_targets=1)
    assert table["source"].tolist() == ["one"]
    assert np.isfinite(table["activity"]).all()
    assert untested["source"].tolist() == ["none"]


def test_targets_of_another_species_are_told_in_a_sentence(run):
    with pytest.raises(UserError, match="'g000' is there as 'G000'; take the file"):
        run({"R": dict.fromkeys(["g000", "g001"], 1.0)})


def test_levels_are_log_counts_per_million_of_names():
    bulk = pseudobulk()
    names = bulk.var["gene_name"]
    levels = levels_of(bulk, names)
    assert levels.index.tolist() == ["off:T", "on:T"]
    counts = bulk.X.toarray().astype(float)
    first = counts[0, 0] + counts[0, -1]
    expected = np.log2(1 + 1e6 * first / counts[0].sum())
    assert np.isclose(levels.loc["off:T", "G000"], expected)


def test_a_network_is_read_plain_and_gzipped(tmp_path):
    path = tmp_path / "n.tsv.gz"
    path.write_bytes(
        gzip.compress(b"source\tPMID\ttarget\tmor\r\nA\t1\tX\t-1\r\n\nA\t1\tY\t2e0\n")
    )
    assert read_network(path) == {"A": {"X": -1.0, "Y": 2.0}}
    plain = tmp_path / "n.tsv"
    plain.write_text("target\tsource\nX\tA\nX\tA\nX\tB\n")
    assert read_network(plain) == {"A": {"X": 1.0}, "B": {"X": 1.0}}


HEAD = "source\ttarget\tweight\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, it has no network"),
        (HEAD, "has no targets, only a header"),
        ("source,target\nA,X\n", "row 1: columns are separated by commas; use tabs"),
        ("source\tgene\nA\tX\n", "row 1: column 'target' is missing"),
        ("source\ttarget\tmor\tweight\n", "row 1: has both columns 'weight' and 'mor'"),
        ("source\ttarget\ttarget\n", "row 1: column 'target' stands there twice"),
        (HEAD + "A\tX\t1\nA\tY\tup\n", "row 3, column 'weight': is 'up', no number"),
        (HEAD + "A\tX\tnan\n", "row 2, column 'weight': is 'nan', no number"),
        (HEAD + "A\tX\tinf\n", "row 2, column 'weight': is 'inf', no number"),
        (HEAD + "A\tX\t0\n", "row 2, column 'weight': is 0, which moves nothing"),
        (HEAD + "A\tX\t1\nA\tX\t2\n", "row 3, column 'weight': X of A has another "),
        (HEAD + "A\tX\n", "row 2, column 'weight': is empty"),
        (HEAD + "\tX\t1\n", "row 2, column 'source': is empty"),
        (HEAD + "A\t \t1\n", "row 2, column 'target': is empty"),
    ],
)
def test_a_broken_network_is_told_by_row_and_column(tmp_path, text, message):
    path = tmp_path / "n.tsv"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_network(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
