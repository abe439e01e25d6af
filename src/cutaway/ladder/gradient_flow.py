"""Vanishing and exploding gradients: how much of an error reaches the states of many steps ago.

Hochreiter (1991); Bengio, Simard and Frasconi (1994); Pascanu, Mikolov and Bengio, "On the difficulty of training
recurrent neural networks" (2013). By the chain rule the gradient of the loss at step t is carried back to the state k
steps earlier by a product of k Jacobians,

    d loss_t / d s_{t-k} = d loss_t / d s_t  ·  J_t J_{t-1} ... J_{t-k+1},        J_t = d s_t / d s_{t-1}.

Of an RNN J_t = diag(1 - h_t^2) U. If U's largest eigenvalue is below 1 in magnitude the product shrinks with every
step, roughly by that factor: what happened long ago cannot be learned from. If it is above 1 the product may grow
instead, as long as the tanh is not saturated, and a single step of descent leaps far off. An LSTM's cell adds the term
diag(f) to its Jacobian, a GRU's state diag(z): gates that are learned, and that can be near 1 for as long as needed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.ladder.recurrent import Cell, State
from cutaway.ladder.recurrent_model import RecurrentModel


def gradient_norms(
    cell: Cell,
    inputs: Float[Tensor, "row position width"],
    loss: Callable[[Float[Tensor, "row hidden"]], Float[Tensor, " row"]],
) -> Float[Tensor, "row distance"]:
    """Norms of d loss_t / d s_{t-k}, for k = 0, 1, ... and t the last position, of each row by itself.

    `loss` maps the last output h_t to a number for each row. The state s is all that a step hands to the next: h, and
    of an LSTM c too, each taken as if the other could be held still.
    """
    states: list[State] = []
    state = tuple(part.requires_grad_() for part in cell.start(len(inputs)))
    for drive in cell.from_input(inputs).detach().unbind(1):
        # Copies stand between the steps. An LSTM's h is made from its c; a gradient at the copy of c counts only what
        # the next step does with c itself.
        state = tuple(part.view_as(part) for part in cell.step(drive, state))
        states.append(state)
    parts = [part for state in states for part in state]
    # The rows' losses do not touch each other's states, so their sum's gradient is each one's own. The last c is read
    # by nothing.
    found = torch.autograd.grad(loss(states[-1][0]).sum(), parts, materialize_grads=True)
    per_step = len(states[0])
    norms = [torch.cat(found[i : i + per_step], dim=-1).norm(dim=-1) for i in range(0, len(found), per_step)]
    return torch.stack(norms[::-1], dim=1)


def flow_in(model: RecurrentModel, tokens: Int[Tensor, "row position"]) -> list[float]:
    """The mean over rows of those norms in a language model of one layer, for the loss of each row's last token.

    What is read are the tokens before it: the list has one entry fewer than a row has tokens. It is worked out in
    float64: a gradient that halves with every step would leave float32's range within 150 of them.
    """
    model = copy.deepcopy(model).double()
    (cell,) = model.cells
    assert isinstance(cell, Cell)

    def loss(h: Float[Tensor, "row hidden"]) -> Float[Tensor, " row"]:
        return F.cross_entropy(model.output(h), tokens[:, -1], reduction="none")

    with torch.enable_grad():
        return gradient_norms(cell, model.embed(tokens[:, :-1]), loss).mean(0).tolist()


def reach(norms: Sequence[float], share: float = 0.01) -> int:
    """How many steps back the gradient's norm is first below `share` of what it is at the last; all, if it never is."""
    return next((k for k, norm in enumerate(norms) if norm < share * norms[0]), len(norms))


def descent(
    model: nn.Module,
    batches: Iterable[tuple[Int[Tensor, "row position"], Int[Tensor, "row position"]]],
    lr: float,
    clip: float = math.inf,
) -> list[tuple[float, float]]:
    """Plain gradient descent on (tokens, targets), a step each: the loss of each step and its gradient's norm.

    With `clip` a gradient g that is longer is shortened to it and keeps its direction (Pascanu et al. 2013, algorithm
    1): g · min(1, clip / |g|). The norm given is that before.
    """
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    steps: list[tuple[float, float]] = []
    for tokens, targets in batches:
        loss = F.cross_entropy(model(tokens).flatten(0, 1), targets.flatten())
        optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(model.parameters(), clip)
        steps.append((float(loss.detach()), float(norm)))
        optimizer.step()
    return steps
