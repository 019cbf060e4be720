"""Who is answered, with what headers, and that every failure is a line of JSON."""

from __future__ import annotations

import json
import shutil
import socket

import pytest
from starlette.testclient import TestClient

from pipeline.explorer.server import application, bind
from pipeline.explorer.session import PAGE_POLICY, POLICY, Session
from pipeline.methods.dance.explore.run import open_run
from pipeline.methods.registry import METHODS
from pipeline.store.atomic import StageError
from tests.explorer.runs import HOSTILE

SESSION = Session(8123, "the token", "the cookie")
HOST = "http://127.0.0.1:8123"
KNOWN = {"cookie": "conceptreel_8123=the cookie"}
ASKING = {**KNOWN, "x-conceptreel": "1"}


@pytest.fixture(scope="module")
def run(small_run):
    return open_run(small_run, METHODS["dance"])


@pytest.fixture(scope="module")
def client(run):
    return TestClient(application(run, SESSION), base_url=HOST, follow_redirects=False)


def refused(answer, status: int) -> str:
    """The one line of a failure."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert list(told) == ["error"] and "\n" not in told["error"] and told["error"]
    return told["error"]


def test_the_token_opens_and_the_cookie_keeps_open(client):
    answer = client.get("/?token=the token")
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    assert cookie == "conceptreel_8123=the cookie; Path=/; HttpOnly; SameSite=Strict"
    assert client.get("/data/explore.json", headers=KNOWN).status_code == 200


@pytest.mark.parametrize("token", ["", "another", "ü", "the token "])
def test_a_wrong_token_opens_nothing(client, token):
    answer = client.get("/", params={"token": token})
    refused(answer, 401)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "cookie",
    ["", "conceptreel_8123=", "conceptreel_8123=another", "conceptreel_8124=the cookie", "the cookie", "=;;=\xff"],
)
@pytest.mark.parametrize("path", ["/", "/data/explore.json", "/media/thumb/0.webp", "/nothing", "/api/state"])
def test_nothing_is_shown_without_the_cookie(client, cookie, path):
    refused(client.get(path, headers={"cookie": cookie.encode("latin-1")}), 401)


def test_the_cookie_is_found_beside_those_of_other_programs(client):
    cookies = 'a={"x": 1}; _xsrf=2|3; conceptreel_8123=the cookie; b'
    assert client.get("/data/explore.json", headers={"cookie": cookies}).status_code == 200


@pytest.mark.parametrize("query", ["xtoken=1", "a=token=1", "tok=&nottoken=the token"])
def test_a_query_that_only_looks_like_a_token_shows_no_page(client, query):
    refused(client.get(f"/?{query}", headers={"cookie": ""}), 401)


def test_asking_for_headers_alone_starts_no_action(client, run, monkeypatch):
    begun = []
    monkeypatch.setattr(run, "_save", begun.append)
    monkeypatch.setattr(run, "_curate", begun.append)
    for action in ("save", "curate"):
        assert client.head(f"/api/{action}", headers=KNOWN).status_code == 404
    assert not begun


def test_tokens_of_two_sessions_differ():
    assert len({Session(1).token, Session(1).token, Session(1).cookie, Session(1).cookie}) == 4


@pytest.mark.parametrize("host", ["127.0.0.1:8123", "localhost:8123", "[::1]:8123"])
def test_names_of_this_machine_are_answered(client, host):
    assert client.get("/data/explore.json", headers={**KNOWN, "host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["", "evil.example", "evil.example:8123", "127.0.0.1", "127.0.0.1:8124", "127.0.0.1.evil.example:8123"]
)
@pytest.mark.parametrize("path", ["/?token=the token", "/data/explore.json"])
def test_a_rebound_name_is_not_answered(client, host, path):
    answer = client.get(path, headers={**KNOWN, "host": host})
    refused(answer, 403)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8123", "http://127.0.0.1:8124"])
def test_pages_of_other_origins_are_not_answered(client, origin):
    refused(client.get("/data/explore.json", headers={**KNOWN, "origin": origin}), 403)
    refused(client.post("/api/save", headers={**ASKING, "origin": origin}, json={}), 403)


def test_an_action_needs_the_header_that_a_form_cannot_send(client):
    assert "X-Conceptreel" in refused(client.post("/api/save", headers=KNOWN, json={}), 403)
    assert client.get("/api/state", headers={**ASKING, "origin": HOST}).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/data/explore.json", KNOWN),
        ("/nothing", KNOWN),
        ("/data/explore.json", {}),
        ("/data/explore.json", {"host": "evil.example"}),
    ],
)
def test_every_answer_is_sealed(client, path, headers):
    answer = client.get(path, headers=headers)
    assert answer.headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY and "script-src 'self'" in POLICY and "frame-ancestors 'none'" in POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"


def test_a_failure_of_the_program_is_sealed_and_says_nothing_of_its_inside(run, monkeypatch):
    monkeypatch.setattr(type(run), "read", lambda *_, **__: 1 / 0)
    client = TestClient(application(run, SESSION), base_url=HOST, raise_server_exceptions=False)
    answer = client.get("/data/explore.json", headers=KNOWN)
    assert refused(answer, 500) == "the explorer has failed: ZeroDivisionError"
    assert answer.headers["content-security-policy"] == POLICY


def test_a_page_of_a_method_is_shut_into_an_origin_of_its_own(small_run, tmp_path):
    folder = shutil.copytree(small_run, tmp_path / "small")
    (folder / "report.html").write_text("<script>1</script>")
    client = TestClient(application(open_run(folder, METHODS["dance"]), SESSION), base_url=HOST)
    answer = client.get("/pages/report.html", headers=KNOWN)
    assert (answer.status_code, answer.text) == (200, "<script>1</script>")
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"] == PAGE_POLICY
    assert "sandbox allow-scripts" in PAGE_POLICY and "allow-same-origin" not in PAGE_POLICY
    assert client.get("/data/explore.json", headers=KNOWN).json()["pages"] == [
        {"title": "report", "href": "pages/report.html"}
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/../model.pt",
        "/%2e%2e/model.pt",
        "/..%2fmodel.pt",
        "/media/thumb/../../model.pt",
        "/media/thumb/%2e%2e%2f%2e%2e%2fmodel.pt",
        "/media/thumb/00.webp",
        "/media/thumb/-1.webp",
        "/media/thumb/24.webp",
        "/media/thumb/999999999.webp",
        "/media/thumb/9999999999999999999999.webp",
        "/media/thumb/0.webp/",
        "/media/thumb/0.webp%00",
        "/media/thumb/٣.webp",
        "/media/thumb/0.png",
        "/media/medoid/2.webp",
        "/media/medoid/4.webp",
        "/media/try/0123456789abcdef/clip.webp",
        "/media/try/../clip.webp",
        "/data/path/99.f32",
        "/data/thumb/0.webp",
        "/model.pt",
        "/server.py",
        "//etc/passwd",
        "/pages/report.html",
        "/pages/../metrics.json",
        "/api/",
        "/api/none",
        "/api/save",
    ],
)
def test_only_what_is_offered_can_be_read(client, path):
    refused(client.get(path, headers=KNOWN), 404)


def test_other_methods_are_refused(client):
    refused(client.put("/data/explore.json", headers=ASKING), 405)
    refused(client.post("/data/explore.json", headers=ASKING), 405)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(client, content):
    refused(client.post("/api/save", headers=ASKING, content=content), 400)


def test_a_large_message_is_refused_before_it_is_read(client):
    def endless():
        raise AssertionError("it was read")
        yield b""

    headers = {**ASKING, "content-length": str(2 << 20)}
    assert "1 MiB" in refused(client.post("/api/save", headers=headers, content=endless()), 413)
    refused(client.post("/api/save", headers={**ASKING, "content-length": "9" * 40}, content=endless()), 413)
    refused(client.post("/api/save", headers={**ASKING, "transfer-encoding": "chunked"}, content=endless()), 411)


def test_hostile_names_travel_as_json_alone(client):
    """Nothing that a browser would take for a page has a name of a video, class or concept in it."""
    for name in ("data/explore.json", "data/clips.json"):
        answer = client.get(f"/{name}", headers=KNOWN)
        assert answer.headers["content-type"] == "application/json"
        assert HOSTILE in json.dumps(answer.json())
    explored = client.get("/data/explore.json", headers=KNOWN).json()
    assert explored["classes"][0].startswith(HOSTILE) and explored["concepts"][2]["name"].startswith(HOSTILE)
    assert client.get("/data/clips.json", headers=KNOWN).json()["id"][0].startswith(HOSTILE)


def test_a_taken_port_is_told():
    with bind(0) as listening:
        port = listening.getsockname()[1]
        assert listening.getsockname()[0] == "127.0.0.1"
        with pytest.raises(StageError, match=rf"port {port} cannot be used .* --port"):
            bind(port)
        # It listens at once: the printed address can be opened.
        socket.create_connection(("127.0.0.1", port)).close()
