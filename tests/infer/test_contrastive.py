"""Contrastive search against a slow one over `transformers`' hidden states, which computes everything anew."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
import zoo

from cutaway.infer import Contrast, Session
from cutaway.infer.contrastive import contrastive_search
from cutaway.infer.generate import Step
from cutaway.model import load_model
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer


class Numbers:
    """Stands for a tokenizer: every token is its number."""

    special: dict[str, int] = {}

    def token_bytes(self, token: int) -> bytes:
        return f" {token}".encode()


def ours(model: Any, prompt: list[int], contrast: Contrast, n: int, stops: Any = ()) -> list[Step]:
    session = Session(model)
    read = session.read(prompt)
    tokenizer = cast("Tokenizer", Numbers())
    return list(contrastive_search(tokenizer, session, read, contrast, max_tokens=n, stop_ids=stops, top=2))


def slow(theirs: Any, prompt: list[int], penalty: float, k: int, n: int) -> list[int]:
    """Su et al. 2022, equation 5, word for word."""
    ids = list(prompt)
    for _ in range(n):
        out = theirs(input_ids=torch.tensor([ids]), output_hidden_states=True)
        shares = out.logits[0, -1].softmax(-1)
        best, chosen = -math.inf, -1
        for token in shares.topk(k).indices.tolist():
            states = theirs(input_ids=torch.tensor([[*ids, token]]), output_hidden_states=True).hidden_states[-1][0]
            likeness = max(float(torch.cosine_similarity(states[-1], state, dim=0)) for state in states[:-1])
            score = (1 - penalty) * float(shares[token]) - penalty * likeness
            if score > best:
                best, chosen = score, token
        ids.append(chosen)
    return ids[len(prompt) :]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    directory = tmp_path_factory.mktemp("model")
    theirs = zoo.build(request.param)
    theirs.save_pretrained(directory)
    return load_model(directory), theirs.eval()


@pytest.mark.parametrize(("penalty", "k"), [(0.6, 4), (0.2, 8), (1.0, 3)])
def test_tokens_equal_those_of_the_slow_search(pair: tuple[Any, Any], penalty: float, k: int) -> None:
    model, theirs = pair
    for prompt in ([5, 9, 20], [7] * 6):
        with torch.no_grad():
            wanted = slow(theirs, prompt, penalty, k, 10)
        steps = ours(model, prompt, Contrast(penalty, k), 10)
        assert [step.token for step in steps] == wanted
        logprobs = model(torch.tensor([prompt + wanted])).log_softmax(-1)[0, len(prompt) - 1 :]
        for place, step in enumerate(steps):
            assert step.logprob == pytest.approx(float(logprobs[place, step.token]), abs=1e-4)
            assert [token for token, _ in step.alternatives] == logprobs[place].topk(2).indices.tolist()


def test_without_penalty_or_choice_it_is_greedy(pair: tuple[Any, Any]) -> None:
    model, theirs = pair
    prompt = [5, 9, 20]
    with torch.no_grad():
        wanted = slow(theirs, prompt, 0.0, 1, 12)
    for contrast in (Contrast(0.0, 5), Contrast(0.9, 1)):
        assert [step.token for step in ours(model, prompt, contrast, 12)] == wanted


def test_it_ends_with_a_stop_token_and_with_the_context(pair: tuple[Any, Any]) -> None:
    model, _ = pair
    free = [step.token for step in ours(model, [5, 9, 20], Contrast(), 12)]
    stopped = [step.token for step in ours(model, [5, 9, 20], Contrast(), 12, {free[4]})]
    assert stopped == free[: free.index(free[4]) + 1]
    context = model.config.context
    assert len(ours(model, [5] * (context - 3), Contrast(), 12)) == 3


def test_an_encoder_decoder_searches_too(tmp_path: Path) -> None:
    zoo.build("t5").save_pretrained(tmp_path)
    model = load_model(tmp_path)

    def write(contrast: Contrast) -> list[int]:
        session = Session(model, [10, 11, 12])
        read, tokenizer = session.read([0]), cast("Tokenizer", Numbers())
        steps = contrastive_search(tokenizer, session, read, contrast, max_tokens=8, stop_ids=())
        return [step.token for step in steps]

    greedy = Session(model, [10, 11, 12])
    greedy.read([0])
    wanted = []
    for _ in range(8):
        wanted.append(int(greedy.logits.argmax()))
        greedy.read(wanted[-1:])
    assert write(Contrast(0.0, 6)) == wanted
    assert write(Contrast(0.9, 6)) != wanted


@pytest.mark.parametrize("wrong", [(-0.1, 4), (1.1, 4), (math.nan, 4), (0.5, 0), (0.5, 257)])
def test_bounds(wrong: tuple[float, int]) -> None:
    with pytest.raises(BadInput, match="must"):
        Contrast(*wrong)
