"""Training from the page: a run is started, watched, stopped and gone on with; its corpus and tokenizer are shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest, StageRecord
from cutaway.tokens import Tokenizer

pytestmark = pytest.mark.timeout(300)

STATS = {
    "train": {"mine": {"documents": 80, "bytes": 6_000}, "world": {"documents": 10, "bytes": 500}},
    "heldout": {"mine": {"documents": 5, "bytes": 400}},
    "steps": [
        {"step": "read", "sources": {"mine": {"documents": 100, "bytes": 10_000}}},
        {"step": "duplicates removed", "sources": {"mine": {"documents": 90, "bytes": 8_000}}},
        {"step": "held out", "sources": {"mine": {"documents": 5, "bytes": 400}}},
        {"step": "overlap with held-out removed", "sources": {"mine": {"documents": 80, "bytes": 6_000}}},
    ],
    "removed": {
        "near duplicates": {
            "paragraphs": 12,
            "bytes": 2_000,
            "samples": [
                {"document": "mine/1", "paragraph": "<b>a copy</b>", "kept": "the first of it", "similarity": 0.875}
            ],
        }
    },
}
CRAWL = {
    "kind": "corpus",
    "documents": 3,
    "steps": {
        "read": {"documents_in": 9, "bytes_in": 900, "documents_out": 8, "bytes_out": 800, "changed": 0},
        "quality": {"documents_in": 8, "bytes_in": 800, "documents_out": 3, "bytes_out": 200, "changed": 0},
    },
    "removed": {
        "quality": {
            "mean word length": {
                "documents": 5,
                "bytes": 600,
                "sample": [
                    ["00", {"id": "a", "url": "http://a.example/", "value": 17.25, "threshold": 10, "text": "words"}]
                ],
            }
        }
    },
    "languages": {"en": [8, 3, 200]},
}


def with_stage(run: Path, stage: str) -> None:
    manifest = Manifest.read(RunDirectory(run)) or Manifest.of_this_machine(seed=1)
    manifest.stages[stage] = StageRecord(state="finished", settings_hash="", started="", seconds=1)
    (run / stage).mkdir(parents=True, exist_ok=True)
    manifest.write(RunDirectory(run))


@pytest.fixture
def live(serve_live: Any, tokenizer: Tokenizer) -> Any:
    live = serve_live()
    text = live.run.parent / "text.txt"
    text.write_text("How many roads are there, and where do they lead? " * 200)
    (live.run / "recipe.toml").write_text(
        f'kind = "text"\n[corpus]\ntext = ["{text}"]\n[pretrain]\ndepth = 1\nwidth = 32\nheads = 2\ncontext = 32\n'
        "row_length = 32\nbatch_tokens = 64\ntokens = 90_000_000\ncompile = false\nprecision = 'float32'\n"
    )
    with_stage(live.run, "corpus")
    (live.run / "corpus" / "stats.json").write_text(json.dumps(STATS))
    with_stage(live.run, "tokenizer")
    tokenizer.save(live.run / "tokenizer")
    return live


def test_a_run_is_started_stopped_and_resumed(page: Page, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    expect.set_options(timeout=120_000)
    page.goto(f"{live.url}/?view=watch")
    page.get_by_text("New run").click()
    page.get_by_label("Recipe").select_option("as in the run demo")
    expect(page.get_by_label("Tokens of pretraining")).to_have_attribute("placeholder", "90,000,000")
    expect(page.get_by_label("Blocks")).to_have_count(0)  # which follow from a recipe's depth, and stand in a run's
    page.get_by_label("Name").fill("mine")
    page.get_by_label("Seed").fill("7")
    page.get_by_role("button", name="Start", exact=True).click()
    run = page.get_by_role("region", name="The run mine")
    try:
        stop = run.get_by_role("button", name="Stop mine")
        expect(stop).to_be_visible()
        loss = page.locator("figure", has=page.locator("code", has_text=re.compile("^loss$")))
        expect(loss).to_be_visible()
        expect(page).to_have_url(re.compile("run=mine"))
        page.get_by_text("New run").click()
        expect(page.get_by_text("mine is at work: they share this machine")).to_be_visible()
        stop.click()
        resume = run.get_by_role("button", name="Resume mine")
        expect(resume).to_be_visible()
        run.get_by_text("Log").click()
        expect(run.get_by_role("region", name="Log of mine")).to_contain_text("stopped; the same command carries on")
        assert "seed = 7" in (live.run.parent / "mine" / "recipe.toml").read_text()
        resume.click()
        expect(stop).to_be_visible()
        stop.click()
        expect(resume).to_be_visible()
    finally:
        with live.client() as http:
            http.post("/api/runs/stop", json={"run": "mine"})


def test_what_is_refused_is_told(page: Page, live: Any, trouble: list[str]) -> None:
    page.goto(f"{live.url}/?view=watch")
    page.get_by_text("New run").click()
    page.get_by_label("Name").fill("demo")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("demo exists in")
    trouble[:] = [each for each in trouble if "409" not in each]


def test_the_funnel_of_a_corpus(page: Page, live: Any) -> None:
    page.goto(f"{live.url}/?view=watch")
    page.get_by_role("region", name="The run demo").get_by_role("button", name="corpus").click()
    rows = page.get_by_role("region", name="The funnel").locator("tbody tr")
    expect(rows).to_have_count(5)
    told = [[cell.strip() for cell in rows.nth(i).locator("th, td").all_text_contents()[:5]] for i in range(5)]
    assert told == [
        ["read", "", "100", "", "10 kB"],
        ["duplicates removed", "100", "90", "10 kB", "8.0 kB"],
        ["held out", "90", "5", "8.0 kB", "0.4 kB"],
        ["overlap with held-out removed", "85", "80", "7.6 kB", "6.0 kB"],
        ["texts of the invented world added", "80", "90", "6.0 kB", "6.5 kB"],
    ]
    # A bar's length is its share of the largest.
    bars = [rows.nth(i).locator("i.out") for i in range(5)]
    widths = [bar.evaluate("e => e.getBoundingClientRect().width") for bar in bars]
    assert [round(width / widths[0], 2) for width in widths] == [1, 0.8, 0.04, 0.6, 0.65]
    page.get_by_text("near duplicates").click()
    sample = page.locator("details", has_text="near duplicates").locator("li")
    expect(sample).to_contain_text("<b>a copy</b>")  # what was taken out is text
    expect(sample).to_contain_text("similarity 0.875")
    expect(sample).to_contain_text("the first of it")
    expect(page).to_have_url(re.compile("stage=corpus"))


def test_the_funnel_of_a_crawl(page: Page, live: Any) -> None:
    (live.run / "corpus" / "stats.json").write_text(json.dumps(CRAWL))
    page.goto(f"{live.url}/?view=watch&stage=corpus")
    page.get_by_text("quality: mean word length").click()
    sample = page.locator("details", has_text="mean word length").locator("li")
    expect(sample).to_contain_text("measured 17.250, limit 10.000")
    expect(sample).to_contain_text("http://a.example/")


def test_the_merges_of_a_tokenizer(page: Page, live: Any, tokenizer: Tokenizer) -> None:
    page.goto(f"{live.url}/?view=watch")
    page.get_by_role("region", name="The run demo").get_by_role("button", name="tokenizer").click()
    learned = page.get_by_role("list", name="Merges in the order in which they were learned").locator("li")
    expect(learned).to_have_count(24)
    with live.client() as http:
        first = http.get("/api/runs/merges", params={"run": "demo", "count": 1}).json()["merges"][0]
    shown = [first[part]["text"].replace(" ", "·") for part in ("left", "right", "joined")]
    assert learned.first.locator("code").all_text_contents() == shown
    page.get_by_label("Word or text").fill(" beginning of the")
    steps = page.get_by_role("list", name="Merges of part 1").locator("li")
    expect(steps.first).to_contain_text("bytes")
    expect(page).to_have_url(re.compile("word="))
    # After the last merge of each part the tokens are what the tokenizer makes of the text.
    expect(page.get_by_role("list", name=re.compile("Merges of part"))).to_have_count(3)
    parts = page.get_by_role("list", name=re.compile("Merges of part"))
    last = [parts.nth(i).locator("li").last.locator(".symbols code").all_text_contents() for i in range(parts.count())]
    ids = tokenizer.encode(" beginning of the")
    assert [symbol for part in last for symbol in part] == [
        tokenizer.token_bytes(id_).decode().replace(" ", "·") for id_ in ids
    ]


@pytest.mark.parametrize("page", [{"viewport": {"width": 390, "height": 844}}], indirect=True)
def test_phone(page: Page, live: Any, fits: Callable[[str], None]) -> None:
    for stage in ("corpus", "tokenizer"):
        page.goto(f"{live.url}/?view=watch&stage={stage}")
        expect(page.get_by_role("heading", name=f"Watch: {stage}")).to_be_visible()
        fits(stage)
