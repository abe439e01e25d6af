"""The atlas's pages of a running model and of how it was made: what is drawn is what model and run have."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, Response, Route, expect

from cutaway.infer import LanguageModel, Sampling
from cutaway.lens import Trace, surprise, surprise_within, without_blocks
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest
from cutaway.tokens import Tokenizer

pytestmark = pytest.mark.timeout(300)

TEXT = "In the beginning God made the heaven and the"


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)
    return LanguageModel("demo", Transformer(config).eval(), tokenizer)


@pytest.fixture
def live(serve_live: Any, small_run: Any) -> Any:
    live = serve_live()
    live.ids = small_run(live.run)
    return live


def turn_to(page: Page, live: Any, name: str) -> None:
    page.goto(f"{live.url}/?view=atlas&page={name}")


def number(text: str) -> float:
    """What the page says, as a number: 62% and 1,024 too."""
    found = re.search(r"-?\d[\d,]*(\.\d+)?(e-?\d+)?", text.replace("−", "-"))
    assert found, text
    return float(found[0].replace(",", "")) / (100 if text.strip().endswith("%") else 1)


def twin(page: Page, of: str) -> list[list[str]]:
    """The table twin of a figure, once it is opened."""
    table = page.get_by_role("region", name=f"The numbers of {of}")
    if not table.count():
        page.locator("details", has_text="The numbers").first.locator("summary").click()
    return cells(table)


def cells(table: Locator) -> list[list[str]]:
    expect(table.locator("tbody tr").first).to_be_visible()
    return [row.locator("th, td").all_text_contents() for row in table.locator("tbody tr").all()]


def chart(page: Page, name: str) -> list[list[float]]:
    """The table of a line chart."""
    figure = page.locator("figure", has=page.locator("code", has_text=name))
    if not figure.locator("table").count():
        figure.get_by_text("The numbers").click()
    return [[number(cell) for cell in row] for row in cells(figure)]


def test_stacking_is_the_logit_lens(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "stacking")
    depth = page.get_by_role("region", name="Depth at one position")
    expect(depth.locator("tbody tr")).to_have_count(3)
    plain = lm.trace(TEXT)
    answer = int(plain.logits[0, -1].argmax())

    def check(trace: Trace) -> None:
        for row, name in zip(
            cells(depth), ["blocks.0.hook_resid_pre", *(f"blocks.{i}.hook_resid_post" for i in (0, 1))], strict=True
        ):
            stream = trace[name][0, -1]
            assert lm.model.ln_final is not None
            with torch.no_grad():
                share = float(lm.model.logits(lm.model.ln_final(stream)).softmax(-1)[answer])
            assert row[0] == name
            assert number(row[2]) == pytest.approx(share, abs=0.0006)
            assert number(row[3]) == pytest.approx(float(stream.norm()), rel=0.01)

    check(plain)
    page.get_by_role("button", name="leave out block 0").click()
    expect(page.get_by_role("button", name="put back block 0")).to_be_visible()
    changed = Trace(lm.model, lm.tokenizer.document(TEXT), replace=without_blocks(2, [0]))
    norm = float(changed["blocks.0.hook_resid_post"][0, -1].norm())
    expect(depth.locator("tbody tr").nth(1).locator("td").nth(2)).to_have_text(re.compile(f"^{norm:.3f}"[:5]))
    check(changed)
    lens = page.get_by_role("region", name="The logit lens")
    assert lens.locator("tbody tr").count() == 3
    lens.get_by_role("button", name="Look at position 2").click()
    expect(page).to_have_url(re.compile("at=2"))


def test_the_objective_is_the_sum_of_the_bars(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "objective")
    expect(page.get_by_text("sum of the bars")).to_be_visible()
    bits = surprise(lm.model, lm.tokenizer.document(TEXT))
    found = [float(row[2]) for row in twin(page, "surprise")]
    assert found == pytest.approx(bits.tolist(), abs=0.002)
    told = [number(text) for text in page.locator("dl dd").all_text_contents()]
    loss = float(bits.mean()) * math.log(2)
    assert told == pytest.approx(
        [float(bits.sum()), loss, math.exp(loss), float(bits.sum()) / len(TEXT.encode())], rel=0.002
    )
    # The bars are as high as the numbers beside them.
    heights = [
        each.evaluate("each => each.getBoundingClientRect().height")
        for each in page.get_by_role("list", name="Tokens and their bits").locator("i").all()
    ][1:]
    assert [height / max(heights) for height in heights] == pytest.approx((bits / bits.max()).tolist(), abs=0.03)


def test_steps_are_those_that_were_measured(page: Page, live: Any, lm: LanguageModel) -> None:
    answers: list[dict[str, Any]] = []

    def keep(response: Response) -> None:
        if response.url.endswith("/api/atlas/steps"):
            answers.append(response.json())

    page.on("response", keep)
    turn_to(page, live, "inference")
    expect(page.get_by_text("8 steps, greedy")).to_be_visible()
    steps = answers[-1]["steps"]
    times = chart(page, "milliseconds a step")
    assert [row[0] for row in times] == [step["read"] for step in steps]
    assert [row[1] for row in times] == pytest.approx([step["cached"] for step in steps], rel=0.01, abs=0.001)
    assert [row[2] for row in times] == pytest.approx([step["recomputed"] for step in steps], rel=0.01, abs=0.001)
    config, ids = lm.config, lm.tokenizer.document(TEXT)
    a_token = 2 * 4 * config.n_layers * config.n_kv_heads * config.d_head
    held = chart(page, "cache.layers")
    assert [1000 * row[1] for row in held] == pytest.approx([a_token * (len(ids) + i) for i in range(8)], rel=0.001)
    written: list[int] = list(ids)
    for step in steps:
        with torch.no_grad():
            assert step["token"]["id"] == int(lm.model(torch.tensor([written]))[0, -1].argmax())
        written.append(step["token"]["id"])


def test_each_way_to_choose_is_samplings(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "decoding")
    table = page.get_by_role("region", name="The distribution, and what each way leaves of it")
    expect(table).to_be_visible()
    page.get_by_role("slider", name="top-k").fill("3")
    logits = lm.trace(TEXT).logits[:, -1].float()
    shares = logits.softmax(-1)[0]
    ways = [
        Sampling(temperature=0.7), Sampling(top_k=3), Sampling(top_p=0.8), Sampling(min_p=0.1), Sampling(typical_p=0.8)
    ]  # fmt: skip
    drawn = [way.distribution(logits)[0] for way in ways]
    expect(table.locator("tr.kept td").nth(2)).to_contain_text("3 ·")
    kept = table.locator("tr.kept td").all_text_contents()[1:]
    assert [int(number(text.split("·")[0])) for text in kept] == [int((each > 0).sum()) for each in drawn]
    rows = twin(page, "the distribution")
    for row, id_ in zip(rows, shares.topk(48).indices.tolist(), strict=True):
        assert float(row[1]) == pytest.approx(float(shares[id_]), rel=0.001)
        assert [float(cell) for cell in row[2:]] == pytest.approx([float(each[id_]) for each in drawn], rel=0.001)
    page.get_by_role("button", name=re.compile("tokens each way")).click()
    greedy = page.get_by_role("region", name="greedy").locator("p")
    expect(greedy).to_have_count(1)
    expect(page.get_by_role("region", name=re.compile("typical")).locator("p")).to_have_count(3)
    expect(page.get_by_role("region", name=re.compile("beam")).locator("p")).to_have_count(3)
    expected = lm.generate(TEXT, max_tokens=24)
    assert expected[:12] in (greedy.text_content() or "")


def test_context_is_measured_in_windows(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "context")
    text = "In the beginning God made the heaven and the earth. The sky is blue because air scatters light."
    page.get_by_label("The text").fill(text)
    ids = lm.tokenizer.document(text)
    last = len(ids) // 2
    widest = len(ids) - last
    expect(page.get_by_text(f"to {widest} the mean")).to_be_visible()
    rows = chart(page, "−log2 p")
    assert [row[0] for row in rows] == [*(each for each in (1, 2, 4, 8, 16, 32) if each < widest), widest]
    for window, mean, own in rows:
        bits = surprise_within(lm.model, ids, int(window), last)
        assert (mean, own) == pytest.approx((float(bits.mean()), float(bits[-1])), abs=0.002)
    page.get_by_role("slider", name=re.compile("The model may see")).fill("3")
    expect(page.get_by_text("With 3 tokens:")).to_be_visible()
    short = float(surprise(lm.model, ids[-4:])[-1])
    expect(page.get_by_text(f"With 3 tokens: {short:.2f} bits")).to_be_visible()
    assert page.locator("li.hidden").count() == len(ids) - 4


def test_a_text_of_ones_own_stays(page: Page, live: Any, lm: LanguageModel) -> None:
    text = "My own words, written at once."

    def late(route: Route) -> None:
        page.get_by_label("The text").fill(text)
        route.continue_()

    page.route("**/api/atlas/heldout*", late)
    turn_to(page, live, "context")
    ids = lm.tokenizer.document(text)
    expect(page.get_by_text(f"to {len(ids) - len(ids) // 2} the mean")).to_be_visible()
    expect(page.get_by_label("The text")).to_have_value(text)


def test_data_is_the_runs(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "data")
    expect(page.get_by_role("list", name="The funnel").locator("li")).to_have_count(3)
    stats = json.loads((live.run / "corpus" / "stats.json").read_text())
    read = stats["steps"][0]["sources"]["kjv"]
    assert twin(page, "the funnel")[0] == ["read", str(read["documents"]), str(read["bytes"])]
    expect(page.get_by_text("And thus.")).to_be_visible()
    boxes = page.get_by_role("list", name="Tokens").locator("li:not(.break) .id")
    expect(boxes).to_have_count(160)
    assert [int(text) for text in boxes.all_text_contents()] == live.ids[:160]
    page.get_by_role("slider", name=re.compile("from token")).fill("500")
    expect(boxes.first).to_have_text(str(live.ids[500]))
    assert [int(text) for text in boxes.all_text_contents()] == live.ids[500:660]


def test_the_loop_is_the_runs(page: Page, live: Any) -> None:
    turn_to(page, live, "loop")
    loop = page.get_by_role("list", name=re.compile("The loop at step"))
    expect(loop.locator("b")).to_have_text(["1,000", "2.000", "1.500", "0.010"])
    expect(page.get_by_text("In step 3")).to_be_visible()
    page.get_by_role("slider").fill("1")
    expect(loop.locator("b")).to_have_text(["1,000", "3.000", "1.000", "0.010"])
    expect(page.get_by_text("In step 1")).to_be_visible()
    assert chart(page, "grad_norm") == [[1, 0.5], [2, 1.0], [3, 1.5]]
    page.get_by_role("button", name=re.compile("^Loss")).hover()
    expect(loop).to_have_attribute("aria-label", re.compile("step 2"))


def test_scale_is_counted(page: Page, live: Any, lm: LanguageModel) -> None:
    turn_to(page, live, "scale")
    expect(page.get_by_text("What other sizes take")).to_be_visible()
    parameters = lm.model.n_parameters()
    assert [number(text) for text in page.locator("dl dd").all_text_contents()[:2]] == [parameters, 3000]
    rule = 6 * parameters * 3000
    expect(page.locator("math", has_text=f"{rule / 10 ** int(math.log10(rule)):.2f}")).to_have_count(1)
    rows = chart(page, "loss")
    assert [row[1] for row in rows] == [6, 3, 2]
    with live.client() as http:
        told = http.get("/api/atlas/scale", params={"model": "demo"}).json()
    assert [row[0] for row in rows] == pytest.approx([told["training"]["flops"] * share / 3 for share in (1, 2, 3)])
    beside = live.run.parent / "scaling"
    (beside / "ladder").mkdir(parents=True)
    Manifest.of_this_machine(seed=1).write(RunDirectory(beside))
    run = {
        "depth": 4, "width": 48, "parameters": 1000, "embeddings": 500, "tokens": 2000, "seconds": 1.0,
        "bits_per_byte": 2.5, "n": 100,
    }  # fmt: skip
    runs = [{**run, "name": "4x48", "flops": 1e7 * k, "loss": 6 - k} for k in (1, 2)]
    (beside / "ladder" / "runs.json").write_text(json.dumps(runs))
    (beside / "law.json").write_text(json.dumps({"E": 1.25, "A": 10.0, "alpha": 0.3, "B": 20.0, "beta": 0.4}))
    page.reload()
    assert chart(page, "scaling/ladder/runs.json") == [[1e7, 5], [2e7, 4]]
    expect(page.locator("math", has_text="1.25")).to_have_count(1)


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    for name in ("stacking", "objective", "data", "loop", "scale", "inference", "decoding", "context"):
        turn_to(page, live, name)
        expect(page.locator("article h2")).to_be_visible()
        fits(name)
