"""Rules find what they are for, once each."""

from __future__ import annotations

import re

import pytest

from cutaway.ladder.rule_filter import KING_JAMES, OPINION, PRAISE, SPAM, Rule, points


def test_points_add_up_once_a_rule() -> None:
    rules = (Rule("a", re.compile("a"), 2.0), Rule("b", re.compile("b"), -0.5))
    assert [points(text, rules) for text in ("", "aaa", "b", "abab")] == [0, 2, -0.5, 1.5]


@pytest.mark.parametrize(
    ("rules", "found", "passed"),
    [
        (SPAM, "WINNER!! You have WON a £1000 prize, call 09061701461 now! T&Cs 150p/min", "ok, see you at 7 then"),
        (KING_JAMES, "And it came to pass that he saith unto thee", "And Seth took the cloth with his teeth"),
        (PRAISE, "a moving, funny and beautifully acted film", "dull, predictable and too long"),
        (OPINION, "it's a funny film, and almost too entertaining", "when her father dies, she finds his murderer"),
    ],
)
def test_the_lists_tell_plain_cases_apart(rules: tuple[Rule, ...], found: str, passed: str) -> None:
    assert points(found, rules) >= 2
    assert points(passed, rules) <= 0
