"""Looking into a vocabulary: a word's merges step by step, how far it compresses what, which tokens are never used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.runs.errors import BadInput
from cutaway.tokens.tokenizer import Tokenizer

INFINITY = 1 << 62


@dataclass(frozen=True)
class Step:
    """One merge: two neighbours, the place of their merge among all (from 0), and the symbols after it."""

    left: str
    right: str
    rank: int
    symbols: tuple[str, ...]


@dataclass(frozen=True)
class Replay:
    """How a word that no merge may cross becomes tokens.

    Attributes:
        word: the word, in the vocabulary's own alphabet.
        start: its characters, or bytes, as single tokens.
        steps: what is joined, one after another.
        whole: whether it was taken whole, as a token that it is, whatever the merges say.
        ids: the tokens that are left.
    """

    word: str
    start: tuple[str, ...]
    steps: tuple[Step, ...]
    whole: bool
    ids: tuple[int, ...]


class Merges:
    """The merges of a BPE vocabulary, to be replayed."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises `BadInput` if the vocabulary has no merges."""
        described = json.loads(tokenizer.backend.to_str())
        model: Mapping[str, Any] = described["model"]
        if model["type"] != "BPE" or model.get("end_of_word_suffix") or model.get("continuing_subword_prefix"):
            raise BadInput(f"this vocabulary is of the kind {model['type']}: it has no merges to replay")
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
        self.ranks = {(left, right): rank for rank, (left, right) in enumerate(pairs)}
        self.ids: Mapping[str, int] = model["vocab"]
        self.whole = bool(model.get("ignore_merges"))
        self.backend = tokenizer.backend

    def replay(self, text: str) -> list[Replay]:
        """How each word of a text becomes tokens. Raises `BadInput` at a character that is no token."""
        if self.backend.normalizer is not None:
            text = self.backend.normalizer.normalize_str(text)
        cut = self.backend.pre_tokenizer
        return [self._word(word) for word in ([part for part, _ in cut.pre_tokenize_str(text)] if cut else [text])]

    def _word(self, word: str) -> Replay:
        start = tuple(symbol for character in word for symbol in self._symbols(character))
        if self.whole and word in self.ids:
            return Replay(word, start, (), whole=True, ids=(self.ids[word],))
        symbols, steps = list(start), list[Step]()
        while len(symbols) > 1:
            found = ((self.ranks.get((symbols[i], symbols[i + 1]), INFINITY), i) for i in range(len(symbols) - 1))
            rank, i = min(found)
            if rank == INFINITY:
                break
            left, right = symbols[i : i + 2]
            symbols[i : i + 2] = [left + right]
            steps.append(Step(left, right, rank, tuple(symbols)))
        return Replay(word, start, tuple(steps), whole=False, ids=tuple(self.ids[symbol] for symbol in symbols))

    def _symbols(self, character: str) -> list[str]:
        if character in self.ids:
            return [character]
        spelt = [f"<0x{byte:02X}>" for byte in character.encode()]
        if not all(byte in self.ids for byte in spelt):
            raise BadInput(f"the vocabulary has no token for {character!r}")
        return spelt


@dataclass
class Compression:
    """How many tokens a tokenizer needs for texts, altogether and by group (a language, a domain)."""

    n_bytes: int = 0
    n_tokens: int = 0
    groups: dict[tuple[str, str], Compression] = field(default_factory=dict[tuple[str, str], "Compression"])

    @property
    def bytes_per_token(self) -> float:
        """Bytes of UTF-8 a token stands for on average; 0 where there is no text."""
        return self.n_bytes / self.n_tokens if self.n_tokens else 0.0

    def add(self, n_bytes: int, n_tokens: int, groups: Iterable[tuple[str, str]] = ()) -> None:
        """Count a text, in each of its groups too."""
        self.n_bytes += n_bytes
        self.n_tokens += n_tokens
        for group in groups:
            self.groups.setdefault(group, Compression()).add(n_bytes, n_tokens)


@dataclass(frozen=True)
class Passage:
    """A text and the groups that it belongs to, as ("language", "en")."""

    text: str
    groups: tuple[tuple[str, str], ...] = ()


BATCH = 4_000_000
"""Characters that are encoded at a time."""


def compression(tokenizers: Mapping[str, Tokenizer], passages: Iterable[Passage]) -> dict[str, Compression]:
    """What each tokenizer makes of the same texts, which are read once."""
    found = {name: Compression() for name in tokenizers}

    def count(batch: Sequence[Passage]) -> None:
        texts = [passage.text for passage in batch]
        sizes = [len(text.encode()) for text in texts]
        for name, tokenizer in tokenizers.items():
            for passage, size, ids in zip(batch, sizes, tokenizer.encode_stream(texts), strict=True):
                found[name].add(size, len(ids), passage.groups)

    batch: list[Passage] = []
    size = 0
    for passage in passages:
        batch.append(passage)
        size += len(passage.text)
        if size >= BATCH:
            count(batch)
            batch, size = [], 0
    count(batch)
    return found


@dataclass(frozen=True)
class Usage:
    """How often each token occurs in a corpus, `[token]`, and which never do.

    `unused` are tokens that texts could spell; `unreachable` those among them that not even their own text becomes.
    What a model never met in training it may do anything with (Land and Bartolo 2024, "Fishing for Magikarp").
    """

    counts: NDArray[np.int64]
    unused: tuple[int, ...]
    unreachable: tuple[int, ...]


def usage(tokenizer: Tokenizer, texts: Iterable[str]) -> Usage:
    """Which tokens a corpus uses."""
    names = tokenizer.backend.get_vocab(with_added_tokens=True)
    counts = np.zeros(max(names.values()) + 1, np.int64)
    for ids in tokenizer.encode_stream(texts):
        counts += np.bincount(ids, minlength=len(counts))
    special = set(tokenizer.special.values())
    unused = tuple(id_ for id_ in sorted(names.values()) if not counts[id_] and id_ not in special)
    return Usage(counts, unused, tuple(id_ for id_ in unused if not _reachable(tokenizer, id_)))


def _reachable(tokenizer: Tokenizer, token: int) -> bool:
    """Whether a token's own text becomes it; a part of a character has no text, and is given the benefit."""
    try:
        text = tokenizer.token_bytes(token).decode("utf-8")
    except UnicodeDecodeError:
        return True
    return tokenizer.encode(text) == [token]
