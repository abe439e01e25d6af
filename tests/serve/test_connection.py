"""The wire: clients that are slow, send garbage, or hang up; and stopping."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from typing import Any

import pytest

from cutaway.serve import Limits

CHAT = "/v1/chat/completions"
BODY = {"model": "demo", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def connect(live: Any) -> socket.socket:
    host, port = live.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def closed(raw: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    found = b""
    while True:
        try:
            got = raw.recv(65536)
        except ConnectionResetError:
            return found
        if not got:
            return found
        found += got


@pytest.fixture
def strict(serve_live: Any) -> Any:
    return serve_live(limits=Limits(head_seconds=0.3, body_seconds=0.3, connections=20, drain_seconds=1))


@pytest.mark.parametrize("sent", [b"", b"GET /health", b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_half_a_head_is_not_waited_for(strict: Any, sent: bytes) -> None:
    with connect(strict) as raw:
        raw.sendall(sent)
        answer = closed(raw)
    assert answer.startswith(b"HTTP/1.1 408 ") if sent else answer == b""


def test_a_head_that_drips_is_not_waited_for(strict: Any) -> None:
    began = time.monotonic()
    with connect(strict) as raw, pytest.raises(OSError):
        for _ in range(100):
            raw.sendall(b"GET /health HTTP/1.1\r\n"[:1])
            time.sleep(0.05)
    assert time.monotonic() - began < 4


def test_the_second_head_of_a_connection_is_not_waited_for_either(strict: Any) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(strict) as raw:
        for _ in range(2):
            raw.sendall(request)
            answer = b""
            while not answer.endswith(b"}"):  # head and body may come apart
                got = raw.recv(65536)
                assert got
                answer += got
            assert b"200 OK" in answer
            time.sleep(0.2)
        raw.sendall(request[:10])
        assert closed(raw).startswith(b"HTTP/1.1 408 ")


def test_a_body_that_does_not_come(strict: Any) -> None:
    head = f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n"
    with connect(strict) as raw:
        raw.sendall(head.encode() + b'{"model": ')
        answer = closed(raw)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]["message"] == "the body did not arrive in time"


def test_a_long_answer_is_not_taken_for_a_slow_client(strict: Any) -> None:
    strict.lm.seconds_a_token = 0.05
    with strict.client() as http:
        assert http.post(CHAT, json=BODY).text.endswith("data: [DONE]\n\n")


def full(live: Any) -> list[socket.socket]:
    """As many connections as the server takes, with nothing said on them."""
    held = [connect(live) for _ in range(20)]
    while len(live.server.server_state.connections) < 20:
        time.sleep(0.01)
    return held


@pytest.fixture
def small(serve_live: Any) -> Any:
    return serve_live(limits=Limits(connections=20, drain_seconds=1))


def lingering(live: Any) -> int:
    return len(live.server.config.http_protocol_class.lingering)


def test_more_connections_than_the_limit_are_told_to_come_back(small: Any) -> None:
    held = full(small)
    with connect(small) as raw:  # without a word from the client
        head, body = closed(raw).split(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5\r\n" in head
    assert body.count(b"\n") == 1
    for raw in held:
        raw.close()
    with small.client() as http:
        while http.get("/health").status_code == 503:
            time.sleep(0.05)
        assert http.post(CHAT, json=BODY).status_code == 200


def test_one_connection_too_many_is_heard_to_its_end(small: Any) -> None:
    """A client that sends first and reads then must not find the connection reset."""
    held = full(small)
    with small.client() as http:
        for _ in range(5):
            answer = http.post(CHAT, content=b"x" * (8 << 20))
            assert answer.status_code == 503
            assert answer.text.count("\n") == 1
    # Those that are there are answered.
    held[0].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert b"200 OK" in closed(held[0])
    for raw in held:
        raw.close()


def test_who_stays_when_turned_away_is_cut_off(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutaway.serve.connection.LINGER_SECONDS", 0.2)
    held = full(small)
    with connect(small) as raw:
        assert b" 503 " in closed(raw)
        while lingering(small):
            time.sleep(0.01)
        with pytest.raises(OSError):
            for _ in range(100):
                raw.sendall(b"x" * 65536)
                time.sleep(0.01)
    for other in held:
        other.close()


def test_of_those_turned_away_only_so_many_are_heard(small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutaway.serve.connection.MOST_LINGERING", 5)
    held = full(small)
    beyond = [connect(small) for _ in range(12)]
    answers = [closed(raw) for raw in beyond]
    assert sum(b" 503 " in answer for answer in answers) == lingering(small) == 5
    assert sum(answer == b"" for answer in answers) == 7
    for raw in (*held, *beyond):
        raw.close()
    while lingering(small):
        time.sleep(0.01)


@pytest.mark.parametrize(
    "sent", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\n" * 70_000]
)
def test_garbage(strict: Any, sent: bytes) -> None:
    with connect(strict) as raw:
        raw.sendall(sent)
        assert b" 200 " not in closed(raw).split(b"\r\n")[0]
    with strict.client() as http:
        assert http.get("/health").status_code == 200


def test_ten_megabytes_are_refused(strict: Any) -> None:
    with connect(strict) as raw:
        raw.sendall(
            f"POST {CHAT} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            f"Content-Length: {10 << 20}\r\n\r\n".encode()
        )
        assert b" 413 " in raw.recv(65536).split(b"\r\n")[0]


def stop(live: Any) -> threading.Thread:
    """Tell a server to stop; gives a thread that ends when it has."""
    live.server.should_exit = True
    thread = threading.Thread(target=lambda: [time.sleep(0.01) for _ in iter(lambda: live.service._closed, True)])
    thread.start()
    return thread


def test_a_server_that_is_told_to_stop_ends_its_answers_first(serve_live: Any) -> None:
    live = serve_live(limits=Limits(drain_seconds=10))
    live.lm.seconds_a_token = 0.1
    with live.client() as http, http.stream("POST", CHAT, json=BODY) as answer:
        lines = answer.iter_lines()
        next(lines)
        stopped = stop(live)
        time.sleep(0.4)
        with pytest.raises(OSError):
            connect(live)
        assert list(lines)[-2:] == ["data: [DONE]", ""]
    stopped.join(10)
    assert not stopped.is_alive()


def test_an_answer_that_takes_longer_than_the_stop_is_told_so(serve_live: Any) -> None:
    live = serve_live(limits=Limits(drain_seconds=0.3))
    live.lm.seconds_a_token = 0.2
    live.lm.script = lambda _: "light " * 200
    with live.client() as http, http.stream("POST", CHAT, json=BODY) as answer:
        lines = answer.iter_lines()
        next(lines)
        stop(live).join(10)
        last = [line for line in lines if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "shutting_down"


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", "/api/chat"])
def test_a_reset_connection_ends_a_stream_whose_events_lie_ready(
    serve_live: Any, caplog: pytest.LogCaptureFixture, path: str
) -> None:
    """They come faster than they are written, so that there is nothing to wait for between them."""
    live = serve_live(limits=Limits(drain_seconds=1))
    live.lm.config.context = 100_000
    live.lm.script = lambda _: "light " * 40_000
    body: dict[str, Any] = {**BODY, "max_tokens": 90_000}
    if path == "/v1/completions":
        body = {"model": "demo", "prompt": "light", "max_tokens": 90_000, "stream": True, "logprobs": 5}
    if path == "/api/chat":
        del body["stream"]
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(data)}"
    with connect(live) as raw:
        raw.sendall(head.encode() + b"\r\n\r\n" + data)
        received = 0
        while received < 30_000:
            received += len(raw.recv(65536))
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    deadline = time.monotonic() + 2
    while live.taken and time.monotonic() < deadline:
        time.sleep(0.01)
    made = live.lm.tokens_made
    assert live.taken == 0
    assert 0 < made < 80_000
    assert [record.getMessage() for record in caplog.records if record.name == "asyncio"] == []
