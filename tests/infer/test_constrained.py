"""What is written under a grammar keeps to it: JSON of random schemas, expressions, grammars; and hostile ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers

from cutaway.infer import Decoding, LanguageModel, Sampling
from cutaway.infer.constrained import MOST_CHARACTERS, MOST_NESTING, Constraint, Grammar, bridge
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import BadInput
from cutaway.tokens import ForeignTokenizer, Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens.pieces import piece_backend

TEXTS = [
    '{"name": "Ada", "born": 1815, "tags": ["a", "b"], "x": {"y": null, "z": true}}',
    "café 日本語 🙂 1, 2, 3 ",
] * 20


def random_model(vocab: int) -> Transformer:
    torch.manual_seed(0)
    return Transformer(ModelConfig(vocab, 1, 16, 2, 1, 8, 16, context=2048)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=360), TEXTS, tmp_path_factory.mktemp("tokenizer"))
    return LanguageModel("random", random_model(tokenizer.vocab_size), tokenizer)


def write(lm: LanguageModel, grammar: Grammar, seed: int = 0, max_tokens: int = 1500, **more: Any) -> Any:
    sampling = Sampling(1.0, seed=seed)
    return lm.complete("x", Decoding(sampling, max_tokens, grammar=grammar, **more))[0]


NAMES = st.text('abcé_ "\\', min_size=1, max_size=6)
LEAVES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({"type": "null"}),
    st.just({"type": "boolean"}),
    st.tuples(st.integers(-999, 999), st.integers(0, 5000)).map(
        lambda t: {"type": "integer", "minimum": t[0], "maximum": t[0] + t[1]}
    ),
    st.tuples(st.integers(0, 5), st.integers(0, 8)).map(
        lambda t: {"type": "string", "minLength": t[0], "maxLength": t[0] + t[1]}
    ),
    st.sampled_from(["date", "uuid", "ipv4"]).map(lambda name: {"type": "string", "format": name}),
    st.just({"type": "string", "pattern": "^[a-c]{2,5}x?$"}),
    st.lists(st.one_of(NAMES, st.integers(-9, 9), st.none(), st.booleans()), min_size=1, max_size=4).map(
        lambda values: {"enum": values}
    ),
    NAMES.map(lambda value: {"const": value}),
)


def nodes(below: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects, arrays and alternatives, all of bounded size."""

    def described(properties: dict[str, Any], needed: int) -> dict[str, Any]:
        return {
            "type": "object", "properties": properties, "required": list(properties)[:needed],
            "additionalProperties": False,
        }  # fmt: skip

    return st.one_of(
        st.builds(described, st.dictionaries(NAMES, below, max_size=4), st.integers(0, 4)),
        st.tuples(below, st.integers(0, 2), st.integers(0, 3)).map(
            lambda t: {"type": "array", "items": t[0], "minItems": t[1], "maxItems": t[1] + t[2]}
        ),
        st.lists(below, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
    )


SCHEMAS = nodes(st.recursive(LEAVES, nodes, max_leaves=6))


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether JSON keeps to a schema of the kinds above, read from the specification."""
    if "anyOf" in schema:
        return any(fits(value, option) for option in schema["anyOf"])
    if "enum" in schema:
        return any(value == option and type(value) is type(option) for option in schema["enum"])
    if "const" in schema:
        return bool(value == schema["const"])
    kind = schema["type"]
    if kind == "null":
        return value is None
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return type(value) is int and schema["minimum"] <= value <= schema["maximum"]
    if kind == "string":
        return isinstance(value, str) and string_fits(value, schema)
    if kind == "array":
        return (
            isinstance(value, list)
            and schema["minItems"] <= len(value) <= schema["maxItems"]
            and all(fits(item, schema["items"]) for item in value)
        )
    properties = schema["properties"]
    return (
        isinstance(value, dict)
        and set(schema["required"]) <= set(value) <= set(properties)
        and all(fits(item, properties[name]) for name, item in value.items())
    )


FORMATS = {
    "date": r"\d{4}-\d\d-\d\d",
    "uuid": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}",
    "ipv4": r"(\d{1,3}\.){3}\d{1,3}",
}


def string_fits(value: str, schema: dict[str, Any]) -> bool:
    if "format" in schema:
        return re.fullmatch(FORMATS[schema["format"]], value) is not None
    if "pattern" in schema:
        return re.search(schema["pattern"], value) is not None
    return schema["minLength"] <= len(value) <= schema["maxLength"]


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(SCHEMAS, st.integers(0, 10**6))
def test_json_of_any_schema_parses_and_fits(lm: LanguageModel, schema: dict[str, Any], seed: int) -> None:
    found = write(lm, Grammar.json_schema(schema), seed)
    assert found.finish == "stop", found.text
    assert fits(json.loads(found.text), schema), (found.text, schema)


def test_any_object(lm: LanguageModel) -> None:
    for seed in range(10):
        found = write(lm, Grammar.json_object(), seed, 600)
        if found.finish == "stop":
            assert isinstance(json.loads(found.text), dict)
        assert found.text.startswith("{")


@pytest.mark.parametrize("pattern", [r"[a-f]{3,6}-\d{2}", r"(yes|no)( of course)?", "é{2,3}日", r"(foo|bar){1,3}\n"])
def test_expressions(lm: LanguageModel, pattern: str) -> None:
    texts = {write(lm, Grammar.regex(pattern), seed).text for seed in range(20)}
    assert all(re.fullmatch(pattern, text) for text in texts)
    assert len(texts) > 1 or pattern.startswith("é")


def test_a_grammar_that_no_expression_has(lm: LanguageModel) -> None:
    grammar = Grammar.lark('start: sum\nsum: term (("+" | "-") term){0,3}\nterm: NUMBER | "(" sum ")"\nNUMBER: /[1-9]/')
    for seed in range(20):
        found = write(lm, grammar, seed, 800)
        if found.finish == "stop":
            assert isinstance(eval(found.text), int)
            assert found.text.count("(") == found.text.count(")")


def test_it_may_stop_only_where_the_grammar_is_complete(lm: LanguageModel) -> None:
    tokenizer, stops = lm.tokenizer, lm.tokenizer.stop_ids
    constraint = Constraint(Grammar.regex("a{2,3}"), tokenizer, lm.config.vocab_size)
    (a,) = tokenizer.encode("a")
    for written, allowed in enumerate([False, False, True, True]):
        mask = constraint.mask()
        assert mask.shape == (lm.config.vocab_size,)
        assert mask.dtype == torch.bool
        assert {bool(mask[stop]) for stop in stops} == {allowed}
        assert constraint.complete == allowed
        assert constraint.finished == (written == 3)
        assert bool(mask[a]) == (written < 3)
        if written < 3:
            constraint.accept(a)
    for stop in stops:
        after = constraint.copy()
        after.accept(stop)
        assert after.finished


def test_a_token_that_is_not_allowed_is_refused(lm: LanguageModel) -> None:
    constraint = Constraint(Grammar.regex("a{2,3}"), lm.tokenizer, lm.config.vocab_size)
    (b,) = lm.tokenizer.encode("b")
    with pytest.raises(BadInput, match=f"the regular expression cannot be followed past token {b}"):
        constraint.accept(b)


def test_copies_go_on_by_themselves(lm: LanguageModel) -> None:
    first = Constraint(Grammar.regex("[ab]c"), lm.tokenizer, lm.config.vocab_size)
    second = first.copy()
    first.accept(lm.tokenizer.encode("a")[0])
    c = lm.tokenizer.encode("c")[0]
    assert first.mask()[c]
    assert not second.mask()[c]


def test_tokens_that_run_out_leave_a_beginning(lm: LanguageModel) -> None:
    grammar = Grammar.json_schema({"type": "string", "minLength": 200, "maxLength": 300})
    found = write(lm, grammar, max_tokens=10)
    assert found.finish == "length"
    constraint = Constraint(grammar, lm.tokenizer, lm.config.vocab_size)
    for step in found.steps:
        constraint.accept(step.token)
    assert not constraint.complete
    with pytest.raises(ValueError, match=r"."):
        json.loads(found.text)


def test_marks_of_the_chat_are_no_part_of_any_text(lm: LanguageModel) -> None:
    mask = Constraint(Grammar.regex(r"(?s:.*)"), lm.tokenizer, lm.config.vocab_size).mask()
    special = set(lm.tokenizer.special.values())
    assert {i for i in special if mask[i]} == lm.tokenizer.stop_ids
    assert mask.sum() > lm.config.vocab_size // 2


def test_every_strategy_that_draws_goes_with_a_grammar(lm: LanguageModel) -> None:
    schema = {"type": "array", "items": {"enum": ["aa", "ab"]}, "minItems": 6, "maxItems": 6}
    grammar = Grammar.json_schema(schema)
    texts = [write(lm, grammar, seed, lookup=True).text for seed in range(8)]
    texts += [write(lm, grammar, seed, draft=lm).text for seed in range(8)]
    texts += [each.text for each in lm.complete("x", Decoding(Sampling(1.0, seed=1), 200, n=4, grammar=grammar))]
    assert all(fits(json.loads(text), schema) for text in texts)
    greedy = lm.complete("x", Decoding(max_tokens=200, grammar=grammar))[0]
    guessed = lm.complete("x", Decoding(max_tokens=200, grammar=grammar, lookup=True))[0]
    assert [step.token for step in greedy.steps] == [step.token for step in guessed.steps]
    assert guessed.record is not None
    assert guessed.record.accepted > 0
    assert lm.generate("x", json_schema=schema, max_tokens=200) == greedy.text


def test_the_drawn_tokens_have_the_models_chances_among_those_allowed(lm: LanguageModel) -> None:
    session = lm.session("x")
    letters = {letter: lm.tokenizer.encode(letter)[0] for letter in "abcd"}
    shares = session.logits[0][list(letters.values())].softmax(-1).tolist()
    n = 1500
    found = lm.complete("x", Decoding(Sampling(1.0, seed=3), 5, n=100, grammar=Grammar.regex("[abcd]")))
    texts = [each.text for each in found]
    for seed in range(n // 100 - 1):
        more = lm.complete("x", Decoding(Sampling(1.0, seed=10 + seed), 5, n=100, grammar=Grammar.regex("[abcd]")))
        texts += [each.text for each in more]
    chi_square = sum((texts.count(c) - n * p) ** 2 / (n * p) for c, p in zip(letters, shares, strict=True))
    assert chi_square < 3 + 5 * 6**0.5


def foreign(kind: str) -> Tokenizer:
    """Tokenizers of other makes: pieces with a mark for the space, and whole words."""
    letters = [*'abcdefghijklmnopqrstuvwxyz0123456789{}[]",:. -é']
    if kind == "pieces":
        names = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", *letters, "▁a", '":', "▁tr", "ue"]
        vocabulary = {name: i for i, name in enumerate(dict.fromkeys(names))}
        scores = {name: float(-i) for name, i in vocabulary.items() if i > 258}
        backend = piece_backend(vocabulary, scores, unknown="<unk>", space_prefix=True)
        backend.add_special_tokens(["<s>", "</s>"])
        return ForeignTokenizer(backend, begin=1, ends=[2], joins=False)
    words = {name: i for i, name in enumerate(["</s>", *letters, "abc"])}
    backend = Backend(models.WordLevel(words, unk_token="</s>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return ForeignTokenizer(backend, ends=[0] if kind == "words" else [])


@pytest.mark.parametrize("kind", ["pieces", "words", "without end"])
def test_tokenizers_of_other_makes(kind: str) -> None:
    tokenizer = foreign(kind)
    vocab = tokenizer.vocab_size + 5  # more logits than tokens, as models have for the sake of round numbers
    other = LanguageModel("other", random_model(vocab), tokenizer)
    schema = {"type": "object", "properties": {"a": {"enum": [True, "abc é"]}}, "required": ["a"]}
    schema["additionalProperties"] = False
    for seed in range(6):
        found = write(other, Grammar.json_schema(schema), seed, 200)
        assert found.finish == "stop"
        assert fits(json.loads(found.text), schema | {"properties": {"a": {"enum": [True, "abc é"]}}})
        assert all(step.token < tokenizer.vocab_size for step in found.steps)


def test_the_bridge_is_built_once(lm: LanguageModel) -> None:
    assert bridge(lm.tokenizer, lm.config.vocab_size) is bridge(lm.tokenizer, lm.config.vocab_size)


DEEP: Any = {"type": "null"}
for _ in range(500):
    DEEP = {"type": "array", "items": DEEP}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Grammar.json_schema("{"), "the JSON schema is no JSON"),
        (lambda: Grammar.json_schema('{"minimum": NaN}'), "the JSON schema is no JSON"),
        (lambda: Grammar.json_schema("[]"), "must be an object"),
        (lambda: Grammar.json_schema("false"), "must be an object"),
        (lambda: Grammar.json_schema("3"), "must be an object"),
        (lambda: Grammar.json_schema({"const": {1, 2}}), "the JSON schema is no JSON"),
        (lambda: Grammar.json_schema(DEEP), "nested too deeply"),
        (lambda: Grammar.json_schema("[" * 90_000), "nested too deeply"),
        (lambda: Grammar.json_schema({"description": "x" * MOST_CHARACTERS}), "characters; at most"),
        (lambda: Grammar.json_schema({"type": "thing"}), "the JSON schema cannot be followed"),
        (lambda: Grammar.json_schema({"type": "integer", "minimum": 5, "maximum": 3}), "cannot be followed"),
        (lambda: Grammar.json_schema({"$ref": "https://example.org/schema"}), "cannot be followed"),
        (lambda: Grammar.json_schema({"$ref": "#/$defs/none"}), "cannot be followed"),
        (lambda: Grammar.json_schema({"not": {"type": "string"}}), "cannot be followed"),
        (lambda: Grammar.json_schema({"type": "string", "pattern": "(a"}), "cannot be followed"),
        (lambda: Grammar.regex("(a"), "the regular expression cannot be followed"),
        (lambda: Grammar.regex("(" * 5000), "nested too deeply"),
        (lambda: Grammar.regex("(?=a)b"), "the regular expression cannot be followed"),
        (lambda: Grammar.lark("start: nowhere"), "the grammar cannot be followed"),
        (lambda: Grammar.lark(""), "the grammar cannot be followed"),
        (lambda: Grammar.lark("start: " + "(" * 50_000), "nested too deeply"),
        (lambda: Grammar.lark("a: b\n" * 600), "600 rules"),
        (lambda: Grammar.json_schema({"allOf": [{"$ref": "#"}] * 300}), "300 references"),
        (lambda: Grammar.lark('start: %json {"multiple\\u004ff": 3}'), "letters written by number"),
        (lambda: Grammar.lark("x" * (MOST_CHARACTERS + 1)), "characters; at most"),
    ],
)
def test_nonsense_is_one_clear_line_and_soon(lm: LanguageModel, make: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message) as raised:
        Constraint(make(), lm.tokenizer, lm.config.vocab_size)
    assert len(str(raised.value)) < 400
    assert "\n" not in str(raised.value)


BOMBS = {
    "states": ("regex", "(.*a){14}.{300}b"),
    "thousands": ("regex", "((((a{1000}){1000}){1000}){1000})"),
    "counted": ("regex", "([a-z]{1,50} ){1,50}"),
    "alternatives": ("regex", "|".join(f"{i}x*" for i in range(8000))),
    "empty": ("regex", "(a*)*"),
    "chain": ("lark", "start: R0\n" + "".join(f"R{i}: R{i + 1}\n" for i in range(490)) + 'R490: "a"\n'),
    "rules": ("lark", "start: r0\n" + "".join(f"r{i}: r{i + 1}\n" for i in range(490)) + 'r490: "a"\n'),
    "doubling": ("lark", "start: r0\n" + "".join(f"r{i}: r{i + 1} r{i + 1}\n" for i in range(60)) + 'r60: "a"\n'),
    "ambiguous": ("lark", 'start: s\ns: s s | "a" | ""\n'),
    "endless": ("lark", 'start: s\ns: s "a"\n'),
    "references": (
        "json",
        json.dumps(
            {"$ref": "#/$defs/a0", "$defs": {f"a{i}": {"$ref": f"#/$defs/a{(i + 1) % 900}"} for i in range(900)}}
        ),
    ),
    "wide": ("json", json.dumps({"type": "object", "properties": {f"p{i}": {"type": "string"} for i in range(2500)}})),
    "all of": ("json", json.dumps({"allOf": [{"properties": {f"p{i}": {"type": "string"}}} for i in range(1500)]})),
    "patterns": ("json", json.dumps({"anyOf": [{"type": "string", "pattern": f"(.*{i}.*)+"} for i in range(60)]})),
    "enough": ("json", json.dumps({"type": "array", "minItems": 10**9, "items": {"type": "null"}})),
    "itself": ("json", json.dumps({"$ref": "#"})),
    "remainders": ("json", json.dumps({"type": "integer", "multipleOf": 99_999_999})),
    "product": ("json", json.dumps({"allOf": [{"type": "integer", "multipleOf": n} for n in (9973, 9967)]})),
    "inside": ("lark", 'start: %json {"type": "integer", "multiple\\u004ff": 99999999}\n'),
    "forced": ("regex", "a{100000000}"),
    "properties": (
        "json",
        json.dumps(
            {
                "$ref": "#/$defs/a0",
                "$defs": {
                    f"a{i}": {"properties": {"x": {"$ref": f"#/$defs/a{i + 1}"}}, "required": ["x"]} for i in range(199)
                }
                | {"a199": {"type": "null"}},
            }
        ),
    ),
}

SCRIPT = """
import json, resource, sys, threading
from pathlib import Path
from cutaway.infer.constrained import Constraint, Grammar
from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
tokenizer = Tokenizer.load(Path(sys.argv[1]))
makers = {"regex": Grammar.regex, "lark": Grammar.lark, "json": Grammar.json_schema}

def follow(name, kind, text):
    try:
        constraint = Constraint(makers[kind](text), tokenizer, tokenizer.vocab_size)
        for _ in range(40):
            allowed = constraint.mask().nonzero().flatten().tolist()
            if constraint.finished or not allowed:
                break
            constraint.accept(allowed[len(allowed) // 2])
        print(name, "followed", flush=True)
    except BadInput as error:
        print(name, "refused", error, flush=True)

for name, (kind, text) in json.loads(sys.stdin.read()).items():
    print("trying", name, file=sys.stderr, flush=True)
    # In a thread, whose stack is no larger than a server's.
    thread = threading.Thread(target=follow, args=(name, kind, text))
    thread.start()
    thread.join()
"""


def test_bombs_end_in_bounded_time_and_memory(lm: LanguageModel, tmp_path: Path) -> None:
    """In a process of its own: what overflows a stack ends it, and no exception tells."""
    lm.tokenizer.save(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        input=json.dumps(BOMBS), capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-500:]
    lines = done.stdout.splitlines()
    assert len(lines) == len(BOMBS)
    assert all(re.match(rf"{name} (followed|refused)", line) for name, line in zip(BOMBS, lines, strict=True))


def test_the_depth_that_is_let_through_is_no_danger(lm: LanguageModel) -> None:
    schema: Any = {"type": "null"}
    for _ in range(MOST_NESTING - 2):
        schema = {"type": "array", "items": schema}
    Constraint(Grammar.json_schema(schema), lm.tokenizer, lm.config.vocab_size).mask()
    Constraint(Grammar.regex("(" * 60 + "a" + ")" * 60), lm.tokenizer, lm.config.vocab_size).mask()
    Constraint(Grammar.lark("start: " + "(" * 10 + '"a"' + ")" * 10), lm.tokenizer, lm.config.vocab_size).mask()


def test_a_grammar_may_hold_schemas(lm: LanguageModel) -> None:
    """However many keys they have, and whatever their letters; keys are no rules."""
    names = [f"é{i}" for i in range(300)]
    schema = {"type": "object", "properties": {name: {"type": "null"} for name in names}, "additionalProperties": False}
    text = f'start: "<" body ">"\nbody: %json {json.dumps(schema)}\n'
    assert text.count(":") > 600
    found = write(lm, Grammar.lark(text), max_tokens=3)
    assert found.text.startswith("<{")
