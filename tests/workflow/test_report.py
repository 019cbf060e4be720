"""The report of a small run: what is in it, that a browser shows it, and that it stays outside of the model's rules."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.store.arrays import read_arrays
from tests.explorer.browser.driving import browser_path

pytestmark = pytest.mark.slow

TARGET = "results/small/report.html"

# Asks every picture and every chart what it shows, and writes the answer into the page.
PROBE = """
<script>
window.problems = [];
window.addEventListener("error", event => window.problems.push(String(event.message)));
window.addEventListener("load", () => setTimeout(() => {
  const shown = [...document.images].map(image => {
    const canvas = document.createElement("canvas");
    canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
    if (!canvas.width) return 0;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    return new Set(context.getImageData(0, 0, canvas.width, canvas.height).data).size;
  });
  const charts = [...document.querySelectorAll(".plotly-graph-div")].map(
    chart => [chart.id, chart.querySelectorAll("svg path, svg rect, svg image").length, chart.clientHeight]);
  const answer = document.createElement("pre");
  answer.id = "probe";
  answer.textContent = JSON.stringify({shown, charts, problems: window.problems, wide: document.body.scrollWidth});
  document.body.appendChild(answer);
}, 500));
</script>
"""


@pytest.fixture(scope="module")
def reported(finished, make_workspace, tmp_path_factory):
    """The small run with its report; do not change it."""
    folder = tmp_path_factory.mktemp("reported") / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    workspace = make_workspace(folder)
    config = workspace.config()
    explain = config["datasets"]["small"].setdefault("explain", {})
    explain["retrained"] = {"seeds": 1, "shuffles": 1}
    explain["localise"] = {"integration_steps": 2}
    workspace.configure(config)
    workspace.snakemake(TARGET)
    return workspace


@pytest.fixture(scope="module")
def page(reported) -> str:
    return (reported.folder / TARGET).read_text()


def test_the_model_needs_no_report(finished):
    planned = finished.planned("results/small/model.pt", TARGET)
    assert planned == {
        "sanity": 1, "timelines": 1, "retrained": 1, "counterfactuals": 1, "faithfulness": 1, "localise": 1,
        "report": 1,
    }  # fmt: skip


def test_everything_is_in_the_page(reported, page):
    assert len(page.encode()) < 15e6
    for part in (
        "accuracy", "classes", "pairs", "motion", "words", "samples", "edits", "faithful", "sanity", "quality",
        "dropped", "costs",
    ):  # fmt: skip
        assert f'<section id="{part}">' in page, part
    metrics = reported.metrics("small")
    for value in (metrics["top1"], metrics["backbone_top1"], metrics["shifted_top1"]):
        assert f"{value:.3f}" in page
    rows = pq.read_table(reported.folder / "results/small/bottleneck/concept_layers.parquet").to_pylist()
    for row in rows:
        assert f"{row['name']}</" in page, row
    for chart in ("confusion", "path", "pair-0", "removal", "response", "clusters-test", "confidence", "seconds"):
        assert f'id="chart-{chart}"' in page, chart


def test_nothing_is_fetched(page):
    """No part of the page names another file; the charts' library has addresses in it that it asks on demand only."""
    without_library = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)[^"']*""", without_library)
    assert "@import" not in without_library and "url(" not in without_library


def test_every_picture_shows_something(page):
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)"', page)
    assert len(pictures) > 20
    for text in pictures:
        picture = Image.open(io.BytesIO(base64.b64decode(text)))
        for frame in (0, getattr(picture, "n_frames", 1) - 1):
            picture.seek(frame)
            assert np.asarray(picture.convert("L")).std() > 5


def test_every_chart_has_something_to_draw(page):
    charts = list(re.finditer(r'Plotly\.newPlot\(\s*"(chart-[^"]+)",\s*', page))
    assert len(charts) > 8
    for chart in charts:
        traces, _ = json.JSONDecoder().raw_decode(page, chart.end())
        assert traces, chart[1]
        for trace in traces:
            if trace["type"] == "sankey":
                drawn = trace["link"]["value"]
            else:
                drawn = next(trace[axis] for axis in ("z", "y", "x") if axis in trace)
            # Plotly writes numbers as text in base 64, and their type.
            values = np.frombuffer(base64.b64decode(drawn["bdata"]), drawn["dtype"]) if "bdata" in drawn else drawn
            assert len(values) and any(value is not None for value in np.ravel(np.array(values, object))), chart[1]


def test_chromium_shows_it_without_errors(page, tmp_path):
    browser = browser_path()
    if browser is None:
        pytest.skip("no Chromium; CONCEPTREEL_TEST_BROWSER=required makes that a failure")
    (tmp_path / "report.html").write_text(page.replace("<body>", "<body>" + PROBE, 1))
    done = subprocess.run(
        [
            browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--window-size=1200,900", "--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}",
            "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", f"file://{tmp_path / 'report.html'}",
        ],
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    answer = json.loads(re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)[1].replace("&gt;", ">"))
    assert answer["problems"] == []
    assert len(answer["shown"]) > 20 and min(answer["shown"]) > 8
    assert len(answer["charts"]) > 8
    for name, marks, height in answer["charts"]:
        assert marks > 3 and height > 100, name
    assert answer["wide"] <= 1200


def test_figures_of_the_checks(reported):
    results = reported.folder / "results" / "small"
    found = json.loads(reported.command("sanity", "results/small/model.pt", "--json").stdout)
    assert set(found) == {"backwards", "frozen", "scene_swapped", "labels_shuffled"}
    assert found["frozen"]["shift_motion"] > 0 and found["backwards"]["n_videos"] == 8
    # A concept whose labels belong to other videos means less than a true one.
    table = pq.read_table(results / "explain/retrained.parquet").to_pylist()
    meaning = {row["run"]: row["value"] for row in table if row["figure"] == "meaning_scene"}
    assert meaning["shuffled"] < meaning["model"] and meaning["seed"] > meaning["shuffled"]
    arrays, about = read_arrays(results / "demo/counterfactuals.zarr.zip")
    cached, described = read_arrays(results / "bottleneck/activations.zarr.zip")
    rows = [described["video_id"].index(key) for key in about["video_id"]]
    # A clip that is rendered again without the video file between looks the same to the model.
    assert np.abs(arrays["z"][0] - cached["z"][rows]).mean() < 0.15
    assert np.abs(arrays["z"][1:] - arrays["z"][:1]).mean() > 0.3
    matrix, about = read_arrays(results / "demo/faithfulness.zarr.zip")
    assert matrix["response"].shape == (3, 3) and (np.diag(matrix["response"]) > 0).all()


def test_checks_of_another_model_are_not_shown(reported, make_workspace, tmp_path):
    shutil.copytree(reported.folder, tmp_path / "run", symlinks=True)
    workspace = make_workspace(tmp_path / "run")
    config = workspace.config()
    config["datasets"]["small"]["bottleneck"]["classifier"]["alpha"] = 0.5
    workspace.configure(config)
    done = workspace.command("sanity", "results/small/model.pt", check=False)
    assert done.returncode == 2 and "is stale" in done.stderr and not done.stdout
    (workspace.folder / "config.yaml").unlink()
    path = workspace.folder / "results/small/bottleneck/activations.zarr.zip"
    path.write_bytes((workspace.folder / "results/small/demo/truth.zarr.zip").read_bytes())
    done = workspace.command("sanity", "results/small/model.pt", check=False)
    assert done.returncode == 0  # the table says which model it is of; the activations are not asked
    done = workspace.command("failures", "results/small/model.pt", check=False)
    assert done.returncode == 2 and "is stale" in done.stderr


def test_the_notebook_runs(finished, project, monkeypatch):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("CONCEPTREEL_RUN", str(finished.folder / "results" / "small"))
    monkeypatch.setenv("PYTHONPATH", str(project))
    notebook = nbformat.read(project / "docs" / "explain.ipynb", 4)
    done = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(finished.folder)}}
    ).execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 1
    assert sum("text/html" in output.get("data", {}) for output in outputs) >= 3


def test_snakemake_knows_the_report(reported):
    """The page and the pictures are in Snakemake's own report too."""
    target = reported.folder / "snakemake.html"
    reported.snakemake(TARGET, "results/small/explain/explanations.png", "--report", str(target))
    text = target.read_text()
    assert "report.html" in text and "motion_concepts.png" in text
