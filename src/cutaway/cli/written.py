"""What a model writes after a prompt, for `cutaway generate`: by our own strategies, or by an engine that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cutaway.infer import Completion, Decoding, LanguageModel, Step
    from cutaway.infer.engines import EngineName
    from cutaway.infer.request import Interject

Opener = Callable[..., Any] | None
"""What opens another engine for a model; None for our own strategies, which need none."""


def opener(name: EngineName) -> Opener:
    """What opens the engine of that name. Raises `BadInput` if it is not installed."""
    if name == "cutaway":
        return None
    from cutaway.infer.engines import engine_of

    return engine_of(name)


def completions(
    lm: LanguageModel,
    prompt: str | Sequence[int],
    decoding: Decoding,
    opened: Opener,
    interject: Interject | None = None,
) -> Iterator[Step | Completion]:
    """Each completion's steps as they come, and then the completion."""
    if opened:
        from cutaway.infer.engines import completions_by

        return completions_by(opened, lm, prompt, decoding, interject)
    from cutaway.infer.completion import completions as own

    return own(lm, prompt, decoding)


def answer(lm: LanguageModel, question: str, decoding: Decoding, opened: Opener) -> Iterator[Step | Completion]:
    """The answer to a question; with the calculator where nothing but drawing is asked for."""
    from cutaway.assistant import calculate
    from cutaway.infer import Completion, Decoding, Step, reply

    messages = [{"role": "user", "content": question}]
    plain = decoding == Decoding(decoding.sampling, decoding.max_tokens, top=decoding.top)
    if opened or not plain:
        calculator = _calculator(lm) if plain else None
        yield from completions(lm, lm.tokenizer.encode_chat(messages), decoding, opened, calculator)
        return
    steps: list[Step] = []
    for step in reply(
        lm, messages, sampling=decoding.sampling, max_tokens=decoding.max_tokens, tools={"calculator": calculate},
        top=decoding.top,
    ):  # fmt: skip
        if isinstance(step, Step):
            steps.append(step)
            yield step
    ended = bool(steps) and steps[-1].token in lm.tokenizer.stop_ids
    text = "".join(step.text for step in steps if not step.forced)
    yield Completion(text, steps, "stop" if ended else "length")


def _calculator(lm: LanguageModel) -> Interject:
    from cutaway.serve.speech import Calculating

    return Calculating(lm.tokenizer)
