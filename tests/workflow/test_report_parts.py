"""A report is made of whatever a finished run has; a section that cannot be made says why, and stops no other one."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.config import dataset, load
from pipeline.jobs import stage
from pipeline.methods.dance.bottleneck.recogniser import read_model
from pipeline.methods.dance.explain import report
from pipeline.rules.graph import STAGES, settings_json
from pipeline.store.arrays import read_arrays, write_arrays

pytestmark = pytest.mark.slow

SECTIONS = (
    *("accuracy", "classes", "pairs", "motion", "words", "samples", "edits", "faithful", "sanity", "quality"),
    "costs",
)
FEW = {"max_concepts": 2, "failures": 2, "pairs": 1}


class Run:
    """The results of a small run, of which a test may change some, and its report."""

    def __init__(self, folder):
        self.folder = folder
        section = dataset(load(folder / "config.yaml"), "small")
        self.settings = {**json.loads(settings_json(section, "report")), **FEW}
        self.inputs = {
            name: sorted(
                (folder / "results/small").glob(STAGES[read.stage].writes[read.output].replace("{shard}", "*"))
            )
            for name, read in STAGES["report"].reads.items()
        }

    def page(self) -> str:
        arguments = ["--dataset", "small", "--settings", json.dumps(self.settings)]
        for name, paths in self.inputs.items():
            arguments += ["--input", name, *map(str, paths)]
        out = self.folder / "report.html"
        job = stage.Job(
            "report", report.__name__, stage.parser().parse_args([*arguments, "--output", "report", str(out)])
        )
        report.build(job)
        return out.read_text()

    def with_rows(self, chosen) -> None:
        """Keep the videos of which ``chosen(split, label)`` is true, as if the others had never been."""
        (path,), (model_path,) = self.inputs["activations"], self.inputs["model"]
        arrays, attributes = read_arrays(path)
        n = len(attributes["video_id"])
        rows = [row for row in range(n) if chosen(attributes["split"][row], int(arrays["label"][row]))]
        arrays = {name: value[rows] if len(value) == n else value for name, value in arrays.items()}
        content = {
            name: [value[row] for row in rows] if isinstance(value, list) and len(value) == n else value
            for name, value in attributes.items()
            if name not in ("content_digest", "provenance")
        }
        path.unlink()
        digest = write_arrays(path, arrays, content, attributes["provenance"])
        model = read_model(model_path)
        model_path.unlink()
        replace(model, about={**model.about, "activations": digest}).save(model_path)


@pytest.fixture
def run(workspace, monkeypatch) -> Run:
    monkeypatch.chdir(workspace.folder)
    return Run(workspace.folder)


def broken(page: str) -> set[str]:
    """Sections that say that they cannot be made."""
    parts = re.split(r'<section id="(\w+)">', page)[1:]
    return {name for name, text in zip(parts[::2], parts[1::2], strict=True) if report.CANNOT in text}


def assert_whole(page: str) -> None:
    assert all(f'<section id="{name}">' in page for name in SECTIONS) and page.rstrip().endswith("</html>")
    assert "Traceback" not in page and "StrictUndefined" not in page


def test_of_a_run_without_checks_nothing_is_missing(run):
    page = run.page()
    assert_whole(page)
    assert broken(page) == set()


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        ("poses", {"quality"}),
        ("classifier", {"accuracy"}),
        ("concept_table", {"quality", "dropped"}),
        ("motion_concepts", {"motion"}),
        ("evaluation", {"accuracy"}),
        ("clips", {"motion", "words", "samples"}),
    ],
)
def test_a_damaged_input_breaks_its_sections_and_no_other(run, name, sections):
    path = run.inputs[name][0]
    path.write_bytes(path.read_bytes()[:200])
    page = run.page()
    assert_whole(page)
    assert broken(page) == sections
    assert page.count("is damaged") + page.count(path.name) >= 1  # the reason, and not only that there is one


def test_figures_that_are_missing(run):
    (path,) = run.inputs["metrics"]
    metrics = json.loads(path.read_text())
    for name in ("unseen", "top1_at_nec"):
        del metrics[name]
    path.write_text(json.dumps(metrics))
    page = run.page()
    assert_whole(page)
    assert broken(page) == {"accuracy"}


@pytest.mark.parametrize("left_out", [("poses", "pose_clips"), ("maps",), ("clips",), ("evaluation",)])
def test_what_a_run_does_not_have_is_left_out(run, left_out):
    for name in left_out:
        run.inputs[name] = []
    page = run.page()
    assert_whole(page)
    assert broken(page) == set()


@pytest.mark.parametrize("shown", [lambda split, label: split != "test" or label, lambda split, label: split != "test"])
def test_classes_without_test_videos(run, shown):
    run.with_rows(shown)
    page = run.page()
    assert_whole(page)
    assert broken(page) == set()


@pytest.mark.parametrize("kind", ["motion", "object", "scene"])
def test_one_type_of_concept(run, kind):
    (path,), (model_path,) = run.inputs["activations"], run.inputs["model"]
    model = read_model(model_path)
    model_path.unlink()
    keep = [m for m, own in enumerate(model.types) if own == kind]
    whole = [m for m in keep if m < model.n_whole]
    layer = {}
    for name, value in model.layer.items():
        if name == "weight":
            layer[name] = value[whole]
        elif name in ("map_weight", "heat"):
            places = [m - model.n_whole for m in keep if m >= model.n_whole]
            if places:
                layer[name] = value[places] if name == "map_weight" else value[:, places]
        else:
            layer[name] = value[..., keep]
    about = {name: value for name, value in model.about.items() if name != "maps" or "map_weight" in layer}
    arrays, attributes = read_arrays(path)
    arrays["z"] = arrays["z"][:, keep]
    content = {name: value for name, value in attributes.items() if name not in ("content_digest", "provenance")}
    path.unlink()
    about["activations"] = write_arrays(path, arrays, content, attributes["provenance"])
    about["doubt"] = [model.doubt[m] for m in keep]
    replace(
        model,
        concepts=[model.concepts[m] for m in keep],
        types=[kind] * len(keep),
        layer=layer,
        weight=np.ascontiguousarray(model.weight[:, keep]),
        medoids=model.medoids if kind == "motion" else model.medoids[:0],
        about=about,
    ).save(model_path)
    page = run.page()
    assert page.rstrip().endswith("</html>") and broken(page) == set()
    assert ('<section id="motion">' in page) == (kind == "motion") == ('<section id="words">' not in page)
