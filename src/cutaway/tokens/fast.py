"""Encoding much text at once with `fastokens`, where that gives the ids of the `tokenizers` library.

It was measured beside tiktoken, tokie and gigatoken (docs/tokenizers.md). It is optional: without it, and for
vocabularies and texts for which equal ids are not certain, the `tokenizers` library encodes.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from cutaway.tokens.splits import Split, known_split, pattern_of

LARGE = 1_000_000
"""Characters from which on it pays to build the other encoder, which takes about a second for 100,000 tokens."""
AT_ONCE = 16_000_000
"""Characters that are handed over at a time."""
BY_HAND = {
    Split("gpt2", 0): Split("gpt2", 0),
    Split("cl100k", 3): Split("cl100k", 3),
    Split("cutaway", 3): Split("cl100k", 3),
    Split("cl100k", 1): Split("cl100k", 1),
    Split("cutaway", 1): Split("cl100k", 1),
    Split("o200k", 3): Split("o200k", 3),
}
"""Patterns that it has a scanner for, and how it knows each; others it would leave to a backtracking engine."""
DOUBTFUL = "\N{LATIN SMALL LETTER LONG S}"
"""After an apostrophe it is an s without its case to tiktoken and `tokenizers`, but not always to fastokens 0.3.5."""
PROBE = (
    "It's 1999, WE'LL pay $3,141.59!?  Two  spaces,\ttabs\t\t, don't…\n\n \n  def f(x_1): \r\n    return x**2\n"
    "naïve café\u00a0élan, ÇA ǅ ʰ; привет МИР, 你好世界12 こんにちは 안녕 हिन्दी ไทย ١٢٣ Ⅷ ½ 🙂 's 'S 'Re \0 end   "
)


class FastEncoder:
    """Encodes texts as a backend does, special tokens' names letter by letter."""

    def __init__(self, backend: Backend, fast: Any) -> None:
        self.backend, self.fast = backend, fast
        self.process = os.getpid()

    def encode(self, texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
        """The ids of each text, `[token]`."""
        # Its threads do not outlive a fork.
        sure = [DOUBTFUL not in text and self.process == os.getpid() for text in texts]
        some = self._fast([text for text, yes in zip(texts, sure, strict=True) if yes])
        for text, yes in zip(texts, sure, strict=True):
            if yes:
                yield next(some)
            else:
                yield np.array(self.backend.encode(text, add_special_tokens=False).ids, np.uint32)

    def _fast(self, texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
        start = size = 0
        for i, text in enumerate(texts):
            size += len(text)
            if size >= AT_ONCE or i == len(texts) - 1:
                ids, borders = self.fast.encode_batch_flat(list(texts[start : i + 1]))
                numbers = np.frombuffer(ids, "<u4")
                for a, b in pairwise(np.frombuffer(borders, "<u8").tolist()):
                    yield numbers[a:b]
                start, size = i + 1, 0


def fast_encoder(backend: Backend) -> FastEncoder | None:
    """The fast encoder for a vocabulary; None where there is none, or its ids might be others."""
    try:
        fastokens = importlib.import_module("fastokens")
    except ImportError:
        return None
    described = json.loads(backend.to_str())
    pattern = pattern_of(described)
    split = known_split(pattern) if pattern else None
    model = described["model"]
    special = {token["content"] for token in described["added_tokens"]}
    plain = (
        model["type"] == "BPE"
        and described["normalizer"] is None
        and not any(model.get(key) for key in ("dropout", "byte_fallback", "continuing_subword_prefix", "fuse_unk"))
        and not model.get("end_of_word_suffix")
        # These are found in texts before anything is cut.
        and all(token["special"] for token in described["added_tokens"])
    )
    if not plain or split not in BY_HAND:
        return None
    # Without added tokens it can make none of what a text says.
    described |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    described["pre_tokenizer"] = json.loads(as_scanned(BY_HAND[split]))
    # It takes a vocabulary without gaps, or with none before its end: the special tokens stay in, or are left out.
    ordinary = {name: id_ for name, id_ in model["vocab"].items() if name not in special}
    for vocabulary in (model["vocab"], ordinary):
        text = json.dumps(described | {"model": model | {"vocab": vocabulary}})
        with suppress(Exception):  # whatever it does not take, the backend does
            fast = fastokens.Tokenizer.from_json_str(text)
            if list(fast.encode(PROBE).ids) == backend.encode(PROBE, add_special_tokens=False).ids:
                return FastEncoder(backend, fast)
    return None


def as_scanned(split: Split) -> str:
    """A pre-tokenizer, as JSON, in the words by which other encoders know the pattern and scan for it."""
    if split.name == "gpt2":
        parts = [{"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]
    else:
        cut = {"type": "Split", "pattern": {"Regex": split.pattern}, "behavior": "Isolated", "invert": False}
        level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
        parts = [cut, level]
    return json.dumps({"type": "Sequence", "pretokenizers": parts} if len(parts) > 1 else parts[0])
