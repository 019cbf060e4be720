"""Pictures of every view of the explorer, wide and as on a phone, light and dark.

``python bench/screenshots.py results/demo --out screenshots``
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from pipeline.explorer.commands import run_of  # noqa: E402
from pipeline.methods.registry import function  # noqa: E402
from tests.explorer.browser.driving import Watched, browser_path, chromium, serving, watched  # noqa: E402

CLIP = 6
SECONDS, HIGHEST = 60, 3000


def change(page: Any) -> None:
    """Lower a located concept in a box of the clip, and its weight."""
    if page.locator(".region").count():
        page.get_by_role("button", name="Box").click()
        box = page.locator(".player canvas").bounding_box()
        corners = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.3, 0.05), (0.52, 0.35))]
        page.mouse.move(*corners[0])
        page.mouse.down()
        page.mouse.move(*corners[1], steps=3)
        page.mouse.up()
    page.get_by_label("Weight of").press("PageDown")


def log(page: Any) -> None:
    """The same and a concept that is switched off, with the log of all that."""
    change(page)
    page.get_by_role("switch", name="On").uncheck()
    page.get_by_role("button", name="Review").click()


def attempt(videos: Path) -> Callable[[Any], None]:
    """Drop one of the demo's videos."""

    def look(page: Any) -> None:
        own = sorted(videos.glob("*_shifted_*.mp4"))
        if own:
            page.locator("input[type=file]").set_input_files(own[0])
            page.locator(".verdict").wait_for(timeout=SECONDS * 1000)

    return look


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/demo"))
    parser.add_argument("--out", type=Path, default=Path("screenshots"))
    parser.add_argument("--only", nargs="+", help="names of views")
    call = parser.parse_args()
    path = browser_path()
    if path is None:
        sys.exit("no Chromium: `apt-get install chromium` brings it")
    method, folder = run_of(call.results)
    address = serving(function(method.explore)(folder, method))
    nothing = lambda page: None  # noqa: E731
    views = {
        "overview": ("", nothing),
        "clips": ("clips", nothing),
        "clip": (f"clip/{CLIP}", nothing),
        "change": (f"clip/{CLIP}", change),
        "log": (f"clip/{CLIP}", log),
        "concepts": ("concepts", nothing),
        "concept": ("concept/4", nothing),
        "try": ("try", attempt(folder / "demo" / "videos")),
        "rows": ("rows", nothing),
    }
    call.out.mkdir(parents=True, exist_ok=True)
    with chromium(path) as browser:
        for wide in (True, False):
            for dark in (False, True):
                # Without motion, so that two runs give the same pictures.
                seen = watched(browser, address, wide, dark, reduced_motion="reduce")
                known = seen.open().locator("nav a").evaluate_all("links => links.map((link) => link.hash)")
                for name, (view, act) in views.items():
                    if (not call.only or name in call.only) and f"#/{within(view)}" in known:
                        shoot(
                            seen,
                            view,
                            act,
                            call.out / f"{name}-{'wide' if wide else 'phone'}-{'dark' if dark else 'light'}.png",
                        )


def within(view: str) -> str:
    """The view of the navigation that a view belongs to."""
    name = view.split("/")[0]
    return {"clip": "clips", "concept": "concepts"}.get(name, name)


def shoot(seen: Watched, view: str, act: Callable[[Any], None], path: Path) -> None:
    """Open a view afresh, do something there, and take its picture."""
    seen.page.goto("about:blank")
    page = seen.open(view)
    height = page.viewport_size["height"]
    page.wait_for_load_state("networkidle")
    # The whole view in one window: what sticks to an edge would else stand in the middle of a picture.
    if not page.locator(".grid").count():
        page.set_viewport_size(
            {**page.viewport_size, "height": min(HIGHEST, page.evaluate("document.body.scrollHeight"))}
        )
    act(page)
    page.wait_for_timeout(200)
    page.screenshot(path=path)
    page.set_viewport_size({**page.viewport_size, "height": height})
    print(path)


if __name__ == "__main__":
    main()
