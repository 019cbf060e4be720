"""Who may talk to the explorer: programs on this machine that know the token, and pages that the explorer sent.

A page of another host can send requests to a loopback port, and by DNS rebinding under a name of its own. So the host
must be a loopback name with the port, the origin (where a browser sends one) the same, and a cookie that only the
printed address gives must come along; it is of this process alone.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A method's own page has its scripts inside; it is shut into an origin of its own, without a way to this one.
PAGE_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"
)
PAGES = "/pages/"
# A page can set it only where the browser lets it talk to this origin.
MARK = "x-conceptreel"


@dataclass(frozen=True)
class Session:
    """Secrets of one run of the server.

    Attributes:
        port: that it listens on; token: in the printed address; cookie: what the browser shows from then on.
    """

    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(24))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Values of ``Host`` that mean this machine."""
        return tuple(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost", "[::1]"))

    @property
    def name(self) -> str:
        """Of the cookie: browsers share cookies among the ports of a host."""
        return f"conceptreel_{self.port}"

    @property
    def address(self) -> str:
        return f"http://{self.hosts[0]}/?token={self.token}"

    @property
    def set_cookie(self) -> str:
        return f"{self.name}={self.cookie}; Path=/; HttpOnly; SameSite=Strict"

    def opens(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.token.encode())

    def knows(self, cookies: str) -> bool:
        """Whether a ``Cookie`` header holds this session's."""
        # By hand: Python's parser gives up at the first cookie of another program that it does not like.
        found = dict(part.strip().partition("=")[::2] for part in cookies.split(";"))
        return hmac.compare_digest(found.get(self.name, "").encode(), self.cookie.encode())

    def objection(self, method: str, headers: Headers) -> tuple[int, str] | None:
        """Why a request is not answered, as a status and a line; None where it is, as far as its headers tell."""
        if headers.getlist("host") not in [[host] for host in self.hosts]:
            return 403, f"this server answers to {self.hosts[0]} only"
        origins = headers.getlist("origin")
        if origins and origins not in [[f"http://{host}"] for host in self.hosts]:
            return 403, "pages of other hosts have no business here"
        if method not in ("GET", "HEAD") and headers.get(MARK) != "1":
            return 403, "the header X-Conceptreel: 1 is missing"
        return None


class Guard:
    """Middleware: refuses what `Session` objects to, and seals every answer."""

    def __init__(self, app: ASGIApp, session: Session, refuse: ASGIApp):
        """``refuse`` answers in place of the application; it finds status and words in ``scope["refused"]``."""
        self.app, self.session, self.refuse = app, session, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def sealed(message: Message) -> None:
            if message["type"] == "http.response.start":
                policy = PAGE_POLICY if scope["path"].startswith(PAGES) else POLICY
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", policy.encode()),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                    (b"cross-origin-resource-policy", b"same-origin"),
                    (b"cross-origin-opener-policy", b"same-origin"),
                    (b"cache-control", b"no-store"),
                ]
            await send(message)

        headers = Headers(scope=scope)
        objection = self.session.objection(scope["method"], headers)
        opening = scope["path"] == "/" and "token" in QueryParams(scope["query_string"])
        if objection is None and not opening and not self.session.knows(headers.get("cookie", "")):
            objection = 401, "open the address that `conceptreel explore` printed; it holds the token"
        if objection is not None:
            scope["refused"] = objection
            return await self.refuse(scope, receive, sealed)
        return await self.app(scope, receive, sealed)
