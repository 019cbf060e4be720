"""One browser for all tests, and the run that it looks at."""

from __future__ import annotations

import pytest

from tests.explorer.browser.curated import Curated, copied
from tests.explorer.browser.driving import browser_path, chromium, serving


# Of a module: while Playwright is at work, nothing else in the process can have an event loop.
@pytest.fixture(scope="module")
def browser():
    path = browser_path()
    if path is None:
        pytest.skip("no Chromium; CONCEPTREEL_TEST_BROWSER=required makes that a failure")
    with chromium(path) as opened:
        yield opened


@pytest.fixture(scope="session")
def run(small_run, tmp_path_factory) -> Curated:
    """The small run; not to be written into."""
    return copied(small_run, tmp_path_factory.mktemp("curated"))


@pytest.fixture(scope="session")
def address(run) -> str:
    """Where the small run is served; nothing is changed there."""
    return serving(run)
