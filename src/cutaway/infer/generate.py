"""Writing on from a prompt: one sequence as a stream, or many at once."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.model import KVCache, Transformer
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

if TYPE_CHECKING:
    from cutaway.infer.constrained import Constraint

Alternatives = list[tuple[int, float]]
"""Likely tokens and their probabilities, likeliest first."""


@dataclass(frozen=True)
class Step:
    """One token of an answer.

    Attributes:
        token: its id.
        text: what it adds to the text; empty while a character's bytes are not yet complete.
        logprob: natural logarithm of the probability that the model gave it, before temperature and truncation.
        alternatives: the likeliest tokens there and their probabilities, likeliest first.
        forced: whether it was put there (a tool's output) and not chosen by the model.
    """

    token: int
    text: str
    logprob: float
    alternatives: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])
    forced: bool = False


class TextStream:
    """Turns tokens into text as they come, holding back bytes that do not yet make a character."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.silent = frozenset(tokenizer.special.values())

    def add(self, token: int) -> str:
        """The text that one more token completes. Special tokens have none."""
        return "" if token in self.silent else self.decoder.decode(self.tokenizer.token_bytes(token))

    def finish(self) -> str:
        """What is left when the tokens end inside a character."""
        return self.decoder.decode(b"", final=True)


class Session:
    """One sequence that grows: what has been read is kept and never computed again."""

    def __init__(self, model: Transformer, source: Sequence[int] = ()) -> None:
        """A sequence of `model`; an encoder–decoder's answers `source`. Raises `BadInput` if the model cannot write."""
        config = model.config
        if config.kind == "encoder":
            raise BadInput("this model is an encoder: it turns text into vectors and writes none; name a decoder")
        if len(source) > config.context and config.positions == "learned":
            raise BadInput(f"{len(source)} tokens do not fit into the model's context of {config.context}")
        self.model = model
        self.memory = None
        if config.kind == "encoder-decoder":
            with torch.inference_mode():
                self.memory = model.encode(torch.tensor([list(source)]))
        self.cache = KVCache(config, 1, config.context, dtype=model.embed.weight.dtype)
        self.ids: list[int] = []
        self.logits = torch.empty(0)

    @property
    def room(self) -> int:
        """Tokens that still fit into the context."""
        return self.model.config.context - len(self.ids)

    def read(self, ids: Sequence[int]) -> Float[Tensor, "position d_model"]:
        """Append tokens and give their last hidden states; `logits` `[1, vocab]` are then those after the last.

        Raises `BadInput` past the context.
        """
        hidden = self._hidden(ids)
        with torch.inference_mode():
            self.logits = self.model.logits(hidden[:, -1])
        return hidden[0]

    def read_each(self, ids: Sequence[int]) -> Float[Tensor, "position vocab"]:
        """Append tokens and give the logits after each of them. Raises `BadInput` past the context."""
        hidden = self._hidden(ids)
        with torch.inference_mode():
            each = self.model.logits(hidden[0])
        self.logits = each[-1:]
        return each

    def forget(self, length: int) -> None:
        """Go back to the first `length` tokens; `logits` hold again once something has been read."""
        self.cache.truncate(length)
        del self.ids[length:]

    @torch.inference_mode()
    def _hidden(self, ids: Sequence[int]) -> Float[Tensor, "1 position d_model"]:
        if len(ids) > self.room:
            raise BadInput(
                f"{len(self.ids) + len(ids)} tokens do not fit into the model's context of {self.model.config.context}"
            )
        hidden = self.model.hidden(torch.tensor([list(ids)]), memory=self.memory, cache=self.cache)
        self.ids += ids
        return hidden


def stream(
    model: Transformer,
    tokenizer: Tokenizer,
    session: Session,
    *,
    max_tokens: int,
    sampling: Sampling,
    stop_ids: Collection[int],
    generator: torch.Generator,
    top: int = 0,
    constraint: Constraint | None = None,
) -> Iterator[Step]:
    """Write on from what `session` has read, until a stop token (given as a step too), `max_tokens`, or a full context.

    `top` is how many alternatives each step carries. With a `constraint`, also until its grammar has no more to say;
    the stop token comes only where the grammar is complete.
    """
    text = TextStream(tokenizer)
    history = sampling.history([session.ids], session.model.config.vocab_size)
    for _ in range(min(max_tokens, session.room)):
        allowed = constraint.mask()[None] if constraint else None
        token = int(sampling.choose(session.logits, generator, history, allowed))
        step = step_of(session, token, text.add(token), top)
        if history:
            history.add(torch.tensor([token]))
        if constraint:
            constraint.accept(token)
        yield step
        if token in stop_ids or session.room == 0 or (constraint and constraint.finished):
            return
        session.read([token])


def step_of(session: Session, token: int, text: str, top: int, *, forced: bool = False) -> Step:
    """What the model thought of `token` in the place that `session` has come to."""
    return step_at(session.logits[0], token, text, top, forced=forced)


def step_at(logits: Float[Tensor, " vocab"], token: int, text: str, top: int, *, forced: bool = False) -> Step:
    """What the model thought of `token` in a place where its logits were these."""
    ((logprob, alternatives),) = probabilities(logits.float()[None], [token], top)
    return Step(token, text, logprob, alternatives, forced)


def probabilities(
    logits: Float[Tensor, "place vocab"], tokens: list[int], most: int
) -> list[tuple[float, Alternatives]]:
    """What the model thought of each token in its place: log-probability, and the `most` likeliest tokens there."""
    rows = torch.arange(len(tokens), device=logits.device)
    totals = logits.logsumexp(-1)
    logprobs = (logits[rows, torch.tensor(tokens, dtype=torch.long, device=logits.device)] - totals).tolist()
    if not most:
        return [(logprob, []) for logprob in logprobs]
    best = logits.topk(min(most, logits.shape[-1]))
    shares = (best.values - totals[:, None]).exp().tolist()
    return [
        (logprob, list(zip(ids, row, strict=True)))
        for logprob, ids, row in zip(logprobs, best.indices.tolist(), shares, strict=True)
    ]


@torch.inference_mode()
def generate_batch(
    model: Transformer,
    prompts: Sequence[Sequence[int]],
    *,
    max_tokens: int,
    stop_ids: Collection[int],
    sampling: Sampling = GREEDY,
    batch_size: int = 256,
) -> list[list[int]]:
    """Write on from many prompts at once; give each one's new tokens, a stop token included.

    Prompts of like length share a batch, and a batch goes on without the sequences that have ended. Raises `BadInput`
    if a prompt alone does not fit into the context; a continuation ends where the context does.
    """
    generator = sampling.generator()
    stops = torch.tensor(sorted(stop_ids))
    results: list[list[int]] = [[] for _ in prompts]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for at in range(0, len(order), batch_size):
        rows = order[at : at + batch_size]
        longest = max(len(prompts[i]) for i in rows)
        if longest > model.config.context:
            raise BadInput(
                f"a prompt of {longest} tokens does not fit into the model's context of {model.config.context}"
            )
        # The batch's columns may outnumber the context, because shorter sequences begin further to the right.
        rooms = torch.tensor([min(max_tokens, model.config.context - len(prompts[i])) for i in rows])
        steps = int(rooms.max())
        starts = torch.tensor([longest - len(prompts[i]) for i in rows])
        tokens = torch.tensor([[0] * (longest - len(prompts[i])) + list(prompts[i]) for i in rows])
        cache = KVCache(model.config, len(rows), longest + steps, starts)
        alive = torch.tensor(rows)
        history = sampling.history([prompts[i] for i in rows], model.config.vocab_size)
        for step in range(steps):
            hidden = model.hidden(tokens, cache=cache)
            chosen = sampling.choose(model.logits(hidden[:, -1]), generator, history)
            if history:
                history.add(chosen)
            for i, token, room in zip(alive.tolist(), chosen.tolist(), rooms.tolist(), strict=True):
                if step < room:
                    results[i].append(token)
            going = ~torch.isin(chosen, stops) & (step + 1 < rooms)
            if not going.any():
                break
            # Copying the cache costs about as much as a step, so ended rows are dropped a quarter at a time.
            if going.float().mean() < 0.75:
                cache.keep(going)
                if history:
                    history.keep(going)
                alive, chosen, rooms = alive[going], chosen[going], rooms[going]
            tokens = chosen[:, None]
    return [cut_at_stop(result, stop_ids) for result in results]


def cut_at_stop(ids: list[int], stop_ids: Collection[int]) -> list[int]:
    """The ids up to and including the first stop token."""
    return next((ids[: i + 1] for i, token in enumerate(ids) if token in stop_ids), ids)
