"""Stop strings cut a text where they begin, however it falls into tokens, and nothing is held back without need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutaway.infer.generate import Step
from cutaway.infer.stopping import StopStrings

PIECES = st.lists(st.text("ab.", max_size=3), max_size=12)


@given(PIECES, st.lists(st.text("ab.", min_size=1, max_size=4), max_size=3))
def test_the_text_ends_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    stopping, shown, read = StopStrings(stops), "", ""
    for i, piece in enumerate(pieces):
        read += piece
        shown += "".join(step.text for step in stopping.feed(Step(i, piece, 0.0)))
        assert stopping.found == any(stop in read for stop in stops)
        if stopping.found:
            break
        # What is held back is as short as can be: a step with the beginning of a stop string, and what follows it.
        assert read.startswith(shown)
        assert any(stop.startswith(read[at:]) for stop in stops for at in range(len(shown), len(read))) or shown == read
    else:
        shown += "".join(step.text for step in stopping.flush())
    whole = "".join(pieces)
    ends = [whole.find(stop) for stop in stops if stop in read]
    assert shown == (read[: min(read.find(stop) for stop in stops if stop in read)] if ends else whole)
