"""The table of embeddings as a space: a token's neighbours, arithmetic with tokens, and the table seen flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from cutaway.model import Transformer
from cutaway.runs import BadInput


def embeddings(model: Transformer) -> Float[Tensor, "token d_model"]:
    """The rows of `embed.weight`, a row a token."""
    return model.embed.weight.detach().float()


@dataclass(frozen=True)
class Ranks:
    """Where a right answer came; 1 is first.

    Attributes:
        cosine: of the answer and what was asked.
        among_all: among all tokens, those that were added and taken away as well.
        among_others: without these, as is usual.
        by_neighbour: without them, by nearness to the last token that was added alone: what arithmetic must be better
            than (Linzen 2016).
    """

    cosine: float
    among_all: int
    among_others: int
    by_neighbour: int


@dataclass(frozen=True)
class Nearest:
    """What lies nearest to a sum of tokens.

    Attributes:
        tokens: the nearest first, those that were asked with as well.
        cosines: with the sum.
        mean: of the cosines of all tokens.
        deviation: their standard deviation.
        answer: of the token that was hoped for, if one was.
    """

    tokens: Int[Tensor, " nearest"]
    cosines: Float[Tensor, " nearest"]
    mean: float
    deviation: float
    answer: Ranks | None


def nearest(
    rows: Float[Tensor, "token d_model"], plus: Sequence[int], minus: Sequence[int], n: int, answer: int | None = None
) -> Nearest:
    """The `n` tokens nearest to the tokens `plus` added up and `minus` taken away, each at length 1, by cosine.

    With b and c added and a taken away this is Mikolov et al. 2013's "a is to b as c is to ...".

    Raises:
        BadInput: nothing is asked for, or what is cancels out.
    """
    unit = F.normalize(rows, dim=-1)
    asked = [*plus, *minus]
    total = unit[list(plus)].sum(0) - unit[list(minus)].sum(0)
    if not plus or float(total.norm()) < 1e-6:
        raise BadInput("nothing is left of the sum; add a token that is not also taken away")
    cosines = unit @ F.normalize(total, dim=0)
    best = cosines.topk(min(n, len(rows)))
    ranks = None
    if answer is not None:
        others = torch.ones(len(rows), dtype=torch.bool)
        others[asked] = False
        near = unit @ unit[plus[-1]]
        ranks = Ranks(
            cosine=float(cosines[answer]),
            among_all=1 + int((cosines > cosines[answer]).sum()),
            among_others=1 + int((cosines[others] > cosines[answer]).sum()),
            by_neighbour=1 + int((near[others] > near[answer]).sum()),
        )
    return Nearest(best.indices, best.values, float(cosines.mean()), float(cosines.std()), ranks)


@dataclass(frozen=True)
class Projection:
    """Points on the two directions along which some rows differ most (principal components, Pearson 1901).

    Attributes:
        points: each row's place on them, from the mean of the rows they were found in.
        explained: the share of those rows' variance that lies along each.
    """

    points: Float[Tensor, "point 2"]
    explained: tuple[float, float]


def projection(rows: Float[Tensor, "point d_model"], among: Float[Tensor, "row d_model"]) -> Projection:
    """Where `rows` lie on the first two principal components of the rows `among` which they are seen.

    The sign of a component means nothing; here its largest number is positive, so that the picture is always the same.

    Raises:
        BadInput: there are not three rows that differ.
    """
    if len(among) < 3:
        raise BadInput("a plane is laid through at least three tokens; name more")
    mean = among.mean(0)
    centred = (among - mean).double()
    # Of the two products, the smaller has the same spectrum.
    if len(centred) < centred.shape[1]:
        values, vectors = torch.linalg.eigh(centred @ centred.T)
        axes = F.normalize(centred.T @ vectors[:, -2:], dim=0)
    else:
        values, vectors = torch.linalg.eigh(centred.T @ centred)
        axes = vectors[:, -2:]
    total = float(values.clamp(min=0).sum())
    if float(values[-2]) <= 1e-12 * max(total, 1e-300):
        raise BadInput("these tokens lie on one line, or on one point; name others")
    axes = axes.flip(1)
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    first, second = float(values[-1]) / total, float(values[-2]) / total
    return Projection(((rows - mean).double() @ axes).float(), (first, second))
