"""How fast the explorer starts, shows, and answers a change, and what it takes of memory, in a real browser.

``python bench/explorer.py results/demo``, or ``--large`` for 13,320 clips × 782 concepts × 101 classes.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests.explorer.browser.driving import browser_path, chromium, watched  # noqa: E402
from tests.explorer.runs import large  # noqa: E402

# Moves a control and waits until the browser has drawn what comes of it, so many times: milliseconds of each.
MOVED = """
async ([selector, times]) => {
  const control = document.querySelector(selector);
  const drawn = () => new Promise((resolve) => requestAnimationFrame(() => setTimeout(resolve)));
  const found = [];
  for (let t = 0; t < times; t++) {
    await drawn();
    const since = performance.now();
    if (control.type === "checkbox") control.click();
    else {
      control.value = Number(control.min) + ((t + 1) / (times + 1)) * (Number(control.max) - Number(control.min));
      control.dispatchEvent(new Event("input"));
    }
    const computed = performance.now() - since;
    await drawn();
    found.push([computed, performance.now() - since]);
  }
  return found;
}
"""
# Scrolls the grid by a third of a window a frame, as a strong flick does: milliseconds from frame to frame.
SCROLLED = """
async (times) => {
  const found = [];
  let last = await new Promise(requestAnimationFrame);
  for (let t = 0; t < times; t++) {
    scrollBy(0, innerHeight / 3);
    const now = await new Promise(requestAnimationFrame);
    found.push(now - last);
    last = now;
  }
  return found;
}
"""
CONTROLS = {
    "activation dragged": 'input[aria-label^="Activation of"]',
    "weight dragged": 'input[aria-label^="Weight of"]',
    "concept off and on": 'input[role="switch"]',
}
TIMES = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=Path("results/demo"))
    parser.add_argument("--large", action="store_true", help="a run of UCF-101's size, written for the occasion")
    call = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(large(Path(folder) / "large") if call.large else call.results)


def measure(results: Path) -> None:
    """Start the command, look at its page, and print one figure a line."""
    command = [sys.executable, "-m", "pipeline.cli", "explore", str(results), "--no-browser"]
    since = time.perf_counter()
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=sys.path[0])
    try:
        address = server.stdout.readline().strip()
        print(f"start of the command      {time.perf_counter() - since:8.2f} s")
        path = browser_path()
        if path is None:
            sys.exit("no Chromium")
        with chromium(path) as browser:
            look(browser, address, server.pid)
    finally:
        server.terminate()
        server.wait()


def look(browser, address: str, server: int) -> None:
    # What a server reads once is there after the first look; a person sees both.
    for name in ("first view, first look", "first view"):
        seen = watched(browser, address)
        measured = seen.page.context.new_cdp_session(seen.page)
        measured.send("Performance.enable")
        before = _seconds(server)
        page = seen.open()
        metrics = {item["name"]: item["value"] for item in measured.send("Performance.getMetrics")["metrics"]}
        shown = page.evaluate("performance.getEntriesByName('view overview')[0].startTime")
        page_time, server_time = 1000 * metrics["ProcessTime"], 1000 * (_seconds(server) - before)
        print(f"{name:<25} {shown:8.0f} ms; CPU {page_time:.0f} ms of the page, {server_time:.0f} ms of the server")
    n = page.evaluate("import('/app/data.js').then(({ json }) => json('data/explore.json')).then((about) => about.n)")
    seen.open(f"clip/{min(7, n - 1)}")
    for name, selector in CONTROLS.items():
        found = page.evaluate(MOVED, [selector, TIMES])
        computed, drawn = ([own[part] for own in found] for part in (0, 1))
        print(f"{name:<25} {told(computed)} to all figures of the clip and of every split; {told(drawn)} until drawn")
    seen.open("clips")
    frames = sorted(page.evaluate(SCROLLED, 90))
    shares = f"median {frames[45]:.1f} ms, 95% of frames within {frames[85]:.1f} ms"
    print(f"{'a frame while scrolling':<25} {shares}")
    for view in ("concepts", ""):
        seen.open(view)
    used = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
    print(f"JavaScript's memory       {used:8.0f} MB (performance.memory)")
    processes = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    private = max(_private(int(process["id"])) for process in processes if process["type"] == "renderer")
    print(f"page's process, private   {private / 1e6:8.0f} MB")
    print(f"console messages          {len(seen.complaints):8d}\nrequests to other hosts   {len(seen.asked):8d}")


def told(times: list[float]) -> str:
    return f"{statistics.median(times):8.1f} ms (longest {max(times):.1f})"


def _seconds(process: int) -> float:
    """CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _private(process: int) -> int:
    """Bytes that a process shares with no other."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


if __name__ == "__main__":
    main()
