"""The block's gradients by hand beside torch's, the engine's and finite differences; what the mask and norms forbid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cutaway.ladder import autograd
from cutaway.ladder.autograd_networks import transformer_block
from cutaway.ladder.backprop_transformer import TransformerBlock, layer_norm, layer_norm_backward
from cutaway.ladder.gradient_check import finite_differences
from cutaway.runs import BadInput

BATCH, POSITIONS, WIDTH, HIDDEN = 3, 5, 8, 12


def block_of(heads: int, activation: str = "relu") -> TransformerBlock:
    """One whose gains and biases are not the ones and noughts that they start as."""
    block, rng = TransformerBlock(WIDTH, heads, HIDDEN, activation, seed=1), np.random.default_rng(2)
    for value in block.parameters.values():
        value += rng.normal(0, 0.3, value.shape)
    return block


def streams() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    return rng.normal(size=(BATCH, POSITIONS, WIDTH)), rng.normal(size=(BATCH, POSITIONS, WIDTH))


class Peer(nn.Module):
    """The block of torch's own modules, with our weights."""

    def __init__(self, block: TransformerBlock, activation: str) -> None:
        super().__init__()
        p = {name: torch.from_numpy(value.copy()) for name, value in block.parameters.items()}
        self.attention = nn.MultiheadAttention(WIDTH, block.n_heads, batch_first=True, dtype=torch.float64)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH).double(), nn.LayerNorm(WIDTH).double()
        self.up, self.down = nn.Linear(WIDTH, HIDDEN).double(), nn.Linear(HIDDEN, WIDTH).double()
        self.bend = {"relu": F.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid}[activation]
        parts = ("query", "key", "value")
        with torch.no_grad():
            self.attention.in_proj_weight.copy_(torch.cat([p[f"{part}.weight"] for part in parts]))
            self.attention.in_proj_bias.copy_(torch.cat([p[f"{part}.bias"] for part in parts]))
            for name, module in (("output", self.attention.out_proj), ("up", self.up), ("down", self.down)):
                module.weight.copy_(p[f"{name}.weight"])
                module.bias.copy_(p[f"{name}.bias"])
            for name, norm in (("norm1", self.norm1), ("norm2", self.norm2)):
                norm.weight.copy_(p[f"{name}.gain"])
                norm.bias.copy_(p[f"{name}.bias"])

    def forward(self, x: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], dtype=x.dtype)
        read = self.norm1(x)
        x = x + self.attention(read, read, read, attn_mask=mask, need_weights=False)[0]
        return x + self.down(self.bend(self.up(self.norm2(x))))

    def gradients(self) -> dict[str, np.ndarray]:
        """By our names."""
        found: dict[str, Tensor | None] = {}
        for i, part in enumerate(("query", "key", "value")):
            found[f"{part}.weight"] = self.attention.in_proj_weight.grad[i * WIDTH : (i + 1) * WIDTH]
            found[f"{part}.bias"] = self.attention.in_proj_bias.grad[i * WIDTH : (i + 1) * WIDTH]
        for name, module in (("output", self.attention.out_proj), ("up", self.up), ("down", self.down)):
            found[f"{name}.weight"], found[f"{name}.bias"] = module.weight.grad, module.bias.grad
        for name, norm in (("norm1", self.norm1), ("norm2", self.norm2)):
            found[f"{name}.gain"], found[f"{name}.bias"] = norm.weight.grad, norm.bias.grad
        return {name: np.asarray(gradient) for name, gradient in found.items()}


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("heads", [1, 2, 8])
def test_output_and_all_gradients_are_torchs(heads: int, activation: str) -> None:
    block, (x, d_out) = block_of(heads, activation), streams()
    peer, stream = Peer(block, activation), torch.tensor(x, requires_grad=True)
    expected = peer(stream)
    expected.backward(torch.from_numpy(d_out))
    out, kept = block.forward(x)
    d_x, gradients = block.backward(d_out, kept)
    np.testing.assert_allclose(out, expected.detach().numpy(), rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_x, stream.grad, rtol=0, atol=1e-10)
    theirs = peer.gradients()
    assert set(gradients) == set(theirs) == set(block.parameters)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, theirs[name], rtol=0, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("heads", [1, 4])
def test_output_and_all_gradients_are_the_engines(heads: int) -> None:
    block, (x, d_out) = block_of(heads), streams()
    stream = autograd.Tensor(x)
    p = {name: autograd.Tensor(value) for name, value in block.parameters.items()}
    recorded = transformer_block(stream, p, heads)
    (recorded * d_out).sum().backward()
    out, kept = block.forward(x)
    d_x, gradients = block.backward(d_out, kept)
    np.testing.assert_allclose(out, recorded.data, rtol=0, atol=1e-10)
    np.testing.assert_allclose(d_x, stream.gradient, rtol=0, atol=1e-10)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(gradient, p[name].gradient, rtol=0, atol=1e-10, err_msg=name)


def test_the_inputs_gradient_is_that_of_finite_differences() -> None:
    block, (x, d_out) = block_of(2, "sigmoid"), streams()
    d_x, _ = block.backward(d_out, block.forward(x)[1])
    measured = finite_differences(lambda moved: float((block.forward(moved)[0] * d_out).sum()), x)
    np.testing.assert_allclose(d_x, measured, atol=1e-8)


def test_nothing_comes_back_to_a_position_from_an_earlier_one() -> None:
    block, (x, d_out) = block_of(2), streams()
    d_out[:, 2:] = 0
    d_x, _ = block.backward(d_out, block.forward(x)[1])
    assert (d_x[:, 2:] == 0).all()
    assert (d_x[:, :2] != 0).all()


def test_a_layer_norms_gradient_has_no_part_along_what_it_ignores() -> None:
    (x, d_out), gain = streams(), np.linspace(0.5, 2, WIDTH)
    _, kept = layer_norm(x, gain, np.zeros(WIDTH))
    d_x, _, _ = layer_norm_backward(d_out, gain, kept)
    np.testing.assert_allclose(d_x.sum(axis=-1), 0, atol=1e-12)
    # But for the EPSILON beside the variance.
    np.testing.assert_allclose((d_x * kept.normalised).mean(axis=-1), 0, atol=1e-4)


def test_what_makes_no_sense_is_refused_in_a_line() -> None:
    with pytest.raises(BadInput, match="3 heads cannot share a width of 8"):
        TransformerBlock(8, 3, 16)
    with pytest.raises(BadInput, match="no activation 'gelo'"):
        TransformerBlock(8, 2, 16, "gelo")
