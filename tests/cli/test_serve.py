"""`cutaway serve`: keys, and what it hands on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cutaway.serve
from cutaway.cli.main import run_command
from cutaway.serve import CallerLimits
from cutaway.serve.keys import read_keys


def test_a_new_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "keys.toml"
    asked = [
        "serve",
        "demo",
        "--keys",
        str(file),
        "--new-key",
        "alice",
        "--requests-per-minute",
        "5",
        "--max-tokens",
        "9",
    ]
    assert run_command(asked) == 0
    assert capsys.readouterr().out.startswith("ck-alice-")
    key = read_keys(file)["alice"]
    assert (key.limits, key.models) == (CallerLimits(requests_per_minute=5, max_tokens=9), ["demo"])
    assert run_command(asked) == 2
    assert "a key called alice already" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--new-key", "alice"], "needs --keys"),
        (["--keys", "absent.toml", "--new-key", "A b"], "is no name for a key"),
        (["--keys", "absent.toml"], "there are no keys at absent.toml"),
        (["--running", "0"], "--running"),
        (["--drain", "-1"], "--drain"),
    ],
)
def test_bad_input(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["serve", *arguments]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_what_is_handed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given: dict[str, Any] = {}
    monkeypatch.setattr(cutaway.serve, "serve", lambda models, **options: given.update(options, models=models))
    log = tmp_path / "log"
    options = ["--batch", "3", "--line", "4", "--seconds", "5", "--drain", "6", "--running", "7", "--log", str(log)]
    assert run_command(["serve", "runs/x", *options]) == 0
    limits = given["limits"]
    assert (limits.answering, limits.waiting, limits.seconds, limits.drain_seconds) == (3, 4, 5, 6)
    assert limits.caller == CallerLimits(running=7)
    assert (given["models"], given["log"], given["log_content"]) == (["runs/x"], log, False)
