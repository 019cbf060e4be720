from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys

import pytest

from pipeline.jobs import joblog

NOW = 2_000_000_000.0


def write(path, *lines, started=None, ended=None):
    """A log as a job leaves it; ``started`` and ``ended`` are records, given as dictionaries."""
    text = [f"2033-05-18 03:33:20,000 {line}" for line in lines]
    if started is not None:
        record = {"time": NOW - 100, "pid": 1, "host": "elsewhere", "slurm": "", "mem_mb": 4000, "minutes": 30}
        text.insert(0, f"2033-05-18 03:31:40,000 INFO started {json.dumps(record | started)}")
    if ended is not None:
        text.append(f"2033-05-18 03:33:20,000 INFO ended {json.dumps(ended)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(text) + "\n")
    return path


def test_a_finished_job(tmp_path):
    ended = {"outcome": "ok", "seconds": 61.5, "peak_mb": 812}
    log = joblog.read(write(tmp_path / "a.log", "INFO wrote x", started={"slurm": "12_3"}, ended=ended), NOW)
    assert (log.state, log.error, log.slurm, log.seconds, log.peak_mb) == ("ok", "", "12_3", 61.5, 812)
    assert (log.asked_mb, log.asked_minutes) == (4000, 30)


def test_the_error_is_the_end_of_a_stack_trace_or_the_line_itself(tmp_path):
    failed = {"outcome": "failed", "seconds": 1, "peak_mb": 1}
    trace = "ERROR poses failed in its code:\nTraceback (most recent call last):\n  File x\nValueError: no such axis\n"
    log = joblog.read(write(tmp_path / "a.log", trace, started={}, ended=failed), NOW)
    assert (log.state, log.error) == ("failed", "ValueError: no such axis")
    log = joblog.read(write(tmp_path / "b.log", "ERROR index: lists are empty", started={}, ended=failed), NOW)
    assert log.error == "index: lists are empty"
    several = "ERROR decode: 3 of 4 videos failed, raise the limit:\n  a: damaged\n  b: damaged"
    assert joblog.read(write(tmp_path / "c.log", several, started={}, ended=failed), NOW).error.startswith("decode: 3")


@pytest.mark.parametrize(("silent", "state"), [(30, "running"), (600, "killed")])
def test_on_another_host_the_age_of_the_log_tells_whether_the_job_lives(tmp_path, silent, state):
    path = write(tmp_path / "a.log", started={})
    os.utime(path, (NOW - silent, NOW - silent))
    log = joblog.read(path, NOW)
    assert (log.state, log.seconds) == (state, 100 if state == "running" else 0)


def test_on_this_host_the_process_tells(tmp_path):
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "pipeline.motion.poses"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()  # it has begun
        path = write(tmp_path / "a.log", started={"host": socket.gethostname(), "pid": process.pid})
        os.utime(path, (0, 0))  # a clock that jumped changes nothing
        assert joblog.read(path, NOW).state == "running"
        process.kill()
    assert joblog.read(path, NOW).state == "killed"


def test_what_is_no_log(tmp_path):
    assert joblog.read(tmp_path / "none.log") is None
    (tmp_path / "foreign.log").write_bytes(b"\xff\xfe hello\nINFO started {no json}\n")
    assert joblog.read(tmp_path / "foreign.log") is None
    (tmp_path / "early.log").write_text("2033-05-18 03:33:20,000 ERROR poses: no such file\n")
    assert joblog.read(tmp_path / "early.log").error == "poses: no such file"


def test_an_end_far_behind_a_long_log_is_found(tmp_path):
    noise = "\n".join(["WARNING x"] * 40_000)
    log = joblog.read(write(tmp_path / "a.log", noise, started={}, ended={"outcome": "ok", "seconds": 2}), NOW)
    assert (log.state, log.asked_mb) == ("ok", 4000)


def test_a_reporter_writes_what_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "7")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    path = tmp_path / "a.log"
    handler = logging.FileHandler(path)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    joblog.logger.addHandler(handler)
    joblog.logger.setLevel(logging.INFO)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with joblog.Reporter(path, {"mem_mb": 500, "minutes": 5}) as reporter:
            assert joblog.read(path).slurm == "7_2"
            with pytest.raises(joblog.Stopped):
                signal.raise_signal(signal.SIGTERM)
            reporter.outcome = "ok"
    finally:
        signal.signal(signal.SIGTERM, before)
        joblog.logger.removeHandler(handler)
    log = joblog.read(path)
    assert (log.state, log.asked_mb, log.asked_minutes) == ("ok", 500, 5)
    assert log.peak_mb > 10
