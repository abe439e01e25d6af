"""A model, its tokenizer and its chat template, opened together from a reference."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cutaway.infer.generate import Session, TextStream, stream
from cutaway.infer.sampling import Sampling
from cutaway.model import ModelConfig, Transformer, load_model
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

MODEL_STAGES = ("pretrain", "sft", "rl")
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

    def generate(
        self,
        prompt: str,
        *,
        max_tokens: int = 128,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        seed: int | None = None,
    ) -> str:
        """The text that the model writes on from `prompt`, without the prompt.

        The prompt begins a document. Raises `BadInput` if it does not fit into the context.
        """
        sampling = Sampling(temperature, top_p, top_k, seed)
        session = Session(self.model)
        session.read([self.tokenizer.end_of_text, *self.tokenizer.encode(prompt)])
        steps = stream(
            self.model,
            self.tokenizer,
            session,
            max_tokens=max_tokens,
            sampling=sampling,
            stop_ids=self.tokenizer.stop_ids,
            generator=sampling.generator(),
        )
        text = TextStream(self.tokenizer)
        return "".join(text.add(step.token) for step in steps) + text.finish()


def load(reference: str | Path) -> LanguageModel:
    """Open a model: a run (its last finished stage), `RUN:STAGE`, or a Hugging Face directory.

    Raises `BadInput` if there is no such model, or its files are damaged.
    """
    directory = find_model(str(reference))
    return LanguageModel(str(reference), load_model(directory), Tokenizer.load(directory))


def find_model(reference: str) -> Path:
    """The model directory that a reference means."""
    path = Path(reference)
    if (path / "config.json").exists():
        return path
    run, stage = run_and_stage(reference)
    if stage:
        return model_of_stage(Path(run), stage)
    if not path.exists():
        raise BadInput(
            f"there is no model at {reference}; name a run, a stage of one (runs/demo:sft) or a model directory"
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
