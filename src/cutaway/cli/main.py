"""The command `cutaway`: its verbs together, and how it ends."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.text import Text

from cutaway import __version__
from cutaway.cli import (
    anatomy,
    chat,
    corpus,
    demo,
    evaluate,
    export,
    finetune,
    generate,
    grpo,
    ladder,
    models,
    plan,
    pretrain,
    run,
    serve,
    sft,
    tokenizer,
)
from cutaway.cli.help import with_example
from cutaway.runs import CutawayError, Terminated

STOPPED = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""
TERMINATED = 143
"""And of one that SIGTERM did."""

app = typer.Typer(
    name="cutaway",
    help=with_example(
        "cutaway demo",
        """Train, align, serve and take apart your own language models, from raw text to assistant, on one machine.""",
    ),
    no_args_is_help=False,
    invoke_without_command=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
for verb in (demo, run, pretrain, sft, grpo, finetune, ladder, chat, generate, serve, evaluate, export, anatomy, plan):
    verb.add_to(app)
app.add_typer(models.app)
app.add_typer(corpus.app)
app.add_typer(tokenizer.app)


@app.callback()
def top(context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Say which version.")] = False):
    """What happens before any verb."""
    if version:
        print(__version__)
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without a letter the model writes is no reason to stop
    sys.exit(run_command(sys.argv[1:]))


def run_command(arguments: Sequence[str]) -> int:
    """Carry out one command line; give its exit code. What goes wrong is told in one line on standard error."""
    try:
        code = app(list(arguments), prog_name="cutaway", standalone_mode=False)
    except (CutawayError, typer.TyperException) as error:
        _traceback_if_wanted()
        _tell(_in_one_line(error))
        return error.exit_code
    except Terminated:
        code = TERMINATED
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except OSError as error:
        _traceback_if_wanted()
        where = f"{error.filename2 or error.filename} cannot be used" if error.filename else type(error).__name__
        _tell(f"{where} ({error.strerror or error}); set CUTAWAY_TRACEBACK=1 to see where")
        return 1
    except Exception as error:
        _traceback_if_wanted()
        _tell(f"{type(error).__name__}: {error} (set CUTAWAY_TRACEBACK=1 to see where)")
        return 1
    if code in (STOPPED, TERMINATED):
        print("stopped; the same command carries on", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _in_one_line(error: CutawayError | typer.TyperException) -> str:
    if isinstance(error, CutawayError):
        return str(error)
    # A wrong use of the command line; what it was a wrong use of is known to the library's context alone.
    command = getattr(getattr(error, "ctx", None), "command_path", "cutaway")
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _tell(message: str) -> None:
    # Text, not markup: messages quote file names and other people's words.
    line = Text.assemble(("error: ", "bold red"), (" ".join(message.split()), "red"))
    Console(stderr=True, highlight=False).print(line, soft_wrap=True)


def _traceback_if_wanted() -> None:
    if os.environ.get("CUTAWAY_TRACEBACK"):
        traceback.print_exc()
