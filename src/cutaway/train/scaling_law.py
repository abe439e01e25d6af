"""Scaling laws: the loss that a model of N parameters reaches on D tokens, and the best split of operations on the two.

Hoffmann et al. (2022, "Training Compute-Optimal Large Language Models", Chinchilla) took three ways to the best split
of C = 6 N D operations: the lowest of many training curves, models of many sizes at the same C, and a formula for the
loss fitted to all of their runs. Besiroglu et al. (2024, "Chinchilla Scaling: A replication attempt") found the third
to be badly fitted and fitted it anew; it then agrees with the first two.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from cutaway.runs import BadInput

PER_PARAMETER = 6
"""Operations a parameter and token: 2 forward and 4 backward (Kaplan et al. 2020, section 2.1)."""


@dataclass(frozen=True)
class Split:
    """Parameters and tokens."""

    parameters: float
    tokens: float


@dataclass(frozen=True)
class PowerLaw:
    """The best size grows with a power of the operations: N = `parameters` · (C / `flops`)^`exponent`."""

    about: str
    parameters: float
    flops: float
    exponent: float

    def best(self, flops: float) -> Split:
        """The split of `flops` operations that gives the lowest loss."""
        parameters = self.parameters * (flops / self.flops) ** self.exponent
        return Split(parameters, flops / PER_PARAMETER / parameters)

    def tokens_for(self, parameters: float) -> float:
        """The tokens for which a model of that size is the best one."""
        flops = self.flops * (parameters / self.parameters) ** (1 / self.exponent)
        return flops / PER_PARAMETER / parameters


@dataclass(frozen=True)
class LossLaw:
    """L(N, D) = E + A / N^alpha + B / D^beta, in nats a token (Hoffmann et al. 2022, eq. 2).

    E is the entropy of the text itself; the other two are what a model of finite size and finite reading falls short.
    """

    about: str
    E: float
    A: float
    alpha: float
    B: float
    beta: float

    def loss(self, parameters: float, tokens: float) -> float:
        """Nats a token that a model of that size reaches on so many tokens, each read once."""
        return self.E + self.A / parameters**self.alpha + self.B / tokens**self.beta

    def best(self, flops: float) -> Split:
        """The split of `flops` operations that gives the lowest loss (Hoffmann et al. 2022, eq. 4)."""
        # Where the derivative of the loss along 6 N D = C vanishes: alpha A / N^alpha = beta B / D^beta.
        scale = (self.alpha * self.A / (self.beta * self.B)) ** (1 / (self.alpha + self.beta))
        parameters = scale * (flops / PER_PARAMETER) ** (self.beta / (self.alpha + self.beta))
        return Split(parameters, flops / PER_PARAMETER / parameters)

    def tokens_for(self, parameters: float) -> float:
        """The tokens for which a model of that size is the best one."""
        return (self.beta * self.B * parameters**self.alpha / (self.alpha * self.A)) ** (1 / self.beta)


Fit = PowerLaw | LossLaw
"""What tells the best split."""
FITS: dict[str, Fit] = {
    # Exponents of table 2; of the line itself the papers print points, of which the one for 67 billion is taken.
    "hoffmann-1": PowerLaw("Hoffmann 2022, 1: lowest curves", 67e9, 5.76e23, 0.50),  # table 3
    "hoffmann-2": PowerLaw("Hoffmann 2022, 2: equal operations", 67e9, 6.88e23, 0.49),  # table A3
    # Equation 10 rounds the exponents to 0.34 and 0.28; these are in the paper's source, and give its table A3.
    "hoffmann-3": LossLaw("Hoffmann 2022, 3: fitted loss", E=1.6934, A=406.4, alpha=0.3392, B=410.7, beta=0.2849),
    "besiroglu": LossLaw("Besiroglu 2024: fitted anew", E=1.8172, A=482.01, alpha=0.3478, B=2085.43, beta=0.3658),
}
"""Published fits by name."""
USUAL = "besiroglu"
"""The one that is used where none is named."""


def fit_of(name: str) -> Fit:
    """A published fit by its name, or one's own from a JSON file. Raises `BadInput` if it is neither."""
    if name in FITS:
        return FITS[name]
    if not Path(name).is_file():
        raise BadInput(f"there is no fit and no file {name}; fits are {', '.join(FITS)}, or a JSON file of your own")
    return read_law(Path(name))


def read_law(path: Path) -> LossLaw:
    """One's own fit: a JSON object with numbers E, A, alpha, B and beta; what else it holds is left alone.

    Raises:
        BadInput: it is no such file, or the numbers are not positive.
    """
    try:
        held = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the fit {path} cannot be read as JSON: {error}") from None
    if not isinstance(held, dict):
        raise BadInput(f"the fit {path} is no JSON object; it needs the numbers E, A, alpha, B and beta")
    numbers: dict[str, float] = {}
    for key in ("E", "A", "alpha", "B", "beta"):
        value = held.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise BadInput(f"the fit {path} has {key} = {json.dumps(value)}; it must be a number above 0")
        numbers[key] = float(value)
    return LossLaw(path.name, **numbers)
