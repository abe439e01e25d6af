"""Tools where the model's own chat template tells of them: what it is told, and what it is made to write."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer as Backend

from cutaway.infer import LanguageModel
from cutaway.model import ModelConfig, Transformer
from cutaway.serve.calls import LLAMA, MARKED, MISTRAL, OURS, form_by_template, form_of
from cutaway.tokens import ForeignTokenizer, Tokenizer

CHAT = "/v1/chat/completions"
TURNS = "{% for m in messages %}<|turn|>{{ m.role }}: {{ m.content }}"
END = "<|over|>{% endfor %}{% if add_generation_prompt %}<|turn|>assistant: {% endif %}"
TOLD = "{% for tool in tools or [] %}{{ tool | tojson }}\n{% endfor %}"
TEMPLATES = {
    "hermes": TOLD + TURNS + "{% for c in m.tool_calls or [] %}"
    "{{ '<tool_call>\n{\"name\": \"' + c.function.name + '\", \"arguments\": ' }}{{ c.function.arguments | tojson }}"
    "{{ '}\n</tool_call>' }}{% endfor %}" + END,
    "llama": "{% if tools is not none %}Answer so: <|start_header_id|>{{ '{\"name\": n, \"parameters\": p}' }}\n"
    + TOLD + "{% endif %}" + TURNS + "{% if 'tool_calls' in m %}{% if m.tool_calls | length > 1 %}"
    "{{ raise_exception('one call at a time') }}{% endif %}{% set f = m.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + f.name + '\", \"parameters\": ' }}{{ f.arguments | tojson }}}{% endif %}" + END,
    "mistral": TOLD + TURNS + "{% if m.tool_calls is defined %}[TOOL_CALLS][{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}"
    "{{ (c.function | tojson)[:-1] + ', \"id\": \"' + c.id + '\"}' }}{% endfor %}]{% endif %}"
    "{% if m.tool_call_id is defined %} (of {{ m.tool_call_id }}){% endif %}" + END,
    "mistral, later": TOLD + TURNS + "{% for c in m.tool_calls or [] %}"
    "[TOOL_CALLS]{{ c.function.name }}[CALL_ID]{{ c.id }}[ARGS]{{ c.function.arguments | tojson }}{% endfor %}" + END,
}  # fmt: skip
FORMS = {"hermes": MARKED, "llama": LLAMA, "mistral": MISTRAL, "mistral, later": MISTRAL}
SPECIAL = ["<|turn|>", "<|over|>", "[TOOL_CALLS]", "[ARGS]", "[CALL_ID]"]
PLACE = {"$defs": {"town": {"enum": ["Rome", "Paris"]}}, "type": "object", "additionalProperties": False,
         "properties": {"town": {"$ref": "#/$defs/town"}, "days": {"type": "array", "items": {"enum": [1, 2]},
                                                                   "maxItems": 2, "minItems": 2}},
         "required": ["town", "days"]}  # fmt: skip
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Of a town.", "parameters": PLACE}}
TIME = {"type": "function", "function": {"name": "time"}}
NOW = {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "additionalProperties": False}}}
TIME_TOLD = {"name": "time", "description": "", "parameters": {"type": "object", "properties": {}}}


def foreign(tokenizer: Tokenizer, template: str) -> ForeignTokenizer:
    backend = Backend.from_str(tokenizer.backend.to_str())
    backend.add_special_tokens(SPECIAL)
    over = backend.token_to_id("<|over|>")
    return ForeignTokenizer(backend, chat_template=template, ends=[over])


def call(id_: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": "weather", "arguments": json.dumps(arguments)}}


HISTORY: list[dict[str, Any]] = [
    {"role": "user", "content": "Is it warm in Rome and Paris?"},
    {"role": "assistant", "content": None, "tool_calls": [call("call_1", town="Rome"), call("call_2", town="Paris")]},
    {"role": "tool", "tool_call_id": "call_1", "content": "30"},
    {"role": "tool", "tool_call_id": "call_2", "content": "20"},
    {"role": "user", "content": "Thanks."},
]


def post(live: Any, **body: Any) -> Any:
    with live.client() as http:
        answer = http.post(CHAT, json={"model": "demo", **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]


@pytest.fixture
def prompt_of(live: Any, tokenizer: Tokenizer) -> Any:
    """The text that a request becomes under a template."""

    def prompt_of(template: str, **body: Any) -> str:
        live.lm.tokenizer = foreign(tokenizer, template)
        live.lm.answer = lambda _: [live.lm.tokenizer.end_of_turn]
        live.lm.config.context = 4096
        post(live, **body)
        return live.lm.tokenizer.decode(live.lm.calls[-1].prompt)

    return prompt_of


@pytest.mark.parametrize("family", TEMPLATES)
def test_forms(family: str, tokenizer: Tokenizer) -> None:
    assert form_of(foreign(tokenizer, TEMPLATES[family])) is FORMS[family]


@pytest.mark.parametrize(
    "template",
    [
        TURNS + END,  # knows of no tools
        TURNS + '<tool_call>{"name": n, "arguments": a}' + END,
        TOLD + TURNS + "<tool_call><function=f><parameter=p>" + END,  # a form of its own
        TOLD + TURNS + "<|start_header_id|>" + END,
        TOLD + TURNS + '<tool_call> <tool_calls>[{"name": n, "arguments": a}]</tool_calls>' + END,
    ],
)
def test_tools_are_told_of_in_words_where_the_template_has_no_known_form(prompt_of: Any, template: str) -> None:
    prompt = prompt_of(template, messages=HISTORY, tools=[WEATHER])
    assert "These functions can be called" in prompt
    assert prompt.count('<tool_call>{"name": "weather", "arguments": {"town": "') == 2


def test_forms_of_others(tokenizer: Tokenizer) -> None:
    assert form_of(foreign(tokenizer, TURNS + END)) is MARKED
    assert form_by_template(foreign(tokenizer, TURNS + END)) is None
    assert form_of(tokenizer) is OURS


@pytest.mark.parametrize("family", TEMPLATES)
def test_the_template_tells_of_the_tools(prompt_of: Any, family: str) -> None:
    prompt = prompt_of(TEMPLATES[family], messages=HISTORY, tools=[WEATHER, TIME])
    lines = [line for line in prompt.splitlines() if line.startswith('{"type"')]
    assert [json.loads(line)["function"] for line in lines] == [WEATHER["function"], TIME_TOLD]
    assert "These functions can be called" not in prompt
    assert prompt.count('{"town": "Rome"}') == prompt.count('{"town": "Paris"}') == 1
    untold = prompt_of(TEMPLATES[family], messages=HISTORY, tools=[WEATHER, TIME], tool_choice="none")
    assert '"description"' not in untold
    assert untold.count('{"town": "Rome"}') == 1


def test_hermes_calls_of_a_turn_stay_together(prompt_of: Any) -> None:
    prompt = prompt_of(TEMPLATES["hermes"], messages=HISTORY, tools=[WEATHER])
    assert re.search(
        r'"Rome"}}\n</tool_call><tool_call>\n{"name": "weather", .*"Paris"}}\n</tool_call><\|over\|>', prompt
    )


def test_llama_takes_calls_one_by_one(prompt_of: Any) -> None:
    prompt = prompt_of(TEMPLATES["llama"], messages=HISTORY, tools=[WEATHER])
    turns = [turn.split(": ", 1)[0] for turn in prompt.split("<|turn|>")[1:]]
    assert turns == ["user", "assistant", "tool", "assistant", "tool", "user", "assistant"]
    assert prompt.index('Rome"}}') < prompt.index("30") < prompt.index('Paris"}}') < prompt.index("20")


def test_mistral_knows_calls_by_nine_letters(prompt_of: Any) -> None:
    prompt = prompt_of(TEMPLATES["mistral"], messages=HISTORY, tools=[WEATHER])
    ids, of = re.findall(r'"id": "([a-z0-9]{9})"', prompt), re.findall(r"\(of ([a-z0-9]{9})\)", prompt)
    assert ids == of
    assert len(set(ids)) == 2
    short = [message | {"tool_call_id": "aBcDeF123"} if "tool_call_id" in message else message for message in HISTORY]
    assert "(of aBcDeF123)" in prompt_of(TEMPLATES["mistral"], messages=short, tools=[WEATHER])


@pytest.mark.parametrize("arguments", ["[]", "x", ""])
def test_arguments_in_the_history_must_be_an_object(live: Any, tokenizer: Tokenizer, arguments: str) -> None:
    live.lm.tokenizer = foreign(tokenizer, TEMPLATES["hermes"])
    live.lm.config.context = 4096
    broken = {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": arguments}}]}
    with live.client() as http:
        answer = http.post(CHAT, json={"model": "demo", "messages": [*HISTORY[:1], broken], "tools": [WEATHER]})
    assert answer.status_code == 400
    assert "must be a JSON object" in answer.json()["error"]["message"]


def test_an_answer_in_mistrals_form(live: Any, tokenizer: Tokenizer) -> None:
    """Its marks are tokens, which have no text of their own."""
    own = live.lm.tokenizer = foreign(tokenizer, TEMPLATES["mistral, later"])
    live.lm.config.context = 4096
    mark, args = own.special["[TOOL_CALLS]"], own.special["[ARGS]"]
    one = [mark, *own.encode("weather"), args, *own.encode('{"town": "Rome"}')]
    live.lm.answer = lambda _: [*own.encode("So."), *one, *one, own.end_of_turn]
    asked: dict[str, Any] = {"messages": HISTORY[:1], "tools": [WEATHER]}
    choice = post(live, **asked)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("So.", "tool_calls")
    assert [each["function"] for each in choice["message"]["tool_calls"]] == [
        {"name": "weather", "arguments": '{"town": "Rome"}'}
    ] * 2
    assert len(post(live, parallel_tool_calls=False, **asked)["message"]["tool_calls"]) == 1


class TestMustCall:
    """A model that was never trained is held to its family's form."""

    @pytest.fixture(params=TEMPLATES)
    def lm(self, request: Any, tokenizer: Tokenizer) -> LanguageModel:
        own = foreign(tokenizer, TEMPLATES[request.param])
        torch.manual_seed(0)
        config = ModelConfig.from_depth(1, own.vocab_size, context=2048)
        return LanguageModel("demo", Transformer(config), own)

    @pytest.mark.parametrize("parallel", [False, True])
    def test_a_call_that_must_be_made(self, serve_live: Any, lm: LanguageModel, parallel: bool) -> None:
        live = serve_live()
        body = {"messages": HISTORY[:1], "tools": [WEATHER, NOW], "tool_choice": "required", "max_tokens": 150}
        for seed in range(2):
            choice = post(live, seed=seed, parallel_tool_calls=parallel, **body)
            cut = choice["finish_reason"] == "length"
            # Where no more may be written, what is no call yet stays what it is: text.
            assert cut or choice["message"]["content"] is None
            calls = choice["message"].get("tool_calls") or []
            assert cut or calls
            for each in calls[: len(calls) - cut]:
                arguments = json.loads(each["function"]["arguments"])
                assert not re.search(r"\n|  ", each["function"]["arguments"])
                if each["function"]["name"] == "weather":
                    assert arguments["town"] in ("Rome", "Paris")
                else:
                    assert (each["function"]["name"], arguments) == ("now", {})

    def test_the_one_that_is_named(self, serve_live: Any, lm: LanguageModel) -> None:
        choice = post(
            serve_live(), messages=HISTORY[:1], tools=[WEATHER, NOW], parallel_tool_calls=False, seed=1,
            tool_choice={"type": "function", "function": {"name": "weather"}},
        )  # fmt: skip
        assert choice["finish_reason"] == "tool_calls"
        (only,) = choice["message"]["tool_calls"]
        arguments = json.loads(only["function"]["arguments"])
        assert arguments["town"] in ("Rome", "Paris")
        assert set(arguments["days"]) <= {1, 2}
