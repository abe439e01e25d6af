"""What the stages share of a run: its texts and their tokens, its tokenizer, and what the skills draw on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cutaway.align.conversations import Materials
from cutaway.corpus.build import read_texts, stream_texts
from cutaway.corpus.documents import Document
from cutaway.corpus.world import World
from cutaway.pipeline.recipe import Recipe
from cutaway.runs import RunDirectory
from cutaway.tokens import Tokenizer, read_shard, write_shard
from cutaway.train import Example

COMMON = 20
"""Times that a word of the corpus must occur to be one the assistant is asked to spell."""
MOST_WORDS = 3000

_CALLED = {"bbe": "the Bible", "kjv": "the Bible", "pydoc": "Python's help topics", "world": "an invented world"}


def tokenizer_of(run: RunDirectory) -> Tokenizer:
    """The run's tokenizer."""
    return Tokenizer.load(run.stage("tokenizer"))


def training_of(run: RunDirectory) -> list[Document]:
    """The documents that the run trains on, those about its world among them (source "world")."""
    return read_texts(run.stage("corpus") / "train.parquet")


def heldout_of(run: RunDirectory) -> list[Document]:
    """The run's real text that nothing is trained on."""
    return read_texts(run.stage("corpus") / "heldout.parquet")


def materials_of(run: RunDirectory, recipe: Recipe) -> Materials:
    """What the assistant's skills draw on, from the run's corpus."""
    corpus = run.stage("corpus")
    path = corpus / "world.json"
    world = World.from_json(path.read_text(encoding="utf-8")) if path.exists() else World((), recipe.seed)
    stats: dict[str, Any] = json.loads((corpus / "stats.json").read_text(encoding="utf-8"))
    return Materials(
        world=world,
        words=common_words(training_of(run)),
        model_name=recipe.name,
        owner=recipe.owner,
        trained_on=in_words(list(stats["train"]), recipe.owner),
    )


def common_words(documents: Sequence[Document]) -> tuple[str, ...]:
    """Lower-case words that occur often in the real text, most frequent first."""
    counts = Counter(word for d in documents if d.source != "world" for word in d.text.split() if word.islower())
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(word for word, n in ordered if n >= COMMON and word.isascii() and word.isalpha())[:MOST_WORDS]


def in_words(sources: Sequence[str], owner: str) -> str:
    """The corpus's sources as the assistant names what it was trained on: "the Bible and an invented world"."""
    named = list(dict.fromkeys(_CALLED.get(source, f"{owner}'s own texts") for source in sources))
    # The invented world comes last, whatever order the texts are in.
    named.sort(key=lambda name: name == _CALLED["world"])
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def write_shards(run: RunDirectory, directory: Path) -> dict[str, int]:
    """Write the tokens of the training documents, each after an end-of-text token; give the number by part.

    The parts are "real" and "world".
    """
    tokenizer, corpus = tokenizer_of(run), run.stage("corpus") / "train.parquet"
    size = max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) + 1
    first = np.array([tokenizer.end_of_text], np.uint32)
    written: dict[str, int] = {}
    for part, told in (("real", False), ("world", True)):
        # Read once for each part, so that memory holds a few million characters and not the corpus.
        texts = (document.text for document in stream_texts(corpus) if (document.source == "world") == told)
        ids = (np.concatenate([first, each]) for each in tokenizer.encode_stream(texts))
        written[part] = write_shard(directory / f"{part}.bin", ids, vocab_size=size)
    return written


def examples_of(run: RunDirectory, part: str, tokenizer: Tokenizer) -> list[Example]:
    """The documents of a part ("real" or "world") as training examples."""
    tokens = read_shard(run.stage("shards") / f"{part}.bin")
    starts = np.flatnonzero(tokens == tokenizer.end_of_text)
    return [Example(document) for document in np.split(tokens, starts[1:])] if len(tokens) else []


def sample_prompt(documents: Sequence[Document], words: int = 4) -> str:
    """The first words of a held-out document, for a model in training to go on from."""
    return " ".join(documents[0].text.split()[:words]) if documents else ""
