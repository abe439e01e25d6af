"""Which runs a scaling law is fitted to, and which larger one it is to foretell; the settings of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cutaway.runs import BadInput, Settings
from cutaway.train.pretrain import PretrainSettings
from cutaway.train.rows import Rows
from cutaway.train.scaling_fit import Run, check


class Size(Settings):
    """The shape of a model."""

    depth: int = Field(ge=1, le=64)
    """Blocks; learning rates and batch follow from it."""
    width: int = Field(ge=32)
    """Width of the residual stream."""
    heads: int = Field(default=0, ge=0)
    """Query heads; 0 for an even number of about 32 dimensions each."""

    @model_validator(mode="after")
    def fits(self) -> Self:
        """Heads need two dimensions at least, since positions turn pairs."""
        if self.heads and self.width // self.heads < 2:
            raise ValueError(f"width {self.width} is too little for {self.heads} heads: each needs 2 or more")
        return self

    @property
    def name(self) -> str:
        """Blocks and width: 4x128."""
        return f"{self.depth}x{self.width}"


class HeldOutRun(Size):
    """A run that is larger than all of the ladder, foretold before it is done."""

    tokens: int = Field(ge=1)
    """Tokens to train it on."""
    compile: bool | None = None
    """torch.compile; left out: if it is long enough for that to pay for itself."""


class LadderSettings(Settings):
    """The runs that the law is fitted to: each size for each number of tokens. The held-out run is trained alike."""

    BOOKKEEPING: ClassVar[frozenset[str]] = frozenset(("checkpoint_seconds",))
    """Settings that another training of the same models may differ in."""

    sizes: tuple[Size, ...]
    """At least three."""
    tokens: tuple[int, ...]
    """At least three numbers of tokens."""
    decay: float = Field(default=0.3, gt=0, lt=1)
    """Share of each run's steps in which the learning rate falls."""
    warmup_tokens: int = Field(default=20_000, ge=0)
    """Tokens over which it rises."""
    row_length: int = Field(default=256, ge=16)
    """Tokens a row."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products."""
    compile: bool = False
    """torch.compile; of models this small, each size takes longer to compile than it then saves."""
    checkpoint_seconds: float = Field(default=60.0, gt=0)
    """Seconds between checkpoints."""

    @model_validator(mode="after")
    def can_be_fitted(self) -> Self:
        """A law needs enough runs that differ, and each run a level stretch between warm-up and fall."""
        names, lengths = {size.name for size in self.sizes}, set(self.tokens)
        if len(names) < len(self.sizes) or len(lengths) < len(self.tokens) or min(lengths, default=1) < 1:
            raise ValueError("each of its sizes and tokens must be there once, and tokens be numbers above 0")
        try:
            check([Run(size + 1, tokens, 1.0) for size in range(len(self.sizes)) for tokens in self.tokens])
        except BadInput as error:
            raise ValueError(str(error)) from None
        for size in self.sizes:
            shortest = settings_of(size, min(self.tokens), self)
            if level_steps(shortest) < max(1, round(shortest.warmup * shortest.steps)):
                raise ValueError(
                    f"{min(self.tokens):,} tokens are {shortest.steps} steps of {size.name}: too few for a rise over "
                    f"{self.warmup_tokens:,} tokens and a fall over {self.decay:.0%}; give more, or lower warmup_tokens"
                )
        return self


def settings_of(size: Size, tokens: int, ladder: LadderSettings) -> PretrainSettings:
    """The settings of one run: what the depth dial gives for the size, and the ladder's schedule."""
    given: dict[str, Any] = {
        "depth": size.depth,
        "width": size.width,
        "heads": size.heads or 2 * max(1, round(size.width / 64)),
        "tokens": tokens,
        "row_length": ladder.row_length,
        "context": max(512, ladder.row_length),
        "schedule": "stable",
        "decay": ladder.decay,
        "precision": ladder.precision,
        "compile": size.compile if isinstance(size, HeldOutRun) else ladder.compile,
        "checkpoint_seconds": ladder.checkpoint_seconds,
    }
    settings = PretrainSettings.model_validate(given)
    warmup = max(1, ladder.warmup_tokens // tokens_a_step(settings))
    return settings.model_copy(update={"warmup": warmup / settings.steps})


def tokens_a_step(settings: PretrainSettings) -> int:
    """Tokens of a step."""
    return settings.batch_rows * settings.row_length


def level_steps(settings: PretrainSettings) -> int:
    """Steps until the learning rate begins to fall."""
    return settings.steps - max(1, round(settings.decay * settings.steps))


def trunk_of(settings: PretrainSettings) -> PretrainSettings:
    """The settings of a run's level part alone, which longer runs of the size begin with too."""
    steps = level_steps(settings)
    warmup = settings.warmup * settings.steps / steps
    return settings.model_copy(update={"tokens": steps * tokens_a_step(settings), "decay": 0.0, "warmup": warmup})


def check_text(runs: Mapping[str, PretrainSettings], rows: Rows) -> None:
    """Raise `BadInput` if one of the runs, by the names that the recipe has for them, would read text a second time."""
    for name, settings in runs.items():
        if settings.steps * settings.batch_rows > len(rows):
            raise BadInput(
                f"{name} asks for {settings.tokens:,} tokens, but the text has {rows.tokens[:, 1:].size:,} to be read "
                "once; lower it, or give more text with --text"
            )
