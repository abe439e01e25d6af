"""Looking at a model while it trains: bits per byte of a little held-out text, and what it writes by now."""

from __future__ import annotations

from pathlib import Path

import torch

from cutaway.corpus import Document
from cutaway.evals.bits_per_byte import bits_per_byte
from cutaway.infer import LanguageModel
from cutaway.model import Transformer
from cutaway.pipeline.materials import heldout_of, sample_prompt
from cutaway.runs import MetricsLog, Progress, RunDirectory
from cutaway.tokens import Tokenizer
from cutaway.train import LoopSettings, Watch

LOOKS = 8
"""Times to look, beside the first and last step."""
GLANCE_BYTES = 60_000
"""Held-out text of one look: enough to see the curve, little enough to cost a second."""
SAMPLE_TOKENS = 48


def watch_pretraining(
    run: RunDirectory, directory: Path, tokenizer: Tokenizer, settings: LoopSettings, progress: Progress
) -> Watch:
    """Measure and sample some times on the way; samples go to `samples.jsonl`."""
    documents = heldout_of(run)
    glance, prompt = some_of(documents), sample_prompt(documents)
    samples = MetricsLog(directory / "samples.jsonl")

    def look(model: Transformer, step: int) -> dict[str, float]:
        model.eval()
        length = settings.row_length
        with torch.inference_mode():
            measured = bits_per_byte(model, tokenizer, glance, length, length)
        lm = LanguageModel("", model, tokenizer)
        text = lm.generate(prompt, max_tokens=SAMPLE_TOKENS, temperature=0.7, seed=step)
        samples.truncate_after(step - 1)
        samples.append({"step": step, "prompt": prompt, "text": text})
        progress.sample(step, prompt, text)
        return {"val_bpb": measured["total"].value}

    return Watch(max(1, settings.steps // LOOKS), look)


def some_of(documents: list[Document]) -> list[Document]:
    """Every n-th document, so that some of each source make up about `GLANCE_BYTES`."""
    size = sum(len(document.text.encode()) for document in documents)
    return documents[:: max(1, round(size / GLANCE_BYTES))]
