"""`cutaway generate`."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from rich.console import Console
from rich.text import Text

from cutaway.cli.help import with_example
from cutaway.cli.offer import offer
from cutaway.cli.options import Json, MaxTokens, Model
from cutaway.cli.plain import plain
from cutaway.cli.stdin import utf8_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.infer import Completion, LanguageModel, Step

HELP = with_example(
    'cutaway generate runs/demo:pretrain "In the beginning"',
    """Write on from a prompt. With `--chat` the prompt is a question, which the model answers.""",
)

DRAW = "Drawing tokens"
AGAIN = "Saying things again"
END = "Where to end"
FORM = "Writing to a form"
SEARCH = "Searching instead of drawing"
AHEAD = "Guessing ahead: the same text, sooner"
SHOW = "What is shown"

DRAFTED = 4
"""Tokens that are guessed at a time."""
EARLY: dict[str, bool | Literal["never"]] = {"no": False, "yes": True, "never": "never"}


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("generate", help=HELP, short_help="Write on from a prompt.")(generate)


def generate(
    model: Model,
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="The text to go on from; - for standard input.")],
    chat: Annotated[bool, typer.Option("--chat", help="Answer the prompt as a question.")] = False,
    n: Annotated[int, typer.Option("--n", min=1, help="How many completions.")] = 1,
    engine: Annotated[
        Literal["cutaway", "llama.cpp", "vllm"],
        typer.Option("--engine", help="What computes: our own engine, or another that is installed."),
    ] = "cutaway",
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            min=0,
            max=100,
            rich_help_panel=DRAW,
            help="How freely to choose; 0 takes the likeliest token.",
        ),
    ] = 0.0,
    top_p: Annotated[
        float,
        typer.Option(
            "--top-p",
            min=0,
            max=1,
            rich_help_panel=DRAW,
            help="Choose among the likeliest tokens of this share.",
        ),
    ] = 1.0,
    top_k: Annotated[
        int,
        typer.Option(
            "--top-k",
            min=0,
            rich_help_panel=DRAW,
            help="Choose among so many of the likeliest tokens; 0: all.",
        ),
    ] = 0,
    min_p: Annotated[
        float,
        typer.Option(
            "--min-p",
            min=0,
            max=1,
            rich_help_panel=DRAW,
            help="Choose among tokens at least this many times as likely as the likeliest.",
        ),
    ] = 0.0,
    typical_p: Annotated[
        float,
        typer.Option(
            "--typical-p",
            min=0,
            max=1,
            rich_help_panel=DRAW,
            help="Choose among the least out of the ordinary of this share: neither too likely nor too unlikely.",
        ),
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, rich_help_panel=DRAW, help="The same seed gives the same text.")
    ] = None,
    repetition_penalty: Annotated[
        float,
        typer.Option(
            "--repetition-penalty",
            rich_help_panel=AGAIN,
            help="Divide the logits of tokens in prompt and text; above 1 says less again.",
        ),
    ] = 1.0,
    presence_penalty: Annotated[
        float,
        typer.Option(
            "--presence-penalty",
            rich_help_panel=AGAIN,
            help="Take this off the logits of tokens in the text.",
        ),
    ] = 0.0,
    frequency_penalty: Annotated[
        float,
        typer.Option(
            "--frequency-penalty",
            rich_help_panel=AGAIN,
            help="The same for each time that they stand there.",
        ),
    ] = 0.0,
    logit_bias: Annotated[
        list[str] | None,
        typer.Option(
            "--logit-bias",
            metavar="ID=AMOUNT",
            rich_help_panel=AGAIN,
            help="Add an amount from -100 to 100 to one token's logit. Repeatable.",
        ),
    ] = None,
    max_tokens: MaxTokens = 128,
    stop: Annotated[
        list[str] | None,
        typer.Option("--stop", metavar="TEXT", rich_help_panel=END, help="End before this text. Repeatable."),
    ] = None,
    stop_id: Annotated[
        list[int] | None,
        typer.Option("--stop-id", metavar="ID", rich_help_panel=END, help="End with this token. Repeatable."),
    ] = None,
    json_schema: Annotated[
        Path | None,
        typer.Option("--json-schema", metavar="FILE", rich_help_panel=FORM, help="Write JSON of this schema."),
    ] = None,
    json_object: Annotated[
        bool, typer.Option("--json-object", rich_help_panel=FORM, help="Write a JSON object, whichever.")
    ] = False,
    regex: Annotated[
        str | None,
        typer.Option(
            "--regex",
            metavar="PATTERN",
            rich_help_panel=FORM,
            help="Write what this regular expression matches.",
        ),
    ] = None,
    grammar: Annotated[
        Path | None,
        typer.Option(
            "--grammar",
            metavar="FILE",
            rich_help_panel=FORM,
            help="Write what this grammar (in Lark's notation) derives.",
        ),
    ] = None,
    beams: Annotated[
        int,
        typer.Option("--beams", min=0, rich_help_panel=SEARCH, help="Beam search with so many beams."),
    ] = 0,
    length_penalty: Annotated[
        float,
        typer.Option("--length-penalty", rich_help_panel=SEARCH, help="Above 0 long beams gain, below 0 short ones."),
    ] = 1.0,
    early_stopping: Annotated[
        str,
        typer.Option(
            "--early-stopping",
            metavar="no|yes|never",
            rich_help_panel=SEARCH,
            help="End when enough beams have ended; never: only when no better one can come.",
        ),
    ] = "no",
    contrastive: Annotated[
        float | None,
        typer.Option(
            "--contrastive",
            metavar="PENALTY",
            min=0,
            max=1,
            rich_help_panel=SEARCH,
            help="Contrastive search among the --top-k likeliest tokens; 0.6 is usual, with 4.",
        ),
    ] = None,
    draft: Annotated[
        str | None,
        typer.Option(
            "--draft",
            metavar="MODEL",
            rich_help_panel=AHEAD,
            help="A smaller model with the same tokens, which guesses ahead.",
        ),
    ] = None,
    lookup: Annotated[
        bool,
        typer.Option("--lookup", rich_help_panel=AHEAD, help="Guess that what was said before is said again."),
    ] = False,
    draft_tokens: Annotated[
        int, typer.Option("--draft-tokens", min=1, rich_help_panel=AHEAD, help="How many tokens to guess at a time.")
    ] = DRAFTED,
    logprobs: Annotated[
        bool, typer.Option("--logprobs", rich_help_panel=SHOW, help="How likely each token was, in a table.")
    ] = False,
    top: Annotated[
        int, typer.Option("--top", min=0, rich_help_panel=SHOW, help="How many alternatives to tell of each token.")
    ] = 5,
    as_json: Json = False,
) -> None:
    """Print what a model writes after a prompt, as it comes."""
    from cutaway.cli.written import answer, completions, opener
    from cutaway.infer import Beams, Decoding, Sampling, load
    from cutaway.infer.decoding import contrast_of, grammar_of

    # Options with bounds refuse NaN themselves.
    for name, value, low, high in (
        ("--repetition-penalty", repetition_penalty, "0.01", "100"),
        ("--presence-penalty", presence_penalty, "-2", "2"),
        ("--frequency-penalty", frequency_penalty, "-2", "2"),
    ):
        if not math.isfinite(value):
            raise BadInput(f"{name} is {value}; it must be a number from {low} to {high}")
    contrast = contrast_of(contrastive, top_k)
    sampling = Sampling(
        temperature, top_p, 0 if contrast else top_k, seed, min_p, typical_p, repetition_penalty, presence_penalty,
        frequency_penalty, _biases(logit_bias or []),
    )  # fmt: skip
    if early_stopping not in EARLY:
        raise BadInput(f"--early-stopping {early_stopping} is none of {', '.join(EARLY)}")
    schema = _text_of(json_schema) if json_schema else None
    if json_object:
        if schema is not None:
            raise BadInput("--json-object is any object, and --json-schema says which; choose one")
        schema = '{"type": "object"}'
    if not beams and (length_penalty != 1.0 or early_stopping != "no"):
        raise BadInput("--length-penalty and --early-stopping belong to beam search; give --beams too")
    if draft_tokens != DRAFTED and not (draft or lookup):
        raise BadInput("--draft-tokens needs somebody who guesses; give --draft or --lookup too")
    decoding = Decoding(
        sampling,
        max_tokens,
        n,
        stop or (),
        stop_id or (),
        top if as_json or logprobs else 0,
        grammar_of(schema, regex, _text_of(grammar) if grammar else None),
        Beams(beams, length_penalty, EARLY[early_stopping]) if beams else None,
        contrast,
        None,
        lookup,
        draft_tokens,
    )
    make = opener(engine)
    offer(model)
    lm = load(model)
    for id_ in stop_id or ():
        if id_ >= lm.config.vocab_size:
            raise BadInput(f"--stop-id {id_} is no token of {model}, which has {lm.config.vocab_size:,}")
    if draft is not None:
        offer(draft)
        decoding = replace(decoding, draft=load(draft))
    text = utf8_of(sys.stdin).read() if prompt == "-" else prompt
    events = answer(lm, text, decoding, make) if chat else completions(lm, text, decoding, make)
    if as_json:
        _print_json(lm, text, events)
        return
    console = Console(highlight=False)
    if console.is_terminal and not chat and n == 1:
        console.print(Text(plain(text, lines=True), "dim"), end="", soft_wrap=True)
    _show(console, lm, events, n, logprobs=logprobs)


def _biases(given: Sequence[str]) -> dict[int, float]:
    found: dict[int, float] = {}
    for each in given:
        token, _, amount = each.partition("=")
        try:
            found[int(token)] = float(amount)
        except ValueError:
            raise BadInput(f"--logit-bias {each} is not ID=AMOUNT; write for example --logit-bias 42=-100") from None
    return found


def _text_of(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read ({error})") from None


def _show(console: Console, lm: LanguageModel, events: Iterator[Step | Completion], n: int, *, logprobs: bool) -> None:
    """Print steps as they come, and what is to be said of each completion after it."""
    from cutaway.cli.logprobs import logprob_table
    from cutaway.infer import Step

    said, done = "", 0

    def say(text: str, style: str = "") -> None:
        if console.is_terminal:
            console.print(Text(plain(text, lines=True), style), end="", soft_wrap=True)
        else:  # to the letter: Rich leaves some control characters out
            print(text, end="", flush=True)

    def begin() -> None:
        if n > 1:
            say(f"--- {done + 1} of {n} ---\n", "dim")

    begin()
    for event in events:
        if isinstance(event, Step):
            say(event.text, "dim" if event.forced else "")
            said += "" if event.forced else event.text
            continue
        # A search tells all at the end, and a text may end inside a character.
        say(event.text[len(said) :])
        console.print()
        if logprobs:
            console.print(logprob_table(event.steps, lm.tokenizer))
        _tell_of(event)
        said, done = "", done + 1
        if done < n:
            begin()


def _tell_of(completion: Completion) -> None:
    """A search's score, or how well guessing ahead went, on standard error."""
    if completion.score is not None:
        line = f"score {completion.score:.4f}"
    elif record := completion.record:
        # The prompt's reading gave the first token.
        passes, right = record.passes + 1, f"{record.accepted} of {record.drafted} guesses right"
        line = f"{record.written} tokens in {passes} passes; {right}"
    else:
        return
    Console(stderr=True, highlight=False).print(Text(line, "dim"))


def _print_json(lm: LanguageModel, prompt: str, events: Iterator[Step | Completion]) -> None:
    from cutaway.infer import Completion

    found = [_as_json(event) for event in events if isinstance(event, Completion)]
    result: dict[str, Any] = {"model": lm.name, "prompt": prompt, **found[0]}
    if len(found) > 1:
        result["completions"] = found
    print(json.dumps(result, ensure_ascii=False))


def _as_json(completion: Completion) -> dict[str, Any]:
    result: dict[str, Any] = {"text": completion.text, "finish": completion.finish}
    if completion.score is not None:
        result["score"] = completion.score
    if completion.record is not None:
        result["speculation"] = cast("dict[str, int]", vars(completion.record))
    result["tokens"] = [
        {
            "id": step.token,
            "text": step.text,
            "probability": math.exp(step.logprob),
            "logprob": step.logprob,
            "forced": step.forced,
            "alternatives": [{"id": token, "probability": p} for token, p in step.alternatives],
        }
        for step in completion.steps
    ]
    return result
