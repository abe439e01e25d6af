"""Lines on several charts."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from cutaway.evals.charts import Chart, Series
from cutaway.pipeline.rungs.panels import panels

RISING, FALLING, HIGH = [(0.0, 0.0), (1.0, 2.0)], [(0.0, 2.0), (1.0, 1.0)], [(0.0, 5.0), (1.0, 8.0)]


def inks(drawn: str) -> list[str]:
    return re.findall(r'class="name name-(\w+)"', drawn)


def heights(drawn: str) -> list[float]:
    """Where lines' ends are."""
    return [float(y) for y in re.findall(r'<circle class="dot dot-\w+" cx="[\d.]+" cy="([-\d.]+)"', drawn)]


def test_one_group_has_one_chart() -> None:
    drawn = panels(Chart("Title", [], "x"), {"group": {"up": RISING, "down": FALLING}})
    assert drawn.count("<svg") == 1
    assert "group" not in drawn
    assert 'viewBox="0 0 640 ' in drawn
    assert len(set(inks(drawn))) == 2


def test_no_ink_is_used_twice_in_a_chart_and_all_have_one_scale() -> None:
    lines = {f"line {i}": RISING for i in range(5)}
    drawn = panels(Chart("Title", [], "x"), {"many": lines, "one": {"high": HIGH}})
    ElementTree.fromstring(drawn)
    assert drawn.count(">many<") - drawn.count("<title>many<") == 2
    assert len(inks(drawn)) == 6
    assert len(set(inks(drawn)[:4])) == 4
    ends = heights(drawn)
    # All that rise to 2 end at one height, a quarter of the way up to the 8.
    assert len({*ends[:5]}) == 1
    assert ends[5] < ends[0]


def test_what_the_chart_brings_is_on_each() -> None:
    mark = Series("here", [(0.5, 0.0), (0.5, 8.0)], "soft")
    drawn = panels(Chart("Title", [mark], "x"), {"a": {"up": RISING}, "b": {"high": HIGH}})
    assert drawn.count(">here<") == 2


def test_nothing_to_draw() -> None:
    assert panels(Chart("Title", [], "x"), {}) == ""
    assert panels(Chart("Title", [], "x"), {"a": {}, "b": {"dot": [(0.0, 1.0)]}}) == ""
