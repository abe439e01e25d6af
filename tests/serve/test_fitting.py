"""A conversation longer than the context: its oldest part is left out, and that is told."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

from cutaway.assistant.conversations import Conversations, new_id
from cutaway.serve.conversations_api import Keeper, KeptIn
from cutaway.serve.fitting import fitted


def conversation(exchanges: int, system: str = "") -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    for at in range(exchanges):
        told += [
            {"role": "user", "content": f"The sky is blue {at}"},
            {"role": "assistant", "content": f"In the beginning {at}"},
        ]
    return [*told, {"role": "user", "content": "And now?"}]


def test_all_is_read_where_it_fits(lm: Any) -> None:
    messages = conversation(3, "Be brief.")
    fits = fitted(lm, messages, 16)
    assert (fits.left_out, fits.prompt) == (0, lm.tokenizer.encode_chat(messages))


def test_the_oldest_is_left_out_and_no_more_than_must_be(lm: Any) -> None:
    messages = conversation(60, "Be brief.")
    fits = fitted(lm, messages, 16)
    assert fits.left_out > 0
    rest = [messages[0], *messages[1 + fits.left_out :]]
    assert rest[1]["role"] == "user"
    assert fits.prompt == lm.tokenizer.encode_chat(rest)
    assert len(fits.prompt) <= 256 - 16
    more = [messages[0], *messages[1 + fits.left_out - 2 :]]
    assert len(lm.tokenizer.encode_chat(more)) > 256 - 16


def test_the_page_is_told(live: Any) -> None:
    body = {"model": "demo", "messages": conversation(60), "max_tokens": 16}
    with live.client() as http:
        lies = http.post("/api/context", json=body).json()
        events = http.post("/api/chat", json=body).text
    start = json.loads(events.split("data: ", 2)[1].split("\n")[0])
    assert lies["context"] == 256
    assert lies["all"] == len(live.lm.tokenizer.encode_chat(conversation(60)))
    assert lies["read"] == start["prompt_tokens"] == len(live.lm.calls[-1].prompt)
    assert lies["left_out"] == start["left_out"] > 0


def test_a_question_that_does_not_fit_alone_is_refused(live: Any) -> None:
    body = {"model": "demo", "messages": [*conversation(3)[:-1], {"role": "user", "content": "long " * 200}]}
    with live.client() as http:
        refused = http.post("/api/chat", json=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (400, "context_length_exceeded")


def test_one_question_asked_of_two_models_at_once_is_kept_once(tmp_path: Path) -> None:
    store = Conversations(tmp_path / "c.db")
    for _ in range(10):
        ids = {"conversation": new_id(), "question": new_id()}
        ready, wrong = threading.Barrier(4), list[Exception]()

        def ask(ids: dict[str, str] = ids, ready: threading.Barrier = ready, wrong: list[Exception] = wrong) -> None:
            ready.wait()
            try:
                Keeper(store, "", KeptIn(**ids, answer=new_id()), "demo").ask("Hello")
            except Exception as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept = store.get("", ids["conversation"])
        assert wrong == []
        assert kept is not None
        assert [turn.text for turn in kept.turns] == ["Hello"]
    store.close()
