"""A conversation that has outgrown the model's context: what is still read of it, and what is left out."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cutaway.infer import LanguageModel
from cutaway.serve.service import chat_prompt

ROOM = 256
"""Tokens that are kept free for an answer whose length is not bounded."""


@dataclass(frozen=True)
class Fitted:
    """The part of a conversation that is read."""

    prompt: list[int]
    left_out: int
    """Messages that are not: the oldest, but for the system's."""


def fitted(lm: LanguageModel, messages: Sequence[dict[str, Any]], most: int | None) -> Fitted:
    """As much of a conversation as fits with room for an answer of `most` tokens, or for a quarter of the context.

    It begins with a question. The last one is read in any case, whether it fits or not.
    """
    system = 0 if not messages or messages[0]["role"] != "system" else 1
    starts = [at for at, message in enumerate(messages) if message["role"] == "user" and at > system]
    cuts = [system, *starts]
    longest = lm.config.context - min(most or ROOM, lm.config.context // 4)

    def prompt(cut: int) -> list[int]:
        return chat_prompt(lm, [*messages[:system], *messages[cut:]])

    whole = prompt(system)
    if len(whole) <= longest or len(cuts) == 1:
        return Fitted(whole, 0)
    # The more is left out, the shorter it is.
    cut = cuts[min(bisect_left(cuts, True, key=lambda cut: len(prompt(cut)) <= longest), len(cuts) - 1)]
    return Fitted(prompt(cut), cut - system)
