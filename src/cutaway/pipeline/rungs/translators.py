"""The models of the rung of translation under one roof: built, trained by the house's loop, and made to translate."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from cutaway.ladder.beam import Writer, translate
from cutaway.ladder.seq2seq import RecurrentTranslator
from cutaway.model import KVCache, Memory, ModelConfig, Transformer, attach
from cutaway.model.presets import TRANSFORMER_BASE
from cutaway.model.reach import Reach
from cutaway.model.taps import UNTOUCHED, Tap
from cutaway.runs import MetricsLog, Progress, SilentProgress
from cutaway.train import LoopSettings, Watch, train
from cutaway.train.cross_entropy import cross_entropy
from cutaway.train.objectives import Batch
from cutaway.train.objectives.ragged import Ragged
from cutaway.train.objectives.sequence_to_sequence import PairsFeed, SequenceToSequence, shifted, smoothing
from cutaway.train.optimizer import OptimizerSettings

Name = Literal["fixed", "bahdanau", "luong", "luong_dot", "transformer"]
Pairs = Sequence[tuple[list[int], list[int]]]
"""Token ids of sources and targets."""
LONGEST = 100
"""Tokens that are read of a sentence."""
SMOOTHING = 0.1
"""Of the labels (Vaswani et al. 2017, section 5.4)."""
LOOKS = 8
"""Times to look at the held-out loss in training, beside the first and last step."""
TOGETHER = 64
"""Sentences that are translated or measured at once."""


@dataclass(frozen=True)
class Size:
    """How large the models are, and what a step of their training is.

    Attributes:
        width: of embeddings, states and the residual stream.
        layers: of the Transformer's encoder, and of its decoder; recurrent models have one each.
        heads: of each of its attentions.
        d_mlp: width inside its MLPs.
        vocab_size: tokens of both languages together.
        rows: pairs of a step.
        dropout: share that is left out in training.
    """

    width: int
    layers: int
    heads: int
    d_mlp: int
    vocab_size: int
    rows: int
    dropout: float


@dataclass(frozen=True)
class Translator:
    """A model and what one has to know of it.

    Attributes:
        model: the model.
        writer: the same, as a search writes with it.
        objective: what it is trained to do.
        optimizer: how.
        compiled: whether its step may be compiled; None where that pays for itself.
        alignment: how much each token of a target is from each token of its source, `[row, target, source]`, from
            source, where that is present, and the target as the decoder reads it; None where there is no attention.
    """

    model: Transformer | RecurrentTranslator
    writer: Writer
    objective: type[SequenceToSequence]
    optimizer: OptimizerSettings
    compiled: bool | None
    alignment: Callable[[Tensor, Tensor, Tensor], Tensor] | None


class RecurrentTranslation(SequenceToSequence):
    """What `SequenceToSequence` is for a `RecurrentTranslator`."""

    def total(self, model: Any, ready: Batch, tap: Tap = UNTOUCHED) -> Float[Tensor, ""]:
        """Sum of the target tokens' losses."""
        hidden = model.hidden(ready["source"], ready["present"], ready["tokens"])
        logits = model.logits(hidden.flatten(0, 1)[ready["positions"]])
        loss = cross_entropy(logits, ready["targets"])
        return loss + self.label_smoothing * smoothing(logits, ready["targets"]) if self.label_smoothing else loss

    def flops(self, model: Any, batch: Batch) -> float:
        """Operations of a training step on a batch, padding included; attention, which is little, is not."""
        reading = sum(weight.numel() for weight in model.encoder.parameters())
        writing = sum(weight.numel() for weight in model.parameters()) - reading
        return 6.0 * (batch["source"].numel() * reading + batch["tokens"].numel() * writing)


@dataclass(frozen=True)
class Written:
    """Translations of a `Transformer` as far as they have come."""

    memory: Memory
    cache: KVCache

    def rows(self, which: Int[Tensor, " kept"]) -> Written:
        """Only these, each as often as it is named. The cache is changed in place."""
        self.cache.keep(which)
        states, mask = self.memory.states, self.memory.reach.mask
        assert states is not None
        assert mask is not None
        return Written(Memory(states[which], Reach(mask[which])), self.cache)


class TransformerWriter:
    """A `Transformer` as `cutaway.ladder.beam` writes with it."""

    def __init__(self, model: Transformer) -> None:
        self.model = model

    def begin(self, source: Int[Tensor, "row source"], present: Bool[Tensor, "row source"]) -> Written:
        """Translations of which nothing is written yet."""
        cache = KVCache(self.model.config, len(source), most_tokens(source.shape[1]))
        return Written(self.model.encode(source, present=present), cache)

    def step(self, writing: Written, tokens: Int[Tensor, " row"]) -> tuple[Float[Tensor, "row vocab"], Written]:
        """The logits of what comes after one token more of each."""
        hidden = self.model.hidden(tokens[:, None], memory=writing.memory, cache=writing.cache)
        return self.model.logits(hidden[:, -1]), writing

    def alignment(self, source: Tensor, present: Tensor, target_in: Tensor) -> Float[Tensor, "row target source"]:
        """What the last block's heads read of the encoder, as their mean."""
        found: list[Tensor] = []
        last = f"blocks.{self.model.config.n_layers - 1}.cross_attn.hook_pattern"
        self.model(source, target_in, present=present, tap=attach(self.model.config, {last: found.append}))
        return found[0].mean(1)


def build(name: Name, size: Size, vocab_size: int, seed: int) -> Translator:
    """An untrained model: "transformer", or a kind of `RecurrentTranslator`."""
    torch.manual_seed(seed)
    if name == "transformer":
        transformer = Transformer(config_2017(size, vocab_size))
        writer = TransformerWriter(transformer)
        rates = OptimizerSettings(muon_lr=0.01, adamw_lr=0.002)
        return Translator(transformer, writer, SequenceToSequence, rates, None, writer.alignment)
    model = RecurrentTranslator(name, vocab_size, size.width)
    rates = OptimizerSettings(kind="adamw", adamw_lr=0.003)
    # Its loop over the positions would be a graph of its own for every length.
    return Translator(model, model, RecurrentTranslation, rates, False, model.alignment if model.score else None)


def config_2017(size: Size, vocab_size: int) -> ModelConfig:
    """The Transformer of Vaswani et al. (2017), made smaller; with the biases that Marian and others gave attention."""
    return replace(
        TRANSFORMER_BASE,
        vocab_size=vocab_size,
        n_layers=size.layers,
        n_encoder_layers=size.layers,
        d_model=size.width,
        n_heads=size.heads,
        n_kv_heads=size.heads,
        d_head=size.width // size.heads,
        d_mlp=size.d_mlp,
        norm_eps=1e-5,
        embedding_scale=math.sqrt(size.width),
        qkv_bias=True,
        output_bias=True,
        unembed_bias=True,
    )


@dataclass(frozen=True)
class Course:
    """How a training went.

    Attributes:
        curve: the mean loss of held-out tokens, in nats, after so many passes through the pairs.
        seconds: of all steps.
    """

    curve: list[tuple[float, float]]
    seconds: float


def learn(
    translator: Translator,
    name: str,
    pairs: Pairs,
    heldout: Pairs,
    size: Size,
    *,
    epochs: float,
    mark: int,
    seed: int,
    directory: Path,
    progress: Progress,
) -> Course:
    """Train a model on `pairs`, so many times all of them, and look at the loss of `heldout` on the way.

    `mark` is the token that begins and ends a target. Checkpoints and metrics are kept in `directory`.
    """
    feed = PairsFeed(pairs, seed, start=mark, end=mark, pad=mark, longest=LONGEST)
    # Sentences have no one length: a row counts as the mean of the targets', so that tokens a second mean something.
    row_length = max(16, round(float(feed.targets.lengths.mean())))
    steps = max(1, round(epochs * len(pairs) / size.rows))
    settings = LoopSettings(
        tokens=steps * size.rows * row_length,
        batch_tokens=size.rows * row_length,
        row_length=row_length,
        micro_rows=size.rows,
        warmup=0.05,
        dropout=size.dropout,
        optimizer=translator.optimizer,
        precision="float32",
        compile=translator.compiled,
        keep=1,
    )
    glance = batches_of(heldout[: 4 * TOGETHER], mark)

    def look(model: nn.Module, step: int) -> dict[str, float]:
        return {"val_loss": nats_per_token(translator, glance)}

    watch = Watch(max(1, steps // LOOKS), look)
    train(translator.model, feed, settings, directory, progress, watch, name, translator.objective(SMOOTHING))
    lines = MetricsLog.read(directory / "metrics.jsonl")
    curve = [(line["step"] * size.rows / len(pairs), line["val_loss"]) for line in lines if "val_loss" in line]
    return Course(curve, lines[-1]["seconds"])


def batches_of(pairs: Pairs, mark: int) -> list[Batch]:
    """All pairs once, in batches of similar length."""
    ordered = sorted(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    parts = [ordered[at : at + TOGETHER] for at in range(0, len(ordered), TOGETHER)]
    return [PairsFeed(part, 0, start=mark, end=mark, pad=mark, longest=LONGEST).batch(0, len(part)) for part in parts]


@torch.inference_mode()
def nats_per_token(translator: Translator, batches: Sequence[Batch]) -> float:
    """Mean cross-entropy of the target tokens, each from its source and those before it, in nats."""
    model: Any = translator.model.eval()
    objective, total, count = translator.objective(), 0.0, 0
    for batch in batches:
        total += float(objective.total(model, objective.ready(batch)))
        count += objective.count(batch)
    return total / count


def translations(
    translator: Translator,
    sources: Sequence[list[int]],
    *,
    mark: int,
    width: int,
    progress: Progress = SilentProgress(),
) -> list[list[int]]:
    """The translation of each source, by a beam of that width."""
    translator.model.eval()
    found: list[list[int]] = [[] for _ in sources]
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    with progress.task(f"translating, beam {width}", len(sources), "sentences") as task:
        for at in range(0, len(order), TOGETHER):
            numbers = order[at : at + TOGETHER]
            source, present = padded([sources[i] for i in numbers], mark)
            most = most_tokens(source.shape[1])
            wrote = translate(translator.writer, source, present, start=mark, end=mark, most=most, width=width)
            for i, ids in zip(numbers, wrote, strict=True):
                found[i] = ids
            task.update(at + len(numbers))
    return found


@torch.inference_mode()
def alignments(
    translator: Translator, sources: Sequence[list[int]], targets: Sequence[list[int]], *, mark: int
) -> list[Float[np.ndarray, "target source"]]:
    """How each target, and the mark that ends it, is aligned with its source; of a model without attention, nothing."""
    found: list[Float[np.ndarray, "target source"]] = []
    if translator.alignment is None:
        return found
    for at in range(0, len(sources), TOGETHER):
        part = slice(at, at + TOGETHER)
        source, present = padded(sources[part], mark)
        ended, _ = padded([[*target, mark] for target in targets[part]], mark)
        shares = translator.alignment(source, present, shifted(ended, mark))
        for row, read, wrote in zip(shares.numpy(), sources[part], targets[part], strict=True):
            found.append(row[: len(wrote) + 1, : len(read)])
    return found


def padded(rows: Sequence[list[int]], mark: int) -> tuple[Int[Tensor, "row token"], Bool[Tensor, "row token"]]:
    """Token ids filled up on the right, and where they are not that."""
    ragged = Ragged(rows, 2 * LONGEST + 10)
    return ragged.padded(np.arange(len(ragged)), mark)


def most_tokens(source: int) -> int:
    """Tokens after which the translation of a source of so many is broken off."""
    return 10 + 3 * source // 2
