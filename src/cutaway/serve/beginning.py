"""An answer that does not begin empty: one that was broken off and goes on, or in which a token was put by hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, Field

from cutaway.infer.generate import TextStream
from cutaway.infer.reply import CALCULATOR, called_with
from cutaway.serve.limits import MAX_BEGUN
from cutaway.serve.requests import TokenId
from cutaway.serve.speech import Calculating, End, Event, Part, Piece, Prompted, ToolUse
from cutaway.tokens import Tokenizer
from cutaway.tokens.special import ROLES


class BegunToken(BaseModel):
    """A token that an answer begins with."""

    id: TokenId
    forced: bool = False
    """Whether somebody, or a tool, put it there; otherwise the model chose it in an answer before."""


Begun = Annotated[list[BegunToken], Field(max_length=MAX_BEGUN)]


class Beginning:
    """The tokens that an answer begins with; where they end with a call, its result too."""

    def __init__(self, tokenizer: Tokenizer, begun: Sequence[BegunToken]) -> None:
        self.tokenizer = tokenizer
        self.tokens = [token.id for token in begun]
        self.forced = [token.forced for token in begun]
        self.text = TextStream(tokenizer)
        assistant = tokenizer.special.get(ROLES["assistant"])
        turns = [at for at, id_ in enumerate(self.tokens) if id_ == assistant]
        turn = self.tokens[turns[-1] + 1 :] if turns else self.tokens
        self.ended = bool(turn) and turn[-1] in tokenizer.stop_ids
        """Whether the answer ends with them, and nothing is to be written."""
        self.calculating = Calculating(tokenizer, () if self.ended else turn)
        """What runs the calculator in the rest."""
        found = self.calculating(0, turn) if self.ended else None
        if found:
            self.tokens += found.tokens
            self.forced += [True] * len(found.tokens)
            self.ended = False

    def follow(self, event: Event) -> Iterator[Event]:
        """An event of what is written after them, as one of the whole answer; of the prompt, only they are told."""
        if isinstance(event, Prompted):
            yield from self._events(event.pieces)
        elif isinstance(event, Piece) and self.tokens:
            # They may have broken off inside a character.
            yield replace(event, text="" if event.part == "mark" else self.text.add(event.id))
        elif isinstance(event, End) and self.ended:
            yield replace(event, reason="stop")
        else:
            yield event

    def _events(self, prompt: Sequence[Piece]) -> Iterator[Piece | ToolUse]:
        special, turn = self.tokenizer.special, list[int]()
        part: Part = "answer"
        expression: str | None = None
        for piece, forced in zip(prompt[len(prompt) - len(self.tokens) :], self.forced, strict=True):
            turn.append(piece.id)
            belongs: Part = "mark" if piece.id in special.values() else part
            if piece.id == self.tokenizer.tool_call:
                part = "call"
            elif piece.id == special.get(ROLES["tool"]):
                part, turn = "result", []
            elif piece.id in (special.get(ROLES["assistant"]), *self.tokenizer.stop_ids):
                result = self.tokenizer.decode(turn, skip_special=True)
                if part == "result" and expression is not None:
                    yield ToolUse(CALCULATOR, expression, result)
                expression = called_with(self.tokenizer, turn) if part == "call" else None
                part, turn = "answer", []
            text = "" if belongs == "mark" else self.text.add(piece.id)
            yield replace(piece, text=text, forced=forced, part=belongs)
