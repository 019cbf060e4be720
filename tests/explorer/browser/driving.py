"""A real browser before a real server, watched: what it says on its console, and whom it asks."""

from __future__ import annotations

import functools
import http.server
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.explorer.server import application, bind, serve
from pipeline.explorer.session import Session

NAMES = ("chromium", "chromium-browser", "google-chrome")
# CI sets it to `required` where a browser must be there, so that its tests cannot be skipped unseen.
WANTED = "CONCEPTREEL_TEST_BROWSER"


def browser_path() -> str | None:
    """Chromium, or None where tests may go without.

    Raises:
        RuntimeError: there is none, and it is required.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get(WANTED) == "required":
        raise RuntimeError(f"{WANTED}=required, and there is no {' or '.join(NAMES)}")
    return found


@contextmanager
def chromium(path: str) -> Iterator[Any]:
    """A headless browser that no name outside of this machine leads out of."""
    from playwright.sync_api import sync_playwright

    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--enable-precise-memory-info"]
    arguments.append("--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield opened
        finally:
            opened.close()


def serving(explored: Any) -> str:
    """The address of a run, served as the command serves it for as long as this process lives."""
    listening = bind(0)
    session = Session(listening.getsockname()[1])
    threading.Thread(target=serve, args=(application(explored, session), listening), daemon=True).start()
    return session.address


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


def hosting(folder: Path) -> str:
    """The address of a folder on a web host that knows nothing of the explorer."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


@dataclass
class Watched:
    """A page with everything that it complained of, and everybody that it asked.

    Attributes:
        address: of the explorer, with its token.
        complaints: console messages, errors, failed requests, answers that are failures, dialogs.
        asked: addresses outside of the explorer.
    """

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        home = self.address.split("?")[0]
        page, told = self.page, self.complaints.append
        page.on("console", lambda message: told(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: told(f"error: {error}"))
        page.on("dialog", lambda dialog: (told(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("response", lambda answer: answer.status >= 400 and told(f"{answer.status}: {answer.url}"))
        page.on(
            "request",
            lambda request: request.url.startswith((home, "data:", "blob:")) or self.asked.append(request.url),
        )

    def open(self, view: str = "") -> Any:
        """Go to a view as a person does who has its address, and wait until it is shown."""
        home = self.address.split("?")[0]
        if not self.page.url.startswith(home):
            self.page.goto(self.address)
            self.ready()
        if view:
            self.page.evaluate(
                "name => { delete document.documentElement.dataset.shown; location.hash = name }", f"#/{view}"
            )
            self.page.wait_for_selector(f'html[data-shown="#/{view}"]', state="attached")
        return self.page

    def ready(self) -> None:
        """Wait until the run is read and the first view is shown."""
        self.page.wait_for_selector("html[data-ready]", state="attached")

    def quiet(self) -> None:
        """Nothing was complained of, and nobody else was asked."""
        assert self.complaints == []
        assert self.asked == []


def watched(browser: Any, address: str, wide: bool = True, dark: bool = False, **given: Any) -> Watched:
    """A new page, as a person without history has it."""
    size = {"width": 1280, "height": 800} if wide else {"width": 390, "height": 844}
    context = browser.new_context(viewport=size, color_scheme="dark" if dark else "light", **given)
    context.set_default_timeout(20_000)
    return Watched(context.new_page(), address)
