"""Answers divided into reasoning, text and calls, however the tokens fall."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.serve.calls import LLAMA, MARKED, MISTRAL, OURS, Arguments, Call, Form
from cutaway.serve.parts import Parts, Said
from cutaway.serve.speech import Piece

WEATHER = '<tool_call>{"name": "weather", "arguments": {}}</tool_call>'
TIME = '<tool_call>\n{"name": "time"}\n</tool_call>'
CITY = '{"name": "weather", "arguments": {"city": "K{öl}\\\\n \\"</tool_call>\\"]"}}'
CITY_ARGUMENTS = {"city": 'K{öl}\\n "</tool_call>"]'}
NOTHING: dict[str, Any] = {}
Called = list[tuple[str, Any]]


def divide(text: str, cuts: list[int], form: Form | None = None, **options: bool) -> tuple[str, str, Called, int]:
    """Reasoning, content, the calls, and how many tokens were told."""
    parts = Parts(form, {"weather", "time", "calculator"}, **options)
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
    names: list[str] = []
    arguments: list[str] = []
    for each in told:
        if isinstance(each, Call):
            assert each.index == len(names)
            names.append(each.name)
            arguments.append("")
        elif isinstance(each, Arguments):
            assert each.index == len(names) - 1
            arguments[each.index] += each.text
    calls = [(name, _loads(text)) for name, text in zip(names, arguments, strict=True)]
    return said["reasoning"], said["content"], calls, len(ids)


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


CUTS = st.lists(st.integers(0, 250), max_size=60)


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
        # As Hermes and Qwen write.
        (WEATHER, {"form": MARKED}, ("", "", [("weather", NOTHING)])),
        (
            f"Let me look. {WEATHER}\n{TIME}",
            {"form": MARKED},
            ("", "Let me look. ", [("weather", NOTHING), ("time", NOTHING)]),
        ),
        (f"{WEATHER}{TIME}", {"form": MARKED, "one": True}, ("", "", [("weather", NOTHING)])),
        (f"<think>a tool</think>{TIME}", {"form": MARKED, "reasons": True}, ("a tool", "", [("time", NOTHING)])),
        (f"<tool_call>\n{CITY}\n</tool_call>\nSo.", {"form": MARKED}, ("", "So.", [("weather", CITY_ARGUMENTS)])),
        (WEATHER.removesuffix("</tool_call>"), {"form": MARKED}, ("", "", [("weather", NOTHING)])),
        (
            f"<tool_call>[{CITY}, {{\"name\": \"time\"}}]</tool_call>{TIME}",
            {"form": MARKED},
            ("", "", [("weather", CITY_ARGUMENTS), ("time", NOTHING), ("time", NOTHING)]),
        ),
        ('<tool_call>{"name": "time", "arguments": {}, "id": "x}"}</tool_call>', {"form": MARKED},
         ("", "", [("time", NOTHING)])),
        ('<tool_call>{"arguments": {"city": "Rome"}, "name": "weather"}</tool_call>!', {"form": MARKED},
         ("", "!", [("weather", {"city": "Rome"})])),
        ('<tool_call>[{"name": "time"}, {"arguments": "{}", "name": "weather"}]</tool_call>', {"form": MARKED},
         ("", "", [("time", NOTHING), ("weather", NOTHING)])),
        ('<tool_call>{"name": "weather", "arguments": {"city": "Ro', {"form": MARKED},
         ("", "", [("weather", '{"city": "Ro')])),
        (f"<tool_call>[{CITY}, {{\"name\": \"absent\"}}]</tool_call>", {"form": MARKED},
         ("", ', {"name": "absent"}]</tool_call>', [("weather", CITY_ARGUMENTS)])),
        ("a <tool_call>{x}</tool_call> b", {"form": MARKED}, ("", "a <tool_call>{x}</tool_call> b", [])),
        ('<tool_call>{"name": "absent", "arguments": {}}</tool_call>', {"form": MARKED},
         ("", '<tool_call>{"name": "absent", "arguments": {}}</tool_call>', [])),
        (f"<tool_call>{TIME}", {"form": MARKED}, ("", "<tool_call>", [("time", NOTHING)])),
        ("a <tool_call>{", {"form": MARKED}, ("", "a <tool_call>{", [])),
        ("2 <3 and <tool", {"form": MARKED}, ("", "2 <3 and <tool", [])),
        (WEATHER, {}, ("", WEATHER, [])),
        # As Llama writes.
        ('{"name": "time", "parameters": {}}', {"form": LLAMA}, ("", "", [("time", NOTHING)])),
        ('{"name": "time", "parameters": {}}; {"name": "weather", "parameters": {"city": "Rome"}}', {"form": LLAMA},
         ("", "", [("time", NOTHING), ("weather", {"city": "Rome"})])),
        ('{"type": "function", "name": "time", "parameters": {}}', {"form": LLAMA}, ("", "", [("time", NOTHING)])),
        ('<|python_tag|>{"name": "time"}\n{"name": "time"}', {"form": LLAMA},
         ("", "", [("time", NOTHING), ("time", NOTHING)])),
        ('{"name": "time", "parameters": {}} and so on', {"form": LLAMA}, ("", "and so on", [("time", NOTHING)])),
        ('{"no": "call"}', {"form": LLAMA}, ("", '{"no": "call"}', [])),
        ('{"name": "absent"}', {"form": LLAMA}, ("", '{"name": "absent"}', [])),
        ("In words.", {"form": LLAMA}, ("", "In words.", [])),
        # As Mistral writes, and as it wrote.
        ('[TOOL_CALLS][{"name": "time"}, {"name": "weather", "arguments": {"city": "Rome"}, "id": "123456789"}]',
         {"form": MISTRAL}, ("", "", [("time", NOTHING), ("weather", {"city": "Rome"})])),
        ('[TOOL_CALLS]weather[ARGS]{"city": "Rome"}[TOOL_CALLS]time[ARGS]{}', {"form": MISTRAL},
         ("", "", [("weather", {"city": "Rome"}), ("time", NOTHING)])),
        ('[TOOL_CALLS]weather[CALL_ID]abcdef123[ARGS]{"city": "Rome"}', {"form": MISTRAL},
         ("", "", [("weather", {"city": "Rome"})])),
        ('[TOOL_CALLS]weather[ARGS]{}[TOOL_CALLS]time[ARGS]{}', {"form": MISTRAL, "one": True},
         ("", "", [("weather", NOTHING)])),
        ("[TOOL_CALLS]weather[ARGS]Rome", {"form": MISTRAL}, ("", "[TOOL_CALLS]weather[ARGS]Rome", [])),
        ("[TOOL_CALLS]absent[ARGS]{}", {"form": MISTRAL}, ("", "[TOOL_CALLS]absent[ARGS]{}", [])),
        # As models trained here write.
        ("<|tool_call|> 2 + 2 ", {"form": OURS}, ("", "", [("calculator", {"expression": "2 + 2"})])),
        ('<|tool_call|>a "quoted" \\ thing', {"form": OURS},
         ("", "", [("calculator", {"expression": 'a "quoted" \\ thing'})])),
        (WEATHER, {"form": OURS}, ("", "", [("weather", NOTHING)])),
    ],
)  # fmt: skip
@given(cuts=CUTS)
def test_the_same_however_it_is_cut(
    text: str, options: dict[str, Any], expected: tuple[str, str, Called], cuts: list[int]
) -> None:
    assert divide(text, cuts, **options)[:3] == expected


@given(st.text("<think>/ab\n ", max_size=60), CUTS)
def test_without_marks_every_character_and_token_is_told(text: str, cuts: list[int]) -> None:
    reasoning, content, calls, told = divide(text, cuts)
    assert (reasoning, content, calls) == ("", text, [])
    assert told == len({min(cut, len(text)) for cut in cuts} | {len(text)})


@given(st.text('<tool_call>/{}[],"name: ', max_size=80), CUTS)
def test_nothing_is_lost_where_there_is_no_call(text: str, cuts: list[int]) -> None:
    _, content, calls, _ = divide(text, cuts, MARKED)
    assert content == text
    assert calls == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\{}[]</tool_call>é\n', max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('k"\\}', max_size=4), inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text('k"\\}]', max_size=4), JSON, max_size=3)


@given(st.lists(st.tuples(st.sampled_from(["weather", "time"]), OBJECTS), min_size=1, max_size=3), CUTS, st.data())
def test_any_arguments_in_any_form(calls: Called, cuts: list[int], data: st.DataObject) -> None:
    spaced = data.draw(st.sampled_from([None, (",", ":")]))

    def dumped(value: Any) -> str:
        return json.dumps(value, ensure_ascii=data.draw(st.booleans()), separators=spaced)

    form = data.draw(st.sampled_from([MARKED, LLAMA, MISTRAL]))
    key = "parameters" if form is LLAMA else "arguments"
    objects = [dumped({"name": name, key: arguments}) for name, arguments in calls]
    if form is MARKED:
        text = "\n".join(f"<tool_call>\n{each}\n</tool_call>" for each in objects)
    elif form is LLAMA:
        text = "; ".join(objects)
    elif data.draw(st.booleans()):
        text = f"[TOOL_CALLS][{', '.join(objects)}]"
    else:
        text = "".join(f"[TOOL_CALLS]{name}[ARGS]{dumped(arguments)}" for name, arguments in calls)
    assert divide(text, cuts, form)[:3] == ("", "", list(calls))


def test_text_is_let_through_as_it_comes() -> None:
    parts = Parts(MARKED, {"weather"}, reasons=True)
    told = [[e.text for e in parts.feed(Piece(0, text, 0.0, (), False, "answer"))] for text in ("a ", "b", " <", "c")]
    assert told == [["a "], ["b"], [" "], ["<c"]]


def test_arguments_are_told_as_they_are_written() -> None:
    parts = Parts(MARKED, {"weather"})
    text = '<tool_call>{"name": "weather", "arguments": {"city": "Paris"}}</tool_call>'
    told = [list(parts.feed(Piece(0, character, 0.0, (), False, "answer"))) for character in text]
    opening = text.index('{"city')
    assert [[type(e) for e in each] for each in told[: opening + 1]] == [[]] * opening + [[Call, Arguments]]
    arguments = '{"city": "Paris"}'
    assert [e.text for each in told[opening : opening + len(arguments)] for e in each if isinstance(e, Arguments)] == [
        *arguments
    ]
    assert [e for each in told[opening + len(arguments) :] for e in each] == []


def test_json_that_is_no_call_is_not_held_back() -> None:
    parts = Parts(LLAMA, {"weather"})
    told = [[e.text for e in parts.feed(Piece(0, text, 0.0, (), False, "answer"))] for text in ('{"ci', 'ty": ', "1}")]
    assert told == [[], ['{"city": '], ["1}"]]


@pytest.mark.parametrize("text", ['[{"name": "time"}]', "time[ARGS]{}", "time[CALL_ID]abcdef123[ARGS]{}"])
def test_marks_that_are_tokens_of_their_own(text: str) -> None:
    spelled = {7: "[TOOL_CALLS]", 8: "[ARGS]", 9: "[CALL_ID]"}
    parts = Parts(MISTRAL, {"time"}, spelled=spelled)
    told = list(parts.feed(Piece(7, "", 0.0, (), False, "mark")))
    for id_, mark in spelled.items():
        text = text.replace(mark, f"|{id_}|")
    for piece in text.split("|"):
        if piece.isdigit() and int(piece) in spelled:
            told += list(parts.feed(Piece(int(piece), "", 0.0, (), False, "mark")))
        else:
            told += list(parts.feed(Piece(1, piece, 0.0, (), False, "answer")))
    told += list(parts.finish())
    assert [e.name for e in told if isinstance(e, Call)] == ["time"]
    assert "".join(e.text for e in told if isinstance(e, Arguments)) == "{}"
