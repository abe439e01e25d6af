"""An answer, as it comes, divided into reasoning, text, and calls of tools."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from cutaway.infer.stopping import begun
from cutaway.serve.call_reader import CallReader
from cutaway.serve.calls import Arguments, Call, Form
from cutaway.serve.speech import Piece

THINK, THOUGHT = "<think>", "</think>"
Kind = Literal["content", "reasoning"]


@dataclass(frozen=True)
class Said:
    """Text of the answer, or of the reasoning before it."""

    kind: Kind
    text: str
    pieces: tuple[Piece, ...]
    """The tokens that begin in it."""


@dataclass
class Held:
    """A token, and what is left of its text."""

    piece: Piece
    left: str
    begun: bool = False


class Parts:
    """Lets text through as soon as it is known what it belongs to.

    Marks are left out, and so is the white space after them; what is no call of a tool that was offered is text. With
    `one`, what follows the first call is dropped, and `over` says so.
    """

    def __init__(
        self,
        form: Form | None = None,
        tools: Collection[str] = (),
        *,
        reasons: bool = False,
        thinking: bool = False,
        one: bool = False,
        spelled: Mapping[int, str] | None = None,
    ) -> None:
        """Begin an answer.

        Args:
            form: how calls are written; None where no tool was offered.
            tools: names of the tools that were offered.
            reasons: whether the model writes its reasoning between <think> and </think>.
            thinking: whether the prompt has opened it already.
            one: whether more than one call is unwanted.
            spelled: the marks that are tokens of their own, whose text is otherwise empty.
        """
        self.form, self.tools, self.one = form, tools, one
        self.reasons, self.spelled = reasons, spelled or {}
        self.over = False
        self._state: Literal["start", "reasoning", "content", "call"] = "reasoning" if thinking else "start"
        self._mark = ""
        self._marked: tuple[Piece, ...] = ()
        """The tokens of the mark."""
        self._reader: CallReader | None = None
        self._calls = 0
        """Calls that were told of."""
        self._held: list[Held] = []
        self._trim = thinking
        """Whether white space that comes next is left out."""

    def feed(self, piece: Piece) -> Iterator[Said | Call | Arguments]:
        """What is known now that one more token is there."""
        if not self.over:
            self._held.append(Held(piece, self.spelled.get(piece.id, piece.text)))
            yield from self._advance(last=False)

    def finish(self) -> Iterator[Said | Call | Arguments]:
        """What is still held; the answer is over."""
        if not self.over:
            yield from self._advance(last=True)

    def _advance(self, *, last: bool) -> Iterator[Said | Call | Arguments]:
        state = None
        while state != self._state and not self.over:
            state = self._state
            if state == "start":
                self._start(last=last)
            elif state == "reasoning":
                yield from self._until((THOUGHT,), "reasoning", last=last)
            elif state == "content":
                yield from self._until(self.form.opens if self.form else (), "content", last=last)
            else:
                yield from self._call(last=last)

    def _start(self, *, last: bool) -> None:
        """Look how the answer begins, past white space."""
        text = self._text().lstrip()
        if self.reasons and text.startswith(THINK):
            self._drop(self._text().index(THINK) + len(THINK))
            self._state, self._trim = "reasoning", True
        elif self.form and self.form.whole and text.startswith("{"):
            self._state = "call"
        elif last or not self._may_open(text):
            self._state = "content"

    def _may_open(self, text: str) -> bool:
        """Whether an answer that begins so may still turn out to open with reasoning, or to be calls as a whole."""
        return (self.reasons and THINK.startswith(text)) or (not text and self.form is not None and self.form.whole)

    def _until(self, marks: Collection[str], kind: Kind, *, last: bool) -> Iterator[Said]:
        """Let text through up to a mark, and not the beginning of what may become one."""
        text = self._text()
        at, mark = min(((at, mark) for mark in marks if (at := text.find(mark)) >= 0), default=(-1, ""))
        end = at if mark else len(text) if last else len(text) - begun(text, marks)
        said = text[:end]
        if kind == "reasoning":
            # White space at its end may turn out to stand before the mark.
            said = said.rstrip()
            end = end if mark or last else len(said)
        if self._trim:
            said = said.lstrip()
        pieces = self._drop(end)
        if said or pieces:
            self._trim = self._trim and not said
            yield Said(kind, said, pieces)
        if mark:
            self._marked = self._drop(len(mark))
            self._state, self._mark, self._trim = ("content" if kind == "reasoning" else "call"), mark, True

    def _call(self, *, last: bool) -> Iterator[Said | Call | Arguments]:
        """Read calls as they come."""
        assert self.form is not None
        if self._reader is None:
            self._reader = CallReader(self.form, self._mark, self.tools, one=self.one, first=self._calls)
        told, taken = self._reader.read(self._text(), last=last)
        self._drop(taken)
        yield from told
        if not self._reader.over:
            return
        if self._reader.begun:
            self._calls += self._reader.begun
            self.over = self.one and not last
        elif self._mark:  # it is what it looks like: text
            yield Said("content", self._mark, self._marked)
        self._trim = bool(self._reader.begun)
        self._state, self._mark, self._reader = "content", "", None

    def _text(self) -> str:
        return "".join(held.left for held in self._held)

    def _drop(self, characters: int) -> tuple[Piece, ...]:
        """Take so many characters from what is held, with all tokens that end in them; gives those that begin there."""
        begun: list[Piece] = []
        while self._held:
            held = self._held[0]
            if not held.begun and (characters or not held.left):
                begun.append(held.piece)
                held.begun = True
            if len(held.left) > characters:
                held.left = held.left[characters:]
                break
            characters -= len(held.left)
            self._held.pop(0)
        return tuple(begun)
