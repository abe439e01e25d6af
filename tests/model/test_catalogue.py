from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cutaway.model import catalogue
from cutaway.model.catalogue import CATALOGUE, KnownModel, find, installed, lookup, model_cache
from cutaway.runs import BadInput

Write = Callable[[Path, str, str, dict[str, bytes]], Path]


def test_the_list_makes_sense() -> None:
    assert set(CATALOGUE) == {"smollm2-135m", "minilm-l6"}
    for name, model in CATALOGUE.items():
        assert model.name == name
        assert model.wheel.startswith(f"{model.package.replace('-', '_')}-{model.version}-")
        assert len(bytes.fromhex(model.sha256)) == 32
        assert model.weights.endswith(".gguf" if model.format == "gguf" else ".safetensors")


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("CUTAWAY_CACHE", "/own/place")
    assert model_cache() == Path("/own/place")
    monkeypatch.setenv("CUTAWAY_CACHE", "")
    assert model_cache() == Path("/x/cutaway/models")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert model_cache() == tmp_path / ".cache" / "cutaway" / "models"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert model_cache() == tmp_path / ".cache" / "cutaway" / "models"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("smolm2-135m", "no model is called smolm2-135m; did you mean smollm2-135m?"),
        ("MiniLM-L6", "did you mean minilm-l6?"),
        ("someone/something", "for a model on the Hugging Face Hub write hub:someone/something"),
        ("qqq", "there are smollm2-135m, minilm-l6, and hub:OWNER/NAME"),
    ],
)
def test_an_unknown_name_gets_the_nearest_one(name: str, message: str) -> None:
    with pytest.raises(BadInput, match="no model is called") as error:
        lookup(name)
    assert message in str(error.value)
    assert find(name) is None


def test_what_somebody_cut_short_is_not_there(known: KnownModel, cache: Path) -> None:
    weights = cache / "tiny" / "tiny.gguf"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(bytes(known.weights_bytes))
    assert find("tiny") == weights
    weights.write_bytes(bytes(known.weights_bytes - 1))
    assert find("tiny") is None


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], Path]:
    """Installs a wheel, with pip, into a directory that imports look into."""

    def install(wheel: Path) -> Path:
        place = tmp_path / "site"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(place), str(wheel)]
        subprocess.run(command, check=True)
        monkeypatch.syspath_prepend(str(place))
        return place

    return install


@pytest.mark.slow
def test_an_installed_package_is_used_as_it_is(
    known: KnownModel, directory: KnownModel, site: Callable[[Path], Path], tmp_path: Path
) -> None:
    for model in (known, directory):
        assert installed(model) is None
        assert find(model.name) is None
        place = site(tmp_path / "wheels" / model.wheel)
    assert find("tiny") == place / "tiny_model_wheel" / "tiny.gguf"
    # Its __init__.py divides by zero: nothing of the package is run.
    assert find("folder") == place / "folder_wheel" / "model"


@pytest.mark.slow
def test_so_is_another_version_of_it(
    known: KnownModel, site: Callable[[Path], Path], write: Write, tmp_path: Path
) -> None:
    place = site(write(tmp_path, known.package, "3.0", {"elsewhere/x.txt": b"", "elsewhere/larger.gguf": b"GGUF"}))
    assert find("tiny") == place / "elsewhere" / "larger.gguf"
    assert catalogue.in_cache(known) is None
