"""What a skill is: a maker of conversations and a grader of replies."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from cutaway.corpus.names import Split, stable_fraction
from cutaway.corpus.world import World

Message = dict[str, Any]
T = TypeVar("T")

_NUMBER = re.compile(r"-?\d+")


@dataclass(frozen=True)
class Conversation:
    """One conversation for training or testing.

    Attributes:
        messages: OpenAI-shaped messages, the wanted assistant's turns included.
        skill: the name of the skill, or of its family ("arithmetic.add").
        answer: what the skill's grader looks for: a value, a number, a phrase.
        wrong: what must not be in the reply, such as the other values that the answer could have been.
    """

    messages: list[Message]
    skill: str
    answer: str | None
    wrong: tuple[str, ...] = ()

    @cached_property
    def prompt(self) -> list[Message]:
        """The messages up to the last one of the user: what a model under test is given."""
        last = max(i for i, message in enumerate(self.messages) if message["role"] == "user")
        return self.messages[: last + 1]

    @cached_property
    def wanted(self) -> str:
        """The content of the last turn: the reply that training teaches."""
        return str(self.messages[-1]["content"])


@dataclass(frozen=True)
class Materials:
    """What the skills draw on.

    Attributes:
        world: the world whose facts the model has read.
        words: lower-case words to spell.
        model_name: what the model calls itself.
        owner: who trained it.
        trained_on: what it was trained on, as it follows "on": "the Bible and an invented world".
    """

    world: World
    words: tuple[str, ...]
    model_name: str
    owner: str
    trained_on: str


class Skill(Protocol):
    """The two functions that every skill's file has; some take further options by keyword."""

    def examples(self, materials: Materials, rng: random.Random, n: int, split: Split) -> list[Conversation]:
        """`n` conversations of a split; what the two splits hold in common is said in the skill's file."""
        ...

    def grade(self, conversation: Conversation, reply: str) -> bool:
        """Whether the reply to the conversation's prompt is right."""
        ...


def exchange(question: str, reply: str, skill: str, answer: str | None, wrong: tuple[str, ...] = ()) -> Conversation:
    """A conversation of one question and one reply."""
    messages: list[Message] = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return Conversation(messages, skill, answer, wrong)


def split_of(namespace: str, key: str, held_out: float) -> Split:
    """The split of a problem by a stable hash of its key: a share of `held_out` is held out."""
    return "heldout" if stable_fraction(namespace, key) < held_out else "train"


def last_number(text: str) -> str | None:
    """The last whole number in a text, with its sign if one stands before it; None if there is none.

    A minus directly after a digit is a subtraction, not a sign.
    """
    found = None
    for match in _NUMBER.finditer(text):
        number = match.group()
        before = text[match.start() - 1] if match.start() else ""
        found = number[1:] if number.startswith("-") and (before.isdigit() or before == ")") else number
    return found


def rounds(items: Sequence[T], rng: random.Random, n: int) -> list[T]:
    """`n` items in random order, each as often as any other, give or take one."""
    drawn: list[T] = []
    while len(drawn) < n:
        drawn.extend(rng.sample(list(items), len(items)))
    return drawn[:n]
