"""Reading calls of tools while they are written: who is called as soon as that is sure, the arguments as they come."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from cutaway.serve.calls import CALCULATOR, Arguments, Call, Form, read_calls
from cutaway.tokens.special import TOOL_CALL

# As nearly every call is written: the name, and then an object of arguments or none.
JSON_CALL = re.compile(r'\s*\{\s*"name"\s*:\s*"([\w-]+)"\s*(?:(\})|,\s*"(?:arguments|parameters)"\s*:\s*(?=\{))')
NAMED_CALL = re.compile(r"\s*([\w-]+)\s*(?:\[CALL_ID\][\w-]*\s*)?\[ARGS\]\s*(?=\{)")
LIST = re.compile(r"\s*\[")
BETWEEN = re.compile(r"[\s,;]*")
FIRST_KEY = re.compile(r'\[?\s*\{\s*"((?:[^"\\]|\\.)*)"')
KEYS = frozenset(("name", "arguments", "parameters", "type", "function", "id"))
"""What an object that is a call may begin with."""

Told = tuple[list[Call | Arguments], int]
"""What can be told now, and how many characters are done with."""


@dataclass
class Brackets:
    """How deep a piece of JSON has come."""

    depth: int = 0
    quoted: bool = False
    escaped: bool = False

    def close(self, text: str) -> int:
        """Go on through `text` until everything is closed; gives how many characters that took."""
        for at, character in enumerate(text):
            if self.escaped:
                self.escaped = False
            elif self.quoted:
                self.escaped, self.quoted = character == "\\", character != '"'
            elif character == '"':
                self.quoted = True
            elif character in "{[":
                self.depth += 1
            elif character in "}]":
                self.depth -= 1
                if self.depth == 0:
                    return at + 1
        return len(text)


class CallReader:
    """Reads what follows one mark.

    A call is told of once its name and the beginning of its arguments are there, and not taken back: should the rest be
    no JSON, that is for the caller to find, as with OpenAI. One that is written in another order is told of when it is
    complete. What is no call of a tool that was offered is left where it is.

    Attributes:
        over: whether nothing that follows belongs to these calls.
        begun: calls that were told of.
    """

    def __init__(self, form: Form, mark: str, tools: Collection[str], *, one: bool, first: int) -> None:
        """Read what follows `mark`: calls of `tools`, only `one` or as many as there are, numbered from `first` on."""
        self.mark, self.tools, self.one, self.first = mark, tools, one, first
        self.end = form.opens.get(mark)
        self.over = False
        self.begun = 0
        self._state: Literal["between", "arguments", "rest", "closed", "expression"] = "between"
        if mark == TOOL_CALL:
            self._state = "expression"
        self._listed = False
        """Whether the calls stand in a list."""
        self._named = False
        """Whether they are written as a name and arguments, rather than as one object."""
        self._said = False
        """Whether anything of an expression was told."""
        self._brackets = Brackets()

    def read(self, text: str, *, last: bool) -> Told:
        """Go on with `text`, all that is not done with; nothing will follow it where it is the `last`."""
        steps = {
            "between": self._between,
            "arguments": self._arguments,
            "rest": self._rest,
            "closed": self._closed,
            "expression": self._expression,
        }
        told: list[Call | Arguments] = []
        at = 0
        while not self.over:
            state = self._state
            new, taken = steps[state](text[at:], last)
            told += new
            at += taken
            if self._state == state:  # it waits for more
                break
        return told, at

    def _between(self, text: str, last: bool) -> Told:
        """Look for the next call, or the first one, or the end."""
        if self._listed and text.lstrip().startswith("]"):
            self._listed = False
            over = text.index("]") + 1
            told, taken = self._between(text[over:], last)
            return told, over + taken
        end = text.find(self.end) if self.end else -1
        if self.end and self.begun and end >= 0 and not text[:end].strip():
            self.over = True
            return [], end + len(self.end)
        opening = (BETWEEN if self.begun else LIST).match(text)
        at = opening.end() if opening else 0
        named = NAMED_CALL.match(text, at) if self.mark == "[TOOL_CALLS]" else None
        if (found := JSON_CALL.match(text, at) or named) and found[1] in self.tools:
            self._listed = self._listed or (not self.begun and opening is not None)
            self._named = named is not None
            return self._begin(found)
        if found or not self._hopeful(text[at:].lstrip()):
            self.over = True
        elif end >= 0:
            return self._at_once(text[at if self.begun else 0 : end], end + len(self.end or ""))
        elif last:
            return self._at_once(text[at if self.begun else 0 :], len(text))
        return [], 0

    def _hopeful(self, text: str) -> bool:
        """Whether what begins so may become a call, or the end of them."""
        if not text or (self.end and self.end.startswith(text[: len(self.end)])):
            return True
        if self.mark == "[TOOL_CALLS]" and not self.begun and text[0] not in "{[":
            return True
        key = FIRST_KEY.match(text)
        return text[0] in "{[" and (key is None or key[1] in KEYS)

    def _begin(self, found: re.Match[str]) -> Told:
        """Tell of a call."""
        call = self._call(found[1])
        self._brackets = Brackets()
        if not self._named and found[2]:
            self._state = "closed"
            return [call, Arguments("{}", call.index)], found.end()
        self._state = "arguments"
        return [call], found.end()

    def _arguments(self, text: str, last: bool) -> Told:
        taken = self._brackets.close(text)
        if taken and self._brackets.depth == 0:
            self._state = "closed" if self._named else "rest"
            self._brackets = Brackets(depth=1)
        else:
            self.over = last
        return ([Arguments(text[:taken], self.first + self.begun - 1)] if taken else []), taken

    def _rest(self, text: str, last: bool) -> Told:
        """Pass over what else the call's object holds."""
        taken = self._brackets.close(text)
        if taken and self._brackets.depth == 0:
            self._state = "closed"
        else:
            self.over = last
        return [], taken

    def _closed(self, _: str, __: bool) -> Told:
        # Of calls that begin with their names each has a mark of its own.
        self.over = self.one or self._named
        self._state = "between"
        return [], 0

    def _at_once(self, text: str, whole: int) -> Told:
        """Read all that is left, of which `whole` characters are then done with."""
        text = text.strip()
        calls = read_calls(text.removesuffix("]") if self._listed else text, self.tools)
        self.over = True
        told: list[Call | Arguments] = []
        for name, arguments in calls[:1] if self.one else calls:
            call = self._call(name)
            told += [call, Arguments(arguments, call.index)]
        return told, whole if calls else 0

    def _expression(self, text: str, last: bool) -> Told:
        """What the calculator is to work out, to the end of the answer."""
        if CALCULATOR not in self.tools:
            self.over = True
            return [], 0
        told: list[Call | Arguments] = []
        if not self.begun:
            told = [self._call(CALCULATOR), Arguments('{"expression": "', self.first)]
        kept = text.rstrip()  # white space may turn out to stand at the end
        said = kept if self._said else kept.lstrip()
        if said:
            self._said = True
            told.append(Arguments(json.dumps(said, ensure_ascii=False)[1:-1], self.first))
        if last:
            self.over = True
            told.append(Arguments('"}', self.first))
        return told, len(text) if last else len(kept)

    def _call(self, name: str) -> Call:
        call = Call(name, self.first + self.begun)
        self.begun += 1
        return call
