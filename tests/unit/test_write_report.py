"""The page says what the tables say, and says so when there is nothing to say."""

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import export_object
import write_report
from _shared import report_files
from _shared.report_evidence import ambient_section
from _shared.report_files import by_sample
from _shared.report_tables import (
    best_genes,
    dot_plot_genes,
    expression_summary,
    ledger_problems,
    ledger_shares,
    read_table,
    shown,
)
from write_report import ReportSettings

tree = SimpleNamespace(**run_path(str(Path(__file__).with_name("report_tree.py"))))
SECTIONS = ["trust", "reads-and-cells", "cells", "differences", "how"]


def write_page(
    root: Path, *, read_samples=tree.READ_SAMPLES, config=None, **kwargs
) -> str:
    """Make a tree, run both scripts on it and return the page."""
    tree.write_tree(root, read_samples=read_samples, **kwargs)
    given = tree.report_arguments(root, read_samples=read_samples, settings=config)
    finish_object(root, given)
    title = given["config"]["write_report"]["title"]
    write_report.main(**given, settings=ReportSettings(title=title))
    return given["page"].read_text()


def finish_object(root: Path, given: dict) -> None:
    """Run the rule that writes the object which the page is about."""
    export_object.main(
        clusters=root / "results/clusters/clusters.h5ad",
        annotation=root / "results/annotate/annotation.tsv",
        cell_labels=root / "results/annotate/cell_labels.tsv.gz",
        design=given["config"]["design"],
        min_samples=2,
        sheet={},
        star_version=None,
        cells=given["cells"],
        config=given["config"],
        seed=7,
    )


def without_data(page: str) -> str:
    """Return the page without the scripts and tables that it holds."""
    return re.sub(r"(<(script|style)[^>]*>).*?</\2>", r"\1</\2>", page, flags=re.DOTALL)


class Scripts(HTMLParser):
    """The script elements of a page as a browser sees them: type and text."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.inside = [], False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.inside = tag == "script"
        if self.inside:
            self.found.append([dict(attrs).get("type"), dict(attrs).get("src"), ""])

    def handle_data(self, data):
        if self.inside:
            self.found[-1][2] += data

    def handle_endtag(self, tag):
        self.inside = False


def section(page: str, name: str) -> str:
    start = page.index(f'<section id="{name}"')
    return page[start : page.index("</section>", start)]


def text_of(markup: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def rows_of(page: str, table: str) -> list[list[str]]:
    start = page.index(f'<table id="{table}"')
    body = page[page.index("<tbody>", start) : page.index("</tbody>", start)]
    rows = re.findall(r"<tr.*?</tr>", body, flags=re.DOTALL)
    cells = r"<td[^>]*>(.*?)</td>"
    return [[text_of(c) for c in re.findall(cells, row, re.DOTALL)] for row in rows]


def methods_of(page: str) -> str:
    """Return the text of the methods."""
    start = page.index('id="methods"')
    return text_of("<p " + page[start : page.index("</div>", start)])


def references_of(page: str) -> list[str]:
    start = page.index('<ol id="references"')
    return re.findall("<li id=.*?</li>", page[start : page.index("</ol>", start)])


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def page(root) -> str:
    return write_page(root)


def test_the_sections_are_there_in_their_order(page):
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS


def test_every_sample_has_its_verdict_and_those_set_aside_or_warned_come_first(page):
    rows = re.findall(r'data-sample="([^"]+)" data-verdict="([^"]+)"', page)
    assert rows == [("B-2", "set_aside"), ("001", "kept"), ("A.1", "kept")]


def test_the_warnings_of_a_sample_stand_in_its_verdict(page):
    row = rows_of(page, "verdicts")[1]
    assert row[2].startswith("▲ warn high_pct_counts_mt would remove 40 % of the cells")
    assert "nothing" not in row[2]


def test_suspected_swaps_are_told_before_the_verdicts(page):
    verdict = section(page, "trust")
    banner = verdict[verdict.index('id="swap-warnings"') : verdict.index("<table")]
    assert "A.1 and B-2 (shared barcodes): 3 of 700." in text_of(banner)
    assert "Its genes look male, declared female" in text_of(banner)
    assert [row[0] for row in rows_of(page, "swap-table")] == ["A.1", "A.1"]
    assert len(rows_of(page, "swaps-table")) == 7
    assert rows_of(page, "unchecked-table")[0][0] == "-"


def test_ambient_rna_is_told_with_its_interval_and_genes(page):
    rows = {row[0]: row for row in rows_of(page, "ambient-table")}
    assert rows["A.1"][1:5] == ["6.2", "4.9", "7.8", "yes"]
    assert rows["A.1"][6] == "12"
    assert rows["A.1"][7].startswith("Gene$_0$ 9.5 %, Gene$_1$ 7.5 %")
    assert rows["001"][1:5] == ["-", "-", "-", "no"]
    assert "No empty droplets" in rows["001"][8]
    assert ">not estimated</text>" in page.replace("> not", ">not")


@pytest.mark.parametrize(
    ("low", "used", "said"),
    [(10.5, False, True), (10.5, True, False), (4, False, False)],
)
def test_much_ambient_rna_that_is_left_in_is_told(low, used, said):
    facts = tree.ambient("a", 30) | {"low": low, "high": 14.0, "used": used}
    found = ambient_section({"a": {"ambient": facts}})
    assert found["high"] == ["a"] * said


def test_the_choice_of_resolution_and_its_evidence_are_shown(page):
    clusters = section(page, "cells")
    for label in ("Clusters across resolutions", "Stability of the clusters"):
        assert f'aria-label="{label}"' in clusters
    rows = rows_of(page, "resolutions-table")
    assert [row[-1] for row in rows] == ["no", "no", "yes", "no", "no"]
    assert [row[0] for row in rows_of(page, "stability-table")] == ["0", "1", "2", "3"]


def test_clusters_of_doublets_are_named_and_not_removed(page):
    text = text_of(section(page, "cells"))
    assert "▲ warn 2 may be doublets of two other clusters." in text


def test_all_methods_of_integration_are_shown_with_the_choice(page):
    rows = rows_of(page, "integration-table")
    assert [row[:2] for row in rows] == [["none", "yes"], ["harmony", "no"]]
    assert rows[0][2:5] == ["0.61", "0.92", "0.80"]


def test_nuclei_are_told(page):
    text = text_of(section(page, "reads-and-cells"))
    assert "Taken for nuclei: 001 (by the intronic share)." in text


def test_reason_and_hint_stand_beside_the_verdict(page):
    row = rows_of(page, "verdicts")[0]
    assert row[0] == "✕ set aside"
    assert row[2].startswith("Valid Barcodes is 3.1 percent (stage count) Check")


def test_a_light_is_an_icon_and_a_word_not_only_a_color(page):
    row = rows_of(page, "verdicts")[2]
    assert row[3] == "▲ 1 warn ✓ 2 pass"
    assert "▲ warn UMIs in Cells: 61.5 % (warn below 75, fail below 50)" in row[2]


def test_a_sample_without_reads_has_no_metrics_and_says_so(page):
    assert rows_of(page, "verdicts")[1][3] == "entered as counts"
    assert [row[0] for row in rows_of(page, "metrics")] == ["B-2", "A.1"]


def test_a_metric_without_a_value_is_a_dash(page):
    assert rows_of(page, "metrics")[0][1:] == ["✕ 3.1 %", "▲ 61.5 %", "-", "✓ 1,234"]


def test_text_of_users_is_shown_and_not_run(page):
    scripts = [text.strip() for kind, _, text in Scripts(page).found if kind is None]
    assert scripts == [
        write_report.inlined(write_report.page_file(name)).strip()
        for name in write_report.SCRIPTS
    ]
    assert "<script>alert" not in without_data(page)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert tree.EVIL in text_of(section(page, "trust"))
    assert f"<title>Trial {tree.EVIL}</title>" in unescape(page)


def test_what_is_not_run_is_data(page):
    kinds = {kind for kind, src, _ in Scripts(page).found if src is None}
    assert kinds == {None, "application/json", "application/octet-stream"}
    assert not any(src for _, src, _ in Scripts(page).found)


@pytest.mark.parametrize("text", ["'</script>'", "'</SCRIPT >'", "'<!-- <script>'"])
def test_a_script_cannot_end_its_element(text):
    script = f"let x = {write_report.inlined(text)};"
    page = f"<script>{script}</script><p>after</p>"
    assert Scripts(page).found == [[None, None, script]]
    assert "<!--" not in page


def test_nothing_is_fetched_from_outside(page):
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]+)"', page)[
        1
    ]
    assert policy.startswith("default-src 'none';")
    assert not re.search(r"https?:|\*|'self'", policy)
    page = without_data(page)
    assert not re.findall(r'(?:src|href|srcset|action)\s*=\s*"(?!#|data:)', page)
    assert not re.findall(r"url\((?!#)", page)
    # an address in the config or in a licence is text of the page, no more
    text = re.sub(r"<(code|pre)[^>]*>[^<]*</\1>", "", page)
    assert not re.search("https?:", text)
    assert "@import" not in page


def test_ids_are_unique(page):
    ids = re.findall(r'\sid="([^"]+)"', without_data(page))
    assert len(ids) == len(set(ids))


def test_every_reference_inside_the_page_leads_somewhere(page):
    page = without_data(page)
    ids = set(re.findall(r'\sid="([^"]+)"', page))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', page)) <= ids


@pytest.mark.parametrize(
    ("name", "table", "columns"),
    [
        ("annotation-table", "annotate/annotation", ["cluster", "n_cells"]),
        (
            "shares-table",
            "compare/composition_shares",
            ["sample", "cell_type", "n_cells"],
        ),
    ],
)
def test_the_numbers_are_those_of_the_tables(page, root, name, table, columns):
    expected = read_table(root / f"results/{table}.tsv")[columns].astype(str)
    found = [row[: len(columns)] for row in rows_of(page, name)]
    assert found == expected.to_numpy().tolist()


def test_ten_markers_are_shown_per_cluster(page, root):
    markers = read_table(root / "results/annotate/markers.tsv")
    rows = rows_of(page, "markers-table")
    assert len(rows) == 10 * markers["cluster"].nunique()
    assert rows[0][:4] == ["0", "1", "Gene$_0$", "GENE0000"]


def test_the_summary_counts_genes_up_and_down(page):
    assert rows_of(page, "summary-1")[0][1:] == ["✓ tested", "40", "4", "2"]


def test_the_ledger_is_shown_and_agrees(page, root):
    ledger = read_table(root / "results/cells/A.1/ledger.tsv")
    shown_rows = [row for row in rows_of(page, "ledger-table") if row[0] == "A.1"]
    remaining = [int(row[4].replace(",", "")) for row in shown_rows]
    assert remaining == ledger["remaining"].astype(int).tolist()
    assert "The sums agree" in text_of(section(page, "reads-and-cells"))


def test_what_was_not_tested_is_there_with_its_reason(page):
    row = rows_of(page, "untested-table")[0]
    assert row[:3] == ["expression", "Monocytes", "stim_vs_ctrl"]
    assert row[3].startswith("1 sample per group, 2 are needed")


def test_methods_are_filled_with_the_parameters(page):
    text = methods_of(page)
    number = re.search(r"Leiden algorithm at resolution 0.4 \[(\d+)\]", text)[1]
    assert "Leiden. Scientific Reports 2019" in references_of(page)[int(number) - 1]
    assert "estimated from the empty droplets of each sample (soup)" in text
    assert "log counts (5 MADs)" in text
    assert "Batches were not integrated." in text
    assert "formula ~ condition" in text
    number = re.search(r"as edgeR 4 \[(\d+)\]", text)[1]
    assert "doi:10.1093/nar/gkaf018" in references_of(page)[int(number) - 1]


def test_every_reference_is_cited_and_every_citation_has_one(page):
    cited = re.findall(r"\[(\d+)\]", methods_of(page))
    order = list(dict.fromkeys(map(int, cited)))
    assert order == list(range(1, len(references_of(page)) + 1))


def test_parameters_versions_and_sheets_are_told(page):
    how = section(page, "how")
    resolution = tree.config()["find_clusters"]["resolution"]
    told = ["find_clusters", "resolution", json.dumps(resolution)]
    assert told in rows_of(page, "config")
    assert "scanpy" in [row[0] for row in rows_of(page, "versions")]
    assert "sample\tcondition\tnote\nA.1\tctrl" in unescape(how)
    assert "Seed 7" in text_of(how)


def test_the_same_results_give_the_same_page(page, tmp_path, root):
    again = write_page(tmp_path)
    assert again.replace(str(tmp_path), "") == page.replace(str(root), "")


def test_without_a_kept_sample_sentences_replace_the_figures(tmp_path):
    page = write_page(tmp_path, set_aside=tree.SAMPLES)
    assert re.findall(r'<section id="([^"]+)"', page) == SECTIONS
    assert "No sample was kept" in text_of(section(page, "trust"))
    assert "No cells were kept, so" in text_of(section(page, "cells"))
    assert "no shares to show" in text_of(section(page, "differences"))


def test_one_cluster_has_no_markers_and_that_is_said(tmp_path):
    page = write_page(tmp_path, n_clusters=1)
    assert "a single cluster has nothing" in text_of(section(page, "cells"))


def test_without_reads_there_are_no_metrics_and_no_knees(tmp_path):
    page = write_page(tmp_path, read_samples=())
    assert "All samples entered as counts" in text_of(section(page, "trust"))
    assert "STARsolo" not in methods_of(page)
    assert "Barcodes by rank" not in page


def test_what_no_rule_wrote_is_left_out(tmp_path):
    tree.write_tree(tmp_path)
    given = tree.report_arguments(tmp_path)
    finish_object(tmp_path, given)
    optional = ("swaps", "resolutions", "cluster_stability", "cluster_tree")
    for name in (*optional, "cluster_doublets"):
        del given["tables"][name]
    for files in given["sample_files"].values():
        del files["ambient"]
    given["swaps_evidence"] = None
    write_report.main(**given, settings=ReportSettings(title="x"))
    page = given["page"].read_text()
    for word in ("swaps", "ambient", "resolution"):
        assert f'id="{word}"' not in page


@pytest.mark.parametrize("n", [0, 1])
def test_one_sample_has_no_pairs(tmp_path, n):
    samples = tree.SAMPLES[:1]
    tree.write_tree(tmp_path, samples=samples, read_samples=(), set_aside=samples[:n])
    given = tree.report_arguments(tmp_path, samples=samples, read_samples=())
    finish_object(tmp_path, given)
    write_report.main(**given, settings=ReportSettings(title="x"))
    assert "as far as they could be checked" in text_of(given["page"].read_text())


def test_without_a_contrast_nothing_is_compared(tmp_path):
    config = tree.config()
    config["design"] |= {"columns": [], "formula": "", "contrasts": {}}
    page = write_page(tmp_path, config=config, contrasts=False)
    assert "No contrast is configured" in text_of(section(page, "differences"))
    assert "F test" not in methods_of(page)


def test_one_cell_is_enough_for_a_page(tmp_path):
    page = write_page(tmp_path, n_cells=1, n_clusters=1, set_aside=("B-2", "001"))
    assert text_of(section(page, "cells")).startswith(
        "Which cells are there? 1 cell in 1"
    )


def test_a_sample_without_called_cells_is_no_error(tmp_path):
    tree.write_tree(tmp_path)
    for name in ("cell_metrics", "thresholds"):
        path = tmp_path / f"results/cells/B-2/{name}.tsv"
        path.write_text(path.read_text().splitlines()[0] + "\n")
    ledger = tmp_path / "results/cells/B-2/ledger.tsv"
    steps = "B-2\tbarcodes_seen\t0\t0\t0\nB-2\tkept\t0\t0\t0\n"
    ledger.write_text("sample\tstep\tremoved_first\tremoved_any\tremaining\n" + steps)
    given = tree.report_arguments(tmp_path)
    finish_object(tmp_path, given)
    write_report.main(**given, settings=ReportSettings(title="x"))
    assert 'data-sample="B-2"' in given["page"].read_text()


def test_lost_cells_are_the_first_thing_told(tmp_path):
    tree.write_tree(tmp_path)
    path = tmp_path / "results/cells/A.1/ledger.tsv"
    text = path.read_text()
    path.write_text(text.replace("high_pct_counts_mt\t4\t", "high_pct_counts_mt\t3\t"))
    given = tree.report_arguments(tmp_path)
    finish_object(tmp_path, given)
    write_report.main(**given, settings=ReportSettings(title="x"))
    verdict = text_of(section(given["page"].read_text(), "trust"))
    assert "A.1: step high_pct_counts_mt does not add up." in verdict


LEDGER = pd.DataFrame(
    {
        "sample": "a",
        "step": ["barcodes_seen", "not_called", "doublet", "kept"],
        "removed_first": [0, 90, 3, 0],
        "removed_any": [0, 90, 3, 0],
        "remaining": [100, 10, 7, 7],
    }
)


@pytest.mark.parametrize(
    ("verdict", "cells", "problem"),
    [
        ("kept", {"a": 7}, None),
        ("kept", {"a": 6}, "ends with 7 cells (kept), the final object has 6"),
        ("kept", {}, "the final object has 0"),
        ("set_aside", {"a": 7}, "(set_aside), the final object has 7"),
        ("set_aside", {}, None),
    ],
)
def test_the_ledger_is_held_against_the_object(verdict, cells, problem):
    found = ledger_problems(LEDGER, verdicts={"a": verdict}, final_cells=cells)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


def test_ledger_shares_leave_out_what_was_never_a_cell():
    shares = ledger_shares(LEDGER)
    assert shares.loc["a"].to_dict() == {"kept": 7, "doublet": 3}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (1234567, "number", "1,234,567"),
        (0.12345, "number", "0.123"),
        (1234.5, "number", "1,234"),
        (np.inf, "number", "none"),
        (np.nan, "number", "-"),
        (None, "percent", "-"),
        (93.456, "percent", "93.5 %"),
        (0.4, "share", "40.0 %"),
        (1e-9, "p", "1.0e-09"),
        (0, "p", "0"),
        (0.04, "p", "0.04"),
        (np.True_, "text", "yes"),
        ("001", "text", "001"),
        ("", "text", "-"),
    ],
)
def test_values_are_written_as_people_read_them(value, kind, text):
    assert shown(value, kind) == text


def test_names_that_look_like_numbers_or_nothing_stay_text(tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("sample\tgene_name\tpadj\tkept\n001\tNA\t\tTrue\n")
    row = read_table(path).iloc[0]
    assert (row["sample"], row["gene_name"], row["kept"]) == ("001", "NA", True)
    assert np.isnan(row["padj"])


RESULTS = pd.DataFrame(
    {
        "contrast": "c",
        "cell_type": ["T", "T", "T", "B"],
        "gene_id": ["g1", "g2", "g3", "g1"],
        "log2_fold_change": [1.0, -2.0, 3.0, 1.0],
        "p_value": [0.01, 0.001, 0.5, 0.2],
        "padj": [0.02, 0.004, np.nan, 0.2],
    }
)


def test_genes_are_counted_by_direction_and_an_untested_one_as_neither():
    summary = expression_summary(RESULTS.assign(evidence="weak"), fdr=0.05)
    expected = [["T", "weak", 3, 1, 1], ["B", "weak", 1, 0, 0]]
    assert summary.to_numpy().tolist() == expected


def test_without_p_values_nothing_is_found():
    exploratory = RESULTS.drop(columns=["p_value", "padj"], errors="ignore")
    summary = expression_summary(exploratory.assign(evidence="exploratory"), fdr=0.05)
    assert summary[["up", "down"]].to_numpy().sum() == 0


def test_best_genes_are_those_with_the_smallest_p_values():
    assert best_genes(RESULTS.iloc[:3], n=2)["gene_id"].tolist() == ["g2", "g1"]


def test_the_dot_plot_names_each_gene_once():
    markers = pd.DataFrame(
        {"cluster": ["0", "0", "1"], "rank": [1, 2, 1], "gene_id": ["a", "b", "a"]}
    )
    assert dot_plot_genes(markers) == ["a", "b"]


def test_files_are_sorted_to_their_samples():
    files = {kind: ["a", "b"] for kind in report_files.SAMPLE_FILES}
    files |= {kind: ["r"] for kind in report_files.READ_FILES}
    found = by_sample(files, ["x", "y"], ["y"])
    assert found["x"]["ledger"] == Path("a")
    assert set(found["x"]) == set(report_files.SAMPLE_FILES)
    assert found["y"]["metrics"] == Path("r")


def test_what_not_all_samples_have_is_of_those_with_reads():
    found = by_sample({"verdict": ["a", "b"], "calling": ["r"]}, ["x", "y"], ["y"])
    assert found == {
        "x": {"verdict": Path("a")},
        "y": {"verdict": Path("b"), "calling": Path("r")},
    }


class Cells(HTMLParser):
    """Every cell of the page's tables that says where it is from."""

    def __init__(self, page: str):
        super().__init__()
        self.tables, self.found, self.row = [], [], {}
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "table":
            self.tables.append(given.get("data-table"))
        elif tag == "tr":
            self.row = given
        elif tag == "td" and "data-column" in given:
            file = self.row.get("data-table", self.tables[-1])
            row = self.row.get("data-row")
            self.found.append([file, row, given["data-column"], given, ""])
            return
        self.open = tag

    def handle_data(self, data):
        if self.found:
            self.found[-1][4] += data if not self.found[-1][4] else ""


def test_every_cell_that_names_its_source_says_what_stands_there(page, root):
    found = Cells(without_data(page)).found
    assert len({file for file, *_ in found}) > 20
    lines = {}
    for file, row, column, given, text in found:
        if file not in lines:
            lines[file] = (root / file).read_text()
        if row is None:
            value = json.loads(lines[file])
            for part in column.split("."):
                value = value[int(part) if part.isdigit() else part]
            expected = value if isinstance(value, str) else json.dumps(value)
        else:
            header, *rows = [x.split("\t") for x in lines[file].split("\n")]
            expected = rows[int(row) - 1][header.index(column)]
        assert given.get("data-value", text) == expected


def test_no_number_of_a_table_is_said_to_be_from_where_it_is_not(tmp_path, caplog):
    write_page(tmp_path)
    assert "not what stands there" not in caplog.text


def test_every_static_figure_has_its_numbers(page):
    named = re.findall(r'<figure [^>]*data-name="([^"]+)" data-static[^>]*>', page)
    with_csv = re.findall(r' data-csv="([^"]+)"', page)
    assert set(named) == set(with_csv)
    assert 'id="pack-figures"' in page


def test_scripts_of_the_page_are_all_in_it():
    folder = Path(write_report.sections.__file__).parent / "page"
    own = {path.name for path in folder.glob("*.js")} - {"vendor.src.js"}
    assert set(write_report.SCRIPTS) == own
