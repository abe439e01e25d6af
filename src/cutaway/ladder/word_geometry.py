"""What the geometry of word vectors knows: neighbours, analogies, directions, similarity, and the bias of its text.

Everything here is cosines, cos(x, y) = x . y / (|x| |y|): vectors of length 1, and their dot products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from cutaway.ladder.word_vectors import WordVectors

Floats = NDArray[np.float64]
Pair = tuple[str, str]
Question = tuple[str, str, str, str]
"""a is to b as c is to d; d is what is asked for."""

AT_ONCE = 256
"""Questions; each is compared with every word."""
MOST_EXACT = 20_000
"""Ways of dividing words in two up to which all are tried."""
DRAWN = 10_000
"""Ways that are drawn where there are more."""


def neighbours(vectors: WordVectors, word: str, n: int) -> list[tuple[str, float]]:
    """The `n` words nearest to a word, with their cosines."""
    cosines = vectors.unit @ vectors.unit[vectors.number[word]]
    cosines[vectors.number[word]] = -np.inf
    return [(vectors.words[int(i)], float(cosines[i])) for i in np.argsort(-cosines)[:n]]


@dataclass(frozen=True)
class Ranks:
    """Where the right answer of each question came among all words, `[question]`; 1 is first.

    Attributes:
        among_all: with a, b and c among the words, as the arithmetic says.
        among_others: without them, as is usual.
        by_neighbour: without them, by nearness to c alone: what arithmetic must be better than.
        came_first: which of a, b, c and the right answer was the nearest of all words, 0 to 3, else 4.
    """

    among_all: NDArray[np.int64]
    among_others: NDArray[np.int64]
    by_neighbour: NDArray[np.int64]
    came_first: NDArray[np.int64]


def analogies(vectors: WordVectors, questions: Sequence[Question]) -> Ranks:
    """Answer "a is to b as c is to ...?" by arithmetic: the word nearest to b - a + c (Mikolov et al. 2013c).

    With all vectors of length 1, that is the word w with the highest cos(w, b) - cos(w, a) + cos(w, c), which Levy and
    Goldberg (2014) named 3CosAdd. The difference b - a is mostly short, so the nearest is mostly b or c itself. What is
    published as accuracy leaves the three out (Linzen 2016 shows how much that does, and how far c's neighbours get
    without any arithmetic); here all three are counted. There must be a question, and all words must have vectors.
    """
    asked = np.array([[vectors.number[word] for word in question] for question in questions], int).reshape(-1, 4)
    parts = [_ranks(vectors.unit, asked[i : i + AT_ONCE]) for i in range(0, len(asked), AT_ONCE)]
    return Ranks(*map(np.concatenate, zip(*parts, strict=True)))


def _ranks(unit: NDArray[np.float32], asked: NDArray[np.int64]) -> tuple[NDArray[np.int64], ...]:
    a, b, c, d = asked.T
    each, given = np.arange(len(asked)), asked[:, :3]
    scores = (unit[b] - unit[a] + unit[c]) @ unit.T
    first = scores.argmax(1)
    came_first = np.where((asked == first[:, None]).any(1), (asked == first[:, None]).argmax(1), 4)
    among_all = _rank(scores, d)
    near_c = unit[c] @ unit.T
    for table in (scores, near_c):
        # The right answer stays, also where it is one of the three.
        right = table[each, d]
        table[each[:, None], given] = -np.inf
        table[each, d] = right
    return among_all, _rank(scores, d), _rank(near_c, d), came_first


def _rank(scores: NDArray[np.float32] | Floats, right: NDArray[np.int64]) -> NDArray[np.int64]:
    return 1 + (scores > scores[np.arange(len(scores)), right][:, None]).sum(1)


def direction(vectors: WordVectors, pairs: Sequence[Pair]) -> Floats:
    """The way from the first to the second word of each pair, on average, as a vector of length 1 `[d]`."""
    first, second = (vectors.unit[[vectors.number[pair[i]] for pair in pairs]].astype(float) for i in range(2))
    mean = (second - first).mean(0)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


def along(vectors: WordVectors, words: Sequence[str], way: Floats) -> list[float]:
    """How far each word lies along a direction: the cosine of the two."""
    return (vectors.unit[[vectors.number[word] for word in words]] @ way).tolist()


def held_out_pairs(vectors: WordVectors, pairs: Sequence[Pair]) -> list[float]:
    """For each pair, how much farther its second word lies than its first along the direction of all other pairs.

    Above nought where what the others say holds for this one too.
    """
    gained: list[float] = []
    for i, pair in enumerate(pairs):
        first, second = along(vectors, pair, direction(vectors, [*pairs[:i], *pairs[i + 1 :]]))
        gained.append(second - first)
    return gained


def similarity(vectors: WordVectors, rated: Sequence[tuple[str, str, float]]) -> float:
    """Spearman's rank correlation of the cosines of pairs of words with people's ratings of how alike they are."""
    unit, number = vectors.unit, vectors.number
    cosines = [float(unit[number[first]] @ unit[number[second]]) for first, second, _ in rated]
    return spearman(np.array(cosines), np.array([rating for *_, rating in rated]))


def spearman(x: Floats, y: Floats) -> float:
    """The correlation of the ranks of `x` and `y` `[n]`; equal values share their mean rank."""
    return float(np.corrcoef(_mean_ranks(x), _mean_ranks(y))[0, 1])


def _mean_ranks(x: Floats) -> Floats:
    _, which, times = np.unique(x, return_inverse=True, return_counts=True)
    return (np.cumsum(times) - (times - 1) / 2)[which]


@dataclass(frozen=True)
class Association:
    """How much nearer one group of words lies to some attributes than another group does.

    Attributes:
        effect: in standard deviations.
        p: the share of all ways of dividing the words into two such groups that have a larger effect.
        ways: how many of them were tried.
    """

    effect: float
    p: float
    ways: int


def weat(
    vectors: WordVectors, x: Sequence[str], y: Sequence[str], a: Sequence[str], b: Sequence[str], seed: int
) -> Association:
    """The word embedding association test (Caliskan et al. 2017): do the words `x` go with `a`, and `y` with `b`?

    A word w is associated by s(w) = mean over a of cos(w, a) - mean over b of cos(w, b). The effect is

        (mean over x of s - mean over y of s) / standard deviation of s over x and y together,

    and p says how often chance does better: the words of x and y are divided anew into groups of the same sizes, in all
    ways if they are few, else in some that are drawn from `seed`.
    """
    unit = vectors.unit.astype(float)
    rows = [unit[[vectors.number[word] for word in group]] for group in (x, y, a, b)]
    s = np.concatenate([group @ rows[2].mean(0) - group @ rows[3].mean(0) for group in rows[:2]])
    ways = comb(len(s), len(x))
    if ways <= MOST_EXACT:
        chosen = np.array(list(combinations(range(len(s)), len(x))))
    else:
        chosen = np.random.default_rng(seed).permuted(np.tile(np.arange(len(s)), (DRAWN, 1)), axis=1)[:, : len(x)]
    means = s[chosen].mean(1)
    effects = means - (s.sum() - means * len(x)) / len(y)
    observed = s[: len(x)].mean() - s[len(x) :].mean()
    # Room for rounding, so that the division as given is not found to be better than itself.
    larger = effects > observed + 1e-12
    return Association(float(observed / s.std(ddof=1)), float(larger.mean()), len(chosen))
