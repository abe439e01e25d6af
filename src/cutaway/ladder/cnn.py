"""A convolutional network: a few small filters that look at every place of an image.

A fully connected layer gives each neuron a weight for every pixel. It knows nothing of neighbours (shuffle the pixels
of all images alike, and it learns as well), and a stroke that it has learned to see in one corner it must learn again
in the other. A convolution has neurons that see three by three pixels, and the same weights K at every place:

    z[k, i, j] = b[k] + Σ_c Σ_u Σ_v K[k, c, u, v] · a[c, i + u, j + v]          u, v = −1, 0, 1

for filter k, row i, column j and channel c: the image itself has one channel, a later layer's input one for each filter
of the layer before. Beyond the image's edge a is 0. A filter has 9 weights a channel and a bias, however large the
image is. When the image moves by a pixel so does all of z: the network need not learn what a shift is.

*Pooling* keeps the largest of every two by two values, so that the next layer's filters see twice as far in half as
many places. After two of those, what was an image is many small maps of where each of many features is, and one fully
connected layer reads the class from them. *Batch normalisation* takes each channel to mean 0 and variance 1 over the
batch before its ReLU, then lets it choose a scale and an offset of its own: no filter's sums drift off while the
filters below it change, and a higher learning rate is safe.

LeCun, Bottou, Bengio and Haffner, "Gradient-based learning applied to document recognition" (1998); Ioffe and Szegedy,
"Batch Normalization" (2015).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn


class ConvolutionalNetwork(nn.Module):
    """Three convolutions, the first two pooled, and one fully connected layer. Twice as many filters in each as before.

    It reads images `[n, row, column]` of at least four rows and columns, and gives logits `[n, class]`.
    """

    def __init__(self, rows: int, columns: int, classes: int, filters: int = 16, dropout: float = 0.2, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.convolutions = nn.Sequential(
            *_convolution(1, filters),
            nn.MaxPool2d(2),
            *_convolution(filters, 2 * filters),
            nn.MaxPool2d(2),
            *_convolution(2 * filters, 4 * filters),
        )
        features = 4 * filters * (rows // 4) * (columns // 4)
        self.read_out = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(features, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[n, class]` of images `[n, row, column]`."""
        return self.read_out(self.convolutions(images.unsqueeze(1)))

    @property
    def filters(self) -> NDArray[np.float32]:
        """The weights of the first convolution: `[filter, row, column]`."""
        first: Any = self.convolutions[0]
        return first.weight.detach().numpy()[:, 0]


def _convolution(inputs: int, outputs: int) -> list[nn.Module]:
    # Normalisation has an offset of its own, so that the convolution needs no bias before it.
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def convolve(image: NDArray[Any], kernels: NDArray[Any]) -> NDArray[Any]:
    """The formula above, as it stands there, without a bias.

    Args:
        image: a `[channel, row, column]`.
        kernels: K `[filter, channel, 3, 3]`.

    Returns:
        z `[filter, row, column]`.
    """
    wide = np.pad(image, ((0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(wide, (3, 3), axis=(1, 2))  # [channel, row, column, u, v]
    return np.einsum("kcuv,cijuv->kij", kernels, windows)
