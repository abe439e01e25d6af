"""Training a byte-level BPE tokenizer (Sennrich et al. 2016; bytes as in GPT-2).

Both ways to learn give the same merges, and so the same file to the byte: the trainer of the `tokenizers` library, and
for much text a native one, which takes a seventh of the time. Each pair is joined in the order of how often it occurs,
ties by the lower ids, so nothing is left to chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field
from tokenizers import AddedToken, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput, CutawayError
from cutaway.runs.recipe import Settings
from cutaway.tokens.special import SPECIAL_TOKENS
from cutaway.tokens.splits import MOST_DIGITS, Split, SplitName
from cutaway.tokens.tokenizer import BYTE_OF, Tokenizer

if TYPE_CHECKING:
    from cutaway.tokens.native import NativeTrainer

LARGE = 8_000_000
"""Characters from which on the native trainer is worth being built."""

LEAST_TOKENS, MOST_TOKENS = len(BYTE_OF) + len(SPECIAL_TOKENS), 200_000


class TokenizerSettings(Settings):
    """How large a vocabulary to learn, and from words cut in which way."""

    vocab_size: int = Field(default=4096, ge=len(BYTE_OF), le=MOST_TOKENS, description="tokens, special ones included")
    split: SplitName = "cutaway"
    """Where a merge may not cross: our pattern, GPT-2's, GPT-4's (cl100k) or GPT-4o's (o200k)."""
    digits: int | None = Field(default=None, ge=0, le=MOST_DIGITS)
    """Digits that may be one token; 0 for any number, none for what the pattern has (1, any, 3 and 3)."""
    special: tuple[str, ...] = ()
    """Names of special tokens beside those of the chat format."""


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str], directory: Path) -> Tokenizer:
    """Learn a vocabulary from texts and write it into a directory.

    The texts are read once, and only their different words are held. Raises `BadInput` if there is no text, or if the
    vocabulary is too small for the bytes and special tokens.
    """
    names = (*SPECIAL_TOKENS, *settings.special)
    if "" in names or len(set(names)) < len(names):
        raise BadInput("a special token is without a name, or is named twice; name each once in tokenizer.special")
    if settings.vocab_size < len(BYTE_OF) + len(names):
        raise BadInput(
            f"tokenizer.vocab_size is {settings.vocab_size}, but {len(BYTE_OF)} bytes and {len(names)} special tokens "
            f"need {len(BYTE_OF) + len(names)}; raise it"
        )
    backend = learn(Split.of(settings.split, settings.digits), names, settings.vocab_size, texts)
    tokenizer = Tokenizer(backend)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    return tokenizer


def learn(
    split: Split, special: Sequence[str], vocab_size: int, texts: Iterable[str], *, large: int = LARGE
) -> Backend:
    """A vocabulary of `special` tokens, bytes and what merges make of them.

    From `large` characters on it is learned natively, where there is a compiler. Raises `BadInput` if there is no text.
    """
    stream = iter(texts)
    first: list[str] = []
    size = 0
    for text in stream:
        first.append(text)
        size += len(text)
        if size >= large:
            break
    if not size:
        raise BadInput("the corpus has no text to learn a vocabulary from; give some with --text PATH")
    everything = itertools.chain(first, stream)
    if size >= large:
        from cutaway.tokens.native import NativeTrainer

        try:
            trainer = NativeTrainer(split)
        except CutawayError:  # no compiler: the library gives the same, later
            return _by_library(split, special, vocab_size, everything)
        return _natively(trainer, special, vocab_size, everything)
    return _by_library(split, special, vocab_size, everything)


def _by_library(split: Split, special: Sequence[str], vocab_size: int, texts: Iterable[str]) -> Backend:
    backend = Backend(models.BPE(ignore_merges=split.whole_words))
    backend.pre_tokenizer = split.pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _natively(trainer: NativeTrainer, special: Sequence[str], vocab_size: int, texts: Iterable[str]) -> Backend:
    # In the order in which the library numbers them.
    names = list(dict.fromkeys((*special, *sorted(BYTE_OF))))
    ids = {name: id_ for id_, name in enumerate(names)}
    # A special token's name that a word may spell is that word's token too.
    known = [bytes(BYTE_OF[c] for c in name) if all(c in BYTE_OF for c in name) else b"" for name in names]
    found = trainer.merges(texts, known, {byte: ids[character] for character, byte in BYTE_OF.items()}, vocab_size)
    # A pair may be joined more than once, where both its tokens came about in two ways; its last place counts.
    order: dict[tuple[int, int], int] = {}
    for left, right, token in found:
        if token == len(names):
            names.append(names[left] + names[right])
        order.pop((left, right), None)
        order[left, right] = token
    merges = [(names[left], names[right]) for left, right in order]
    vocabulary = {name: id_ for id_, name in enumerate(names)}
    backend = Backend(models.BPE(vocabulary, merges, ignore_merges=trainer.split.whole_words))
    backend.pre_tokenizer = trainer.split.pre_tokenizer
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    return backend
