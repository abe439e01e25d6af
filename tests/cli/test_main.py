from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from cutaway import __version__
from cutaway.cli.main import app, run_command
from cutaway.runs import CutawayError, Terminated


def verbs() -> list[list[str]]:
    found: list[list[str]] = [[]]
    top: Any = typer.main.get_command(app)
    for name, command in top.commands.items():
        found.append([name])
        found += [[name, inner] for inner in getattr(command, "commands", {})]
    return found


def test_every_verb_of_the_design_is_there() -> None:
    names = [" ".join(verb) for verb in verbs()]
    for name in (
        "demo", "run", "corpus build", "corpus stats", "tokenizer train", "tokenizer encode", "tokenizer decode",
        "pretrain", "sft", "grpo", "eval", "generate", "chat", "serve", "models get",
    ):  # fmt: skip
        assert name in names


@pytest.mark.parametrize("verb", verbs(), ids=" ".join)
def test_help_opens_with_an_example(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command([*verb, "--help"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0].startswith("Usage: cutaway")
    assert lines[1].startswith(f"Example: cutaway {' '.join(verb)}".rstrip())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frob"], "No such command 'frob'; see cutaway --help"),
        (["run"], "Missing argument 'RECIPE'; see cutaway run --help"),
        (["run", "demo", "--frob"], "No such option: --frob; see cutaway run --help"),
        (["run", "dmeo"], "there is no recipe dmeo; did you mean demo?"),
        (["run", "demo", "--set", "pretrain.dept=3"], "there is no key pretrain.dept; did you mean pretrain.depth?"),
        (["run", "demo", "--set", "pretrain.depth=x"], 'pretrain.depth is "x", but should be a whole number'),
        (["run", "demo", "--seed", "-3"], "seed is -3, but should be at least 0"),
        (["serve", "--port", "70000"], "--port"),
        (["generate", "nowhere", "hi"], "there is no model at nowhere"),
        (["chat", "nowhere"], "there is no model at nowhere"),
        (["eval", "nowhere"], "there is no model at nowhere"),
        (["serve", "nowhere"], "there is no model at nowhere"),
        (["corpus", "stats", "nowhere"], "nowhere has no corpus yet"),
        (["tokenizer", "encode", "nowhere", "hi"], "there is no tokenizer at nowhere"),
        (["generate", "nowhere", "hi", "--temperature", "-1"], "--temperature"),
    ],
    ids=" ".join,
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert message in err
    assert list(tmp_path.iterdir()) == []


def raising(error: BaseException) -> Any:
    def bring(*args: Any, **options: Any) -> None:
        raise error

    return bring


def test_failures_and_ctrl_c(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cutaway.cli.run.bring", raising(CutawayError("the disk\nis [red]full[/red]")))
    assert run_command(["run", "demo"]) == 1
    assert capsys.readouterr().err == "error: the disk is [red]full[/red]\n"
    monkeypatch.setattr("cutaway.cli.run.bring", raising(RuntimeError("odd")))
    assert run_command(["run", "demo"]) == 1
    assert capsys.readouterr().err == "error: RuntimeError: odd (set CUTAWAY_TRACEBACK=1 to see where)\n"
    monkeypatch.setenv("CUTAWAY_TRACEBACK", "1")
    assert run_command(["run", "demo"]) == 1
    assert "Traceback" in capsys.readouterr().err
    monkeypatch.setattr("cutaway.cli.run.bring", raising(KeyboardInterrupt()))
    assert run_command(["run", "demo"]) == 130
    assert capsys.readouterr().err == "stopped; the same command carries on\n"
    monkeypatch.setattr("cutaway.cli.run.bring", raising(Terminated()))
    assert run_command(["run", "demo"]) == 143
    assert capsys.readouterr().err == "stopped; the same command carries on\n"


def test_options_reach_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    for verb in ("run", "pretrain", "sft", "grpo", "demo"):
        monkeypatch.setattr(f"cutaway.cli.{verb}.bring", lambda *a, **o: calls.append((a, o)) or Path("runs/demo"))
    for verb in ("run", "pretrain", "sft", "grpo"):
        assert run_command([verb, "demo", "--out", "x", "--set", "a=1", "--set", "b=2", "--seed", "7"]) == 0
    untils = [options.get("until") for _, options in calls]
    assert untils == [None, "pretrain", "sft", "rl"]
    assert calls[0] == (
        ("demo",),
        {"out": Path("x"), "seed": 7, "text": None, "sets": ["a=1", "b=2"], "again": False, "compare": False},
    )
    assert run_command(["demo", "--no-serve", "--text", "a.txt", "--text", "b"]) == 0
    assert calls[-1][1]["text"] == [Path("a.txt"), Path("b")]


def test_version_and_no_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["--version"]) == 0
    assert capsys.readouterr().out == f"{__version__}\n"
    assert run_command([]) == 0
    assert "Example: cutaway demo" in capsys.readouterr().out


def test_help_does_not_wait_for_pytorch() -> None:
    check = (
        "import sys; from cutaway.cli.main import run_command; run_command(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'pyarrow', 'fastapi')))"
    )
    subprocess.run([sys.executable, "-c", check], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = f"{sys.executable} -m cutaway --help | true"
    done = subprocess.run(["bash", "-c", command], stderr=subprocess.PIPE, timeout=60, env={**os.environ})
    assert b"Traceback" not in done.stderr
