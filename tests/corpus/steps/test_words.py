from __future__ import annotations

import random
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.corpus.steps import words as module
from cutaway.corpus.steps.sentences import count_sentences
from cutaway.corpus.steps.simplified import MARKS, TERMINAL_MARKS, simplified_text
from cutaway.corpus.steps.words import ChunkSplitter, SharedWords, Words, WordSettings, shared_words
from cutaway.runs import BadInput

pytest.importorskip("spacy")
peer = pytest.importorskip("datatrove.utils.word_tokenizers").load_word_tokenizer("en")
peer_text = pytest.importorskip("datatrove.utils.text")

ours = shared_words(WordSettings())

RULES = sorted(peer.tokenizer.tokenizer.rules)
SPACES = [" ", " ", " ", "  ", "\n", "\t", "\u00a0", "\u3000", " \n", "\r\n", "", ""]
PIECES = [*"aB:)-(/'!?.<3DP_=*٣Ａ。", "word", "U.S.", "'s", "x:)", "http://a.b/c?d=e", "a@b.co", "...", "1,234.5"]
PIECE = st.sampled_from(RULES) | st.sampled_from(PIECES) | st.text(max_size=3)
HOSTILE = st.lists(st.tuples(PIECE, st.sampled_from(SPACES)), max_size=25).map(
    lambda pairs: "".join(piece + space for piece, space in pairs)
)


def encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@settings(max_examples=400, deadline=None)
@given(HOSTILE.filter(encodable))
def test_words_and_sentences_are_datatroves(text: str):
    assert ours(text).words == peer.word_tokenize(text)
    assert count_sentences(text, ours, sys.maxsize) == len(peer_text.split_into_sentences(text))
    assert simplified_text(text) == peer_text.simplify_text(text)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.from_regex(r"(?:[A-Za-z]{1,6}|[0-9]{1,4}|[A-Z]+)[.,]?", fullmatch=True) | st.sampled_from(RULES)))
def test_plain_chunks_need_no_spacy(chunks: list[str]):
    text = " ".join(chunks)
    assert ours(text).words == peer.word_tokenize(text)


def test_words_of_real_pages_are_datatroves(web_texts: list[str]):
    for text in web_texts:
        assert ours(text).words == peer.word_tokenize(text)
        assert simplified_text(text) == peer_text.simplify_text(text)


@pytest.mark.parametrize("text", ["x:) )", "great:) ) ) end", "x:( (", "(a/b)and/or or", "x:- )", "see x.e.g. ."])
def test_a_special_case_that_lies_across_chunks_is_left_to_spacy(text: str):
    # Each chunk is known by itself first, so that only looking across them can tell.
    for chunk in text.split():
        ours(chunk)
    assert ours(text).words == peer.word_tokenize(text)


def test_looking_across_chunks_is_needed():
    alone = [word for chunk in ["x:)", ")"] for word in peer.word_tokenize(chunk)]
    assert alone != peer.word_tokenize("x:) )")


def test_a_small_table_gives_the_same_words(monkeypatch: pytest.MonkeyPatch):
    rng = random.Random(1)
    splitter = ChunkSplitter(peer.tokenizer)
    monkeypatch.setattr(module, "KEPT", 20)
    for _ in range(50):
        text = " ".join(rng.choices([*RULES, "x:)", ")", "word", "words.", "https://example.org/" + "a" * 70], k=15))
        assert splitter.split(text) == peer.word_tokenize(text)
    assert len(splitter._known) <= 20 + 15


def test_chunks_that_would_take_spacy_seconds_are_cut():
    brackets = "(" * 1_000_000
    assert len(ours("a " + brackets).words) == 1_000_001
    mixed = ours(" ".join("(" * 3_000 + str(number) for number in range(3))).words
    assert "".join(mixed) == "".join("(" * 3_000 + str(number) for number in range(3))
    # A long chunk without marks stays what it is.
    assert ours("x" * 100_000).words == ["x" * 100_000]


def test_what_spacy_trips_over_is_taken_out():
    assert ours("half a pair \ud800 here").words == ["half", "a", "pair", "?", "here"]
    for _ in range(3):
        assert ours("the name IS_ALPHA and IS_IS_ALPHAALPHA").words == ["the", "name", "and"]


def test_words_are_split_once_a_text():
    class Counting:
        calls = 0

        def split(self, text: str) -> list[str]:
            self.calls += 1
            return text.split()

    counting = Counting()
    shared = SharedWords(counting)
    assert shared("a b") is shared("a b")
    assert shared("c").words == ["c"]
    assert counting.calls == 2


def test_the_simple_splitter_needs_no_package():
    simple = shared_words(WordSettings(splitter="simple"))
    assert simple("It's 3.5, no? Yes!").words == ["It", "'", "s", "3", ".", "5", ",", "no", "?", "Yes", "!"]
    assert count_sentences("One. Two! Three", simple, 10) == 3


def test_other_languages_are_split_as_datatrove_splits_them():
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    text = "C'est l'été à z.B. Paris. Wie geht's? 3,5 km d'eau..."
    assert shared_words(WordSettings(language="fr"))(text).words == load_word_tokenizer("fr").word_tokenize(text)


def test_an_unknown_language_and_a_missing_package_are_told():
    with pytest.raises(BadInput, match='language "xyzzy"; give its ISO 639 code'):
        shared_words(WordSettings(language="xyzzy"))
    with pytest.raises(BadInput, match="pip install 'cutaway"):
        shared_words(WordSettings(language="ko"))


def test_marks_are_datatroves():
    assert peer_text.PUNCTUATION_SET == MARKS
    assert peer_text.TERMINAL_PUNCTUATION == TERMINAL_MARKS


def polynomial(text: str) -> int:
    """The hash of a string by its definition."""
    total = 0
    for place, character in enumerate(text):
        stirred = (ord(character) + 1) * 0xD6E8FEB86659FD93 % 2**64
        total += (stirred ^ stirred >> 32) * pow(0x9E3779B97F4A7C15, place, 2**64)
    return total % 2**64


def test_hashes_of_runs_are_the_polynomials_of_their_characters():
    words = ["the", "é́", "can", "not", "𝔘", "x" * 300]
    joined = Words(words).joined
    for n in range(1, 7):
        runs = ["".join(words[i : i + n]) for i in range(len(words) - n + 1)]
        assert joined.gram_hashes(n).tolist() == [polynomial(run) for run in runs]
        assert joined.gram_lengths(n).tolist() == [len(run) for run in runs]
    assert len(joined.gram_hashes(7)) == len(Words([]).joined.gram_hashes(1)) == 0
    many = Words(["word"] * 200_000).joined  # more characters than powers are kept for
    assert set(many.gram_hashes(2).tolist()) == {polynomial("wordword")}
