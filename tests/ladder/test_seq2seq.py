"""Recurrent translators against their equations, written out in loops over single numbers and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cutaway.ladder.seq2seq import Kind, RecurrentTranslator

KINDS: list[Kind] = ["fixed", "bahdanau", "luong", "luong_dot"]
V, WIDTH, LENGTHS, T = 11, 6, (5, 3, 1), 4
Floats = NDArray[np.float64]


def made(kind: Kind) -> tuple[RecurrentTranslator, torch.Tensor, torch.Tensor, torch.Tensor]:
    """A model with weights far from nothing, sources of several lengths, where they are present, and targets."""
    torch.manual_seed(3)
    model = RecurrentTranslator(kind, V, WIDTH).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(0, 0.6)
    present = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    source = torch.randint(1, V, present.shape) * present
    return model, source, present, torch.randint(1, V, (len(LENGTHS), T))


def sigmoid(x: Floats) -> Floats:
    return 1 / (1 + np.exp(-x))


def gru(x: Floats, h: Floats, w: dict[str, Floats], suffix: str) -> Floats:
    """A gated recurrent unit (Cho et al. 2014), with the reset gate where PyTorch's documentation has it."""
    a_r, a_z, a_n = np.split(w[f"weight_ih{suffix}"] @ x + w[f"bias_ih{suffix}"], 3)
    b_r, b_z, b_n = np.split(w[f"weight_hh{suffix}"] @ h + w[f"bias_hh{suffix}"], 3)
    r, z = sigmoid(a_r + b_r), sigmoid(a_z + b_z)
    n = np.tanh(a_n + r * b_n)
    return (1 - z) * n + z * h


def weights_of(module: torch.nn.Module) -> dict[str, Floats]:
    return {name: weight.detach().numpy() for name, weight in module.named_parameters()}


def by_the_equations(model: RecurrentTranslator, source: list[int], target_in: list[int]) -> tuple[Floats, Floats]:
    """Logits `[target, vocab]` and shares `[target, source]` of one sentence, token by token."""
    w, gates, cell = weights_of(model), weights_of(model.encoder), weights_of(model.decoder)
    embedded = w["embed.weight"]
    half = np.zeros(WIDTH // 2)
    forth: list[Floats] = []
    for token in source:
        forth.append(gru(embedded[token], forth[-1] if forth else half, gates, "_l0"))
    back: list[Floats] = []
    for token in reversed(source):
        back.append(gru(embedded[token], back[-1] if back else half, gates, "_l0_reverse"))
    h = [np.concatenate([f, b]) for f, b in zip(forth, reversed(back), strict=True)]
    summary = np.concatenate([forth[-1], back[-1]])

    def score(s: Floats, annotation: Floats) -> float:
        match model.kind:
            case "bahdanau":
                inner = np.tanh(w["score.query.weight"] @ s + w["score.key.weight"] @ annotation)
                return float(w["score.v.weight"][0] @ inner)
            case "luong":
                return float(s @ (w["score.key.weight"] @ annotation))
            case _:
                return float(s @ annotation)

    def attend(s: Floats) -> tuple[Floats, Floats]:
        if model.kind == "fixed":
            return summary, np.zeros(len(source))
        powers = np.exp([score(s, annotation) for annotation in h])
        shares = powers / powers.sum()
        return sum((a * annotation for a, annotation in zip(shares, h, strict=True)), np.zeros(WIDTH)), shares

    s = np.tanh(w["first.weight"] @ summary + w["first.bias"])
    logits, alignment = [], []
    for token in target_in:
        if model.kind in ("fixed", "bahdanau"):
            c, shares = attend(s)
            s = gru(np.concatenate([embedded[token], c]), s, cell, "")
        else:
            s = gru(embedded[token], s, cell, "")
            c, shares = attend(s)
        logits.append(embedded @ np.tanh(w["output.weight"] @ np.concatenate([c, s])) + w["bias"])
        alignment.append(shares)
    return np.array(logits), np.array(alignment)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_logits_and_alignments_are_those_of_the_equations(kind: Kind) -> None:
    model, source, present, target_in = made(kind)
    logits = model(source, present, target_in).numpy()
    alignment = None if kind == "fixed" else model.alignment(source, present, target_in).numpy()
    for row, length in enumerate(LENGTHS):
        wanted, shares = by_the_equations(model, source[row, :length].tolist(), target_in[row].tolist())
        np.testing.assert_allclose(logits[row], wanted, atol=1e-10)
        if alignment is not None:
            np.testing.assert_allclose(alignment[row, :, :length], shares, atol=1e-10)
            assert not alignment[row, :, length:].any()


@torch.no_grad()
def test_kinds_differ() -> None:
    found = [by_the_equations(model, [1, 2, 3], [4, 5])[0] for model in (made(kind)[0] for kind in KINDS[2:])]
    assert not np.allclose(found[0], found[1])


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_writing_token_by_token_is_reading_the_whole_target(kind: Kind) -> None:
    model, source, present, target_in = made(kind)
    wanted = model(source, present, target_in)
    writing = model.begin(source, present)
    # In another order of rows, and one of them twice.
    which = torch.tensor([2, 0, 1, 0])
    writing = writing.rows(which)
    for t in range(T):
        logits, writing = model.step(writing, target_in[which, t])
        torch.testing.assert_close(logits, wanted[which, t])


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_neither_logits_nor_gradients(kind: Kind) -> None:
    model, source, present, target_in = made(kind)
    model.embed.weight.requires_grad_(True)

    def gradient(source: Any, present: Any, rows: Any) -> torch.Tensor:
        model.zero_grad()
        model(source, present, target_in[rows]).square().sum().backward()
        assert model.embed.weight.grad is not None
        return model.embed.weight.grad.clone()

    alone = gradient(source[1:2, : LENGTHS[1]], present[1:2, : LENGTHS[1]], slice(1, 2))
    torch.testing.assert_close(gradient(source[1:2], present[1:2], slice(1, 2)), alone)
