"""Fine-tuning on one's own examples: each kind of example with each kind of model, and what is left of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from cutaway.corpus.examples import Examples
from cutaway.infer import load
from cutaway.model import ModelConfig, Transformer
from cutaway.model.presets import BERT_BASE
from cutaway.runs import BadInput, SilentProgress, read_results
from cutaway.tokens import ForeignTokenizer
from cutaway.train.finetune import enough_steps, finetune
from cutaway.train.finetune_settings import FinetuneSettings
from cutaway.train.objectives.classifier_directory import load_classifier
from cutaway.train.rows import Example, once

WORDS = "red green blue one two three four cats dogs sing run fly".split()
SPECIAL = ["[PAD]", "[UNK]", "[MASK]", "<s>", "</s>", "user", "assistant", *(f"<extra_id_{i}>" for i in range(8))]
TEMPLATE = (
    "{% for m in messages %}{{ m.role }} {{ m.content }} </s> {% endfor %}"
    "{% if add_generation_prompt %}assistant {% endif %}"
)
SIZE = {"vocab_size": 27, "n_layers": 2, "d_model": 32, "n_heads": 2, "n_kv_heads": 2, "d_head": 16, "d_mlp": 64}
BERT = dataclasses.replace(BERT_BASE, **SIZE, context=64)
MODELS = {
    "llama": ModelConfig(**SIZE, context=64, family="llama", qk_norm="none"),
    "bert": BERT,
    "bert with a pooler": dataclasses.replace(BERT, head="pooler", unembed_bias=False),
    "t5": ModelConfig(
        **SIZE,
        context=64,
        n_encoder_layers=2,
        kind="encoder-decoder",
        family="t5",
        positions="relative",
        qk_norm="none",
        attention_scale=1.0,
        gated=False,
        activation="relu",
    ),
}
ASKED = [[{"role": "user", "content": f"{a} cats"}, {"role": "assistant", "content": f"{a} dogs"}] for a in WORDS[:7]]
EXAMPLES: dict[Any, tuple[Any, ...]] = {
    "text": tuple(f"{a} {b} sing {a} {b} run {a} {b} fly" for a in WORDS[:3] for b in WORDS[3:9]) * 4,
    "chat": tuple(ASKED * 5),
    "pairs": tuple((f"{a} {b}", f"{b} {a}") for a in WORDS[:5] for b in WORDS[5:]),
    "labels": tuple((f"{a} {b}", "colour" if a in WORDS[:3] else "other") for a in WORDS for b in WORDS[:3]),
}
FAST: dict[str, Any] = {
    "batch_tokens": 64,
    "row_length": 16,
    "compile": False,
    "epochs": 30,
    "held_out": 0.2,
    "optimizer": {"adamw_lr": 3e-3},
}


def tokenizer() -> ForeignTokenizer:
    vocabulary = {word: i for i, word in enumerate([*SPECIAL, *WORDS])}
    backend = Backend(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens([name for name in SPECIAL if name not in ("user", "assistant")])
    ids = {"bos_token_id": 3, "eos_token_id": 4, "pad_token_id": 0, "decoder_start_token_id": 0}
    return ForeignTokenizer(backend, chat_template=TEMPLATE, begin=3, ends=[4], ids=ids, joins=False)


def new_model(name: str) -> Transformer:
    torch.manual_seed(0)
    return Transformer(MODELS[name])


def taught(model: Transformer, kind: Any, directory: Path, **settings: Any) -> dict[str, float]:
    """What is measured on the examples held out, after fine-tuning."""
    made = FinetuneSettings.model_validate(FAST | settings)
    examples = Examples(kind, EXAMPLES[kind])
    finetune(model, tokenizer(), examples, made, directory, SilentProgress(), 1, base="a/base")
    return {result.metric: result.value for result in read_results(directory / "evals.json")}


@pytest.mark.parametrize(
    ("name", "kind", "at_most"),
    [
        ("llama", "text", 1.0),
        ("llama", "chat", 1.1),
        ("bert", "text", 2.0),
        ("t5", "text", 1.5),
        ("t5", "pairs", 0.9),
        ("bert with a pooler", "labels", 0.3),
        ("bert", "labels", 0.3),
        ("llama", "labels", 0.3),
    ],
)
def test_each_kind_of_model_learns_from_what_it_can(tmp_path: Path, name: str, kind: str, at_most: float) -> None:
    model = new_model(name)
    # A stream that is normalised after each sum learns only slowly at first.
    slow = {"epochs": 120, "optimizer": {"adamw_lr": 2e-3}} if (name, kind) == ("bert", "text") else {}
    found = taught(model, kind, tmp_path, **slow)
    assert found["val_loss"] < at_most
    if kind == "labels":
        assert found["val_accuracy"] > 0.9
        classifier, labels = load_classifier(tmp_path / "model")
        assert labels == ["colour", "other"]
        assert classifier.config.d_model == model.config.d_model
    else:
        lm = load(tmp_path / "model")
        assert all(torch.equal(a, b) for a, b in zip(lm.model.parameters(), model.parameters(), strict=True))


def test_adapters_alone_are_trained_and_come_back(tmp_path: Path) -> None:
    base = tmp_path / "base"
    taught(new_model("llama"), "text", base)
    lm = load(base / "model")
    before = {name: weight.clone() for name, weight in lm.model.named_parameters()}
    taught(lm.model, "chat", tmp_path / "lora", lora={"rank": 4}, epochs=5)
    adapted = load(f"{base / 'model'}+{tmp_path / 'lora' / 'adapter'}")
    merged = load(tmp_path / "lora" / "model")
    for (name, a), b in zip(adapted.model.named_parameters(), merged.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)
    assert torch.equal(merged.model.embed.weight, before["embed.weight"])
    assert not torch.equal(merged.model.get_parameter("blocks.0.attn.q.weight"), before["blocks.0.attn.q.weight"])


def test_a_masked_encoder_learns_labels_by_adapters_on_its_own_weights(tmp_path: Path) -> None:
    model = new_model("bert")
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    found = taught(model, "labels", tmp_path, lora={"rank": 8}, optimizer={"adamw_lr": 1e-2})
    assert found["val_loss"] < 0.5
    classifier, _ = load_classifier(tmp_path / "model")
    assert torch.equal(classifier.model.embed.weight, before["embed.weight"])
    moved = classifier.model.get_parameter("blocks.0.attn.q.weight") - before["blocks.0.attn.q.weight"]
    assert torch.linalg.matrix_rank(moved, rtol=1e-4) <= 8
    assert (tmp_path / "adapter" / "adapter_model.safetensors").exists()


def test_all_that_is_held_out_is_measured_once(tmp_path: Path) -> None:
    items = [Example([1, 2, 3], [False, True, True]), Example(range(10, 30))]
    rows = once(items, 7)
    assert rows is not None
    assert rows.learned.sum() == 22
    assert rows.tokens[rows.learned].tolist() == [2, 3, *range(10, 30)]
    taught(new_model("llama"), "labels", tmp_path, epochs=0.1)
    (result, *_) = read_results(tmp_path / "evals.json")
    assert result.n == round(0.2 * len(EXAMPLES["labels"]))


def test_few_examples_are_learned_in_small_batches() -> None:
    settings = FinetuneSettings.model_validate({"batch_tokens": 4096, "row_length": 64})
    assert enough_steps(settings, 20 * 64 * 3).batch_rows == 3
    assert enough_steps(settings, 20 * 64 * 3).steps == 20
    assert enough_steps(settings, 10).steps == 1
    assert enough_steps(settings, 10**6).batch_tokens == 4096


def test_a_teachers_probabilities_are_learned(tmp_path: Path) -> None:
    teacher = new_model("llama")
    taught(teacher, "text", tmp_path / "teacher")
    student = new_model("llama")
    settings = FinetuneSettings.model_validate(FAST | {"alpha": 1.0, "epochs": 10})
    finetune(
        student,
        tokenizer(),
        Examples("text", EXAMPLES["text"]),
        settings,
        tmp_path / "student",
        SilentProgress(),
        1,
        base="",
        teacher=teacher,
    )
    tokens = torch.tensor([tokenizer().document(EXAMPLES["text"][0])])
    with torch.no_grad():
        theirs, ours, untaught = (
            model.eval()(tokens).log_softmax(-1) for model in (teacher, student, new_model("llama"))
        )
    kl = [float((theirs.exp() * (theirs - each)).sum(-1).mean()) for each in (ours, untaught)]
    assert kl[0] < 0.2 * kl[1]


@pytest.mark.parametrize(("name", "kind"), [("bert", "chat"), ("llama", "pairs"), ("t5", "labels"), ("bert", "pairs")])
def test_what_a_model_cannot_learn_from_is_told(tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(BadInput, match=f"cannot learn from {kind}"):
        taught(new_model(name), kind, tmp_path)


def test_one_label_is_none(tmp_path: Path) -> None:
    examples = Examples("labels", tuple((text, "x") for text, _ in EXAMPLES["labels"]))
    with pytest.raises(BadInput, match="all examples have the same label, x"):
        finetune(
            new_model("llama"),
            tokenizer(),
            examples,
            FinetuneSettings.model_validate(FAST),
            tmp_path,
            SilentProgress(),
            1,
            base="",
        )
