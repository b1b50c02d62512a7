"""Charts say what the tables say, with no more points than a page bears."""

import base64
import gzip
import json
import struct
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest

from _shared import report_charts, report_files
from _shared.figures import QC_PANELS
from _shared.report_charts import (
    cells_charts,
    differences_charts,
    drawn_rows,
    lean,
    limits_of,
    network_charts,
    packed_charts,
    reads_charts,
)
from _shared.report_differences import differences_section
from _shared.streams import Matrix, read_tables

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))


def loaded(root: Path, **kwargs) -> SimpleNamespace:
    """Return what the page is made from, read from a made-up run."""
    tree.write_tree(root, **kwargs)
    names = {key: kwargs[key] for key in ("read_samples", "samples") if key in kwargs}
    given = tree.report_arguments(root, **names)
    tables = {
        name: report_files.load_table(name, given["tables"].get(name))
        for name in report_files.TABLES
    }
    return SimpleNamespace(
        samples={
            name: report_files.load_sample(name, files)
            for name, files in given["sample_files"].items()
        },
        tables=tables,
        bulk=ad.read_h5ad(given["pseudobulk"]),
        clusters=root / "results/clusters/clusters.h5ad",
        sheet=given["design"],
        config=given["config"],
        compare=root / "results/compare",
    )


def all_charts(run: SimpleNamespace) -> dict:
    """Return the charts of a run by their ids."""
    adata = read_tables(run.clusters)
    with h5py.File(run.clusters) as file:
        cells = cells_charts(run.tables, adata, Matrix(file["X"]))
    differences = differences_charts(
        run.tables, run.bulk, run.sheet, colors={}, config=run.config
    )
    charts = [*reads_charts(run.samples), *cells, *differences]
    by_id = {chart.id: chart for chart in charts}
    assert len(by_id) == len(charts)
    return by_id


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> SimpleNamespace:
    return loaded(tmp_path_factory.mktemp("run"), set_aside=("001",), n_cells=80)


@pytest.fixture(scope="module")
def charts(run) -> dict:
    return all_charts(run)


def on_disk(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", keep_default_na=False, na_values=["", "nan"])


def assert_same(chart_table: pd.DataFrame, disk: pd.DataFrame) -> None:
    """Check all columns that both have; the chart may have fewer."""
    columns = [name for name in chart_table if name in disk]
    assert columns
    for name in columns:
        mine, other = chart_table[name].to_numpy(), disk[name].to_numpy()
        if disk[name].dtype.kind in "fiu":
            np.testing.assert_array_equal(mine.astype(float), other.astype(float))
        else:
            assert list(mine) == list(disk[name].fillna("").astype(str))


@pytest.mark.parametrize(
    ("chart", "table"),
    [("composition-1", "composition"), ("stacks", "composition_shares")],
)
def test_a_chart_has_the_numbers_of_its_table(run, charts, chart, table):
    disk = on_disk(run.compare / f"{table}.tsv")
    assert len(charts[chart].table) == len(disk)
    keys = [k for k in ("sample", "cell_type") if k in disk]
    assert_same(
        charts[chart].table.sort_values(keys, ignore_index=True),
        disk.sort_values(keys, ignore_index=True),
    )


def test_a_volcano_has_the_numbers_of_its_test(run, charts):
    disk = on_disk(run.compare / "expression.tsv")
    for i, (cell_type, own) in enumerate(disk.groupby("cell_type", sort=False), 1):
        chart = charts[f"volcano-1-{i}"]
        assert chart.options["cell_type"] == cell_type
        assert chart.options["n_genes"] == len(own) == len(chart.table)
        assert {"p_value", "padj", "log2_fold_change"} < set(chart.table)
        assert_same(chart.table, own.reset_index(drop=True))


def test_reads_charts_have_the_numbers_of_their_tables(run, charts):
    names = [
        chart.options["sample"] for chart in charts.values() if chart.kind == "knee"
    ]
    assert names == list(tree.READ_SAMPLES)
    root = run.compare.parent
    for i, name in enumerate(names, 1):
        disk = on_disk(root / f"count/{name}/barcode_ranks.tsv")
        assert_same(charts[f"knee-{i}"].table, disk)
        own = charts["saturation"].table.query("sample == @name")
        assert_same(own, on_disk(root / f"count/{name}/saturation.tsv"))
    for name in tree.SAMPLES:
        own = charts["flow"].table.query("sample == @name")
        disk = on_disk(root / f"cells/{name}/ledger.tsv")
        assert_same(own.drop(columns="sample"), disk)
    assert charts["flow"].options["set_aside"] == ["001"]


def test_every_measured_cell_is_in_one_bin(run, charts):
    shown = [chart for chart in charts.values() if chart.kind == "qc"]
    # the hemoglobin was not measured
    assert {chart.id for chart in shown} == {
        f"qc-{name}" for name in QC_PANELS if name != "pct_counts_hb"
    }
    for chart in shown:
        metric = chart.id.removeprefix("qc-")
        n = chart.table.groupby("sample", sort=False)["n_cells"].sum()
        cells = {
            name: facts["cell_metrics"][metric].notna().sum()
            for name, facts in run.samples.items()
        }
        assert n.to_dict() == cells


def test_limits_are_those_of_the_tables(run, charts):
    table = charts["qc-n_genes_by_counts"].table
    assert set(table["lower"]) == {8}
    assert set(table["upper"]) == {300}
    facts = run.samples["A.1"]
    assert limits_of(facts, "doublet_score")["upper"] == facts["doublets"]["threshold"]
    assert limits_of(facts, "pct_counts_mt")["lower"] == -np.inf
    assert np.isnan(limits_of(facts, "pct_counts_ribo")["upper"])


def test_means_of_markers_are_those_of_the_object(run, charts):
    adata = ad.read_h5ad(run.clusters)
    for name in ("dotplot", "marker-heatmap"):
        table = charts[name].table
        assert set(table["cluster"]) == set(adata.obs["leiden"].cat.categories)
        for row in table.iloc[:: max(len(table) // 20, 1)].itertuples():
            own = adata[adata.obs["leiden"] == row.cluster, row.gene_id].X.toarray()
            assert row.mean_expression == pytest.approx(own.mean())
            assert row.percent_cells == pytest.approx(100 * (own > 0).mean())
            assert row.gene_name == adata.var.loc[row.gene_id, "gene_name"]
        # each cluster has the genes in the same order
        genes = table.groupby("cluster", sort=False)["gene_id"].apply(list)
        assert all(own == genes.iloc[0] for own in genes)


def test_a_heatmap_is_scaled_within_a_gene_and_sorted_by_group(charts):
    table = charts["heatmap-1-1"].table
    of_gene = table.groupby("gene_id", sort=False)
    assert of_gene["z_score"].mean().abs().max() < 1e-9
    first = table[table["gene_id"] == table["gene_id"].iloc[0]]
    assert first["group"].is_monotonic_increasing
    assert set(first["group"]) == {"ctrl", "stim"}


def test_a_single_sample_has_no_heatmap(run, charts):
    assert "heatmap-1-1" in charts
    one = run.bulk[run.bulk.obs["sample"] == run.bulk.obs["sample"].iloc[0]]
    differences = differences_charts(
        run.tables, one, run.sheet, colors={}, config=run.config
    )
    assert not [chart.id for chart in differences if chart.kind == "heatmap"]


def test_shares_have_a_group_and_the_found_types_a_mark(charts):
    chart = charts["shares-1"]
    assert chart.options["groups"] == ["stim", "ctrl"]
    assert set(chart.table["group"]) == {"stim", "ctrl"}
    assert chart.options["found"]
    assert set(chart.options["found"]) <= set(chart.table["cell_type"])


def test_links_of_a_network_join_drawn_genes(charts):
    chart = charts["network-1"]
    genes = {gene["gene_id"] for gene in chart.options["genes"]}
    assert {*chart.table["source"], *chart.table["target"]} <= genes
    places = [(gene["x"], gene["y"]) for gene in chart.options["genes"]]
    assert np.abs(places).max() <= 1
    assert sum(chart.options["sizes"].values()) == 6


def expression(n_genes: int, n_found: list[int]) -> pd.DataFrame:
    """Return tests of one contrast in several cell types."""
    rng = np.random.default_rng(3)
    parts = []
    for i, n in enumerate(n_found):
        p_value = np.concatenate(
            [rng.uniform(0, 1e-6, n), rng.uniform(0.1, 1, n_genes)]
        )
        padj = np.where(np.arange(n + n_genes) < n, 0.001, 0.9)
        part = {"cell_type": f"t{i}", "contrast": "c", "p_value": p_value, "padj": padj}
        change = rng.normal(size=n + n_genes)
        change[-1] = 40
        parts.append(pd.DataFrame({**part, "log2_fold_change": change}))
    return pd.concat(parts, ignore_index=True)


def test_few_genes_are_all_drawn():
    assert drawn_rows(expression(50, [5, 0]), fdr=0.05, most=105).all()


def test_found_genes_and_large_changes_stay_when_there_are_too_many():
    table = expression(5000, [300, 0, 20])
    drawn = drawn_rows(table, fdr=0.05, most=1500)
    assert 1480 <= drawn.sum() <= 1500
    assert drawn[table["padj"] < 0.05].all()
    assert drawn[table["log2_fold_change"] == 40].all()
    each = table[drawn & (table["padj"] > 0.05)].groupby("cell_type").size()
    assert each.max() - each.min() <= 1
    # over the whole range of p-values
    assert table.loc[drawn, "p_value"].max() > 0.95


def test_even_found_genes_are_limited():
    table = expression(10, [3000, 1000])
    drawn = drawn_rows(table, fdr=0.05, most=500)
    assert drawn.sum() <= 500
    own = table[table["cell_type"] == "t0"]
    strongest = own["p_value"].nsmallest(100).index
    assert drawn[strongest].all()


def test_untested_genes_are_limited_too():
    table = expression(3000, [0, 0]).drop(columns=["p_value", "padj"])
    assert 0 < drawn_rows(table, fdr=0.05, most=400).sum() <= 400


def test_the_page_holds_no_more_points_than_the_limit(run, monkeypatch):
    monkeypatch.setattr(report_charts, "drawn_rows", limited(drawn_rows, 30))
    drawn = [chart for chart in all_charts(run).values() if chart.kind == "volcano"]
    assert sum(len(chart.table) for chart in drawn) <= 30
    assert all(chart.options["n_genes"] > len(chart.table) for chart in drawn)


def limited(function, most: int):
    return lambda *args, **kwargs: function(*args, **kwargs, most=most)


def unpacked(text: str) -> dict:
    """Return the header of a pack."""
    raw = gzip.decompress(base64.b64decode(text))
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length])


def test_hostile_names_survive_as_data(charts):
    text = packed_charts(list(charts.values()))
    assert "<" not in text
    header = unpacked(text)
    assert set(header["tables"]) == set(header["meta"]["charts"]) == set(charts)
    sets = header["tables"]["sets-1-1"]["columns"]
    assert sets["gene_set"]["categories"] == [f"SET {tree.EVIL}"]
    stacks = header["tables"]["stacks"]["columns"]
    assert tree.EVIL in stacks["cell_type"]["categories"]
    assert tree.EVIL in header["meta"]["charts"]["stacks"]["options"]["colors"]


def test_the_same_charts_make_the_same_text(charts):
    assert packed_charts(list(charts.values())) == packed_charts(list(charts.values()))


def test_a_number_is_single_only_where_no_digit_is_lost():
    table = pd.DataFrame(
        {
            "short": [0.222411, np.nan, np.inf, -1.5e-30],
            "long": [0.1234567890123, 1, 2, 3],
            "small": [1e-300, 0.5, 0.5, 0.5],
            "count": [1, 2, 3, 2**30],
        }
    )
    kept = lean(table)
    assert kept.dtypes.astype(str).to_dict() == {
        "short": "float32",
        "long": "float64",
        "small": "float64",
        "count": "int64",
    }
    written = list(kept["short"].to_numpy().astype(str))
    assert written == ["0.222411", "nan", "inf", "-1.5e-30"]


def test_samples_given_as_counts_have_no_knee_and_no_saturation(tmp_path):
    run = loaded(tmp_path, read_samples=())
    names = [chart.id for chart in reads_charts(run.samples)]
    assert names[0] == "flow"
    assert names[1:]
    assert all(name.startswith("qc-") for name in names[1:])


def test_without_contrasts_there_are_only_shares(tmp_path):
    run = loaded(tmp_path, contrasts=False)
    run.config["design"] |= {"formula": "", "contrasts": {}}
    differences = differences_charts(
        run.tables, run.bulk, run.sheet, colors={}, config=run.config
    )
    assert [chart.id for chart in differences] == ["stacks"]


def test_without_cells_there_are_no_markers(tmp_path):
    run = loaded(tmp_path, set_aside=tree.SAMPLES)
    adata = read_tables(run.clusters)
    with h5py.File(run.clusters) as file:
        assert cells_charts(run.tables, adata, Matrix(file["X"])) == []


def test_an_untested_contrast_shows_changes_alone(run):
    tables = dict(run.tables)
    untested = tables["expression"].drop(columns=["p_value", "padj", "lfc_se"])
    tables["expression"] = untested.assign(evidence="exploratory")
    differences = differences_charts(
        tables, run.bulk, run.sheet, colors={}, config=run.config
    )
    (first,) = [chart for chart in differences if chart.id == "volcano-1-1"]
    assert not first.options["is_tested"]
    assert first.options["change"] in first.table
    assert "p_value" not in first.table


def test_no_modules_no_networks():
    nothing = {"modules": pd.DataFrame(), "network_edges": pd.DataFrame()}
    assert network_charts(nothing) == []


def test_the_section_numbers_its_parts_as_the_charts_do(run, charts):
    section = differences_section(run.tables, config=run.config)
    (contrast,) = section["contrasts"]
    for i, detail in enumerate(contrast["details"], 1):
        assert charts[f"volcano-1-{i}"].options["cell_type"] == detail["cell_type"]
        top = list(dict.fromkeys(charts[f"heatmap-1-{i}"].table["gene_id"]))
        assert top == [row["gene_id"] for row in detail["top"]]
    for i, cell_type in enumerate(contrast["set_types"], 1):
        assert cell_type in charts[f"sets-1-{i}"].title
    for i, part in enumerate(section["networks"], 1):
        assert part["cell_type"] in charts[f"network-{i}"].title
