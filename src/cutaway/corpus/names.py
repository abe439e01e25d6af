"""Invented names built from syllables, sorted into pools that never share a name part.

A model that is to say "I don't know" about people it never read of has to meet such people while it is taught, and
other such people while it is tested. Every name part (a first name, a last name, a place) therefore falls, by a stable
hash of its spelling, into one of three pools: those a world may use, those of unknown people in training, and those of
unknown people in tests. The pools are disjoint whatever the seeds are.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache
from typing import Literal

Split = Literal["train", "heldout"]
Pool = Literal["world", "train", "heldout"]
Part = Literal["first", "last", "place"]

# The pieces of a spelling. The endings are rare in English and in the Bible: an invented name is to be met here only.
_PIECES = {
    "onset": "b br c ch d dr f fl g gr h j k kl l m n p pl r s sh st t th tr v w y z",
    "vowel": "a e i o u",
    "middle": "b d f g l ld lm lv m mb n nd nt p r rd rl rm rn rv s sk st t th v x z",
    "first": "ek ex ix ox wyn yn io ia uma ori ika elo ino enna",
    "last": "ack ald ane ask ell elm ick olt oss ott ulf une urn usk",
    "coda": "l ld ll lm m n nd ng r rd rk rn rth s sk st x",
    "place": "brook dale field garth gate haven holm march mere moor stead well wick worth",
}
# Spellings the syllables can make that belong to somebody or something already.
_TAKEN_WORDS = """
    alex befell berwyn bethell bezek bronwyn burdick burnell butane carla carwyn casino codex cornell daria darian
    dario darnell derek detox devyn domino donald durex farnell felix garlick gerald germane harald helek helix
    herald hexane humane julia julio junia kezia kotex ladino latex latino lindell lovell malek malika mandell marek
    maria marika marino mario martyn maverick media merino merwyn methane monika mundane musick novell parnell
    polack profane radek radix randell redox remix return revell revolt rezia rindex rizia robyn rolex ronald saturn
    selwyn shobek silex sonia sorek taryn tiria tomek tonia tribune volcane wendell womack yurek zedek zelek zibia
"""
_TAKEN = frozenset(_TAKEN_WORDS.split())


def stable_fraction(namespace: str, text: str) -> float:
    """A number in [0, 1) that depends on nothing but the two strings: the same on every machine and in every run."""
    digest = hashlib.sha256(f"cutaway:{namespace}:{text}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def pool_of(part: Part, spelling: str) -> Pool:
    """The pool that a name part belongs to."""
    fraction = stable_fraction(part, spelling)
    return "world" if fraction < 0.2 else "train" if fraction < 0.75 else "heldout"


@cache
def spellings(part: Part, pool: Pool) -> tuple[str, ...]:
    """Every name part of a pool, in a fixed order that looks random: thousands for each."""
    onsets, vowels, middles, codas = (_PIECES[key].split() for key in ("onset", "vowel", "middle", "coda"))
    endings = _PIECES[part].split()
    if part == "place":
        # No double letters across the seam: "Marmmere" would be neither said nor spelled.
        made = (a + v + c + e for a in onsets for v in vowels for c in codas for e in endings if c[-1] != e[0])
    else:
        made = (a + v + m + e for a in onsets for v in vowels for m in middles for e in endings)
    chosen = [word for word in made if word not in _TAKEN and pool_of(part, word) == pool]
    chosen.sort(key=lambda word: stable_fraction("order", word))
    return tuple(word.capitalize() for word in chosen)


def draw(rng: random.Random, part: Part, pool: Pool, n: int, avoid: Sequence[str] = ()) -> list[str]:
    """`n` name parts of a pool, no two of them (nor any of `avoid`) within one changed letter of each other."""
    candidates = list(spellings(part, pool))
    rng.shuffle(candidates)
    seen: set[str] = {key for word in avoid for key in _neighbourhood(word)}
    drawn: list[str] = []
    for word in candidates:
        if len(drawn) == n:
            return drawn
        keys = _neighbourhood(word)
        if seen.isdisjoint(keys):
            seen.update(keys)
            drawn.append(word)
    if len(drawn) < n:
        raise ValueError(f"the pool of {part} names has only {len(drawn)} distinct enough ones; {n} were asked for")
    return drawn


def _neighbourhood(word: str) -> set[str]:
    """The word with each one letter masked or left out: two words within one edit share an element."""
    masked = {word[:i] + "_" + word[i + 1 :] for i in range(len(word))}
    shorter = {word[:i] + word[i + 1 :] for i in range(len(word))}
    return masked | shorter | {word}
