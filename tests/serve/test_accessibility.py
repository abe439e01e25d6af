"""Nothing on the page that axe-core finds fault with, in the light and in the dark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Page, expect

from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest, StageRecord
from cutaway.tokens import Tokenizer
from cutaway.train.snapshots import SNAPSHOTS

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed; run: python hatch_build.py check"),
]

VIEWS = {
    "view=talk": "Ask your model something",
    "view=watch": "Watch",
    "view=watch&stage=corpus": "What is left",
    "view=watch&stage=tokenizer": "A word, merge by merge",
    "view=tokens": "What the model reads",
    "view=inside": "What comes after",
    "view=inside&model=demo:pretrain@1": "Through training",
    "view=inside&part=embed": "Embedding",
    "view=inside&part=blocks.0.attn": "Block 0: attention",
    "view=inside&part=blocks.0.mlp": "Block 0: MLP",
    "view=inside&part=blocks.1.stream": "The stream after block 1",
    "view=atlas&page=tokenization": "The merges of a word",
    "view=atlas&page=embeddings&sum=the": "The table, seen flat",
    "view=atlas&page=attention&at=4": "number by number",
    "view=atlas&page=heads": "Head 0.0",
    "view=atlas&page=block": "Stream + MLP at all positions",
    "view=atlas": "From one neuron",
    "view=atlas&page=neuron": "Activation f",
    "view=atlas&page=layers": "Passes over the points",
    "view=atlas&page=activations": "The most that can be left",
    "view=atlas&page=training": "In each box",
    "view=atlas&page=generalisation": "stopped early",
    "view=atlas&page=digit": "Layer 1: 16 neurons",
    "view=atlas&page=rag": "What there is already",
    "view=atlas&page=stacking": "Every position, every depth",
    "view=atlas&page=objective": "sum of the bars",
    "view=atlas&page=data": "What is read in the end",
    "view=atlas&page=loop": "Written at step",
    "view=atlas&page=scale": "What other sizes take",
    "view=atlas&page=inference": "the cache holds",
    "view=atlas&page=decoding": "What each of them writes",
    "view=atlas&page=context": "Each point reads",
}


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel("demo", Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)), tokenizer)


@pytest.fixture
def live(serve_live: Any, small_run: Any, lm: LanguageModel) -> Any:
    live = serve_live()
    small_run(live.run)
    with_more(live.run, lm)
    return live


def with_more(run: Path, lm: LanguageModel) -> None:
    """The stages that Watch opens beside the curves, a log, and a model kept on the way of training."""
    manifest = Manifest.read(RunDirectory(run))
    assert manifest
    for stage in ("corpus", "tokenizer"):
        manifest.stages[stage] = StageRecord(state="finished", settings_hash="", started="")
    manifest.write(RunDirectory(run))
    (run / "run.log").write_text("corpus\n  done in 0:01\n")
    kept = run / "pretrain" / SNAPSHOTS / "step-000001"
    save_model(lm.model, kept, token_ids=lm.tokenizer.token_ids)
    lm.tokenizer.save(kept)


def test_axe_finds_nothing(page: Page, live: Any) -> None:
    """All rules in the light theme; the dark one has the same document, so there only those that look at colours."""
    found: list[str] = []
    for query, heading in VIEWS.items():
        page.emulate_media(color_scheme="light")
        page.goto(f"{live.url}/?{query}")
        expect(page.get_by_text(heading).first).to_be_visible()
        page.wait_for_timeout(400)
        for summary in page.locator("main summary").all():
            summary.click()
        page.evaluate(AXE.read_text())
        results = {"light": page.evaluate("axe.run(document, {resultTypes: ['violations']})")}
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(200)
        results["dark"] = page.evaluate(
            "axe.run(document, {runOnly: ['color-contrast', 'link-in-text-block'], resultTypes: ['violations']})"
        )
        found += [
            f"{query}, {theme}: {each['id']}: {node['html'][:120]} {node['failureSummary'][:300]}"
            for theme, result in results.items()
            for each in result["violations"]
            for node in each["nodes"][:2]
        ]
    assert not found, "\n".join(found)
