"""Chat templates: the Jinja in which a model says how a conversation becomes one text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast

from jinja2 import Template, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from cutaway.runs.errors import BadInput


def render(template: str, messages: Sequence[Mapping[str, Any]], *, generate: bool, **tokens: str) -> str:
    """The text of a conversation, with the assistant's opening after it where `generate` is set.

    A template comes with a model and so is data: it runs in a sandbox that reaches nothing. Raises `BadInput` if it is
    no template, or refuses these messages.
    """
    try:
        return _compiled(template).render(messages=list(messages), add_generation_prompt=generate, tools=None, **tokens)
    except BadInput:
        raise
    except (TemplateError, TypeError, ValueError, KeyError, RecursionError, OverflowError) as error:
        raise BadInput(
            f"the model's chat template does not take these messages ({' '.join(str(error).split())})"
        ) from None


@lru_cache(maxsize=16)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    cast("dict[str, object]", environment.globals).update(raise_exception=_refuse, strftime_now=_now)
    return environment.from_string(template)


def _json(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def _now(form: str) -> str:
    return datetime.now(UTC).strftime(form)


def _refuse(message: str) -> None:
    raise BadInput(f"the model's chat template does not take these messages ({' '.join(message.split())})")
