"""A network as circles and lines: all of them, as thick and coloured as the numbers say."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np

from cutaway.ladder.network_drawing import THICKEST, network_svg


def test_every_neuron_is_a_circle_and_every_weight_a_line() -> None:
    weights = [np.array([[1.0, -2.0, 0.5], [0.1, 0.2, 4.0]]), np.array([[-1.0, 3.0]])]
    activations = [np.array([0.1, 0.2, -0.3]), np.array([0.5, 0.6]), np.array([0.7])]
    svg = ElementTree.fromstring(network_svg(weights, activations, "net", ("a", "b", "c"), ("<out>",)))
    lines = list(svg.iter("line"))
    assert len(lines) == 8
    assert len({(circle.get("cx"), circle.get("cy")) for circle in svg.iter("circle")}) == 6
    told = {line.find("title").text: line for line in lines}
    assert told["4"].get("class") == "line-c"
    assert told["-2"].get("class") == "line-b"
    thick = {value: re.search(r"stroke-width:([\d.]+)", line.get("style")) for value, line in told.items()}
    widths = {float(value): float(found[1]) for value, found in thick.items()}
    assert widths[4] == THICKEST
    assert widths[-2] == THICKEST / 2
    texts = [text.text for text in svg.iter("text")]
    assert {"a", "b", "c", "<out>", "0.70", "−0.30"} <= set(texts)


def test_a_line_ends_at_the_neurons_that_its_weight_joins() -> None:
    weights = [np.array([[0.0, 7.0], [0.0, 0.0]])]
    svg = ElementTree.fromstring(network_svg(weights, [np.zeros(2), np.zeros(2)], "net"))
    line = next(line for line in svg.iter("line") if line.find("title").text == "7")
    circles = sorted({(float(c.get("cx")), float(c.get("cy"))) for c in svg.iter("circle")})
    # From the second input to the first output.
    assert (float(line.get("x1")), float(line.get("y1"))) == circles[1]
    assert (float(line.get("x2")), float(line.get("y2"))) == circles[2]
