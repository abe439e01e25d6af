"""Keys in a file, and what their holders may use."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from cutaway.runs.errors import BadInput
from cutaway.serve import Access, CallerLimits, Limits, make_key
from cutaway.serve import keys as module
from cutaway.serve.keys import Keys, read_keys

CHAT = "/v1/chat/completions"
BODY = {"model": "demo", "messages": [{"role": "user", "content": "hello"}]}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_new_key_is_in_the_file_as_a_hash_alone(tmp_path: Path) -> None:
    file = tmp_path / "more" / "keys.toml"
    key = make_key(file, "alice", CallerLimits(requests_per_minute=60), ["demo"])
    other = make_key(file, "bob", CallerLimits())
    assert key.startswith("ck-alice-")
    assert key not in file.read_text()
    assert key.rpartition("-")[2] not in file.read_text()
    assert os.stat(file).st_mode & 0o777 == 0o600
    keys = read_keys(file)
    assert set(keys) == {"alice", "bob"}
    assert keys["alice"].requests_per_minute == 60
    assert keys["alice"].models == ["demo"]
    assert keys["bob"].limits == CallerLimits()
    assert PasswordHasher().verify(keys["alice"].hash, key)
    with pytest.raises(BadInput, match="a key called alice already"):
        make_key(file, "alice", CallerLimits())
    assert asyncio.run(Keys(file).owner(other)) == "bob"


@pytest.mark.parametrize("name", ["", "Alice", "a-b", "a.b", "x" * 41, "ä"])
def test_names(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match="is no name for a key"):
        make_key(tmp_path / "keys.toml", name, CallerLimits())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot be read as TOML"),
        ("", "holds no key"),
        ("alice = 5", "alice"),
        ("[alice]", "alice.hash"),
        ('[alice]\nhash = "x"\nrequests = 5', "alice.requests"),
        ('[alice]\nhash = "x"\nrunning = 0', "alice.running"),
        ('[alice]\nhash = "x"\nrunning = "5"', "alice.running"),
        ('["a b"]\nhash = "x"', "is no name for a key"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "keys.toml"
    file.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        Keys(file)
    assert "\n" not in str(caught.value)
    with pytest.raises(BadInput, match="there are no keys at"):
        Keys(tmp_path / "absent.toml")


def test_what_is_no_key(tmp_path: Path) -> None:
    file = tmp_path / "keys.toml"
    key = make_key(file, "alice", CallerLimits())
    file.write_text(file.read_text() + '[damaged]\nhash = "no hash"\n')
    keys = Keys(file)

    async def owners() -> list[str | None]:
        shown = [key, key, key[:-1], key + "0", "", "ck-", "ck-alice-", "ck-bob-1", "xx" + key[2:], "ck-damaged-1", "ä"]
        return [await keys.owner(each) for each in shown]

    assert asyncio.run(owners()) == ["alice", "alice", *[None] * 9]


def test_a_right_key_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(tmp_path / "keys.toml", "alice", CallerLimits())
    keys, hashed = Keys(tmp_path / "keys.toml"), []
    real = keys._verify
    monkeypatch.setattr(keys, "_verify", lambda *given: hashed.append(1) or real(*given))

    async def ask() -> None:
        for _ in range(3):
            assert await keys.owner(key) == "alice"

    asyncio.run(ask())
    assert len(hashed) == 1


def test_a_key_taken_out_of_the_file_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    file = tmp_path / "keys.toml"
    key, other = make_key(file, "alice", CallerLimits()), make_key(file, "bob", CallerLimits())
    keys = Keys(file)
    assert asyncio.run(keys.owner(key)) == "alice"
    text = file.read_text()
    file.write_text(text[text.index("[bob]") :])
    os.utime(file, ns=(1, 1))
    assert asyncio.run(keys.owner(key)) is None
    assert asyncio.run(keys.owner(other)) == "bob"
    file.write_text("[")  # while somebody edits it, what was there holds
    assert asyncio.run(keys.owner(other)) == "bob"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_limits_of_a_key(serve_live: Any, file: Path) -> None:
    few = make_key(file, "few", CallerLimits(requests_per_minute=2))
    short = make_key(file, "short", CallerLimits(max_tokens=3))
    some = make_key(file, "some", CallerLimits(), ["demo:sft"])
    live = serve_live(access=Access(keys=Keys(file)))
    with live.client() as http:
        assert "needs a key" in http.post(CHAT, json=BODY).json()["error"]["message"]
        wrong = http.post(CHAT, json=BODY, headers={"Authorization": "Bearer ck-alice-0"})
        assert wrong.status_code == 401
        assert "does not know the key" in wrong.json()["error"]["message"]
        assert http.get("/metrics").status_code == 401
        answers = [http.post(CHAT, json=BODY, headers=bearer(few)) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[1].headers["x-ratelimit-remaining-requests"] == "0"
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 30
        assert answers[2].json()["error"]["code"] == "rate_limit_requests"
        # Another caller is not held up.
        done = http.post(CHAT, json=BODY, headers=bearer(short))
        assert done.json()["usage"]["completion_tokens"] == 3
        refused = http.post(CHAT, json={**BODY, "max_tokens": 4}, headers=bearer(short))
        assert refused.status_code == 400
        assert "allows 3 tokens" in refused.json()["error"]["message"]
        assert http.post(CHAT, json=BODY, headers=bearer(some)).status_code == 403
        assert http.post(CHAT, json={**BODY, "model": "demo:sft"}, headers=bearer(some)).status_code == 200


def test_tokens_of_a_key(serve_live: Any, file: Path) -> None:
    key = make_key(file, "alice", CallerLimits(tokens_per_minute=10))
    live = serve_live(access=Access(keys=Keys(file)))
    with live.client() as http:
        assert http.post(CHAT, json=BODY, headers=bearer(key)).status_code == 200
        refused = http.post(CHAT, json=BODY, headers=bearer(key))
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_tokens"
    assert live.taken == 0


def test_answers_at_a_time_of_a_key(serve_live: Any, file: Path) -> None:
    key = make_key(file, "alice", CallerLimits(running=1))
    live = serve_live(access=Access(keys=Keys(file)))
    live.lm.seconds_a_token = 0.02
    with live.client(headers=bearer(key)) as http:
        assert http.post(CHAT, json={**BODY, "n": 2}).status_code == 429
        with http.stream("POST", CHAT, json={**BODY, "stream": True}) as answer:
            lines = answer.iter_lines()
            next(lines)
            assert http.post(CHAT, json=BODY).status_code == 429
        assert http.post(CHAT, json=BODY).status_code == 200


def test_wrong_keys_are_counted(serve_live: Any, file: Path) -> None:
    key = make_key(file, "alice", CallerLimits())
    live = serve_live(access=Access(keys=Keys(file)))
    with live.client() as http:
        statuses = [http.get("/v1/models", headers=bearer(f"ck-bob-{i}")).status_code for i in range(25)]
        assert statuses == [401] * 20 + [429] * 5
        assert http.get("/v1/models", headers=bearer(key)).status_code == 429
        assert http.get("/health").status_code == 200


def test_a_key_opens_the_page(serve_live: Any, file: Path) -> None:
    key = make_key(file, "alice", CallerLimits())
    live = serve_live(access=Access(token="0123456789abcdef", keys=Keys(file)))
    with live.client() as http:
        assert http.post("/api/session", headers=bearer(key)).json() == {"session": True}
        assert http.get("/api/models").status_code == 200
        cookie = http.cookies["cutaway_session"]
        http.cookies.clear()
        for forged in (cookie.replace("alice", ""), cookie.replace("alice", "bob"), cookie[:-1], ".", "alice."):
            assert http.get("/api/models", headers={"Cookie": f"cutaway_session={forged}"}).status_code == 401


def test_limits_without_keys(serve_live: Any) -> None:
    live = serve_live(limits=Limits(drain_seconds=1, caller=CallerLimits(requests_per_minute=1)))
    with live.client() as http:
        assert [http.post(CHAT, json=BODY).status_code for _ in range(2)] == [200, 429]
        assert http.get("/v1/models").status_code == 200
