"""What one completion says to its asker: tokens with their text, whole characters only, and stop strings cut off."""

from __future__ import annotations

from collections.abc import Callable

from cutaway.infer.generate import Alternatives, Step, TextStream
from cutaway.infer.request import Event, Interjection, Noted, PromptRead, Request, Written
from cutaway.infer.stopping import StopStrings
from cutaway.tokens import Tokenizer


class Teller:
    """Makes events of a completion's tokens, in order."""

    def __init__(self, request: Request, index: int, tokenizer: Tokenizer, tell: Callable[[Event], None]) -> None:
        self.tokenizer, self.index, self.tell = tokenizer, index, tell
        self.prompt_length = len(request.prompt)
        self.prompt: list[Step] = []
        self.text = TextStream(tokenizer)
        self.stops = StopStrings(request.stops)
        if request.prompt_steps and index == 0:
            self.text.add(request.prompt[0])
            if self.prompt_length == 1:
                self.prompt_is_read()

    @property
    def stopped(self) -> bool:
        """Whether a stop string has come."""
        return self.stops.found

    def prompt_token(self, token: int, logprob: float, alternatives: Alternatives) -> None:
        """The next of the prompt's own tokens, beginning with its second."""
        self.prompt.append(Step(token, self.text.add(token), logprob, alternatives))
        if len(self.prompt) == self.prompt_length - 1:
            self.prompt_is_read()

    def prompt_is_read(self) -> None:
        """All of the prompt's own tokens have come; what follows is the model's."""
        self.tell(PromptRead(self.prompt))
        self.text = TextStream(self.tokenizer)

    def written(self, token: int, logprob: float, alternatives: Alternatives) -> None:
        """A token that the model wrote."""
        step = Step(token, self.text.add(token), logprob, alternatives)
        self._pass_on(self.stops.feed(step) if self.stops.stops else [step])

    def interrupted(self, interjection: Interjection) -> None:
        """The model's turn is over; what is put before it follows."""
        self._pass_on(self.stops.flush())
        self.text = TextStream(self.tokenizer)
        if interjection.note is not None:
            self.tell(Noted(self.index, interjection.note))

    def forced(self, token: int, logprob: float, alternatives: Alternatives) -> None:
        """A token that was put before the model."""
        self.tell(Written(self.index, Step(token, self.text.add(token), logprob, alternatives, forced=True)))

    def finish(self) -> str:
        """Tell what was held back, and give the text of bytes that do not make a character."""
        self._pass_on(self.stops.flush())
        return "" if self.stopped else self.text.finish()

    def _pass_on(self, steps: list[Step]) -> None:
        for step in steps:
            self.tell(Written(self.index, step))
