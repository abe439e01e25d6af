from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cutaway.ladder.generalisation import Practice, batches, fit, fully_connected, height, logits, look, shifted


def drawn(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spots(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of ten classes that are easy to tell apart: a bright spot at one of ten places, and noise."""
    y = torch.arange(n) % 10
    x = torch.rand(n, 64, generator=drawn(seed)) * 0.3
    x[torch.arange(n), 6 * y] = 1
    return x.view(n, 8, 8), y


def copied(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


def test_adamw_is_the_formula() -> None:
    """Loshchilov and Hutter (2019), algorithm 2, written down for all steps of a training without chance in it."""
    x, y = spots(20)
    network = fully_connected((64, 5, 10), 0.0, seed=0)
    practice = Practice(updates=12, batch=20, rate=0.01, decay=0.3)
    theta = copied(network)
    m, v = [torch.zeros_like(t) for t in theta], [torch.zeros_like(t) for t in theta]
    for step, loss in fit(network, x, y, practice, seed=0):
        leaves = [t.clone().requires_grad_() for t in theta]
        hidden = torch.relu(x.flatten(1) @ leaves[0].T + leaves[1])
        expected = F.cross_entropy(hidden @ leaves[2].T + leaves[3], y)
        assert loss == pytest.approx(expected.item(), rel=1e-4)
        rate = 0.01 * height(step - 1, 12)
        for i, g in enumerate(torch.autograd.grad(expected, leaves)):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.999 * v[i] + 0.001 * g * g
            m_hat, v_hat = m[i] / (1 - 0.9**step), v[i] / (1 - 0.999**step)
            theta[i] = theta[i] - rate * (m_hat / (v_hat.sqrt() + 1e-8) + 0.3 * theta[i])
    for found, expected in zip(copied(network), theta, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


def test_the_rate_rises_straight_and_falls_along_a_cosine() -> None:
    rates = [height(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * i for i in range(1, 11)])
    assert rates[54] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.0, abs=1e-12)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert height(0, 1) == 1


@pytest.mark.parametrize(("n", "size"), [(10, 3), (10, 5), (4, 9), (1, 1)])
def test_a_pass_shows_each_image_at_most_once(n: int, size: int) -> None:
    found = batches(n, size, drawn())
    full = n // min(n, size)
    for _ in range(3):
        shown = torch.cat([next(found) for _ in range(full)]).tolist()
        assert len(shown) == full * min(n, size) == len(set(shown))
        assert set(shown) <= set(range(n))


def test_shifts_move_images_and_bring_in_paper() -> None:
    images = torch.rand(40, 6, 5, generator=drawn(1)) + 0.1
    moved = shifted(images, 2, drawn())
    ways = set[tuple[int, int]]()
    for before, after in zip(images, moved, strict=True):
        fits = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if torch.equal(after, moved_by(before, a, b))]
        assert len(fits) == 1
        ways.update(fits)
    assert {a for a, _ in ways} == {b for _, b in ways} == {-2, -1, 0, 1, 2}
    assert any(a != b for a, b in ways)


def moved_by(image: Tensor, down: int, across: int) -> Tensor:
    rows, columns = image.shape
    result = torch.zeros_like(image)
    for i in range(rows):
        for j in range(columns):
            if 0 <= i - down < rows and 0 <= j - across < columns:
                result[i, j] = image[i - down, j - across]
    return result


def test_a_look_is_the_mean_over_all_images() -> None:
    x, y = spots(23)
    network = fully_connected((64, 8, 10), 0.5, seed=0)
    found = look(network, x, y)
    # Nothing is dropped while looking, in whatever portions.
    torch.testing.assert_close(logits(network, x, at_once=4), logits(network, x))
    expected = torch.log_softmax(network.eval()(x), dim=1)[torch.arange(23), y]
    assert found.loss == pytest.approx(-expected.mean().item(), rel=1e-5)
    assert found.accuracy == pytest.approx((logits(network, x).argmax(1) == y).sum().item() / 23)


def test_training_learns_and_is_the_same_each_time() -> None:
    x, y = spots(100)
    unseen = spots(100, seed=9)
    ends = list[list[Tensor]]()
    for _ in range(2):
        network = fully_connected((64, 32, 10), 0.2, seed=3)
        first = look(network, *unseen)
        losses = [loss for _, loss in fit(network, x, y, Practice(200, 20, decay=0.01), seed=3)]
        ends.append(copied(network))
    assert len(losses) == 200
    assert first.accuracy < 0.4
    assert look(network, *unseen).accuracy > 0.98
    assert first.loss == pytest.approx(math.log(10), abs=0.2)
    for a, b in zip(*ends, strict=True):
        assert torch.equal(a, b)


def test_weight_decay_keeps_weights_small() -> None:
    x, y = spots(20)
    sizes = []
    for decay in (0.0, 5.0):
        network = fully_connected((64, 32, 10), 0.0, seed=0)
        list(fit(network, x, y, Practice(200, 20, decay=decay), seed=0))
        sizes.append(sum(parameter.square().sum().item() for parameter in network.parameters()))
    assert sizes[1] < 0.5 * sizes[0]
