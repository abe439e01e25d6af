"""Texts written on: several prompts, several answers, prompts echoed with what the model thinks of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest


@pytest.fixture
def client(serve_live: Any) -> Iterator[openai.OpenAI]:
    live = serve_live()
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def lm(lm: Any) -> Any:
    lm.script = lambda prompt: f" after {prompt}"
    return lm


def test_several_prompts_and_answers(client: openai.OpenAI, lm: Any) -> None:
    done = client.completions.create(model="demo", prompt=["one", "two"], n=2, max_tokens=30, seed=5)
    assert [choice.text for choice in done.choices] == [" after one"] * 2 + [" after two"] * 2
    assert [choice.index for choice in done.choices] == [0, 1, 2, 3]
    assert [(call.n, call.sampling.seed) for call in lm.calls] == [(2, 5)] * 2
    texts: dict[int, str] = {}
    for chunk in client.completions.create(model="demo", prompt=["one", "two"], n=2, max_tokens=30, stream=True):
        for choice in chunk.choices:
            texts[choice.index] = texts.get(choice.index, "") + choice.text
    assert texts == dict(enumerate([" after one"] * 2 + [" after two"] * 2))


def test_token_ids(client: openai.OpenAI, lm: Any) -> None:
    ids = lm.tokenizer.encode("the heaven")
    for prompt in (ids, [ids], [ids, ids]):
        client.completions.create(model="demo", prompt=prompt)
    assert [call.prompt for call in lm.calls] == [ids] * 4


def test_settings_reach_the_engine(client: openai.OpenAI, lm: Any) -> None:
    more = {"top_k": 7, "min_p": 0.1, "typical_p": 0.9, "repetition_penalty": 1.2}
    client.completions.create(
        model="demo", prompt="x", temperature=0, presence_penalty=1, frequency_penalty=-1, logit_bias={"5": -100},
        extra_body=more,
    )  # fmt: skip
    sampling = lm.calls[0].sampling
    assert {name: getattr(sampling, name) for name in more} == more
    assert (sampling.temperature, sampling.presence_penalty, sampling.frequency_penalty) == (0, 1, -1)
    assert dict(sampling.logit_bias) == {5: -100}


def test_the_best_of_several(client: openai.OpenAI, lm: Any) -> None:
    answers = iter([" bad", " the heaven", " so so and so on"])
    lm.script = lambda _: next(answers)
    done = client.completions.create(model="demo", prompt="x", best_of=3, n=3, logprobs=0)
    mean = {c.text: sum(c.logprobs.token_logprobs) / len(c.logprobs.token_logprobs) for c in done.choices}  # type: ignore[union-attr,arg-type]
    answers = iter([" bad", " the heaven", " so so and so on"])
    best = client.completions.create(model="demo", prompt="x", best_of=3)
    assert [choice.text for choice in best.choices] == [max(mean, key=lambda text: mean[text])]


def test_echo(client: openai.OpenAI, lm: Any) -> None:
    done = client.completions.create(model="demo", prompt="the héaven", echo=True, max_tokens=4, logprobs=2)
    choice = done.choices[0]
    assert choice.text.startswith("the héaven after")
    logprobs: Any = choice.logprobs
    prompt = lm.calls[0].prompt
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.top_logprobs) == len(prompt) + 4
    assert (logprobs.token_logprobs[0], logprobs.top_logprobs[0]) == (None, None)
    assert all(value < 0 for value in logprobs.token_logprobs[1:])
    assert all(len(top) == 2 for top in logprobs.top_logprobs[1:])
    # Each token stands where it says: é is two tokens, of which the second completes it.
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        if not token.startswith(("bytes:", "<|")):
            assert choice.text[offset:].startswith(token)
    chunks = list(
        client.completions.create(model="demo", prompt="the héaven", echo=True, max_tokens=4, logprobs=2, stream=True)
    )
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text
    streamed: list[Any] = []
    for chunk in chunks:
        if chunk.choices[0].logprobs:
            streamed += chunk.choices[0].logprobs.tokens or []
    assert streamed == logprobs.tokens


def test_echo_of_ids_and_of_nothing_more(client: openai.OpenAI, lm: Any) -> None:
    ids = lm.tokenizer.encode("the heaven")
    done = client.completions.create(model="demo", prompt=ids, echo=True, max_tokens=0, logprobs=1)
    choice = done.choices[0]
    assert (choice.text, choice.finish_reason) == ("the heaven", "length")
    assert choice.logprobs is not None
    assert "".join(choice.logprobs.tokens or []) == "the heaven"
    assert (choice.logprobs.text_offset or [])[:2] == [0, len(lm.tokenizer.decode(ids[:1]))]
    assert done.usage is not None
    assert done.usage.completion_tokens == 0
    plain = client.completions.create(model="demo", prompt=["the heaven", "x"], echo=True, max_tokens=0)
    assert [choice.text for choice in plain.choices] == ["the heaven", "x"]


def test_a_prompt_as_long_as_the_context_can_be_read(client: openai.OpenAI, lm: Any) -> None:
    ids = [50] * lm.config.context
    done = client.completions.create(model="demo", prompt=ids, echo=True, max_tokens=0, logprobs=0)
    assert len(done.choices[0].logprobs.tokens) == 256  # type: ignore[union-attr,arg-type]
    for prompt, most in ((ids, 1), ([*ids, 50], 0)):
        with pytest.raises(openai.BadRequestError, match=str(len(prompt))):
            client.completions.create(model="demo", prompt=prompt, echo=True, max_tokens=most)


def test_the_end_of_a_stream_counts_tokens(client: openai.OpenAI) -> None:
    chunks = list(
        client.completions.create(
            model="demo", prompt=["one", "two"], stream=True, stream_options={"include_usage": True}
        )
    )
    usage = chunks[-1].usage
    assert usage is not None
    assert chunks[-1].choices == []
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert all(chunk.usage is None for chunk in chunks[:-1])
