"""What is kept of requests: lines in the log and numbers, without content."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

import pytest

from cutaway.runs import BadInput
from cutaway.serve import Limits
from cutaway.serve.metrics import Speed
from cutaway.serve.record import log_to

CHAT = "/v1/chat/completions"
SECRET = "a secret question"
BODY = {"model": "demo", "messages": [{"role": "user", "content": SECRET}]}


def lines_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def requests_told(file: Path, count: int) -> list[dict[str, Any]]:
    """The lines of `count` requests: each is written when its request is over, perhaps after its answer is read."""
    until = time.monotonic() + 30
    while True:
        told = [line for line in lines_of(file) if line["event"] == "request"]
        if len(told) >= count or time.monotonic() > until:
            return told
        time.sleep(0.01)


def test_a_line_a_request_without_content(live: Any, tmp_path: Path) -> None:
    file = tmp_path / "logs" / "log.jsonl"
    with log_to(file), live.client() as http:
        answer = http.post(CHAT, json=BODY)
        http.post(CHAT, json={**BODY, "stream": True, "max_tokens": 2})
        http.post(CHAT, json={**BODY, "model": "absent\nmodel"})
        http.get("/v1/models/with%0Aa line")
        http.post(CHAT, json={**BODY, "messages": [{"role": "user", "content": "fail"}]})
        first, streamed, absent, odd, failed = requests_told(file, 5)
    assert first["id"] == answer.headers["x-request-id"]
    assert (first["status"], first["model"], first["finish"], first["caller"]) == (
        200, "demo", ["stop"], "address:127.0.0.1",
    )  # fmt: skip
    usage = answer.json()["usage"]
    assert (first["prompt_tokens"], first["completion_tokens"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert 0 < first["first_token_seconds"] <= first["seconds"]
    assert (streamed["finish"], streamed["completion_tokens"]) == (["length"], 2)
    assert (absent["status"], absent["error"]) == (404, "model_not_found")
    assert odd["path"] == "/v1/models/with\na line"
    assert (failed["status"], failed["finish"]) == (500, ["error"])
    assert any("traceback" in line for line in lines_of(file))
    assert SECRET not in file.read_text()
    assert "You said" not in file.read_text()


def test_content_where_it_is_asked_for(serve_live: Any, tmp_path: Path) -> None:
    live = serve_live(log_content=True)
    with log_to(tmp_path / "log"), live.client() as http:
        http.post(CHAT, json=BODY)
        (line,) = requests_told(tmp_path / "log", 1)
    assert SECRET in line["content"]["prompts"][0]
    assert line["content"]["answers"] == [f"You said: {SECRET}"]


def test_the_log_leaves_others_alone(tmp_path: Path) -> None:
    logger = logging.getLogger("cutaway")
    before = (logger.handlers[:], logger.level, logger.propagate)
    with log_to(tmp_path / "log"):
        logging.getLogger("other").warning("not ours")
        logging.getLogger("cutaway.serve").warning("ours: %s", "naïve")
    assert (logger.handlers, logger.level, logger.propagate) == before
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["ours: naïve"]
    with pytest.raises(BadInput, match="cannot be written"), log_to(tmp_path):
        pass


def test_numbers(serve_live: Any) -> None:
    live = serve_live(limits=Limits(answering=1, waiting=0, drain_seconds=1))
    with live.client() as http:
        done = http.post(CHAT, json=BODY).json()["usage"]
        assert live.number("cutaway_prompt_tokens_total") == done["prompt_tokens"]
        assert live.number("cutaway_completion_tokens_total") == done["completion_tokens"]
        assert live.number("cutaway_first_token_seconds_count") == 1
        assert live.number("cutaway_answers_total") == 1
        assert live.number("cutaway_tokens_per_second") == done["completion_tokens"] / 10
        assert live.number("cutaway_running") == 0
        live.lm.seconds_a_token = 0.1
        live.lm.script = lambda _: "light " * 200
        with http.stream("POST", CHAT, json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            assert (live.number("cutaway_running"), live.number("cutaway_waiting")) == (1, 0)
            assert live.number("cutaway_cache_use") > 0
            assert http.post(CHAT, json=BODY).status_code == 429
        assert live.number("cutaway_rejections_total") == 1
        text = http.get("/metrics").text
    assert 'cutaway_requests_total{path="/v1/chat/completions",status="200"}' in text
    assert 'cutaway_rejections_total{reason="server_busy"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    assert SECRET not in text


def test_paths_nobody_has_make_no_series(live: Any) -> None:
    with live.client() as http:
        for i in range(3):
            http.get(f"/absent/{i}")
            http.get(f"/v1/models/{i}")
        text = http.get("/metrics").text
    assert "/absent/" not in text
    assert 'path="/v1/models/{name:path}",status="404"} 3.0' in text
    assert 'path="other",status="404"} 3.0' in text


def test_speed_is_over_the_last_ten_seconds() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    for second in range(30):
        now[0] = second
        for _ in range(7):
            speed.add()
    assert speed.now() == pytest.approx(7, abs=0.8)
    now[0] = 100
    assert speed.now() == 0
