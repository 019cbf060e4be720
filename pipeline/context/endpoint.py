"""Asking a language model behind an OpenAI-compatible endpoint, with every answer kept.

The key is read from the environment when a request is sent; it is in no settings, no cache, no log and no message.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.store.atomic import replace_when_done
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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another server."""

    def redirect_request(self, *_: Any) -> None:
        return None


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
        request = self._request(prompt)
        for attempt in range(ATTEMPTS - 1):
            try:
                return _text_of(_send(request))
            except _Again as error:
                self.sleep(min(LONGEST_WAIT, max(FIRST_WAIT * 2**attempt, error.wait)))
        try:
            return _text_of(_send(request))
        except _Again as error:
            raise EndpointError(f"{self.url} gives no answer after {ATTEMPTS} attempts: {error}") from None

    def _request(self, prompt: str) -> urllib.request.Request:
        if not self.url.startswith(("http://", "https://")):
            raise EndpointError(
                f"context.candidates.url is `{self.url}`; it must be the base address of an OpenAI-compatible server, "
                f"such as http://localhost:8000/v1"
            )
        headers = {"Content-Type": "application/json"}
        if self.key_variable:
            key = os.environ.get(self.key_variable, "").strip()
            if not key:
                raise EndpointError(
                    f"the environment variable {self.key_variable} holds no key for {self.url}; set it, or set "
                    f'context.candidates.key_variable to "" for a server that needs none'
                )
            headers["Authorization"] = f"Bearer {key}"
        body = {
            "model": self.model,
            "temperature": self.temperature,
            "messages": [{"role": "user", "content": prompt}],
        }
        address = self.url.rstrip("/") + "/chat/completions"
        return urllib.request.Request(address, json.dumps(body).encode(), headers)


def _send(request: urllib.request.Request) -> bytes:
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return answer.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        words = " ".join(error.read(300).decode(errors="replace").split())
        if error.code in _TRANSIENT:
            asked = error.headers.get("Retry-After", "")
            raise _Again(f"HTTP {error.code} {words}", float(asked) if asked.isdecimal() else 0.0) from None
        hint = "; is the key valid?" if error.code in (401, 403) else ""
        raise EndpointError(f"{request.full_url} refuses with HTTP {error.code}{hint} {words}".rstrip()) from None
    except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
        raise _Again(str(getattr(error, "reason", None) or error or type(error).__name__)) from None


def _text_of(body: bytes) -> str:
    try:
        text = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        raise EndpointError(f"the answer is none of a chat endpoint: {body[:200].decode(errors='replace')!r}") from None
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
        raise ValueError("the list holds something else than texts")
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
            f"asked was: {prompt}"
        ) from None
    cache.mkdir(parents=True, exist_ok=True)
    with replace_when_done(place) as temporary:
        temporary.write_text(json.dumps({"asked": asked, "answer": answer}, indent=2, ensure_ascii=False) + "\n")
    return found
