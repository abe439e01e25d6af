"""The atlas from tokenization to the transformer block in a browser: what is drawn is what the model has."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from playwright.sync_api import Locator, Page, expect
from torch import Tensor

from cutaway.infer import LanguageModel
from cutaway.lens import Trace
from cutaway.lens.table import nearest
from cutaway.model import ModelConfig, Transformer
from cutaway.tokens import Tokenizer
from cutaway.tokens.inspection import Merges

pytestmark = pytest.mark.timeout(300)

TEXT = "In the beginning God made the heaven and the"


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    model = Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=256))
    with torch.no_grad():
        # Larger than at the start of training, so that heads and blocks differ by more than rounding.
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.mul_(4)
    return LanguageModel("demo", model, tokenizer)


@pytest.fixture
def live(serve_live: Any) -> Any:
    return serve_live()


def number(text: str) -> float:
    return float(text.replace("−", "-").replace("∞", "inf").replace(",", ""))


def twin(scope: Locator | Page, of: str) -> list[list[str]]:
    """The rows of a figure's table, each row's name first."""
    region = scope.get_by_role("region", name=f"The numbers of {of}", exact=True)
    if not region.count():
        for summary in scope.locator("summary", has_text="The numbers").all():
            if summary.locator("xpath=..").get_attribute("open") is None:
                summary.click()
    expect(region).to_be_visible()
    return region.evaluate("e => [...e.querySelectorAll('tbody tr')].map(r => [...r.cells].map(c => c.textContent))")


def column(rows: list[list[str]], at: int) -> Tensor:
    return torch.tensor([number(row[at]) for row in rows])


def reds(canvas: Locator) -> list[int]:
    return canvas.evaluate(
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"
    )


def close(found: Tensor, expected: Tensor, atol: float = 6e-4) -> bool:
    return torch.allclose(found, expected.float(), atol=atol, rtol=0.01)


def test_tokenization_replays_the_merges(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=atlas&page=tokenization")
    ids = lm.tokenizer.encode(TEXT)
    shown = page.get_by_label("Tokens", exact=True).locator(".id")
    expect(shown).to_have_text([str(id_) for id_ in ids])
    expect(page.locator("dl")).to_contain_text(f"{len(TEXT.encode()) / len(ids):.2f}")
    replays = Merges(lm.tokenizer).replay(TEXT)
    longest = max(replays, key=lambda each: len(each.steps))
    page.get_by_role("group", name="Words of the text").get_by_role("button").nth(replays.index(longest)).click()
    assert [int(row[3]) for row in twin(page, "merges")] == [step.rank for step in longest.steps]
    # From the start, merge by merge: a row more each time, and at last the tokens.
    page.get_by_role("button", name="From the start").click()
    rows = page.get_by_role("region", name="The merges, a row each").locator("li:not(.offers)")
    expect(rows).to_have_count(1)
    expect(rows.first.locator(".symbol")).to_have_count(len(longest.start))
    for step in longest.steps:
        expect(page.locator(".offer.lowest")).to_have_text(f"{step.rank:,}")
        page.get_by_role("button", name="Next merge").click()
        expect(rows.last.locator(".symbol")).to_have_count(len(step.symbols))
    expect(page.get_by_role("button", name="Next merge")).to_be_disabled()
    expect(page.locator("figcaption")).to_contain_text(", ".join(f"{id_:,}" for id_ in longest.ids))


def test_embeddings_rank_honestly(page: Page, live: Any, lm: LanguageModel) -> None:
    words = {word: lm.tokenizer.encode(f" {word}") for word in ("the", "is", "and", "sky", "light", "blue")}
    single = [word for word, ids in words.items() if len(ids) == 1][:4]
    assert len(single) == 4, words
    a, b, c, d = (words[word][0] for word in single)
    query = f"{single[1]} − {single[0]} + {single[2]} = {single[3]}".replace("+", "%2B")
    page.goto(f"{live.url}/?view=atlas&page=embeddings&sum={query}&words={'+'.join(words)}")
    found = nearest(lm.model.embed.weight.detach(), [b, c], [a], 12, d)
    assert found.answer is not None
    table = page.get_by_role("table", name="The nearest tokens")
    expect(table.locator("tbody tr")).to_have_count(12)
    cosines = [number(text) for text in table.locator("td.bar").all_text_contents()]
    assert close(torch.tensor(cosines), found.cosines)
    expect(table.locator("tr.given")).to_have_count(len({b, c} & set(found.tokens.tolist())))
    ranks = (found.answer.among_all, found.answer.among_others, found.answer.by_neighbour)
    expect(page.locator("dl dd")).to_have_text([f"{rank:,}" for rank in ranks])
    rows = twin(page, "hook_embed")
    assert close(column(rows, 1), lm.model.embed.weight[b])
    assert close(column(rows, 2), lm.model.embed.weight[a])
    points = twin(page, "embed.weight, projected")
    drawn = torch.stack([lm.model.embed.weight.detach()[words[row[0]][0]] for row in points]).double()
    axes = torch.linalg.svd(drawn - drawn.mean(0), full_matrices=False)
    expected = (drawn - drawn.mean(0)) @ axes.Vh[:2].T
    for axis in range(2):
        assert close(column(points, axis + 1).abs(), expected[:, axis].abs(), atol=2e-3)
    share = float((axes.S[:2] ** 2).sum() / (axes.S**2).sum())
    told = re.search(r"(\d+)% of the variance of these words", page.locator("article").inner_text())
    assert told
    assert int(told[1]) == round(100 * share)


def test_attention_step_by_step_is_the_models(page: Page, live: Any, lm: LanguageModel) -> None:
    query = 5
    page.goto(f"{live.url}/?view=atlas&page=attention&part=blocks.1.attn&head=1&at={query}")
    page.get_by_role("button", name="4 softmax").wait_for()
    rows = twin(page, "attention, step by step")
    trace = lm.trace(TEXT)
    attn = "blocks.1.attn."
    shared = 1 // (lm.config.n_heads // lm.config.n_kv_heads)
    keys, asks = trace[f"{attn}hook_rot_k"][0, :, shared], trace[f"{attn}hook_rot_q"][0, query, 1]
    dots = keys @ asks
    assert close(column(rows, 1), dots, atol=2e-3)
    assert close(column(rows, 2), dots * lm.config.scale, atol=2e-3)
    assert close(column(rows, 3), trace[f"{attn}hook_attn_scores"][0, 1, query], atol=2e-3)
    assert close(column(rows, 4), trace[f"{attn}hook_pattern"][0, 1, query])
    assert close(column(rows, 5), trace[f"{attn}hook_v"][0, :, shared].norm(dim=-1), atol=2e-3)
    # The strip of the sum: the more ink, the less red is left; its colour tells the sign.
    sum_ = trace[f"{attn}hook_z"][0, query, 1]
    most = trace[f"{attn}hook_v"][0, :, shared].abs().max()
    sheet, blue, orange = 0xFF, 0x1F, 0xC8
    ink = torch.where(sum_ < 0, sheet - blue, sheet - orange)
    red = torch.tensor(reds(page.locator("tfoot canvas")))
    assert torch.allclose((sheet - red) / ink, sum_.abs() / most, atol=0.02)
    # A key's own product, number by number.
    page.get_by_role("region", name="Keys, scores").get_by_role("button").nth(2).click()
    products = twin(page, "the product")
    assert close(column(products, 3), asks * keys[2], atol=2e-3)
    # Steps are taken back: what is not reached yet is not there.
    page.get_by_role("button", name="1 q · k").click()
    expect(page.locator("td.share")).to_have_count(0)
    expect(page.locator("tr.masked")).to_have_count(0)
    page.get_by_role("button", name="3 mask").click()
    expect(page.locator("tr.masked")).to_have_count(len(lm.tokenizer.document(TEXT)) - query - 1)


def test_heads_are_measured_and_taken_away(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=atlas&page=heads")
    page.get_by_role("button", name="loss without it").click()
    page.get_by_role("button", name=re.compile("^Measure all")).click()
    n = lm.config.n_heads
    with live.client() as http:
        said = http.post("/api/atlas/heads", json={"model": "demo"}).json()
    ids = [token["id"] for token in said["tokens"]]
    again = said["start"] + said["period"]
    expect(page.get_by_text("most missed")).to_be_visible()
    rows = twin(page, "all heads")
    assert len(rows) == 2 * n
    queries = range(again + 1, len(ids))

    def bits(replace: Any = None) -> Tensor:
        logits = Trace(lm.model, ids, replace=replace).logits[0, :-1].log_softmax(-1)
        return (-logits[range(len(ids) - 1), ids[1:]] / torch.log(torch.tensor(2.0)))[again:].mean()

    for i, row in enumerate(rows):
        layer, head = divmod(i, n)
        pattern = Trace(lm.model, ids)[f"blocks.{layer}.attn.hook_pattern"][0, head]
        for at, back in ((1, 1), (2, said["period"]), (3, said["period"] - 1), (5, 0)):
            assert number(row[at]) == pytest.approx(sum(float(pattern[q, q - back]) for q in queries) / 19, abs=1e-3)

        def off(z: Tensor, head: int = head) -> Tensor:
            z = z.clone()
            z[:, :, head] = 0
            return z

        without = bits({f"blocks.{layer}.attn.hook_z": off})
        assert number(row[6]) == pytest.approx(float(without - bits()), abs=2e-3)
    # A click enlarges a head; its pattern is the model's.
    page.get_by_role("button", name=re.compile(r"^Head 1\.1")).click()
    expect(page.get_by_role("heading", name="Head 1.1")).to_be_visible()
    figure = page.locator("figure", has=page.locator("code", has_text="blocks.1.attn.hook_pattern [1]"))
    red = torch.tensor(reds(figure.locator("canvas"))).view(len(ids), -1)
    pattern = Trace(lm.model, ids)["blocks.1.attn.hook_pattern"][0, 1]
    assert torch.allclose((0xFF - red) / (0xFF - 0x2B), pattern, atol=0.006)
    expect(page).to_have_url(re.compile("head=1"))


def test_a_position_on_its_way_through_a_block(page: Page, live: Any, lm: LanguageModel) -> None:
    page.goto(f"{live.url}/?view=atlas&page=block&part=blocks.1.attn&at=4")
    page.get_by_role("button", name="From the start").wait_for()
    rows = {row[0]: row for row in twin(page, "the block")}
    trace = lm.trace(TEXT)
    names = ["resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"]
    tensors = {name: trace[f"blocks.1.hook_{name}"][0, 4] for name in names}
    assert list(rows) == [
        "blocks.1.hook_resid_pre", "blocks.1.ln1.hook_out", "blocks.1.hook_attn_out", "blocks.1.hook_resid_mid",
        "blocks.1.ln2.hook_out", "blocks.1.hook_mlp_out", "blocks.1.hook_resid_post",
    ]  # fmt: skip
    for name, tensor in tensors.items():
        assert number(rows[f"blocks.1.hook_{name}"][1]) == pytest.approx(float(tensor.norm()), rel=1e-3, abs=1e-3)
    for written, stream in (("attn_out", "resid_pre"), ("mlp_out", "resid_mid")):
        cosine = torch.cosine_similarity(tensors[written], tensors[stream], dim=0)
        assert number(rows[f"blocks.1.hook_{written}"][2]) == pytest.approx(float(cosine), abs=1e-3)
    page.get_by_role("button", name="From the start").click()
    expect(page.locator("li.now")).to_contain_text("hook_resid_pre")
    expect(page.locator("li.ahead")).to_have_count(6)
    page.get_by_role("button", name="Next", exact=True).click()
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page.locator("li.now")).to_contain_text("hook_attn_out")
    expect(page.locator("code", has_text=re.compile("^blocks.1.hook_attn_out$"))).to_be_visible()


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    for name in ("tokenization", "embeddings", "attention", "heads", "block"):
        page.goto(f"{live.url}/?view=atlas&page={name}")
        expect(page.locator("figure").first).to_be_visible()
        fits(name)
