"""What is left of Snakemake's messages."""

from __future__ import annotations

import json
import logging

import pytest
from snakemake.logging import DefaultFilter, DefaultFormatter
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from pipeline.jobs.messages import UNEXPLAINED, ShortMessages

SETTINGS = "x" * 5000


def shown(messages: ShortMessages, quiet: set, text: str, **extra) -> str:
    """A record as Snakemake would print it, after the filter; empty if it would not."""
    record = logging.makeLogRecord({"msg": text, "levelno": logging.ERROR, "levelname": "ERROR", **extra})
    if not messages.filter(record) or not DefaultFilter(quiet, False, False, False, False).filter(record):
        return ""
    return DefaultFormatter(quiet, False).format(record)


def failure(log) -> dict:
    keys = ("input", "output", "aux", "conda_env", "rule_msg")
    return dict.fromkeys(keys) | {
        "event": LogEvent.JOB_ERROR,
        "rule_name": "poses",
        "jobid": 3,
        "log": [str(log)],
        "shellcmd": SETTINGS,
    }


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "results/own/logs/poses/003-of-064.log"
    path.parent.mkdir(parents=True)
    started = {"time": 0, "pid": 1, "host": "elsewhere"}
    ended = {"outcome": "failed", "seconds": 1, "peak_mb": 1}
    lines = [
        f"INFO started {json.dumps(started)}",
        "ERROR poses: no frame can be read",
        f"INFO ended {json.dumps(ended)}",
    ]
    path.write_text("".join(f"2033-05-18 03:33:20,000 {line}\n" for line in lines))
    return path


@pytest.mark.parametrize(
    "quiet", [set(), {Quietness.RULES}, {Quietness.RULES, Quietness.PROGRESS}], ids=["never", "rules", "progress"]
)
def test_a_failed_job_is_one_line_however_quiet(log, quiet):
    """Its error stands there where the job itself has not printed it, as on a cluster."""
    told = shown(ShortMessages(on_cluster=True), quiet, "Error in rule poses", **failure(log))
    assert told == f"failed: poses 003-of-064: poses: no frame can be read (log: {log})"
    told = shown(ShortMessages(on_cluster=False), quiet, "Error in rule poses", **failure(log))
    assert told == f"failed: poses 003-of-064 (log: {log})"


def test_a_job_without_a_word_is_told(log):
    log.unlink()
    told = shown(ShortMessages(on_cluster=False), set(), "Error in rule poses", **failure(log))
    assert told == f"failed: poses 003-of-064: {UNEXPLAINED} (log: {log})"


def test_settings_of_a_failed_job_are_not_printed():
    text = f"RuleException:\nCalledProcessError in file \"stages.smk\", line 3:\nCommand '{SETTINGS}' returned 1."
    assert shown(ShortMessages(False), set(), text, event=LogEvent.ERROR, exception="RuleException") == ""
    other = "MissingOutputException: a file is missing"
    assert shown(ShortMessages(False), set(), other, event=LogEvent.ERROR, exception="x") == other


def test_what_was_said_is_not_repeated():
    messages = ShortMessages(False)
    messages.said.add("config.yaml:\n  unknown key `moton`")
    text = (
        "InputFunctionException in rule model:\nError:\n  WorkflowError:\n    config.yaml:\n      unknown key `moton`"
    )
    assert shown(messages, set(), text, event=LogEvent.ERROR, exception="x") == ""


def test_a_quiet_run_tells_what_it_does(log):
    quiet = {Quietness.RULES, Quietness.PROGRESS}
    job = {"event": LogEvent.JOB_INFO, "rule_name": "poses", "log": [str(log)]}
    assert shown(ShortMessages(False, quiet=True), quiet, "", **job) == "started: poses 003-of-064"
    assert shown(ShortMessages(False), quiet, "", **job) == ""
