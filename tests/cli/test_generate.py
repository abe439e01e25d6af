"""`cutaway generate` on a small random model: every strategy by its options, and what does not go together."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

from cutaway.cli.main import run_command
from cutaway.infer import load
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.tokens import TokenizerSettings, train_tokenizer

TEXTS = ["In the beginning God created the heaven and the earth.", '{"a": [1, 2]} café 日本語'] * 30


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    directory = tmp_path_factory.mktemp("run") / "pretrain/model"
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=340), TEXTS, directory)
    torch.manual_seed(0)
    made = Transformer(ModelConfig(tokenizer.vocab_size, 2, 32, 2, 1, 16, 64, context=128))
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(torch.randn_like(weight) * 0.3)
    save_model(made, directory, token_ids=tokenizer.token_ids)
    return str(directory)


def run(capsys: pytest.CaptureFixture[str], model: str, *arguments: str, prompt: str = "In the") -> str:
    code = run_command(["generate", model, prompt, "--max-tokens", "20", *arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def as_json(capsys: pytest.CaptureFixture[str], model: str, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capsys, model, "--json", *arguments))
    return found


def test_the_text_is_that_of_the_library(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    lm = load(model)
    for options, keywords in (
        ([], {}),
        (["--temperature", "1", "--seed", "3", "--min-p", "0.1"], {"temperature": 1.0, "seed": 3, "min_p": 0.1}),
        (["--repetition-penalty", "1.4"], {"repetition_penalty": 1.4}),
        (
            ["--frequency-penalty", "1", "--presence-penalty", "0.5"],
            {"frequency_penalty": 1.0, "presence_penalty": 0.5},
        ),
        (["--logit-bias", "40=3", "--logit-bias", "41=-100"], {"logit_bias": {40: 3.0, 41: -100.0}}),
        (["--beams", "3", "--length-penalty", "0.5"], {"beams": 3, "length_penalty": 0.5}),
        (["--contrastive", "0.6", "--top-k", "5"], {"contrastive": 0.6, "top_k": 5}),
        (["--lookup"], {"lookup": True}),
        (["--draft", model], {"draft": lm}),
        (["--regex", "[a-d]{3,9}"], {"regex": "[a-d]{3,9}"}),
    ):
        wanted = lm.generate("In the", max_tokens=20, **keywords)  # type: ignore[arg-type]
        assert run(capsys, model, *options) == wanted + "\n"
        assert as_json(capsys, model, *options)["text"] == wanted


def test_guessing_ahead_writes_the_same_and_tells_how_it_went(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    plain = run(capsys, model)
    assert (
        run_command(["generate", model, "In the", "--max-tokens", "20", "--draft", model, "--draft-tokens", "6"]) == 0
    )
    out, err = capsys.readouterr()
    assert out == plain
    told = re.fullmatch(r"(\d+) tokens in (\d+) passes; (\d+) of (\d+) guesses right\n", err)
    assert told is not None
    assert int(told[2]) < int(told[1])
    assert told[3] == told[4]
    record = as_json(capsys, model, "--lookup")["speculation"]
    assert record["written"] == 20


def test_several_completions(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    drawn = as_json(capsys, model, "--temperature", "1", "--seed", "1", "--n", "3")
    assert len(drawn["completions"]) == 3
    assert len({each["text"] for each in drawn["completions"]}) > 1
    assert drawn["text"] == drawn["completions"][0]["text"]
    assert drawn["text"] == as_json(capsys, model, "--temperature", "1", "--seed", "1")["text"]
    searched = as_json(capsys, model, "--beams", "4", "--n", "4")["completions"]
    scores = [each["score"] for each in searched]
    assert scores == sorted(scores, reverse=True)
    shown = run(capsys, model, "--temperature", "1", "--seed", "1", "--n", "2")
    assert shown.startswith("--- 1 of 2 ---\n" + drawn["text"] + "\n--- 2 of 2 ---\n")


def test_probabilities_and_alternatives(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    found = as_json(capsys, model, "--top", "3")
    assert len(found["tokens"]) == 20
    for token in found["tokens"]:
        assert len(token["alternatives"]) == 3
        assert token["alternatives"][0]["id"] == token["id"]  # greedy
        assert token["alternatives"][0]["probability"] == pytest.approx(token["probability"], rel=1e-4)
    assert found["finish"] == "length"
    table = run(capsys, model, "--logprobs", "--top", "2")
    assert "log p" in table
    assert len(table.splitlines()) >= 22


def test_where_a_text_ends(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = as_json(capsys, model)
    text = whole["text"]
    middle = text[4:7]
    cut = as_json(capsys, model, "--stop", middle, "--stop", "never there")
    assert (cut["text"], cut["finish"]) == (text[: text.index(middle)], "stop")
    fifth = whole["tokens"][4]["id"]
    ended = as_json(capsys, model, "--stop-id", str(fifth))
    ids = [token["id"] for token in whole["tokens"]]
    assert [token["id"] for token in ended["tokens"]] == ids[: ids.index(fifth) + 1]
    assert ended["finish"] == "stop"


def test_writing_to_a_form(model: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    schema, grammar = tmp_path / "schema.json", tmp_path / "grammar.lark"
    schema.write_text('{"type": "array", "items": {"enum": ["x", 1]}, "minItems": 2, "maxItems": 2}')
    grammar.write_text('start: "(" WORD ")"\nWORD: /[a-z]{1,3}/')
    assert len(json.loads(run(capsys, model, "--json-schema", str(schema)))) == 2
    assert re.fullmatch(r"\([a-z]{1,3}\)\n", run(capsys, model, "--grammar", str(grammar)))
    assert run(capsys, model, "--json-object").startswith("{")
    # The answer to a question, too.
    assert len(json.loads(run(capsys, model, "--chat", "--json-schema", str(schema)))) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beams", "3", "--contrastive", "0.5"], "beam search and contrastive search are two ways to write"),
        (["--beams", "3", "--lookup"], "beam search and look-up are two ways to write"),
        (["--beams", "3", "--temperature", "0.5", "--top-p", "0.9"], "leave out temperature, top_p"),
        (["--beams", "3", "--n", "4"], "beam search finds 3; search with more beams"),
        (["--beams", "3", "--regex", "a"], "beam search does not go with a grammar"),
        (["--beams", "3", "--stop", "x"], "beam search ends at tokens"),
        (["--beams", "999"], "beams is 999"),
        (["--beams", "3", "--length-penalty", "nan"], "length_penalty is nan"),
        (["--beams", "3", "--early-stopping", "soon"], "--early-stopping soon is none of no, yes, never"),
        (["--contrastive", "0.5", "--repetition-penalty", "2"], "leave out repetition_penalty"),
        (["--contrastive", "0.5", "--n", "2"], "contrastive search finds only one"),
        (["--n", "2"], "without a temperature every completion is the same"),
        (["--min-p", "0.1"], "min_p narrows down what is drawn"),
        (["--top-k", "3"], "top_k narrows down what is drawn"),
        (["--regex", "a", "--json-object"], "give one"),
        (["--json-object", "--json-schema", "FILE"], "choose one"),
        (["--json-schema", "nowhere.json"], "nowhere.json cannot be read"),
        (["--regex", "(a"], "the regular expression cannot be followed"),
        (["--logit-bias", "x=3"], "--logit-bias x=3 is not ID=AMOUNT"),
        (["--logit-bias", "3=200"], "the logit_bias of token 3 is 200.0"),
        (["--logit-bias", "9999=1"], "logit_bias names token 9999"),
        (["--stop", ""], "a stop string is empty"),
        (["--temperature", "nan"], "--temperature"),
        (["--presence-penalty", "nan"], "--presence-penalty is nan; it must be a number from -2 to 2"),
        (["--presence-penalty", "3"], "presence_penalty is 3.0; it must lie between -2.0 and 2.0"),
        (["--draft", "nowhere"], "there is no model at nowhere"),
        (["--logprobs", "--top", "5000"], "top is 5000"),
        (["--length-penalty", "2"], "give --beams too"),
        (["--draft-tokens", "9"], "give --draft or --lookup too"),
        (["--stop-id", "99999999"], "--stop-id 99999999 is no token of"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_makes_no_sense_is_one_line(
    model: str, options: list[str], message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "schema.json"
    file.write_text("{}")
    options = [str(file) if option == "FILE" else option for option in options]
    assert run_command(["generate", model, "In the", *options]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert message in err


def test_a_draft_of_other_tokens_is_refused(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_tokenizer(TokenizerSettings(vocab_size=300), TEXTS, tmp_path)
    save_model(
        Transformer(ModelConfig(tokenizer.vocab_size, 1, 16, 2, 1, 8, 16)), tmp_path, token_ids=tokenizer.token_ids
    )
    assert run_command(["generate", model, "In the", "--draft", str(tmp_path)]) == 2
    assert "their vocabularies differ" in capsys.readouterr().err


def test_help_has_its_options_in_groups(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["generate", "--help"]) == 0
    out = capsys.readouterr().out
    for group in ("Drawing tokens", "Saying things again", "Writing to a form", "Searching instead of drawing"):
        assert group in out
