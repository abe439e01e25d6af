"""Room for generations: bounded, shared, and freed when a client goes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from cutaway.serve import Limits
from cutaway.serve.answering import AnswerStream

CHAT = "/v1/chat/completions"
BODY = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


def eventually(condition: Any, seconds: float = 3.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.fixture
def slow(live: Any) -> Any:
    live.lm.seconds_a_token = 0.02
    live.lm.script = lambda _: "In the beginning God made the heaven and the earth. " * 8
    return live


@pytest.mark.parametrize(("path", "stream"), [(CHAT, True), ("/api/chat", False)])
def test_hanging_up_on_a_stream_frees_its_place(slow: Any, path: str, stream: bool) -> None:
    body = {**BODY, "stream": True} if stream else BODY
    with slow.client() as http, http.stream("POST", path, json=body) as response:
        lines = response.iter_lines()
        for _ in range(6):
            next(lines)
        assert slow.taken == 1
    assert eventually(lambda: slow.taken == 0, 1.0)
    made = slow.lm.tokens_made
    time.sleep(0.2)
    assert slow.lm.tokens_made == made
    assert slow.lm.running == 0


def test_hanging_up_while_waiting_for_a_whole_answer_frees_its_place(slow: Any) -> None:
    with slow.client() as http, pytest.raises(httpx.ReadTimeout):
        http.post(CHAT, json=BODY, timeout=0.3)
    assert eventually(lambda: slow.taken == 0, 1.0)
    assert slow.lm.running == 0
    assert slow.lm.tokens_made < 60


def test_hanging_up_in_the_line_leaves_the_line(slow: Any) -> None:
    with slow.client() as http:
        held = [http.stream("POST", CHAT, json={**BODY, "stream": True}) for _ in range(2)]
        lines = [stream.__enter__().iter_lines() for stream in held]  # a dropped iterator would hang up
        for answer in lines:
            next(answer)
        with http.stream("POST", CHAT, json={**BODY, "stream": True}) as waiting:
            lines.append(waiting.iter_lines())
            next(lines[-1])
            assert slow.taken == 3
        assert eventually(lambda: slow.taken == 2, 1.0)
        for stream in held:
            stream.__exit__(None, None, None)
    assert eventually(lambda: slow.taken == 0, 1.0)
    assert slow.lm.started == 2


def test_a_stream_that_need_not_wait_still_sees_that_its_client_is_gone() -> None:
    """All its events lie ready, and each is sent at once."""
    left: list[bool] = []
    answering: Any = SimpleNamespace(leave=lambda: left.append(True))

    async def events() -> AsyncIterator[dict[str, Any]]:
        for number in range(1_000):
            yield {"data": str(number)}

    async def sent_until_noticed() -> int:
        gone, sent = asyncio.Event(), 0

        async def send(_: Any) -> None:
            nonlocal sent
            sent += 1
            if sent == 5:
                gone.set()

        async def receive() -> dict[str, str]:
            await gone.wait()
            return {"type": "http.disconnect"}

        await AnswerStream(events(), answering, 30)({"type": "http", "method": "POST"}, receive, send)
        return sent

    assert asyncio.run(sent_until_noticed()) < 12
    assert left


def test_over_the_line_is_429(slow: Any) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with slow.client() as http:
            answers.append(http.post(CHAT, json={**BODY, "max_tokens": 30}))

    threads = [threading.Thread(target=ask) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200] * 4 + [429] * 3  # two at once, two in line
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert refused.headers["Retry-After"]
    assert slow.lm.most_running == 2
    assert eventually(lambda: slow.taken == 0)


def test_an_answer_has_a_time_limit(serve_live: Any) -> None:
    live = serve_live(limits=Limits(seconds=0.2, drain_seconds=1))
    live.lm.seconds_a_token = 0.03
    live.lm.script = lambda _: "light " * 100
    with live.client() as http:
        done = http.post(CHAT, json=BODY).json()
    assert done["choices"][0]["finish_reason"] == "length"
    assert done["usage"]["completion_tokens"] < 15


def test_stopping_the_server_stops_the_answers(slow: Any) -> None:
    with slow.client() as http, http.stream("POST", CHAT, json={**BODY, "stream": True}) as response:
        next(response.iter_lines())
        began = time.monotonic()
        slow.service.close()
        assert time.monotonic() - began < 1
    assert slow.lm.running == 0
