"""What word vectors answer when they are asked all that the rung of word vectors asks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np

from cutaway.ladder.word_geometry import (
    Association,
    Pair,
    Question,
    Ranks,
    along,
    analogies,
    direction,
    held_out_pairs,
    neighbours,
    similarity,
    weat,
)
from cutaway.ladder.word_lists import GENDER, PLURAL, WEAT
from cutaway.ladder.word_vectors import WordVectors

Rated = Sequence[tuple[str, str, float]]

FREQUENT = 3000
"""The most frequent words, among which those farthest along a direction are looked for."""
ENDS = 12
NEAR = 8
FEWEST = 3
"""Words or pairs that a group must have to be asked about."""
PLANE: Sequence[Pair] = [
    pair
    for pair in (*PLURAL, ("husband", "husbands"), ("wife", "wives"), ("queen", "queens"), ("father", "fathers"),
    ("mother", "mothers"), ("boy", "boys"), ("girl", "girls"))
    if any(pair[0] in two for two in GENDER)
]  # fmt: skip
"""Words that have both a gender and a number, in the singular and the plural."""


@dataclass(frozen=True)
class Answers:
    """What some vectors answered.

    Attributes:
        ranks: of the analogies, by section.
        held_out: of "gender" and "number", by how much each pair agrees with all others.
        rated: by file, Spearman's correlation and the number of pairs of words that it is of.
        associations: by test of `WEAT`, of those that can be done.
        near: the neighbours of each word to be shown.
        ends: the words farthest towards male, and towards female.
        plane: words by gender and number.
    """

    ranks: dict[str, Ranks]
    held_out: dict[str, list[float]]
    rated: dict[str, tuple[float, int]]
    associations: dict[str, Association]
    near: dict[str, list[tuple[str, float]]]
    ends: tuple[list[str], list[str]]
    plane: dict[str, tuple[float, float]]

    @cached_property
    def all_ranks(self) -> Ranks | None:
        """The ranks of all sections together; None if nothing was asked."""
        if not self.ranks:
            return None
        parts = {field.name: [getattr(ranks, field.name) for ranks in self.ranks.values()] for field in fields(Ranks)}
        return Ranks(**{name: np.concatenate(part) for name, part in parts.items()})


def askable(sections: Mapping[str, Sequence[Question]], words: Collection[str]) -> dict[str, list[Question]]:
    """The questions all of whose words are among `words`; a collection that is quick to look a word up in."""
    found = {
        name: [question for question in some if all(w in words for w in question)] for name, some in sections.items()
    }
    return {name: questions for name, questions in found.items() if questions}


def ask(
    vectors: WordVectors,
    sections: Mapping[str, Sequence[Question]],
    rated: Mapping[str, Rated],
    show: Sequence[str],
    seed: int,
) -> Answers:
    """Ask whatever can be asked of the words that have vectors; `sections` are analogies whose words all have."""
    known = vectors.number
    pairs = {
        name: [pair for pair in some if pair[0] in known and pair[1] in known]
        for name, some in (("gender", GENDER), ("number", PLURAL))
    }
    similarities = {name: [row for row in rows if row[0] in known and row[1] in known] for name, rows in rated.items()}
    associations: dict[str, Association] = {}
    for test, groups in WEAT.items():
        x, y, a, b = ([word for word in words if word in known] for _, words in groups)
        if min(map(len, (x, y, a, b))) >= FEWEST:
            associations[test] = weat(vectors, x, y, a, b, seed)
    return Answers(
        {name: analogies(vectors, questions) for name, questions in sections.items()},
        {name: held_out_pairs(vectors, some) for name, some in pairs.items() if len(some) >= FEWEST},
        {name: (similarity(vectors, rows), len(rows)) for name, rows in similarities.items() if len(rows) >= FEWEST},
        associations,
        {word: neighbours(vectors, word, NEAR) for word in show if word in known},
        ends_of(vectors, pairs["gender"]),
        plane_of(vectors, pairs),
    )


def ends_of(vectors: WordVectors, gender: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """The frequent words that lie farthest towards male and towards female; those of the pairs themselves left out."""
    named = {word for pair in gender for word in pair}
    words = [word for word in vectors.words[:FREQUENT] if word not in named]
    if len(gender) < FEWEST or len(words) < 2 * ENDS:
        return [], []
    order = np.argsort(along(vectors, words, direction(vectors, gender)))
    return [words[i] for i in order[:ENDS]], [words[i] for i in order[: -ENDS - 1 : -1]]


def plane_of(vectors: WordVectors, pairs: Mapping[str, Sequence[Pair]]) -> dict[str, tuple[float, float]]:
    """Words by gender and number, each by the directions of the pairs that it is not in itself."""
    found: dict[str, tuple[float, float]] = {}
    if min(map(len, pairs.values())) < FEWEST:
        return found
    for word in (word for pair in PLANE for word in pair if word in vectors.number):
        x, y = (
            along(vectors, [word], direction(vectors, [pair for pair in pairs[name] if word not in pair]))[0]
            for name in ("gender", "number")
        )
        found[word] = (x, y)
    return found
