"""The explorer's server: the files of the page, those of the run, and the few actions that change something."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from pipeline.explorer.files import page_files, type_of
from pipeline.explorer.limits import MESSAGE_BYTES, MIB, NAME_LETTERS, UPLOAD_MIB, UPLOAD_SECONDS
from pipeline.explorer.session import Guard, Session
from pipeline.methods.explored import Explored, Refused, Upload
from pipeline.settings import ConfigError
from pipeline.store.atomic import ArtifactError, StageError
from pipeline.store.names import NameUnknown
from pipeline.store.plain import as_json

# What a person can put right, and may therefore read.
TOLD = (Refused, ArtifactError, ConfigError, StageError, NameUnknown, OSError)


def _json(value: Any, status: int = 200) -> Response:
    return Response(as_json(value, None), status, media_type="application/json")


def refused(status: int, words: str) -> Response:
    """A failure: one line of JSON."""
    return _json({"error": " ".join(words.split())}, status)


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    await refused(*scope["refused"])(scope, receive, send)


async def _limited(request: Request, limit: int, take: Callable[[bytes], Any]) -> None:
    """Hand a request's body over in parts, unless it is larger than ``limit`` bytes.

    Raises:
        HTTPException: it is too large, or says nothing of its size: a browser always does.
    """
    said = request.headers.get("content-length", "")
    if not said.isascii() or not said.isdigit():
        raise HTTPException(411, "the size of what is sent must be said before")
    if len(said) > 15 or int(said) > limit:
        raise HTTPException(413, f"at most {limit / MIB:g} MiB are taken here")
    received = 0
    async for part in request.stream():
        received += len(part)
        if received > limit:
            raise HTTPException(413, f"at most {limit / MIB:g} MiB are taken here")
        take(part)


class Answers:
    """The routes of one run.

    Attributes:
        upload_bytes, upload_seconds: the most that a file of the person's own may have and take.
    """

    def __init__(self, explored: Explored, session: Session, upload_bytes: int, upload_seconds: float):
        self.explored, self.session = explored, session
        self.upload_bytes, self.upload_seconds = upload_bytes, upload_seconds
        self.page = page_files()
        # One at a time: each decodes a video and runs a network.
        self.trying = threading.Lock()

    def routes(self) -> list[Route]:
        return [
            Route("/", self.opening, methods=["GET"]),
            Route("/api/try", self.attempt, methods=["POST"]),
            Route("/api/{action}", self.act, methods=["GET", "POST"]),
            Route("/{name:path}", self.file, methods=["GET"]),
        ]

    async def opening(self, request: Request) -> Response:
        token = request.query_params.get("token")
        if token is None:
            return self._page("index.html")
        if not self.session.opens(token):
            return refused(401, "this token is of another run of the explorer; open the address that it printed")
        return RedirectResponse("/", 303, {"set-cookie": self.session.set_cookie})

    def _page(self, name: str) -> Response:
        return Response(self.page[name].read_bytes(), headers={"content-type": type_of(name)})

    def file(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name in self.page:
            return self._page(name)
        content = self.explored.read(name, live=True)
        if content is None:
            return refused(404, "there is no such file")
        return Response(content, headers={"content-type": type_of(name)})

    async def act(self, request: Request) -> Response:
        actions = self.explored.actions()
        action = request.path_params["action"]
        if action not in actions or request.method != ("GET" if action == "state" else "POST"):
            return refused(404, "there is no such action")
        told: Any = {}
        if request.method == "POST":
            parts: list[bytes] = []
            await _limited(request, MESSAGE_BYTES, parts.append)
            try:
                told = json.loads(b"".join(parts))
            except (ValueError, RecursionError):
                return refused(400, "what was sent is no JSON")
        return _json(await run_in_threadpool(actions[action], told))

    async def attempt(self, request: Request) -> Response:
        # Headers hold no letters beyond Latin-1, so a page sends the name as a part of an address.
        name = unquote(request.headers.get("x-filename", ""))
        suffix = Path(name).suffix.lower()
        if suffix not in self.explored.suffixes:
            known = ", ".join(self.explored.suffixes)
            return refused(415, f"a file whose name ends in {known} is wanted" if known else "this run takes no files")
        if not self.trying.acquire(blocking=False):
            return refused(429, "another file is being looked at; try again when it is done")
        folder = Path(tempfile.mkdtemp(prefix="conceptreel-"))
        try:
            path = folder / f"file{suffix}"
            with path.open("xb") as file:
                async with asyncio.timeout(self.upload_seconds):
                    await _limited(request, self.upload_bytes, file.write)
            upload = Upload(path, name[:NAME_LETTERS], self.upload_seconds)
            return _json(await run_in_threadpool(self.explored.attempt, upload))
        except TimeoutError:
            return refused(408, "it takes longer to arrive than --upload-seconds allows")
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self.trying.release()


def application(
    explored: Explored, session: Session, upload_bytes: int = UPLOAD_MIB * MIB, upload_seconds: float = UPLOAD_SECONDS
) -> ASGIApp:
    """The server of one run."""

    async def told(_: Request, error: Exception) -> Response:
        return refused(400, str(error))

    async def http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return refused(error.status_code, str(error.detail))

    async def left(_: Request, __: Exception) -> Response:
        return refused(400, "the sender has left")

    async def unexpected(_: Request, error: Exception) -> Response:
        return refused(500, f"the explorer has failed: {type(error).__name__}")

    app = Starlette(
        routes=Answers(explored, session, upload_bytes, upload_seconds).routes(),
        exception_handlers={
            HTTPException: http,
            ClientDisconnect: left,
            Exception: unexpected,
            **dict.fromkeys(TOLD, told),
        },
    )
    # Around everything, so that failures are sealed too.
    return Guard(app, session, _refuse)


def bind(port: int) -> socket.socket:
    """A loopback socket that listens already, so that the printed address can be opened at once.

    Args:
        port: 0 for any that is free.

    Raises:
        StageError: the port is taken.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise StageError(f"port {port} cannot be used ({error.strerror}); take another with --port, or none") from None
    return listening


def serve(app: ASGIApp, listening: socket.socket) -> None:
    """Answer until the process is interrupted."""
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=2,
    )
    # It raises the interrupt once more when it has shut down.
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])
