"""The page is fit to be seen: wide and narrow, light and dark, by all readers."""

import os
from pathlib import Path

import pytest
from browser import needs_browser
from opened import opened
from page_looks import draw_all, nobody_is_shut_out, nothing_sticks_out, photograph

pytestmark = needs_browser

# name, right end and room of every chart, and its first pixel; the ground of the map
ON_PAPER = """() => [
  [...document.querySelectorAll('.chart-on-paper')].map((one) => [
    one.closest('figure').dataset.name, one.getBoundingClientRect().right,
    one.closest('figure').getBoundingClientRect().right,
    [...one.getContext('2d').getImageData(0, 0, 1, 1).data]]),
  getComputedStyle(document.querySelector('.explorer-view')).backgroundColor
    .match(/\\d+/g).map(Number),
]"""
# figures that are drawn smaller than they are, and how much
SHRUNKEN = """() => [...document.querySelectorAll('figure[data-static]:not(.wide) svg')]
  .map((one) => [one.closest('figure').dataset.name,
    one.getBoundingClientRect().width / one.viewBox.baseVal.width])
  .filter(([, scale]) => scale < 0.95)"""
WIDTHS, SCHEMES = (1280, 390), ("light", "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(shell, page, width):
    with opened(shell, page, page.parents[2], width=width) as seen:
        nothing_sticks_out(seen)
        assert seen.heard == []


def test_charts_on_paper_have_room_and_light_colors(shell, page):
    """A4 is 794 pixels wide; the page is dark on the screen."""
    with opened(shell, page, page.parents[2], width=794, scheme="dark") as seen:
        draw_all(seen)
        seen.page.emulate_media(media="print", color_scheme="dark")
        seen.page.evaluate("dispatchEvent(new Event('beforeprint'))")
        charts, ground = seen.page.evaluate(ON_PAPER)
        assert len(charts) > 10
        for name, right, room, corner in charts:
            assert right <= room + 1, (name, right, room)
            assert corner == [255] * 4, (name, corner)
        assert ground == [255] * 3
        assert not seen.page.locator("details:not([open])").count()
        seen.page.emulate_media(media="screen", color_scheme="dark")
        seen.page.evaluate("dispatchEvent(new Event('afterprint'))")
        assert not seen.page.locator(".chart-on-paper").count()
        assert seen.heard == []


def test_figures_are_read_on_a_telephone(shell, page):
    """Letters of a figure have 9 pixels at its own width."""
    with opened(shell, page, page.parents[2], width=390) as seen:
        seen.open_all()
        shrunken = seen.page.evaluate(SHRUNKEN)
        assert not shrunken, shrunken


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nobody_is_shut_out(shell, page, scheme):
    with opened(shell, page, page.parents[2], scheme=scheme) as seen:
        nobody_is_shut_out(seen)


@pytest.mark.skipif(
    "PAGE_PICTURES" not in os.environ, reason="PAGE_PICTURES names no folder"
)
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_photographed(shell, page, width, scheme):
    folder = Path(os.environ["PAGE_PICTURES"])
    with opened(shell, page, page.parents[2], width=width, scheme=scheme) as seen:
        photograph(seen, folder, f"report-{width}-{scheme}")
