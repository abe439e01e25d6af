"""Spelling words, and counting a letter in them with a running count.

A model sees tokens, not letters, so it has to learn what letters each token is made of. The split is by word.
"""

from __future__ import annotations

import random
import re
from typing import Literal

from cutaway.align.conversations.conversation import (
    Conversation,
    Materials,
    exchange,
    last_number,
    rounds,
    split_of,
)
from cutaway.corpus.alternation import expand_lines
from cutaway.corpus.names import Split

Family = Literal["spell", "count"]

HELD_OUT = 0.15
_SPELL = expand_lines(
    """
    Spell '{w}'.
    Spell {w}.
    spell {w}
    Spell the word {w}.
    Spell the word '{w}'.
    How do you spell {w}?
    how do you spell {w}
    How is '{w}' spelled?
    How do I spell '{w}'?
    Please spell {w}.
    Can you spell {w}?
    Write {w} letter by letter.
    What are the letters of '{w}'?
    """
)
_COUNT = expand_lines(
    """
    How many {c}'s are in '{w}'?
    How many {c}'s are in {w}?
    how many {c}'s are in {w}
    How many {c}'s are there in '{w}'?
    How many times is {c} in {w}?
    How many times does the letter {c} occur in '{w}'?
    How often is the letter {c} in {w}?
    Count the {c}'s in '{w}'.
    Count the letter {c} in {w}.
    Count the {c}'s in {w}.
    How many of the letter {c} are in '{w}'?
    How many {c}'s does {w} have?
    """
)
_ABSENT = 0.15
_COMMON = "etaoinshrdlu"


def examples(
    materials: Materials, rng: random.Random, n: int, split: Split, family: Family | None = None
) -> list[Conversation]:
    """`n` problems of a family, or of both in turn, every word as often as any other; none if no word fits."""
    words = [word for word in usable(materials.words) if split_of("spelling", word, HELD_OUT) == split]
    if not words:
        return []
    families: tuple[Family, ...] = (family,) if family else ("spell", "count")
    drawn = rounds(words, rng, n)
    return [_MAKE[families[i % len(families)]](word, rng) for i, word in enumerate(drawn)]


def usable(words: tuple[str, ...]) -> list[str]:
    """The words of three to ten letters a to z, each once, in order."""
    return [w for w in dict.fromkeys(words) if 3 <= len(w) <= 10 and w.isascii() and w.isalpha() and w.islower()]


def spell(word: str, rng: random.Random) -> Conversation:
    """A word to spell; the reply is its letters with blanks between them."""
    letters = " ".join(word)
    return exchange(rng.choice(_SPELL).format(w=word), letters, "spelling.spell", letters)


def count(word: str, rng: random.Random) -> Conversation:
    """A letter to count; the reply spells the word, with the running count after each match, and ends in the count."""
    absent = [letter for letter in _COMMON if letter not in word]
    letter = rng.choice(absent) if rng.random() < _ABSENT else rng.choice(word)
    return exchange(
        rng.choice(_COUNT).format(c=letter, w=word), counting(word, letter), "spelling.count", str(word.count(letter))
    )


def counting(word: str, letter: str) -> str:
    """The steps of counting: "b e1 t w e2 e3 n: 3" for the e's in "between"."""
    seen = 0
    pieces: list[str] = []
    for each in word:
        seen += each == letter
        pieces.append(f"{each}{seen}" if each == letter else each)
    return f"{' '.join(pieces)}: {seen}"


def grade(conversation: Conversation, reply: str) -> bool:
    """The letters are the word's, in order, and where one was to be counted the last number is its count.

    The number alone would say little: most letters occur once in a word.
    """
    if conversation.skill == "spelling.count":
        letters = _letters(conversation.messages[-1]["content"])
        return last_number(reply) == conversation.answer and _letters(reply) == letters
    return reply.strip().rstrip(".").lower() == conversation.answer


def _letters(text: str) -> list[str]:
    return re.findall("[a-z]", text.lower())


_MAKE = {"spell": spell, "count": count}
