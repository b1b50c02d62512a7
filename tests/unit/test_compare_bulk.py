"""Whole samples go with their own bulk RNA-seq, and what does not is told."""

import logging

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse, stats

from _shared.bulk_table import without_version
from _shared.logs import UserError
from compare_bulk import (
    GENE_COLUMNS,
    SAMPLE_COLUMNS,
    BulkSettings,
    correlations,
    log_cpm,
    main,
    residuals,
    robust_z,
    swaps,
)

N_GENES = 600
SAMPLES = ["a", "b", "c", "d"]
IDS = [f"ENSG{i:05d}" for i in range(N_GENES)]
NAMES = [f"G{i}" for i in range(N_GENES)]
SETTINGS = BulkSettings(table="", min_cpm=5, max_z=5)
PLANTED = {10: 3.0, 11: 3.0, 12: -3.0, 13: -3.0}


def planted(n_samples=4, *, seed=0, difference=0.6):
    """Make counts of single cells and bulk (genes x samples) from the same truth.

    Samples differ from each other by `difference`; the bulk follows a curve of the
    level, and the planted genes are off it in every sample.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(3.5, 1.3, (N_GENES, 1))
    level = level + rng.normal(0, difference, (N_GENES, n_samples))
    level[list(PLANTED)] = 4
    bulk = 0.9 * level + 0.2 * rng.normal(size=(N_GENES, 1))
    for gene, shift in PLANTED.items():
        bulk[gene] -= shift * np.log(2)
    depth = [1, 3, 10, 30][:n_samples]
    names = SAMPLES[:n_samples]
    single = pd.DataFrame(rng.poisson(np.exp(level)), index=IDS, columns=names)
    values = rng.poisson(np.exp(bulk) * depth)
    return single, pd.DataFrame(values, index=IDS, columns=names)


def pseudobulk_of(single):
    """Make the file of pseudobulks: whole samples, and a type that must not count."""
    rows = [(name, kind) for name in single for kind in ("all", "T")]
    x = np.array([single[name] * (kind == "all") for name, kind in rows], dtype=float)
    x = x.reshape(len(rows), len(single))
    obs = pd.DataFrame(rows, columns=["sample", "cell_type"])
    obs.index = [":".join(row) for row in rows]
    var = pd.DataFrame({"gene_name": NAMES[: len(single)]}, index=single.index)
    return ad.AnnData(sparse.csr_matrix(x), obs=obs, var=var)


@pytest.fixture
def compare(tmp_path):
    def run(single, bulk, settings=SETTINGS):
        pseudobulk_of(single).write_h5ad(tmp_path / "pseudobulk.h5ad")
        table = None
        if bulk is not None:
            table = tmp_path / "bulk.tsv"
            if isinstance(bulk, str):
                table.write_text(bulk)
            else:
                bulk.to_csv(table, sep="\t", index_label="gene")
        paths = {name: tmp_path / f"{name}.tsv" for name in ("samples", "genes")}
        main(
            pseudobulk=tmp_path / "pseudobulk.h5ad",
            table=table,
            settings=settings,
            **paths,
        )
        return [pd.read_csv(path, sep="\t") for path in paths.values()]

    return run


def test_each_sample_fits_its_own_bulk_best(compare, caplog):
    of_samples, of_genes = compare(*planted())
    assert list(of_samples.columns) == SAMPLE_COLUMNS
    assert list(of_genes.columns) == GENE_COLUMNS
    assert len(of_samples) == 16
    best = of_samples[of_samples["is_best_match"]]
    assert (best["sample"] == best["bulk_sample"]).all()
    assert len(best) == 4
    assert "swapped" not in caplog.text


def test_swapped_columns_are_told(compare, caplog):
    single, bulk = planted()
    compare(single, bulk.rename(columns={"a": "b", "b": "a"}))
    assert "a fits the bulk sample b better than its own" in caplog.text
    assert "b fits the bulk sample a better than its own" in caplog.text
    assert "c fits" not in caplog.text


def test_replicates_that_are_alike_are_no_swap(compare, caplog):
    for seed in range(5):
        compare(*planted(seed=seed, difference=0))
    assert "swapped" not in caplog.text


def test_planted_differences_are_found(compare):
    _, of_genes = compare(*planted())
    found = of_genes[of_genes["disagrees"]].set_index("gene_id")
    assert {IDS[gene] for gene in PLANTED} <= set(found.index)
    assert len(found) <= len(PLANTED) + 6
    for gene, shift in PLANTED.items():
        assert found.loc[IDS[gene], "difference"] == pytest.approx(shift, abs=0.8)
    # those that disagree most come first
    assert (of_genes["z"].abs().diff().dropna() <= 0).all()


def test_correlations_are_those_of_scipy(compare):
    single, bulk = planted()
    of_samples, of_genes = compare(
        single, bulk, BulkSettings(table="", min_cpm=0, max_z=5)
    )
    one, other = log_cpm(single), log_cpm(bulk)
    row = of_samples.set_index(["sample", "bulk_sample"]).loc[("a", "c")]
    assert row["pearson"] == pytest.approx(
        stats.pearsonr(one["a"], other["c"])[0], 1e-4
    )
    assert row["spearman"] == pytest.approx(
        stats.spearmanr(one["a"], other["c"])[0], 1e-4
    )
    assert row["n_genes"] == N_GENES
    by_id = of_genes.set_index("gene_id")["log2_bulk"]
    assert by_id[IDS[0]] == pytest.approx(other.loc[IDS[0]].mean(), 1e-4)


def test_a_deep_bulk_sample_does_not_fit_all_best():
    # c has no noise, and what all samples share makes it the best of all by Pearson
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(500, 1)) * 3
    own = rng.normal(size=(500, 3)) * 0.5
    single = pd.DataFrame(shared + own, columns=list("abc"))
    noise = rng.normal(size=(500, 3)) * [1.0, 1.0, 0.01]
    bulk = pd.DataFrame(shared + own + noise, columns=list("abc"))
    table = correlations(bulk, single).set_index(["sample", "bulk_sample"])
    assert table.loc[("a", "c"), "pearson"] > table.loc[("a", "a"), "pearson"]
    assert table.loc[("a", "a"), "is_best_match"]
    assert swaps(table.reset_index()) == []


def test_genes_are_found_by_symbol_or_by_an_id_of_another_version(compare):
    single, bulk = planted()
    _, expected = compare(single, bulk)
    _, by_name = compare(single, bulk.set_axis(NAMES))
    _, by_version = compare(single, bulk.set_axis([f"{i}.7" for i in IDS]))
    pd.testing.assert_frame_equal(by_name, expected)
    pd.testing.assert_frame_equal(by_version, expected)


def test_versions_are_taken_from_ids_alone():
    names = ["ENSG00000000003.15", "ENSMUSG00000000001.5", "RP11-34P13.7", "AC0123.1"]
    assert without_version(pd.Index(names)).tolist() == [
        "ENSG00000000003",
        "ENSMUSG00000000001",
        *names[2:],
    ]
    par = pd.Index(["ENSG00000182378.15_PAR_Y"])
    assert without_version(par).tolist() == ["ENSG00000182378_PAR_Y"]


def test_rows_of_one_gene_are_added_up_and_told(compare, caplog):
    single, bulk = planted()
    _, expected = compare(single, bulk)
    half = bulk // 2
    _, found = compare(single, pd.concat([half, bulk - half]))
    pd.testing.assert_frame_equal(found, expected)
    assert f"{N_GENES} rows are of a gene of another row" in caplog.text


def test_scale_does_not_matter(compare):
    single, bulk = planted()
    _, counts = compare(single, bulk)
    _, tpm = compare(single, 1e6 * bulk / bulk.sum())
    pd.testing.assert_frame_equal(counts, tpm, rtol=1e-4)


def test_without_a_table_there_are_headers(compare):
    of_samples, of_genes = compare(planted()[0], None)
    assert of_samples.empty
    assert list(of_samples.columns) == SAMPLE_COLUMNS
    assert list(of_genes.columns) == GENE_COLUMNS


def test_a_sample_without_bulk_is_told(compare, caplog):
    single, bulk = planted()
    of_samples, _ = compare(single, bulk.drop(columns="d"))
    assert "has no column for d" in caplog.text
    assert len(of_samples) == 12
    assert "swapped" not in caplog.text


def test_repeats_that_are_one_unit_are_added_up(compare):
    single, bulk = planted(2)
    _, expected = compare(
        single.rename(columns={"a": "a1+a2"}), bulk.rename(columns={"a": "a1+a2"})
    )
    half = bulk["a"] // 2
    parts = pd.DataFrame({"a1": half, "a2": bulk["a"] - half, "b": bulk["b"]})
    _, found = compare(single.rename(columns={"a": "a1+a2"}), parts)
    pd.testing.assert_frame_equal(found, expected)


def test_a_header_as_r_writes_it_and_columns_of_text_are_read(compare):
    single, bulk = planted()
    _, expected = compare(single, bulk)
    text = bulk.to_csv(sep="\t", index_label="gene")
    _, found = compare(single, text.removeprefix("gene\t"))
    pd.testing.assert_frame_equal(found, expected)
    more = bulk.assign(biotype="protein_coding")
    _, found = compare(single, more)
    pd.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty; it needs a header line"),
        ("gene\n", "has no column of values"),
        ("gene,a,b\nG1,1,2\n", "separated by commas"),
        ("gene\ta\ta\nG1\t1\t2\n", "column 'a': stands there twice"),
        ("gene\tx\ty\nG1\t1\t2\n", "none of the columns x, y is a sample"),
        ("gene\ta\tb\nG1\t1\n", "row 2: has 2 fields, the header 3"),
        ("gene\ta\tb\nG1\t1\tmany\n", "row 2, column 'b': 'many' is no number"),
        ("gene\ta\tb\nG1\t1\t\n", "row 2, column 'b': is empty"),
        ("gene\ta\tb\nG1\t1\tNA\n", "row 2, column 'b': 'NA' is no number"),
        ("gene\ta\tb\nG1\t1\tinf\n", "row 2, column 'b': 'inf' is no number"),
        ("gene\ta\tb\nG1\t1\t3\nG2\t-1\t3\n", "row 3, column 'a': -1 is below 0"),
        ("gene\ta\tb\n\t1\t3\n", "row 2, column 'gene': is empty"),
        ("gene\ta\tb\nNo\t1\t3\nNo2\t1\t3\n", "no gene (No, No2) is one of the ref"),
        ("gene\ta\tb\nG1\t0\t3\nG2\t0\t3\n", "column 'a': has only zeros"),
    ],
)
def test_a_mistake_is_told_with_its_place(compare, text, said):
    with pytest.raises(UserError) as error:
        compare(planted()[0], text)
    assert said in str(error.value)
    assert "bulk.tsv" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_packed_file_is_told(tmp_path):
    paths = {name: tmp_path / name for name in ("samples", "genes")}
    pseudobulk_of(planted()[0]).write_h5ad(tmp_path / "p.h5ad")
    table = tmp_path / "bulk.tsv.gz"
    with pytest.raises(UserError, match="no such file"):
        main(pseudobulk=tmp_path / "p.h5ad", table=table, settings=SETTINGS, **paths)
    table.write_bytes(b"\x1f\x8b\x08\x00\xff\xfe\xfd")
    with pytest.raises(UserError, match="cannot be read as text"):
        main(pseudobulk=tmp_path / "p.h5ad", table=table, settings=SETTINGS, **paths)


@pytest.mark.parametrize("n_genes", [1, 2, 25])
def test_few_genes_have_no_correlation_or_a_defined_one(compare, n_genes):
    single, bulk = planted()
    of_samples, of_genes = compare(single[:n_genes], bulk[:n_genes])
    assert len(of_genes) <= n_genes
    assert of_samples["pearson"].isna().all() == (n_genes < 20)


def test_one_sample_and_none(compare, caplog):
    single, bulk = planted(1)
    of_samples, of_genes = compare(single, bulk)
    assert of_samples["is_best_match"].tolist() == [True]
    assert len(of_genes) > 100
    of_samples, of_genes = compare(single[[]], bulk)
    assert of_samples.empty
    assert of_genes.empty
    of_samples, _ = compare(single * 0, bulk)
    assert of_samples.empty
    assert "swapped" not in caplog.text


def test_residuals_follow_a_curve():
    x = np.linspace(0, 10, 400)
    y = 0.05 * x**2 + np.random.default_rng(0).normal(0, 0.01, 400)
    y[200] += 3
    off = residuals(x, y)
    assert off[200] == pytest.approx(3, abs=0.1)
    assert np.abs(np.delete(off, 200)).max() < 0.2
    assert np.allclose(residuals(np.ones(3), np.array([1.0, 2, 4])), [-1, 0, 2])


def test_z_scores_are_in_units_of_the_spread_at_the_level():
    rng = np.random.default_rng(0)
    level = np.repeat([0.0, 10.0], 500) + rng.uniform(size=1000)
    residual = rng.normal(0, np.repeat([1.0, 0.1], 500))
    z = robust_z(residual, level)
    assert z[:400].std() == pytest.approx(1, abs=0.2)
    assert z[600:].std() == pytest.approx(1, abs=0.2)
    assert len(robust_z(np.zeros(0), np.zeros(0))) == 0
    assert np.isfinite(robust_z(np.zeros(30), np.arange(30.0))).all()


def test_log_cpm_of_nothing_is_zero():
    assert (log_cpm(pd.DataFrame({"a": [0.0, 0.0]})) == 0).all(axis=None)
    values = log_cpm(pd.DataFrame({"a": [1.0, 3.0]}))["a"]
    assert values.tolist() == pytest.approx(np.log2([250_001, 750_001]))


def test_what_is_said_comes_from_the_rule(compare, caplog):
    with caplog.at_level(logging.INFO):
        compare(*planted())
    assert f"{N_GENES} of {N_GENES} rows are genes of the reference" in caplog.text
