"""Keeping what people write from becoming special tokens, however a chat template puts it together."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

GUARD = "\ue000"
"""Put into a special token's name inside a text, so that the name stays text. It is of a private use area."""


class Guard:
    """Breaks the names of special tokens in texts that others wrote, and mends them once the template is through.

    A name is broken after its first character. A text that begins with the end of a name, or is a piece of one, gets a
    mark before it, and one that ends with the beginning of a name gets one behind it: the template may put the rest
    there, or another such text.
    """

    def __init__(self, names: Collection[str]) -> None:
        """`names` are those of the special tokens; of one character alone there is nothing to break."""
        self.names = [name for name in names if len(name) > 1]
        cuts = [(name[:n], name[n:]) for name in self.names for n in range(1, len(name))]
        self.beginnings = {beginning for beginning, _ in cuts if _tells(beginning)}
        self.ends = {end for _, end in cuts if _tells(end)}
        self.longest = max(map(len, self.names), default=0)

    def put(self, value: Any) -> Any:
        """A text with its names broken; of lists and objects, all texts in them, keys too."""
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping):
            inside = cast("Mapping[object, object]", value)
            return {self.put(key): self.put(item) for key, item in inside.items()}
        if isinstance(value, list | tuple):
            return [self.put(item) for item in cast("Sequence[object]", value)]
        return value

    @staticmethod
    def off(text: str) -> str:
        """The text as it was written."""
        return text.replace(GUARD, "")

    def _text(self, text: str) -> str:
        text = self.off(text)
        lengths = range(1, min(self.longest, len(text) + 1))
        before = any(text[:n] in self.ends for n in lengths) or (_tells(text) and any(text in it for it in self.names))
        behind = any(text[-n:] in self.beginnings for n in lengths)
        for name in self.names:
            text = text.replace(name, name[0] + GUARD + name[1:])
        return GUARD * before + text + GUARD * behind


def _tells(part: str) -> bool:
    """Whether a part of a name is more than letters: those alone may be a word that templates compare, as "user"."""
    return bool(part) and not part.isalnum()
