"""A conversation in the terminal: what is typed, what the model answers, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from rich.console import Console
from rich.text import Text

from cutaway.cli.plain import plain
from cutaway.cli.probabilities import LEGEND, least_sure, style_of
from cutaway.infer import LanguageModel, Sampling, Step, Tools, ToolStep, reply, run_and_stage
from cutaway.runs import BadInput, CutawayError

ALTERNATIVES = 5
"""How many of the likeliest tokens each step of an answer carries, for the view of probabilities."""
SHORTEST_ANSWER = 32
"""Tokens of the context kept free for an answer, at least; older messages go for it."""

COMMANDS = {
    "/reset": "forget the conversation",
    "/system TEXT": "what the model is told before; no TEXT, nothing",
    "/stage NAME": "go on with the run's model of stage pretrain, sft or rl",
    "/probs": "show how sure the model was of each token, or stop showing it",
    "/help": "show this",
    "/quit": "leave (or Ctrl-D)",
}


class Answering(Protocol):
    """What answers: `cutaway.infer.reply`."""

    def __call__(
        self,
        lm: LanguageModel,
        messages: list[dict[str, Any]],
        *,
        sampling: Sampling,
        max_tokens: int,
        tools: Tools,
        top: int,
    ) -> Iterator[Step | ToolStep]:
        """The answer, token by token."""
        ...


class TerminalChat:
    """One conversation with one model at a time."""

    def __init__(
        self,
        lm: LanguageModel,
        console: Console,
        *,
        sampling: Sampling,
        max_tokens: int,
        tools: Tools,
        load: Callable[[str], LanguageModel],
        system: str = "",
        probs: bool = False,
        answering: Answering = reply,
    ) -> None:
        self.lm = lm
        self.console = console
        self.sampling = sampling
        self.max_tokens = max_tokens
        self.tools = tools
        self.load = load
        self.system = system
        self.probs = probs
        self.answering = answering
        self.messages: list[dict[str, Any]] = []

    def with_person(self) -> None:
        """Talk with whoever sits at the terminal until they leave."""
        words = [command.split()[0] for command in COMMANDS]
        prompt: PromptSession[str] = PromptSession(completer=WordCompleter(words, sentence=True))
        self._note(
            f"{self.lm.name}, a context of {self.lm.config.context} tokens. /help lists commands, Ctrl-D leaves."
        )
        if self.probs:
            self.console.print(LEGEND)
        while True:
            try:
                line = prompt.prompt("› ")
            except KeyboardInterrupt:
                self._note("Ctrl-D leaves")
                continue
            except EOFError:
                return
            if not self.hear(line):
                return
            self.console.print()

    def with_lines(self, lines: Iterable[str]) -> None:
        """Answer one line after the other, as from a file or a pipe. What is wrong ends it."""
        for line in lines:
            if not self.hear(line, forgiving=False):
                return

    def hear(self, line: str, *, forgiving: bool = True) -> bool:
        """Do what a line asks; False when it asks to leave. If `forgiving`, errors are shown and the talk goes on."""
        line = line.strip()
        if not line:
            return True
        try:
            if line.startswith("/"):
                return self._obey(*line.split(maxsplit=1))
            self._answer(line)
        except CutawayError as error:
            if not forgiving:
                raise
            self.console.print(Text(plain(str(error)), "red"))
        return True

    def _obey(self, command: str, rest: str = "") -> bool:
        match command:
            case "/quit" | "/exit":
                return False
            case "/reset":
                self.messages = []
                self._note("the conversation is forgotten")
            case "/system":
                self.system = rest
                self._note(
                    "the model is told this before the conversation" if rest else "the model is told nothing before"
                )
            case "/stage":
                self._change_stage(rest.strip())
            case "/probs":
                self.probs = not self.probs
                self.console.print(LEGEND if self.probs else Text("probabilities are not shown", "dim"))
            case "/help":
                for usage, meaning in COMMANDS.items():
                    self.console.print(Text.assemble((f"  {usage:<14}", "bold"), meaning))
            case _:
                raise BadInput(f"there is no command {command}; /help lists them")
        return True

    def _change_stage(self, stage: str) -> None:
        if not stage:
            raise BadInput("/stage needs a name: /stage pretrain, /stage sft or /stage rl")
        run, _ = run_and_stage(self.lm.name)
        self.lm = self.load(f"{run}:{stage}")
        self._note(f"{self.lm.name} goes on with the conversation (/reset forgets it)")

    def _answer(self, question: str) -> None:
        """Ask, show the answer as it comes, and keep both; Ctrl-C keeps what has come."""
        messages = self._fitting([*self.messages, {"role": "user", "content": question}])
        answer, steps = "", list[Step]()
        in_call = False
        at_line_start = True
        try:
            for step in self.answering(
                self.lm,
                self._told(messages),
                sampling=self.sampling,
                max_tokens=self.max_tokens,
                tools=self.tools,
                top=ALTERNATIVES,
            ):
                if isinstance(step, ToolStep):
                    self._show(f" = {step.result}\n", "dim")
                    messages += _call(step, len(messages))
                    answer, in_call, at_line_start = "", False, True
                    continue
                if step.forced:
                    continue  # the tool's result, shown already
                steps.append(step)
                if step.token == self.lm.tokenizer.tool_call:
                    in_call = True
                    self._show("calculator: ", "dim")
                if step.text:
                    style = style_of(step) if self.probs else "dim" if in_call else ""
                    self._show(step.text, style)
                    at_line_start = False
                    answer += "" if in_call else step.text
        except KeyboardInterrupt:
            self._show(" (stopped)", "dim")
            at_line_start = False
        if not at_line_start or not answer:
            self.console.print()
        self.messages = [*messages, {"role": "assistant", "content": answer}]
        if self.probs and steps:
            self.console.print(least_sure(steps, self.lm.tokenizer))

    def _fitting(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """`messages` without their oldest questions and answers, as far as an answer needs the room."""
        most = self.lm.config.context - SHORTEST_ANSWER
        kept = list(messages)
        while len(self.lm.tokenizer.encode_chat(self._told(kept))) > most:
            later = [i for i, message in enumerate(kept) if message["role"] == "user" and i > 0]
            if not later:
                break  # a single question that is too long: the model says so itself
            kept = kept[later[0] :]
        if len(kept) < len(messages):
            self._note("the beginning of the conversation no longer fits into the context and is forgotten")
        return kept

    def _told(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{"role": "system", "content": self.system}, *messages] if self.system else messages

    def _show(self, text: str, style: str) -> None:
        # Text, not markup, and no control codes: it is the model's own.
        shown = plain(text, lines=True) if self.console.is_terminal else text
        self.console.print(Text(shown, style), end="", soft_wrap=True)

    def _note(self, text: str) -> None:
        if self.console.is_terminal:
            self.console.print(Text(text, "dim"))


def _call(step: ToolStep, number: int) -> list[dict[str, Any]]:
    """The two messages that a tool's use is, in OpenAI's form."""
    id_ = f"call_{number}"
    function = {"name": step.name, "arguments": json.dumps({"expression": step.arguments})}
    return [
        {"role": "assistant", "content": "", "tool_calls": [{"id": id_, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": id_, "content": step.result},
    ]
