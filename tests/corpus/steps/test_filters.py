"""Decisions of the four published filters beside datatrove's own, page by page."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.corpus.page import Page, Step
from cutaway.corpus.steps.c4 import C4Filter, C4Settings
from cutaway.corpus.steps.fineweb import FineWebFilter, FineWebSettings
from cutaway.corpus.steps.gopher_quality import GopherQualityFilter, GopherQualitySettings
from cutaway.corpus.steps.gopher_repetition import GopherRepetitionFilter, GopherRepetitionSettings

pytest.importorskip("spacy")
peers = pytest.importorskip("datatrove.pipeline.filters")
Document = pytest.importorskip("datatrove.data").Document

LOOSE = {"min_doc_words": 1, "min_avg_word_length": 1, "min_stop_words": 0, "max_non_alpha_words_ratio": 0.2}
PAIRS: dict[str, tuple[Step, Any]] = {
    "gopher_repetition": (GopherRepetitionFilter(GopherRepetitionSettings()), peers.GopherRepetitionFilter()),
    "gopher_quality": (GopherQualityFilter(GopherQualitySettings()), peers.GopherQualityFilter()),
    "gopher_quality, loose": (
        GopherQualityFilter(
            GopherQualitySettings(min_words=1, min_word_length=1, min_stop_words=0, min_letter_words=0.2)
        ),
        peers.GopherQualityFilter(**LOOSE),
    ),
    "c4": (C4Filter(C4Settings()), peers.C4QualityFilter(filter_no_terminal_punct=False)),
    "c4, as published": (C4Filter(C4Settings(need_end_mark=True)), peers.C4QualityFilter()),
    "c4, loose": (
        C4Filter(C4Settings(min_sentences=2, min_line_words=-1, max_word_length=20, remove_citations=False)),
        peers.C4QualityFilter(
            filter_no_terminal_punct=False,
            min_num_sentences=2,
            min_words_per_line=-1,
            max_word_length=20,
            remove_citations=False,
        ),
    ),
    "fineweb": (FineWebFilter(FineWebSettings()), peers.FineWebQualityFilter()),
}


def decisions(name: str, text: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """What ours and datatrove's do: the rule that was broken, or "kept", and the text afterwards."""
    mine, theirs = PAIRS[name]
    page, document = Page("id", "source", text=text), Document(text=text, id="id")
    removal, verdict = mine(page), theirs.filter(document)
    return (removal.rule if removal else "kept", page.text), ("kept" if verdict is True else verdict[1], document.text)


@pytest.mark.parametrize("name", PAIRS)
def test_decisions_on_real_pages_are_datatroves(name: str, web_texts: list[str]):
    seen = set()
    for text in web_texts:
        if not text and name != "gopher_repetition":
            continue  # Gopher's repetition removes it first; the others cannot divide by nothing
        mine, theirs = decisions(name, text)
        assert mine == theirs, text[:200]
        seen.add(mine[0])
    assert len(seen) > 1


@pytest.mark.parametrize("name", PAIRS)
def test_decisions_on_spoilt_pages_are_datatroves(name: str, web_texts: list[str]):
    """Real pages made to repeat themselves, to lose their full stops, to be lists; enough kinds to break many rules."""
    rng = random.Random(1)
    seen = set()
    for text in [text[:2_500] for text in web_texts if len(text) > 200][::2]:
        for spoilt in rng.sample(spoil(text, rng), 5):
            mine, theirs = decisions(name, spoilt)
            assert mine == theirs, spoilt[:200]
            seen.add(mine[0])
    assert len(seen) >= {"fineweb": 4, "gopher_repetition": 9}.get(name, 3)


def spoil(text: str, rng: random.Random) -> list[str]:
    words, lines = text.split(), text.splitlines()
    at = rng.randrange(len(words))
    run = words[at : at + rng.randint(1, 12)] * rng.randint(2, 40)
    some = rng.sample(lines, len(lines) // 2)
    return [
        " ".join(words[:at] + run + words[at:]),
        "\n".join(lines + some),
        "\n\n".join(lines + some * 3),
        "\n".join(" ".join(words[i : i + 4]) for i in range(0, len(words), 4)),
        text.replace(".", " "),
        text.replace(". ", " [1] ... "),
        text.replace("e", rng.choice("#-3…{")),
        "\n".join("- " + line for line in lines),
        "\n".join(line + " [12] Use of cookies" * (rng.random() < 0.5) + " [citation needed]" for line in lines),
        text[: rng.randint(20, 300)] + " java[3]script lorem [1]ipsum" * rng.randint(0, 1),
    ]


PIECES = [
    "the",
    "and",
    "of",
    "cannot",
    "can",
    "not",
    "a",
    "...",
    "…",
    "#",
    "•",
    "-",
    "word",
    "[1]",
    "[edit]",
    "x" * 21,
    "{",
]
PIECES += ["lorem ipsum", "JavaScript", "privacy policy", "End.", "Why?", '"', "。", "\u3000", "3", "é", "\x85", "\x0b"]
LINE = st.lists(st.sampled_from(PIECES), max_size=12).map(" ".join)
TEXT = st.lists(LINE, min_size=1, max_size=20).flatmap(
    lambda lines: st.lists(st.sampled_from(["\n", "\n\n", "\r\n", " "]), min_size=len(lines), max_size=len(lines)).map(
        lambda breaks: "".join(a + b for a, b in zip(lines, breaks, strict=True))
    )
)


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=150, deadline=None)
@given(text=TEXT)
def test_decisions_on_made_up_texts_are_datatroves(name: str, text: str):
    if text.split() or name in ("gopher_repetition", "c4"):
        mine, theirs = decisions(name, text)
        assert mine == theirs


def test_runs_of_words_repeat_as_strings_as_in_datatrove():
    """The runs "can not" and "cannot" are one string, so that datatrove takes the second for a repetition."""
    text = "\n".join(f"we cannot go {i} on" if i % 2 else f"we can not go {i - 1} on" for i in range(1, 60))
    mine, theirs = decisions("gopher_repetition", text)
    assert mine == theirs
    assert mine[0] != "kept"


def test_many_line_breaks_for_few_words_are_a_list():
    text = "\n".join(f"incomprehensibilities{number} internationalisation{number}." for number in range(40))
    mine, theirs = decisions("fineweb", text)
    assert mine == theirs
    assert mine[0] == "list_ratio"


def test_a_removal_tells_the_value_and_the_threshold():
    removal = PAIRS["gopher_quality"][0](Page("id", "source", text="too short. " * 5))
    assert removal is not None
    assert (removal.rule, removal.value, removal.threshold) == ("gopher_short_doc", 10, 50)
    removal = PAIRS["fineweb"][0](
        Page("id", "source", text="Short one.\n" * 3 + "A different line, which is longer than most.")
    )
    assert removal is not None
    assert removal.rule == "short_line_ratio"
    assert removal.value == 0.75


def test_no_page_divides_by_nothing():
    for text in ("", " ", "\n\n", "\x00", "\ud800", "{"):
        for mine, _ in PAIRS.values():
            mine(Page("id", "source", text=text))


def test_c4_takes_citations_and_lines_out_of_the_text():
    lines = [
        "It was built in 1901 [1] and burnt down [citation needed] later.",
        "Please enable JavaScript to see this.",
        "Two words",
        "We have a privacy policy, which you may read.",
        "It stands. It is high! Is it? Yes, it is.",
    ]
    page = Page("id", "source", text="\n".join(lines))
    assert PAIRS["c4"][0](page) is None
    assert page.text == "It was built in 1901  and burnt down  later.\nIt stands. It is high! Is it? Yes, it is."
