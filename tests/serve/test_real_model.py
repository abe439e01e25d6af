"""The way through inference itself, with a tiny model that was never trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.serve import Offer
from cutaway.tokens import Tokenizer


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=64)
    return LanguageModel("demo", Transformer(config), tokenizer)


def test_greedy_text_is_that_of_generate(live: Any, lm: LanguageModel) -> None:
    expected = lm.generate("In the beginning", max_tokens=24)
    body = {"model": "demo", "prompt": "In the beginning", "max_tokens": 24, "temperature": 0}
    with live.client() as http:
        assert http.post("/v1/completions", json=body).json()["choices"][0]["text"] == expected


def test_chat(live: Any, lm: LanguageModel) -> None:
    messages = [{"role": "user", "content": "Who are you?"}]
    prompt = len(lm.tokenizer.encode_chat(messages))
    body = {"model": "demo", "messages": messages, "seed": 3, "logprobs": True, "top_logprobs": 10}
    with live.client() as http:
        first, second = (http.post("/v1/chat/completions", json=body).json() for _ in range(2))
    assert first["choices"] == second["choices"]
    assert first["choices"][0]["finish_reason"] in ("stop", "length")
    assert first["usage"]["prompt_tokens"] == prompt
    assert first["usage"]["total_tokens"] <= 64
    for token in first["choices"][0]["logprobs"]["content"]:
        assert len(token["top_logprobs"]) == 10


def test_offer_type_checks(lm: LanguageModel) -> None:
    assert Offer("demo", lambda: lm, "demo").load() is lm
