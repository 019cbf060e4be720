"""Asking a language model behind an OpenAI-compatible endpoint, with every answer kept.

The key is read from the environment when a request is sent; it is in no settings, no cache, no log and no message.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx2
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt

from pipeline.store.plain import write_json
from pipeline.store.provenance import canonical, digest_of

ATTEMPTS = 5
FIRST_WAIT = 2.0
LONGEST_WAIT = 60.0
TIMEOUT = 120.0
# A list of short texts is a few kilobytes; whatever sends more is no such endpoint.
MOST_BYTES = 1 << 20
# Overload, time limits and errors of the server go away; everything else would be answered alike the next time.
_TRANSIENT = (408, 409, 425, 429, 500, 502, 503, 504)


class EndpointError(RuntimeError):
    """The endpoint gives no usable answer; the message says what to do."""


class _Again(Exception):
    """A failure that may go away: reason, and seconds that the server asked to wait."""

    def __init__(self, reason: str, wait: float = 0.0):
        super().__init__(reason)
        self.wait = wait


def _wait(state: RetryCallState) -> float:
    return min(LONGEST_WAIT, max(FIRST_WAIT * 2 ** (state.attempt_number - 1), state.outcome.exception().wait))


@dataclass(frozen=True)
class Endpoint:
    """A chat endpoint.

    Attributes:
        url: base address, such as ``https://api.openai.com/v1``; ``/chat/completions`` is added.
        model: name of the model there.
        key_variable: environment variable with the key; empty for a server that wants none.
        temperature: of the sampling.
        sleep: waits between two attempts.
    """

    url: str
    model: str
    key_variable: str = "OPENAI_API_KEY"
    temperature: float = 0.2
    sleep: Callable[[float], None] = time.sleep

    def complete(self, prompt: str) -> str:
        """The text of one answer.

        Raises:
            EndpointError: no key, refused, or no answer after several attempts.
        """
        if not self.url.startswith(("http://", "https://")):
            raise EndpointError(
                f"context.candidates.url is `{self.url}`; it must be the base address of an OpenAI-compatible server, "
                f"such as http://localhost:8000/v1"
            )
        question = {
            "model": self.model,
            "temperature": self.temperature,
            "messages": [{"role": "user", "content": prompt}],
        }
        attempts = Retrying(
            retry=retry_if_exception_type(_Again),
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            return _text_of(attempts(_send, self.url.rstrip("/") + "/chat/completions", self._headers(), question))
        except _Again as error:
            raise EndpointError(f"{self.url} gave no answer after {ATTEMPTS} attempts: {error}") from None

    def _headers(self) -> dict[str, str]:
        if not self.key_variable:
            return {}
        key = os.environ.get(self.key_variable, "").strip()
        if not re.fullmatch(r"[!-~]+", key):  # anything else cannot be sent, and the error would show it
            raise EndpointError(
                f"the environment variable {self.key_variable} holds no key for {self.url}; set it, or set "
                f'context.candidates.key_variable to "" for a server that needs none'
            )
        return {"Authorization": f"Bearer {key}"}


def _send(address: str, headers: dict[str, str], question: dict) -> bytes:
    # Redirects are not followed: one would carry the key to another server.
    try:
        with httpx2.stream("POST", address, json=question, headers=headers, timeout=TIMEOUT) as answer:
            body = next(answer.iter_bytes(MOST_BYTES), b"")
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise _Again(str(error) or type(error).__name__) from None
    if answer.is_success:
        return body
    words = " ".join(body[:300].decode(errors="replace").split())
    if answer.status_code in _TRANSIENT:
        asked = answer.headers.get("Retry-After", "")
        raise _Again(f"HTTP {answer.status_code} {words}", float(asked) if asked.isdecimal() else 0.0)
    hint = "; is the key valid?" if answer.status_code in (401, 403) else ""
    raise EndpointError(f"{address} refused with HTTP {answer.status_code}{hint} {words}".rstrip())


def _text_of(body: bytes) -> str:
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise EndpointError(
            f"the answer is not from a chat endpoint: {body[:200].decode(errors='replace')!r}"
        ) from None
    if not isinstance(text, str):
        raise EndpointError("the answer of the endpoint holds no text")
    return text


_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


def parse_list(answer: str) -> list[str]:
    """Texts of an answer that is a JSON list of texts, perhaps inside a code fence.

    Raises:
        ValueError: it is anything else; prose is never taken apart, because its fragments would become concepts.
    """
    fenced = _FENCE.search(answer)
    try:
        value = json.loads((fenced[1] if fenced else answer).strip())
    except ValueError:
        raise ValueError("it is not JSON") from None
    if not isinstance(value, list) or not value:
        raise ValueError("it is not a list" if not isinstance(value, list) else "the list is empty")
    if not all(isinstance(item, str) and item.strip() for item in value):
        raise ValueError("the list holds something other than texts")
    return [" ".join(item.split()) for item in value]


def ask_list(endpoint: Endpoint, prompt: str, cache: Path, turn: int = 0) -> list[str]:
    """A list of texts, from the cache if this question was answered before.

    Args:
        cache: folder with one JSON file per question, named by the digest of what was asked.
        turn: the same question may be asked several times; each turn has its own answer.

    Raises:
        EndpointError: no answer, or an answer that is not a list; then nothing is kept.
    """
    asked = {"model": endpoint.model, "temperature": endpoint.temperature, "prompt": prompt, "turn": turn}
    place = cache / f"{digest_of(asked)}.json"
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if canonical(kept["asked"]) == canonical(asked):
            return parse_list(kept["answer"])
    except (OSError, ValueError, LookupError, TypeError):
        pass  # never asked, or a file that was damaged: ask again
    answer = endpoint.complete(prompt)
    try:
        found = parse_list(answer)
    except ValueError as error:
        raise EndpointError(
            f"the answer of {endpoint.model} is not a list of texts ({error}): {' '.join(answer.split())[:200]!r}; "
            f"the question was: {prompt}"
        ) from None
    cache.mkdir(parents=True, exist_ok=True)
    write_json(place, {"asked": asked, "answer": answer})
    return found
