"""The parts of the page that show how the model came about: text, shape, curves, samples, time, recipe."""

from __future__ import annotations

from html import escape

from cutaway.evals import figures
from cutaway.evals.findings import Findings
from cutaway.evals.markup import NOTHING, bar, charts, row, said, section, table
from cutaway.evals.measures import STAGES, duration, written
from cutaway.evals.numbers import short
from cutaway.evals.targets import Table
from cutaway.evals.training import training

_SOURCES = {
    "bbe": "Bible in Basic English",
    "kjv": "King James Version",
    "pydoc": "Python's documentation topics",
    "world": "The generated world",
    "user": "Your own text",
}
_SHAPE = {
    "num_hidden_layers": "layers",
    "hidden_size": "wide",
    "num_attention_heads": "attention heads",
    "num_key_value_heads": "key-value heads",
    "vocab_size": "tokens in the vocabulary",
    "max_position_embeddings": "tokens of context",
}
_USED = ("cutaway", "torch", "tokenizers", "numpy")


def corpus(findings: Findings) -> str:
    """The text by source."""
    sources = findings.sources
    if not sources:
        return ""
    most = max(source.bytes for source in sources) or 1
    rows = [
        row(
            [
                escape(_SOURCES.get(source.name, source.name)),
                bar(source.bytes / most),
                f"{source.documents:,}",
                f"{source.bytes / 1e6:.2f}",
                f"{source.heldout_bytes / 1e3:.0f}" if source.heldout_bytes else NOTHING,
            ]
        )
        for source in sources
    ]
    total = sum(source.bytes for source in sources)
    heldout = sum(source.heldout_bytes for source in sources)
    documents = sum(source.documents for source in sources)
    rows.append(row(["All", "", f"{documents:,}", f"{total / 1e6:.2f}", f"{heldout / 1e3:.0f}"], "total"))
    removed = findings.corpus.get("removed") or {}
    lines = [f"{entry['paragraphs']:,} {name}" for name, entry in removed.items() if entry.get("paragraphs")]
    notes = ["Whole documents are held out, before anything is trained."]
    if lines:
        notes.append(f"Paragraphs removed: {', '.join(lines)}.")
    read = table(["Source", "", "Documents", "MB to train on", "kB held out"], rows)
    return section("What it read", notes, read + _trained_on(findings))


def _trained_on(findings: Findings) -> str:
    """How much each stage trained on, and in what proportions."""
    rows: list[str] = []
    for portion in training(findings.recipe):
        parts = ", ".join(f"{name.replace('_', ' ')} {share:.0%}" for name, share in portion.parts)
        rows.append(
            row([escape(STAGES[portion.stage]), escape(portion.amount), f'<td class="text">{escape(parts)}</td>'])
        )
    drawn = table(["Stage", "Trained on", '<th class="text">Of which</th>'], rows)
    return f"<h3>What each stage trained on</h3>{drawn}" if drawn else ""


def shape(findings: Findings) -> str:
    """The model's parameters by part."""
    counts = sorted(findings.parameters.items(), key=lambda item: -item[1])
    if not counts:
        return ""
    total = sum(count for _, count in counts)
    rows = [
        row([escape(part), bar(count / counts[0][1]), f"{count:,}", f"{count / total:.1%}"]) for part, count in counts
    ]
    rows.append(row(["All", "", f"{total:,}", ""], "total"))
    numbers = [
        f"{value:,} {name.removesuffix('s') if value == 1 else name}"
        for key, name in _SHAPE.items()
        if isinstance(value := findings.shape.get(key), int)
    ]
    note = f"A decoder of the Qwen3 family: {', '.join(numbers)}." if numbers else ""
    return section("The model", [note], table(["Part", "", "Parameters", "Share"], rows))


def pretraining(findings: Findings, results: Table) -> str:
    """Curves of pretraining."""
    drawn = figures.pretraining(findings.curves.get("pretrain", []), results.baselines())
    notes = ["Faint: each batch. Dark: its moving average.", "Dashed: what it has to beat."]
    return section("Pretraining", notes, charts(drawn))


def fine_tuning(findings: Findings) -> str:
    """Curves of fine-tuning."""
    drawn = figures.fine_tuning(findings.curves.get("sft", []))
    return section("Fine-tuning", ["Only the assistant's tokens are learned from."], charts(drawn))


def reinforcement(findings: Findings) -> str:
    """Curves of reinforcement learning."""
    drawn = figures.reinforcement(findings.curves.get("rl", []))
    notes = [
        "Rewards that a program can check (GRPO).",
        "Right answers that grow longer are thought; wrong ones alone, padding.",
    ]
    return section("Reinforcement learning", notes, charts(drawn))


def samples(findings: Findings) -> str:
    """What the model wrote as pretraining went on."""
    items: list[str] = []
    for one in findings.samples.get("pretrain", []):
        when = [f"step {one['step']:,}"] if isinstance(one.get("step"), int) else []
        when += [f"{short(one['tokens'])} tokens"] if isinstance(one.get("tokens"), int) else []
        prompt, text = said(str(one.get("prompt", ""))), said(str(one.get("text", "")))
        quote = f'<blockquote><span class="prompt">{prompt}</span>{text}</blockquote>'
        items.append(f'<li><div class="when">{"<br>".join(when)}</div>{quote}</li>')
    shown = f'<ol class="samples">{"".join(items)}</ol>' if items else ""
    return section("From noise to language", ["What it wrote after the same words, as training went on."], shown)


def times(findings: Findings) -> str:
    """Time and memory by stage."""
    most = max((time.seconds for time in findings.times), default=0.0)
    rows = [
        row(
            [
                escape(time.name.replace("_", " ")),
                bar(time.seconds / most),
                duration(time.seconds),
                escape(written(time.peak_memory, "bytes")) if time.peak_memory else NOTHING,
            ]
        )
        for time in findings.times
    ]
    if not rows:
        return ""
    memory = escape(written(findings.peak_memory, "bytes")) if findings.peak_memory else NOTHING
    rows.append(row(["All", "", duration(findings.seconds), memory], "total"))
    notes = ["Memory is the process's highest up to the end of each stage."]
    return section("Time and memory", notes, table(["Stage", "", "Time", "Peak memory"], rows))


def recipe(findings: Findings) -> str:
    """How to make the run again."""
    if not findings.recipe:
        return ""
    used = ", ".join(f"{name} {findings.versions[name]}" for name in _USED if name in findings.versions)
    return section(
        "Do it again",
        [],
        f"<p><code>cutaway run recipe.toml</code> with the recipe below makes this run again. {escape(used)}.</p>"
        "<details><summary>recipe.toml, every value that was used</summary>"
        f"<pre>{escape(findings.recipe)}</pre></details>",
    )
