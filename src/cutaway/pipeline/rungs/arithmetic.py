"""Rung 11: an arithmetic transformer, and what its notation does to what it learns."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
from pydantic import Field, field_validator

from cutaway.evals.charts import Chart
from cutaway.evals.markdown import markdown_table
from cutaway.evals.measures import duration
from cutaway.evals.plates import heatmap
from cutaway.infer import generate_batch
from cutaway.ladder.arithmetic import (
    Form,
    Outcome,
    Problem,
    Problems,
    digits_right,
    draw_problems,
    outcome,
    tokenizer_of,
)
from cutaway.model import ModelConfig, Transformer
from cutaway.pipeline.rungs.panels import panels
from cutaway.pipeline.rungs.rung import Found, Rung
from cutaway.pipeline.stage import StageContext
from cutaway.runs import BadInput, MetricsLog, Result, Settings
from cutaway.tokens import Tokenizer
from cutaway.train import LoopSettings, Rows, Watch, train
from cutaway.train.optimizer import OptimizerSettings
from cutaway.train.pretrain import keep_model, new_model

KINDS = {"seen": "learned", "heldout": "held out", "commuted": "commuted", "longer": "longer"}
"""The problems that are asked, by their names in `Problems`, and what tables call them."""
GLANCE = 100
"""Held-out problems of one look in training."""
ENDS = """What became of the held-out sums. *A carry*: wrong by 1, 10, 100 …; *one digit*: all but one of its digits are
right, and there are as many."""


class ArithmeticSettings(Settings):
    """Which sums, how they are written, and how a model of them is trained."""

    forms: tuple[str, ...] = Field(
        default=(
            "characters plain",
            "characters answer-reversed",
            "characters reversed",
            "characters steps",
            "bpe plain",
            "numbers plain",
        ),
        min_length=1,
    )
    """What a token is (characters, numbers, bpe), the order of digits (plain, answer-reversed, reversed), and steps."""
    digits: int = Field(default=3, ge=1, le=9, description="of the longest numbers to learn with")
    problems: int = Field(default=20_000, ge=10, description="different problems to learn from, at most")
    asked: int = Field(default=500, ge=10, description="problems of each kind to ask in the end")
    steps: int = Field(default=800, ge=1, description="steps of training, with each form")
    rows: int = Field(default=64, ge=1, description="problems a step")
    depth: int = Field(default=2, ge=1, description="blocks of the model")
    width: int = Field(default=96, ge=32, multiple_of=32, description="of its residual stream; a head for each 32")
    pieces: int = Field(default=150, ge=30, description="tokens of the vocabulary of learned pieces")
    looks: int = Field(default=10, ge=1, description="times that held-out problems are asked during training")
    muon_lr: float = Field(default=0.02, gt=0, description="learning rate of the blocks' matrices")
    adamw_lr: float = Field(default=0.004, gt=0, description="learning rate of all other weights")

    @field_validator("forms")
    @classmethod
    def forms_exist(cls, forms: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse a form that there is not."""
        try:
            for form in forms:
                Form.named(form)
        except BadInput as error:
            raise ValueError(str(error)) from None
        return forms


@dataclass(frozen=True)
class Trained:
    """A model that was trained on one form.

    Attributes:
        form: how its problems are written.
        model: it.
        tokenizer: its tokens.
        seconds: of the steps of its training.
        learning: the share of held-out problems right, by the problems read.
        answers: by kind of problem, each problem with the answer that the model gave.
    """

    form: Form
    model: Transformer
    tokenizer: Tokenizer
    seconds: float
    learning: list[tuple[int, float]]
    answers: dict[str, list[tuple[Problem, int | None]]]

    def right(self, kind: str) -> float:
        """The share of a kind that is right."""
        return float(np.mean([answer == problem.answer for problem, answer in self.answers[kind]]))


def climb(context: StageContext[ArithmeticSettings]) -> Found:
    """Train a model with each form, from the same weights on the same problems, and ask it."""
    settings = context.settings
    problems = draw_problems(settings.digits, settings.problems, settings.asked, context.seed)
    trained: dict[str, Trained] = {}
    for name in settings.forms:
        trained[name] = learn(name, problems, context)
        rights = ", ".join(f"{title} {trained[name].right(kind):.1%}" for kind, title in KINDS.items())
        context.progress.say(f"{name}: {rights} ({duration(trained[name].seconds)})")
    best_name, best = max(trained.items(), key=lambda item: item[1].right("heldout"))
    keep_model(best.model, best.tokenizer, context.directory)
    for name in trained:
        # Not before all have finished: until then they are what an interrupted rung goes on from.
        shutil.rmtree(_folder(context.directory, name) / "checkpoints", ignore_errors=True)
    pictures = {
        "accuracy": _accuracy_picture(trained),
        "learning": _learning_picture(trained),
        "digits": _digits_picture(trained),
        "carries": _carries_picture(trained),
    }
    return Found(
        list(_results(trained, context.seed)),
        [f"{best_name}: {best.right('heldout'):.1%} of held-out sums right; its model is in model/"],
        _report(settings, problems, trained, best_name),
        pictures,
        {
            "learning": {name: each.learning for name, each in trained.items()},
            "answers": {
                name: {
                    kind: [[problem.a, problem.b, answer] for problem, answer in pairs]
                    for kind, pairs in each.answers.items()
                }
                for name, each in trained.items()
            },
        },
    )


def learn(name: str, problems: Problems, context: StageContext[ArithmeticSettings]) -> Trained:
    """Train a model on problems in one form, and ask it all kinds."""
    settings, form, seed = context.settings, Form.named(name), context.seed
    texts = [form.question(problem) + form.reply(problem) for problem in problems.training + problems.heldout]
    tokenizer = tokenizer_of(form.units, texts, settings.pieces)
    rows = rows_of(form, tokenizer, problems.training, settings.steps * settings.rows, seed)
    length = rows.tokens.shape[1] - 1
    model = new_model(_config(settings, tokenizer.vocab_size), seed)
    folder = _folder(context.directory, name)

    def look(model: Transformer, step: int) -> dict[str, float]:
        given = ask(model.eval(), tokenizer, form, problems.heldout[:GLANCE])
        return {"val_wrong": float(np.mean([answer != problem.answer for problem, answer in given]))}

    loop = LoopSettings(
        tokens=settings.steps * settings.rows * length,
        batch_tokens=settings.rows * length,
        row_length=length,
        optimizer=OptimizerSettings(muon_lr=settings.muon_lr, adamw_lr=settings.adamw_lr),
        # The same figures on every machine; and compiling would take longer than such a training.
        precision="float32",
        compile=False,
    )
    watch = Watch(max(1, settings.steps // settings.looks), look)
    train(model, rows, loop, folder, context.progress, watch, name)
    metrics = MetricsLog.read(folder / "metrics.jsonl")
    return Trained(
        form,
        model,
        tokenizer,
        metrics[-1]["seconds"],
        [(row["step"] * settings.rows, 1 - row["val_wrong"]) for row in metrics if "val_wrong" in row],
        {kind: ask(model, tokenizer, form, getattr(problems, kind)) for kind in KINDS},
    )


def _folder(directory: Path, name: str) -> Path:
    return directory / name.replace(" ", "-")


def _config(settings: ArithmeticSettings, vocab_size: int) -> ModelConfig:
    heads = settings.width // 32
    return ModelConfig(
        vocab_size=vocab_size,
        n_layers=settings.depth,
        d_model=settings.width,
        n_heads=heads,
        n_kv_heads=heads,
        d_head=32,
        d_mlp=32 * round(settings.width * 8 / 3 / 32),
        context=256,
    )


def rows_of(form: Form, tokenizer: Tokenizer, problems: Sequence[Problem], n: int, seed: int) -> Rows:
    """`n` rows of one problem each: all of them in one order after another, each drawn anew.

    Behind a problem stands the token that ends a text, as often as there is room. What is to be learned is the reply
    and its end: a question's digits are drawn at random, and nobody can foretell them.
    """
    questions = tokenizer.encode_batch([form.question(problem) for problem in problems])
    replies = tokenizer.encode_batch([form.reply(problem) for problem in problems])
    # The loop has no rows shorter than 16 tokens.
    length = 1 + max(16, *(len(question) + len(reply) for question, reply in zip(questions, replies, strict=True)))
    tokens = np.full((len(problems), length), tokenizer.end_of_turn, np.int32)
    learned = np.zeros((len(problems), length), np.bool_)
    for row, (question, reply) in enumerate(zip(questions, replies, strict=True)):
        tokens[row, : len(question) + len(reply)] = [*question, *reply]
        learned[row, len(question) : len(question) + len(reply) + 1] = True
    rng = np.random.default_rng(seed)
    order = np.concatenate([rng.permutation(len(problems)) for _ in range(-(-n // len(problems)))])[:n]
    return Rows(tokens[order], learned[order])


def ask(
    model: Transformer, tokenizer: Tokenizer, form: Form, problems: Sequence[Problem]
) -> list[tuple[Problem, int | None]]:
    """Each problem with the answer that the model finds likeliest, token by token."""
    most = max(len(form.reply(problem)) for problem in problems) + 2
    questions = tokenizer.encode_batch([form.question(problem) for problem in problems])
    written = generate_batch(model, questions, max_tokens=most, stop_ids=tokenizer.stop_ids)
    replies = [tokenizer.decode(ids, skip_special=True) for ids in written]
    return [(problem, form.answer_in(reply)) for problem, reply in zip(problems, replies, strict=True)]


def _results(trained: Mapping[str, Trained], seed: int) -> Iterator[Result]:
    for name, each in trained.items():
        for kind in KINDS:
            yield Result("arithmetic", f"{kind}/{name}", each.right(kind), "share", len(each.answers[kind]), seed, True)


def _accuracy_picture(trained: Mapping[str, Trained]) -> str:
    shares = [[each.right(kind) for kind in KINDS] for each in trained.values()]
    return _table_picture(shares, trained, list(KINDS.values()), "Share of sums right, by kind")


def _digits_picture(trained: Mapping[str, Trained]) -> str:
    """How often each digit of the held-out answers is right."""
    places = [
        [
            (place, right)
            for problem, answer in each.answers["heldout"]
            for place, right in enumerate(digits_right(problem, answer))
        ]
        for each in trained.values()
    ]
    columns = ["units", "tens", "hundreds", "thousands", *(f"10^{place}" for place in range(4, 10))]
    return _means_picture(places, trained, columns, "Share of digits right, held-out sums")


def _carries_picture(trained: Mapping[str, Trained]) -> str:
    """How often held-out answers are right, by the number of columns that carry."""
    carries = [
        [(problem.carries, answer == problem.answer) for problem, answer in each.answers["heldout"]]
        for each in trained.values()
    ]
    columns = [f"{n} carried" for n in range(10)]
    return _means_picture(carries, trained, columns, "Share of held-out sums right, by columns that carry")


def _means_picture(
    groups: Sequence[Sequence[tuple[int, bool]]], trained: Mapping[str, Trained], columns: Sequence[str], title: str
) -> str:
    """The share of each column that is right; `groups` holds columns and rights for each form."""
    there = sorted({column for group in groups for column, _ in group})
    shares = [[float(np.mean([right for at, right in group if at == column])) for column in there] for group in groups]
    return _table_picture(shares, trained, [columns[column] for column in there], title)


def _table_picture(
    shares: Sequence[Sequence[float]], trained: Mapping[str, Trained], columns: Sequence[str], title: str
) -> str:
    return heatmap(shares, title, rows=list(trained), columns=columns, scale="share", numbers=True, cell=48)


def _learning_picture(trained: Mapping[str, Trained]) -> str:
    groups: dict[str, dict[str, list[tuple[int, float]]]] = {}
    for name, each in trained.items():
        group = "a token a character" if each.form.units == "characters" else "larger tokens"
        groups.setdefault(group, {})[name] = each.learning
    chart = Chart("Share of held-out sums right", [], "sums read", y_range=(0, 1), height=270, right=170)
    return panels(chart, groups)


def _report(settings: ArithmeticSettings, problems: Problems, trained: Mapping[str, Trained], best: str) -> str:
    """What was done, and how it came out."""
    weights = ", ".join(sorted({f"{each.model.n_parameters() / 1e6:.2f}" for each in trained.values()}))
    done = (
        f"A decoder of {settings.depth} blocks, {settings.width} wide ({weights} million weights), was trained with "
        f"each form on the same {len(problems.training):,} sums of numbers with up to {settings.digits} digits: "
        f"{settings.steps:,} steps of {settings.rows} sums. Held out are sums of numbers as large, seen in neither "
        "order; commuted are sums b + a where a + b was learned; longer have numbers of one digit more. Every answer "
        "is the likeliest, token by token, and right if all of it is."
    )
    rows = [
        [
            name,
            f"{np.mean([len(ids) for ids in _written(each, problems.heldout)]):.1f}",
            *(f"{each.right(kind):.1%}" for kind in KINDS),
            duration(each.seconds),
        ]
        for name, each in trained.items()
    ]
    shown = max(problems.heldout, key=lambda problem: (problem.carries, len(str(problem.a)), len(str(problem.b))))
    cut = [[name, " ".join(_cut(each, shown))] for name, each in trained.items()]
    outcomes = get_args(Outcome)
    ends = [
        [name, *(f"{Counter(outcome(*pair) for pair in each.answers['heldout'])[end]:,}" for end in outcomes)]
        for name, each in trained.items()
    ]
    parts = [
        done,
        markdown_table(["form", "tokens", *KINDS.values(), "time"], rows),
        f"`model/` is the model of *{best}*.",
        "![](accuracy.svg)",
        "## What the model reads and writes\n\nOne sum in each form, with spaces between tokens:",
        markdown_table(["form", "tokens"], cut, text_columns=2),
        "## Learning\n\n![](learning.svg)",
        "## Where answers go wrong\n\n![](digits.svg)\n\n![](carries.svg)",
        ENDS,
        markdown_table(["form", *outcomes], ends),
    ]
    return "\n\n".join(parts)


def _written(each: Trained, problems: Sequence[Problem]) -> list[list[int]]:
    """Tokens of problems with their replies."""
    return each.tokenizer.encode_batch([each.form.question(p) + each.form.reply(p) for p in problems])


def _cut(each: Trained, problem: Problem) -> list[str]:
    return [each.tokenizer.decode([token]) for token in _written(each, [problem])[0]]


RUNG = Rung("arithmetic", "An arithmetic transformer", ArithmeticSettings, climb, costly=True)
