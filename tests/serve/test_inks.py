"""The page's inks as those see them who tell fewer colours apart, and its motion for those who want none."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

SOURCE = Path(__file__).parents[2] / "web" / "src"

MACHADO = {
    "all colours": np.eye(3),
    "no long-wave cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no middle-wave cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "no short-wave cones": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""What is seen of linear RGB in protanopia, deuteranopia and tritanopia (Machado, Oliveira and Fernandes 2009)."""

XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = XYZ @ np.ones(3)

THEMES = ("light", "dark")

APART = [
    ("negative", "positive", 80),
    ("negative", "sheet", 60),
    ("positive", "sheet", 70),
    ("probability", "sheet", 60),
    ("touch", "ink", 35),
    ("touch", "ink-2", 30),
    ("touch", "paper", 60),
    ("ink", "paper", 70),
    ("ink-2", "paper", 50),
]
"""Inks that must be told apart, and the distance in CIELAB they keep at least; some two are just noticed."""


def inks(theme: str) -> dict[str, str]:
    css = (SOURCE / "inks.css").read_text("utf-8")
    light, dark = css.split("@media (prefers-color-scheme: dark)")
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", light))
    return found | (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", dark)) if theme == "dark" else {})


def lab(colour: str, seen: np.ndarray) -> np.ndarray:
    """A colour in CIELAB, as it is seen."""
    rgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    x, y, z = (
        value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116
        for value in XYZ @ np.clip(seen @ linear, 0, 1) / WHITE
    )
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def distance(one: str, other: str, seen: np.ndarray) -> float:
    return float(np.linalg.norm(lab(one, seen) - lab(other, seen)))


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", MACHADO)
def test_inks_are_told_apart(theme: str, eyes: str) -> None:
    found = inks(theme)
    near = {
        (one, other): round(distance(found[one], found[other], MACHADO[eyes]), 1)
        for one, other, least in APART
        if distance(found[one], found[other], MACHADO[eyes]) < least
    }
    assert near == {}


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("eyes", MACHADO)
def test_curves_differ_by_colour_or_by_their_dashes(theme: str, eyes: str) -> None:
    source = (SOURCE / "figures" / "LineChart.svelte").read_text("utf-8")
    listed = re.search(r"const DASHES = \[(.*)\]", source)
    assert listed is not None
    dashes = re.findall(r"'([\d ]*)'", listed[1])
    colours = ["ink"] * len(dashes)
    for selectors, colour in re.findall(r"((?:\s*\.curve\.c\d,?)+) \{\s*stroke: var\(--([\w-]+)\)", source):
        for i in re.findall(r"c(\d)", selectors):
            colours[int(i)] = colour
    assert len(set(colours)) > 1
    found = inks(theme)
    for (colour, dash), (other, its) in itertools.combinations(zip(colours, dashes, strict=True), 2):
        assert dash != its or distance(found[colour], found[other], MACHADO[eyes]) > 20


def test_what_moves_rests_for_those_who_want_no_motion() -> None:
    moving = [
        path
        for path in SOURCE.rglob("*")
        if path.suffix in (".svelte", ".css") and re.search(r"\b(animation|transition)\s*:", path.read_text("utf-8"))
    ]
    assert [path.name for path in moving if "prefers-reduced-motion" not in path.read_text("utf-8")] == []
    scripts = [path.read_text("utf-8") for path in SOURCE.rglob("*") if path.suffix in (".svelte", ".ts")]
    assert not any("Math.random" in text or "behavior: 'smooth'" in text for text in scripts)


def test_the_simulation_knows_what_is_confused() -> None:
    """Red and green of one lightness are far apart, but not for those without long-wave cones."""
    red, green = "#c05050", "#5f7f3f"
    assert distance(red, green, MACHADO["all colours"]) > 60
    assert distance(red, green, MACHADO["no middle-wave cones"]) < 25
