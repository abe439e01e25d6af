"""The objectives' losses against `transformers` on the same weights, and what is learned through them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zoo
from torch import nn
from torch.nn import functional as F

from cutaway.model import ModelConfig, Transformer, load_model
from cutaway.model.huggingface import rules_of
from cutaway.model.weights import parts_of
from cutaway.runs import BadInput, MetricsLog, SilentProgress
from cutaway.train import LoopSettings, Watch, train, unwatched
from cutaway.train.objectives.classification import Classification, ClassificationFeed, Classifier
from cutaway.train.objectives.classifier_directory import load_classifier, save_classifier
from cutaway.train.objectives.masked import MaskedFeed, MaskedModelling
from cutaway.train.objectives.objective import Batch, Feed, Objective
from cutaway.train.objectives.sequence_to_sequence import PairsFeed, SequenceToSequence
from cutaway.train.objectives.span_corruption import SpanCorruptionFeed, span_counts
from cutaway.train.optimizer import OptimizerSettings

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

NOT_LEARNED = -100
"""What `transformers` takes for a target that is not to be learned."""
TINY: dict[str, Any] = {
    "vocab_size": 24,
    "n_layers": 2,
    "d_model": 32,
    "n_heads": 2,
    "n_kv_heads": 2,
    "d_head": 16,
    "d_mlp": 64,
    "context": 32,
}


def mean_loss(objective: Objective, model: nn.Module, batch: Batch) -> torch.Tensor:
    return objective.total(model, objective.ready(batch)) / objective.count(batch)


def opened(theirs: Any, directory: Path) -> Transformer:
    theirs.save_pretrained(directory)
    return load_model(directory).requires_grad_(True)


def must_equal(
    model: Transformer, objective: Objective, batch: Batch, theirs: Any, inputs: dict[str, torch.Tensor]
) -> None:
    """Our loss must be theirs, and each gradient too."""
    ours, other = mean_loss(objective, model, batch), theirs(**inputs).loss
    assert float(ours.detach()) == pytest.approx(float(other.detach()), rel=1e-5)
    ours.backward()
    other.backward()
    gradients = {name: w.grad for name, w in model.named_parameters() if w.grad is not None}
    expected = {name: w.grad for name, w in theirs.named_parameters() if w.grad is not None}
    # Some are nothing but rounding: a key's bias is in all of a query's scores alike.
    tolerance = 1e-5 * max(float(gradient.abs().max()) for gradient in expected.values())
    rules = rules_of(model)
    for name, gradient in expected.items():
        joined = rules[name].layout.join(parts_of(rules[name], gradients))
        torch.testing.assert_close(joined, gradient, rtol=1e-4, atol=tolerance)
    # BART's bias of the unembedding is no weight, for them.
    compared = {key for name in expected for key, _ in rules[name].ours}
    assert gradients.keys() - compared <= ({"unembed.bias"} if model.config.family in ("bart", "marian") else set())


@pytest.mark.parametrize("name", ["bert", "roberta", "modernbert"])
def test_masked_modelling_has_the_loss_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = zoo.build(name)
    rows = np.random.default_rng(0).integers(3, zoo.V, (6, 32), np.int32)
    batch = MaskedFeed(rows, 0, mask=2, special=[0, 1], vocab_size=zoo.V).batch(0, 6)
    labels = batch["targets"].masked_fill(~batch["learned"], NOT_LEARNED)
    inputs = {"input_ids": batch["tokens"], "labels": labels}
    must_equal(opened(theirs, tmp_path), MaskedModelling(), batch, theirs, inputs)


def pairs_feed(vocab_size: int = 24, start: int = 0) -> PairsFeed:
    """Texts of any tokens, and each from its end to its beginning."""
    rng = np.random.default_rng(3)
    texts = [rng.integers(3, vocab_size, rng.integers(2, 5)).tolist() for _ in range(200)]
    return PairsFeed([(text, text[::-1]) for text in texts], 0, start=start, end=1, pad=0, longest=16)


@pytest.mark.parametrize("name", ["t5", "t5-1.1", "bart", "marian"])
def test_pairs_have_the_loss_of_transformers(name: str, tmp_path: Path) -> None:
    theirs = zoo.build(name)
    model = opened(theirs, tmp_path)
    batch = pairs_feed(zoo.V, start=theirs.config.decoder_start_token_id).batch(0, 160)
    # Lengths that differ, so that padding is met in sources and targets.
    assert not batch["present"].all()
    assert not batch["learned"].all()
    inputs = {
        "input_ids": batch["source"],
        "attention_mask": batch["present"].long(),
        "labels": batch["targets"].masked_fill(~batch["learned"], NOT_LEARNED),
    }
    must_equal(model, SequenceToSequence(), batch, theirs, inputs)


def test_span_corruption_has_the_loss_of_transformers(tmp_path: Path) -> None:
    theirs = zoo.build("t5")
    counts = span_counts(32)
    rows = np.random.default_rng(0).integers(3, 180, (6, counts.raw), np.int32)
    feed = SpanCorruptionFeed(rows, 0, counts, sentinels=range(zoo.V - 1, 180, -1), start=0, end=1)
    batch = feed.batch(0, 6)
    inputs = {"input_ids": batch["source"], "labels": batch["targets"]}
    must_equal(opened(theirs, tmp_path), SequenceToSequence(), batch, theirs, inputs)


def test_labels_are_smoothed_as_torch_does_it() -> None:
    model, batch = encoder_decoder(), pairs_feed().batch(0, 8)
    with torch.no_grad():
        logits = model(batch["source"], batch["tokens"], present=batch["present"])[batch["learned"]]
        targets = batch["targets"][batch["learned"]]
        for weight in (0.0, 0.1, 0.7):
            expected = F.cross_entropy(logits, targets, label_smoothing=weight)
            assert float(mean_loss(SequenceToSequence(weight), model, batch)) == pytest.approx(
                float(expected), rel=1e-5
            )
        penalized = F.cross_entropy(logits, targets, label_smoothing=0.1) + 0.3 * logits.logsumexp(-1).square().mean()
        found = mean_loss(SequenceToSequence(label_smoothing=0.1, z_loss=0.3), model, batch)
        assert float(found) == pytest.approx(float(penalized), rel=1e-5)


@pytest.mark.parametrize("objective", ["masked", "pairs", "labels"])
def test_the_sum_of_the_losses_is_that_of_its_portions(objective: str) -> None:
    torch.manual_seed(0)
    if objective == "masked":
        model, how, batch = encoder(), MaskedModelling(), masked_feed().batch(0, 8)
    elif objective == "pairs":
        model, how, batch = encoder_decoder(), SequenceToSequence(0.1), pairs_feed().batch(0, 8)
    else:
        model, how, batch = Classifier(encoder(), 3), Classification(), texts_feed().batch(0, 8)
    portions = [{name: x[at : at + 3] for name, x in batch.items()} for at in range(0, 8, 3)]
    with torch.no_grad():
        parts = sum(float(how.total(model, how.ready(portion))) for portion in portions)
        assert float(how.total(model, how.ready(batch))) == pytest.approx(parts, rel=1e-5)
    assert sum(how.count(portion) for portion in portions) == how.count(batch)


CLASSIFIERS = [name for name in zoo.DECODERS if "-" not in name]


@pytest.mark.parametrize("name", ["bert", "roberta", *CLASSIFIERS])
def test_classifiers_are_those_of_transformers_both_ways(name: str, tmp_path: Path) -> None:
    architecture, settings = zoo.ALL[name]
    stem = architecture.removesuffix("ForCausalLM").removesuffix("ForMaskedLM").removesuffix("LMHeadModel")
    stem += "Text" if name == "gemma3" else ""
    labels = {i: f"label {i}" for i in range(2 if name == "bert" else 5)}
    given = settings if name == "bert" else {**settings, "id2label": labels}
    theirs = zoo.made(f"{stem}ForSequenceClassification", given)
    theirs.save_pretrained(tmp_path / "theirs")
    model, names = load_classifier(tmp_path / "theirs")
    assert len(names) == len(labels)
    assert name == "bert" or names == list(labels.values())
    pad = theirs.config.pad_token_id
    texts = [list(range(3, 3 + n)) for n in (9, 4, 7, 1)]
    batch = ClassificationFeed(texts, [0, 1, 1, 0], 0, pad=pad, longest=64).batch(0, 4)
    inputs = {"input_ids": batch["tokens"], "attention_mask": batch["present"].long(), "labels": batch["labels"]}
    with torch.no_grad():
        expected = theirs(**inputs)
        torch.testing.assert_close(model(batch["tokens"], batch["present"]), expected.logits, rtol=1e-4, atol=1e-4)
        assert float(mean_loss(Classification(), model, batch)) == pytest.approx(float(expected.loss), rel=1e-5)
        save_classifier(model, tmp_path / "ours", names, token_ids={"pad_token_id": pad})
        again = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
        assert type(again) is type(theirs)
        assert again.config.id2label == dict(enumerate(names))
        torch.testing.assert_close(again(**inputs).logits, expected.logits, rtol=1e-4, atol=1e-4)
    back, _ = load_classifier(tmp_path / "ours")
    for mine, other in zip(model.parameters(), back.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_a_classifier_made_of_a_language_model_is_written_without_its_head(tmp_path: Path) -> None:
    zoo.build("llama").save_pretrained(tmp_path / "base")
    classifier = Classifier(load_model(tmp_path / "base"), 3)
    assert [name for name, w in classifier.named_parameters() if w.requires_grad] == ["classifier.weight"]
    save_classifier(classifier, tmp_path / "ours", ["a", "b", "c"], token_ids={"pad_token_id": 0})
    back, labels = load_classifier(tmp_path / "ours")
    assert labels == ["a", "b", "c"]
    tokens = torch.randint(3, zoo.V, (2, 7), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(back(tokens), classifier(tokens))


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="encoder–decoder"):
        Classifier(encoder_decoder(), 2)
    with pytest.raises(BadInput, match="pooler"):
        save_classifier(Classifier(encoder(), 2), tmp_path, ["a", "b"])
    with pytest.raises(BadInput, match=r"config\.json"):
        load_classifier(tmp_path)
    zoo.build("llama").save_pretrained(tmp_path)
    with pytest.raises(BadInput, match="LlamaForCausalLM"):
        load_classifier(tmp_path)


def test_the_mean_of_an_encoders_states_leaves_padding_out() -> None:
    torch.manual_seed(0)
    model = Classifier(encoder(), 3)
    texts = [[3, 4, 5, 6], [7, 8]]
    batch = ClassificationFeed(texts, [0, 1], 0, pad=0, longest=9).batch(0, 2)
    with torch.no_grad():
        together = model(batch["tokens"], batch["present"])
        for i, label in enumerate(batch["labels"].tolist()):
            torch.testing.assert_close(together[i], model(torch.tensor([texts[label]]))[0], rtol=1e-5, atol=1e-6)


def test_operations_are_six_a_weight_and_those_of_attention() -> None:
    model = encoder_decoder()
    batch = pairs_feed().batch(0, 8)
    (rows, source), target = batch["source"].shape, batch["tokens"].shape[1]
    assert source != target
    sizes = {name: w.numel() for name, w in model.named_parameters() if w.dim() == 2}
    of_source = sum(n for name, n in sizes.items() if "encoder.blocks" in name or "cross_attn.k" in name)
    of_source += sum(n for name, n in sizes.items() if "cross_attn.v" in name)
    of_target = sum(n for name, n in sizes.items() if "blocks" in name) - of_source
    learned = int(batch["learned"].sum())
    products = 6 * (rows * (source * of_source + target * of_target) + learned * 24 * 32)
    # Two products with each key read, 2 operations a number each: the encoder's all, the decoder's up to its own, and
    # all of the source.
    pairs = source * source + target * (target + 1) / 2 + target * source
    attention = 3 * 2 * rows * 4 * 2 * 16 * pairs
    assert SequenceToSequence().flops(model, batch) == pytest.approx(products + attention, rel=1e-6)

    classifier, batch = Classifier(encoder(), 3), texts_feed().batch(0, 8)
    rows, length = batch["tokens"].shape
    inside = sum(w.numel() for name, w in classifier.named_parameters() if "blocks" in name and w.dim() == 2)
    expected = 6 * rows * (length * inside + 3 * 32) + 3 * 2 * rows * 4 * 2 * 16 * length**2
    assert Classification().flops(classifier, batch) == pytest.approx(expected, rel=1e-6)


def encoder() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(**TINY, kind="encoder", head="masked"))


def encoder_decoder() -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(**TINY, kind="encoder-decoder", n_encoder_layers=2))


def decoder_classifier() -> Classifier:
    torch.manual_seed(0)
    return Classifier(Transformer(ModelConfig(**TINY)), 3)


def masked_feed() -> MaskedFeed:
    """Rows that count up by one from anywhere, over and over from 3 to 22; 23 is the mask."""
    rows = 3 + (np.arange(16) + np.arange(20)[:, None]) % 20
    return MaskedFeed(rows, 0, mask=23, special=[0, 1, 2], vocab_size=24)


def spans_feed() -> SpanCorruptionFeed:
    """Gaps in rows that count from 3 to 16."""
    counts = span_counts(16)
    rows = 3 + (np.arange(counts.raw) + np.arange(14)[:, None]) % 14
    return SpanCorruptionFeed(rows, 0, counts, sentinels=range(23, 16, -1), start=0, end=1)


def texts_feed() -> ClassificationFeed:
    """Texts of any tokens, whose label is the remainder of their first by 3."""
    rng = np.random.default_rng(5)
    texts = [rng.integers(3, 24, rng.integers(1, 9)).tolist() for _ in range(200)]
    return ClassificationFeed(texts, [text[0] % 3 for text in texts], 0, pad=0, longest=16)


Case = tuple[Callable[[], nn.Module], Callable[[], Feed], Objective, int, float]
CASES: dict[str, Case] = {
    "masked": (encoder, masked_feed, MaskedModelling(), 100, 0.5),
    "spans": (encoder_decoder, spans_feed, SequenceToSequence(), 60, 0.2),
    "pairs": (encoder_decoder, pairs_feed, SequenceToSequence(), 150, 0.4),
    "labels": (decoder_classifier, texts_feed, Classification(), 60, 0.2),
}
"""How each begins, after how many steps of 16 rows it must have learned, and the loss that shows it: what is asked
follows from what is read, so nothing but the loss's own noise keeps it above 0.
"""


def settings_of(steps: int, checkpoint_seconds: float = 60.0) -> LoopSettings:
    return LoopSettings(
        tokens=steps * 16 * 16,
        batch_tokens=16 * 16,
        row_length=16,
        compile=False,
        precision="float32",
        checkpoint_seconds=checkpoint_seconds,
        optimizer=OptimizerSettings(muon_lr=0.04, adamw_lr=0.02),
    )


@pytest.mark.parametrize("name", list(CASES))
def test_it_is_learned(name: str, tmp_path: Path) -> None:
    make_model, make_feed, objective, steps, reached = CASES[name]
    train(make_model(), make_feed(), settings_of(steps), tmp_path, SilentProgress(), unwatched(), name, objective)
    losses = [row["loss"] for row in MetricsLog.read(tmp_path / "metrics.jsonl")]
    assert np.mean(losses[-10:]) < reached < 1 < losses[0]


@pytest.mark.parametrize("name", list(CASES))
def test_a_resumed_run_ends_with_the_same_bits(name: str, tmp_path: Path) -> None:
    make_model, make_feed, objective, _, _ = CASES[name]

    def run(place: Path, watch: Watch) -> nn.Module:
        model = make_model()
        train(model, make_feed(), settings_of(12, 1e-6), place, SilentProgress(), watch, name, objective)
        return model

    class Stopped(Exception):
        pass

    def stop(model: nn.Module, step: int) -> dict[str, float]:
        if step == 7:
            raise Stopped
        return {}

    whole = run(tmp_path / "whole", unwatched())
    with pytest.raises(Stopped):
        run(tmp_path / "cut", Watch(1, stop))
    resumed = run(tmp_path / "cut", unwatched())
    assert [row["step"] for row in MetricsLog.read(tmp_path / "cut/metrics.jsonl")] == list(range(1, 13))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))
