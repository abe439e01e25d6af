"""The vocabulary of characters against `transformers`, and what it makes of characters that it lacks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.runs import BadInput
from cutaway.tokens import ForeignTokenizer, Tokenizer, character_tokenizer

TEXT = "First Citizen:\nWe are accounted poor citizens, the patricians good. <|endoftext|>\n  naïve 日本 🂡\t'tis"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("characters")
    character_tokenizer(TEXT, path)
    return path


@pytest.fixture(scope="module")
def tokenizer(directory: Path) -> Tokenizer:
    return Tokenizer.load(directory)


def test_each_character_is_a_token_in_the_order_of_code_points(tokenizer: Tokenizer) -> None:
    places = {character: place for place, character in enumerate(sorted(set(TEXT)), start=2)}
    assert tokenizer.encode(TEXT) == [places[character] for character in TEXT]
    assert tokenizer.vocab_size == len(places) + 2


@given(st.text(alphabet=sorted(set(TEXT))))
def test_what_it_knows_comes_back_whole(text: str) -> None:
    tokenizer = known()
    ids = tokenizer.encode(text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert b"".join(tokenizer.token_bytes(i) for i in ids) == text.encode()


_known: list[Tokenizer] = []


def known() -> Tokenizer:
    if not _known:
        import tempfile

        with tempfile.TemporaryDirectory() as place:
            _known.append(character_tokenizer(TEXT, Path(place)))
    return _known[0]


def test_transformers_reads_the_same(tokenizer: Tokenizer, directory: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(directory)
    for text in ("the poor citizens,\n  are good", "", " ", "é 日"):
        assert theirs(text).input_ids == tokenizer.encode(text)
    assert theirs.decode(tokenizer.encode("We are\n  poor , 'tis")) == "We are\n  poor , 'tis"
    assert len(theirs) == tokenizer.vocab_size
    assert theirs.eos_token_id == tokenizer.end_of_text == 0
    assert theirs.unk_token_id == 1


def test_a_text_begins_with_nothing_of_its_own_and_ends_with_a_token(tokenizer: Tokenizer) -> None:
    assert tokenizer.document("We") == tokenizer.encode("We")
    assert tokenizer.document("") == [tokenizer.end_of_text]
    assert tokenizer.stop_ids == {tokenizer.end_of_text}
    # A text that spells the name of that token is characters like any other.
    assert len(tokenizer.encode("<|endoftext|>")) == 13


def test_characters_that_it_lacks_are_marked(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("aéa") == [*tokenizer.encode("a"), 1, *tokenizer.encode("a")]
    assert tokenizer.decode(tokenizer.encode("aéa")) == "a\N{REPLACEMENT CHARACTER}a"


def test_a_text_may_hold_the_mark_itself(tmp_path: Path) -> None:
    tokenizer = character_tokenizer("a\N{REPLACEMENT CHARACTER}b", tmp_path)
    assert tokenizer.encode("b\N{REPLACEMENT CHARACTER}a") == [3, 1, 2]


def test_it_is_no_tokenizer_to_talk_with(tokenizer: Tokenizer) -> None:
    assert isinstance(tokenizer, ForeignTokenizer)
    with pytest.raises(BadInput, match="no chat template"):
        tokenizer.encode_chat([{"role": "user", "content": "We"}])


def test_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no text"):
        character_tokenizer("", tmp_path)
