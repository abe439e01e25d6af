"""A byte-level vocabulary apart from any file: its tokens and merges, how text is cut for it, its special tokens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.tokens.foreign import ForeignTokenizer
from cutaway.tokens.ranks import merges_of_ranks
from cutaway.tokens.special import SPECIAL_TOKENS
from cutaway.tokens.splits import Split, byte_level, known_split, pattern_of
from cutaway.tokens.tokenizer import BYTE_OF, Tokenizer

END_OF_TEXT = "<|endoftext|>"
PUBLISHED = {
    50256: ("gpt2", {END_OF_TEXT: 50256}),
    100256: (
        "cl100k",
        {
            END_OF_TEXT: 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
    199998: ("o200k", {END_OF_TEXT: 199999, "<|endofprompt|>": 200018}),
}
"""How the vocabularies of so many tokens that OpenAI published cut text, and their special tokens."""


@dataclass(frozen=True)
class ByteLevel:
    """What `tokenizer.json`, ranks and merges files say in ways of their own.

    Attributes:
        ids: each token's bytes, and its id.
        merges: the two tokens of each longer one, in the order in which they are joined.
        pattern: the regular expression that cuts text.
        special: the names of special tokens, and their ids.
    """

    ids: Mapping[bytes, int]
    merges: Sequence[tuple[bytes, bytes]]
    pattern: str
    special: Mapping[str, int]

    @classmethod
    def of_ranks(cls, ranks: Mapping[bytes, int], pattern: str, special: Mapping[str, int]) -> ByteLevel:
        """The vocabulary that ranks say. Raises `BadInput` where no merges can say it."""
        return cls(ranks, merges_of_ranks(ranks), pattern, special)

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> ByteLevel:
        """The vocabulary of a tokenizer. Raises `BadInput` if it is not byte-level BPE of one pattern."""
        described = json.loads(tokenizer.backend.to_str())
        model, added = described["model"], described["added_tokens"]
        pattern = pattern_of(described)
        if model["type"] != "BPE" or pattern is None or described["normalizer"] is not None:
            raise BadInput("this tokenizer is not byte-level BPE with one pattern to cut text by; only JSON can say it")
        if not all(token["special"] for token in added):
            raise BadInput("this tokenizer has added tokens that texts may spell; only JSON can say them")
        special = {token["content"]: token["id"] for token in added}
        names = {name: id_ for name, id_ in model["vocab"].items() if name not in special}
        if any(character not in BYTE_OF for name in names for character in name):
            raise BadInput("this tokenizer has a token that is not made of bytes; only JSON can say it")
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
        return cls(
            {bytes_of(name): id_ for name, id_ in names.items()},
            [(bytes_of(left), bytes_of(right)) for left, right in pairs],
            pattern,
            special,
        )

    @property
    def ranks(self) -> Mapping[bytes, int]:
        """The ids as ranks. Raises `BadInput` where ranks would join other tokens than the merges do."""
        if merges_of_ranks(self.ids) != list(self.merges):
            raise BadInput("the ids of this tokenizer are not in the order of its merges; ranks cannot say it")
        return self.ids

    def tokenizer(self) -> Tokenizer:
        """A tokenizer of this vocabulary."""
        split = known_split(self.pattern)
        vocabulary = {name_of(token): id_ for token, id_ in self.ids.items()} | dict(self.special)
        merges = [(name_of(left), name_of(right)) for left, right in self.merges]
        try:
            backend = Backend(models.BPE(vocabulary, merges, ignore_merges=bool(split and split.whole_words)))
            backend.pre_tokenizer = split.pre_tokenizer if split else byte_level([self.pattern])
        except Exception as error:  # the library raises plain Exception for what it does not take
            raise BadInput(f"this vocabulary cannot be used ({error})") from None
        backend.decoder = decoders.ByteLevel()
        by_id = sorted(self.special, key=lambda name: self.special[name])
        backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in by_id])
        if all(name in self.special for name in SPECIAL_TOKENS):
            return Tokenizer(backend)
        ends = [self.special[END_OF_TEXT]] if END_OF_TEXT in self.special else []
        return ForeignTokenizer(backend, ends=ends)


def published(n_tokens: int, path: Path) -> tuple[str, dict[str, int]]:
    """The pattern and special tokens of a published vocabulary of so many tokens. Raises `BadInput`."""
    if n_tokens not in PUBLISHED:
        raise BadInput(
            f"{path} does not say how text is cut, and no vocabulary of {n_tokens:,} tokens is known; "
            "give --split cutaway, gpt2, cl100k or o200k"
        )
    name, special = PUBLISHED[n_tokens]
    return Split.of(cast("Any", name)).pattern, special


def bytes_of(name: str) -> bytes:
    """The bytes that a token's name stands for in GPT-2's alphabet."""
    return bytes(BYTE_OF[character] for character in name)


def name_of(token: bytes) -> str:
    """A token's bytes as characters of GPT-2's alphabet."""
    return "".join(characters()[byte] for byte in token)


@cache
def characters() -> dict[int, str]:
    """The character of each byte."""
    return {byte: character for character, byte in BYTE_OF.items()}
