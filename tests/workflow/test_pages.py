"""Every command that a page shows runs: on a small finished run, as a dry run, or, where neither can be, as far as its
parser goes and with a reason. A new command is run unless a reason is given here."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml

from pipeline.ablations.run import comparisons_of
from pipeline.cli import main, parser
from pipeline.config import dataset, load
from pipeline.inspection.cache import place_of
from pipeline.inspection.plan import plan

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [
    PROJECT / "README.md",
    PROJECT / "CONTRIBUTING.md",
    *sorted((PROJECT / "docs").rglob("*.md")),
    *sorted((PROJECT / "pipeline/methods").glob("*/README.md")),
]
COMMAND = re.compile(r"(conceptreel|snakemake)( |$)")

# What names in pages stand for, in a folder with the small run.
STANDS_FOR = (
    (r"results/demo_read", "results/small"),
    (r"results/(demo|mine|my_set|ucf101|graphs_demo|weizmann_small_without_ira)(?=[/ ]|$)", "results/small"),
    (r"\bjack__ira_jack\b", "ball_lift_test_000"),
    # The explorer serves until it is stopped; what it would serve is written instead.
    (r"^conceptreel explore (\S+)$", r"conceptreel explore \1 --export site/"),
    (r"\b000-of-001\b", "000-of-003"),
    (r"\bMODEL\b", "results/small/model.pt"),
    (r"\bINPUT\b", "ball_lift_test_000"),
    (r"--video ID\b", "--video ball_lift_test_000"),
    (r"\bCLASS OTHER\b", "ball_lift ball_squat"),
    (r"diff FIRST SECOND", "diff before results/small"),
    (r"\bNAME\b(?=$)", "keyframes"),
    (r"results/<data set>", "results/small"),
)
# What cannot run here; the first words that fit give the reason. Such a command is parsed all the same.
NOT_RUN = (
    (r"conceptreel fetch", "needs npm and pip; tests/encoding/test_fetch.py has stand-ins"),
    (r"conceptreel (check|leak) ", "needs a published data set; tests/data/test_commands.py has small ones"),
    (r"conceptreel (init|plan) .*my_(set|videos)", "is run by test_own_videos, on a folder that it makes"),
    (r"conceptreel convert ", "needs weights of others; tests/context/test_convert.py has small ones"),
    (r"conceptreel import ", "needs a result of others; tests/methods/dance/exchange has fabricated ones"),
    (r"conceptreel predict-features ", "needs features of others; tests/methods/dance/exchange has fabricated ones"),
    (r"conceptreel export-model .*--format lf-cbm", "needs a model without maps; tests/methods/dance/exchange has one"),
    (r"conceptreel ablate", "takes minutes; tests/workflow/test_ablations.py runs a table, and its name is looked up"),
    (r"conceptreel ablations", "needs tables of `ablate`; tests/workflow/test_ablations.py makes some"),
    (r"conceptreel evaluate .*mimetics", "needs two published data sets; the same of the demo is run"),
    (r"conceptreel sanity", "needs the checks of a report; tests/workflow/test_report.py makes them"),
    (r"conceptreel (intervene|couplings) |results/(breakfast|coin|interventions)", "needs PCMCI; tests/methods/pcmci"),
    (r"conceptreel disentangle ", "needs ProDA; tests/workflow/test_graphs.py has a small run"),
    (r"conceptreel .*(transfer|synta_mini)", "needs Syn-TA; tests/workflow/test_transfer.py has a small run"),
    (r"conceptreel explore .*/proda$", "needs ProDA; tests/explorer/test_figures.py has its rows"),
    (r"conceptreel inspect .*ball_lift_tran_000", "shows a mistake; tests/inspection/test_inspect.py has it"),
)
# Exit codes that say something else than a failure.
TELLING = {"diff": (0, 1), "stale": (0, 1)}
# What is not asked of Snakemake here.
NOT_PLANNED = (
    (r"^snakemake (-n|-p|--report|--lint|--configfile|--config data_root=/my/data)$", "names an option, no target"),
    (r"results/demo/toy/", "needs the method that CONTRIBUTING adds; tests/workflow/test_method.py adds it"),
)


def commands_of(text: str) -> list[str]:
    """Commands in the fenced blocks and the code spans of a page, without comments."""
    found, parts = [], re.split(r"^ *```.*$", text, flags=re.MULTILINE)
    for fenced in parts[1::2]:
        lines = fenced.replace("\\\n", " ").splitlines()
        found += [re.sub(r"\s+# .*", "", line.strip().removeprefix("$ ")) for line in lines]
    for plain in parts[::2]:
        found += re.findall(r"`([^`]+)`", plain.replace("\n", " "))
    return [" ".join(command.split()) for command in found if COMMAND.match(command)]


SHOWN = {
    command: page.relative_to(PROJECT).as_posix() for page in PAGES for command in commands_of(page.read_text("utf-8"))
}
OURS = [command for command in SHOWN if command.startswith("conceptreel ")]
# With its arguments, and not a mention of the command alone.
CALLS = [command for command in OURS if len(command.split()) > 2 or command == "conceptreel stages"]
PLANS = [command for command in SHOWN if command.startswith("snakemake ")]


def reason_not_to(command: str, reasons) -> str:
    return next((why for pattern, why in reasons if re.search(pattern, command)), "")


def standing_for(command: str) -> list[str]:
    for pattern, meant in STANDS_FOR:
        command = re.sub(pattern, meant, command)
    return shlex.split(command)[1:]


def test_pages_show_commands():
    """The patterns above find them at all, and every reason is needed."""
    assert len(CALLS) > 60 and len(PLANS) > 25
    for reasons, commands in ((NOT_RUN, OURS), (NOT_PLANNED, PLANS)):
        for pattern, why in reasons:
            assert any(re.search(pattern, command) for command in commands), why


@pytest.mark.parametrize("command", [command for command in OURS if command not in CALLS])
def test_commands_that_are_mentioned_exist(command):
    with pytest.raises(SystemExit) as end:
        parser().parse_args([command.split()[1], "--help"])
    assert end.value.code == 0, SHOWN[command]


@pytest.fixture(scope="module")
def place(finished, tmp_path_factory) -> Path:
    """A copy of the small run with the files that pages name."""
    folder = tmp_path_factory.mktemp("pages") / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    shutil.copytree(folder / "results/small", folder / "before")
    videos = folder / "results/small/demo/videos"
    for name in ("my.mp4", "clip.mp4"):
        shutil.copy(videos / "ball_lift_test_000.mp4", folder / name)
    return folder


@pytest.fixture(scope="module")
def curated(place, tmp_path_factory) -> Path:
    """The same for commands that change a run, which follow each other."""
    folder = tmp_path_factory.mktemp("curated") / "run"
    shutil.copytree(place, folder, symlinks=True)
    return folder


@pytest.mark.parametrize("command", CALLS)
def test_a_command_of_a_page_runs(command, place, curated, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(place)
    why = reason_not_to(command, NOT_RUN)
    arguments = shlex.split(command)[1:] if why else standing_for(command)
    call = parser().parse_args([argument.partition("|")[0] for argument in arguments])
    if why:
        if arguments[0] == "ablate":
            name = "demo" if call.results.name == "my_set" else call.results.name
            section = dataset(load(PROJECT / "config.yaml"), name)
            assert set(call.table) <= {"all", *comparisons_of(call.method).tables(section)}, SHOWN[command]
        return
    if arguments[0] == "curate":
        monkeypatch.chdir(curated)
    for option in ("out", "save", "export"):  # several pages may name the same place
        if not getattr(call, option, None):
            continue
        at = arguments.index(f"--{option}") + 1
        arguments[at] = str(tmp_path / arguments[at].strip("/").replace("/", "_"))
    code = main(arguments)
    captured = capsys.readouterr()
    assert code in TELLING.get(arguments[0], (0,)), f"{SHOWN[command]}: {captured.err}"
    assert captured.out.strip() and "Traceback" not in captured.err


def test_own_videos(place, project, tmp_path, monkeypatch, capsys):
    """What the page about own videos shows, on videos with its names; the run itself is planned."""
    page = (project / "docs/datasets/own_videos.md").read_text()
    tree, shown = re.findall(r"^```\w*\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:2]
    monkeypatch.chdir(tmp_path)
    videos = iter(sorted((place / "results/small/demo/videos").glob("*.mp4")))
    for name in tree.split("\n")[:-1]:
        folder = tmp_path / Path(name).parent
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(videos), tmp_path / name)
        for more in range(8):
            shutil.copy(next(videos), folder / f"{Path(name).stem}_{more}.mp4")
    for command in commands_of(f"```\n{shown}```"):
        if command.startswith("conceptreel"):
            assert main(shlex.split(command)[1:]) == 0, command
        else:
            target = command.split()[-1]
            assert len(plan(place_of(Path(target))).jobs) > 10
    assert "my_set" in yaml.safe_load((tmp_path / "config.yaml").read_text())["datasets"]
    assert main(["check", "my_set"]) == 0


def expanded(text: str) -> list[str]:
    """Braces as a shell expands them; none is nested."""
    parts = re.split(r"\{([^}]*)\}", text)
    return [
        "".join(chosen) for chosen in product(*(part.split(",") if at % 2 else [part] for at, part in enumerate(parts)))
    ]


@pytest.fixture(scope="module")
def planning(tmp_path_factory) -> Path:
    """A folder without data, with the project's configuration and the data sets that pages make up."""
    folder = tmp_path_factory.mktemp("planning")
    config = yaml.safe_load((PROJECT / "config.yaml").read_text())
    own = {"data": {"index": {"source": "folders", "test_fraction": 0.2, "validation_by": "video"}}}
    config["datasets"] |= {"my_set": own, "my_fold": {"dataset": "ucf101", "data": {"index": {"official_split": 2}}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.parametrize("command", [command for command in PLANS if not reason_not_to(command, NOT_PLANNED)])
def test_a_target_of_a_page_can_be_planned(command, planning, monkeypatch):
    from snakemake.cli import parse_args

    # A profile of a site's own: tests/workflow/test_profile.py takes that of the page.
    meant = command.replace(" --profile my_site", "").replace("…", "data").replace("<data set>", "demo")
    words = [word for word in shlex.split(meant)[1:] if word != "data"]
    monkeypatch.chdir(PROJECT)  # where profiles are
    _, given = parse_args([name for word in words for name in expanded(word)])
    assert given.targets, SHOWN[command]
    monkeypatch.chdir(planning)
    for target in given.targets:
        assert plan(place_of(Path(target))).jobs, f"{SHOWN[command]}: {target}"
