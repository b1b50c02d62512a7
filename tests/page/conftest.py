"""One page of made-up results for all tests that use it."""

from pathlib import Path

import pytest
from made_up_page import made_up, tree_module
from opened import browser, opened


@pytest.fixture(scope="session")
def page(tmp_path_factory) -> Path:
    """The page of a made-up run, in whose folder `results` the page lies."""
    return made_up(tmp_path_factory.mktemp("page"), tree_module())


@pytest.fixture(scope="module")
def shell():
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def seen(shell, page):
    """The page, opened once for the tests of a module."""
    with opened(shell, page, page.parents[2]) as shown:
        yield shown
