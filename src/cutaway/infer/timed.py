"""Generation with the KV cache and without it, step by step, measured side by side."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from cutaway.infer.generate import Session
from cutaway.model import KVCache, Transformer


@dataclass(frozen=True)
class TimedStep:
    """One greedy step, done both ways.

    Attributes:
        read: tokens that stood before it.
        token: what was chosen with the cache.
        same: whether the other way chose the same; the two add in another order, so that a tie may fall otherwise.
        cached: seconds in which one token was read and the next chosen, with the keys and values of all others kept.
        recomputed: seconds in which all tokens were read and the next chosen.
        cache_bytes: what was kept then.
    """

    read: int
    token: int
    same: bool
    cached: float
    recomputed: float
    cache_bytes: int


@torch.inference_mode()
def timed_steps(model: Transformer, tokens: Sequence[int], most: int) -> Iterator[TimedStep]:
    """Write up to `most` tokens after `tokens`, greedily, each with the cache and then without it.

    What comes before the last of `tokens` is read beforehand, both ways, and not measured. Raises `BadInput` if the
    model does not write, or the tokens do not fit into its context.
    """
    session, ids = Session(model), list(tokens)
    if len(ids) > 1:
        session.read(ids[:-1])
    model.logits(model.hidden(torch.tensor([ids]))[:, -1])
    for _ in range(min(most, model.config.context - len(ids) + 1)):
        began = time.perf_counter()
        session.read(ids[-1:])
        token = int(session.logits.argmax(-1))
        between = time.perf_counter()
        again = int(model.logits(model.hidden(torch.tensor([ids]))[:, -1]).argmax(-1))
        ended = time.perf_counter()
        held = cache_bytes(session.cache)
        yield TimedStep(len(ids), token, again == token, between - began, ended - between, held)
        ids.append(token)


def cache_bytes(cache: KVCache) -> int:
    """Bytes of the keys and values that a cache holds; the room that it has for more is not counted."""
    held = [kept[:, :, : cache.length] for layer in cache.layers for kept in (layer.k, layer.v)]
    return sum(each.numel() * each.element_size() for each in held)
