"""Stop strings, however the tokens fall."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutaway.serve.speech import Piece
from cutaway.serve.stopping import StopStrings

LETTERS = st.text("abc", max_size=4)


def run(texts: list[str], stops: list[str]) -> tuple[str, bool]:
    stopping, out = StopStrings(stops), ""
    for text in texts:
        for piece in stopping.feed(Piece(0, text, 0.0, (), False, "answer")):
            out += piece.text
        if stopping.found:
            return out, True
    return out + "".join(piece.text for piece in stopping.flush()), False


@given(st.lists(LETTERS, max_size=12), st.lists(st.text("abc", min_size=1, max_size=4), max_size=4))
def test_same_as_cutting_the_whole_text(texts: list[str], stops: list[str]) -> None:
    text, expected, found = "", "", False
    for piece in texts:  # the stop that shows first in time wins, as it does for a reader of the stream
        text += piece
        starts = [text.find(stop) for stop in stops if stop in text]
        if starts:
            expected, found = text[: min(starts)], True
            break
    assert run(texts, stops) == ((expected, True) if found else (text, False))


def test_pieces_that_cannot_be_a_stop_are_let_through_at_once() -> None:
    stopping = StopStrings(["END"])
    assert [p.text for p in stopping.feed(Piece(0, "abc E", 0.0, (), False, "answer"))] == []
    assert [p.text for p in stopping.feed(Piece(0, "N", 0.0, (), False, "answer"))] == ["abc E"][:0]
    assert [p.text for p in stopping.feed(Piece(0, "x", 0.0, (), False, "answer"))] == ["abc E", "N", "x"]
