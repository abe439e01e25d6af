"""Vocabularies without merges, for teaching: every byte a token, or every word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.tokens.characters import UNKNOWN
from cutaway.tokens.foreign import ForeignTokenizer
from cutaway.tokens.special import END_OF_TEXT
from cutaway.tokens.splits import Split
from cutaway.tokens.tokenizer import BYTE_OF, Tokenizer

MOST_WORDS = 2_000_000
"""Different words that are counted; beyond, those seen once are forgotten."""


def byte_tokenizer(directory: Path) -> Tokenizer:
    """A tokenizer of the 256 bytes (Xue et al. 2022, ByT5), written into `directory`: byte b is the token 1 + b.

    0 is the token that ends a text.
    """
    by_byte = sorted(BYTE_OF, key=lambda character: BYTE_OF[character])
    vocabulary = {token: id_ for id_, token in enumerate((END_OF_TEXT, *by_byte))}
    backend = Backend(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    return _written(ForeignTokenizer(backend, ends=[0], settings={"pad_token": END_OF_TEXT}), directory)


def word_tokenizer(texts: Iterable[str], vocab_size: int, directory: Path) -> Tokenizer:
    """A tokenizer of the most frequent words, written into `directory`; what is none becomes U+FFFD.

    Words are cut as for GPT-2, with the space before them, so that a text comes back but for its rare words. Of words
    that are as frequent, those first by their characters are taken. Raises `BadInput` if there is no text.
    """
    cut = pre_tokenizers.Split(Regex(Split.of("gpt2").pattern), behavior="isolated")
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in cut.pre_tokenize_str(text))
        if len(counts) > MOST_WORDS:
            counts = Counter({word: n for word, n in counts.items() if n > 1})
    if not counts:
        raise BadInput("there is no text to take words from")
    if vocab_size < 3:
        raise BadInput(f"a vocabulary of {vocab_size} tokens has no room for words; give --vocab-size 3 or more")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    names = dict.fromkeys((END_OF_TEXT, UNKNOWN, *(word for word, _ in ordered)))
    vocabulary = {word: id_ for id_, word in enumerate(list(names)[:vocab_size])}
    backend = Backend(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = cut
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    settings = {"pad_token": END_OF_TEXT, "unk_token": UNKNOWN}
    return _written(ForeignTokenizer(backend, ends=[0], settings=settings), directory)


def _written(tokenizer: Tokenizer, directory: Path) -> Tokenizer:
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    return tokenizer
