"""What users wrote is shown as they wrote it; nothing of it runs."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
import yaml
from browser import needs_browser
from made_up_page import made_up, tree_module
from opened import opened
from page_acts import explorer, legend
from page_looks import draw_all, nothing_sticks_out
from running import ROOT

from _shared.report_tables import BIDI_CONTROL, bidi_shown

pytestmark = needs_browser

SCRIPT = "<script>globalThis.ran = 1; alert(1)</script>"
IMAGE = '"><img src=x onerror="globalThis.ran = 1; alert(2)">'
END = "</script></style></title><script>globalThis.ran = 1</script>"
TEMPLATE = "{b} {{7*7}} ${7*7} {% raw %}"
FORMULA = "=1+1"
MATHS = r"$x$ $\frac{1}{2}$ \alpha_1"
# right to left and never back, letters of Hebrew, a mark that shows nothing
TURNED = "\u202eturned \u05e9\u05dc\u05d5\u05dd \u200frest\\\u2067on"
LONG = "long" * 75
TEXTS = (SCRIPT, IMAGE, END, TEMPLATE, FORMULA, MATHS, TURNED, LONG)
TYPES = (FORMULA, SCRIPT, TURNED, LONG)
SHOWN_TYPES = {bidi_shown(name) for name in TYPES}
NOTE = f"{FORMULA} {END} {TEMPLATE} {IMAGE} {MATHS} {TURNED} {LONG}"
# all texts of the page, folded ones as well, but not its scripts and styles
SAID = """() => {
  const parts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const { parentElement: parent, data } = walk.currentNode;
    if (!parent.closest('script, style')) parts.push(data);
  }
  return parts.join('\\n');
}"""
# all that is read out or hovers, too
TOLD = """() => [...document.querySelectorAll('body *')].flatMap((one) =>
  ['aria-label', 'title', 'placeholder', 'alt'].map((name) => one.getAttribute(name))
    .filter(Boolean)).join('\\n')"""
OF_CHARTS = """(chosen) => [...document.querySelectorAll(chosen)].map((one) => {
  const drawn = echarts.getInstanceByDom(one).getZr().storage.getDisplayList(true);
  return drawn.map(({ style }) => style.text ?? '').join('\\n');
}).join('\\n')"""


def hostile_config(config: dict) -> dict:
    """Return a config in which every free text, as the schema has it, is hostile."""
    path = ROOT / "config/schemas/config.schema.yaml"
    turn = iter(TEXTS * 100)

    def changed(value: object, schema: dict) -> object:
        if isinstance(value, dict):
            known, rest = (
                schema.get("properties", {}),
                schema.get("additionalProperties"),
            )
            rest = rest if isinstance(rest, dict) else {}
            return {k: changed(one, known.get(k, rest)) for k, one in value.items()}
        is_free = schema.get("type") == "string" and not {"enum", "pattern"} & set(
            schema
        )
        return next(turn) if is_free and isinstance(value, str) else value

    return changed(config, yaml.safe_load(path.read_text()))


def hostile_tree():
    """Return the maker of results with hostile names of types, groups and genes."""
    tree = tree_module()
    tree.EVIL, tree.TYPES = NOTE, TYPES
    levels = (MATHS, IMAGE)
    tree.design = lambda samples=tree.SAMPLES: {
        name: {"condition": levels[i % 2], "note": NOTE}
        for i, name in enumerate(samples)
    }
    tree.gene_names = lambda i: (f"GENE{i:04d}", f"{TEXTS[i % len(TEXTS)]} {i}")
    return tree


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    root, tree = tmp_path_factory.mktemp("hostile"), hostile_tree()
    config = hostile_config(tree.config())
    config["write_report"]["title"] = " ".join(TEXTS)
    config["design"]["contrasts"] = {"stim_vs_ctrl": ["condition", IMAGE, MATHS]}
    return made_up(root, tree, settings=config)


@pytest.fixture(scope="module")
def seen(shell, hostile):
    with opened(shell, hostile, hostile.parents[2]) as shown:
        draw_all(shown)
        yield shown


def nothing_ran(seen):
    assert seen.page.evaluate("globalThis.ran") is None
    assert not seen.page.locator("img").count()
    assert seen.heard == []


def test_every_text_is_shown_as_it_was_written(seen):
    """But for bidi controls, of which the escapes are shown."""
    title = bidi_shown(" ".join(TEXTS))
    assert seen.page.locator("h1").inner_text().strip() == title
    assert seen.page.title() == title
    said = seen.page.evaluate(SAID)
    missing = [text for text in (*TEXTS, NOTE) if bidi_shown(text) not in said]
    assert not missing
    sheet = bidi_shown((seen.run / "samples.tsv").read_text())
    assert sheet in seen.page.locator("#how pre").all_text_contents()
    config = "\n".join(seen.page.locator("#config code").all_text_contents())
    written = [json.dumps(text, ensure_ascii=False) for text in TEXTS]
    assert all(bidi_shown(text) in config for text in written)
    labels = seen.page.locator("#annotation-table tbody").text_content()
    assert all(text in labels for text in SHOWN_TYPES)
    # arithmetic in braces is no template
    assert not re.search(r"^49$", said, re.MULTILINE)
    nothing_ran(seen)


def test_no_text_turns_the_words_after_it(seen):
    assert len(BIDI_CONTROL.findall(TURNED)) == 2
    explorer(seen)
    seen.page.select_option("#explorer-color", "cell_type")
    seen.wait()
    labels = seen.page.evaluate("R2C.explorer.labels.map(one => one.text)")
    assert set(labels) == SHOWN_TYPES
    drawn = seen.page.evaluate(OF_CHARTS, ".chart[data-chart]")
    assert r"\u202eturned" in drawn
    said = [seen.page.evaluate(one) for one in (SAID, TOLD)]
    for text in (seen.page.title(), *said, *labels, drawn):
        assert not BIDI_CONTROL.search(text)
    nothing_ran(seen)


def test_a_name_is_no_template_of_the_chart_library(seen):
    drawn = seen.page.evaluate(OF_CHARTS, "[data-chart^=volcano]")
    assert f"{TEMPLATE[:25]}…" in drawn
    nothing_ran(seen)


def test_a_saved_figure_holds_names_as_they_are_shown(seen):
    figures = ["fig-explorer", "fig-stacks", "fig-cluster-sizes"]
    for figure in figures:
        seen.page.locator(f"#{figure}").scroll_into_view_if_needed()
        _, content = seen.saved(
            seen.page.locator(f"#{figure} > .tools [data-save=svg]")
        )
        said = "".join(ET.fromstring(content).itertext())
        assert not BIDI_CONTROL.search(said), figure
        assert "<script>" in said, figure
        assert r"\u202eturned" in said, figure
    nothing_ran(seen)


def test_the_map_names_the_cells_as_they_were_named(seen):
    explorer(seen)
    seen.page.select_option("#explorer-color", "cell_type")
    seen.wait()
    assert set(legend(seen)) == SHOWN_TYPES
    seen.page.click("#explorer-pick")
    tables = seen.page.locator("#explorer-tables").text_content()
    assert all(text in tables for text in SHOWN_TYPES)
    box = seen.page.locator("#explorer-map").bounding_box()
    for i in range(1, 10):
        across, down = box["width"] * i / 10, box["height"] * i / 10
        seen.page.mouse.move(box["x"] + across, box["y"] + down)
    nothing_ran(seen)


def test_a_gene_with_a_hostile_name_is_chosen(seen):
    for i in range(len(TEXTS)):
        button = seen.page.locator("#markers-table button.gene").nth(i)
        name = button.get_attribute("data-gene-name")
        button.click()
        assert name in seen.page.locator("#gene-panel h2").text_content()
    seen.page.get_by_text("See it in the cells").click()
    nothing_sticks_out(seen)
    nothing_ran(seen)


def test_a_spreadsheet_runs_nothing_of_a_saved_table(seen):
    button = seen.page.locator(".bar:has(+ .scroll > #annotation-table)")
    saved = seen.saved_table(button.locator("[data-save=csv]"))
    assert set(saved["cell_type"]) == {f"'{FORMULA}", *TYPES} - {FORMULA}
    nothing_ran(seen)


@pytest.mark.parametrize("width", [1280, 390])
def test_long_and_turned_names_break_nothing(shell, hostile, width):
    with opened(shell, hostile, hostile.parents[2], width=width) as seen:
        nothing_sticks_out(seen)
        nothing_ran(seen)
