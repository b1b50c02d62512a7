"""A reader uses the page in a browser, which says nothing and asks for nothing."""

import pytest
from browser import needs_browser
from opened import opened
from page_acts import ACTS

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
