"""The page is fit to be seen: wide and narrow, light and dark, by all readers."""

import os
from pathlib import Path

import pytest
from browser import needs_browser
from opened import opened
from page_looks import nobody_is_shut_out, nothing_sticks_out, photograph

pytestmark = needs_browser

WIDTHS, SCHEMES = (1280, 390), ("light", "dark")


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_sticks_out(shell, page, width):
    with opened(shell, page, page.parents[2], width=width) as seen:
        nothing_sticks_out(seen)
        assert seen.heard == []


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
