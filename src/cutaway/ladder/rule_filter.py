"""A filter written by hand: rules, each with points for the texts that it finds itself in.

What came before learning, and what SpamAssassin grew from: somebody reads examples, writes down what gives them away,
and sets a number of points from which a text is stopped. It needs no examples to count, everyone can read why a text
was stopped, and it finds what its author thought of and nothing else.

The lists below were written from general knowledge; no word was taken from the texts that they are measured on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rule:
    """Texts in which `pattern` is found get `points`, once, however often it is found."""

    name: str
    pattern: re.Pattern[str]
    points: float = 1.0


def points(text: str, rules: Sequence[Rule]) -> float:
    """What a text gets by all rules together."""
    return sum(rule.points for rule in rules if rule.pattern.search(text))


def _rules(*given: tuple[str, str, float], flags: re.RegexFlag = re.IGNORECASE) -> tuple[Rule, ...]:
    return tuple(Rule(name, re.compile(pattern, flags), worth) for name, pattern, worth in given)


def _any(words: str) -> str:
    return rf"\b(?:{'|'.join(words.split())})\b"


SPAM: tuple[Rule, ...] = (
    *_rules(
        ("prize", r"\b(?:prizes?|winner|won|awarded|reward|guaranteed|jackpot)\b", 1.5),
        ("free", r"\bfree\b", 1),
        ("money", r"[£$€]\s?\d|\b(?:cash|credit|loan|cheap|discount|offer)\b", 1),
        ("urgent", r"\b(?:urgent|act now|last chance|limited|expires?|immediately)\b", 1),
        ("reply", r"\b(?:call|text|txt|reply|send|click|claim|subscribe|unsubscribe)\b", 0.5),
        ("link", r"https?://|www\.|\b\w+\.(?:com|co\.uk|net)\b", 1.5),
        ("number to call", r"\b\d{5,}\b", 1.5),
        ("small print", r"\b(?:t&c|ts&cs|terms|per min|p/min|18\+|16\+|stop to)\b|\d+p\b", 1.5),
    ),
    *_rules(
        ("shouting", r"\b[A-Z]{4,}\b.*\b[A-Z]{4,}\b", 1),
        ("exclamation marks", r"!!|!.*!", 0.5),
        flags=re.DOTALL,
    ),
)
"""Unasked-for advertisements by mail and text message."""

KING_JAMES: tuple[Rule, ...] = _rules(
    ("thou", _any("thou thee thy thine thyself ye"), 2),
    ("hath", _any("hath doth saith shalt wilt art hast didst canst"), 2),
    ("-eth", r"\b(?!teeth\b|beneath\b|seth\b|japheth\b|nazareth\b)\w{3,}eth\b", 1.5),
    ("unto", _any("unto thereof whereof wherefore thereon therein hither thither whence"), 1),
    ("lo", _any("behold verily lo yea nay alas"), 1),
    ("and it came to pass", r"\bit came to pass\b", 1),
)
"""English of 1611."""

PRAISE: tuple[Rule, ...] = _rules(
    ("praise", _any("good great best fine excellent wonderful brilliant superb masterpiece perfect delightful"), 1),
    ("feeling", _any("moving touching charming engaging fascinating powerful enjoyable entertaining funny warm"), 1),
    ("love", _any("love loved loves enjoy enjoyed beautiful beautifully fresh"), 1),
    ("blame", _any("bad worst awful terrible poor boring dull tedious stupid silly waste mess weak"), -1),
    ("lack", _any("fails failed lacks lacking lack unfortunately flat predictable pretentious never neither nor"), -1),
    ("too", r"\btoo\b|\bonly\b|\bbut\b|n't\b", -0.5),
)
"""Reviews that like a film; those that do not get points below nought."""

OPINION: tuple[Rule, ...] = _rules(
    ("the film", _any("film movie films movies director screenplay comedy drama acting performance performances"), 1),
    ("judgement", _any("good bad best worst funny great fun entertaining moving dull enough too never really"), 1),
    ("you", _any("you you're your we our i"), 1),
    ("seems", _any("seems feels makes almost rather quite perhaps"), 0.5),
    ("plot", _any("he she his her him they their who father mother wife young finds discovers falls murder"), -1),
    ("time", _any("when after before until while one day later"), -0.5),
)
"""What someone thinks of a film, against what happens in it, which gets points below nought."""
