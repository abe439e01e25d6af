"""What the page is told of a tokenizer: its merges in their order."""

from __future__ import annotations

from typing import Any

from cutaway.tokens import Tokenizer, character_tokenizer


def test_merges_in_their_order(serve_live: Any, tokenizer: Tokenizer) -> None:
    live = serve_live()
    tokenizer.save(live.run / "tokenizer")
    (live.run / "recipe.toml").touch()
    with live.client() as http:
        found = http.get("/api/runs/merges", params={"run": "demo", "count": 200}).json()
        assert found["total"] == len(found["merges"]) > 100
        assert [each["rank"] for each in found["merges"]] == list(range(found["total"]))
        known = {bytes([value]) for value in range(256)}
        for each in found["merges"]:
            left, right, joined = (bytes.fromhex(each[part]["bytes"]) for part in ("left", "right", "joined"))
            assert left + right == joined
            assert {left, right} <= known  # both were bytes, or learned before
            assert tokenizer.token_bytes(each["joined"]["id"]) == joined
            known.add(joined)
        more = http.get("/api/runs/merges", params={"run": "demo", "first": 90, "count": 10}).json()["merges"]
        assert more == found["merges"][90:100]
        assert http.get("/api/runs/merges", params={"run": "demo", "first": 10**6}).json()["merges"] == []
        assert http.get("/api/runs/merges", params={"run": "absent"}).status_code == 404


def test_a_tokenizer_without_merges(serve_live: Any) -> None:
    live = serve_live()
    (live.run / "recipe.toml").touch()
    with live.client() as http:
        assert http.get("/api/runs/merges", params={"run": "demo"}).status_code == 404
        character_tokenizer("some text", live.run / "tokenizer")
        found = http.get("/api/runs/merges", params={"run": "demo"}).json()
        assert found == {"total": 0, "merges": []}
