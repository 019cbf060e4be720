"""An OpenAI-compatible endpoint, played by a server on this machine."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.context.candidates import PROMPTS, ask_for_classes
from pipeline.context.endpoint import MOST_BYTES, Endpoint, EndpointError, ask_list, parse_list
from pipeline.context.settings import Candidates

KEY = "sk-a-secret-that-must-stay-one"


class Stub(ThreadingHTTPServer):
    """Answers from ``script``: (status, text or body, headers); the last one is repeated."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.script, self.asked = [], []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"

    def say(self, *answers: str) -> None:
        self.script = [(200, json.dumps({"choices": [{"message": {"content": answer}}]}), {}) for answer in answers]


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        status, text, headers = self.server.script[min(len(self.server.asked), len(self.server.script)) - 1]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def stub(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Stub() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def waits():
    return []


@pytest.fixture
def endpoint(stub, waits):
    return Endpoint(stub.url, "small", sleep=waits.append)


def test_asks_as_the_interface_wants(stub, endpoint):
    stub.say('["bow"]')
    assert endpoint.complete("which things?") == '["bow"]'
    ((path, headers, body),) = stub.asked
    assert path == "/v1/chat/completions" and headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "small",
        "temperature": 0.2,
        "messages": [{"role": "user", "content": "which things?"}],
    }


def test_waits_longer_after_every_failure_that_may_go_away(stub, endpoint, waits):
    stub.say('["bow"]')
    answer = stub.script[0]
    stub.script = [(503, "busy", {}), (429, "slow down", {"Retry-After": "11"}), (500, "", {}), answer]
    assert endpoint.complete("?") == '["bow"]'
    assert waits == [2, 11, 8] and len(stub.asked) == 4


def test_gives_up_with_one_line(stub, endpoint, waits):
    stub.script = [(503, "busy", {})]
    with pytest.raises(EndpointError, match=r"gave no answer after 5 attempts: HTTP 503 busy"):
        endpoint.complete("?")
    assert waits == [2, 4, 8, 16]
    gone = Endpoint("http://127.0.0.1:9/v1", "small", sleep=waits.append)
    with pytest.raises(EndpointError, match=r"http://127\.0\.0\.1:9/v1 gave no answer after 5 attempts: .*refused"):
        gone.complete("?")


@pytest.mark.parametrize(
    ("status", "text", "words"),
    [
        (401, "bad key", "refused with HTTP 401; is the key valid\\? bad key"),
        (404, "no model `small`", "HTTP 404 no model"),
        (200, "<html>hello</html>", "not from a chat endpoint: '<html>hello"),
        (200, '{"choices": []}', "not from a chat endpoint"),
        (200, '{"choices": [{"message": {"content": null}}]}', "holds no text"),
        (302, "", "refused with HTTP 302"),
    ],
)
def test_what_will_not_change_is_not_asked_again(stub, endpoint, waits, status, text, words):
    stub.script = [(status, text, {"Location": "http://127.0.0.1:9/steal"} if status == 302 else {})]
    with pytest.raises(EndpointError, match=words) as caught:
        endpoint.complete("?")
    assert len(stub.asked) == 1 and waits == [] and KEY not in str(caught.value)


def test_an_endless_answer_is_not_read_to_its_end(stub, endpoint):
    stub.say("x" * (MOST_BYTES + 1000))
    with pytest.raises(EndpointError, match="not from a chat endpoint"):
        endpoint.complete("?")


def test_a_missing_key_is_told_before_anything_is_sent(stub, endpoint, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY holds no key for http"):
        endpoint.complete("?")
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nsecond line")
    with pytest.raises(EndpointError, match="OPENAI_API_KEY holds no key for http") as caught:
        endpoint.complete("?")
    assert KEY not in str(caught.value)
    assert stub.asked == []
    stub.say("[]")
    Endpoint(stub.url, "small", key_variable="").complete("?")
    assert "Authorization" not in stub.asked[0][1]
    with pytest.raises(EndpointError, match="must be the base address"):
        Endpoint("localhost:8000", "small").complete("?")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ('["bow", " target  butt "]', ["bow", "target butt"]),
        ('Here you are:\n```json\n["bow"]\n```', ["bow"]),
        ('{"objects": ["bow"]}', None),
        ("1. bow\n2. arrow", None),
        ("[]", None),
        ('["bow", 3]', None),
        ('["bow", ""]', None),
        ('"bow"', None),
    ],
)
def test_only_lists_of_texts_are_answers(answer, found):
    if found is None:
        with pytest.raises(ValueError, match=r"it is not|the list"):
            parse_list(answer)
    else:
        assert parse_list(answer) == found


def test_answers_are_kept_and_wrong_ones_are_not(stub, endpoint, tmp_path):
    stub.say("bow and arrow", '["bow"]', '["arrow"]')
    with pytest.raises(EndpointError, match=r"answer of small is not a list of texts \(it is not JSON\): 'bow and"):
        ask_list(endpoint, "?", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert ask_list(endpoint, "?", tmp_path) == ["bow"]
    assert ask_list(endpoint, "?", tmp_path) == ["bow"] and len(stub.asked) == 2
    assert ask_list(endpoint, "?", tmp_path, turn=1) == ["arrow"]
    (kept, _) = sorted(tmp_path.iterdir())
    kept.write_text("{damaged")
    ask_list(endpoint, "?", tmp_path)
    ask_list(endpoint, "?", tmp_path, turn=1)
    assert len(stub.asked) == 4
    assert not any(KEY in path.read_text() for path in tmp_path.iterdir())


def test_candidates_of_every_class(stub, tmp_path):
    stub.say('["Bow", "arrow"]', '["bow", "target."]', '["guitar"]', '["guitar"]')
    settings = Candidates(source="endpoint", url=stub.url, model="small", types=["object"])
    rows = ask_for_classes(settings, ["Archery", "PlayingGuitar"], tmp_path, sleep=None)
    assert rows == [
        ("object", "Archery", "bow"),
        ("object", "Archery", "arrow"),
        ("object", "Archery", "target"),
        ("object", "PlayingGuitar", "guitar"),
    ]
    prompts = [body["messages"][0]["content"] for _, _, body in stub.asked]
    assert prompts[0] == prompts[1] == PROMPTS["object"].format(action="archery", count=5)
    assert "'playing guitar'" in prompts[2]
    assert ask_for_classes(settings, ["Archery", "PlayingGuitar"], tmp_path, sleep=None) == rows
    assert len(stub.asked) == 4
