"""The page's own API."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cutaway.corpus import World
from cutaway.serve import page_api


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    found: list[tuple[str, dict[str, Any]]] = []
    for block in text.strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields["event"], json.loads(fields["data"])))
    return found


def test_models_and_examples(live: Any) -> None:
    with live.client() as http:
        models = http.get("/api/models").json()["models"]
        stages = [{"id": "demo:pretrain", "stage": "pretrain"}, {"id": "demo:sft", "stage": "sft"}]
        assert models == [{"id": "demo", "stages": stages, "report": False}]
        assert http.get("/api/examples").json() == {"examples": []}
        file = live.run / "corpus" / "world.json"
        file.parent.mkdir()
        for damaged in ("{", "5", '{"entities": [1]}', "\x00"):
            file.write_text(damaged)
            assert http.get("/api/examples").json() == {"examples": []}
        world = World.generate(seed=1, people=5, places=3)
        file.write_text(world.to_json())
        examples = http.get("/api/examples?model=demo:sft").json()["examples"]
        assert examples == http.get("/api/examples").json()["examples"]
        assert "Who are you?" in examples
        assert any(person.name in example for person in world.people for example in examples)
        assert any(place.name in example for place in world.places for example in examples)
        assert http.get("/api/examples?model=absent").status_code == 404


def test_tokenize_text(live: Any) -> None:
    text = "The sky is 42 日\n"
    with live.client() as http:
        body = http.post("/api/tokenize", json={"model": "demo", "text": text}).json()
    assert body["context"] == 256
    assert [token["id"] for token in body["tokens"]] == live.lm.tokenizer.encode(text)
    assert bytes.fromhex("".join(token["bytes"] for token in body["tokens"])).decode() == text
    assert any(not token["whole"] for token in body["tokens"])


def test_tokenize_messages_is_the_exact_prompt(live: Any) -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi <|end|>"}]
    with live.client() as http:
        body = http.post("/api/tokenize", json={"model": "demo", "messages": messages}).json()
    assert [token["id"] for token in body["tokens"]] == live.lm.tokenizer.encode_chat(messages)
    assert "".join(token["text"] for token in body["tokens"]) == (
        "<|endoftext|><|system|>Be brief.<|end|><|user|>Hi <|end|><|end|><|assistant|>"
    )
    assert [token["text"] for token in body["tokens"] if token["mark"]].count("<|end|>") == 2


@pytest.mark.parametrize("body", [{}, {"text": "x", "messages": [{"role": "user", "content": "x"}]}, {"text": 5}])
def test_tokenize_needs_one_of_both(live: Any, body: dict[str, Any]) -> None:
    with live.client() as http:
        assert http.post("/api/tokenize", json={"model": "demo", **body}).status_code == 400


def test_chat_events(live: Any) -> None:
    body = {"model": "demo", "messages": [{"role": "user", "content": "calculate 2*21"}], "seed": 1}
    with live.client() as http:
        response = http.post("/api/chat", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    events = events_of(response.text)
    assert [name for name, _ in events if name != "token"] == ["start", "tool", "done"]
    tokens = [data for name, data in events if name == "token"]
    parts = [token["part"] for token in tokens]
    assert parts[0] == "mark"
    assert [part for i, part in enumerate(parts) if not i or parts[i - 1] != part] == [
        "mark", "call", "mark", "result", "mark", "answer", "mark",
    ]  # fmt: skip
    assert [token["text"] for token in tokens if token["forced"]] == ["<|tool|>", "4", "2", "<|end|>", "<|assistant|>"]
    assert "".join(token["adds"] for token in tokens if token["part"] == "answer") == "2*21 = 42"
    for token in tokens:
        assert len(token["alternatives"]) == 10
        chances = [alternative["probability"] for alternative in token["alternatives"]]
        assert chances == sorted(chances, reverse=True)
        assert sum(chances) <= 1.000001
    tool = next(data for name, data in events if name == "tool")
    assert tool == {"name": "calculator", "arguments": "2*21", "result": "42"}
    done = events[-1][1]
    assert done["finish"] == "stop"
    assert done["tokens"] == sum(not token["forced"] for token in tokens)


def test_chat_failure_is_an_event(live: Any) -> None:
    with live.client() as http:
        body = {"model": "demo", "messages": [{"role": "user", "content": "fail"}]}
        events = events_of(http.post("/api/chat", json=body).text)
    assert [name for name, _ in events] == ["start", "error"]
    assert "secret" not in json.dumps(events)


def test_openapi_document(live: Any) -> None:
    with live.client() as http:
        paths = http.get("/openapi.json").json()["paths"]
    assert {"/v1/models", "/v1/chat/completions", "/v1/completions", "/api/tokenize", "/health"} <= set(paths)


def test_page_that_is_not_built(serve_live: Any, tmp_path: Any) -> None:
    live = serve_live(page=tmp_path)
    with live.client() as http:
        answer = http.get("/")
        assert answer.status_code == 503
        assert "not built" in answer.text
        assert http.get("/v1/models").status_code == 200


def test_page_files(serve_live: Any, tmp_path: Any) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html>page")
    (tmp_path / "favicon.svg").write_text("<svg/>")
    (tmp_path / ".built-from").write_text("x")
    (tmp_path / "assets" / "index-abc.js").write_text("1")
    live = serve_live(page=tmp_path)
    with live.client() as http:
        assert http.get("/").text == "<!doctype html>page"
        assert http.get("/?view=tokens").headers["cache-control"] == "no-cache"
        assert http.get("/favicon.svg").headers["content-type"] == "image/svg+xml"
        assert "immutable" in http.get("/assets/index-abc.js").headers["cache-control"]
        for absent in ("/.built-from", "/assets/absent.js", "/assets/..%2findex.html", "/assets/"):
            assert http.get(absent).status_code == 404


def test_what_is_thought_before_an_answer_is_told_apart(live: Any, lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    lm.script = lambda _: "The sky is blue because air scatters blue light."
    tokens = [lm.tokenizer.decode([id_]) for id_ in lm.tokenizer.encode(lm.script(""))]
    opening, closing = tokens[1], tokens[3]
    monkeypatch.setattr(page_api, "THINK", opening)
    monkeypatch.setattr(page_api, "THOUGHT", closing)
    body = {"model": "demo", "messages": [{"role": "user", "content": "Why?"}]}
    with live.client() as http:
        events = events_of(http.post("/api/chat", json=body).text)
    parts = [data["part"] for name, data in events if name == "token"]
    assert parts == ["answer", *["reasoning"] * 3, *["answer"] * (len(tokens) - 4), "mark"]


def test_the_document_describes_the_events_of_an_answer(live: Any) -> None:
    """The types of the page are written from it."""
    schema = live.app.openapi()["paths"]["/api/chat"]["post"]["responses"]["200"]["content"]["text/event-stream"][
        "x-parsed"
    ]
    named = {each["$ref"].rsplit("/", 1)[1] for each in schema["anyOf"]}
    assert named == {"StartEvent", "TokenEvent", "ToolEvent", "DoneEvent", "ErrorEvent"}
