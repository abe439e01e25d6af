"""Replay through training in a browser: the figure that is open is drawn of the model that is chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from cutaway.infer import LanguageModel, load
from cutaway.model import ModelConfig, save_model
from cutaway.serve.offers import offers
from cutaway.tokens import Tokenizer
from cutaway.train.pretrain import keep_model, new_model
from cutaway.train.snapshots import SNAPSHOTS

pytestmark = pytest.mark.timeout(300)

TEXT = "In the beginning God made the heaven and the"
STEPS = (0, 1, 12)


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    """Not served; it keeps the fixtures from a scripted model."""
    return LanguageModel("none", new_model(ModelConfig.from_depth(1, tokenizer.vocab_size, context=64), 0), tokenizer)


@pytest.fixture
def run(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    """Two stages, of which the first kept three models; each model is another."""
    config, run = ModelConfig.from_depth(1, tokenizer.vocab_size, context=64), tmp_path / "way"
    for seed, step in enumerate(STEPS):
        place = run / "pretrain" / SNAPSHOTS / f"step-{step:06d}"
        save_model(new_model(config, seed), place, token_ids=tokenizer.token_ids)
        tokenizer.save(place)
    for seed, stage in ((10, "pretrain"), (11, "sft")):
        keep_model(new_model(config, seed), tokenizer, run / stage)
    (run / "pretrain" / "metrics.jsonl").write_text('{"step": 1000, "loss": 2.5}\n')
    return run


@pytest.fixture
def live(serve_live: Any, run: Path) -> Any:
    return serve_live(offers([str(run)]))


def pattern(page: Page) -> torch.Tensor:
    """The table twin of the pattern of head 0."""
    name = re.compile(r"^blocks\.0\.attn\.hook_pattern \[0\]$")
    figure = page.locator("figure", has=page.locator("code", has_text=name))
    if not figure.locator("table").count():
        figure.get_by_text("The numbers").click()
    rows = figure.locator("tbody tr")
    expect(rows.first).to_be_visible()
    cells = [rows.nth(i).locator("td").all_text_contents() for i in range(rows.count())]
    return torch.tensor([[float(cell.replace("−", "-")) for cell in row] for row in cells])


def drawn_of(page: Page, model: Path) -> None:
    """Wait until the figure is that of a model."""
    expected = load(model).trace(TEXT)["blocks.0.attn.hook_pattern"][0, 0]
    for _ in range(50):
        if torch.allclose(pattern(page), expected, atol=6e-4):
            return
        page.wait_for_timeout(200)
    assert torch.allclose(pattern(page), expected, atol=6e-4)


def test_the_figure_follows_the_slider(page: Page, live: Any, run: Path) -> None:
    kept = run / "pretrain" / SNAPSHOTS
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn")
    replay = page.get_by_role("group", name="Replay through training")
    slider = replay.get_by_role("slider")
    expect(replay.locator("output")).to_have_text("sft, its end")
    drawn_of(page, run / "sft" / "model")
    slider.focus()
    for key, says, model, named in (
        ("ArrowLeft", "pretrain, step 1,000", run / "pretrain" / "model", "model=way%3Apretrain&"),
        ("Home", "pretrain, untrained", kept / "step-000000", "model=way%3Apretrain%400&"),
        ("ArrowRight", "pretrain, step 1", kept / "step-000001", "model=way%3Apretrain%401&"),
    ):
        page.keyboard.press(key)
        expect(replay.locator("output")).to_have_text(says)
        expect(slider).to_have_attribute("aria-valuetext", says)
        drawn_of(page, model)
        expect(page).to_have_url(re.compile(re.escape(named)))
    replay.get_by_role("button", name="The next model").click()
    drawn_of(page, kept / "step-000012")
    # What is in the address can be shared.
    page.reload()
    expect(replay.locator("output")).to_have_text("pretrain, step 12")
    drawn_of(page, kept / "step-000012")
    page.get_by_role("radio", name="sft").check()
    expect(replay.locator("output")).to_have_text("sft, its end")
    expect(page).to_have_url(re.compile("model=way%3Asft"))


def test_it_plays_to_the_end(page: Page, live: Any, run: Path) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn&model=way:pretrain@1")
    replay = page.get_by_role("group", name="Replay through training")
    replay.get_by_role("button", name="Play").click()
    expect(replay.get_by_role("button", name="Pause")).to_be_visible()
    expect(replay.locator("output")).to_have_text("pretrain, step 12")
    expect(replay.locator("output")).to_have_text("sft, its end")
    expect(replay.get_by_role("button", name="Play")).to_be_visible()
    drawn_of(page, run / "sft" / "model")


@pytest.mark.parametrize("page", [{"reduced_motion": "reduce"}], indirect=True)
def test_nothing_moves_by_itself_where_less_motion_is_wanted(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=inside")
    replay = page.get_by_role("group", name="Replay through training")
    expect(replay.get_by_role("button", name="The model before")).to_be_visible()
    expect(replay.get_by_role("button", name="Play")).to_have_count(0)


def test_a_step_that_was_not_kept_is_told(page: Page, live: Any, trouble: list[str]) -> None:
    page.goto(f"{live.url}/?view=inside&model=way:pretrain@5")
    expect(page.get_by_role("alert").last).to_contain_text("No model was kept at that step")
    page.get_by_role("button", name="The model before").click()
    expect(page.get_by_role("alert")).to_have_count(0)
    trouble[:] = [each for each in trouble if "404" not in each]


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    page.goto(f"{live.url}/?view=inside&part=blocks.0.attn&model=way:pretrain@1")
    expect(page.get_by_role("group", name="Replay through training")).to_be_visible()
    fits("replay")
