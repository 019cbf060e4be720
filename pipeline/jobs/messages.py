"""What Snakemake says of jobs, in lines that a person reads: it would print all settings of a job that failed.

Only the standard library is imported here: the Snakefile calls this while it is parsed.
"""

from __future__ import annotations

import logging
from pathlib import Path

from pipeline.jobs import joblog

UNEXPLAINED = "killed without a word: out of memory, a time limit, or the machine went down"


def job_in_words(rule: str, logs: list[str]) -> str:
    """A job as people name it: ``poses 003-of-064``.

    Args:
        logs: its own log first: results/<data set>/logs/<stage>.log, or logs/<stage>/<shard>.log.
    """
    place = Path(logs[0]) if logs else Path()
    return f"{rule} {place.stem}" if place.parent.name == rule else rule


def failed_in_words(rule: str, logs: list[str], told: bool) -> str:
    """One line on a job that failed: which, its last error, and where to read on.

    Args:
        logs: of the job, its own first.
        told: whether the job itself has said why, on the same terminal.
    """
    place = Path(logs[0]) if logs else None
    log = joblog.read(place) if place else None
    words = f"failed: {job_in_words(rule, logs)}"
    error = log.error if log else ""
    if not (told and error):
        words += f": {error or UNEXPLAINED}"
    return f"{words} (log: {place})" if place else words


class ShortMessages(logging.Filter):
    """A filter of Snakemake's logger: a failed job is one line, and so is a job of a quiet run.

    Args:
        on_cluster: jobs run elsewhere, and what they print is not seen here.
        quiet: of jobs that start, Snakemake itself would print nothing.

    Attributes:
        said: errors that have been printed.
    """

    def __init__(self, on_cluster: bool, quiet: bool = False):
        super().__init__()
        self.said: set[str] = set()
        self._told, self._quiet = not on_cluster, quiet

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(getattr(record, "event", None), "name", "")
        if event == "JOB_ERROR":
            record.msg, record.args = failed_in_words(record.rule_name, record.log, self._told), ()
            record.event = None  # else it is laid out as a list of settings, and a quiet run leaves it out
        elif event == "JOB_INFO" and self._quiet:
            record.msg, record.args = f"started: {job_in_words(record.rule_name, record.log)}", ()
            record.event = None  # else a quiet run says nothing until it ends
        if event != "ERROR":
            return True
        text = " ".join(record.getMessage().split())  # Snakemake indents what it repeats
        # What a job that failed was called with; its error has been told.
        return "CalledProcessError" not in text and not any(" ".join(said.split()) in text for said in self.said)
