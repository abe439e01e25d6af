"""Merges replayed against the encoder, compression counted by hand, and tokens that nothing uses."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens.inspection import Merges, Passage, compression, usage
from cutaway.tokens.plain_kinds import byte_tokenizer, word_tokenizer

TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "It's 48 + 37 = 85, WE'LL see.",
    "naïve café 日本",
] * 20


@pytest.fixture(scope="module", params=["cutaway", "cl100k"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    settings_ = TokenizerSettings(vocab_size=450, split=request.param)
    return train_tokenizer(settings_, TEXTS, tmp_path_factory.mktemp("t"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=st.text() | st.lists(st.sampled_from([*TEXTS[:3], " the", "begin", "12"])).map("".join))
def test_replayed_merges_give_the_encoders_ids(tokenizer: Tokenizer, text: str) -> None:
    replays = Merges(tokenizer).replay(text)
    assert [id_ for each in replays for id_ in each.ids] == tokenizer.encode(text)
    for each in replays:
        before = each.start
        for step in each.steps:
            # One pair less, and nothing else is changed.
            assert len(step.symbols) == len(before) - 1
            assert "".join(step.symbols) == each.word
            before = step.symbols


def test_a_vocabulary_without_merges_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no merges to replay"):
        Merges(word_tokenizer(TEXTS, 20, tmp_path))


def test_bytes_per_token_by_group(tmp_path: Path) -> None:
    passages = [Passage("abé", (("language", "fr"),)), Passage("abcd", (("language", "en"),)), Passage("x")]
    found = compression({"bytes": byte_tokenizer(tmp_path)}, passages)["bytes"]
    assert (found.n_bytes, found.n_tokens, found.bytes_per_token) == (9, 9, 1.0)
    assert {group: each.n_bytes for group, each in found.groups.items()} == {
        ("language", "fr"): 4,
        ("language", "en"): 4,
    }


def test_tokens_that_a_corpus_never_uses(tokenizer: Tokenizer) -> None:
    found = usage(tokenizer, TEXTS[:2])
    used = {id_ for text in TEXTS[:2] for id_ in tokenizer.encode(text)}
    everything = set(tokenizer.backend.get_vocab().values())
    assert set(found.unused) == everything - used - set(tokenizer.special.values())
    assert found.counts.sum() == sum(len(tokenizer.encode(text)) for text in TEXTS[:2])
    assert found.unreachable == ()


def test_bytes_and_words_as_tokens(tmp_path: Path) -> None:
    tokens = byte_tokenizer(tmp_path / "b")
    assert tokens.encode("é\n<|endoftext|>")[:3] == [1 + 0xC3, 1 + 0xA9, 1 + 0x0A]
    assert Tokenizer.load(tmp_path / "b").decode(tokens.encode("日本 <|endoftext|>")) == "日本 <|endoftext|>"
    assert tokens.vocab_size == 257
    words = word_tokenizer(["the cat and the dog", "the cow"], 4, tmp_path / "w")
    assert [words.decode([id_]) for id_ in words.encode("the cat and")] == ["the", "\ufffd", " and"]
    assert words.encode("<|endoftext|>").count(0) == 0
    assert (
        word_tokenizer(["the cow", "the cat and the dog"], 4, tmp_path / "v").backend.to_str() == words.backend.to_str()
    )
    with pytest.raises(BadInput, match="no text"):
        word_tokenizer([], 5, tmp_path)
