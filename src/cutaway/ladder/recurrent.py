"""Recurrent cells: a vector that remembers, and how each token changes it.

A cell reads a sequence one position after another. What it knows of the past is its state, of fixed size; a step makes
the next state from the present one and the input x. One set of weights serves every step, so a sequence may be of any
length. Below, sigma is the sigmoid, * multiplies number by number, W multiplies the input and U the state before.

Each matrix has a bias of its own and gates are stacked in one matrix, as in torch.nn, so that the same weights give the
same numbers there (`weight_ih_l0` is `from_input.weight`, `weight_hh_l0` is `from_state.weight`).
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

State = tuple[Float[Tensor, "row hidden"], ...]
"""What a cell knows of the past. The first tensor is its output h."""


class Cell(nn.Module):
    """A recurrent layer of `hidden` units over inputs `width` wide. Its kinds say what one step does."""

    GATES: ClassVar[int] = 1
    """How many vectors, each `hidden` wide, a step works out from input and state."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.from_input = nn.Linear(width, self.GATES * hidden)  # W x + b
        self.from_state = nn.Linear(hidden, self.GATES * hidden)  # U h + b'
        for weight in self.parameters():
            nn.init.uniform_(weight, -1 / math.sqrt(hidden), 1 / math.sqrt(hidden))

    def step(self, drive: Float[Tensor, "row gates_hidden"], state: State) -> State:
        """The next state, from W x + b (`drive`) and the state before."""
        raise NotImplementedError

    def start(self, rows: int) -> State:
        """The state before anything was read: nought."""
        return (self.from_state.weight.new_zeros(rows, self.hidden),)

    def forward(
        self, inputs: Float[Tensor, "row position width"], state: State | None = None
    ) -> tuple[Float[Tensor, "row position hidden"], State]:
        """The output after each position, and the state after the last. None: a sequence begins."""
        state = self.start(len(inputs)) if state is None else state
        outputs: list[Tensor] = []
        # What comes from the input needs no state, so it is worked out for all positions in one product.
        for drive in self.from_input(inputs).unbind(1):
            state = self.step(drive, state)
            outputs.append(state[0])
        return torch.stack(outputs, dim=1), state


class RNN(Cell):
    """The simple recurrent network (Elman, "Finding Structure in Time", 1990).

    h' = tanh(W x + U h)

    All of the state is written anew in each step. What is to be remembered must survive U and the tanh every time.
    """

    def step(self, drive: Float[Tensor, "row hidden"], state: State) -> State:
        """One step."""
        (h,) = state
        return (torch.tanh(drive + self.from_state(h)),)


class LSTM(Cell):
    """Long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers et al. 2000).

    i, f, o = sigma(W x + U h), each with weights of its own      gates: how much to write, to keep, to show
    g = tanh(W x + U h)                                           what might be written
    c' = f * c + i * g                                            the memory cell
    h' = o * tanh(c')                                             what the next step and the layer above see

    The cell is not rewritten but added to. Where f is 1 and i is 0 it stays as it is, for as many steps as need be, and
    so does a gradient on its way back.
    """

    GATES = 4

    def start(self, rows: int) -> State:
        """Both h and c: nought."""
        return super().start(rows) * 2

    def step(self, drive: Float[Tensor, "row 4*hidden"], state: State) -> State:
        """One step; the order in the stacked matrices is i, f, g, o."""
        h, c = state
        i, f, g, o = (drive + self.from_state(h)).chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(c), c


class GRU(Cell):
    """The gated recurrent unit (Cho et al. 2014, section 2.3), in the form of torch.nn and cuDNN.

    r, z = sigma(W x + U h), each with weights of its own         gates: how much of the past to use, and to keep
    n = tanh(W x + b + r * (U h + b'))                            the new state that is proposed
    h' = z * h + (1 - z) * n

    One state does for both of the LSTM's, and one gate decides what is kept and what is written. (The paper has
    U (r * h) where this has r * (U h + b').)
    """

    GATES = 3

    def step(self, drive: Float[Tensor, "row 3*hidden"], state: State) -> State:
        """One step; the order in the stacked matrices is r, z, n."""
        (h,) = state
        r, z, n = drive.chunk(3, dim=-1)
        from_r, from_z, from_n = self.from_state(h).chunk(3, dim=-1)
        n = torch.tanh(n + torch.sigmoid(r + from_r) * from_n)
        z = torch.sigmoid(z + from_z)
        return (n + z * (h - n),)


CELLS: dict[str, type[Cell]] = {"rnn": RNN, "lstm": LSTM, "gru": GRU}
