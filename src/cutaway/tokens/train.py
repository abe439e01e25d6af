"""Training a byte-level BPE tokenizer (Sennrich et al. 2016; bytes as in GPT-2)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.runs.recipe import Settings
from cutaway.tokens.special import SPECIAL_TOKENS
from cutaway.tokens.tokenizer import Tokenizer

# Where a merge may not cross: words with the space or mark before them, single digits, runs of marks, white space.
# A digit alone is a token, so that arithmetic is done on digits and not on accidents of the vocabulary.
WORDS = r"""'(?i:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""


class TokenizerSettings(Settings):
    """How large a vocabulary to learn."""

    vocab_size: int = Field(default=4096, ge=300, le=65_536, description="tokens, special ones included")


def train_tokenizer(settings: TokenizerSettings, texts: Iterable[str], directory: Path) -> Tokenizer:
    """Learn a vocabulary from texts and write it into a directory. Raises `BadInput` if there is no text."""
    backend = Backend(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=settings.vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += len(text)
            yield text

    backend.train_from_iterator(counted(), trainer)
    if not seen:
        raise BadInput("the corpus has no text to learn a vocabulary from; give some with --text PATH")
    tokenizer = Tokenizer(backend)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    return tokenizer
