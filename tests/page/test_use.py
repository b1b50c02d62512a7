"""A reader uses the page in a browser, which says nothing and asks for nothing."""

import pytest
from browser import needs_browser
from opened import opened
from page_acts import ACTS, explorer

pytestmark = needs_browser


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
def test_the_page_is_used(seen, act):
    act(seen)
    assert seen.heard == []


@pytest.mark.parametrize(
    ("deed", "heard"),
    [
        ("console.log('a word')", "log: a word"),
        ("setTimeout(() => nothere())", "nothere is not defined"),
        ("setTimeout(() => alert('a word'))", "dialog: a word"),
        ("fetch('http://127.0.0.1:9/x.png').catch(() => {})", "127.0.0.1:9"),
    ],
)
def test_what_the_page_says_and_asks_for_is_heard(shell, page, deed, heard):
    with opened(shell, page, page.parents[2]) as seen:
        seen.page.evaluate(deed)
        seen.page.wait_for_timeout(200)
        assert any(heard in said for said in seen.heard), seen.heard


def test_infinite_numbers_are_sorted_as_numbers_and_missing_ones_go_last(shell, page):
    with opened(shell, page, page.parents[2]) as seen:
        found = seen.page.eval_on_selector(
            "#callers-table",
            """table => {
              const at = [...table.tHead.rows[0].cells].findIndex(
                one => one.textContent.startsWith("cells"));
              const cells = [...table.tBodies[0].rows].map(row => row.cells[at]);
              ["inf", "-9", "", "-inf"].forEach((text, i) => {
                cells[i].dataset.value = text;
              });
              const head = table.tHead.rows[0].cells[at].querySelector("button");
              const order = () => [...table.tBodies[0].rows].map(
                row => row.cells[at].dataset.value);
              head.click();
              const up = order();
              head.click();
              return [up, order()];
            }""",
        )
    assert found == [["-inf", "-9", "inf", ""], ["inf", "-9", "-inf", ""]]


def test_a_search_finds_what_stands_in_one_cell(seen):
    seen.open_all()
    bar = seen.page.locator(".bar:has(+ .scroll > #ledger-table)")
    said = bar.locator("[role=status]")
    for text, found in (("A.1not_called", 0), ("not_called", 3)):
        bar.locator("input").fill(text)
        assert said.inner_text().startswith(f"{found} of ")
    bar.locator("input").fill("")
    alone = seen.page.locator(".bar:has(+ .scroll > #bulk-table) [role=status]")
    assert alone.inner_text() == "1 row"


def test_the_focus_goes_back_to_where_a_gene_was_chosen(seen):
    button = seen.page.locator("#markers-table button.gene").first
    button.focus()
    seen.page.keyboard.press("Enter")
    close = seen.page.locator("#gene-panel button")
    close.focus()
    seen.page.keyboard.press("Escape")
    assert seen.page.locator("#gene-panel").is_hidden()
    assert button.evaluate("one => one === document.activeElement")


def test_genes_that_were_let_go_are_unpacked_again(seen):
    explorer(seen)
    before, after, is_new = seen.page.evaluate(
        """async () => {
          const { data } = R2C.explorer, all = [...data.genes.columns.part.keys()];
          const sum = async (i) => (await R2C.values.coloring(data, ["gene", i]))
            .values.reduce((a, b) => a + b);
          const before = [], after = [];
          const first = R2C.unpack(`genes-${data.genes.columns.part[0]}`);
          for (const i of all) before.push(await sum(i));
          const is_new = R2C.unpack(`genes-${data.genes.columns.part[0]}`) !== first;
          for (const i of all) after.push(await sum(i));
          return [before, after, is_new];
        }"""
    )
    assert before == after
    assert len(before) == 40
    assert is_new


def test_a_column_of_the_sheet_may_have_the_name_of_one_of_the_page(seen):
    explorer(seen)
    seen.page.evaluate("R2C.explorer.coloring.title = 'cell'")
    button = seen.page.locator("#fig-explorer > .tools [data-save=csv]")
    saved = seen.saved_table(button)
    assert next(iter(saved)) == "cell"
    assert list(saved)[-1] == "cell_"
    assert set(saved["cell"]) == set(seen.cells.obs_names)
    assert seen.heard == []
