"""How long work tells a person how far it is, without knowing whether that is a terminal, a web page or nobody."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Task(Protocol):
    """One piece of work whose steps can be counted."""

    def update(self, done: int, **figures: float | str) -> None:
        """Say that `done` units in all are done; `figures` are shown beside (loss, bpb, tok_s, mfu as a share, ...)."""
        ...


class Progress(Protocol):
    """Where a stage reports to."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Begin a stage of a run; leaving the block ends it."""
        ...

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """Begin a piece of work of `total` units (None: not known beforehand); leaving the block ends it."""
        ...

    def say(self, text: str) -> None:
        """One line for a person: a milestone."""
        ...

    def sample(self, step: int, prompt: str, text: str) -> None:
        """What the model in training wrote after `prompt` at `step`. `text` is the model's own: data, never markup."""
        ...


class SilentProgress:
    """A `Progress` that tells nobody."""

    def stage(self, name: str) -> AbstractContextManager[None]:
        """A stage begins and ends unnoticed."""
        return nullcontext()

    def task(self, name: str, total: int | None, unit: str) -> AbstractContextManager[Task]:
        """A task whose updates go nowhere."""
        return _SilentTask()

    def say(self, text: str) -> None:
        """Nothing is said."""

    def sample(self, step: int, prompt: str, text: str) -> None:
        """Nothing is shown."""


class _SilentTask:
    def __enter__(self) -> _SilentTask:
        return self

    def __exit__(self, *exc_info: object) -> None:
        return None

    def update(self, done: int, **figures: float | str) -> None:
        return None
