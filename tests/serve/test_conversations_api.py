"""What is said on the page is kept by the server, and is there after a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cutaway.assistant.conversations import Conversations, new_id
from cutaway.serve import Access

HELLO = [{"role": "user", "content": "Hello there"}]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Conversations]:
    store = Conversations(tmp_path / "conversations.db")
    yield store
    store.close()


@pytest.fixture
def live(serve_live: Any, store: Conversations) -> Any:
    return serve_live(conversations=store)


def place(conversation: str, parent: str | None = None) -> dict[str, Any]:
    return {"conversation": conversation, "parent": parent, "question": new_id(), "answer": new_id()}


def ask(http: Any, keep: dict[str, Any] | None, text: str = "Hello there", status: int = 200, **more: Any) -> str:
    body = {
        "model": "demo",
        "messages": [{"role": "user", "content": text}],
        **({"keep": keep} if keep else {}),
        **more,
    }
    answer = http.post("/api/chat", json=body)
    assert answer.status_code == status, answer.text
    return answer.text


def turns(http: Any, conversation: str) -> list[dict[str, Any]]:
    return http.get(f"/api/conversations/{conversation}").json()["turns"]


@pytest.mark.filterwarnings("error")
def test_question_and_answer_are_kept_with_their_tokens(live: Any, tmp_path: Path) -> None:
    conversation = new_id()
    keep = place(conversation)
    with live.client() as http:
        events = ask(http, keep)
        question, answer = turns(http, conversation)
        listed = http.get("/api/conversations").json()
    assert (question["id"], question["role"], question["text"], question["state"]) == (
        keep["question"], "user", "Hello there", "done",
    )  # fmt: skip
    assert (answer["id"], answer["parent"], answer["model"]) == (keep["answer"], keep["question"], "demo")
    assert answer["text"] == "You said: Hello there"
    told = [json.loads(line[6:]) for line in events.splitlines() if line.startswith("data: ") and '"adds"' in line]
    assert answer["detail"]["tokens"] == told
    assert answer["detail"]["finish"] == "stop"
    assert [(each["title"], each["turns"]) for each in listed["conversations"]] == [("Hello there", 2)]
    again = Conversations(tmp_path / "conversations.db")
    assert [each.id for each in again.listed("")] == [conversation]
    again.close()


def test_another_answer_and_an_edited_question_are_branches(live: Any) -> None:
    conversation = new_id()
    first = place(conversation)
    with live.client() as http:
        ask(http, first)
        ask(http, {**first, "answer": new_id()})
        ask(http, place(conversation), "Hello here")
        found = turns(http, conversation)
    assert [(turn["role"], turn["parent"]) for turn in found] == [
        ("user", None), ("assistant", first["question"]), ("assistant", first["question"]),
        ("user", None), ("assistant", found[3]["id"]),
    ]  # fmt: skip


def test_a_stopped_answer_is_kept_as_far_as_it_came(live: Any) -> None:
    live.lm.script, live.lm.seconds_a_token = lambda _: "light " * 200, 0.02
    conversation = new_id()
    with live.client() as http:
        body = {"model": "demo", "messages": HELLO, "keep": place(conversation)}
        with http.stream("POST", "/api/chat", json=body) as answer:
            for line in answer.iter_lines():
                if '"adds": " light"' in line:
                    break
        until = time.monotonic() + 20
        while len(turns(http, conversation)) < 2 and time.monotonic() < until:
            time.sleep(0.05)
        _, kept = turns(http, conversation)
    assert kept["state"] == "stopped"
    assert "light light" in kept["text"]
    assert len(kept["text"]) < len("light " * 200)


def test_searched_renamed_exported_and_deleted(live: Any) -> None:
    conversation, other = new_id(), new_id()
    with live.client() as http:
        keep = place(conversation)
        ask(http, keep, "Tell of ships")
        ask(http, place(conversation, keep["answer"]), "And of **boats**")
        ask(http, place(other), "Tell of birds")
        found = http.get("/api/conversations", params={"search": "boats"}).json()["conversations"]
        assert [each["id"] for each in found] == [conversation]
        url = f"/api/conversations/{conversation}"
        assert http.patch(url, json={"title": "Ships"}).status_code == 204
        text = http.get(f"{url}/export")
        assert text.headers["content-disposition"].endswith('.md"')
        assert text.text == (
            "# Ships\n\n**You**\n\nTell of ships\n\n**demo**\n\nYou said: Tell of ships\n\n"
            "**You**\n\nAnd of **boats**\n\n**demo**\n\nYou said: And of **boats**\n"
        )
        exported = http.get(f"{url}/export", params={"kind": "json"}).json()
        assert [each["content"] for each in exported["messages"]][::2] == ["Tell of ships", "And of **boats**"]
        assert http.delete(url).status_code == 204
        for answer in (http.get(url), http.delete(url), http.patch(url, json={"title": "x"})):
            assert answer.status_code == 404
            assert answer.json()["error"]["code"] == "conversation_not_found"
        assert [each["id"] for each in http.get("/api/conversations").json()["conversations"]] == [other]


def test_each_key_has_its_own(serve_live: Any, store: Conversations) -> None:
    live = serve_live(conversations=store, access=Access(token="0123456789abcdef"))
    store.keep("somebody else", "a" * 32, turn="b" * 32, parent=None, role="user", text="Mine")
    with live.client() as http:
        http.headers["Authorization"] = "Bearer 0123456789abcdef"
        assert http.get("/api/conversations").json()["conversations"] == []
        assert http.get(f"/api/conversations/{'a' * 32}").status_code == 404
        ask(http, place("a" * 32), status=400)
        http.headers.pop("Authorization")
        assert http.get("/api/conversations").status_code == 401


def test_a_place_that_cannot_be(live: Any) -> None:
    with live.client() as http:
        ask(http, {**place(new_id()), "parent": new_id()}, status=400)
        ask(http, {**place(new_id()), "answer": "../x"}, status=400)
        assert http.get("/api/conversations").json()["conversations"] == []


def test_a_server_without_history(serve_live: Any) -> None:
    with serve_live().client() as http:
        assert http.get("/api/conversations").json() == {"kept": False, "conversations": []}
        assert "You said" not in ask(http, place(new_id()))[:50]
        assert http.get(f"/api/conversations/{new_id()}").json()["error"]["code"] == "not_kept"
