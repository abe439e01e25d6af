"""Plates show the numbers they are given, stay well-formed, and keep their text inside."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cutaway.evals.charts import Chart, Series, draw
from cutaway.evals.pixels import cells
from cutaway.evals.plates import bars, heatmap, images, scatter, side_by_side, svg_file

CHROMIUM = Path("/usr/bin/chromium")
SVG = "{http://www.w3.org/2000/svg}"


def masks(drawn: str) -> list[tuple[str, np.ndarray]]:
    """Each ink that is laid on, and how much of it on each cell, read by another program than wrote it."""
    found = re.findall(r'base64,([^"]+)"/></mask><rect [^>]*style="fill:var\((--\w+)\)"', drawn)
    return [(ink, np.asarray(Image.open(io.BytesIO(base64.b64decode(raw))))) for raw, ink in found]


def texts(drawn: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg_file(drawn)).iter(f"{SVG}text")]


def test_signed_cells_carry_their_values() -> None:
    values = np.array([[-2.0, 0.0, 1.0], [np.nan, 2.0, np.inf]])
    orange, blue, grey = masks(cells(values, "signed", None, 0, 0, 30, 20))
    assert (orange[0], blue[0], grey[0]) == ("--c", "--b", "--rule")
    assert orange[1].tolist() == [[0, 0, 128], [0, 255, 0]]
    assert blue[1].tolist() == [[255, 0, 0], [0, 0, 0]]
    assert grey[1].tolist() == [[0, 0, 0], [255, 0, 255]]


def test_shares_are_of_one_and_limits_cut() -> None:
    ((ink, levels),) = masks(cells(np.array([[0.0, 0.5, 1.0]]), "share", None, 0, 0, 3, 1))
    assert (ink, levels.tolist()) == ("--b", [[0, 128, 255]])
    ((ink, levels),) = masks(cells(np.array([[1.0, 2.0, 8.0]]), "ink", 4.0, 0, 0, 3, 1))
    assert (ink, levels.tolist()) == ("--ink", [[64, 128, 255]])
    assert masks(cells(np.zeros((3, 0)), "ink", None, 0, 0, 3, 1)) == []
    assert masks(cells(np.zeros((2, 2)), "signed", None, 0, 0, 3, 1)) == []


def test_numbers_stand_in_their_cells() -> None:
    drawn = heatmap(
        [[0.494, 0.06], [np.nan, 1.0]], "t", rows=["a", "b"], columns=["x", "y"], scale="share", numbers=True
    )
    assert texts(drawn)[-4:] == ["y", "0.49", "0.06", "1.00"]
    assert [t for t in texts(heatmap([[12, 3]], "t", numbers=True)) if t.isdigit()] == ["12", "3"]
    # On a dark cell the figure is in the colour of paper, on a light one in ink.
    fills = dict(re.findall(r'style="fill:var\(--(\w+)\)">([\d.]+)<', drawn))
    assert fills == {"ink": "0.06", "paper": "1.00"}


def test_the_legend_says_what_the_colours_mean() -> None:
    assert texts(heatmap([[-3.0, 1.5]], "t"))[-2:] == ["-3", "3"]
    assert texts(heatmap([[0.1]], "t", scale="share"))[-2:] == ["0", "1"]
    assert texts(images([[[0.1]]], "t", scale="signed", limit=0.5))[-2:] == ["-0.5", "0.5"]
    assert texts(images([[[0.1]]], "t")) == ["t"]


def test_images_keep_their_proportions() -> None:
    drawn = images([np.ones((10, 40)), np.ones((5, 5))], "t", size=80)
    sizes = re.findall(r'<rect [^>]*width="([\d.]+)" height="([\d.]+)" style="fill:none', drawn)
    assert sizes == [("80.0", "20.0"), ("80.0", "80.0")]


def rectangles(drawn: str) -> list[tuple[str, float, float]]:
    found = re.findall(r'<rect class="dot-(\w)" x="([-\d.]+)" y="[\d.]+" width="([\d.]+)"', drawn)
    return [(ink, float(x), float(width)) for ink, x, width in found]


def test_bars_are_as_long_as_their_values() -> None:
    (_, x, long), (_, other, short) = rectangles(bars({"a": 4.0, "b": 1.0}, "t"))
    assert x == other
    assert long == pytest.approx(4 * short, abs=0.2)


def test_bars_go_both_ways_from_nought() -> None:
    drawn = bars({"more": 3.0, "less": -1.5, "none": float("nan")}, "t", unit=" x", spread={"less": 0.5})
    (up, nought, long), (down, x, short) = rectangles(drawn)
    assert (up, down) == ("c", "b")
    assert long == pytest.approx(2 * short, abs=0.2)
    assert x + short == pytest.approx(nought, abs=0.2)
    assert {"3 x", "-1.5 x ± 0.5", "—"} <= set(texts(drawn))


def test_names_make_room_for_each_other() -> None:
    points = {f"word{i}": (float(i % 3) * 0.02, float(i // 3)) for i in range(9)}
    drawn = scatter(points, "t", width=900)
    places = [(float(x), float(y)) for x, y in re.findall(r'class="name name-b" x="([-\d.]+)" y="([-\d.]+)"', drawn)]
    boxes = [(x, y - 10, x + 6.5 * 5, y + 2) for x, y in places]
    apart = [
        a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1] for i, a in enumerate(boxes) for b in boxes[:i]
    ]
    assert len(boxes) == 9
    assert all(apart)


def test_points_that_are_nowhere_are_left_out() -> None:
    drawn = scatter(
        {"a": (0, 0), "b": (1, 2), "c": (float("nan"), 1)}, "t", arrows=[("a", "b"), ("a", "c")], marked=["b"]
    )
    assert [t for t in texts(drawn) if t in ("a", "b", "c")] == ["a", "b"]
    assert drawn.count("<path") == 1
    assert 'dot-c" ' in drawn


def test_drawings_side_by_side_lie_beside_and_below_each_other() -> None:
    one = images([np.ones((2, 2))], "one", size=100)
    drawn = side_by_side([one, one, one], "all", across=2)
    places = [(float(x), float(y)) for x, y in re.findall(r"translate\(([\d.]+) ([\d.]+)\)", drawn)]
    assert places[0][1] == places[1][1] < places[2][1]
    assert places[0][0] == places[2][0] == 0 < places[1][0]
    assert texts(drawn) == ["all", "one", "one", "one"]


def test_a_file_brings_its_colours_and_its_size() -> None:
    drawn = svg_file(bars({"a": 1.0}, "t"))
    root = ElementTree.fromstring(drawn)
    x, y, width, height = map(float, root.attrib["viewBox"].split())
    assert (root.attrib["width"], root.attrib["height"]) == (f"{width:g}", f"{height:g}")
    assert (x, y) == (-12, -12)
    assert "--ink: #1e1b16" in drawn
    assert "prefers-color-scheme: dark" in drawn
    assert "svg .dot-b" in drawn
    assert "blockquote" not in drawn
    assert len(drawn) < 6000


anything = st.floats(-1e9, 1e9, allow_subnormal=False) | st.sampled_from(
    [0.0, float("nan"), float("inf"), float("-inf")]
)
names = st.lists(st.text(max_size=12), min_size=6, max_size=6, unique=True)


@given(st.lists(st.lists(anything, min_size=3, max_size=3), min_size=1, max_size=4), names, st.booleans())
def test_any_numbers_and_names_make_a_drawing(values: list[list[float]], named: list[str], numbers: bool) -> None:
    title, *others = named
    pairs = {name: (line[0], line[1]) for name, line in zip(others, values, strict=False)}
    single = {name: line[2] for name, line in zip(others, values, strict=False)}
    for drawn in (
        heatmap(values, title, rows=others[: len(values)], columns=others[:3], numbers=numbers, x_title=title),
        heatmap(values, title, scale="share", cell=3, columns=others[:3], y_title=title),
        images([values, values], title, names=others[:2], across=1),
        bars(single, title, unit=title, spread=dict.fromkeys(others[:1], 1.0)),
        scatter(pairs, title, x_title=title, y_title=title, arrows=[(others[0], others[0])]),
    ):
        ElementTree.fromstring(svg_file(drawn))
        assert not re.search(r'="[^"]*\b(nan|inf)\b[^"]*"', re.sub(r'aria-label="[^"]*"', "", drawn))


def plates() -> dict[str, str]:
    """One of each, with long names and titles."""
    random = np.random.default_rng(1)
    long = ["King James", "Basic English", "averaged embeddings", "a", "tf-idf of words"]
    line = [(float(x), float(x) ** 2) for x in range(10)]
    chart = draw(Chart("A line of squares", [Series("squares", line, "a"), Series("again", line, "c")], "x", width=360))
    everything = {
        "numbers": heatmap(random.random((3, 5)), "Shares", rows=["T = 0.5", "T = 1", "T = 2"], columns=long,
                           scale="share", numbers=True, x_title="score"),
        "signed": heatmap(random.normal(size=(5, 26)), "Each letter's say in five things, signed", rows=long,
                          columns=list("abcdefghijklmnopqrstuvwxyz"), cell=22, x_title="letter", y_title="thing"),
        "slanted": heatmap(random.normal(size=(12, 5)), "Slanted names", columns=long, y_title="row"),
        "tiny": heatmap(random.normal(size=(60, 60)), "Small cells", rows=[f"row {i}" for i in range(60)],
                        columns=[f"column {i}" for i in range(60)], cell=5),
        "images": images([random.random((8, 8)) for _ in range(6)], "Images", names=[*long, "b"], across=3),
        "weights": images([random.normal(size=(8, 8))], "Signed", scale="signed", limit=2.0, size=120),
        "bars": bars(dict(zip(long, (3.0, 2.2, 0.01, 1.7, 2.9), strict=True)), "Bars", unit=" s", spread={"a": 0.3}),
        "both ways": bars(dict(zip(long, (3.0, -2.2, 0.01, -1.7, 2.9), strict=True)), "Bars both ways"),
        "scatter": scatter({f"{name} {i}": random.normal(size=2).tolist() for i, name in enumerate(long)},
                           "Points with names", x_title="first", y_title="second", arrows=[("a 3", "King James 0")],
                           marked=["a 3"]),
    }  # fmt: skip
    return {**everything, "side by side": side_by_side([chart, chart, everything["weights"]], "Several", across=2)}


@pytest.fixture(scope="module")
def in_browser() -> Any:
    """Draws a file in a browser and tells what of its text reaches over its edge or over other text."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
            timeout=240_000,
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1400})

        def troubles(drawn: str) -> list[str]:
            page.set_content(f"<body style='margin:0'>{svg_file(drawn)}</body>")
            return page.evaluate(
                """() => {
                    const svg = document.querySelector("svg").getBoundingClientRect();
                    const all = [...document.querySelectorAll("svg text")].map(t => [t.textContent,
                        t.getBoundingClientRect(), (t.getAttribute("transform") || "").includes("rotate")]);
                    const over = all.filter(([, b]) => b.left < svg.left || b.right > svg.right || b.top < svg.top
                        || b.bottom > svg.bottom).map(([t]) => t + " over the edge");
                    const met = [];
                    all.forEach(([t, a, turned], i) => all.slice(0, i).forEach(([u, b, other]) => {
                        // Boxes of slanted names overlap, though the names do not.
                        if (turned || other) return;
                        const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
                        const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
                        if (w > 1 && h > 4) met.push(t + " on " + u);
                    }));
                    return [...over, ...met];
                }"""
            )

        yield troubles
        browser.close()


@pytest.mark.timeout(300)
def test_text_stays_inside_and_apart(in_browser: Callable[[str], list[str]]) -> None:
    found = {name: in_browser(drawn) for name, drawn in plates().items()}
    assert {name: trouble for name, trouble in found.items() if trouble} == {}
