"""Measuring a model on a suite, and keeping what it was asked and said."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from cutaway.evals.bits_per_byte import bits_per_byte
from cutaway.evals.measures import RESULTS, measure_of
from cutaway.evals.outcomes import OUTCOMES, Outcome, write_outcomes
from cutaway.evals.tasks import Conversation, Message, Suite, Task, asked
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.reply import Tools, answer_batch
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.runs.progress import Progress
from cutaway.runs.progress import Task as Work
from cutaway.runs.results import Result, write_results

_ASKED_AT_ONCE = 256


class Answering(Protocol):
    """Something that answers conversations, as ``cutaway.infer.reply.answer_batch`` does."""

    def __call__(
        self,
        lm: LanguageModel,
        conversations: Sequence[Sequence[Message]],
        *,
        max_tokens: int,
        sampling: Sampling,
        tools: Tools,
    ) -> list[str]:
        """The final assistant text of each conversation."""
        ...


def evaluate(
    lm: LanguageModel,
    suite: Suite,
    tools: Tools,
    progress: Progress,
    *,
    stage: str,
    seed: int,
    directory: Path | None = None,
    answering: Answering = answer_batch,
) -> list[Result]:
    """Ask every question of the suite, greedily, and measure bits per byte on its documents.

    A metric's value is the share (0 to 1) of a task's ``n`` replies that count; its 95% interval follows from the two
    (`cutaway.evals.intervals.wilson`). With a ``directory``, ``evals.json`` there gets the results and
    ``outcomes.jsonl`` every question, reply and verdict.
    """
    results: list[Result] = []
    outcomes: list[Outcome] = []
    add = partial(_result, stage=stage, seed=seed)
    questions = sum(len(task.conversations) for task in suite.tasks)
    with progress.task(f"questions to {stage}", questions, "questions") as work:
        for task in suite.tasks:
            told = partial(_tell, work, len(outcomes), task.name)
            asked_of_task = _ask(lm, task, tools, answering, told)
            outcomes += asked_of_task
            results += [add(metric, value, n) for metric, value, n in shares(task, asked_of_task)]
    if suite.documents:
        with progress.task(f"bits per byte of {stage}", None, "windows") as work:
            measured = bits_per_byte(
                lm.model, lm.tokenizer, suite.documents, suite.context, suite.stride, lambda done, _: work.update(done)
            )
        for source, found in measured.items():
            results.append(
                add("bits_per_byte" if source == "total" else f"bits_per_byte/{source}", found.value, found.bytes)
            )
    if directory is not None:
        write_outcomes(directory / OUTCOMES, outcomes)
        write_results(directory / RESULTS, results)
    return results


def _tell(work: Work, before: int, name: str, done: int) -> None:
    work.update(before + done, task=name)


def shares(task: Task, outcomes: Sequence[Outcome]) -> list[tuple[str, float, int]]:
    """Every metric of a task as (name, share, n), the parts of its first metric after them."""
    found = [(metric, _share(outcomes, metric), len(outcomes)) for metric in task.counts if outcomes]
    if task.part is not None and found:
        first = found[0][0]
        parts: dict[str, list[Outcome]] = defaultdict(list)
        for conversation, outcome in zip(task.conversations, outcomes, strict=True):
            parts[task.part(conversation)].append(outcome)
        found += [(f"{first}/{part}", _share(some, first), len(some)) for part, some in sorted(parts.items())]
    return found


def _ask(
    lm: LanguageModel, task: Task, tools: Tools, answering: Answering, on_progress: Callable[[int], None]
) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for start in range(0, len(task.conversations), _ASKED_AT_ONCE):
        some = task.conversations[start : start + _ASKED_AT_ONCE]
        prompts = [asked(conversation) for conversation in some]
        replies = answering(lm, prompts, max_tokens=task.max_tokens, sampling=GREEDY, tools=tools if task.tools else {})
        for conversation, prompt, reply in zip(some, prompts, replies, strict=True):
            outcomes.append(_outcome(task, conversation, prompt, reply))
        on_progress(len(outcomes))
    return outcomes


def _outcome(task: Task, conversation: Conversation, prompt: Sequence[Message], reply: str) -> Outcome:
    counted = {metric: counts(conversation, reply) for metric, counts in task.counts.items()}
    # One message is shown as it is; more of them with who said what.
    question = prompt[0]["content"] if len(prompt) == 1 else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)
    return Outcome(task.name, str(question), reply, conversation.answer, counted)


def _share(outcomes: Sequence[Outcome], metric: str) -> float:
    return sum(outcome.counted[metric] for outcome in outcomes) / len(outcomes)


def _result(metric: str, value: float, n: int, *, stage: str, seed: int) -> Result:
    measure = measure_of(metric)
    return Result(stage, metric, value, measure.unit, n, seed, measure.higher_is_better)
