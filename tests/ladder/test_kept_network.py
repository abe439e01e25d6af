"""A network on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from cutaway.ladder.backprop import MLP
from cutaway.ladder.kept_network import SAMPLES, KeptNetwork, of_each_class, read, write
from cutaway.runs import BadInput


def kept() -> KeptNetwork:
    rng = np.random.default_rng(0)
    x = rng.random((SAMPLES, 6, 6), np.float32)
    return KeptNetwork(
        MLP((36, 4, 10), "relu", "cross-entropy", seed=2), "some", 100, 50, 0.5, x, np.arange(SAMPLES) % 10
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    before = kept()
    write(tmp_path / "network.safetensors", before)
    after = read(tmp_path / "network.safetensors")
    assert (after.data, after.learned, after.tested, after.accuracy) == ("some", 100, 50, 0.5)
    flat = before.x.reshape(SAMPLES, -1)
    for ours, theirs in zip(before.network.forward(flat), after.network.forward(flat), strict=True):
        assert np.array_equal(ours, theirs)
    assert np.array_equal(before.y, after.y)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x80\x04"])
def test_what_is_no_network_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadInput, match="no network"):
        read(path)


def test_layers_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network.safetensors"
    write(path, kept())
    content = path.read_bytes().replace(b"layers.0.bias", b"layers.1.bias", 1)
    path.write_bytes(content)
    with pytest.raises(BadInput, match="no network"):
        read(path)
    save_file({"weight": np.zeros(3)}, path)
    with pytest.raises(BadInput, match="no network"):
        read(path)


def test_samples_have_all_classes() -> None:
    y = np.repeat(np.arange(10), 5)
    x = np.arange(50, dtype=np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    shown, labels = of_each_class(x, y)
    assert sorted(labels) == sorted([*range(10), *range(10)])
    assert shown[0, 0, 0] == 0
    assert len(shown) == SAMPLES
