"""Penalties against their definitions, token by token, and generation with them against `transformers`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.infer import Sampling, generate_batch
from cutaway.infer.penalties import History
from cutaway.model import ModelConfig, Transformer, save_model

V = 20
TOKENS = st.lists(st.integers(0, V - 1), max_size=12)


@given(TOKENS.filter(bool), TOKENS, st.floats(0.1, 4), st.floats(-2, 2), st.floats(-2, 2))
def test_each_logit_changes_by_the_definition(
    prompt: list[int], written: list[int], repetition: float, presence: float, frequency: float
) -> None:
    logits = torch.linspace(-4, 4, V)
    sampling = Sampling(repetition_penalty=repetition, presence_penalty=presence, frequency_penalty=frequency)
    history = sampling.history([prompt], V)
    for token in written:
        if history:
            history.add(torch.tensor([token]))
    found = sampling.scores(logits[None], history)[0]
    counts = Counter(written)
    for token in range(V):
        logit = float(logits[token])
        if token in prompt or token in written:
            logit = logit / repetition if logit > 0 else logit * repetition
        logit -= frequency * counts[token] + (presence if counts[token] else 0)
        assert float(found[token]) == pytest.approx(logit, abs=1e-4)


def test_nothing_is_counted_that_nothing_depends_on() -> None:
    assert Sampling(0.7, 0.9, 5, logit_bias={1: 2.0}).history([[1]], V) is None


@given(TOKENS.filter(bool), TOKENS, TOKENS)
def test_looking_ahead_counts_as_writing_does(prompt: list[int], written: list[int], ahead: list[int]) -> None:
    history = History.of([prompt], V)
    for token in written:
        history.add(torch.tensor([token]))
    places = history.followed_by(ahead)
    for place in range(len(ahead) + 1):
        assert torch.equal(places.read[place], history.read[0])
        assert torch.equal(places.written[place], history.written[0])
        if place < len(ahead):
            history.add(torch.tensor([ahead[place]]))


@pytest.fixture(scope="module")
def model() -> Transformer:
    torch.manual_seed(0)
    model = Transformer(ModelConfig(97, 2, 32, 2, 1, 16, 64, context=64))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    return model.eval().requires_grad_(False)


def test_greedy_with_a_repetition_penalty_equals_transformers(model: Transformer, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    save_model(model, tmp_path, token_ids={"bos_token_id": 0, "eos_token_id": [0, 1]})
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    prompts = [[2 + (7 * i + j * j) % 95 for j in range(1 + i)] for i in range(12)]
    for penalty in (1.0, 1.3, 0.8):
        sampling = Sampling(0.0, repetition_penalty=penalty)
        ours = generate_batch(model, prompts, max_tokens=24, stop_ids={0, 1}, sampling=sampling, batch_size=5)
        for prompt, written in zip(prompts, ours, strict=True):
            out = theirs.generate(
                torch.tensor([prompt]), max_new_tokens=24, do_sample=False, repetition_penalty=penalty, pad_token_id=0,
            )  # fmt: skip
            assert out[0, len(prompt) :].tolist() == written


def test_penalties_keep_to_their_own_sequence_in_a_batch(model: Transformer) -> None:
    sampling = Sampling(0.0, frequency_penalty=1.5, presence_penalty=0.5, repetition_penalty=1.1)
    prompts = [[5] * n for n in (1, 9, 3, 3, 12)]
    together = generate_batch(model, prompts, max_tokens=30, stop_ids=range(8), sampling=sampling)
    alone = [generate_batch(model, [p], max_tokens=30, stop_ids=range(8), sampling=sampling)[0] for p in prompts]
    assert together == alone
