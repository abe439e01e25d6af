"""Sampling against formulas written down anew in numpy, against `transformers`, and draws against what is stated."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cutaway.infer import GREEDY, Sampling
from cutaway.infer.penalties import History
from cutaway.infer.sampling import draw
from cutaway.runs import BadInput, CutawayError

V = 24


def logits_of(seed: int, rows: int = 1) -> torch.Tensor:
    return torch.randn(rows, V, generator=torch.Generator().manual_seed(seed)) * 2.5


def stated(
    logits: np.ndarray[Any, Any],
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    typical_p: float = 1.0,
) -> np.ndarray[Any, Any]:
    """The distribution by its definition, a set of tokens at a time, in float64."""
    scores = np.asarray(logits, dtype=np.float64) / temperature
    p = np.exp(scores - scores.max())
    p /= p.sum()

    def only(kept: set[int]) -> np.ndarray[Any, Any]:
        left = np.array([p[i] if i in kept else 0.0 for i in range(len(p))])
        return left / left.sum()

    def first_that_reach(order: list[int], share: float) -> set[int]:
        kept: set[int] = set()
        for i in order:
            kept.add(i)
            if sum(p[j] for j in kept) >= share:
                break
        return kept

    if top_k:
        p = only(set(sorted(range(len(p)), key=lambda i: -p[i])[:top_k]))
    if top_p < 1:
        p = only(first_that_reach(sorted(range(len(p)), key=lambda i: -p[i]), top_p))
    if min_p > 0:
        p = only({i for i in range(len(p)) if p[i] >= min_p * max(p)})
    if typical_p < 1:
        alive = [i for i in range(len(p)) if p[i] > 0]
        entropy = -sum(p[i] * math.log(p[i]) for i in alive)
        p = only(first_that_reach(sorted(alive, key=lambda i: abs(-math.log(p[i]) - entropy)), typical_p))
    return p


SETTINGS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.6},
    {"temperature": 3.0},
    {"top_k": 5},
    {"top_k": 1},
    {"top_p": 0.7},
    {"top_p": 0.05},
    {"min_p": 0.1},
    {"min_p": 1.0},
    {"typical_p": 0.6},
    {"typical_p": 0.15},
    {"temperature": 1.5, "top_k": 12, "top_p": 0.9, "min_p": 0.05, "typical_p": 0.8},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_distribution_is_the_stated_one(settings: dict[str, Any]) -> None:
    logits = logits_of(1, 30)
    found = Sampling(**settings).distribution(logits)
    for row, probabilities in zip(logits, found, strict=True):
        np.testing.assert_allclose(probabilities.numpy(), stated(row.numpy(), **settings), atol=2e-6)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_tokens_are_drawn_with_the_stated_probabilities(settings: dict[str, Any]) -> None:
    n = 20_000
    logits = logits_of(2)
    wanted = stated(logits[0].numpy(), **settings)
    drawn = Sampling(**settings).choose(logits.expand(n, -1), torch.Generator().manual_seed(0))
    check(np.bincount(drawn.numpy(), minlength=V), wanted)


def check(counts: np.ndarray[Any, Any], wanted: np.ndarray[Any, Any]) -> None:
    """Pearson's chi-square over what is expected at least five times, the rest as one."""
    n = counts.sum()
    assert not counts[wanted == 0].any()
    often = wanted * n >= 5
    expected = [*(wanted[often] * n), wanted[~often].sum() * n]
    seen = [*counts[often], counts[~often].sum()]
    chi_square = sum((s - e) ** 2 / e for s, e in zip(seen, expected, strict=True) if e > 0)
    freedom = max(1, sum(e > 0 for e in expected) - 1)
    # Its mean is the degrees of freedom, its variance twice that.
    assert chi_square < freedom + 5 * (2 * freedom) ** 0.5


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_the_order_is_that_of_transformers(settings: dict[str, Any]) -> None:
    transformers = pytest.importorskip("transformers")
    process = transformers.generation.logits_process
    prompt, biases = torch.tensor([[3, 5, 5, 9]]), {(3,): 2.0, (7,): -1.5}
    chain = [process.SequenceBiasLogitsProcessor(biases), process.RepetitionPenaltyLogitsProcessor(1.3)]
    if "temperature" in settings:
        chain.append(process.TemperatureLogitsWarper(settings["temperature"]))
    if "top_k" in settings:
        chain.append(process.TopKLogitsWarper(settings["top_k"]))
    if "top_p" in settings:
        chain.append(process.TopPLogitsWarper(settings["top_p"]))
    if "min_p" in settings:
        chain.append(process.MinPLogitsWarper(settings["min_p"]))
    if "typical_p" in settings:
        chain.append(process.TypicalLogitsWarper(settings["typical_p"]))
    sampling = Sampling(**settings, repetition_penalty=1.3, logit_bias={t: b for (t,), b in biases.items()})
    for seed in range(40):
        logits = logits_of(seed)
        theirs = logits.clone()
        for each in chain:
            theirs = each(prompt, theirs)
        ours = sampling.distribution(logits, sampling.history(prompt.tolist(), V))
        torch.testing.assert_close(ours, theirs.softmax(-1), atol=2e-6, rtol=1e-4)


def test_truncation_keeps_the_smallest_sets() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    for settings, wanted in (
        ({"top_p": 0.0}, [1, 0, 0, 0]),
        ({"top_p": 0.5}, [1, 0, 0, 0]),
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"min_p": 0.61}, [1, 0, 0, 0]),
        ({"min_p": 0.59}, [0.625, 0.375, 0, 0]),
        # Surprises are 0.69, 1.20, 1.90 and 3.00, their mean is 1.14: the second is the most typical.
        ({"typical_p": 0.0}, [0, 1, 0, 0]),
        ({"typical_p": 0.31}, [0.625, 0.375, 0, 0]),
    ):
        found = Sampling(1.0, **settings).distribution(logits)[0]
        torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float32))


def test_what_is_not_allowed_has_no_probability() -> None:
    logits = logits_of(4)
    allowed = torch.zeros(1, V, dtype=torch.bool)
    allowed[0, [2, 8]] = True
    found = Sampling(1.0).distribution(logits, None, allowed)[0]
    assert found.nonzero().flatten().tolist() == [2, 8]
    two = logits[0, [2, 8]].softmax(-1)
    torch.testing.assert_close(found[[2, 8]], two)
    assert int(GREEDY.choose(logits, torch.Generator(), None, allowed)) == [2, 8][int(two.argmax())]


def test_the_coldest_and_the_hottest_are_still_distributions() -> None:
    logits = torch.tensor([[1e4, 9.9e3, -1e4, 0.0]])
    for temperature in (5e-324, 1e-300, 1e-40, 1e-6):
        assert Sampling(temperature).distribution(logits)[0].tolist() == [1, 0, 0, 0]
    assert Sampling(100.0).distribution(logits).isfinite().all()
    assert Sampling(0.7).distribution(logits.to(torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("temperature", (0.0, 100.0), (-1e-9, 100.1, math.nan, math.inf)),
        ("top_p", (0.0, 1.0), (-0.1, 1.01, math.nan)),
        ("top_k", (0, 2**31), (-1, 2**31 + 1, math.nan, 2.5)),
        ("min_p", (0.0, 1.0), (-0.1, 1.01, math.nan)),
        ("typical_p", (0.0, 1.0), (-0.1, 1.01, math.nan)),
        ("repetition_penalty", (0.01, 100.0), (0.0, -1.0, 101.0, math.nan, math.inf)),
        ("presence_penalty", (-2.0, 2.0), (-2.1, 2.1, math.nan)),
        ("frequency_penalty", (-2.0, 2.0), (-2.1, 2.1, math.nan)),
        ("logit_bias", ({0: 100.0}, {5: -100}), ({0: 100.5}, {0: math.nan}, {-1: 0.0})),
    ],
)
def test_bounds(name: str, inside: tuple[Any, ...], outside: tuple[Any, ...]) -> None:
    for value in inside:
        assert Sampling(**{name: value}).distribution(logits_of(0)).sum() == pytest.approx(1)
    for value in outside:
        with pytest.raises(BadInput, match=name):
            Sampling(**{name: value})


def test_a_bias_for_a_token_that_there_is_not() -> None:
    with pytest.raises(BadInput, match=f"logit_bias names token {V}; the model's tokens go from 0 to {V - 1}"):
        Sampling(logit_bias={V: 1.0}).distribution(logits_of(0))


def test_settings_can_be_compared_and_be_keys() -> None:
    assert Sampling(logit_bias={3: 1.0, 1: 2.0}) == Sampling(logit_bias={1: 2.0, 3: 1.0})
    assert len({Sampling(logit_bias={3: 1.0}), Sampling(logit_bias={3: 1.0}), GREEDY}) == 2


def test_damaged_logits_are_told() -> None:
    for bad in (torch.full((1, V), math.nan), torch.full((1, V), -math.inf)):
        with pytest.raises(CutawayError, match="no token a probability"):
            Sampling(1.0).choose(bad, torch.Generator())
        with pytest.raises(CutawayError, match="no token a probability"):
            GREEDY.choose(bad, torch.Generator())


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9).filter(lambda p: sum(p) > 1e-6), st.integers(0, 1000))
def test_what_is_drawn_has_a_probability(probabilities: list[float], seed: int) -> None:
    row = torch.tensor([probabilities])
    token = int(draw(row, torch.Generator().manual_seed(seed)))
    assert row[0, token] > 0


def test_rows_with_histories_of_their_own() -> None:
    sampling = Sampling(1.0, repetition_penalty=1.5, frequency_penalty=0.5)
    logits = logits_of(3, 2)
    first, second = History.of([[1, 2]], V), History.of([[5]], V)
    second.add(torch.tensor([7]))
    both = sampling.distribution(logits, History.joined([first, second]))
    torch.testing.assert_close(both[0], sampling.distribution(logits[:1], first)[0])
    torch.testing.assert_close(both[1], sampling.distribution(logits[1:], second)[0])
