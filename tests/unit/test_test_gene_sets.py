"""Tests of the gene sets: their files, ranked enrichment, and markers among them."""

import gzip
import hashlib
import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from _shared.enrichment import (
    enriched,
    in_order,
    over_represented,
    running_score,
    weights_of,
)
from _shared.gene_sets import checked_digests, read_gmt
from _shared.logs import UserError
from _shared.rankings import rankings
from test_gene_sets import COLUMNS, UNTESTED, GeneSetSettings, main

N = 600
GENES = [f"G{i:03d}" for i in range(N)]
NOWHERE = "None of its genes is in the data."


def ranking_of(seed, planted=(), shift=0.0):
    """Make a statistic per gene, that of planted genes moved."""
    values = pd.Series(np.random.default_rng(seed).normal(size=N), index=GENES)
    values[list(planted)] += shift
    return values


def random_sets(seed, n, sizes=(10, 60)):
    rng = np.random.default_rng(seed)
    return {
        f"S{i}": rng.choice(GENES, rng.integers(*sizes), replace=False).tolist()
        for i in range(n)
    }


def plain_score(hits, weights):
    """Walk down the ranking as Subramanian et al. 2005 write it, gene by gene."""
    total, best = 0.0, 0.0
    up = weights[hits].sum()
    for is_hit, weight in zip(hits, weights, strict=True):
        total += weight / up if is_hit else -1 / (~hits).sum()
        best = total if abs(total) > abs(best) else best
    return best


def test_planted_sets_come_first_with_their_signs():
    sets = random_sets(0, 40)
    values = ranking_of(1, sets["S0"], 1.5)
    values[sets["S1"]] -= 1.5
    table = enriched(values, sets, seed=0).sort_values("p_value")
    assert set(table["gene_set"][:2]) == {"S0", "S1"}
    found = table.set_index("gene_set")
    assert found.loc["S0", "nes"] > 1.8
    assert found.loc["S1", "nes"] < -1.8
    assert found["p_value"].iloc[1] < 1e-6
    leading = found.loc["S0", "leading_edge"].split(",")
    assert set(leading) <= set(sets["S0"])
    assert values[leading].is_monotonic_decreasing
    assert values[found.loc["S1", "leading_edge"].split(",")].is_monotonic_increasing


def test_the_score_is_that_of_a_walk_down_the_ranking():
    weights = weights_of(in_order(ranking_of(3), seed=0))
    for seed in range(30):
        hits = np.random.default_rng(seed).random(N) < 0.05
        score, _ = running_score(np.flatnonzero(hits), weights)
        assert np.isclose(score, plain_score(hits, weights))


def test_p_values_are_those_of_random_sets():
    """Against 4,000 random sets of the size, drawn and scored without the library."""
    values = ranking_of(4)
    sets = random_sets(5, 4, sizes=(20, 21))
    weights = weights_of(in_order(values, seed=0))
    rng = np.random.default_rng(6)
    null = np.array(
        [
            running_score(np.sort(rng.choice(N, 20, replace=False)), weights)[0]
            for _ in range(4000)
        ]
    )
    for row in enriched(values, sets, seed=0).itertuples():
        same = null[np.sign(null) == np.sign(row.es)]
        expected = (np.abs(same) >= abs(row.es)).mean()
        assert abs(row.p_value - expected) < 0.06
        assert np.isclose(row.nes, row.es / np.abs(same).mean(), rtol=0.05)


def test_without_an_effect_p_values_are_uniform():
    p_values = np.concatenate(
        [
            enriched(ranking_of(10 + i), random_sets(20 + i, 100), seed=i)["p_value"]
            for i in range(4)
        ]
    )
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert (p_values > 0).all()


def test_the_seed_matters_and_neither_threads_nor_order_do():
    values, sets = ranking_of(1), random_sets(2, 30)
    once = enriched(values, sets, seed=3)
    assert once.equals(enriched(values, sets, seed=3, threads=4))
    turned = dict(reversed(sets.items()))
    again = enriched(values.iloc[::-1], turned, seed=3).set_index("gene_set")
    assert again.loc[list(sets)].reset_index().equals(once)
    other = enriched(values, sets, seed=2**33)
    assert other["es"].equals(once["es"])
    assert not other["p_value"].equals(once["p_value"])


def test_a_large_collection_is_done_in_parts_with_the_same_scores(monkeypatch):
    values, sets = ranking_of(1), random_sets(2, 30)
    whole = enriched(values, sets, seed=3)
    monkeypatch.setattr("_shared.enrichment.MOST_VALUES", 7 * N)
    parts = enriched(values, sets, seed=3)
    assert parts["gene_set"].tolist() == whole["gene_set"].tolist()
    assert parts["es"].equals(whole["es"])
    assert np.allclose(np.log10(parts["p_value"]), np.log10(whole["p_value"]), atol=0.5)


def test_equal_statistics_make_no_set_of_neighbors_enriched():
    """Half of the genes have the same value; a set of them in order of their names."""
    values = ranking_of(1)
    values[GENES[:400]] = 0.5
    neighbors = {f"S{i}": GENES[i * 20 : i * 20 + 20] for i in range(20)}
    p_values = enriched(values, neighbors, seed=0)["p_value"]
    assert stats.kstest(p_values, "uniform").pvalue > 0.001
    assert p_values.min() > 1e-4


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("sign", [1, -1])
def test_values_that_are_zero_are_no_obstacle(share, sign):
    """Random sets of zeros have no score, at which gseapy 1.3.1 alone panics."""
    values = sign * ranking_of(1).abs()
    values[GENES[: int(N * share)]] = 0
    table = enriched(values, random_sets(2, 30, sizes=(3, 60)), seed=0)
    assert np.isfinite(table["es"]).all()
    assert table["p_value"].isna().mean() < 0.5


def test_over_representation_is_fishers_exact_test():
    rng = np.random.default_rng(0)
    chosen = rng.choice(GENES, 80, replace=False).tolist()
    sets = random_sets(1, 20) | {"all of them": chosen, "most": GENES[:550]}
    table = over_represented(chosen, sets, background=N).set_index("gene_set")
    for name, genes in sets.items():
        k = len(set(genes) & set(chosen))
        square = [[k, len(genes) - k], [80 - k, N - len(genes) - 80 + k]]
        expected = stats.fisher_exact(square, alternative="greater")
        assert np.isclose(table.loc[name, "p_value"], expected.pvalue, rtol=1e-8)
        assert np.isclose(table.loc[name, "odds_ratio"], expected.statistic)
        tail = stats.hypergeom.sf(k - 1, N, len(genes), 80)
        assert np.isclose(table.loc[name, "p_value"], tail)


def test_a_file_is_read_plain_gzipped_and_with_windows_line_ends(tmp_path):
    text = "A\tabout a\tX\tY\tX\r\nB\t\tZ\t\t\r\n\r\n"
    plain, packed = tmp_path / "s.gmt", tmp_path / "s.gmt.gz"
    plain.write_text("\ufeff" + text, newline="")
    packed.write_bytes(gzip.compress(text.encode()))
    for path in (plain, packed):
        assert read_gmt(path) == {"A": ["X", "Y"], "B": ["Z"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"A\tx\tG\nB\tx\n", "line 2: has 2 of at least 3 fields"),
        (b"A\tx\tG\nB\tx\t\t\n", "line 2: has 2 of at least 3 fields"),
        (b"A x G\n", "line 1: has 1 of at least 3 fields"),
        (b"A\tx\tG\n\nA\tx\tH\n", "line 3: the set 'A' stands in line 1 already"),
        (b" \tx\tG\n", "line 1: the first field, the set's name, is empty"),
        (b"A\tx\tG\t\tH\n", "line 1: field 4, a gene of 'A', is empty"),
        (b"A\tx\tG\nB\tx\t\xff\n", "line 2: is not UTF-8 text"),
        (b"", "is empty, it has no gene sets"),
        (b"\n\n", "is empty, it has no gene sets"),
        (b"\x1f\x8bno", "cannot be unpacked"),
    ],
)
def test_a_broken_file_is_told_by_its_line(tmp_path, text, message):
    path = tmp_path / "s.gmt"
    path.write_bytes(text)
    with pytest.raises(UserError, match=message) as caught:
        read_gmt(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        read_gmt(tmp_path / "s.gmt")


def test_a_checksum_is_held_against_the_file(tmp_path):
    path = tmp_path / "s.gmt"
    path.write_text("A\tx\tG\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    paths = {"s": str(path)}
    for checksums in ({}, {"s": digest}, {"s": digest.upper()}):
        assert checked_digests(paths, checksums, section="t") == {"s": digest}
    with pytest.raises(UserError, match=f"its SHA-256 is {digest}, but config t"):
        checked_digests(paths, {"s": "0" * 64}, section="t")
    with pytest.raises(UserError, match="'z' names no file of this section; known"):
        checked_digests(paths, {"z": digest}, section="t")
    with pytest.raises(UserError, match=r"no.gmt: no such file; mend config t: 's'"):
        checked_digests({"s": str(tmp_path / "no.gmt")}, {}, section="t")


def expression_table(evidence="tested", seed=1, planted=(), **changes):
    """Make a result of `test_expression` for one cell type and contrast."""
    values = ranking_of(seed, planted, 1.5)
    table = pd.DataFrame(
        {
            "cell_type": "T",
            "contrast": "c",
            "gene_id": [f"E{i:03d}.2" for i in range(N)],
            "gene_name": GENES,
            "evidence": evidence,
            "base_mean": 10.0,
            "log2_fold_change": values.to_numpy(),
            "statistic": 3 * values.to_numpy(),
            "p_value": 0.5,
            "padj": 0.5,
        }
    ).assign(**changes)
    if evidence == "exploratory":
        table = table.drop(columns=["statistic", "p_value", "padj"])
    return table


MARKERS = pd.DataFrame(
    {
        "cluster": ["0"] * 20 + ["1"] * 2,
        "gene_id": [f"E{i:03d}.2" for i in [*range(20), 1, 2]],
        "gene_name": [*GENES[:20], *GENES[1:3]],
        "log2_fold_change": [1.0] * 20 + [1.0, -1.0],
        "padj": [0.001] * 20 + [0.5, 0.001],
    }
)


@pytest.fixture
def run(tmp_path):
    """Run `main` on a table of expression and the text of a collection."""

    def call(gmt, expression=None, untested=(), markers=MARKERS, var=None, **settings):
        if var is None:
            var = pd.DataFrame(
                {"gene_name": [*GENES, "silent"]},
                index=[*(f"E{i:03d}.2" for i in range(N)), "E999.2"],
            )
        x = np.zeros((2, len(var)), dtype=np.float32)
        x[:, : len(var) - 1] = 1
        ad.AnnData(sparse.csr_matrix(x), var=var).write_h5ad(tmp_path / "clusters.h5ad")
        paths = {}
        if gmt is not None:
            (tmp_path / "s.gmt").write_text(
                "\n".join("\t".join([k, "-", *v]) for k, v in gmt.items())
                if isinstance(gmt, dict)
                else gmt
            )
            paths = {"mine": str(tmp_path / "s.gmt")}
        expression = expression_table() if expression is None else expression
        tables = {
            "expression": expression,
            "expression_untested": pd.DataFrame(
                untested, columns=["cell_type", "contrast", "reason"]
            ),
            "markers": markers,
            "type_markers": markers.rename(columns={"cluster": "cell_type"}),
        }
        for name, table in tables.items():
            table.to_csv(tmp_path / f"{name}.tsv", sep="\t", index=False)
        options = {"checksums": {}, "min_genes": 3, "max_genes": 100, "fdr": 0.05}
        main(
            clusters=tmp_path / "clusters.h5ad",
            markers={
                "cluster": tmp_path / "markers.tsv",
                "cell_type": tmp_path / "type_markers.tsv",
            },
            expression=tmp_path / "expression.tsv",
            expression_untested=tmp_path / "expression_untested.tsv",
            gene_sets=tmp_path / "sets.tsv",
            untested=tmp_path / "untested.tsv",
            marker_sets=tmp_path / "marker_sets.tsv",
            provenance=tmp_path / "gene_sets.json",
            settings=GeneSetSettings(gene_sets=paths, **options | settings),
            seed=1,
        )
        return [
            pd.read_csv(tmp_path / f"{name}.tsv", sep="\t", keep_default_na=False)
            for name in ("sets", "untested", "marker_sets")
        ]

    return call


SETS = {
    "up": GENES[:20],
    "ids": [f"E{i:03d}" for i in range(100, 120)],
    "versions": [f"E{i:03d}.2" for i in range(100, 120)],
    "foreign": ["A1", "A2", "A3"],
    "small": GENES[:2],
    "large": GENES[:101],
    "unheard": ["silent", "A1", "A2"],
}


def test_the_tables_of_a_run(run, tmp_path):
    expression = expression_table(planted=GENES[:20])
    table, untested, markers = run(
        SETS, expression, untested=[("B", "c", "Too few samples.")]
    )
    assert table.columns.tolist() == COLUMNS
    assert table["gene_set"].tolist() == ["up", "ids", "versions"]
    up, ids, versions = table.to_dict("records")
    assert up["padj"] < 0.001
    assert up["evidence"] == "tested"
    assert ids["es"] == versions["es"]
    assert "G1" in ids["leading_edge"]
    assert untested.columns.tolist() == UNTESTED
    reasons = dict(zip(untested["gene_set"], untested["reason"], strict=True))
    assert untested.iloc[0].tolist() == ["B", "c", "", "", "Too few samples."]
    assert reasons["foreign"] == NOWHERE
    assert reasons["small"].startswith("2 of its genes are among the 600 genes")
    assert reasons["large"].startswith("101 of its genes are among those looked at;")
    assert reasons["unheard"] == "None of its genes is among the 600 genes looked at."
    assert set(reasons) == {"", *SETS} - {"up", "ids", "versions"}

    own = markers[markers["grouping"] == "cluster"]
    assert own["group"].astype(str).tolist() == ["0"]
    row = own.iloc[0]
    assert (row["gene_set"], row["evidence"]) == ("up", "descriptive")
    assert (row["n_overlap"], row["n_set"], row["n_markers"]) == (20, 20, 20)
    # the gene without counts is no candidate
    assert row["n_background"] == N
    assert np.isclose(row["p_value"], stats.hypergeom.sf(19, N, 20, 20), rtol=1e-4)
    assert row["odds_ratio"] == np.inf
    assert (markers["grouping"] == "cell_type").sum() == 1

    used = json.loads((tmp_path / "gene_sets.json").read_text())
    text = (tmp_path / "s.gmt").read_bytes()
    assert used["files"]["mine"]["sha256"] == hashlib.sha256(text).hexdigest()
    assert used["files"]["mine"]["n_sets"] == len(SETS)
    assert used["seed"] == 1


def test_exploratory_comparisons_have_scores_and_no_p_values(run):
    table, untested, _ = run(
        SETS,
        expression_table("exploratory", planted=GENES[:20]),
        untested=[("T", "c", "Effect sizes alone.")],
    )
    assert set(table["evidence"]) == {"exploratory"}
    assert not {"p_value", "padj"} & set(table)
    assert table.loc[table["gene_set"] == "up", "nes"].item() > 1.8
    assert "" not in set(untested["gene_set"]), "what has a ranking is not untested"


def test_beside_tests_exploratory_rows_have_empty_p_values(run):
    both = [
        expression_table(planted=GENES[:20]),
        expression_table("exploratory", planted=GENES[:20], cell_type="B"),
    ]
    table, *_ = run(SETS, pd.concat(both))
    empty = table["p_value"].astype(str) == ""
    assert (empty == (table["cell_type"] == "B")).all()


@pytest.mark.parametrize("gmt", [None, SETS])
def test_without_sets_or_results_the_tables_are_empty(run, gmt):
    table, untested, markers = run(
        gmt, expression_table().iloc[:0], markers=MARKERS.iloc[:0]
    )
    assert table.empty
    assert markers.empty
    assert table.columns.tolist() == [
        name for name in COLUMNS if name not in ("p_value", "padj")
    ]
    assert len(untested) == (0 if gmt is None else 1)


def test_genes_without_an_order_are_told(run):
    for expression, reason in (
        (expression_table(statistic=2.0), "All 600 genes have the same value"),
        (expression_table(statistic=np.nan), "0 genes have a value"),
        (expression_table().iloc[:2], "2 genes have a value; an order needs 3"),
    ):
        table, untested, _ = run(SETS, expression)
        assert table.empty
        row = untested[untested["reason"].str.startswith(reason)].iloc[0]
        assert row[["cell_type", "contrast", "gene_set"]].tolist() == ["T", "c", ""]


def test_three_genes_are_enough_for_a_set_of_one(run):
    gmt = {"one": ["G000"], "two": GENES[:2], "three": GENES[:3]}
    table, untested, _ = run(gmt, expression_table().iloc[:3], min_genes=1)
    assert table["gene_set"].tolist() == ["one", "two"]
    assert table["p_value"].between(0.01, 1).all()
    assert untested["reason"].tolist() == [
        "All genes looked at are in the set: none is left to compare."
    ]


def test_sets_of_another_species_are_told_in_a_sentence(run):
    with pytest.raises(UserError, match="but 'g000' is there as 'G000'; take the file"):
        run({"mouse": ["g000", "g001", "zz"]})


def test_a_file_without_a_gene_of_the_data_leaves_a_row_per_set(run):
    table, untested, markers = run({"a": ["x1"], "b": ["x2"]})
    assert table.empty
    assert markers.empty
    assert untested["gene_set"].tolist() == ["a", "b"]
    assert set(untested["reason"]) == {NOWHERE}


def test_of_genes_with_one_name_that_with_the_most_counts_is_ranked():
    table = expression_table().iloc[:4].copy()
    table["gene_name"] = ["A", "A", "", "B"]
    table["base_mean"] = [1.0, 5.0, 1.0, 1.0]
    (ranking,) = rankings(table)
    assert set(ranking.scores.index) == {"A", "B", "E002.2"}
    assert ranking.scores["A"] == table["statistic"].iloc[1]
