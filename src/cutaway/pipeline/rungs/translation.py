"""Rung 10: translation, without attention, with it, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from pydantic import Field

from cutaway.evals.charts import Chart, Point, Series, draw
from cutaway.evals.markdown import cell, markdown_table
from cutaway.evals.measures import duration
from cutaway.evals.plates import heatmap
from cutaway.ladder.parallel_text import Pair, ParallelText, bible_pairs, parallel_files, read_parallel
from cutaway.model import Transformer
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.rungs.translators import (
    LONGEST,
    Course,
    Name,
    Pairs,
    Size,
    Translator,
    alignments,
    batches_of,
    build,
    learn,
    nats_per_token,
    translations,
)
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, Progress, Result, Settings
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.train.pretrain import keep_model

TITLES: dict[Name, str] = {
    "fixed": "RNN, one fixed vector",
    "bahdanau": "RNN, Bahdanau's attention",
    "luong": "RNN, Luong's attention",
    "luong_dot": "RNN, Luong's, dot product",
    "transformer": "Transformer (2017)",
}
INKS: dict[Name, str] = {"fixed": "soft", "bahdanau": "a", "luong": "b", "luong_dot": "a", "transformer": "c"}
SIZES = {
    "small": Size(width=128, layers=2, heads=4, d_mlp=256, vocab_size=2000, rows=32, dropout=0.1),
    "base": Size(width=256, layers=3, heads=8, d_mlp=512, vocab_size=5000, rows=64, dropout=0.2),
}
BIBLE_WORDS = 18
"""Words of the longest verses that are taken: a verse has 26 in the mean, and the default is to take minutes."""
HELD_OUT = 0.1
"""The share of the pairs, where no other files hold some out."""
PARTS = 5
"""Parts of equal number that the held-out sentences are divided into by length."""
EXAMPLE_TOKENS = range(8, 19)
"""Tokens of a source whose alignment is drawn."""
Scores = Callable[[Sequence[str], Sequence[str]], tuple[float, float]]
"""BLEU and chrF of translations, given the references."""


class TranslationSettings(Settings):
    """What is translated, and by what."""

    data: Path | None = None
    """A folder or pair of files (train.de and train.en), or a table; left out, the two English Bibles."""
    source: str = Field(default="de", min_length=1)
    """The language to translate from: how the names of its files end."""
    target: str = Field(default="en", min_length=1)
    """The language to translate into."""
    backwards: bool = False
    """Translate the other way: of a table its second column into the first, of the Bibles new into old."""
    models: tuple[Name, ...] = Field(default=("fixed", "bahdanau", "luong", "transformer"), min_length=1)
    """Which to train: fixed, bahdanau, luong, luong_dot, transformer."""
    size: Literal["small", "base"] = "small"
    """How large they are: small learns in seconds, base is for tens of thousands of pairs."""
    epochs: float = Field(default=4.0, gt=0)
    """Passes through the pairs."""
    beam: int = Field(default=5, ge=1, le=64)
    """Beginnings that are kept while translating."""
    pairs: int = Field(default=0, ge=0)
    """Pairs to learn from at most; 0: all."""


@dataclass(frozen=True)
class Judged:
    """A trained model and what came of it; texts are those of the held-out sources."""

    translator: Translator
    course: Course
    nats: float
    greedy: list[str]
    ids: list[list[int]]
    texts: list[str]

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self.translator.model.parameters())


def climb(context: StageContext[TranslationSettings]) -> Found:
    """Train all models on the same pairs, and compare what they make of held-out sentences."""
    settings, scores = context.settings, scorer()
    size, text = SIZES[settings.size], texts(settings, context.seed)
    sides = (side for pair in text.train for side in (pair.source, pair.target))
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=size.vocab_size), sides, context.directory / "model")
    train, heldout = encoded(tokenizer, text.train), encoded(tokenizer, text.heldout)
    judged: dict[Name, Judged] = {}
    for name in dict.fromkeys(settings.models):
        translator = build(name, size, tokenizer.vocab_size, context.seed)
        course = learn(
            translator,
            name,
            train,
            heldout,
            size,
            epochs=settings.epochs,
            mark=tokenizer.end_of_text,
            seed=context.seed,
            # Within what is thrown away once the rung is done, and resumed from if it is broken off.
            directory=context.directory / "checkpoints" / name,
            progress=context.progress,
        )
        judged[name] = judge(translator, course, tokenizer, heldout, settings.beam, context.progress)
        if isinstance(translator.model, Transformer):
            keep_model(translator.model, tokenizer, context.directory)
    return told(context, text, tokenizer, heldout, judged, scores)


def texts(settings: TranslationSettings, seed: int) -> ParallelText:
    """The pairs that the settings ask for."""
    if settings.data is None:
        text = bible_pairs(BIBLE_WORDS, heldout=HELD_OUT, seed=seed)
    else:
        text = read_parallel(settings.data, settings.source, settings.target, heldout=HELD_OUT, seed=seed)
    train = text.train[: settings.pairs or None]
    if not settings.backwards:
        return ParallelText(text.about, train, text.heldout)
    turned = [[Pair(pair.target, pair.source) for pair in side] for side in (train, text.heldout)]
    return ParallelText(f"{text.about}, backwards", *turned)


def encoded(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> Pairs:
    """Sources as the encoder reads them, as documents, and targets."""
    sources = tokenizer.encode_batch([pair.source for pair in pairs])
    targets = tokenizer.encode_batch([pair.target for pair in pairs])
    return [([tokenizer.end_of_text, *source], target) for source, target in zip(sources, targets, strict=True)]


def judge(
    translator: Translator, course: Course, tokenizer: Tokenizer, heldout: Pairs, beam: int, progress: Progress
) -> Judged:
    """What a trained model makes of the held-out sources, greedily and by a beam, and its loss on the targets."""
    mark, sources = tokenizer.end_of_text, [source[:LONGEST] for source, _ in heldout]
    nats = nats_per_token(translator, batches_of(heldout, mark))
    greedy, ids = (translations(translator, sources, mark=mark, width=width, progress=progress) for width in (1, beam))
    texts = [[tokenizer.decode(each).strip() for each in wrote] for wrote in (greedy, ids)]
    return Judged(translator, course, nats, texts[0], ids, texts[1])


def scorer() -> Scores:
    """What gives BLEU (Papineni et al. 2002) and chrF (Popović 2015) as sacreBLEU does by default (Post 2018).

    Raises:
        BadInput: sacreBLEU is not installed.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError:
        raise BadInput(
            "translations are scored by sacreBLEU, which is not installed: pip install 'cutaway[ladder]'"
        ) from None

    def scores(wrote: Sequence[str], references: Sequence[str]) -> tuple[float, float]:
        hypotheses, streams = list(wrote), [list(references)]
        return BLEU().corpus_score(hypotheses, streams).score, CHRF().corpus_score(hypotheses, streams).score

    return scores


def told(
    context: StageContext[TranslationSettings],
    text: ParallelText,
    tokenizer: Tokenizer,
    heldout: Pairs,
    judged: Mapping[Name, Judged],
    scores: Scores,
) -> Found:
    """Everything measured and drawn."""
    settings, n = context.settings, len(text.heldout)
    references = [pair.target for pair in text.heldout]
    results: list[Result] = []
    rows: list[list[str]] = []
    said = [f"{len(text.train):,} pairs, {n:,} held out ({text.about})"]
    for name, each in judged.items():
        (bleu, chrf), (greedy, _) = scores(each.texts, references), scores(each.greedy, references)
        figures = (
            ("bleu", bleu, "BLEU", True),
            ("bleu_greedy", greedy, "BLEU", True),
            ("chrf", chrf, "chrF", True),
            ("nats_per_token", each.nats, "nats/token", False),
            ("parameters", each.parameters, "weights", False),
            ("train_seconds", each.course.seconds, "s", False),
        )
        results += [Result(name, metric, value, unit, n, context.seed, up) for metric, value, unit, up in figures]
        rows.append(
            [TITLES[name], f"{each.parameters:,}", duration(each.course.seconds), f"{each.nats:.3f}", f"{greedy:.1f}",
             f"{bleu:.1f}", f"{chrf:.1f}"]
        )  # fmt: skip
        said.append(f"{TITLES[name]}: BLEU {bleu:.1f}, chrF {chrf:.1f}")
    by_length = lengths_and_scores(text.heldout, judged, scores)
    curves: dict[Name, list[Point]] = {name: each.course.curve for name, each in judged.items()}
    aligned = aligned_sentence(judged, tokenizer, heldout, references, scores)
    pictures = {
        "by-length": by_length_chart(by_length),
        "learning": learning_chart(curves),
        **{f"alignment-{name}": alignment_picture(name, one) for name, one in aligned.items()},
    }
    head = ["Model", "Weights", "Training", "Nats a token", "BLEU, greedy", f"BLEU, beam {settings.beam}", "chrF"]
    report = REPORT.format(
        about=cell(text.about),
        n_train=f"{len(text.train):,}",
        n=f"{n:,}",
        epochs=f"{settings.epochs:g}",
        table=markdown_table(head, rows),
        lengths=length_table(by_length),
        alignments="\n\n".join(f"![{TITLES[name]}](alignment-{name}.svg)" for name in aligned),
        examples=examples_table(text.heldout, judged),
    )
    data = {"by_length": by_length, "curves": curves, "alignments": aligned}
    return Found(results, said, report, {name: drawn for name, drawn in pictures.items() if drawn}, data)


REPORT = """\
Models learned to translate from {n_train} pairs ({about}), {epochs} times all of them, and then translated {n} sources
that none of them had met. They read and write the same pieces of words. BLEU and chrF are sacreBLEU's, from 0 to 100.

{table}

## By length of the source

Sources in parts of equal number, from the shortest to the longest; BLEU of each part.

{lengths}

![BLEU by length](by-length.svg)

## Where it looks

Of the held-out sources that are translated well, the one whose words change their order the most. Each row is a token
of a translation, and shows how much of it is from each token of the source.

{alignments}

## While learning

![Loss of held-out tokens](learning.svg)

## Some translations

{examples}
"""


def lengths_and_scores(pairs: Sequence[Pair], judged: Mapping[Name, Judged], scores: Scores) -> list[dict[str, Any]]:
    """BLEU of every model on each part of the held-out pairs, from the shortest sources to the longest."""
    words = np.array([len(pair.source.split()) for pair in pairs])
    found: list[dict[str, Any]] = []
    for part in np.array_split(np.argsort(words, kind="stable"), min(PARTS, len(pairs))):
        references = [pairs[i].target for i in part]
        bleu = {name: scores([each.texts[i] for i in part], references)[0] for name, each in judged.items()}
        least, most = int(words[part].min()), int(words[part].max())
        found.append({"least": least, "most": most, "mean": float(words[part].mean()), "n": len(part), "bleu": bleu})
    return found


def length_table(by_length: Sequence[Mapping[str, Any]]) -> str:
    """The same as a table, a line a model."""
    head = ["Model", *(f"{part['least']}–{part['most']} words" for part in by_length)]
    names: Iterable[Name] = by_length[0]["bleu"]
    return markdown_table(
        head, [[TITLES[name], *(f"{part['bleu'][name]:.1f}" for part in by_length)] for name in names]
    )


def by_length_chart(by_length: Sequence[Mapping[str, Any]]) -> str:
    """BLEU by the mean number of words in each part's sources."""
    names: Iterable[Name] = by_length[0]["bleu"]
    lines: dict[Name, list[Point]] = {
        name: [(part["mean"], part["bleu"][name]) for part in by_length] for name in names
    }
    return chart("Quality by length of the source", lines, "words in the source", "BLEU")


def learning_chart(curves: Mapping[Name, Sequence[Point]]) -> str:
    """The loss of held-out tokens after so many passes."""
    return chart("Loss of held-out tokens", curves, "passes through the pairs", "held-out loss, nats a token")


def chart(title: str, lines: Mapping[Name, Sequence[Point]], x_title: str, y_title: str) -> str:
    """A line for every model."""
    series = [Series(TITLES[name], points, INKS[name]) for name, points in lines.items()]
    return draw(Chart(title, series, x_title, y_title, right=190))


def aligned_sentence(
    judged: Mapping[Name, Judged],
    tokenizer: Tokenizer,
    heldout: Pairs,
    references: Sequence[str],
    scores: Scores,
) -> dict[Name, dict[str, Any]]:
    """One held-out source with every model's own translation and its alignment, of the models that have one.

    Of those of a length to be drawn that the first such model translates well, it is the one with the most pairs of
    tokens that are from tokens in the opposite order.
    """
    mark, sources = tokenizer.end_of_text, [source for source, _ in heldout]
    looking: list[Name] = [name for name, each in judged.items() if each.translator.alignment]
    if not looking:
        return {}
    first = judged[looking[0]]
    drawable = [i for i, source in enumerate(sources) if len(source) in EXAMPLE_TOKENS] or [0]
    # By chrF, the better third of them: it says something of single sentences too.
    quality = {i: scores([first.texts[i]], [references[i]])[1] for i in drawable}
    good = sorted(drawable, key=lambda i: -quality[i])[: max(1, len(drawable) // 3)]
    shares = alignments(first.translator, [sources[i] for i in good], [first.ids[i] for i in good], mark=mark)
    chosen = max(zip(good, shares, strict=True), key=lambda one: inversions(one[1]))[0]
    found: dict[Name, dict[str, Any]] = {}
    for name in looking:
        wrote = judged[name].ids[chosen]
        (weights,) = alignments(judged[name].translator, [sources[chosen]], [wrote], mark=mark)
        found[name] = {
            "source": pieces(tokenizer, sources[chosen]),
            "target": pieces(tokenizer, [*wrote, mark]),
            "weights": weights.round(4).tolist(),
        }
    return found


def inversions(shares: Float[np.ndarray, "target source"]) -> int:
    """Pairs of target tokens, the last excepted, whose main source tokens stand in the opposite order."""
    main = shares[:-1].argmax(1)
    return int((np.triu(main[:, None] > main[None, :])).sum())


def pieces(tokenizer: Tokenizer, ids: Sequence[int]) -> list[str]:
    """Tokens as they are written beside a picture; the mark that begins and ends is a bullet."""
    return ["•" if id_ == tokenizer.end_of_text else tokenizer.decode([id_]).strip() for id_ in ids]


def alignment_picture(name: Name, one: Mapping[str, Any]) -> str:
    """An alignment, a row a token of the translation."""
    return heatmap(
        one["weights"],
        TITLES[name],
        rows=one["target"],
        columns=one["source"],
        scale="share",
        x_title="source",
        y_title="translation",
    )


def examples_table(pairs: Sequence[Pair], judged: Mapping[Name, Judged]) -> str:
    """A short, a middling and a long source with all translations."""
    order = sorted(range(len(pairs)), key=lambda i: len(pairs[i].source))
    parts: list[str] = []
    for share in (0.1, 0.5, 0.9):
        i = order[int(share * (len(order) - 1))]
        rows = [["Source", pairs[i].source], ["Reference", pairs[i].target]]
        rows += [[TITLES[name], each.texts[i]] for name, each in judged.items()]
        parts.append(markdown_table(["", ""], rows, text_columns=2))
    return "\n\n".join(parts)


def files(settings: TranslationSettings) -> Iterable[Path]:
    """The files of the data."""
    if settings.data is None:
        return []
    return [file for side in parallel_files(settings.data, settings.source, settings.target) for file in side]


RUNG = Rung(
    "translation",
    "Translation: one vector, attention, nothing but attention",
    TranslationSettings,
    climb,
    files,
    costly=True,
)
