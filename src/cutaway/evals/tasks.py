"""What a model is asked, and what is counted in its answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cutaway.corpus.documents import Document

Message = Mapping[str, Any]


class Conversation(Protocol):
    """A conversation whose last answer is known. Whoever builds a suite brings their own kind."""

    @property
    def messages(self) -> Sequence[Message]:
        """OpenAI-shaped messages, the model answer to the last user's among them or not."""
        ...

    @property
    def answer(self) -> str | None:
        """What the right answer holds, in a form for a person to read; None where there is none."""
        ...


Counted = Callable[[Any, str], bool]
"""Whether a reply to a conversation counts: ``counted(conversation, reply)``."""


@dataclass(frozen=True)
class Task:
    """One kind of question.

    Attributes:
        name: such as "facts".
        conversations: the questions; what stands after the last user message is not shown to the model.
        counts: for every metric, which replies count; its result is the share of replies that do.
        max_tokens: the longest reply, in tokens.
        tools: whether the model's tool calls are carried out.
        part: a name for each conversation's part of the whole, such as its attribute; the first metric is then also
            given for each part, as "metric/part".
    """

    name: str
    conversations: Sequence[Conversation]
    counts: Mapping[str, Counted]
    max_tokens: int
    tools: bool = False
    part: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class Suite:
    """All that a model is measured on: tasks, and held-out documents for bits per byte."""

    tasks: Sequence[Task]
    documents: Sequence[Document] = ()
    context: int = 256
    stride: int = 192


def asked(conversation: Conversation) -> list[Message]:
    """The messages that the model is to answer: all up to the last user message.

    Raises ValueError if no user says anything.
    """
    for last in range(len(conversation.messages), 0, -1):
        if conversation.messages[last - 1]["role"] == "user":
            return list(conversation.messages[:last])
    raise ValueError("a conversation without a user message cannot be asked")
