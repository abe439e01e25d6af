"""What each kind of example teaches each kind of model: where batches come from, and what the loss is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from cutaway.model import Transformer
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer
from cutaway.train.objectives import Feed, LanguageModelling, Objective
from cutaway.train.objectives.classification import Classification, ClassificationFeed, Classifier
from cutaway.train.objectives.classifier_directory import OVER_POOLER
from cutaway.train.objectives.distillation import Distillation
from cutaway.train.objectives.masked import MaskedFeed, MaskedModelling
from cutaway.train.objectives.sequence_to_sequence import PairsFeed, SequenceToSequence
from cutaway.train.objectives.span_corruption import SpanCorruptionFeed, span_counts
from cutaway.train.rows import Example, Source, lay_out

F = TypeVar("F")


@dataclass(frozen=True)
class Lesson:
    """What a model is to be trained on, and to do."""

    model: nn.Module
    objective: Objective
    feed: Feed
    tokens: int
    """Of one pass through the examples, as the loop counts them: rows times their length."""
    held_out: Feed | None
    """What is only measured on."""
    held_out_rows: int = 0
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Material:
    """A model, its tokenizer, examples to learn from, and others to measure on."""

    model: Transformer
    tokenizer: Tokenizer
    learned: Sequence[Any]
    held_out: Sequence[Any]
    row_length: int
    seed: int
    passes: float
    """Times that the examples are gone through."""
    z_loss: float = 0.0
    label_smoothing: float = 0.0
    teacher: Transformer | None = None
    alpha: float = 0.5
    temperature: float = 2.0


def lesson_of(kind: str, material: Material) -> Lesson:
    """The lesson that examples of a kind are for a model of a kind. Raises `BadInput` if they do not go together."""
    of = material.model.config.kind
    if material.teacher and (kind not in ("text", "chat") or of == "encoder-decoder"):
        raise BadInput(f"a teacher's probabilities are learned from text or chat, by a decoder or encoder, not {kind}")
    match kind, of:
        case (("text" | "chat"), "decoder"):
            return language(material, of_chat if kind == "chat" else of_text)
        case "text", "encoder":
            return masked(material)
        case "text", "encoder-decoder":
            return spans(material)
        case "pairs", "encoder-decoder":
            return pairs(material)
        case "labels", ("encoder" | "decoder"):
            return classes(material)
        case _:
            raise BadInput(
                f"a model of the kind {of} cannot learn from {kind}: decoders learn from text and chat, "
                "encoder–decoders from text and pairs, encoders from text, and encoders and decoders from labels"
            )


def language(material: Material, encode: Any) -> Lesson:
    """Each token from those before it; rows are filled with examples end to end."""
    length, seed = material.row_length, material.seed

    def laid_out(items: Sequence[Any], passes: float) -> tuple[Any, int, int]:
        examples = [encode(material.tokenizer, item) for item in items]
        tokens = sum(len(example.tokens) for example in examples)
        # A row more than asked for: the last step may reach beyond a whole number of passes.
        n = max(1, math.ceil(passes * tokens / length) + 1)
        return lay_out([Source("examples", examples, 1.0)], n, length, seed), n, tokens

    rows, _, tokens = laid_out(material.learned, material.passes)
    looked, n, _ = laid_out(material.held_out, 1.0) if material.held_out else (None, 0, 0)
    return Lesson(material.model, language_objective(material, LanguageModelling), rows, tokens, looked, n)


def language_objective(material: Material, plain: type[LanguageModelling]) -> LanguageModelling:
    """The text's own tokens, or a teacher's probabilities too."""
    if material.teacher is None:
        return plain(material.z_loss)
    how = {"temperature": material.temperature, "alpha": material.alpha, "z_loss": material.z_loss}
    return Distillation(material.teacher, material.model.config, **how)


def masked(material: Material) -> Lesson:
    """Tokens that are hidden from an encoder, from those around them."""
    tokenizer, vocab_size = material.tokenizer, material.model.config.vocab_size
    mask = special_id(tokenizer, "[MASK]", "<mask>")

    def feed(items: Sequence[str]) -> MaskedFeed | None:
        rows, special = packed(tokenizer, items, material.row_length), tokenizer.special.values()
        if not len(rows):
            return None
        return MaskedFeed(rows, material.seed, mask=mask, special=special, vocab_size=vocab_size)

    learned, held_out = needed(feed(material.learned), material.row_length), feed(material.held_out)
    objective = language_objective(material, MaskedModelling)
    n = len(held_out.rows) if held_out else 0
    return Lesson(material.model, objective, learned, learned.rows.size, held_out, n)


def spans(material: Material) -> Lesson:
    """Spans that are missing from an encoder–decoder's source."""
    tokenizer, counts = material.tokenizer, span_counts(material.row_length)
    sentinels = sentinels_of(tokenizer, material.model.config.vocab_size)
    start, end = ends_of(tokenizer)

    def feed(items: Sequence[str]) -> SpanCorruptionFeed | None:
        rows = packed(tokenizer, items, counts.raw)
        if not len(rows):
            return None
        return SpanCorruptionFeed(rows, material.seed, counts, sentinels=sentinels, start=start, end=end)

    learned, held_out = needed(feed(material.learned), counts.raw), feed(material.held_out)
    objective = SequenceToSequence(z_loss=material.z_loss)
    n = len(held_out.rows) if held_out else 0
    return Lesson(material.model, objective, learned, len(learned.rows) * material.row_length, held_out, n)


def pairs(material: Material) -> Lesson:
    """An encoder–decoder's target from its source."""
    tokenizer = material.tokenizer
    start, end = ends_of(tokenizer)

    def feed(items: Sequence[tuple[str, str]]) -> PairsFeed:
        ids = [(tokenizer.document(source), tokenizer.encode(target)) for source, target in items]
        longest = material.row_length
        return PairsFeed(ids, material.seed, start=start, end=end, pad=pad_of(tokenizer), longest=longest)

    held_out = feed(material.held_out) if material.held_out else None
    objective = SequenceToSequence(material.label_smoothing, material.z_loss)
    tokens = len(material.learned) * material.row_length
    return Lesson(material.model, objective, feed(material.learned), tokens, held_out, len(material.held_out))


def classes(material: Material) -> Lesson:
    """A text's label."""
    tokenizer = material.tokenizer
    labels: tuple[str, ...] = tuple(sorted({label for _, label in (*material.learned, *material.held_out)}))
    if len(labels) < 2:
        raise BadInput(f"all examples have the same label, {''.join(labels)}; there must be two or more to tell apart")

    def feed(items: Sequence[tuple[str, str]]) -> ClassificationFeed:
        texts = [tokenizer.document(text) for text, _ in items]
        numbers = [labels.index(label) for _, label in items]
        return ClassificationFeed(texts, numbers, material.seed, pad=pad_of(tokenizer), longest=material.row_length)

    held_out = feed(material.held_out) if material.held_out else None
    tokens, classifier = len(material.learned) * material.row_length, Classifier(pooled(material.model), len(labels))
    n = len(material.held_out)
    return Lesson(classifier, Classification(), feed(material.learned), tokens, held_out, n, labels)


def pooled(model: Transformer) -> Transformer:
    """A BERT whose head is for masked tokens with a new pooler instead, as its classifiers have."""
    if model.config.kind != "encoder" or model.config.head != "masked" or model.config.family not in OVER_POOLER:
        return model
    new = Transformer(dataclasses.replace(model.config, head="pooler", unembed_bias=False))
    new.load_state_dict(model.state_dict(), strict=False)
    return new


def of_text(tokenizer: Tokenizer, text: str) -> Example:
    """A text from its beginning to its end."""
    ids = tokenizer.document(text)
    end = [*tokenizer.stop_ids][:1] if tokenizer.end_of_text not in tokenizer.stop_ids else []
    return Example([*ids, *end])


def of_chat(tokenizer: Tokenizer, messages: Sequence[Any]) -> Example:
    """A conversation, of which the assistant's part is learned."""
    return Example(*tokenizer.encode_chat_masked(messages))


def packed(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> NDArray[np.int32]:
    """Texts end to end, cut into rows of `length`; what is left at the end is not used."""
    ids = [token for text in texts for token in tokenizer.document(text)]
    return np.array(ids[: len(ids) // length * length], np.int32).reshape(-1, length)


def needed(feed: F | None, length: int) -> F:
    """A feed that there must be. Raises `BadInput` if the texts did not fill a row."""
    if feed is None:
        raise BadInput(f"the texts are shorter than one row of {length} tokens; give more, or lower row_length")
    return feed


def special_id(tokenizer: Tokenizer, *names: str) -> int:
    """The id of a special token by the names that it goes by."""
    for name in names:
        if name in tokenizer.special:
            return tokenizer.special[name]
    raise BadInput(f"the model's tokenizer has no token {' or '.join(names)}, which learning from text needs")


def sentinels_of(tokenizer: Tokenizer, vocab_size: int) -> list[int]:
    """T5's sentinel tokens by name, or else the vocabulary's last hundred ids, the last first."""
    named = [tokenizer.special[name] for i in range(100) if (name := f"<extra_id_{i}>") in tokenizer.special]
    return named or list(range(vocab_size - 1, max(0, vocab_size - 101), -1))


def ends_of(tokenizer: Tokenizer) -> tuple[int, int]:
    """What a decoder's text begins with, and ends with."""
    ids = tokenizer.token_ids
    start = ids.get("decoder_start_token_id", tokenizer.end_of_text)
    end = ids.get("eos_token_id", tokenizer.end_of_text)
    return tuple(value[0] if isinstance(value, list) else value for value in (start, end))  # pyright: ignore


def pad_of(tokenizer: Tokenizer) -> int:
    """What fills up what is shorter; nothing reads it."""
    pad = tokenizer.token_ids.get("pad_token_id", 0)
    return pad if isinstance(pad, int) else 0
