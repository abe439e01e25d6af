"""Where the nodes of a graph are drawn, and what is written on them."""

from __future__ import annotations

import re
import shutil
import subprocess
from itertools import combinations, pairwise
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutaway.ladder.autograd import Tensor
from cutaway.ladder.graph_drawing import dot, graph_svg
from cutaway.ladder.graph_layout import layered


def worked_example() -> Tensor:
    a, b, c = Tensor(2.0, "a"), Tensor(-3.0, "b"), Tensor(10.0, "c")
    result = a * b + c
    result.name = 'L "<x|y>"'
    result.backward()
    return result


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    n = draw(st.integers(1, 12))
    sizes = [(draw(st.integers(10, 90)), draw(st.integers(10, 60))) for _ in range(n)]
    arrows = [(i, j) for j in range(1, n) for i in draw(st.sets(st.integers(0, j - 1), max_size=3))]
    return [(float(w), float(h)) for w, h in sizes], arrows


@settings(deadline=None)
@given(graphs())
def test_nodes_lie_apart_and_arrows_point_to_the_right(graph: tuple[list, list]) -> None:
    sizes, arrows = graph
    layout = layered(sizes, arrows)
    boxes = [(x, y, x + w, y + h) for (x, y), (w, h) in zip(layout.corners, sizes, strict=True)]
    for (a, b, c, d), (e, f, g, h) in combinations(boxes, 2):
        assert c <= e + 1e-6 or g <= a + 1e-6 or d <= f + 1e-6 or h <= b + 1e-6
    for x0, y0, x1, y1 in boxes:
        assert -1e-6 <= x0 < x1 <= layout.width + 1e-6
        assert -1e-6 <= y0 < y1 <= layout.height + 1e-6
    for (start, end), route in zip(arrows, layout.routes, strict=True):
        assert route[0] == pytest.approx((boxes[start][2], (boxes[start][1] + boxes[start][3]) / 2), abs=1e-6)
        assert route[-1] == pytest.approx((boxes[end][0], (boxes[end][1] + boxes[end][3]) / 2), abs=1e-6)
        assert all(x0 <= x1 for (x0, _), (x1, _) in pairwise(route))


def test_what_can_be_drawn_without_a_crossing_is() -> None:
    # Two chains whose first nodes are named in one order and whose others in the opposite one.
    arrows = [(0, 3), (1, 2), (2, 4), (3, 5), (4, 6), (5, 6)]
    layout = layered([(20.0, 10.0)] * 7, arrows)
    middle = [y for _, y in layout.corners]
    assert (middle[0] - middle[1]) * (middle[3] - middle[2]) > 0
    assert (middle[2] - middle[3]) * (middle[4] - middle[5]) > 0


def test_an_arrow_over_several_columns_goes_around_what_lies_between() -> None:
    layout = layered([(20.0, 30.0)] * 4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    around = layout.routes[3]
    for node in (1, 2):
        left, top = layout.corners[node]
        beside = [y for x, y in around if left <= x <= left + 20]
        assert beside
        assert all(y < top or y > top + 30 for y in beside)


def test_the_text_for_graphviz_has_every_node_and_arrow() -> None:
    text = dot(worked_example())
    assert len(re.findall(r"^  n\d+ \[", text, re.MULTILINE)) == 5
    assert len(re.findall(r"^  n\d+ -> n\d+;", text, re.MULTILINE)) == 4
    assert re.search(r'label="\{a\|2\.000\|∂\\ −3\.000\}"', text)
    assert re.search(r'label="\{×\|−6\.000\|∂\\ 1\.000\}"', text)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it() -> None:
    drawn = subprocess.run(["dot", "-Tsvg"], input=dot(worked_example()), capture_output=True, text=True, check=True)
    told = "".join(ElementTree.fromstring(drawn.stdout).itertext())
    assert 'L "<x|y>"' in told.replace("\xa0", " ")


def test_the_drawing_shows_every_value_and_gradient() -> None:
    svg = ElementTree.fromstring(graph_svg(worked_example(), "a·b + c & more"))
    texts = [text.text for text in svg.iter("text")]
    assert texts[0] == "a·b + c & more"
    assert 'L "<x|y>" = +' in texts
    # Of a, b and c: the value, and the gradient below it.
    for name, value, gradient in (("a", "2.000", "−3.000"), ("b", "−3.000", "2.000"), ("c", "10.000", "1.000")):
        at = texts.index(name)
        assert texts[at : at + 3] == [name, value, gradient]
    assert len(list(svg.iter("rect"))) == 5
    assert len([path for path in svg.iter("path") if "line" in path.get("class", "")]) == 4


def test_of_a_large_array_only_shape_and_size_are_told() -> None:
    large = Tensor(np.full((8, 64), 3.0), "large")
    assert "8×64, rms 3.000" in graph_svg(large.sum(), "")
    assert len(graph_svg(large.sum(), "")) < 3000
