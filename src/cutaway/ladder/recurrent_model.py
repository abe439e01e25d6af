"""Language models upon recurrent cells: read a token, change the state, foretell the next from it.

Mikolov et al., "Recurrent neural network based language model" (2010). Unlike an n-gram it forgets nothing at a fixed
distance: whatever the state still holds of a document's beginning can tell at its end.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from cutaway.ladder.neural import NeuralModel
from cutaway.ladder.recurrent import CELLS, LSTM, Cell, State

FORGET_BIAS = 1.0
"""Of a new LSTM: gates that begin at sigma(1) = 0.73 keep what they hold until they learn what to forget (Gers et al.
2000; Jozefowicz et al. 2015, "An Empirical Exploration of Recurrent Network Architectures")."""


class RecurrentModel(NeuralModel):
    """Token vectors, layers of cells each of which reads the one below, and a linear layer to the logits.

    Args:
        kind: of the cells: "rnn", "lstm" or "gru".
        vocab_size: ids are below it.
        width: of each token's vector.
        hidden: units of each layer.
        layers: how many.
    """

    def __init__(self, kind: str, vocab_size: int, width: int, hidden: int, layers: int = 1) -> None:
        super().__init__(vocab_size)
        self.embed = nn.Embedding(vocab_size, width)
        self.cells = nn.ModuleList(CELLS[kind](hidden if above else width, hidden) for above in range(layers))
        self.output = nn.Linear(hidden, vocab_size)
        for cell in self.cells:
            if isinstance(cell, LSTM):
                # Its part of both biases: they are added to each other.
                nn.init.constant_(cell.from_input.bias[cell.hidden : 2 * cell.hidden], FORGET_BIAS)
                nn.init.zeros_(cell.from_state.bias[cell.hidden : 2 * cell.hidden])

    def read(
        self, tokens: Int[Tensor, "row position"], past: list[State] | None = None
    ) -> tuple[Float[Tensor, "row position vocab"], list[State]]:
        """Logits of the token after each of `tokens`; of the past each layer's state is kept."""
        x: Float[Tensor, "row position width"] = self.embed(tokens)
        states: list[State] = []
        for layer, cell in enumerate(self.cells):
            x, state = cell(x, past[layer] if past else None)
            states.append(state)
        return self.output(x), states

    @torch.no_grad()
    def scale_recurrence(self, radius: float) -> None:
        """Scale the matrices from state to state so that the spectral radius of each gate's is `radius`."""
        for cell in self.cells:
            assert isinstance(cell, Cell)
            for matrix in cell.from_state.weight.chunk(cell.GATES):
                matrix *= radius / torch.linalg.eigvals(matrix).abs().max()
