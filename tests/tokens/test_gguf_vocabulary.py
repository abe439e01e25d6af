"""Vocabularies of GGUF files: there and back, and what cannot be said."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from cutaway.runs import BadInput
from cutaway.tokens import TokenizerSettings, train_tokenizer
from cutaway.tokens.gguf_header import header_bytes
from cutaway.tokens.gguf_vocabulary import PROBE, read_gguf_vocabulary, vocabulary_metadata, vocabulary_of
from cutaway.tokens.llama2c_vocabulary import find_llama2c_vocabulary, read_llama2c_vocabulary
from cutaway.tokens.pieces import merges_of, piece_backend, scores_of
from cutaway.tokens.pretokenizers import KINDS, PATTERNS, pre_tokenizer

TEXTS = [PROBE, "the cat sat on the mat; the cat's hat", "12345 67 8", "def f(x):\n    return x\n"]
TINY = Path(__file__).parents[3] / "shared/data/tiny-model"


def byte_level(kind: str) -> Backend:
    """A vocabulary learned from a little text, cut as `kind` says."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizer(kind)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS * 3, trainer)
    backend.encode_special_tokens = True
    return backend


def pieces(*, space_prefix: bool) -> Backend:
    """A vocabulary of pieces with bytes for the rest."""
    words = ["▁the", "▁cat", "▁", "t", "h", "e", "c", "a", "s", "▁t", "he", "at", "▁c", "▁▁", "▁▁▁▁", "e▁"]
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], *dict.fromkeys(words)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    scores = {token: -float(i) for token, i in vocabulary.items() if i >= 259}
    backend = piece_backend(vocabulary, scores, unknown="<unk>", space_prefix=space_prefix)
    backend.add_special_tokens([AddedToken(token, normalized=False) for token in tokens[:3]])
    backend.encode_special_tokens = True
    return backend


def ids(backend: Backend, text: str) -> list[int]:
    return backend.encode(text, add_special_tokens=False).ids


@pytest.mark.parametrize("kind", [kind for kind in PATTERNS if kind not in ("llama-bpe", "tekken")])
def test_a_byte_level_vocabulary_comes_back(kind: str, tmp_path: Path) -> None:
    backend = byte_level(kind)
    metadata = vocabulary_metadata(backend, vocab_size=410, bos=0, eos=1, add_bos=True, chat_template="{{ messages }}")
    # Kinds that cut the probe alike have one name; these do not.
    assert metadata["tokenizer.ggml.pre"] == kind
    (tmp_path / "v.gguf").write_bytes(header_bytes({"general.architecture": "llama", **metadata}, {}))
    again = read_gguf_vocabulary(tmp_path / "v.gguf")
    assert (again.bos, again.eos, again.eot, again.add_bos) == (0, 1, 0, True)
    assert again.chat_template == "{{ messages }}"
    again.backend.encode_special_tokens = True
    for text in [*TEXTS, "<|im_end|> as text"]:
        assert ids(again.backend, text) == ids(backend, text)
        assert again.backend.decode(ids(backend, text)) == text
    again.backend.encode_special_tokens = False
    assert ids(again.backend, "a<|im_end|>") == [*ids(backend, "a"), 1]
    # With special tokens, a text begins as the model's texts did.
    assert again.backend.encode("a").ids == [0, *ids(backend, "a")]
    assert again.backend.get_vocab_size() == 410


def test_whole_words_are_said_by_the_kind() -> None:
    backend = byte_level("llama-bpe")
    with pytest.raises(BadInput, match="no name for how"):
        vocabulary_metadata(backend, vocab_size=400)
    backend.model = models.BPE(backend.get_vocab(), [], ignore_merges=True)
    assert vocabulary_metadata(backend, vocab_size=400)["tokenizer.ggml.pre"] == "llama-bpe"


def test_our_own_vocabularies_are_qwens_kind(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=400), TEXTS, tmp_path)
    metadata = vocabulary_metadata(tokenizer.backend, vocab_size=tokenizer.vocab_size)
    assert metadata["tokenizer.ggml.pre"] == "qwen2"


@pytest.mark.parametrize("prefix", [True, False])
def test_a_vocabulary_of_pieces_comes_back(prefix: bool) -> None:
    backend = pieces(space_prefix=prefix)
    metadata = vocabulary_metadata(backend, vocab_size=280, bos=1, eos=2, add_bos=True)
    assert metadata["tokenizer.ggml.model"] == "llama"
    assert metadata["tokenizer.ggml.add_space_prefix"] is prefix
    again = vocabulary_of(metadata)
    again.backend.encode_special_tokens = True
    for text in [*TEXTS, "<s> the </s>", "  the    cat ", "日本語\x00"]:
        assert ids(again.backend, text) == ids(backend, text)
        assert again.backend.decode(ids(backend, text)) == text
    assert (again.bos, again.eos, again.add_bos) == (1, 2, True)


def test_pieces_are_joined_by_score_and_not_by_length() -> None:
    backend = pieces(space_prefix=True)
    assert backend.encode("the cat", add_special_tokens=False).tokens == ["▁the", "▁cat"]
    assert backend.encode("thé", add_special_tokens=False).tokens == ["▁t", "h", "<0xC3>", "<0xA9>"]
    vocabulary = {"a": 0, "b": 1, "ab": 2, "aba": 3, "ba": 4}
    merges = merges_of(vocabulary, {"ab": -3.0, "aba": -1.0, "ba": -2.0, "a": 0.0, "b": 0.0})
    assert merges == [("a", "ba"), ("ab", "a"), ("b", "a"), ("a", "b")]
    assert merges_of(vocabulary, scores_of(vocabulary, merges)) == merges


def test_pieces_that_llama_cpp_would_join_and_this_vocabulary_does_not_are_refused() -> None:
    backend = pieces(space_prefix=True)
    vocabulary = backend.get_vocab()
    backend.model = models.BPE(vocabulary, [("▁", "t")], unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    with pytest.raises(BadInput, match="would join pieces"):
        vocabulary_metadata(backend, vocab_size=280)


def test_what_cannot_be_said_is_refused() -> None:
    other = Backend(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))
    with pytest.raises(BadInput, match="of the kind WordLevel"):
        vocabulary_metadata(other, vocab_size=2)
    backend = byte_level("gpt-2")
    with pytest.raises(BadInput, match="token 399, but the model only 300 rows"):
        vocabulary_metadata(backend, vocab_size=300)
    backend.normalizer = normalizers.Lowercase()
    with pytest.raises(BadInput, match="cannot say how"):
        vocabulary_metadata(backend, vocab_size=400)
    backend = byte_level("gpt-2")
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("[aeiou]"), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(BadInput, match="no name for how"):
        vocabulary_metadata(backend, vocab_size=400)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tokenizer.ggml.model": "bert"}, "of the kind 'bert'"),
        ({"tokenizer.ggml.model": "none"}, "there is no vocabulary"),
        ({"tokenizer.ggml.pre": "clever"}, "in the way 'clever'"),
        ({"tokenizer.ggml.token_type": [1]}, "fewer types"),
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "a token twice"),
        ({"tokenizer.ggml.tokens": 7}, "cannot be read"),
        ({"tokenizer.ggml.merges": ["ab"]}, "cannot be read"),
        ({"tokenizer.ggml.merges": 3.5}, "cannot be read"),
    ],
)
def test_a_damaged_vocabulary_is_told_in_one_line(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    metadata = {**vocabulary_metadata(byte_level("gpt-2"), vocab_size=400), **change}
    (tmp_path / "v.gguf").write_bytes(header_bytes(metadata, {}))
    with pytest.raises(BadInput, match=words) as caught:
        read_gguf_vocabulary(tmp_path / "v.gguf")
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_kind_has_its_patterns() -> None:
    for kind in KINDS:
        assert pre_tokenizer(kind).pre_tokenize_str("It's 12")


# llama2.c's own.


def tokenizer_bin(pieces_: list[str]) -> bytes:
    tokens = ["<unk>", "\n<s>\n", "\n</s>\n", *[f"<0x{byte:02X}>" for byte in range(256)], *pieces_]
    data = struct.pack("<i", max(map(len, tokens)))
    for i, token in enumerate(tokens):
        raw = token.encode()
        data += struct.pack("<fi", -float(i), len(raw)) + raw
    return data


def test_llama2cs_tokenizer_is_read(tmp_path: Path) -> None:
    (tmp_path / "tok264.bin").write_bytes(tokenizer_bin([" ", "a", "b", " a", "é"]))
    found = find_llama2c_vocabulary(tmp_path / "model.bin", 264)
    assert (found.bos, found.eos, found.add_bos) == (1, 2, True)
    assert ids(found.backend, "ab é\n") == [262, 261, 259, 263, 3 + 10]
    assert found.backend.decode([262, 261, 259, 263, 13]) == "ab é\n"
    with pytest.raises(BadInput, match="it has 264 tokens, and not the model's 300"):
        read_llama2c_vocabulary(tmp_path / "tok264.bin", 300)
    with pytest.raises(BadInput, match="has no vocabulary beside it"):
        find_llama2c_vocabulary(tmp_path / "model.bin", 300)


@given(cut=st.integers(0, 3000))
def test_a_cut_tokenizer_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    data = tokenizer_bin([" ", "a"])
    path = tmp_path_factory.getbasetemp() / "tok.bin"
    path.write_bytes(data[: min(cut, len(data) - 1)])
    with pytest.raises(BadInput):
        read_llama2c_vocabulary(path)


@pytest.mark.skipif(not TINY.is_dir(), reason="the shared data is not beside this checkout")
def test_stories260ks_vocabulary_comes_back() -> None:
    found = read_llama2c_vocabulary(TINY / "tok512.bin", 512)
    again = vocabulary_of(vocabulary_metadata(found.backend, vocab_size=512, bos=1, eos=2, add_bos=True))
    for text in TEXTS:
        assert ids(again.backend, text) == ids(found.backend, text)
        assert again.backend.decode(ids(found.backend, text)) == text
