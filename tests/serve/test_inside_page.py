"""The inside of a model in a browser: what is drawn is what the model has, and what is changed changes the answer."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, Route, expect
from torch import Tensor

from cutaway.infer import LanguageModel
from cutaway.lens import Trace, one_head
from cutaway.model import ModelConfig, Transformer
from cutaway.tokens import Tokenizer

pytestmark = pytest.mark.timeout(300)

TEXT = "In the beginning God made the heaven and the"


@pytest.fixture
def lm(tokenizer: Tokenizer, request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)
    changed = dataclasses.replace(config, **getattr(request, "param", {}))
    return LanguageModel("demo", Transformer(changed), tokenizer)


@pytest.fixture
def live(serve_live: Any) -> Any:
    return serve_live()


def numbers(page: Page, tensor: str) -> list[list[float]]:
    """The table twin of the figure of a tensor."""
    figure = page.locator("figure", has=page.locator("code", has_text=re.compile(f"^{re.escape(tensor)}$")))
    if not figure.locator("table").count():
        figure.get_by_text("The numbers").click()
    rows = figure.locator("tbody tr")
    expect(rows.first).to_be_visible()
    return [
        [float(cell.replace("−", "-")) for cell in rows.nth(i).locator("td").all_text_contents()]
        for i in range(rows.count())
    ]


def reds(page: Page, tensor: str) -> list[int]:
    """How red each pixel of its picture is."""
    figure = page.locator("figure", has=page.locator("code", has_text=re.compile(f"^{re.escape(tensor)}$")))
    return figure.locator("canvas").evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"
    )


def told(number: Tensor) -> re.Pattern[str]:
    """How the page begins to tell a number."""
    return re.compile("^" + f"{float(number):.3f}".replace("-", "−")[:4])


def close(found: list[list[float]], expected: Tensor) -> bool:
    return torch.allclose(torch.tensor(found), expected.float(), atol=6e-4, rtol=0.06)


def test_attention_is_the_models(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.1.attn&head=1")
    expect(page.get_by_role("heading", name="Head 1")).to_be_visible()
    trace = lm.trace(TEXT)
    pattern = trace["blocks.1.attn.hook_pattern"][0, 1]
    assert close(numbers(page, "blocks.1.attn.hook_pattern [1]"), pattern)
    # The more of the ink that stands for a share of 1, the less red: the picture says what the table says.
    red = torch.tensor(reds(page, "blocks.1.attn.hook_pattern [1]")).view_as(pattern)
    sheet, ink = 0xFF, 0x2B
    assert torch.allclose((sheet - red) / (sheet - ink), pattern, atol=0.006)
    assert close(numbers(page, "blocks.1.attn.hook_v [·, 0]"), trace["blocks.1.attn.hook_v"][0, :, 0, :64])
    last = len(pattern) - 1
    assert close(numbers(page, f"blocks.1.attn.hook_z [{last}, 1]"), trace["blocks.1.attn.hook_z"][0, last, 1:2, :64])


@pytest.mark.parametrize("lm", [{}, {"attention_softcap": 0.5, "attention_scale": 0.4}], indirect=True)
def test_the_steps_of_one_head_are_the_models(page: Page, live: Any, lm: LanguageModel) -> None:
    query = 5
    page.goto(f"{live.url}/?view=inside&part=blocks.1.attn&head=1&at={query}&step=1")
    keys = page.get_by_role("region", name="Keys, scores, shares and values")
    expect(keys.locator("thead th")).to_have_text(["key of", "key", "q · k", "change"])
    page.get_by_role("button", name="2 scale").click()
    page.get_by_role("button", name="3 mask").click()
    expect(page).to_have_url(re.compile("step=3"))
    found = one_head(lm.trace(TEXT), 1, 1, query)
    dots = found.k @ found.q
    scaled = dots * lm.config.scale
    if cap := lm.config.attention_softcap:
        scaled = cap * torch.tanh(scaled / cap)
        expect(keys.locator("thead")).to_contain_text("capped at ±0.500")
    rows = keys.locator("tbody tr")
    cells = [rows.nth(i).locator("td").all_text_contents()[1:4] for i in range(rows.count())]
    columns = [torch.tensor([float(row[i].replace("−", "-").replace("∞", "inf")) for row in cells]) for i in range(3)]
    assert torch.allclose(columns[0], dots, atol=2e-3)
    assert torch.allclose(columns[1], scaled, atol=2e-3)
    assert torch.allclose(columns[2], found.scores, atol=2e-3)
    # What is scaled in the page is what the model scaled, wherever it is not masked.
    assert torch.allclose(columns[1][: query + 1], found.scores[: query + 1], atol=2e-3)
    page.get_by_role("button", name="5 values").click()
    shares = [float(text.rstrip("%")) / 100 for text in keys.locator("tbody .share").all_text_contents()]
    assert torch.allclose(torch.tensor(shares), found.pattern, atol=6e-3)
    expect(page).not_to_have_url(re.compile("step="))
    # The heads share keys in groups: which is drawn stands below.
    shared = 1 * lm.config.n_kv_heads // lm.config.n_heads
    for part, place in zip(found.names, (f"[{query}, 1]", f"[·, {shared}]"), strict=False):
        expect(page.locator("figcaption", has_text=f"{part} {place}").first).to_be_visible()


def test_what_follows_an_ablated_head(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn")
    page.get_by_role("button", name="Ablate this head").click()
    changes = page.get_by_role("region", name="Changes")
    expect(changes).to_contain_text("head 0.0 writes nothing")
    expect(page).to_have_url(re.compile("edits="))
    page.get_by_role("button", name="next token").click()
    ablated = lm.trace(TEXT, replace={"blocks.0.attn.hook_z": lambda z: torch.cat([z[:, :, :1] * 0, z[:, :, 1:]], 2)})
    first = page.locator("tbody tr").first.locator("td").first
    expect(first).to_have_text(told(ablated.logits[0, -1].max()))
    # What is in the address can be shared: it opens with the same change, and can be undone.
    page.reload()
    changes.get_by_role("button", name="Undo: head 0.0 writes nothing").click()
    expect(changes).to_have_count(0)
    expect(first).to_have_text(told(lm.trace(TEXT).logits[0, -1].max()))


def test_changes_at_positions_end_with_their_text(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn")
    changes = page.get_by_role("region", name="Changes")

    def change() -> None:
        page.get_by_label("Score that").fill("12")
        page.get_by_role("button", name="Set", exact=True).click()
        expect(changes.locator("li")).to_have_count(2)

    page.get_by_role("button", name="Ablate this head").click()
    change()
    page.get_by_role("button", name="Leave out").nth(2).click()
    expect(changes.locator("li")).to_have_text([re.compile("head 0.0 writes nothing")])
    expect(page.get_by_role("status")).to_have_text("1 change at positions of the text as it was is undone.")
    change()
    expect(page.get_by_role("status")).to_be_empty()
    page.get_by_role("button", name="Put 1 back").click()
    expect(changes.locator("li")).to_have_count(1)
    change()
    page.get_by_label("What it reads").fill("Hi")
    expect(changes.locator("li")).to_have_count(1)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="next token").click()
    ids = lm.tokenizer.document("Hi")
    ablated = Trace(
        lm.model, ids, replace={"blocks.0.attn.hook_z": lambda z: torch.cat([z[:, :, :1] * 0, z[:, :, 1:]], 2)}
    )
    expect(page.locator("tbody tr td").first).to_have_text(told(ablated.logits[0, -1].max()))


def test_with_all_tokens_left_out_they_can_be_put_back(page: Page, live: Any, lm: LanguageModel) -> None:
    count = len(lm.tokenizer.document(TEXT))
    page.goto(f"{live.url}/?view=inside&without={','.join(map(str, range(count)))}")
    page.get_by_role("button", name=f"Put {count} back").click()
    expect(page.get_by_label("Tokens", exact=True).locator("li")).to_have_count(count)


def test_a_long_texts_figure_is_seen_at_once(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=inside&part=embed")
    page.get_by_label("What it reads").fill("and the sea " * 40)
    image = page.locator("figure button.image")
    expect(image).to_have_attribute("aria-label", re.compile(r"[1-9]\d\d position"))
    assert (image.bounding_box() or {})["height"] <= 720


def test_every_part_can_be_entered_by_keyboard(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=inside")
    for part, heading, tensor in (
        ("embedding", "Embedding", "hook_embed"),
        ("MLP", "Block 0: MLP", "blocks.0.mlp.hook_post"),
        ("stream", "The stream after block 0", "blocks.0.hook_resid_post"),
    ):
        button = page.get_by_label("Parts of the network").get_by_role("button", name=part).first
        button.focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert close(numbers(page, tensor), lm.trace(TEXT)[tensor][0, :, :64])
    figure = page.locator("figure button")
    figure.focus()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowRight")
    expect(page.locator("figcaption .chosen")).to_be_visible()
    expect(page).to_have_url(re.compile("[?&]at="))


def test_tokens_are_left_out_and_put_back(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn")
    tokens = page.get_by_label("Tokens", exact=True).locator("li")
    count = len(lm.tokenizer.document(TEXT))
    expect(tokens).to_have_count(count)
    page.get_by_role("button", name="Leave out").nth(2).click()
    expect(tokens).to_have_count(count - 1)
    ids = lm.tokenizer.document(TEXT)
    expected = Trace(lm.model, ids[:2] + ids[3:])["blocks.0.attn.hook_pattern"][0, 0]
    expect(page.get_by_role("region", name="Keys, scores").locator("tbody tr")).to_have_count(count - 1)
    assert close(numbers(page, "blocks.0.attn.hook_pattern [0]"), expected)
    page.get_by_role("button", name="Put 1 back").click()
    expect(tokens).to_have_count(count)


@pytest.mark.parametrize(
    ("part", "asked", "tensor", "figure"),
    [
        ("blocks.1.stream", "the stream after block 1", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"),
        ("blocks.1.mlp", "the neurons of block 1", "blocks.1.mlp.hook_post", "blocks.1.mlp.hook_post"),
        ("blocks.1.attn", "what head 1 gathers", "blocks.1.attn.hook_z", "blocks.1.attn.hook_z [{at}, 1]"),
    ],
)
def test_what_is_in_another_text_is_swapped_in(
    page: Page, live: Any, lm: LanguageModel, part: str, asked: str, tensor: str, figure: str
) -> None:
    page.goto(f"{live.url}/?view=inside&part={part}&head=1&step=5")
    field = page.get_by_label(f"Put in {asked} of another text")
    field.fill("short")
    page.get_by_role("button", name="Swap").click()
    expect(page.get_by_role("alert")).to_contain_text("is looked at")
    other = "In the beginning God made the heaven and a thing of many more words"
    field.fill(other)
    page.get_by_role("button", name="Swap").click()
    expect(page.get_by_role("region", name="Changes")).to_contain_text(f"{asked} at position")
    at = len(lm.tokenizer.document(TEXT)) - 1
    there = Trace(lm.model, lm.tokenizer.document(other)[: at + 1])[tensor][0, at]
    expected = there[1:2] if part.endswith("attn") else there[None]
    expect(page.get_by_role("alert")).to_have_count(0)
    found: list[list[float]] = []
    for _ in range(50):  # until it has been computed anew
        found = numbers(page, figure.format(at=at))[-1:]
        if close(found, expected[:, :64]):
            break
        page.wait_for_timeout(100)
    assert close(found, expected[:, :64])


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    for part in ("embed", "blocks.0.attn", "blocks.0.mlp", "blocks.0.stream", "unembed"):
        page.goto(f"{live.url}/?view=inside&part={part}")
        expect(page.locator("section h3").first).to_be_visible()
        fits(part)
        # The drawing is taller than the frame it scrolls in; the part that is open is in sight.
        current = page.locator("nav [aria-current=true]").bounding_box()
        frame = page.get_by_label("Parts of the network").bounding_box()
        assert current
        assert frame
        assert current["y"] >= frame["y"]
        assert current["y"] + current["height"] <= frame["y"] + frame["height"]


def test_a_model_that_was_not_kept_is_told_of(page: Page, live: Any, trouble: list[str]) -> None:
    held: list[Route] = []
    page.route("**/api/inside/checkpoints*", lambda route: held.append(route))
    page.goto(f"{live.url}/?view=inside&model=demo@7")
    alert = page.locator("main [role=alert]")
    expect(alert).to_contain_text("7")
    # What else is answered well does not take the error away.
    with page.expect_response("**/api/inside/checkpoints*") as answer:
        held[0].continue_()
    assert answer.value.ok
    page.wait_for_timeout(300)
    expect(alert).to_contain_text("7")
    assert all("404" in each for each in trouble)
    trouble.clear()


def test_the_names_of_the_settings_belong_to_the_sliders(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=inside")
    for name, low in (("Temperature", "0.00"), ("top-p", "0.05"), ("top-k", "all")):
        label = page.locator("main label", has_text=re.compile(f"^{name}"))
        assert label.evaluate("each => each.control.type") == "range"
        page.get_by_label(name).press("Home")
        expect(label.locator("..")).to_contain_text(low)
