"""/tokenize and /detokenize."""

from __future__ import annotations

from typing import Any

import pytest

from cutaway.serve.text_shapes import TokenCount

HELLO = [{"role": "user", "content": "hi <|end|>"}]


def test_there_and_back(live: Any) -> None:
    tokenizer, text = live.lm.tokenizer, "The sky é\n<|end|>"
    with live.client() as http:
        plain = http.post(
            "/tokenize",
            json={"model": "demo", "prompt": text, "add_special_tokens": False, "return_token_strs": True},
        ).json()
        assert plain["tokens"] == tokenizer.encode(text)
        shaped = TokenCount.model_validate(plain)
        assert (shaped.count, shaped.max_model_len) == (len(plain["tokens"]), 256)
        assert any(name.startswith("bytes:\\x") for name in shaped.token_strs or [])
        assert http.post("/detokenize", json={"model": "demo", "tokens": plain["tokens"]}).json() == {"prompt": text}
        document = http.post("/tokenize", json={"model": "demo", "prompt": text}).json()
        assert document["tokens"] == tokenizer.document(text)
        assert document["token_strs"] is None
        assert http.post("/detokenize", json={"model": "demo", "tokens": []}).json() == {"prompt": ""}


def test_conversations(live: Any) -> None:
    with live.client() as http:
        body = {"model": "demo", "messages": HELLO}
        assert http.post("/tokenize", json=body).json()["tokens"] == live.lm.tokenizer.encode_chat(HELLO)
        closed = http.post("/tokenize", json={**body, "add_generation_prompt": False}).json()["tokens"]
        assert closed == live.lm.tokenizer.encode_chat(HELLO, generate=False)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/tokenize", {}),
        ("/tokenize", {"prompt": "x", "messages": HELLO}),
        ("/tokenize", {"prompt": 5}),
        ("/tokenize", {"prompt": "x" * ((1 << 20) + 1)}),
        ("/detokenize", {}),
        ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [500]}),
        ("/detokenize", {"tokens": ["x"]}),
        ("/detokenize", {"tokens": 5}),
    ],
)
def test_bad_requests(live: Any, path: str, body: dict[str, Any]) -> None:
    with live.client() as http:
        assert http.post(path, json={"model": "demo", **body}).status_code == 400
