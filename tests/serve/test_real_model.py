"""The way through inference itself, with a tiny model that was never trained."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend

from cutaway.infer import LanguageModel
from cutaway.infer.reply import MOST_CALLS, tool_turn
from cutaway.model import ModelConfig, Transformer
from cutaway.serve import Limits, Offer
from cutaway.serve.shapes import Usage
from cutaway.serve.speech import Calculating, ToolUse
from cutaway.tokens import ForeignTokenizer, Tokenizer

CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
WHO = [{"role": "user", "content": "Who are you?"}]
UNIT = {
    "type": "object",
    "properties": {"unit": {"enum": ["C", "F"]}},
    "required": ["unit"],
    "additionalProperties": False,
}
TOOLS = [{"type": "function", "function": {"name": name, "parameters": UNIT}} for name in ("warmth", "wind")]


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=1024)
    return LanguageModel("demo", Transformer(config), tokenizer)


@pytest.fixture
def real(serve_live: Any) -> Any:
    return serve_live()


def post(real: Any, path: str, status: int = 200, **body: Any) -> Any:
    with real.client() as http:
        answer = http.post(path, json={"model": "demo", **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_greedy_text_is_that_of_generate(real: Any, lm: LanguageModel) -> None:
    expected = lm.generate("In the beginning", max_tokens=24)
    done = post(real, TEXT, prompt="In the beginning", max_tokens=24, temperature=0)
    assert done["choices"][0]["text"] == expected


def test_echoed_log_probabilities_are_the_models(real: Any, lm: LanguageModel) -> None:
    prompts = [lm.tokenizer.encode(text) for text in ("The sky is blue because", "42", "In the beginning God made")]
    for most in (0, 1):
        done = post(real, TEXT, prompt=prompts, max_tokens=most, temperature=0, logprobs=3, echo=True)
        for choice, ids in zip(done["choices"], prompts, strict=True):
            with torch.no_grad():
                expected = lm.model(torch.tensor([ids])).log_softmax(-1)[0]
            found = choice["logprobs"]
            assert len(found["token_logprobs"]) == len(ids) + most
            if most:
                assert found["token_logprobs"][-1] == pytest.approx(float(expected[-1].max()), abs=1e-4)
            for at, id_ in enumerate(ids[1:], start=1):
                assert found["token_logprobs"][at] == pytest.approx(float(expected[at - 1, id_]), abs=1e-4)
                best = expected[at - 1].topk(3).values.tolist()
                assert sorted(found["top_logprobs"][at].values(), reverse=True) == pytest.approx(best, abs=1e-4)
                # lm-eval compares the two numbers to see whether greedy decoding would have written the token.
                greedy = int(expected[at - 1].argmax()) == id_
                assert (found["token_logprobs"][at] == max(found["top_logprobs"][at].values())) == greedy


def test_a_token_that_ends_the_text_is_counted_among_its_log_probabilities(real: Any, lm: LanguageModel) -> None:
    """Who cuts the last one off, as lm-eval does, must not lose one of the prompt's."""
    ids = lm.tokenizer.encode("the heaven")
    end = {str(lm.tokenizer.end_of_text): 100}
    done = post(real, TEXT, prompt=ids, max_tokens=1, logprobs=1, echo=True, logit_bias=end)
    choice = done["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("the heaven", "stop")
    assert len(choice["logprobs"]["tokens"]) == len(ids) + 1


def test_seeds_and_several_answers(real: Any) -> None:
    body: dict[str, Any] = {"messages": WHO, "seed": 3, "n": 3, "max_tokens": 12, "logprobs": True, "top_logprobs": 10}
    first, second = post(real, CHAT, **body), post(real, CHAT, **body)
    assert first["choices"] == second["choices"]
    contents = [choice["message"]["content"] for choice in first["choices"]]
    assert len(set(contents)) == 3
    alone = post(real, CHAT, **{**body, "n": 1, "seed": 4})["choices"][0]
    assert alone["message"]["content"] == contents[1]
    for choice in first["choices"]:
        for token in choice["logprobs"]["content"]:
            assert len(token["top_logprobs"]) == 10


def test_a_conversation_that_goes_on_is_not_read_again(real: Any) -> None:
    history = [*WHO, {"role": "assistant", "content": "I am a small language model. " * 5}, *WHO]
    first, second = (Usage.model_validate(post(real, CHAT, messages=history, max_tokens=2)["usage"]) for _ in range(2))
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second.prompt_tokens_details.cached_tokens > first.prompt_tokens - 20


@pytest.mark.parametrize("stream", [False, True])
def test_json_of_a_schema(real: Any, stream: bool) -> None:
    schema = {
        "type": "object",
        "properties": {
            "unit": {"enum": ["C", "F"]},
            "warm": {"type": "boolean"},
            "n": {"type": "integer", "maximum": 9, "minimum": 0},
        },
        "required": ["unit", "warm", "n"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema, "strict": True}}
    body: dict[str, Any] = {"messages": WHO, "response_format": form, "seed": 1}
    if stream:
        with real.client() as http:
            lines = http.post(CHAT, json={"model": "demo", "stream": True, **body}).text.split("\n\n")
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        reason = chunks[-1]["choices"][0]["finish_reason"]
    else:
        choice = post(real, CHAT, **body)["choices"][0]
        text, reason = choice["message"]["content"], choice["finish_reason"]
    found = json.loads(text)
    assert reason == "stop"
    assert found["unit"] in ("C", "F")
    assert isinstance(found["warm"], bool)
    assert 0 <= found["n"] <= 9


def test_any_json_object(real: Any) -> None:
    choice = post(real, CHAT, messages=WHO, response_format={"type": "json_object"}, max_tokens=40)["choices"][0]
    assert choice["message"]["content"].startswith("{")


@pytest.mark.parametrize(
    ("choice", "names"),
    [("required", {"warmth", "wind"}), ({"type": "function", "function": {"name": "wind"}}, {"wind"})],
)
def test_a_call_that_must_be_made(real: Any, choice: Any, names: set[str]) -> None:
    for seed in range(3):
        body: dict[str, Any] = {"messages": WHO, "tools": TOOLS, "tool_choice": choice, "seed": seed}
        done = post(real, CHAT, parallel_tool_calls=False, **body)["choices"][0]
        assert done["finish_reason"] == "tool_calls"
        (call,) = done["message"]["tool_calls"]
        assert call["function"]["name"] in names
        assert json.loads(call["function"]["arguments"])["unit"] in ("C", "F")
        assert done["message"]["content"] is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nonsense"},
        {"$ref": "#/nowhere"},
        {"type": "string", "pattern": "("},
        {"type": "string", "pattern": "(?=lookahead)"},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"$ref": "https://example.org/schema.json"},
    ],
)
def test_schemas_that_cannot_be_followed(real: Any, schema: dict[str, Any]) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    error = post(real, CHAT, 400, messages=WHO, response_format=form)["error"]
    assert error["type"] == "invalid_request_error"
    assert real.taken == 0
    assert post(real, CHAT, messages=WHO, max_tokens=1)["choices"]


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a{1,9999}){1,9999}$", "^(.*a){20}$"])
def test_a_pattern_with_many_ways_to_match_costs_no_time(real: Any, pattern: str) -> None:
    schema = {"type": "object", "properties": {"x": {"type": "string", "pattern": pattern}}, "required": ["x"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    with real.client() as http:  # it is followed, or found too complex
        body = {"model": "demo", "messages": WHO, "response_format": form, "max_tokens": 60, "seed": 1}
        answer = http.post(CHAT, json=body)
    assert answer.status_code in (200, 400)
    assert answer.elapsed.total_seconds() < 15


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ raise_exception('no') }}",
        "{{ 'x' * 10**10 }}",
        "{% include '/etc/passwd' %}",
        "{{ messages[5].content }}{{ messages | map('upper') | list | join }}{{ 1/0 }}",
        "{%",
    ],
)
def test_hostile_templates(serve_live: Any, lm: LanguageModel, template: str) -> None:
    backend = Backend.from_str(lm.tokenizer.backend.to_str())
    other = LanguageModel("demo", lm.model, ForeignTokenizer(backend, chat_template=template))
    real = serve_live(offers=[Offer("demo", lambda: other, "demo")])
    error = post(real, CHAT, 400, messages=WHO)["error"]
    assert "root" not in error["message"]
    assert post(real, TEXT, prompt="x", max_tokens=1)["choices"]


def test_the_calculator_is_run_so_often_and_no_more(tokenizer: Tokenizer) -> None:
    calculating = Calculating(tokenizer)
    call = [tokenizer.tool_call, *tokenizer.encode("2*21"), tokenizer.end_of_turn]
    assert calculating(0, tokenizer.encode("in words")) is None
    calculating = Calculating(tokenizer)
    for _ in range(MOST_CALLS):
        found = calculating(0, call)
        assert found is not None
        assert list(found.tokens) == tool_turn(tokenizer, "42")
        assert found.note == ToolUse("calculator", "2*21", "42")
    assert calculating(0, call) is None
    assert calculating(1, call) is not None


def test_closing_ends_what_runs(serve_live: Any) -> None:
    real = serve_live(limits=Limits(drain_seconds=0))
    with real.client() as http, http.stream("POST", TEXT, json={
        "model": "demo", "prompt": "x", "max_tokens": 1000, "stream": True, "logit_bias": {"1": -100},
    }) as answer:  # fmt: skip
        lines = answer.iter_lines()
        next(lines)
        real.service.close()
        assert "shutting_down" in "".join(lines)


def test_offer_type_checks(lm: LanguageModel) -> None:
    assert Offer("demo", lambda: lm, "demo").load() is lm
