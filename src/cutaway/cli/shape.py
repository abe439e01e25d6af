"""Model references as shapes: what can be counted or planned without any weights."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

from cutaway.cli.offer import offer
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.model import ModelConfig
    from cutaway.model.anatomy import LayeredNetwork


def shape_of(reference: str) -> tuple[str, ModelConfig | LayeredNetwork]:
    """What a preset or a model is, and its shape. Raises `BadInput`, with the nearest preset's name."""
    from cutaway.infer.language_model import find_model
    from cutaway.model import read_config
    from cutaway.model.catalogue import CATALOGUE
    from cutaway.model.presets import PRESETS

    if not Path(reference).exists():
        if preset := PRESETS.get(reference.lower()):
            return preset.about, preset.shape
        if reference not in CATALOGUE and not any(mark in reference for mark in "/:"):
            raise BadInput(f"there is no model and no preset {reference}; {_hint(reference.lower(), list(PRESETS))}")
        offer(reference)
    path = find_model(reference)
    if path.suffix == ".gguf":
        from cutaway.model.gguf import read_gguf_config

        return "", read_gguf_config(path)
    if path.suffix == ".bin":
        from cutaway.model.llama2c import read_llama2c_config

        return "", read_llama2c_config(path)
    return "", read_config(path)


def _hint(name: str, presets: list[str]) -> str:
    near = [preset for preset in presets if preset.startswith(name)] or difflib.get_close_matches(name, presets, n=1)
    return f"did you mean {near[0]}?" if near else "`cutaway anatomy` lists the presets"
