"""How the page looks: nothing sticks out, nothing shuts a reader out."""

from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from opened import Opened

# what reaches beyond the page and does not scroll by itself, with its right end
TOO_WIDE = """() => {
  const edge = document.documentElement.clientWidth + 1, wide = new Map();
  const isClipped = (element) => {
    for (let one = element; one && one !== document.body; one = one.parentElement) {
      if (one.tagName === 'svg' || getComputedStyle(one).overflowX !== 'visible'
        || getComputedStyle(one).position === 'absolute') return true;
    }
    return false;
  };
  const note = (element, { right, width }, holder) => {
    if (!width || right <= edge || isClipped(holder)) return;
    const text = element.textContent.trim().slice(0, 30), end = Math.round(right);
    wide.set(element, `${element.tagName} ${element.id} ${end} px: ${text}`);
  };
  for (const element of document.querySelectorAll('body *')) {
    note(element, element.getBoundingClientRect(), element.parentElement);
  }
  // a word that is not broken sticks out of its element
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  while (texts.nextNode()) {
    range.selectNodeContents(texts.currentNode);
    const holder = texts.currentNode.parentElement;
    note(holder, range.getBoundingClientRect(), holder);
  }
  return [...wide.values()].slice(0, 10);
}"""


def nothing_sticks_out(seen: Opened) -> None:
    """Check that the page does not scroll sideways, folded or open."""
    for _ in range(2):
        rest = seen.page.evaluate(
            "(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)"
            "(document.documentElement)"
        )
        wide = seen.page.evaluate(TOO_WIDE)
        assert not wide, wide
        assert rest <= 0, f"the page scrolls {rest} px sideways"
        draw_all(seen)


def draw_all(seen: Opened) -> None:
    """Open all parts and pass by every chart, so that all are drawn."""
    seen.open_all()
    for chart in seen.page.locator(".chart[data-chart]").all():
        chart.scroll_into_view_if_needed()
    seen.page.wait_for_function(
        """() => [...document.querySelectorAll('.chart[data-chart]')].every(
          one => one.querySelector('canvas'))"""
    )
    if seen.page.locator("#fig-explorer").count():
        seen.page.locator("#fig-explorer").scroll_into_view_if_needed()
        seen.page.wait_for_selector("#fig-explorer[data-shown]")
    seen.wait()


def nobody_is_shut_out(seen: Opened) -> None:
    """Check that axe-core finds nothing that is serious or critical."""
    draw_all(seen)
    found = Axe().run(seen.page, options={"resultTypes": ["violations"]})
    bad = [
        f"{one['id']} ({one['impact']}): {one['help']}; "
        + "; ".join(str(node["target"]) for node in one["nodes"][:3])
        + f" ({len(one['nodes'])})"
        for one in found.response["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert not bad, "\n".join(bad)


def photograph(seen: Opened, folder: Path, name: str) -> None:
    """Write a picture of the whole page, its long parts open."""
    folder.mkdir(parents=True, exist_ok=True)
    draw_all(seen)
    seen.page.evaluate("scrollTo(0, 0)")
    seen.page.screenshot(path=folder / f"{name}.png", full_page=True)
