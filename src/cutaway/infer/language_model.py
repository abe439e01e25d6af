"""A model, its tokenizer and its chat template, opened together from a reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.beam import Beams
from cutaway.infer.completion import Completion, completions
from cutaway.infer.decoding import Decoding, contrast_of, grammar_of
from cutaway.infer.generate import Session
from cutaway.infer.sampling import Sampling
from cutaway.infer.trace import Trace
from cutaway.model import ModelConfig, Transformer, load_model
from cutaway.model.catalogue import find
from cutaway.model.hub import PREFIX as HUB
from cutaway.model.hub import hub
from cutaway.model.taps import Change
from cutaway.model.transformer import Stack
from cutaway.runs import BadInput
from cutaway.tokens import ForeignTokenizer, Tokenizer
from cutaway.train.lora import merge_lora
from cutaway.train.peft_format import load_adapter

MODEL_STAGES = ("pretrain", "sft", "rl", "finetune")
"""Stages of a run that leave a model, in order."""


@dataclass(frozen=True)
class LanguageModel:
    """What it takes to turn text into text."""

    name: str
    model: Transformer
    tokenizer: Tokenizer

    @property
    def config(self) -> ModelConfig:
        """The model's shape."""
        return self.model.config

    @property
    def chat_template(self) -> str:
        """The Jinja template that makes one text of a conversation."""
        return self.tokenizer.chat_template

    def begin(self, prompt: str | Sequence[int]) -> tuple[Session, list[int]]:
        """A sequence that has read nothing yet, and the token ids with which it is to begin.

        A text, or the ids themselves. For a decoder the prompt begins a document; an encoder–decoder's encoder reads
        it, and the answer begins. Raises `BadInput` if there is no prompt, or the model does not write.
        """
        ids = self.tokenizer.document(prompt) if isinstance(prompt, str) else list(prompt)
        if not ids:
            raise BadInput("the prompt is empty; give at least one token")
        if self.config.kind != "encoder-decoder":
            return Session(self.model), ids
        return Session(self.model, ids), self.decoder_start

    def session(self, prompt: str) -> Session:
        """A sequence that has read `prompt`, ready to be written on.

        Raises `BadInput` if the prompt does not fit into the context, or the model does not write.
        """
        session, ids = self.begin(prompt)
        session.read(ids)
        return session

    def complete(self, prompt: str | Sequence[int], decoding: Decoding = Decoding()) -> list[Completion]:
        """What the model writes on from a text (or its token ids), `decoding.n` times, with all that is known of it.

        Raises `BadInput` as `begin` does, if the prompt does not fit, or the model cannot do what is asked for.
        """
        return [each for each in completions(self, prompt, decoding) if isinstance(each, Completion)]

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
        min_p: float = 0.0,
        typical_p: float = 1.0,
        repetition_penalty: float = 1.0,
        presence_penalty: float = 0.0,
        frequency_penalty: float = 0.0,
        logit_bias: Mapping[int, float] | None = None,
        stop: str | Sequence[str] = (),
        stop_ids: Collection[int] = (),
        beams: int = 0,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = False,
        contrastive: float | None = None,
        draft: LanguageModel | None = None,
        lookup: bool = False,
        json_schema: Mapping[str, Any] | str | None = None,
        regex: str | None = None,
        grammar: str | None = None,
    ) -> str:
        """The text that the model writes on from `prompt`, without the prompt, and without what ended it.

        See `Sampling` and `Decoding`; `complete` gives several, with their tokens and probabilities. `contrastive` is
        the penalty of contrastive search, which is among `top_k` tokens, or 4; `grammar` is in Lark's notation. Raises
        `BadInput` as `complete` does, and for what does not go together.
        """
        contrast = contrast_of(contrastive, top_k)
        sampling = Sampling(
            temperature, top_p, 0 if contrast else top_k, seed, min_p, typical_p, repetition_penalty, presence_penalty,
            frequency_penalty, logit_bias or {},
        )  # fmt: skip
        decoding = Decoding(
            sampling,
            max_tokens,
            stops=(stop,) if isinstance(stop, str) else stop,
            stop_ids=stop_ids,
            grammar=grammar_of(json_schema, regex, grammar),
            beams=Beams(beams, length_penalty, early_stopping) if beams else None,
            contrast=contrast,
            draft=draft,
            lookup=lookup,
        )
        return self.complete(prompt, decoding)[0].text

    def trace(self, prompt: str, *, target: str = "", replace: Mapping[str, Change] | None = None) -> Trace:
        """What happens inside while the model reads `prompt` as the beginning of a document.

            with lm.trace("The capital of France is") as trace:
                trace["blocks.3.attn.hook_pattern"]  # [batch, head, query, key]

        An encoder–decoder's decoder reads `target`. `replace` changes tensors by name; see `Trace`.
        """
        if self.config.kind != "encoder-decoder":
            return Trace(self.model, self.tokenizer.document(prompt), replace=replace, tokenizer=self.tokenizer)
        read = [*self.decoder_start, *self.tokenizer.encode(target)]
        prompted = self.tokenizer.document(prompt)
        return Trace(self.model, prompted, target=read, replace=replace, tokenizer=self.tokenizer)

    @property
    def decoder_start(self) -> list[int]:
        """What an encoder–decoder's answer begins with."""
        start = self.tokenizer.token_ids.get("decoder_start_token_id", self.tokenizer.end_of_text)
        return [start] if isinstance(start, int) else start

    @torch.inference_mode()
    def embed(self, texts: Sequence[str], *, batch_size: int = 32) -> Float[Tensor, "text d_model"]:
        """Each text as one vector of length one: the mean of its tokens' last hidden states.

        A text is cut where the context ends (for sentence encoders where their own limit is).
        """
        if isinstance(texts, str):
            raise BadInput("embed takes a list of texts; write embed([text])")
        read = [_cut(self.tokenizer.document(text), self.config.context) for text in texts]
        order = sorted(range(len(texts)), key=lambda i: len(read[i]))
        vectors = torch.empty(len(texts), self.config.d_model)
        for at in range(0, len(order), batch_size):
            rows = order[at : at + batch_size]
            vectors[rows] = pooled(self.model, self.model, [read[i] for i in rows])
        return vectors


def pooled(model: Transformer, stack: Stack, texts: Sequence[Sequence[int]]) -> Float[Tensor, "text d_model"]:
    """Each text's token ids as one vector of length one, of what a stack of the model makes of them, in one pass."""
    longest = max(map(len, texts))
    tokens = torch.tensor([[*text, *[0] * (longest - len(text))] for text in texts])
    present = torch.arange(longest) < torch.tensor([len(text) for text in texts])[:, None]
    return model.pooled(stack.hidden(tokens, present=present), present)


def _cut(ids: list[int], most: int) -> list[int]:
    """The first tokens, with the one that ends a text still at the end."""
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


def load(reference: str | Path) -> LanguageModel:
    """Open a model: a run (its last finished stage), `RUN:STAGE`, or a Hugging Face directory.

    Also a `.gguf` file, a llama2.c `.bin` file, a name of `cutaway models`, or `hub:OWNER/NAME`. `MODEL+DIRECTORY` is a
    model with the adapter in a directory (PEFT's format) merged into it. Raises `BadInput` if there is no such model,
    or its files are damaged.
    """
    base, adapter = base_and_adapter(str(reference))
    if adapter:
        lm = load(base)
        load_adapter(lm.model, Path(adapter))
        merge_lora(lm.model)
        lm.model.requires_grad_(False)
        return replace(lm, name=str(reference))
    path = find_model(str(reference))
    if path.suffix == ".gguf":
        from cutaway.model.gguf import load_gguf
        from cutaway.tokens.gguf_vocabulary import read_gguf_vocabulary

        return LanguageModel(str(reference), load_gguf(path), ForeignTokenizer.of(read_gguf_vocabulary(path)))
    if path.suffix == ".bin":
        from cutaway.model.llama2c import load_llama2c
        from cutaway.tokens.llama2c_vocabulary import find_llama2c_vocabulary

        model = load_llama2c(path)
        vocabulary = find_llama2c_vocabulary(path, model.config.vocab_size)
        return LanguageModel(str(reference), model, ForeignTokenizer.of(vocabulary))
    return LanguageModel(str(reference), load_model(path), Tokenizer.load(path))


def find_model(reference: str) -> Path:
    """The model directory or file that a reference means."""
    path = Path(reference)
    if not reference:
        raise BadInput("no model is named; name a run, a model directory, or a model of `cutaway models`")
    if (path / "config.json").exists() or (path.suffix in (".gguf", ".bin") and path.is_file()):
        return path
    if not path.exists() and (known := find(reference)):
        return known
    if not path.exists() and reference.startswith(HUB):
        return hub(reference)
    run, stage = run_and_stage(reference)
    if stage:
        return model_of_stage(Path(run), stage)
    if path.is_file():
        raise BadInput(f"{reference} is no model; a file must be a .gguf or a llama2.c .bin")
    if not path.exists():
        raise BadInput(
            f"there is no model at {reference}; name a run, a stage of one (runs/demo:sft), a model directory, a .gguf "
            "file, or a model of `cutaway models`"
        )
    finished = stages_with_models(path)
    if not finished:
        raise BadInput(
            f"{reference} holds no finished model; train one with `cutaway run`, or look into the run's manifest.json"
        )
    return path / finished[-1] / "model"


def run_and_stage(reference: str) -> tuple[str, str]:
    """The run that a reference means, and the stage, empty where it names none; a run's own path may hold a colon."""
    if Path(reference).exists():
        return reference, ""
    run, colon, stage = reference.rpartition(":")
    return (run, stage) if colon else (reference, "")


def base_and_adapter(reference: str) -> tuple[str, str]:
    """The model that a reference means, and the directory of an adapter for it, empty where it names none."""
    if Path(reference).exists():
        return reference, ""
    base, plus, adapter = reference.rpartition("+")
    return (base, adapter) if plus else (reference, "")


def model_of_stage(run: Path, stage: str) -> Path:
    """The model that one stage of a run made."""
    if not run.is_dir():
        raise BadInput(f"there is no run at {run}")
    finished = stages_with_models(run)
    if stage not in finished:
        raise BadInput(f"{run} has no model of stage {stage!r}; it has {', '.join(finished) or 'none yet'}")
    return run / stage / "model"


def stages_with_models(run: Path) -> list[str]:
    """The stages of a run that have left a model, in order."""
    return [stage for stage in MODEL_STAGES if (run / stage / "model" / "config.json").exists()]
