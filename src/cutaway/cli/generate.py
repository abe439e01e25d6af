"""`cutaway generate`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Json, MaxTokens, Model, SampleSeed, Temperature, TopK, TopP
from cutaway.cli.plain import plain
from cutaway.cli.stdin import utf8_of

if TYPE_CHECKING:
    from cutaway.infer import LanguageModel, Sampling, Step

HELP = with_example(
    'cutaway generate runs/demo:pretrain "In the beginning"',
    """Write on from a prompt. With `--chat` the prompt is a question, which the model answers.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("generate", help=HELP, short_help="Write on from a prompt.")(generate)


def generate(
    model: Model,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to go on from; - for standard input.")],
    chat: Annotated[bool, typer.Option("--chat", help="Answer the prompt as a question.")] = False,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    top_k: TopK = 0,
    seed: SampleSeed = None,
    max_tokens: MaxTokens = 128,
    as_json: Json = False,
) -> None:
    """Print what a model writes after a prompt, as it comes."""
    from cutaway.infer import Sampling, load

    offer(model)
    lm = load(model)
    text = utf8_of(sys.stdin).read() if prompt == "-" else prompt
    sampling = Sampling(temperature, top_p, top_k, seed)
    steps = _answer(lm, text, sampling, max_tokens) if chat else _continuation(lm, text, sampling, max_tokens)
    if as_json:
        print(json.dumps(_as_json(lm, text, list(steps)), ensure_ascii=False))
        return
    console = Console(highlight=False)
    if console.is_terminal and not chat:
        console.print(Text(plain(text, lines=True), "dim"), end="", soft_wrap=True)
    for step in steps:
        shown = plain(step.text, lines=True) if console.is_terminal else step.text
        console.print(Text(shown, "dim" if step.forced else ""), end="", soft_wrap=True)
    console.print()


def _continuation(lm: LanguageModel, prompt: str, sampling: Sampling, max_tokens: int) -> Iterator[Step]:
    from cutaway.infer import stream

    return stream(
        lm.model,
        lm.tokenizer,
        lm.session(prompt),
        max_tokens=max_tokens,
        sampling=sampling,
        stop_ids=lm.tokenizer.stop_ids,
        generator=sampling.generator(),
        top=5,
    )


def _answer(lm: LanguageModel, question: str, sampling: Sampling, max_tokens: int) -> Iterator[Step]:
    from cutaway.assistant import calculate
    from cutaway.infer import Step, reply

    messages = [{"role": "user", "content": question}]
    steps = reply(lm, messages, sampling=sampling, max_tokens=max_tokens, tools={"calculator": calculate}, top=5)
    return (step for step in steps if isinstance(step, Step))


def _as_json(lm: LanguageModel, prompt: str, steps: list[Step]) -> dict[str, object]:
    return {
        "model": lm.name,
        "prompt": prompt,
        "text": "".join(step.text for step in steps if not step.forced),
        "tokens": [
            {
                "id": step.token,
                "text": step.text,
                "probability": math.exp(step.logprob),
                "forced": step.forced,
                "alternatives": [{"id": token, "probability": p} for token, p in step.alternatives],
            }
            for step in steps
        ],
    }
