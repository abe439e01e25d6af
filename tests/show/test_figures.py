"""Figures in a notebook: what is drawn is what the trace has, whether scripts run or not."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, Frame, Page, expect, sync_playwright

from cutaway import show
from cutaway.infer import LanguageModel
from cutaway.lens import Trace, surprise
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput
from cutaway.show.figure import WEB
from cutaway.tokens import TokenizerSettings, train_tokenizer

CHROMIUM = Path("/usr/bin/chromium")
TEXT = "The sky is <b>blue</b>, </script> and the sea is not."
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=400), [TEXT] * 5, tmp_path_factory.mktemp("tokenizer"))
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=128)
    return LanguageModel("demo", Transformer(config), tokenizer)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists() or not (WEB / "notebook.js").exists():
        pytest.skip("no browser, or the figures are not built: python hatch_build.py build")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


Shown = Callable[..., Frame]


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[Shown]:
    """Puts a figure into a file as nbconvert would, opens that without a network and gives the figure's frame."""
    trouble: list[str] = []
    pages: list[Page] = []

    def open_(figure: show.Figure, **options: Any) -> Frame:
        file = tmp_path / "notebook.html"
        file.write_text(f"<!doctype html><meta charset=utf-8><body>{figure._repr_mimebundle_()['text/html']}", "utf-8")
        context = browser.new_context(offline=True, viewport={"width": 900, "height": 900}, **options)
        page = context.new_page()
        # Where scripts are off, Chromium says so.
        if options.get("java_script_enabled", True):
            page.on("console", lambda message: trouble.append(message.text))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(("file:", "about:", "data:")) else trouble.append(r.url))
        page.goto(file.as_uri())
        pages.append(page)
        frame = page.frames[1]
        frame.wait_for_selector("#figure > *")
        return frame

    yield open_
    for page in pages:
        page.context.close()
    assert trouble == []


def numbers(frame: Frame) -> list[list[float]]:
    """The table twin of the only large figure."""
    frame.get_by_text("The numbers").click()
    rows = frame.locator("tbody tr")
    expect(rows.first).to_be_visible()
    cells = [row.locator("td").all_text_contents() for row in rows.all()]
    return [[float(cell.replace("−", "-")) for cell in row] for row in cells]


def test_attention_is_drawn_from_the_trace(lm: LanguageModel, shown: Shown) -> None:
    trace = lm.trace(TEXT)
    pattern = trace["blocks.1.attn.hook_pattern"][0]
    frame = shown(show.attention(trace, layer=1))
    expect(frame.locator("h1")).to_have_text("Attention of block 1")
    expect(frame.get_by_role("button", name=re.compile(r"^Head \d$"))).to_have_count(len(pattern))
    last = len(pattern) - 1
    frame.get_by_role("button", name=f"Head {last}", exact=True).click()
    expect(frame.locator("figcaption code")).to_have_text(f"blocks.1.attn.hook_pattern [{last}]")
    n = pattern.shape[-1]
    # A share is as much of the ink as it is of 1.
    drawn = frame.evaluate(
        """() => {
          const canvas = document.querySelector('figure canvas');
          return [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    red = torch.tensor(drawn).view(n, n, 4)[..., 0].float()
    paper, ink = 0xFF, 0x2B
    assert torch.allclose((paper - red) / (paper - ink), pattern[last], atol=0.006)
    assert torch.allclose(torch.tensor(numbers(frame)), pattern[last], atol=6e-4)


def test_surprise_is_the_models(lm: LanguageModel, shown: Shown) -> None:
    trace = lm.trace(TEXT)
    frame = shown(show.tokens(trace))
    frame.get_by_text("The numbers").click()
    told = [float(cell) for cell in frame.locator("tbody td:last-child").all_text_contents()[1:]]
    assert torch.allclose(torch.tensor(told), surprise(lm.model, trace.read[0][0].tolist()), atol=6e-4)


def test_a_frame_is_as_high_as_its_figure(lm: LanguageModel, shown: Shown) -> None:
    trace = lm.trace(TEXT)
    matrix = trace["blocks.0.hook_resid_post"][0]
    chart = show.curve({"a": ([1, 2], [1, 2])}, name="a", x="x", y="y")
    for figure in (show.attention(trace), show.tokens(trace), show.heatmap(matrix, name="stream"), chart):
        frame = shown(figure)
        end = frame.evaluate("document.getElementById('figure').getBoundingClientRect().bottom")
        assert end <= figure.height < end + 100, figure.given["title"]


def test_only_readers_hear_what_the_picture_shows(lm: LanguageModel, shown: Shown) -> None:
    spoken = shown(show.tokens(lm.trace(TEXT))).locator("li").nth(1).locator(".visually-hidden")
    expect(spoken).to_have_text(["bits:", ", position 1"])
    for each in spoken.all():
        assert each.evaluate("(one) => one.getBoundingClientRect().width") <= 1


def test_rows_and_columns_have_names(shown: Shown) -> None:
    named = show.heatmap([[1.0, 2.0], [3.0, 4.0]], name="W", row_names=["sky", "sea"], column_names=["blue", "deep"])
    frame = shown(named)
    image = frame.get_by_role("button", name="W. 2 row by 2 column").bounding_box()
    assert image is not None
    for i, name in enumerate(("sky", "sea")):
        at = frame.locator(".names").get_by_text(name).bounding_box()
        assert at is not None
        assert at["x"] + at["width"] <= image["x"]
        middle = image["y"] + image["height"] * (i + 0.5) / 2
        assert at["y"] <= middle <= at["y"] + at["height"]
    for j, name in enumerate(("blue", "deep")):
        at = frame.locator(".names").get_by_text(name).bounding_box()
        assert at is not None
        assert at["y"] >= image["y"] + image["height"]
        middle = image["x"] + image["width"] * (j + 0.5) / 2
        assert at["x"] <= middle <= at["x"] + at["width"]


def test_numbers_of_ones_own(shown: Shown) -> None:
    values = torch.tensor([[1.0, -2.0, 0.25], [0.0, 4.0, -0.5]])
    frame = shown(show.heatmap(values, name="W", rows="in", columns="out"))
    assert torch.equal(torch.tensor(numbers(frame)), values)
    expect(frame.locator("figcaption")).to_contain_text("in ↓ · out →")
    frame = shown(show.curve({"loss": ([1, 2, 4], [3.0, 2.5, 2.25])}, name="loss", x="step", y="nats"))
    assert numbers(frame) == [[3.0], [2.5], [2.25]]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_figure_is_accessible(lm: LanguageModel, shown: Shown, scheme: str) -> None:
    axe = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not axe.is_file():
        pytest.skip("axe-core is not installed")
    frame = shown(show.attention(lm.trace(TEXT)), color_scheme=scheme)
    frame.evaluate(axe.read_text("utf-8"))
    found = frame.evaluate(
        "async () => (await axe.run()).violations.map((one) => [one.id, one.nodes.map((n) => n.html)])"
    )
    assert found == []


def test_without_scripts_there_is_a_table(lm: LanguageModel, shown: Shown) -> None:
    trace = lm.trace(TEXT)
    figure = show.attention(trace)
    frame = shown(figure, java_script_enabled=False)
    cells = frame.locator("tbody tr").last.locator("td").all_text_contents()[1:]
    pattern = trace["blocks.0.attn.hook_pattern"][0, 0]
    assert torch.allclose(torch.tensor([float(cell) for cell in cells]), pattern[-1, : len(cells)], atol=6e-4)
    assert figure._repr_mimebundle_()["text/plain"].splitlines()[0] == "Attention of block 0"


def test_a_text_is_never_markup(lm: LanguageModel, shown: Shown) -> None:
    frame = shown(show.heatmap([[1.0]], name="<img src=x onerror=alert(1)></script>", row_names=["<b>x</b>"]))
    assert frame.locator("h1").text_content() == "<img src=x onerror=alert(1)></script>"
    assert frame.locator("img, b").count() == 0
    document = html.unescape(show.tokens(lm.trace(TEXT))._repr_html_())
    assert document.count("</script>") == 2


def test_what_cannot_be_shown(lm: LanguageModel) -> None:
    trace = lm.trace(TEXT)
    with pytest.raises(BadInput, match="no head 99"):
        show.attention(trace, head=99)
    with pytest.raises(BadInput, match="several"):
        show.attention(Trace(lm.model, torch.zeros(2, 3, dtype=torch.long)))
    with pytest.raises(BadInput, match="rows and columns"):
        show.heatmap(torch.zeros(3), name="x")
    with pytest.raises(BadInput, match="1 names for 2"):
        show.heatmap(torch.zeros(2, 2), name="x", row_names=["a"])
    with pytest.raises(BadInput, match="2 places and 1 values"):
        show.curve({"a": ([1, 2], [1])}, name="x", x="x", y="y")
    with pytest.raises(BadInput, match="no numbers"):
        show.curve({"a": ([1], [float("nan")])}, name="x", x="x", y="y")
    with pytest.raises(BadInput, match="too many"):
        show.heatmap(torch.zeros(4096, 1025), name="x")


def test_without_the_built_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from cutaway.runs import CutawayError
    from cutaway.show import figure

    figure._bundle.cache_clear()
    monkeypatch.setattr(figure, "WEB", tmp_path)
    with pytest.raises(CutawayError, match="not built"):
        show.heatmap([[1.0]], name="x")._repr_html_()


def test_the_package_has_it_at_hand() -> None:
    code = "import cutaway, sys; assert 'torch' not in sys.modules; cutaway.show.attention"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_trace_without_a_tokenizer_has_numbers(lm: LanguageModel) -> None:
    figure = show.tokens(Trace(lm.model, [5, 6, 7]))
    assert [row[1] for row in figure.rows] == ["5", "6", "7"]
