"""Writing with a language model: draw a token, read it, draw the next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from cutaway.ladder.backoff import BackOff
from cutaway.ladder.neural import NeuralModel
from cutaway.ladder.protocol import Floats, SequenceModel


def reader(model: SequenceModel) -> Callable[[int], Floats]:
    """What reads one more token of a new sequence and gives the distribution after it, `[vocab_size]`.

    Nothing is read twice: a network goes on from what it keeps of the past, an n-gram looks no further back than it
    counts.
    """
    if isinstance(model, NeuralModel):
        past: Any = None

        def step(token: int) -> Floats:
            nonlocal past
            with torch.inference_mode():
                logits, past = model.read(torch.tensor([[token]], device=model.device), past)
                return logits[0, -1].double().softmax(-1).cpu().numpy()

        return step
    seen: list[int] = []

    def look_up(token: int) -> Floats:
        seen.append(token)
        if isinstance(model, BackOff):
            del seen[: max(0, len(seen) - model.order + 1)]
        return model.probabilities(seen)

    return look_up


def write_on(model: SequenceModel, context: Sequence[int], length: int, seed: int) -> list[int]:
    """`length` tokens after `context`, each drawn from the model's distribution; the same for the same seed.

    Raises:
        BadInput: a token of the context is outside the vocabulary.
    """
    rng = np.random.default_rng(seed)
    read, probabilities = reader(model), model.probabilities([])
    for token in context:
        probabilities = read(token)
    written: list[int] = []
    for _ in range(length):
        written.append(int(rng.choice(len(probabilities), p=probabilities / probabilities.sum())))
        probabilities = read(written[-1])
    return written
