"""Classifiers as Hugging Face directories: BERT's, RoBERTa's, and those made of decoders."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from cutaway.model import ModelConfig, safetensors_file
from cutaway.model.families import FAMILIES
from cutaway.model.huggingface import WEIGHTS, config_json, rules_of, weight_files
from cutaway.model.unfilled import unfilled, with_memory
from cutaway.model.weights import Held, fill, must_match, own_tensors, parts_of, shape_of
from cutaway.runs import BadInput
from cutaway.runs.atomic import write_json
from cutaway.tokens.special import TokenIds
from cutaway.train.objectives.classification import Classifier

OWN_HEAD = ("unembed.", "head.", "ln_head.")
"""Beginnings of the names of what a classifier has no use for."""
OVER_POOLER = {"bert": "classifier", "roberta": "classifier.out_proj"}
"""What the layer over labels is called in families with a pooler; in decoders it is `score`."""


def save_classifier(
    classifier: Classifier, directory: Path, labels: Sequence[str], *, token_ids: Mapping[str, TokenIds] | None = None
) -> None:
    """Write `config.json`, with the labels' names in it, and the weights, in their own type.

    `token_ids` are what a tokenizer's `token_ids` gives. `transformers` must know the padding of a decoder, whose last
    token it looks for.

    Raises:
        BadInput: the model is an encoder without a pooler, which `transformers` has no classifier of.
    """
    rules, ours = rules_of_classifier(classifier), own_tensors(classifier)
    family, dtype = FAMILIES[classifier.config.family], classifier.classifier.weight.dtype
    config = dataclasses.replace(classifier.config, head=next(iter(family.architectures)))
    directory.mkdir(parents=True, exist_ok=True)
    safetensors_file.write(
        directory / WEIGHTS,
        {
            name: (dtype, tuple(shape_of(held, ours)), lambda held=held: held.layout.join(parts_of(held, ours)))
            for name, held in rules.items()
        },
    )
    names = {
        "architectures": [architecture_of(classifier.config)],
        "id2label": {str(i): label for i, label in enumerate(labels)},
        "label2id": {label: i for i, label in enumerate(labels)},
    }
    write_json(directory / "config.json", config_json(config, token_ids, dtype) | names)


def load_classifier(directory: Path) -> tuple[Classifier, list[str]]:
    """Open a directory such as `save_classifier` writes; give its labels' names too.

    Raises:
        BadInput: naming what is absent, damaged, or not known.
    """
    config, labels = read_config(directory / "config.json")
    model = unfilled(config, torch.float32)
    with_memory(model)
    classifier = Classifier(model, len(labels))
    rules, ours = rules_of_classifier(classifier), own_tensors(classifier)
    ignored = FAMILIES[config.family].ignored
    found = {
        name: (path, entry)
        for path in weight_files(directory)
        for name, entry in safetensors_file.read_header(path).items()
        if name in rules or not name.endswith(ignored)
    }
    must_match(directory, "config.json", rules, {name: entry.shape for name, (_, entry) in found.items()}, ours)
    for name, (path, entry) in found.items():
        with open(path, "rb") as file:
            fill(rules[name], safetensors_file.read_tensor(file, name, entry), ours)
    return classifier.requires_grad_(False).eval(), labels


def read_config(path: Path) -> tuple[ModelConfig, list[str]]:
    """The shape of a classifier's model, without a head of its own, and the labels. Raises `BadInput`."""
    try:
        settings = cast("dict[str, Any]", json.loads(path.read_text("utf-8")))
        family = FAMILIES[settings["model_type"]]
        config = family.read(settings | {"architectures": [family.architectures.get("pooler", "")]})
        # Two labels without names are what a configuration that says nothing of them means.
        names = settings.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
        labels = [str(names[str(i)]) for i in range(len(names))]
        config = dataclasses.replace(config, head="none" if config.kind == "decoder" else config.head)
        if settings["architectures"] != [architecture_of(config)]:
            raise ValueError(f"it is a {settings['architectures']}")
    except FileNotFoundError:
        raise BadInput(f"there is no {path}; name the directory of a classifier") from None
    except (KeyError, TypeError, AttributeError, ArithmeticError, ValueError, RecursionError) as error:
        raise BadInput(f"{path} describes no classifier that can be opened ({error!r})") from None
    return config, labels


def architecture_of(config: ModelConfig) -> str:
    """What `transformers` calls the classifier."""
    stem = next(iter(FAMILIES[config.family].architectures.values()))
    for ending in ("ForCausalLM", "ForMaskedLM", "LMHeadModel"):
        stem = stem.removesuffix(ending)
    # The other one of Gemma 3 reads images too.
    return stem + ("Text" if config.family == "gemma3_text" else "") + "ForSequenceClassification"


def rules_of_classifier(classifier: Classifier) -> dict[str, Held]:
    """Which tensors of a directory hold which of the classifier's. Raises `BadInput` where there is no such class."""
    config = classifier.config
    if config.kind == "encoder" and (config.head != "pooler" or config.family not in OVER_POOLER):
        raise BadInput(
            f"transformers has no classifier that takes the mean of a {config.family} encoder; take one with a pooler"
        )
    layer = "score" if config.kind == "decoder" else OVER_POOLER[config.family]
    rules = {
        f"{layer}.{part}": Held(((f"classifier.{part}", None),)) for part, _ in classifier.classifier.named_parameters()
    }
    for name, held in rules_of(classifier.model).items():
        if not held.ours[0][0].startswith(OWN_HEAD):
            # RoBERTa counts its pooler as a part of the classifier.
            name = name.replace("roberta.pooler.", "classifier.")
            rules[name] = dataclasses.replace(held, ours=tuple((f"model.{key}", index) for key, index in held.ours))
    return rules
