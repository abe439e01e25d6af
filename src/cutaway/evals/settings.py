"""How much a model is asked."""

from __future__ import annotations

from pydantic import Field

from cutaway.runs.recipe import Settings


class EvalSettings(Settings):
    """How many questions of each kind, all of them on what no stage was trained on; 0 leaves a kind out.

    The defaults take some twenty seconds with a model of a few million parameters on two cores.
    """

    facts: int = Field(default=500, ge=0)
    """Facts of the world, in wordings kept from training."""
    unknown: int = Field(default=200, ge=0)
    """People who do not exist, of each kind: fresh names, and known names recombined."""
    sums: int = Field(default=300, ge=0)
    """Sums and differences up to 99, in steps."""
    direct: int = Field(default=100, ge=0)
    """The same, answered at once."""
    three_operands: int = Field(default=200, ge=0)
    """Three numbers, in steps."""
    products: int = Field(default=200, ge=0)
    """Two digits by one, in steps."""
    calculator: int = Field(default=100, ge=0)
    """Products of two numbers of four digits, with the calculator."""
    without_calculator: int = Field(default=50, ge=0)
    """The same, without it."""
    counting: int = Field(default=150, ge=0)
    """Letters to count in a word."""
    spelling: int = Field(default=150, ge=0)
    """Words to spell."""
    passage: int = Field(default=150, ge=0)
    """Questions on a given passage."""
    rewordings: int = Field(default=5, ge=0)
    """Rewordings of "Who are you?", asked beside the question itself."""
    context: int = Field(default=256, ge=2)
    """Tokens the model sees at once when bits per byte are measured: as long as its rows in training."""
    stride: int = Field(default=192, ge=1)
    """How far that window moves at a time: every token but a document's first has context - stride tokens before it."""
