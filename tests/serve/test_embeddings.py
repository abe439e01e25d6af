"""Texts as vectors."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import openai
import pytest
import torch

from cutaway.infer import LanguageModel, load
from cutaway.model import ModelConfig, Transformer
from cutaway.model.catalogue import find
from cutaway.serve import Offer, embeddings_api
from cutaway.serve.offers import Lazy
from cutaway.tokens import Tokenizer

TEXTS = ["The sky is blue.", "In the beginning God made the heaven and the earth.", "42"]


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel("demo", Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=64)), tokenizer)


@pytest.fixture
def client(live: Any) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0) as client:
        yield client


def vectors(done: Any) -> np.ndarray:
    assert [each.index for each in done.data] == list(range(len(done.data)))
    return np.array([each.embedding for each in done.data])


def test_texts_and_ids_in_both_encodings(client: openai.OpenAI, lm: LanguageModel) -> None:
    expected = np.array([lm.embed([text])[0].tolist() for text in TEXTS])  # each alone, so without padding
    ids = [lm.tokenizer.document(text) for text in TEXTS]
    for given in (TEXTS, ids):
        for encoding in ("float", "base64"):
            done: Any = client.embeddings.create(model="demo", input=given, encoding_format=encoding)
            if encoding == "base64":
                assert isinstance(done.data[0].embedding, str)
                found = np.array([np.frombuffer(base64.b64decode(each.embedding), "<f4") for each in done.data])
            else:
                found = vectors(done)
            np.testing.assert_allclose(found, expected, atol=1e-5)
            assert done.usage.total_tokens == sum(map(len, ids))
    for alone in (TEXTS[0], ids[0]):
        np.testing.assert_allclose(
            vectors(client.embeddings.create(model="demo", input=alone)), expected[:1], atol=1e-5
        )
    assert np.allclose(np.linalg.norm(expected, axis=1), 1)


def test_the_size_of_a_vector(client: openai.OpenAI, lm: LanguageModel) -> None:
    size = lm.config.d_model
    assert len(client.embeddings.create(model="demo", input="x", dimensions=size).data[0].embedding) == size
    with pytest.raises(openai.BadRequestError, match=f"have {size} dimensions"):
        client.embeddings.create(model="demo", input="x", dimensions=size - 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("light " * 100, "text 0 is .* context is 64"),
        (["x", "light " * 100], "text 1 is .* context is 64"),
        ([5] * 65, "text 0 is 65 tokens"),
        ([500], "500 is no token"),
        ([], "input"),
        ([[]], "input"),
        (["x"] * 257, "input"),
        ([["x"]], "input"),
        ([1.5], "input"),
        (None, "input"),
    ],
)
def test_bad_input(client: openai.OpenAI, given: Any, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        client.embeddings.create(model="demo", input=given)


def test_no_text_at_all_has_a_vector(client: openai.OpenAI) -> None:
    assert np.isfinite(vectors(client.embeddings.create(model="demo", input=["", "x"]))).all()


def test_batches_hold_every_text_once_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embeddings_api, "BATCH_TOKENS", 100)
    lengths = [7, 90, 1, 300, 12, 12, 55, 40, 3]
    found = list(embeddings_api.batches(lengths))
    assert sorted(row for batch in found for row in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or max(lengths[row] for row in batch) * len(batch) <= 100 for batch in found)


@pytest.mark.skipif(find("minilm-l6") is None, reason="the model minilm-l6 is not here")
def test_a_sentence_encoder(serve_live: Any) -> None:
    live = serve_live(offers=[Offer("minilm", Lazy(lambda: load("minilm-l6")), "minilm")])
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any") as client:
        a, b, c = vectors(client.embeddings.create(model="minilm", input=["a cat", "a small cat", "the stock market"]))
        assert a @ b > 0.7 > 0.3 > a @ c
        with pytest.raises(openai.BadRequestError, match="is an encoder"):
            client.completions.create(model="minilm", prompt="x")
