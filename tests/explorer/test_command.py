"""``conceptreel explore`` as people start it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from pipeline.cli import main


def get(address: str, cookie: str = ""):
    request = urllib.request.Request(address, headers={"cookie": cookie})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay())
    return opener.open(request, timeout=60)


class Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are looked at and not followed."""

    def redirect_request(self, *_):
        return None


def test_it_serves_until_it_is_interrupted(small_run, project):
    command = [sys.executable, "-m", "pipeline.cli", "explore", str(small_run), "--no-browser"]
    environment = {**os.environ, "PYTHONPATH": str(project), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        try:
            address = server.stdout.readline().strip()
            found = re.fullmatch(r"(http://127\.0\.0\.1:(\d+))/\?token=[\w-]{32}", address)
            assert found, address
            host, port = found.groups()
            with pytest.raises(urllib.error.HTTPError) as redirected:
                get(address)
            assert redirected.value.code == 303
            cookie = redirected.value.headers["set-cookie"].partition(";")[0]
            assert cookie.startswith(f"conceptreel_{port}=")
            with get(f"{host}/data/explore.json", cookie) as answer:
                assert json.loads(answer.read())["title"] == "small"
                assert "server" not in answer.headers
            with pytest.raises(urllib.error.HTTPError) as refused:
                get(f"{host}/data/explore.json")
            assert refused.value.code == 401
        finally:
            server.send_signal(signal.SIGINT)
            told = server.communicate(timeout=60)[1]
    assert server.returncode == 0 and told == ""


def test_parsing_the_command_loads_no_heavy_library(project):
    """The first words come at once; what takes a second is loaded while the browser opens."""
    code = (
        "import sys; from pipeline.cli import parser; parser().parse_args(['explore', 'x']); "
        "import pipeline.explorer.server, pipeline.methods.dance.explore.run; "
        "print([name for name in ('torch', 'zarr', 'scipy', 'cv2', 'matplotlib', 'plotly') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=project, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_page_needs_no_library_of_pictures_to_begin(small_run, project):
    """What every page reads first; frames, plots and networks come when a clip is opened."""
    code = (
        "import sys; from pathlib import Path; from pipeline.methods.registry import METHODS; "
        "from pipeline.methods.dance.explore.run import open_run; "
        "run = open_run(Path(sys.argv[1]), METHODS['dance']); run.warm(); run.read('data/explore.json', True); "
        "print([name for name in ('sklearn', 'matplotlib', 'plotly', 'transformers', 'av') if name in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(small_run)], cwd=project, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "65536"], "invalid port value"),
        (["--port", "-1"], "invalid port value"),
        (["--port", "http"], "invalid port value"),
        (["--upload-mib", "0"], "invalid positive value"),
        (["--upload-seconds", "nan"], "invalid positive value"),
    ],
)
def test_numbers_that_cannot_be_are_refused(small_run, capsys, options, words):
    with pytest.raises(SystemExit):
        main(["explore", str(small_run), *options])
    assert words in capsys.readouterr().err


def test_a_folder_without_a_run_is_told(tmp_path, capsys):
    assert main(["explore", str(tmp_path)]) == 2
    assert "has no metrics.json" in capsys.readouterr().err
