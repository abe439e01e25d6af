"""`cutaway finetune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cutaway.cli.bring import carry_out
from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Again, Model, Seed, Set

HELP = with_example(
    "cutaway finetune smollm2-135m --data my-answers.jsonl --lora --out runs/mine",
    """Fine-tune any model on your own examples: all of its weights, or with --lora adapters beside them. Decoders learn
from texts and conversations, encoder–decoders from texts and pairs, encoders from texts, and encoders and decoders from
texts with labels. Stopped at any moment, the same command carries on.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("finetune", help=HELP, short_help="Fine-tune any model on your own examples.")(finetune)


def finetune(
    model: Model,
    data: Annotated[
        list[Path],
        typer.Option(
            "--data",
            metavar="FILE",
            help="Examples: .jsonl, .json, .csv, .tsv or .parquet rows with messages, prompt and response, source and "
            "target, text and label, or text; or .txt and .md. Repeatable.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="RUN", help="Directory of the run.", show_default="runs/ and the model's name"),
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train adapters of rank 8 instead of the weights.")] = False,
    teacher: Annotated[
        str | None, typer.Option("--teacher", metavar="MODEL", help="Learn this model's probabilities too.")
    ] = None,
    epochs: Annotated[float | None, typer.Option("--epochs", help="Times to go through the examples.")] = None,
    seed: Seed = None,
    sets: Set = None,
    again: Again = False,
) -> None:
    """Fine-tune a model."""
    from cutaway.pipeline import FINETUNING, FinetuneRecipe
    from cutaway.runs import load_recipe
    from cutaway.runs.recipe import quoted

    for reference in filter(None, (model, teacher)):
        offer(reference)
    # Absolute, so that the run can be carried on with from another directory.
    overrides = [f"model={quoted(_absolute(model))}", f"data={quoted([str(path.resolve()) for path in data])}"]
    if teacher:
        overrides.append(f"teacher={quoted(_absolute(teacher))}")
    if epochs is not None:
        overrides.append(f"finetune.epochs={epochs}")
    if seed is not None:
        overrides.append(f"seed={seed}")
    if lora:
        overrides.append("finetune.lora.rank=8")
    recipe = load_recipe(None, [*overrides, *(sets or [])], FinetuneRecipe)
    run = carry_out(recipe, FINETUNING, out or Path("runs") / f"{_name(model)}-finetuned", again=again)
    model_directory = run / "finetune" / "model"
    if "ForCausalLM" in (model_directory / "config.json").read_text():
        print(f"cutaway chat {run}    to talk with it")
    print(f"{model_directory}    is the model, for whatever opens Hugging Face directories")
    if (run / "finetune" / "adapter").exists():
        print(f"{run / 'finetune' / 'adapter'}    is its adapter, for PEFT")


def _absolute(model: str) -> str:
    """A reference as it can be given from anywhere: a path, a run's stage, or a model and an adapter's directory."""
    from cutaway.infer.language_model import base_and_adapter, run_and_stage

    base, adapter = base_and_adapter(model)
    if adapter:
        return f"{_absolute(base)}+{Path(adapter).resolve()}"
    run, stage = run_and_stage(model)
    if not Path(run).exists():
        return model
    return f"{Path(run).resolve()}:{stage}" if stage else str(Path(run).resolve())


def _name(model: str) -> str:
    """What a run is called after its model."""
    return Path(model).name.partition(":")[0].removesuffix(".gguf") or "model"
