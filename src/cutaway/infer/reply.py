"""Answering in a conversation: the model writes, its calls of tools are run, and their results are put before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cutaway.infer.generate import Session, Step, TextStream, generate_batch, step_of, stream
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.tokens import Message
from cutaway.tokens.special import ROLES
from cutaway.tokens.tokenizer import Tokenizer

Tools = Mapping[str, Callable[[str], str]]
"""Tools by name; each takes the text of a call and gives the text of its result."""

CALCULATOR = "calculator"
MOST_CALLS = 4
"""Calls that one answer may make, so that a model that only calls comes to an end."""


@dataclass(frozen=True)
class ToolStep:
    """A tool that was called, with what, and what it gave."""

    name: str
    arguments: str
    result: str


def reply(
    lm: LanguageModel,
    messages: Sequence[Message],
    *,
    sampling: Sampling,
    max_tokens: int,
    tools: Tools | None = None,
    top: int = 0,
) -> Iterator[Step | ToolStep]:
    """The assistant's answer, token by token.

    A call is written out as steps, then comes a `ToolStep`, then the result's tokens as forced steps, then the answer
    goes on. Raises `BadInput` if the conversation does not fit into the context.
    """
    tokenizer, tools = lm.tokenizer, tools or {}
    generator = sampling.generator()
    session = Session(lm.model)
    session.read(tokenizer.encode_chat(messages))
    left = max_tokens
    for _ in range(MOST_CALLS + 1):
        steps: list[Step] = []
        for step in stream(
            lm.model, tokenizer, session,
            max_tokens=left, sampling=sampling, stop_ids=tokenizer.stop_ids, generator=generator, top=top,
        ):  # fmt: skip
            steps.append(step)
            yield step
        left -= len(steps)
        expression = called_with(tokenizer, [step.token for step in steps])
        if expression is None or CALCULATOR not in tools or left <= 0:
            return
        result = tools[CALCULATOR](expression)
        injected = tool_turn(tokenizer, result)
        # The stop token that ended the call has been given out and not yet read.
        if session.room < len(injected) + 1:
            return
        session.read([steps[-1].token])
        yield ToolStep(CALCULATOR, expression, result)
        text = TextStream(tokenizer)
        for token in injected:
            yield step_of(session, token, text.add(token), top, forced=True)
            session.read([token])


def answer_batch(
    lm: LanguageModel,
    conversations: Sequence[Sequence[Message]],
    *,
    max_tokens: int,
    sampling: Sampling = GREEDY,
    tools: Tools | None = None,
) -> list[str]:
    """The final text of the assistant's answer to each conversation, tools run, many at once."""
    tokenizer, tools = lm.tokenizer, tools or {}
    prompts = [tokenizer.encode_chat(messages) for messages in conversations]
    answers = [""] * len(prompts)
    waiting = list(range(len(prompts)))
    for _ in range(MOST_CALLS + 1):
        written = generate_batch(
            lm.model,
            [prompts[i] for i in waiting],
            max_tokens=max_tokens,
            stop_ids=tokenizer.stop_ids,
            sampling=sampling,
        )
        going: list[int] = []
        for i, ids in zip(waiting, written, strict=True):
            expression = called_with(tokenizer, ids)
            if expression is None or CALCULATOR not in tools:
                answers[i] = tokenizer.decode(ids, skip_special=True)
                continue
            prompts[i] = [*prompts[i], *ids, *tool_turn(tokenizer, tools[CALCULATOR](expression))]
            if len(prompts[i]) < lm.config.context:
                going.append(i)
        waiting = going
        if not waiting:
            break
    return answers


def called_with(tokenizer: Tokenizer, ids: Sequence[int]) -> str | None:
    """The text of the call that these tokens make, if they are a whole call and nothing else."""
    if len(ids) < 2 or ids[0] != tokenizer.tool_call or ids[-1] != tokenizer.end_of_turn:
        return None
    return tokenizer.decode(ids[1:-1], skip_special=True)


def tool_turn(tokenizer: Tokenizer, result: str) -> list[int]:
    """The tokens put before the model after its call: the result's turn, and the opening of its own next one."""
    special = tokenizer.special
    return [special[ROLES["tool"]], *tokenizer.encode(result), tokenizer.end_of_turn, special[ROLES["assistant"]]]
