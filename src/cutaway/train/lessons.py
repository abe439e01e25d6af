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
from cutaway.train.finetune_settings import FinetuneSettings
from cutaway.train.objectives import Feed, LanguageModelling, Objective
from cutaway.train.objectives.classification import Classification, ClassificationFeed, Classifier
from cutaway.train.objectives.classifier_directory import OVER_POOLER
from cutaway.train.objectives.distillation import Distillation
from cutaway.train.objectives.masked import MaskedFeed, MaskedModelling
from cutaway.train.objectives.sequence_to_sequence import PairsFeed, SequenceToSequence
from cutaway.train.objectives.span_corruption import SpanCorruptionFeed, span_counts
from cutaway.train.rows import Example, Source, lay_out, once

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
    settings: FinetuneSettings
    seed: int
    teacher: Transformer | None = None


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
    length = material.settings.row_length
    learned = [encode(material.tokenizer, item) for item in material.learned]
    tokens = sum(len(example.tokens) for example in learned)
    # A batch's rows more than asked for: the last step may reach beyond a whole number of passes.
    n = math.ceil(material.settings.epochs * tokens / length) + material.settings.batch_rows
    rows = lay_out([Source("examples", learned, 1.0)], n, length, material.seed)
    looked = once([encode(material.tokenizer, item) for item in material.held_out], length)
    objective = language_objective(material, LanguageModelling)
    return Lesson(material.model, objective, rows, tokens, looked, len(looked) if looked else 0)


def language_objective(material: Material, plain: type[LanguageModelling]) -> LanguageModelling:
    """The text's own tokens, or a teacher's probabilities too."""
    if material.teacher is None:
        return plain(material.settings.z_loss)
    settings = material.settings
    return Distillation(
        material.teacher,
        material.model.config,
        temperature=settings.temperature,
        alpha=settings.alpha,
        z_loss=settings.z_loss,
    )


def masked(material: Material) -> Lesson:
    """Tokens that are hidden from an encoder, from those around them."""
    tokenizer, vocab_size = material.tokenizer, material.model.config.vocab_size
    mask = special_id(tokenizer, "[MASK]", "<mask>")

    def feed(items: Sequence[str]) -> MaskedFeed | None:
        rows, special = packed(tokenizer, items, material.settings.row_length), tokenizer.special.values()
        if not len(rows):
            return None
        return MaskedFeed(rows, material.seed, mask=mask, special=special, vocab_size=vocab_size)

    learned, held_out = needed(feed(material.learned), material.settings.row_length), feed(material.held_out)
    objective = language_objective(material, MaskedModelling)
    n = len(held_out.rows) if held_out else 0
    return Lesson(material.model, objective, learned, learned.rows.size, held_out, n)


def spans(material: Material) -> Lesson:
    """Spans that are missing from an encoder–decoder's source."""
    tokenizer, counts = material.tokenizer, span_counts(material.settings.row_length)
    sentinels = sentinels_of(tokenizer, material.model.config.vocab_size)
    start, end = ends_of(tokenizer)

    def feed(items: Sequence[str]) -> SpanCorruptionFeed | None:
        rows = packed(tokenizer, items, counts.raw)
        if not len(rows):
            return None
        return SpanCorruptionFeed(rows, material.seed, counts, sentinels=sentinels, start=start, end=end)

    learned, held_out = needed(feed(material.learned), counts.raw), feed(material.held_out)
    objective = SequenceToSequence(z_loss=material.settings.z_loss)
    n = len(held_out.rows) if held_out else 0
    return Lesson(material.model, objective, learned, len(learned.rows) * material.settings.row_length, held_out, n)


def pairs(material: Material) -> Lesson:
    """An encoder–decoder's target from its source."""
    tokenizer = material.tokenizer
    start, end = ends_of(tokenizer)
    first = tokenizer.token_ids.get("forced_bos_token_id")
    forced = [first] if isinstance(first, int) else []

    def feed(items: Sequence[tuple[str, str]]) -> PairsFeed:
        longest = material.settings.row_length
        ids = [
            (cut(tokenizer.document(source), longest), [*forced, *tokenizer.encode(target)]) for source, target in items
        ]
        return PairsFeed(ids, material.seed, start=start, end=end, pad=pad_of(tokenizer), longest=longest)

    held_out = feed(material.held_out) if material.held_out else None
    objective = SequenceToSequence(material.settings.label_smoothing, material.settings.z_loss)
    tokens = len(material.learned) * material.settings.row_length
    return Lesson(material.model, objective, feed(material.learned), tokens, held_out, len(material.held_out))


def classes(material: Material) -> Lesson:
    """A text's label."""
    tokenizer = material.tokenizer
    labels: tuple[str, ...] = tuple(sorted({label for _, label in (*material.learned, *material.held_out)}))
    if len(labels) < 2:
        raise BadInput(f"all examples have the same label, {''.join(labels)}; there must be two or more to tell apart")

    def feed(items: Sequence[tuple[str, str]]) -> ClassificationFeed:
        texts = [tokenizer.document(text) for text, _ in items]
        if material.model.config.kind == "encoder":
            texts = [list(cut(ids, material.settings.row_length)) for ids in texts]
        numbers = [labels.index(label) for _, label in items]
        return ClassificationFeed(
            texts, numbers, material.seed, pad=pad_of(tokenizer), longest=material.settings.row_length
        )

    held_out = feed(material.held_out) if material.held_out else None
    tokens, classifier = len(material.learned) * material.settings.row_length, Classifier(material.model, len(labels))
    n = len(material.held_out)
    return Lesson(classifier, Classification(), feed(material.learned), tokens, held_out, n, labels)


def pooled(model: Transformer) -> Transformer:
    """A BERT whose head is for masked tokens with a new pooler instead, as its classifiers have."""
    if model.config.kind != "encoder" or model.config.head != "masked" or model.config.family not in OVER_POOLER:
        return model
    new = Transformer(dataclasses.replace(model.config, head="pooler", unembed_bias=False))
    missing, _ = new.load_state_dict(model.state_dict(), strict=False)
    assert all(name.startswith("pooler.") for name in missing)
    return new


def of_text(tokenizer: Tokenizer, text: str) -> Example:
    """A text from its beginning to its end."""
    ids, stops = tokenizer.document(text), tokenizer.stop_ids
    # One token may stand for both: then each text begins with the end of the one before.
    if stops and not {ids[0], ids[-1]} & stops:
        ids = [*ids, tokenizer.end_of_text if tokenizer.end_of_text in stops else tokenizer.end_of_turn]
    return Example(ids)


def of_chat(tokenizer: Tokenizer, messages: Sequence[Any]) -> Example:
    """A conversation, of which the assistant's part is learned. Raises `BadInput` saying which one is at fault."""
    if not tokenizer.chat_template:
        raise BadInput("the model has no chat template to learn conversations by; give rows with text instead")
    try:
        return Example(*tokenizer.encode_chat_masked(messages))
    except BadInput as error:
        begins = str(messages[0].get("content", ""))[:40]
        raise BadInput(f"the conversation that begins with {begins!r} cannot be learned: {error}") from None


def cut(ids: Sequence[int], most: int) -> Sequence[int]:
    """The first tokens of a text for an encoder, with the one that ends it still at the end."""
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


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
