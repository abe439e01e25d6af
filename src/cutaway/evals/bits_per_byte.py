"""Bits per byte: how well a model predicts text, in a unit that no tokenizer can flatter.

Loss per token depends on how long the tokens are. The same loss summed over a text and divided by the text's UTF-8
bytes does not, so it can be set beside an n-gram model, a file compressor, or a model with another tokenizer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from cutaway.corpus.documents import Document

# At most this many logits are alive at once (16 MiB in float32), whatever the vocabulary: more of them fall out of the
# processor's caches, and were measured to take twice the time for each token.
_LOGITS_AT_ONCE = 2**22


class Encoder(Protocol):
    """The part of a tokenizer that is needed here."""

    @property
    def end_of_text(self) -> int:
        """Id of the token that stands before and after every document."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ...


@dataclass(frozen=True)
class BitsPerByte:
    """Bits that a model needs for some text, and the size of that text."""

    bits: float
    bytes: int
    tokens: int

    @property
    def value(self) -> float:
        """Bits per UTF-8 byte."""
        return self.bits / self.bytes

    def __add__(self, other: BitsPerByte) -> BitsPerByte:
        return BitsPerByte(self.bits + other.bits, self.bytes + other.bytes, self.tokens + other.tokens)


@dataclass(frozen=True)
class _Window:
    """A stretch of one document: tokens ``start`` to ``end`` are read, those after ``scored`` are counted."""

    document: int
    start: int
    scored: int
    end: int


def windows(length: int, context: int, stride: int) -> Iterator[tuple[int, int, int]]:
    """Windows ``(start, scored, end)`` over ``length`` predictions, each of them counted in exactly one window.

    Prediction ``i`` is that of a document's token ``i`` from what stands before it. A window reads predictions
    ``start`` to ``end`` and counts those from ``scored`` on; it spans at most ``context``, and after the first
    window every counted prediction has at least ``context - stride`` others before it.
    """
    end = min(context, length)
    if length:
        yield 0, 0, end
    while end < length:
        scored, end = end, min(end + stride, length)
        yield max(0, end - context), scored, end


def bits_per_byte(
    model: Callable[[Tensor], Tensor],
    tokenizer: Encoder,
    documents: Iterable[Document],
    context: int,
    stride: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, BitsPerByte]:
    """Bits per byte of a model on documents, by source and under ``"total"``.

    ``model`` maps tokens [batch, position] to logits [batch, position, vocab]; ``context`` is the most positions it
    is given at once and ``stride`` (1 to ``context``) how far the window moves: a smaller stride costs more and gives
    each token more context. Every document begins after an end-of-text token; the token that would end it is not
    counted. Runs in float32 on the model's device. ``on_progress(done, total)`` counts windows.

    Raises ValueError for a stride out of range.
    """
    if not 0 < stride <= context:
        raise ValueError(f"stride {stride} must lie between 1 and the context, {context}")
    kept = [document for document in documents if document.text]
    ids = [[tokenizer.end_of_text, *tokenizer.encode(document.text)] for document in kept]
    nats = _nats(model, ids, context, stride, on_progress)
    return _by_source(kept, nats, [len(sequence) - 1 for sequence in ids])


def ngram_bits_per_byte(
    log_probs: Callable[[Sequence[int]], Iterable[float]], tokenizer: Encoder, documents: Iterable[Document]
) -> dict[str, BitsPerByte]:
    """The same figure for a model that gives natural log-probabilities of a whole sequence, such as an n-gram's.

    ``log_probs`` gets a document's tokens after an end-of-text token and gives one number for each of them, the
    end-of-text token's own included; that first one is not counted.
    """
    kept = [document for document in documents if document.text]
    nats: list[float] = []
    tokens: list[int] = []
    for document in kept:
        given = [float(value) for value in log_probs([tokenizer.end_of_text, *tokenizer.encode(document.text)])]
        nats.append(-sum(given[1:]))
        tokens.append(len(given) - 1)
    return _by_source(kept, nats, tokens)


@torch.inference_mode()
def _nats(
    model: Callable[[Tensor], Tensor],
    ids: Sequence[Sequence[int]],
    context: int,
    stride: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[float]:
    """Negative log-likelihood of each sequence's tokens after its first, in nats."""
    todo = [
        _Window(document, *window)
        for document, sequence in enumerate(ids)
        for window in windows(len(sequence) - 1, context, stride)
    ]
    # Windows of like length share a batch, so that little of it is padding.
    todo.sort(key=lambda window: window.end - window.start, reverse=True)
    device = _device_of(model)
    totals = [0.0] * len(ids)
    vocab, done = 1, 0
    while done < len(todo):
        longest = todo[done].end - todo[done].start
        # The vocabulary is the model's to know: the first batch is one window, and shows it.
        size = max(1, _LOGITS_AT_ONCE // (vocab * longest)) if done else 1
        batch = todo[done : done + size]
        tokens = torch.zeros(len(batch), longest, dtype=torch.long)
        # Padding goes to the right, where causal attention cannot see it; its target -100 is not scored.
        targets = torch.full((len(batch), longest), -100, dtype=torch.long)
        for row, window in enumerate(batch):
            sequence = torch.tensor(ids[window.document][window.start : window.end + 1])
            tokens[row, : len(sequence) - 1] = sequence[:-1]
            first = window.scored - window.start
            targets[row, first : len(sequence) - 1] = sequence[first + 1 :]
        logits = model(tokens.to(device)).float()
        vocab = logits.shape[-1]
        scored = targets >= 0
        losses = F.cross_entropy(logits[scored.to(device)], targets[scored].to(device), reduction="none").double().cpu()
        rows = scored.nonzero()[:, 0]
        per_row = torch.zeros(len(batch), dtype=torch.double).index_add_(0, rows, losses)
        for window, value in zip(batch, per_row.tolist(), strict=True):
            totals[window.document] += value
        done += len(batch)
        if on_progress:
            on_progress(done, len(todo))
    return totals


def _by_source(documents: Sequence[Document], nats: Sequence[float], tokens: Sequence[int]) -> dict[str, BitsPerByte]:
    found: dict[str, BitsPerByte] = {}
    nothing = BitsPerByte(0.0, 0, 0)
    for document, value, count in zip(documents, nats, tokens, strict=True):
        one = BitsPerByte(value / log(2), len(document.text.encode()), count)
        for name in (document.source, "total"):
            found[name] = found.get(name, nothing) + one
    return _total_last(found)


def _total_last(found: Mapping[str, BitsPerByte]) -> dict[str, BitsPerByte]:
    return {name: found[name] for name in sorted(found, key=lambda name: (name == "total", name))}


def _device_of(model: Callable[[Tensor], Tensor]) -> torch.device:
    if isinstance(model, torch.nn.Module):
        for parameter in model.parameters():
            return parameter.device
    return torch.device("cpu")
