"""Fitting a scaling law to one's own runs, and how sure it then is of a run that nobody has done yet.

The law is L(N, D) = E + A / N^alpha + B / D^beta (`LossLaw`), fitted as Hoffmann et al. (2022, appendix D.2) fitted
theirs: the least sum of Huber losses between the logarithms of foretold and measured losses, from a grid of starts.
What differs follows from having two dozen runs instead of four hundred:

- *The descent* is Levenberg's and Marquardt's, for all starts and samples at once, rather than L-BFGS: there are five
  numbers, whose derivatives stand in closed form. Sizes and tokens are measured from their geometric means, where A and
  alpha, and B and beta, are least entangled.
- *Huber's threshold* is 1%, not 0.1%: short runs scatter by nearly that, and a threshold below their scatter
  would fit medians, which waste much of what few runs tell (Huber 1964).
- *The exponents* are kept between 0.05 and 1.5. Over a tenfold range of sizes, E with a large alpha and no E with a
  small one run through nearly the same points; what the runs do not tell is not made up. `Fitted.loose` names it.
- *How sure*: by a bootstrap of residuals (Efron 1979). Those of a size stay together, with one sign: its runs share
  the beginning of their training, so their errors are not independent. They are first made as large as the errors
  outside of the fit (`corrected`).

An interval holds if the law does. Whether it goes on beyond the runs it was fitted to is what a held-out run tests.

N counts all parameters, tied embeddings once, as Hoffmann et al. do and `cutaway plan` does. Kaplan et al. (2020) leave
embeddings out; in models this small, of which embeddings are up to a third, that bends the curve (Porian et al. 2024,
section 3.1; Pearce and Song 2024). D counts tokens seen, each once.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.runs import BadInput
from cutaway.train.scaling_law import LossLaw

Array = NDArray[np.floating[Any]]

NUMBERS = ("E", "A", "alpha", "B", "beta")
DELTA = 0.01
"""Huber's threshold, in the logarithm of the loss."""
LEAST, MOST = 0.05, 1.5
"""Between which the exponents are looked for."""
FEWEST_RUNS = len(NUMBERS) + 1
FEWEST_VALUES = 3
"""Sizes, and lengths: of two, E and an exponent cannot be told apart."""
SAMPLES = 400
"""Of the bootstrap."""
LOOSE = 2.0
"""Between the ends of its interval a number that the runs determine differs by less than this factor."""
SHARE = 0.95
"""Of an interval."""
MOST_STEPS = 200
LEAST_SHARE = 0.2
"""No residual is enlarged more than fivefold: of few sizes the fit leaves next to nothing to be enlarged."""
LONGEST_STEP = 2.0
LEAST_LOG = 12.0
"""A term is taken to be no smaller than exp(-12) of the loss: it is then nothing, and has no derivative to follow."""


@dataclass(frozen=True)
class Run:
    """A finished training: parameters, tokens, and the loss in nats a token on text that was held out."""

    parameters: float
    tokens: float
    loss: float


@dataclass(frozen=True)
class Fitted:
    """A law, and the laws of bootstrap samples: what else it could have been.

    `residuals` `[run]` are the logarithms of measured over fitted losses, made as large as those of a new run.
    """

    law: LossLaw
    others: tuple[LossLaw, ...]
    residuals: Array

    def band(self, parameters: float, tokens: float) -> tuple[float, float]:
        """Between which losses the law itself lies."""
        return quantiles(self._losses(parameters, tokens))

    def interval(self, parameters: float, tokens: float) -> tuple[float, float]:
        """Between which losses a single new run lies: the law's uncertainty and the scatter of a run about it."""
        scatter = np.exp(np.concatenate([self.residuals, -self.residuals]))
        return quantiles(np.outer(self._losses(parameters, tokens), scatter).ravel())

    def numbers(self) -> dict[str, tuple[float, float]]:
        """The interval of each number of the law."""
        return {name: quantiles(np.array([getattr(law, name) for law in self.others])) for name in NUMBERS}

    @property
    def spread(self) -> float:
        """Standard deviation of a run about the law, as a share of its loss."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def loose(self) -> tuple[str, ...]:
        """Which of E, alpha and beta the runs hardly determine. Losses are foretold all the same, more surely."""
        intervals = self.numbers()
        return tuple(name for name in ("E", "alpha", "beta") if intervals[name][1] > LOOSE * intervals[name][0])

    def _losses(self, parameters: float, tokens: float) -> Array:
        return np.array([law.loss(parameters, tokens) for law in self.others])


def fit(runs: Sequence[Run], *, seed: int = 0, samples: int = SAMPLES) -> Fitted:
    """The law that is nearest to the runs, and how sure it is. The same runs and seed give the same.

    Raises:
        BadInput: there are too few runs, sizes or lengths to determine a law, or a loss is no number above 0.
    """
    check(runs)
    sizes, tokens, losses = (np.log([getattr(run, key) for run in runs]) for key in ("parameters", "tokens", "loss"))
    terms = Terms(sizes, tokens)
    first = terms.starts(losses)
    found, values = solve(terms, np.broadcast_to(losses, (len(first), len(runs))), first)
    best = found[values.argmin()]
    fitted = terms.log_losses(best[None])[0]
    groups = by_size(sizes, tokens)
    errors = corrected(losses - fitted, terms.jacobian(best[None])[0], groups)
    drawn = fitted + resampled(errors, groups, samples, np.random.default_rng([seed, len(runs)]))
    others, _ = solve(terms, drawn, np.broadcast_to(best, (samples, len(NUMBERS))))
    # Of the scatter of single runs, five numbers' worth is in the fit.
    residuals = (losses - fitted) * math.sqrt(len(runs) / (len(runs) - len(NUMBERS)))
    return Fitted(terms.law(best), tuple(terms.law(numbers) for numbers in others), residuals)


def check(runs: Sequence[Run]) -> None:
    """Raise `BadInput` if no law can be fitted to the runs."""
    sizes, lengths = len({run.parameters for run in runs}), len({run.tokens for run in runs})
    if len(runs) < FEWEST_RUNS or min(sizes, lengths) < FEWEST_VALUES:
        raise BadInput(
            f"a law needs {FEWEST_RUNS} runs or more, of {FEWEST_VALUES} sizes and {FEWEST_VALUES} lengths at least; "
            f"there are {len(runs)}, of {sizes} and {lengths}"
        )
    for run in runs:
        if not all(math.isfinite(value) and value > 0 for value in (run.parameters, run.tokens, run.loss)):
            raise BadInput(f"a run of {run.parameters:g} parameters on {run.tokens:g} tokens has the loss {run.loss:g}")


@dataclass(frozen=True)
class Terms:
    """The law's three terms at the runs' sizes and tokens, both `[run]` and in logarithms.

    A problem's five unknowns are the logarithm of E, those of the second and third term at the runs' mean size and mean
    tokens, and for each exponent the logit of where it lies between its bounds.
    """

    sizes: Array
    tokens: Array

    def logs(self, unknowns: Array) -> Array:
        """Logarithms of the terms `[problem, run, 3]` for unknowns `[problem, 5]`."""
        e, a, b = (unknowns[:, i, None] for i in range(3))
        alpha, beta = (exponent(unknowns[:, i, None]) for i in (3, 4))
        n, d = self.sizes - self.sizes.mean(), self.tokens - self.tokens.mean()
        return np.stack(np.broadcast_arrays(e, a - alpha * n, b - beta * d), axis=-1)

    def log_losses(self, unknowns: Array) -> Array:
        """Logarithms of the losses `[problem, run]`."""
        return np.logaddexp.reduce(self.logs(unknowns), axis=-1)

    def jacobian(self, unknowns: Array) -> Array:
        """Their derivatives by the unknowns, `[problem, run, 5]`."""
        logs = self.logs(unknowns)
        # Of a logarithm of a sum, by the logarithm of a term: that term's share of the sum.
        shares = np.exp(logs - np.logaddexp.reduce(logs, axis=-1)[..., None])
        by_exponents = [
            -shares[..., 1 + i] * (values - values.mean()) * slope(unknowns[:, 3 + i, None])
            for i, values in enumerate((self.sizes, self.tokens))
        ]
        return np.concatenate([shares, np.stack(by_exponents, axis=-1)], axis=-1)

    def starts(self, losses: Array) -> Array:
        """A grid of beginnings `[start, 5]`: shares of the least loss for E, exponents, and equal other terms."""
        rows: list[list[float]] = []
        for share, alpha, beta in itertools.product((0.2, 0.5, 0.8, 0.95), (0.2, 0.4, 0.8), (0.2, 0.4, 0.8)):
            e = share * math.exp(losses.min())
            other = math.log((math.exp(losses.mean()) - e) / 2)
            rows.append([math.log(e), other, other, logit(alpha), logit(beta)])
        return np.array(rows)

    def law(self, unknowns: Array) -> LossLaw:
        """The law of one problem's unknowns `[5]`."""
        e, a, b = unknowns[:3].tolist()
        alpha, beta = exponent(unknowns[3:]).tolist()
        return LossLaw(
            "your own runs",
            E=math.exp(e),
            A=math.exp(a + alpha * float(self.sizes.mean())),
            alpha=alpha,
            B=math.exp(b + beta * float(self.tokens.mean())),
            beta=beta,
        )


def exponent(unknown: Array) -> Array:
    """The exponent that an unknown stands for, between its bounds."""
    return LEAST + (MOST - LEAST) / (1 + np.exp(-unknown))


def slope(unknown: Array) -> Array:
    """The derivative of `exponent`."""
    value = exponent(unknown)
    return (value - LEAST) * (MOST - value) / (MOST - LEAST)


def logit(value: float) -> float:
    """The unknown that stands for an exponent."""
    return math.log((value - LEAST) / (MOST - value))


def solve(terms: Terms, losses: Array, starts: Array) -> tuple[Array, Array]:
    """Unknowns `[problem, 5]` that make the sum of Huber losses least, and those sums `[problem]`.

    `losses` `[problem, run]` are logarithms, `starts` `[problem, 5]`. Levenberg (1944) and Marquardt (1963), with each
    residual weighted so that the squares lie above Huber's losses and touch them where they are now.
    """
    found, values = np.array(starts, dtype=np.float64), huber(terms.log_losses(starts) - losses)
    damping, open_ = np.full(len(found), 1e-2), np.arange(len(found))
    floor = losses.min() - LEAST_LOG
    for _ in range(MOST_STEPS):
        tried = found[open_] - step_of(terms, losses[open_], found[open_], damping[open_])
        tried[:, :3] = np.maximum(tried[:, :3], floor)
        tried[:, 3:] = np.clip(tried[:, 3:], -LEAST_LOG, LEAST_LOG)
        reached, before = huber(terms.log_losses(tried) - losses[open_]), values[open_]
        better = reached < before
        found[open_[better]], values[open_[better]] = tried[better], reached[better]
        damping[open_] *= np.where(better, 1 / 3, 4)
        # Done where a step gains next to nothing, or none does though it is next to none itself.
        open_ = open_[np.where(better, before - reached > 1e-9 * before, damping[open_] < 1e6)]
        if not len(open_):
            break
    return found, values


def step_of(terms: Terms, losses: Array, unknowns: Array, damping: Array) -> Array:
    """The damped step of Gauss and Newton `[problem, 5]`, to be taken away from the unknowns."""
    residuals, jacobian = terms.log_losses(unknowns) - losses, terms.jacobian(unknowns)
    weighted = jacobian * np.minimum(1, DELTA / np.maximum(np.abs(residuals), 1e-300))[..., None]
    curvature = weighted.swapaxes(-1, -2) @ jacobian
    diagonal = np.einsum("pii->pi", curvature)
    diagonal += damping[:, None] * (diagonal + 1e-9)
    gradient = np.einsum("pri,pr->pi", weighted, residuals)
    return np.clip(np.linalg.solve(curvature, gradient[..., None])[..., 0], -LONGEST_STEP, LONGEST_STEP)


def huber(residuals: Array) -> Array:
    """Sums over runs of Huber's loss `[problem]`: half the square, linear beyond `DELTA`."""
    size = np.abs(residuals)
    return np.where(size <= DELTA, size**2 / 2, DELTA * (size - DELTA / 2)).sum(-1)


def by_size(sizes: Array, tokens: Array) -> list[NDArray[np.intp]]:
    """Which runs are of one size, in order of tokens; a list a size."""
    order = np.lexsort((tokens, sizes))
    return np.split(order, np.flatnonzero(np.diff(sizes[order])) + 1)


def corrected(residuals: Array, jacobian: Array, groups: Sequence[NDArray[np.intp]]) -> Array:
    """Residuals `[run]` as large as they would be, had their size not had its say in the fit.

    A fit draws itself towards what it is fitted to: residuals are (I - H) times errors, with the projection H on the
    columns of the jacobian `[run, number]`. Each group is multiplied by the inverse of its own block of I - H (Bell and
    McCaffrey 2002, CR3; Cameron and Miller 2015, section VI.B).
    """
    projection, larger = jacobian @ np.linalg.pinv(jacobian), np.empty_like(residuals)
    for group in groups:
        shares, axes = np.linalg.eigh(np.eye(len(group)) - projection[np.ix_(group, group)])
        # Of a direction that the group alone determines nothing is left to be enlarged.
        larger[group] = axes @ (axes.T @ residuals[group] / np.maximum(shares, LEAST_SHARE))
    return larger


def resampled(
    residuals: Array, groups: Sequence[NDArray[np.intp]], samples: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Residuals drawn anew, `[sample, run]`: each group gets those of one of the groups, with one sign."""
    drawn = np.empty((samples, len(residuals)))
    for sample in drawn:
        others, signs = rng.integers(len(groups), size=len(groups)), rng.choice((-1.0, 1.0), len(groups))
        for group, other, sign in zip(groups, others, signs, strict=True):
            sample[group] = sign * np.resize(residuals[groups[other]], len(group))
    return drawn


def quantiles(values: Array) -> tuple[float, float]:
    """The middle `SHARE` of some values."""
    low, high = np.quantile(values, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)
