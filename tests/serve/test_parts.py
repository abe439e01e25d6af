"""Answers divided into reasoning, text and calls, however the tokens fall."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.serve.calls import LLAMA, MARKED, MISTRAL, Call, Form
from cutaway.serve.parts import Parts, Said
from cutaway.serve.speech import Piece

WEATHER = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
TIME = '<tool_call>\n{"name": "time"}\n</tool_call>'


def divide(text: str, cuts: list[int], form: Form | None = None, **options: bool) -> tuple[str, str, list[str], int]:
    """Reasoning, content, names of the calls, and how many tokens were told."""
    parts = Parts(form, {"weather", "time"}, **options)
    ends = sorted({min(cut, len(text)) for cut in cuts} | {len(text)})
    pieces = [
        Piece(i, text[a:b], 0.0, (), False, "answer") for i, (a, b) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    told = [each for piece in pieces for each in parts.feed(piece)] + list(parts.finish())
    said = {
        kind: "".join(e.text for e in told if isinstance(e, Said) and e.kind == kind)
        for kind in ("reasoning", "content")
    }
    ids = [piece.id for each in told if isinstance(each, Said) for piece in each.pieces]
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids)
    return said["reasoning"], said["content"], [each.name for each in told if isinstance(each, Call)], len(ids)


CUTS = st.lists(st.integers(0, 200), max_size=40)


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("hello", {}, ("", "hello", [])),
        ("hello", {"reasons": True}, ("", "hello", [])),
        ("<think>\nlet me see\n</think>\n\nIt is 4.", {"reasons": True}, ("let me see", "It is 4.", [])),
        ("\n<think></think>4", {"reasons": True}, ("", "4", [])),
        ("<think>unfinished ", {"reasons": True}, ("unfinished", "", [])),
        ("let me see</think>4", {"reasons": True, "thinking": True}, ("let me see", "4", [])),
        ("<think>no reasoning here</think>", {}, ("", "<think>no reasoning here</think>", [])),
        ("<thinker> <", {"reasons": True}, ("", "<thinker> <", [])),
        (WEATHER, {"form": MARKED}, ("", "", ["weather"])),
        (f"Let me look. {WEATHER}\n{TIME}", {"form": MARKED}, ("", "Let me look. ", ["weather", "time"])),
        (f"{WEATHER}{TIME}", {"form": MARKED, "one": True}, ("", "", ["weather"])),
        (f"<think>a tool</think>{TIME}", {"form": MARKED, "reasons": True}, ("a tool", "", ["time"])),
        (WEATHER.removesuffix("</tool_call>"), {"form": MARKED}, ("", "", ["weather"])),
        ("a <tool_call>{x}</tool_call> b", {"form": MARKED}, ("", "a <tool_call>{x}</tool_call> b", [])),
        ("a <tool_call>{", {"form": MARKED}, ("", "a <tool_call>{", [])),
        ("2 <3 and <tool", {"form": MARKED}, ("", "2 <3 and <tool", [])),
        (WEATHER, {}, ("", WEATHER, [])),
        ('{"name": "time", "parameters": {}}', {"form": LLAMA}, ("", "", ["time"])),
        ('{"no": "call"}', {"form": LLAMA}, ("", '{"no": "call"}', [])),
        ("In words.", {"form": LLAMA}, ("", "In words.", [])),
        ('[TOOL_CALLS][{"name": "time"}, {"name": "weather"}]', {"form": MISTRAL}, ("", "", ["time", "weather"])),
    ],
)  # fmt: skip
@given(cuts=CUTS)
def test_the_same_however_it_is_cut(
    text: str, options: dict, expected: tuple[str, str, list[str]], cuts: list[int]
) -> None:
    assert divide(text, cuts, **options)[:3] == expected


@given(st.text("<think>/ab\n ", max_size=60), CUTS)
def test_without_marks_every_character_and_token_is_told(text: str, cuts: list[int]) -> None:
    reasoning, content, calls, told = divide(text, cuts)
    assert (reasoning, content, calls) == ("", text, [])
    assert told == len({min(cut, len(text)) for cut in cuts} | {len(text)})


@given(st.text('<tool_call>/{}"name: ', max_size=80), CUTS)
def test_nothing_is_lost_where_there_is_no_call(text: str, cuts: list[int]) -> None:
    _, content, calls, _ = divide(text, cuts, MARKED)
    assert content == text
    assert calls == []


def test_text_is_let_through_as_it_comes() -> None:
    parts = Parts(MARKED, {"weather"}, reasons=True)
    told = [[e.text for e in parts.feed(Piece(0, text, 0.0, (), False, "answer"))] for text in ("a ", "b", " <", "c")]
    assert told == [["a "], ["b"], [" "], ["<c"]]


def test_marks_that_are_tokens_of_their_own() -> None:
    parts = Parts(MISTRAL, {"time"}, spelled={7: "[TOOL_CALLS]"})
    told = list(parts.feed(Piece(7, "", 0.0, (), False, "mark")))
    told += list(parts.feed(Piece(1, '[{"name": "time"}]', 0.0, (), False, "answer")))
    told += list(parts.finish())
    assert [e.name for e in told if isinstance(e, Call)] == ["time"]
