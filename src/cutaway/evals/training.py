"""What each stage trained on, read out of a run's resolved recipe."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from cutaway.evals.numbers import short

_LEAST = 0.005


@dataclass(frozen=True)
class Portion:
    """A stage's training: how much of it, in words, and the shares (0 to 1) that it was made up of, largest first."""

    stage: str
    amount: str
    parts: tuple[tuple[str, float], ...]


def training(recipe: str) -> list[Portion]:
    """The portions of the stages that a recipe (TOML) describes; a stage or key it does not hold is left out."""
    sections: dict[str, Any] = tomllib.loads(recipe) if recipe else {}
    found: list[Portion] = []
    for stage in ("pretrain", "sft"):
        section = sections.get(stage) or {}
        tokens, shares = section.get("tokens"), section.get("shares")
        if isinstance(tokens, int):
            found.append(Portion(stage, f"{short(tokens)} tokens", _shares(shares)))
            if section.get("mixture"):
                found.append(Portion(stage, "its conversations", _shares(section["mixture"])))
    rl = sections.get("rl") or {}
    if all(isinstance(rl.get(key), int) for key in ("steps", "problems", "group")) and rl["steps"]:
        problems = rl["steps"] * rl["problems"]
        found.append(Portion("rl", f"{problems:,} problems, {problems * rl['group']:,} answers", ()))
    return found


def _shares(weights: object) -> tuple[tuple[str, float], ...]:
    if not isinstance(weights, Mapping):
        return ()
    given = {str(name): float(value) for name, value in cast("Mapping[str, float]", weights).items()}
    total = sum(given.values()) or 1.0
    shares = [(name, value / total) for name, value in given.items() if value / total >= _LEAST]
    return tuple(sorted(shares, key=lambda item: -item[1]))
