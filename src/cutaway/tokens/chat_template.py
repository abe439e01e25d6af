"""Chat templates: the Jinja in which a model says how a conversation becomes one text."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from jinja2 import Environment, Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SecurityError

from cutaway.runs.errors import BadInput

LONGEST_TEXT = 10_000_000
"""Characters that a template may write."""
LONGEST_SECONDS = 10.0
MOST_INDENT = 16
"""Spaces a level that JSON may be indented by."""


def render(
    template: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    generate: bool,
    tools: Sequence[Mapping[str, Any]] = (),
    **tokens: str,
) -> tuple[str, list[tuple[int, int]]]:
    """The text of a conversation, and where in it (first character, one after the last) the template marks the
    assistant's words with `{% generation %}`.

    `tools` are those that can be called, as OpenAI's API has them. A template comes with a model and so is data: it
    runs in a sandbox that reaches nothing. Raises `BadInput` if it is no template, or refuses these messages.
    """
    pieces: list[str] = []
    written, deadline = Written(), time.monotonic() + LONGEST_SECONDS
    here = _written.set(written)
    try:
        values = {"messages": list(messages), "add_generation_prompt": generate, "tools": list(tools) or None, **tokens}
        for piece in _compiled(template).generate(values):
            pieces.append(piece)
            written.size += len(piece)
            if written.size > LONGEST_TEXT or time.monotonic() > deadline:
                raise BadInput("the model's chat template makes too much of these messages; it may be hostile")
        return "".join(pieces), written.marked
    except BadInput:
        raise
    except (TemplateError, TypeError, ValueError, KeyError, RecursionError, OverflowError, MemoryError) as error:
        raise BadInput(
            f"the model's chat template does not take these messages ({' '.join(str(error).split())})"
        ) from None
    finally:
        _written.reset(here)


@lru_cache(maxsize=16)
def marks(template: str) -> bool:
    """Whether a template marks the assistant's words. What is no template marks nothing."""
    try:
        tree = _environment().parse(template)
    except (TemplateError, RecursionError):
        return False
    return any(found.identifier == Generation.identifier for found in tree.find_all(nodes.ExtensionAttribute))


@lru_cache(maxsize=16)
def reads(template: str, name: str) -> bool:
    """Whether a template makes anything of a variable. What is no template makes nothing of any."""
    try:
        tree = _environment().parse(template)
    except (TemplateError, RecursionError):
        return False
    return any(found.name == name and found.ctx == "load" for found in tree.find_all(nodes.Name))


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox in which no single operation makes something huge."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers only, and none that grow without bound."""
        if operator == "**" or not all(isinstance(side, int | float) for side in (left, right)):
            raise SecurityError(f"{operator} of these is not allowed in a chat template")
        return super().call_binop(context, operator, left, right)


@dataclass
class Written:
    """How many characters a template has written, and which of them it marked."""

    size: int = 0
    marked: list[tuple[int, int]] = field(default_factory=list)


_written: ContextVar[Written] = ContextVar("written")


class Generation(Extension):
    """`{% generation %}`: with it templates mark, as for `transformers`, what the assistant wrote."""

    tags = {"generation"}  # noqa: RUF012  (jinja2 declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """What stands between the two tags, with a note of how far the text is before and after it."""
        line = next(parser.stream).lineno
        body = nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True))
        opened, closed = (nodes.Output([self.call_method(note.__name__)]) for note in (self.opens, self.closes))
        return [node.set_lineno(line) for node in (opened, body, closed)]

    @staticmethod
    def opens() -> str:
        """Note where it begins: all before it has been taken by now, for a template writes as it is read."""
        written = _written.get()
        written.marked.append((written.size, written.size))
        return ""

    @staticmethod
    def closes() -> str:
        """Note where it ends."""
        written = _written.get()
        written.marked.append((written.marked.pop()[0], written.size))
        return ""


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    return _environment().from_string(template)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    environment = Bounded(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation])
    for name in ("center", "format", "indent", "wordwrap", "pprint"):  # they can make much of little
        environment.filters.pop(name, None)
    environment.filters["tojson"] = _json
    cast("dict[str, object]", environment.globals).update(raise_exception=_refuse, strftime_now=_now)
    return environment


def _json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Jinja's own would write HTML's characters by number.
    if isinstance(indent, int) and indent > MOST_INDENT:
        raise SecurityError(f"JSON indented by {indent} is not allowed in a chat template")
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)


def _refuse(message: str) -> None:
    raise BadInput(f"the model's chat template does not take these messages ({' '.join(message.split())})")
