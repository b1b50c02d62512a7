"""A browser shows the page: every section, no error, no request."""

import json
import re
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import pytest
from browser import needs_browser, show

import export_object
import write_report

tree = SimpleNamespace(
    **run_path(str(Path(__file__).parents[1] / "unit" / "report_tree.py"))
)
# measured in the page: what a reader would see of each section, and whether clicks work
PROBE = """
<script>
addEventListener("load", () => {
  const sizes = {};
  for (const s of document.querySelectorAll("section")) {
    const box = s.getBoundingClientRect();
    sizes[s.id] = [getComputedStyle(s).display, box.width, box.height];
  }
  const table = document.getElementById("markers-table");
  const ranks = () => [...table.tBodies[0].rows].map((row) => row.cells[1].textContent);
  const button = table.tHead.rows[0].cells[1].querySelector("button");
  button.click(); const up = ranks(); button.click(); const down = ranks();
  const input = document.querySelector('input[data-search="markers-table"]');
  input.value = "GENE0003"; input.dispatchEvent(new Event("input"));
  const left = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
  const wide = document.documentElement.scrollWidth - innerWidth;
  const found = { sizes, up, down, left, wide, ran: "ran" in globalThis };
  const out = document.createElement("pre");
  out.id = "probe"; out.textContent = JSON.stringify(found); document.body.append(out);
});
</script>
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """The page of the made-up run, with a title that would leave a trace if it ran."""
    root = tmp_path_factory.mktemp("page")
    tree.write_tree(root)
    given = tree.report_arguments(root)
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
        seed=1,
    )
    title = (
        "<script>globalThis.ran = 1</script><img src=x onerror='globalThis.ran = 1'>"
    )
    write_report.main(**given, settings=write_report.ReportSettings(title=title))
    return given["page"]


@needs_browser
@pytest.mark.parametrize("width", [1300, 500])
def test_every_section_is_shown_without_error_or_request(page, tmp_path, width):
    probed = tmp_path / "report.html"
    probed.write_text(page.read_text().replace("</body>", PROBE + "</body>"))
    seen = show(probed, tmp_path, f"--window-size={width},900")
    assert seen.console == []
    assert seen.urls == set()
    found = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', seen.dom)[1])
    assert list(found["sizes"]) == [
        "trust",
        "reads-and-cells",
        "cells",
        "differences",
        "how",
    ]
    for display, shown_width, height in found["sizes"].values():
        assert display == "block"
        assert shown_width > width / 2
        assert height > 100
    assert found["wide"] <= 0, "the page scrolls sideways"
    assert found["up"] == sorted(found["up"], key=int)
    assert found["down"] == sorted(found["up"], key=int, reverse=True)
    assert 0 < found["left"] < len(found["up"])
    assert not found["ran"], "text of a user ran as a script"


@needs_browser
def test_the_check_sees_an_error_and_a_request(page, tmp_path):
    bad = tmp_path / "bad.html"
    policy = re.compile('<meta http-equiv="Content-Security-Policy"[^>]*>')
    trouble = '<script>nothere();</script><img src="http://example.org/x.png">'
    text = policy.sub("", page.read_text()).replace("</body>", trouble + "</body>")
    bad.write_text(text)
    seen = show(bad, tmp_path)
    assert any("nothere is not defined" in line for line in seen.console)
    assert "http://example.org/x.png" in seen.urls


@needs_browser
def test_the_policy_of_the_page_forbids_requests(page, tmp_path):
    bad = tmp_path / "bad.html"
    trouble = '<img src="http://example.org/x.png">'
    bad.write_text(page.read_text().replace("</body>", trouble + "</body>"))
    assert "http://example.org/x.png" not in show(bad, tmp_path).urls
