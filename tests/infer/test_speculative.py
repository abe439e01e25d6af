"""Speculation gives what the model alone would: greedy to the token, sampling in distribution."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
import torch

from cutaway.infer import GREEDY, Sampling, Session
from cutaway.infer.generate import stream
from cutaway.infer.speculative import Chance, Draft, Drafter, DraftModel, PromptLookup, Record, speculate, verified
from cutaway.model import ModelConfig, Transformer
from cutaway.tokens import Tokenizer


class Numbers:
    """Stands for a tokenizer: every token is its number."""

    special: dict[str, int] = {}

    def token_bytes(self, token: int) -> bytes:
        return f" {token}".encode()


NUMBERS = cast("Tokenizer", Numbers())


def random_model(vocab: int, seed: int, *, layers: int = 2, context: int = 64, spread: float = 0.25) -> Transformer:
    torch.manual_seed(seed)
    model = Transformer(ModelConfig(vocab, layers, 16, 2, 1, 8, 24, context=context)).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.add_(torch.randn_like(weight) * spread)
    return model


def session_of(model: Transformer, prompt: list[int]) -> Session:
    session = Session(model)
    session.read(prompt)
    return session


def drafter_of(kind: str, vocab: int, model: Transformer) -> Drafter:
    if kind == "look-up":
        return PromptLookup(vocab)
    # The same model guesses right always, another one seldom.
    return DraftModel(model if kind == "itself" else random_model(vocab, 99, layers=1), vocab)


KINDS = ["look-up", "itself", "another"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_greedy_equals_plain_greedy(kind: str, seed: int) -> None:
    model = random_model(23, seed)
    # A text that repeats itself, so that there is something to look up.
    prompt = [5, 6, 7, 8, 5, 6, 7, 9, 5, 6][: 2 + 4 * seed]
    for sampling in (GREEDY, Sampling(0.0, repetition_penalty=1.2, frequency_penalty=0.3)):
        for n, stops in ((1, ()), (60, ()), (40, (3, 11))):
            options: dict[str, Any] = {
                "max_tokens": n, "sampling": sampling, "stop_ids": stops, "generator": sampling.generator(), "top": 2,
            }  # fmt: skip
            plain = list(stream(model, NUMBERS, session_of(model, prompt), **options))
            for width in (1, 5):
                record, session = Record(), session_of(model, prompt)
                drafter = drafter_of(kind, 23, model)
                found = list(speculate(NUMBERS, session, drafter, **options, width=width, record=record))
                assert [step.token for step in found] == [step.token for step in plain]
                assert [step.text for step in found] == [step.text for step in plain]
                for one, other in zip(found, plain, strict=True):
                    assert one.logprob == pytest.approx(other.logprob, abs=1e-4)
                    assert [token for token, _ in one.alternatives] == [token for token, _ in other.alternatives]
                assert record.written == len(found)
                assert record.accepted <= record.drafted
                # All that was written stands in the session, but for the last token, which nobody has read.
                assert session.ids == [*prompt, *(step.token for step in found[:-1])]
                assert session.cache.length == len(session.ids)
                if kind == "itself":
                    assert record.accepted == record.drafted
                    assert record.passes <= -(-len(found) // (width + 1)) + 1


def test_guessing_saves_passes_where_a_text_repeats() -> None:
    model = random_model(23, 0)
    record = Record()
    options: dict[str, Any] = {"sampling": GREEDY, "stop_ids": (), "generator": GREEDY.generator()}
    list(speculate(NUMBERS, session_of(model, [5]), PromptLookup(23), max_tokens=60, record=record, **options))
    # A greedy random model runs in circles.
    assert record.passes < 40
    assert record.accepted > 20


def test_a_session_that_goes_back_reads_on_as_if_it_had_not_been_further() -> None:
    model = random_model(23, 1)
    session = session_of(model, [1, 2, 3])
    session.read([4, 5, 6, 7])
    session.forget(4)
    each = session.read_each([9, 10])
    torch.testing.assert_close(each, model(torch.tensor([[1, 2, 3, 4, 9, 10]]))[0, 4:], atol=1e-5, rtol=1e-5)
    assert torch.equal(session.logits, each[-1:])
    assert session.ids == [1, 2, 3, 4, 9, 10]


def test_a_draft_model_takes_up_where_the_text_has_gone() -> None:
    model = random_model(23, 1)
    drafter = DraftModel(model, 30)  # the large model has logits for more tokens
    chance = Chance(GREEDY, GREEDY.generator(), None)
    for text in ([1, 2, 3], [1, 2, 3, 4, 5], [1, 2, 9], [7], [7, 8]):
        draft = drafter.propose(text, 3, chance)
        ids = list(text)
        for token in draft.tokens:
            assert token == int(model(torch.tensor([ids]))[0, -1].argmax())
            ids.append(token)
        assert draft.probabilities.shape == (3, 30)
    assert len(drafter.propose([1] * 63, 5, chance).tokens) == 2
    assert drafter.propose([1] * 64, 5, chance).tokens == [int(model(torch.tensor([[1] * 64]))[0, -1].argmax())]
    assert drafter.propose([1] * 65, 5, chance).tokens == []


def test_look_up_takes_the_longest_and_latest_cue() -> None:
    chance = Chance(GREEDY, GREEDY.generator(), None)

    def propose(ids: list[int], most: int = 3) -> list[int]:
        return PromptLookup(50).propose(ids, most, chance).tokens

    assert propose([1, 2, 3, 4, 9, 1, 2, 3]) == [4, 9, 1]
    assert propose([1, 2, 3, 4, 7, 2, 3, 8, 1, 2, 3]) == [4, 7, 2]  # three in a row before two that are nearer
    assert propose([2, 3, 4, 2, 3, 8, 2, 3]) == [8, 2, 3]  # of two equally long the later
    assert propose([1, 2, 3]) == []
    assert propose([]) == []
    assert propose([4, 4]) == [4]
    grown, ids = PromptLookup(50), [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 1, 4, 1, 5]
    for end in range(1, len(ids) + 1):
        assert grown.propose(ids[:end], 4, chance).tokens == propose(ids[:end], 4)


def frequencies(counts: Counter[Any], wanted: dict[Any, float], n: int) -> None:
    """Pearson's chi-square, what is expected less than five times counted as one."""
    assert set(counts) <= {key for key, p in wanted.items() if p > 0}
    often = [key for key, p in wanted.items() if p * n >= 5]
    seen = [*(counts[key] for key in often), n - sum(counts[key] for key in often)]
    expected = [*(wanted[key] * n for key in often), n * (1 - sum(wanted[key] for key in often))]
    chi_square = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True) if e > 1e-6)
    freedom = max(1, len(often) - (expected[-1] <= 1e-6))
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("guess", ["drawn", "fixed"])
def test_what_is_verified_has_the_targets_distribution(seed: int, guess: str) -> None:
    """Two drafted tokens, of which the second is only reached where the first is kept."""
    random = torch.Generator().manual_seed(seed)
    p = (torch.randn(3, 5, generator=random) * 1.5).softmax(-1)
    q = (torch.randn(2, 5, generator=random) * 1.5).softmax(-1)
    p[1, 2], q[0, 1] = 0, 0  # a token that must not come, and one that is never guessed
    p, q = p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)
    n, counts = 3000, Counter[int]()
    kept = 0
    for _ in range(n):
        if guess == "drawn":
            draft = Draft([int(torch.multinomial(row, 1, generator=random)) for row in q], q)
        else:
            draft = Draft([3, 2], torch.nn.functional.one_hot(torch.tensor([3, 2]), 5).float())
        accepted, token = verified(p, draft, random)
        # p does not depend on what came before here, so that the first token's distribution is p[0] whatever happens.
        counts[[*draft.tokens[:accepted], token][0]] += 1
        kept += accepted > 0
    frequencies(counts, dict(enumerate(p[0].tolist())), n)
    # Leviathan et al. 2023, corollary 3.6: acceptance is what p and q have in common.
    common = float(torch.minimum(p[0], q[0]).sum()) if guess == "drawn" else float(p[0, 3])
    assert kept / n == pytest.approx(common, abs=5 * (0.25 / n) ** 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(1.0),
        Sampling(1.4, top_k=3, min_p=0.05),
        Sampling(0.8, 0.9, typical_p=0.9, repetition_penalty=1.4, frequency_penalty=0.7, logit_bias={2: 1.0}),
    ],
    ids=["plain", "cut", "penalised"],
)
def test_texts_have_the_distribution_of_plain_sampling(kind: str, sampling: Sampling) -> None:
    vocab, prompt, length, n = 4, [1, 2, 3, 1, 2, 0, 1, 2], 3, 500
    model = random_model(vocab, 5, layers=1, context=16, spread=0.5)
    wanted = exact(model, prompt, length, sampling)
    assert sum(wanted.values()) == pytest.approx(1, abs=1e-5)
    session, generator = session_of(model, prompt), torch.Generator().manual_seed(1)
    logits, counts, record = session.logits, Counter[tuple[int, ...]](), Record()
    shared = drafter_of(kind, vocab, model)
    for _ in range(n):
        session.forget(len(prompt))
        session.logits = logits
        drafter = PromptLookup(vocab) if kind == "look-up" else shared
        steps = speculate(
            NUMBERS, session, drafter, max_tokens=length, sampling=sampling, stop_ids=(), generator=generator, width=2,
            record=record,
        )  # fmt: skip
        counts[tuple(step.token for step in steps)] += 1
    frequencies(counts, wanted, n)
    assert record.accepted > 0
    assert record.accepted < record.drafted or kind == "itself"


def exact(model: Transformer, prompt: list[int], length: int, sampling: Sampling) -> dict[tuple[int, ...], float]:
    """The probability of each text, from whole readings without a cache."""
    found: dict[tuple[int, ...], float] = {}
    for text in itertools.product(range(model.config.vocab_size), repeat=length):
        logits = model(torch.tensor([[*prompt, *text]]))[0]
        history = sampling.history([prompt], model.config.vocab_size)
        chances = []
        for place, token in enumerate(text):
            shares = sampling.distribution(logits[len(prompt) + place - 1][None], history)
            chances.append(float(shares[0, token]))
            if history:
                history.add(torch.tensor([token]))
        found[text] = float(np.prod(chances))
    return found


def test_the_same_seed_gives_the_same_text() -> None:
    model = random_model(23, 2)

    def write(seed: int) -> list[int]:
        sampling = Sampling(1.0, seed=seed)
        steps = speculate(
            NUMBERS, session_of(model, [1]), drafter_of("another", 23, model), max_tokens=20, sampling=sampling,
            stop_ids=(), generator=sampling.generator(),
        )  # fmt: skip
        return [step.token for step in steps]

    assert write(1) == write(1)
    assert len({tuple(write(seed)) for seed in range(4)}) > 1
