from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cutaway.ladder.cnn import ConvolutionalNetwork, convolve


def test_the_formula_is_torchs_convolution() -> None:
    rng = np.random.default_rng(0)
    image, kernels = rng.normal(size=(3, 7, 5)), rng.normal(size=(4, 3, 3, 3))
    expected = F.conv2d(torch.from_numpy(image)[None], torch.from_numpy(kernels), padding=1)[0]
    np.testing.assert_allclose(convolve(image, kernels), expected, rtol=1e-12, atol=1e-12)


def test_a_moved_image_gives_moved_maps() -> None:
    rng = np.random.default_rng(0)
    image, kernels = np.zeros((1, 9, 9)), rng.normal(size=(2, 1, 3, 3))
    image[0, 3:5, 3:6] = rng.normal(size=(2, 3))
    moved = np.roll(image, (2, -1), axis=(1, 2))
    np.testing.assert_allclose(convolve(moved, kernels), np.roll(convolve(image, kernels), (2, -1), axis=(1, 2)))


@pytest.mark.parametrize(("rows", "columns"), [(28, 28), (8, 8), (4, 6), (9, 11)])
def test_images_of_any_size(rows: int, columns: int) -> None:
    network = ConvolutionalNetwork(rows, columns, 10, filters=4)
    assert network(torch.zeros(2, rows, columns)).shape == (2, 10)
    assert network.filters.shape == (4, 3, 3)


def test_its_parameters() -> None:
    # 3 × 3 weights from each channel to each filter; a scale and an offset a filter; 7 × 7 places of the last maps.
    filters = [1, 16, 32, 64]
    expected = sum(9 * a * b + 2 * b for a, b in pairwise(filters)) + 64 * 7 * 7 * 10 + 10
    assert sum(p.numel() for p in ConvolutionalNetwork(28, 28, 10, filters=16).parameters()) == expected


def test_it_is_convolutions_pooling_and_one_layer() -> None:
    """The network once more, from its parameters alone."""
    network = ConvolutionalNetwork(8, 8, 10, filters=3, seed=4).eval()
    for module in network.modules():  # as if it had been trained: nothing at its neutral value
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.bias, module.running_mean, module.running_var):
                values.data.uniform_(0.5, 1.5)
    held = list(network.state_dict().items())
    kernels = [value for name, value in held if value.ndim == 4]
    scales, offsets, means, variances = (
        [value for name, value in held if name.endswith(end) and value.ndim == 1 and "convolutions" in name]
        for end in ("weight", "bias", "running_mean", "running_var")
    )
    images = torch.rand(5, 8, 8)
    a = images[:, None]
    for layer in range(3):
        z = torch.stack([torch.from_numpy(convolve(one.numpy(), kernels[layer].numpy())) for one in a])
        shape = (1, -1, 1, 1)
        z = (z - means[layer].view(shape)) / (variances[layer].view(shape) + 1e-5).sqrt()
        a = torch.relu(z * scales[layer].view(shape) + offsets[layer].view(shape))
        if layer < 2:
            n, channels, rows, columns = a.shape
            a = a.view(n, channels, rows // 2, 2, columns // 2, 2).amax(dim=(3, 5))
    weight, bias = held[-2][1], held[-1][1]
    torch.testing.assert_close(network(images), a.flatten(1) @ weight.T + bias, rtol=1e-4, atol=1e-5)
