"""Formats both ways: ids stay what they are, tiktoken reads what we write, and what a file cannot say is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens.formats import open_any, write_as
from cutaway.tokens.ranks import merges_of_ranks, read_ranks

TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "It's 48 + 37 = 85, WE'LL see.",
    "naïve café 日本",
] * 20
ALL = Path(__file__).parents[3] / "shared/data/tokenizers"
PUBLISHED = ["gpt2-vocab.bpe", "cl100k_base.tiktoken.gz", "o200k_base.tiktoken.gz"]
HOSTILE = st.text() | st.lists(
    st.sampled_from([*" \t\n\r\x85\xa0\u3000'sStTlLeE0123.,/-_aAZſ日ǅʰ\u0301٣Ⅷ🙂\x00", "<|end|>", "<|endoftext|>"])
).map("".join)
FORMATS: list[tuple[Any, str]] = [
    ("json", "a"),
    ("json", "b.json"),
    ("tiktoken", "c.tiktoken"),
    ("gpt2", "d"),
    ("gguf", "e.gguf"),
]


@pytest.fixture(scope="module", params=["cutaway", "gpt2", "cl100k", "o200k"])
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Tokenizer]:
    """A tokenizer, and what every format makes of it, each from the one before."""
    place = tmp_path_factory.mktemp("formats")
    made = [train_tokenizer(TokenizerSettings(vocab_size=400, split=request.param), TEXTS, place / "first")]
    for to, name in FORMATS:
        write_as(made[-1], place / name, to)
        made.append(open_any(place / name))
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(text=HOSTILE)
def test_ids_are_equal_after_every_round_trip(written: list[Tokenizer], text: str) -> None:
    first = written[0]
    ids = first.encode(text)
    # What a text says never becomes a special token.
    assert not set(ids) & set(first.special.values())
    for other in written[1:]:
        assert other.encode(text) == ids
        assert other.decode(ids) == text
        assert set(first.special) <= set(other.special)


def test_tiktoken_reads_what_we_write(tmp_path: Path) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    ours = train_tokenizer(TokenizerSettings(vocab_size=400, split="o200k"), TEXTS, tmp_path)
    ranks, beside = write_as(ours, tmp_path / "a.tiktoken")
    said = json.loads(beside.read_text())
    theirs = tiktoken.Encoding(
        "a", pat_str=said["pattern"], mergeable_ranks=dict(read_ranks(ranks)), special_tokens=said["special_tokens"]
    )
    for text in [*TEXTS[:3], "Heaven's   earth\n\n 1234"]:
        assert theirs.encode_ordinary(text) == ours.encode(text)


def test_transformers_read_our_merges(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    ours = train_tokenizer(TokenizerSettings(vocab_size=400, split="gpt2"), TEXTS, tmp_path)
    write_as(ours, tmp_path / "m", "gpt2")
    theirs = transformers.GPT2Tokenizer(str(tmp_path / "m" / "vocab.json"), str(tmp_path / "m" / "merges.txt"))
    for text in TEXTS[:3]:
        assert theirs(text)["input_ids"] == ours.encode(text)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_vocabularies_are_tiktokens(name: str) -> None:
    if not (ALL / name).exists():
        pytest.skip("there is no shared data here")
    openai = pytest.importorskip("tiktoken_ext.openai_public")
    import tiktoken

    ours = open_any(ALL / name)
    kind = name.split("-")[0].split("_")[0]
    pattern = openai.r50k_pat_str if kind == "gpt2" else None
    if pattern is None:
        loaded = openai.load_tiktoken_bpe
        try:
            openai.load_tiktoken_bpe = lambda *_, **__: {}
            pattern = getattr(openai, f"{kind}_base")()["pat_str"]
        finally:
            openai.load_tiktoken_bpe = loaded
    ranks = {ours.token_bytes(i): i for i in ours.backend.get_vocab().values() if i not in ours.special.values()}
    theirs = tiktoken.Encoding(kind, pat_str=pattern, mergeable_ranks=ranks, special_tokens=ours.special)

    @settings(max_examples=500, deadline=None)
    @given(HOSTILE)
    def equal(text: str) -> None:
        ids = theirs.encode_ordinary(text)
        assert ours.encode(text) == ids
        assert ours._fast is None or [i.tolist() for i in ours._fast.encode([text])] == [ids]

    equal()


def test_ranks_are_merges_and_back() -> None:
    ranks = {bytes([i]): i for i in range(256)} | {b"ab": 256, b"abc": 257, b"cd": 258, b"abcd": 259}
    assert merges_of_ranks(ranks) == [(b"a", b"b"), (b"ab", b"c"), (b"c", b"d"), (b"abc", b"d")]
    with pytest.raises(BadInput, match="not made of two"):
        merges_of_ranks(ranks | {b"xyz": 260})


def test_files_that_say_too_little_or_nonsense_are_refused(tmp_path: Path) -> None:
    ours = train_tokenizer(TokenizerSettings(vocab_size=300), TEXTS, tmp_path / "t")
    ranks, beside = write_as(ours, tmp_path / "a.tiktoken")
    beside.unlink()
    with pytest.raises(BadInput, match="--split"):
        open_any(ranks)
    assert open_any(ranks, "cutaway").encode(TEXTS[0]) == ours.encode(TEXTS[0])
    beside.write_text("[]")
    with pytest.raises(BadInput, match="should say"):
        open_any(ranks)
    for text in (b"YQ== 1", b"hello there", b"YQ== x", gzip.compress(b"\0" * 3 * 10**8)):
        (tmp_path / "b.tiktoken").write_bytes(text)
        with pytest.raises(BadInput):
            open_any(tmp_path / "b.tiktoken")
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(BadInput, match="no vocabulary beside it"):
        open_any(tmp_path / "merges.txt")
    for vocabulary in ("[]", '{"a": "b"}', '{"a": 1, "b": 2, "ab": 3}', "{"):
        (tmp_path / "vocab.json").write_text(vocabulary)
        with pytest.raises(BadInput):
            open_any(tmp_path / "merges.txt")


def test_what_a_format_cannot_say_is_not_written(tmp_path: Path) -> None:
    from tokenizers import AddedToken

    ours = train_tokenizer(TokenizerSettings(vocab_size=300), TEXTS, tmp_path / "t")
    ours.backend.add_tokens([AddedToken("begin", special=False)])
    for name in ("a.tiktoken", "b"):
        with pytest.raises(BadInput, match="only JSON"):
            write_as(ours, tmp_path / name, "tiktoken" if "." in name else "gpt2")
        assert not (tmp_path / name).exists()
