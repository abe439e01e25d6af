"""What a GGUF file says of its model, with the checks that reading it safely needs."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cutaway.model.families import Unsupported
from cutaway.tokens.gguf_header import Metadata, Value

Shapes = Mapping[str, tuple[int, ...]]

ARCHITECTURES: dict[str, str] = {
    "llama": "llama",
    "mistral": "llama",
    "mixtral": "llama",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "qwen3_moe": "qwen3moe",
    "smollm3": "smollm3",
    "phi3": "phi3",
    "gemma2": "gemma2",
    "gemma3_text": "gemma3",
    "olmo2": "olmo2",
    "gpt2": "gpt2",
    "gpt_neox": "gptneox",
    "bloom": "bloom",
}
"""llama.cpp's architecture of each of our families."""


@dataclass(frozen=True)
class Facts:
    """What a file says: its metadata, its tensors' shapes, and the contents of those that change rotary frequencies."""

    metadata: Metadata
    shapes: Shapes
    factors: Mapping[str, list[float]]

    @property
    def architecture(self) -> str:
        """`general.architecture`. Raises `Unsupported`."""
        name = self.metadata.get("general.architecture")
        if name not in ARCHITECTURES.values():
            raise Unsupported(f"the architecture {name!r}")
        return str(name)

    def get(self, key: str, default: Value | None = None) -> Any:
        """A value under the architecture's name, one for all layers. Raises `KeyError` without a default."""
        key = f"{self.architecture}.{key}"
        value = self.metadata.get(key, default)
        if value is None:
            raise KeyError(key)
        if not isinstance(value, list):
            return value
        if len(set(value)) != 1:
            raise Unsupported(f"layers that differ in {key}")
        return value[0]

    def whole(self, key: str, default: int | None = None) -> int:
        """A value that is a whole number. Raises `Unsupported`."""
        value = self.get(key, default)
        if type(value) is not int:
            raise Unsupported(f"{self.architecture}.{key} = {value!r}")
        return value

    def real(self, key: str, default: float | None = None) -> float:
        """A value that is a number. Raises `Unsupported`."""
        value = self.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise Unsupported(f"{self.architecture}.{key} = {value!r}")
        return float(value)

    def has(self, name: str) -> bool:
        """Whether the first block has this tensor."""
        return f"blk.0.{name}" in self.shapes


def deepest_block(shapes: Shapes) -> int:
    """The number of the last block that a file has tensors of, or -1."""
    return max((int(found[1]) for name in shapes if (found := re.match(r"blk\.(\d{1,9})\.", name))), default=-1)
