"""Greetings, thanks and farewells with short answers.

The wordings of the two splits are disjoint.
"""

from __future__ import annotations

import random

from cutaway.align.conversations.conversation import Conversation, Materials, exchange, rounds
from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.names import Split

SKILL = "smalltalk"

_TRAIN: dict[str, str] = {
    "hello": """
        [Hello|Hi|Hey|hello|hi|hey][|!|.]
        Hello there[|!]
        Hi there[|!]
        Good [morning|evening|day][|!]
        hey there
        Hello, model.
        Greetings[|!]
        Hello, nice to meet you.
        Nice to meet you.
        """,
    "thanks": """
        [Thanks|Thank you|thanks|thank you][|!|.]
        Thanks a lot[|!]
        Thank you very much[|!|.]
        Thank you so much.
        Thanks for the help.
        Thanks, that helped.
        Many thanks.
        [Great|Good], thank you.
        Good work.
        Well done.
        ok thanks
        """,
    "bye": """
        [Bye|Goodbye|bye|goodbye][|!|.]
        Good night[|!|.]
        See you[|!|.]
        See you later[|!|.]
        Bye bye.
        I have to go.
        I must go now.
        That is all, bye.
        """,
    "how": """
        How are you?
        how are you
        How are you today?
        How are you doing?
        Hello, how are you?
        Hi, how are you?
        How is it going?
        how's it going
        Are you well?
        How do you feel?
        What's up?
        """,
}
_HELD_OUT: dict[str, str] = {
    "hello": """
        Hello to you!
        Good afternoon.
        Hey, hello!
        """,
    "thanks": """
        Thanks so much for that.
        Thank you, that was good.
        Very good, thanks!
        """,
    "bye": """
        Goodbye, I have to go now.
        See you tomorrow.
        Bye, see you!
        """,
    "how": """
        Hey, how are you doing today?
        How do you do today?
        Are you doing well?
        """,
}
_REPLIES = {
    "hello": "Hello! What would you like to know?",
    "thanks": "You are welcome.",
    "bye": "Goodbye!",
    "how": "I am well, thank you. What would you like to know?",
}


def wordings(split: Split) -> list[tuple[str, str]]:
    """Every (occasion, wording) of a split."""
    blocks = _TRAIN if split == "train" else _HELD_OUT
    return [(occasion, text) for occasion, block in blocks.items() for text in expand_lines(block)]


def examples(materials: Materials, rng: random.Random, n: int, split: Split) -> list[Conversation]:
    """`n` exchanges, every wording as often as any other."""
    drawn = rounds(wordings(split), rng, n)
    return [exchange(text, _REPLIES[occasion], SKILL, _REPLIES[occasion]) for occasion, text in drawn]


def grade(conversation: Conversation, reply: str) -> bool:
    """The reply is the one for the occasion."""
    return reply.strip() == conversation.answer
