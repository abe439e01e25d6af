"""A language model of a text of one's own, as a run: the text in two parts, its characters, a new model, its loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import log
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from cutaway.corpus import Document, read_documents
from cutaway.corpus.documents import not_utf8
from cutaway.evals.bits_per_byte import BitsPerByte, bits_per_byte
from cutaway.evals.charts import Chart, Point, Reference, Series, draw, smooth
from cutaway.evals.findings import parameter_counts
from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.measures import RESULTS, duration
from cutaway.evals.plates import svg_file
from cutaway.infer import LanguageModel
from cutaway.model import Transformer, load_model
from cutaway.pipeline.materials import tokenizer_of
from cutaway.pipeline.stage import Stage, StageContext
from cutaway.pipeline.stages import NoSettings
from cutaway.runs import BadInput, MetricsLog, Result, RunDirectory, Settings, atomic, read_results, write_results
from cutaway.tokens import (
    Tokenizer,
    TokenizerSettings,
    character_tokenizer,
    read_shard,
    train_tokenizer,
    write_shard,
)
from cutaway.train import Watch
from cutaway.train.objectives import Batch
from cutaway.train.pretrain import PretrainSettings, pretrain

LOOKS = 8
"""Times to look at the model in training, beside the first and last step."""
GLANCE = 20_000
"""Held-out characters of one look."""
SAMPLE_TOKENS = 100
TRAIN, HELDOUT, SHARD, SAMPLES = "train.txt", "heldout.txt", "train.bin", "samples.jsonl"
ROWS_OF_TEXT = (".jsonl", ".parquet")


class TextCorpus(Settings):
    """What to learn from."""

    text: tuple[str, ...] = ()
    """Files and folders of text. Several are one text, in this order."""
    heldout_fraction: float = Field(default=0.1, gt=0, lt=1)
    """The share of its characters, at its end, that the model is measured on and not trained on."""


class TextTokenizer(TokenizerSettings):
    """What a token is."""

    kind: Literal["characters", "bpe"] = "characters"
    """A character of the text, or a piece of it; `vocab_size` is for the latter."""


class TextEvals(Settings):
    """How the loss on the held-out part is measured."""

    context: int = Field(default=0, ge=0)
    """Tokens that are read at once; 0: as many as in a row of training."""
    stride: int = Field(default=0, ge=0)
    """How far the sliding window moves; 0: a quarter of that."""


class TextRecipe(Settings):
    """A language model of a text."""

    kind: Literal["text"] = "text"
    """Tells this recipe from those of other kinds."""
    seed: int = Field(default=1, ge=0, lt=2**31)
    """Everything random in the run follows from it."""
    corpus: TextCorpus = Field(default_factory=TextCorpus)
    tokenizer: TextTokenizer = Field(default_factory=TextTokenizer)
    pretrain: PretrainSettings = Field(default_factory=lambda: PretrainSettings.model_validate({}))
    evals: TextEvals = Field(default_factory=TextEvals)


class Passes:
    """Rows of a running text: all of it once in an order drawn from the seed, then once more in another, and so on.

    Each time the rows begin elsewhere, so that no two passes cut the text at the same places.
    """

    def __init__(self, tokens: NDArray[np.uint16], length: int, seed: int) -> None:
        """`tokens` `[position]`, at least two rows of `length`."""
        self.tokens, self.length, self.seed = tokens, length, seed
        self.rows = (len(tokens) - length) // length
        """Rows of one pass, wherever it begins."""
        self.last: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def batch(self, step: int, size: int) -> Batch:
        """`tokens`, `targets` and `learned` of one step, each `[row, length]`; all is to be learned."""
        numbers = range(step * size, (step + 1) * size)
        starts = [self.starts(number // self.rows)[number % self.rows] for number in numbers]
        rows = np.stack([self.tokens[start : start + self.length + 1] for start in starts])
        tokens = torch.from_numpy(rows.astype(np.int64))
        return {
            "tokens": tokens[:, :-1],
            "targets": tokens[:, 1:],
            "learned": torch.ones(size, self.length, dtype=torch.bool),
        }

    def starts(self, number: int) -> NDArray[np.int64]:
        """Where the rows of one pass begin, in the order in which they are read."""
        if self.last[0] != number:
            rng = np.random.default_rng([self.seed, number])
            offset = int(rng.integers(self.length))
            self.last = number, offset + self.length * rng.permutation(self.rows)
        return self.last[1]


def _files(recipe: TextRecipe) -> Iterable[Path]:
    if not recipe.corpus.text:
        raise BadInput("there is no text to learn from; give some with --text PATH")
    return map(Path, recipe.corpus.text)


def read_text(path: Path) -> str:
    """The text of a file, as it is but for its line ends; of a folder, `.jsonl` or `.parquet`, its documents.

    Documents have a blank line between them. Raises `BadInput` if there is none, or it is not UTF-8.
    """
    if path.is_dir() or path.suffix.lower() in ROWS_OF_TEXT:
        return "\n\n".join(document.text for document in read_documents(path))
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise not_utf8(path, error.start) from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}): check the path and its permissions") from None
    if not text.strip():
        raise BadInput(f"{path} holds no text: it is empty or only white space")
    return text.removeprefix("\N{BOM}").replace("\r\n", "\n").replace("\r", "\n")


def in_two(text: str, heldout_fraction: float) -> dict[str, str]:
    """A text's part `train`, and `heldout`, a share of its characters at its end. Raises `BadInput` if one is empty."""
    cut = int(len(text) * (1 - heldout_fraction))
    parts = {"train": text[:cut], "heldout": text[cut:]}
    for name, part in parts.items():
        if not part.strip():
            raise BadInput(f"too little text ({len(text):,} characters): its part {name} is empty; give more")
    return parts


def _corpus(context: StageContext[TextCorpus]) -> None:
    settings, directory = context.settings, context.directory
    parts = in_two("\n".join(read_text(Path(path)) for path in settings.text), settings.heldout_fraction)
    atomic.write_text(directory / TRAIN, parts["train"])
    atomic.write_text(directory / HELDOUT, parts["heldout"])
    sizes = {name: {"user": {"documents": 1, "bytes": len(part.encode())}} for name, part in parts.items()}
    atomic.write_json(directory / "stats.json", sizes)
    context.progress.say(
        f"corpus: {len(parts['train']):,} characters to train on, the {len(parts['heldout']):,} after them held out"
    )


def _part(run: RunDirectory, name: str) -> str:
    return (run.stage("corpus") / name).read_bytes().decode("utf-8")


def make_tokenizer(settings: TextTokenizer, training: str, heldout: str, directory: Path) -> Tokenizer:
    """The tokenizer of a training text, written into `directory`. Raises `BadInput` if it lacks a character."""
    if settings.kind == "bpe":
        return train_tokenizer(settings, [training], directory)
    new = sorted(set(heldout) - set(training))
    if new:
        named = " ".join(map(repr, new[:8])) + (" ..." if len(new) > 8 else "")
        raise BadInput(
            f"the held-out part has characters that the part before it lacks ({named}), so no model of "
            "characters can learn them; take them out of the text, or set tokenizer.kind to bpe"
        )
    return character_tokenizer(training, directory)


def _tokenizer(context: StageContext[TextTokenizer]) -> None:
    text = _part(context.run, TRAIN)
    tokenizer = make_tokenizer(context.settings, text, _part(context.run, HELDOUT), context.directory)
    if context.settings.kind == "characters":
        context.progress.say(f"tokenizer: {len(set(text))} different characters, {tokenizer.vocab_size} tokens")


def _shards(context: StageContext[NoSettings]) -> None:
    tokenizer = tokenizer_of(context.run)
    # Where a text begins, the model is to know too.
    ids = [tokenizer.end_of_text, *tokenizer.encode(_part(context.run, TRAIN))]
    least = 2 * context.recipe.pretrain.row_length
    if len(ids) < least:
        raise BadInput(
            f"the text has {len(ids):,} tokens to train on; two rows take {least:,}: give more, or lower "
            "pretrain.row_length"
        )
    n = write_shard(context.directory / SHARD, [ids])
    context.progress.say(f"tokens to train on: {n:,}")


def passes_of(run: RunDirectory, settings: PretrainSettings, seed: int) -> Passes:
    """What a run's model is pretrained on."""
    return Passes(read_shard(run.stage("shards") / SHARD), settings.row_length, seed)


def _pretrain(context: StageContext[PretrainSettings]) -> None:
    run, settings, directory, progress = context.run, context.settings, context.directory, context.progress
    tokenizer = tokenizer_of(run)
    feed = passes_of(run, settings, context.seed)
    progress.say(f"{settings.steps * settings.batch_rows / feed.rows:.1f} passes through the text")
    pretrain(settings, tokenizer, feed, directory, progress, _watch(context), context.seed, context.processes)


def _watch(context: StageContext[PretrainSettings]) -> Watch:
    """Measure the loss on a little of the held-out part some times on the way; samples go to `samples.jsonl`."""
    tokenizer, settings = tokenizer_of(context.run), context.settings
    text = _part(context.run, HELDOUT)[:GLANCE]
    # The first line that is whole.
    prompt = next((line for line in text.splitlines()[1:] if line.strip()), text)[:24]
    samples = MetricsLog(context.directory / SAMPLES)

    def look(model: Transformer, step: int) -> dict[str, float]:
        model.eval()
        lm = LanguageModel("", model, tokenizer)
        seen = nats_per_token(measure(lm, text, settings.row_length, settings.row_length))
        written = lm.generate(prompt, max_tokens=SAMPLE_TOKENS, temperature=0.8, seed=step)
        samples.truncate_after(step - 1)
        samples.append({"step": step, "prompt": prompt, "text": written})
        context.progress.sample(step, prompt, written)
        return {"val_loss": seen}

    return Watch(max(1, settings.steps // LOOKS), look)


@torch.inference_mode()
def measure(lm: LanguageModel, text: str, context: int, stride: int) -> BitsPerByte:
    """What a model needs to write all of `text`, each token once, in windows of `context` that move on by `stride`.

    Where both are equal these are blocks, side by side: a block's first token is foretold from the one before it, the
    next from two, and so on. With a smaller stride all but the first tokens have `context - stride` before them.
    """
    return bits_per_byte(lm.model, lm.tokenizer, [Document("heldout", text, "user")], context, stride)["total"]


def nats_per_token(measured: BitsPerByte) -> float:
    """Mean cross-entropy."""
    return measured.bits * log(2) / measured.tokens


def _evaluate(context: StageContext[TextEvals]) -> None:
    run, settings = context.run, context.settings
    model = load_model(run.stage("pretrain") / "model")
    lm, text = LanguageModel("", model, tokenizer_of(run)), _part(run, HELDOUT)
    length = settings.context or context.recipe.pretrain.row_length
    strides = {"": length, "_sliding": min(length, settings.stride or max(1, length // 4))}
    results: list[Result] = []
    for name, stride in strides.items():
        found = measure(lm, text, length, stride)
        rows = (
            ("nats_per_token", nats_per_token(found), "nats/token", found.tokens),
            ("bits_per_byte", found.value, "bits/byte", found.bytes),
        )
        for metric, value, unit, n in rows:
            results.append(Result("pretrain", metric + name, value, unit, n, context.seed, higher_is_better=False))
    windows = {"context": length, "stride": strides["_sliding"]}
    write_results(context.directory / RESULTS, results, windows)
    context.progress.say(
        f"on all {results[0].n:,} held-out tokens, in blocks of {length}: {results[0].value:.4f} nats a token, "
        f"{results[1].value:.4f} bits a byte"
    )


def looks(run: RunDirectory) -> list[dict[str, Any]]:
    """The lines of a run's metrics at which the model was looked at: `step`, `seconds`, `loss`, `val_loss`, ..."""
    return [row for row in MetricsLog.read(run.stage("pretrain") / "metrics.jsonl") if "val_loss" in row]


def curve(lines: Mapping[str, Sequence[Point]], references: Sequence[Reference] = ()) -> str:
    """Losses over minutes as an SVG file, a line for each name; those whose name is empty are smoothed and faint."""
    series = [
        Series(name, line if name else smooth(line, 0.98), ink, faint=not name)
        for (name, line), ink in zip(lines.items(), ("a", "b", "c"), strict=False)
    ]
    low = min(y for each in series for _, y in each.points)
    title = "Loss in training, nats a token"
    range_ = (low - 0.05, low + 1.2)
    return svg_file(draw(Chart(title, series, "minutes of training", references=references, y_range=range_)))


def _report(context: StageContext[NoSettings]) -> None:
    run, recipe, directory = context.run, context.recipe, context.directory
    results = {result.metric: result for result in read_results(run.stage("pretrain") / RESULTS)}
    metrics, seen = MetricsLog.read(run.stage("pretrain") / "metrics.jsonl"), looks(run)
    samples = MetricsLog.read(run.stage("pretrain") / SAMPLES)
    weights = sum(parameter_counts(run.stage("pretrain") / "model" / "model.safetensors").values())
    last, length = metrics[-1], recipe.evals.context or recipe.pretrain.row_length
    n = results["nats_per_token"].n
    rows = [
        (how, f"{results['nats_per_token' + name].value:.4f}", f"{results['bits_per_byte' + name].value:.4f}")
        for how, name in ((f"blocks of {length} tokens", ""), ("a sliding window", "_sliding"))
    ]
    parts = [
        f"# A model of {cell(', '.join(Path(path).name for path in recipe.corpus.text))}",
        f"{weights:,} weights, trained on {last['tokens']:,} tokens in {duration(last['seconds'])}.",
        f"Measured on the last {recipe.corpus.heldout_fraction:.0%} of the text: {n:,} tokens, each foretold once.",
        markdown_table(["Held out, read in", "nats a token", "bits a byte"], rows),
        "![Loss in training](curve.svg)",
        markdown_table(
            ["Step", "Tokens", "Time", "Training loss", "Held-out loss, its beginning"],
            [_row_of(row) for row in seen],
            text_columns=0,
        ),
        markdown_table(
            ["Step", "What it wrote"],
            [(f"{row['step']:,}", f"{row['prompt']}{row['text']}") for row in samples],
            text_columns=2,
        ),
    ]
    atomic.write_text(directory / "report.md", "\n\n".join(parts) + "\n")
    lines = {"": points(metrics, "loss"), "held out": points(seen, "val_loss")}
    atomic.write_text(directory / "curve.svg", curve(lines))
    context.progress.say(f"the report is {directory / 'report.md'}")


def _row_of(look: Mapping[str, Any]) -> list[str]:
    counts, losses = (look["step"], look["tokens"]), (look["loss"], look["val_loss"])
    return [*(f"{n:,}" for n in counts), duration(look["seconds"]), *(f"{loss:.3f}" for loss in losses)]


def points(rows: Iterable[Mapping[str, Any]], figure: str) -> list[Point]:
    """A figure of some lines of metrics over minutes of training."""
    return [(row["seconds"] / 60, row[figure]) for row in rows]


TEXTS: tuple[Stage[Any], ...] = (
    Stage(
        name="corpus",
        verb="corpus",
        function=_corpus,
        settings=lambda recipe: recipe.corpus,
        uses=(),
        files=_files,
    ),
    Stage(
        name="tokenizer",
        verb="tokenizer",
        function=_tokenizer,
        settings=lambda recipe: recipe.tokenizer,
        inputs=("corpus",),
        uses=(),
    ),
    Stage(
        name="shards",
        verb="shards",
        function=_shards,
        settings=lambda recipe: NoSettings(),
        inputs=("corpus", "tokenizer"),
        uses=("pretrain.row_length",),
    ),
    Stage(
        name="pretrain",
        verb="pretrain",
        costly=True,
        together=True,
        function=_pretrain,
        settings=lambda recipe: recipe.pretrain,
        inputs=("corpus", "tokenizer", "shards"),
        outputs=("model/**/*",),
    ),
    Stage(
        name="evaluate_pretrain",
        verb="run",
        function=_evaluate,
        settings=lambda recipe: recipe.evals,
        inputs=("corpus", "tokenizer", "pretrain"),
        outputs=(RESULTS,),
        uses=("seed", "pretrain.row_length"),
        place="pretrain",
    ),
    Stage(
        name="report",
        verb="run",
        function=_report,
        settings=lambda recipe: NoSettings(),
        inputs=("pretrain", "evaluate_pretrain"),
        outputs=("report.md", "curve.svg"),
        uses=("corpus",),
        place=".",
    ),
)
