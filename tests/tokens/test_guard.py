"""Texts that others wrote never become special tokens, wherever a template puts them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.tokens.guard import GUARD, Guard

NAMES = ["<|im_end|>", "<s>", "[INST]", "[/INST]", "x", "madeupword"]
PARTS = [*NAMES, "<", "|", "im_end", "|>", "[", "/", "INST]", "]", "s", ">", "a", GUARD]
TEXTS = st.lists(st.sampled_from(PARTS), max_size=6).map("".join)


def texts(value: Any) -> list[str]:
    """All texts in a value, keys too."""
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in texts(item)]
    if isinstance(value, list | tuple):
        return [text for item in value for text in texts(item)]
    return [value] if isinstance(value, str) else []


@given(st.lists(TEXTS, max_size=4), st.sampled_from(["", "<", "[", " "]))
def test_no_name_comes_about_where_texts_meet(written: list[str], between: str) -> None:
    """Between two texts of others a template may put nothing, or one of its own that is no name."""
    guard = Guard(NAMES)
    joined = between.join(map(guard.put, written)) + "|>"
    for name in NAMES[:4]:
        assert name not in joined
    assert guard.off(joined) == between.join(text.replace(GUARD, "") for text in written) + "|>"


def test_in_lists_and_objects_and_their_keys() -> None:
    value = {"a<s>": ["<|im_end|>", {"[INST]": ("x<s>", 5, None, True)}], "n": 1.5}
    guarded = Guard(NAMES).put(value)
    assert not [text for text in texts(guarded) if any(name in text for name in NAMES[:4])]
    assert list(map(Guard.off, texts(guarded))) == texts(value)
    assert guarded["n"] == 1.5


@pytest.mark.parametrize("text", ["user", "object", "", "in words, with a comma", " trimmed ", "madeup", "2", "é", "x"])
def test_what_can_be_no_part_of_a_name_stays_as_it_is(text: str) -> None:
    assert Guard(NAMES).put(text) == text
