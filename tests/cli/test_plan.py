from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cutaway.cli.amounts import amount_of, dollars, energy, short, time
from cutaway.cli.main import run_command
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.runs import BadInput
from cutaway.train.devices import KINDS
from cutaway.train.scaling_law import FITS

TINY = ModelConfig(vocab_size=50, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=32)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert run_command(["plan", *arguments]) == 0
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run_command(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_gpt3(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = shown(capsys, "gpt3-175b", "--tokens", "300B", "--on", "a100-80gb")
    for line in (
        "gpt3-175b Brown et al. 2020; all layers as dense",
        "parameters 175B 174,604,259,328",
        "tokens 300B 1.72 a parameter",
        "operations 3.19e+23 1.06T a token, in rows of 2,048",
        "devices 64 NVIDIA A100 80 GB: the fewest that a step fits on",
        "cost $1.50 million $1.79 a device and hour",
        "weights 11 GB float32, divided by 64",
    ):
        assert line in lines
    assert any(line.startswith("Assumed: 45% of 312 TFLOP/s in bfloat16 are put to use (--mfu)") for line in lines)


def test_a_nodes_evening(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--depth", "20", "--hours", "4", "--on", "8xh100")
    assert lines[0] == "depth 20"
    assert "time 4.00 hours 32.0 device hours" in lines
    assert "cost $96 $3.00 a device and hour" in lines
    assert "energy 22.4 kWh 700 W a device" in lines
    told = as_json(capsys, "--depth", "20", "--hours", "4", "--on", "8xh100")
    assert (told["hours"], told["cost"], told["devices"]) == (pytest.approx(4), pytest.approx(96), 8)
    assert told["shape"]["n_layers"] == 20
    assert set(told["compute_optimal"]) == set(FITS)
    assert told["compute_optimal"]["besiroglu"]["loss"] < told["compute_optimal"]["besiroglu"]["loss_of_plan"]
    assert told["memory"]["peak"] == max(told["memory"]["moments"].values())


def test_money_alone(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "--money", "100", "--on", "h100")
    assert lines[0].startswith("depth ")
    assert lines[0].endswith("the size that suits this budget best: Besiroglu 2024: fitted anew")
    assert "cost $100 $3.00 a device and hour" in lines
    best = as_json(capsys, "--flops", "5.76e23", "--on", "h100")["compute_optimal"]["hoffmann-1"]
    assert best == {"parameters": pytest.approx(67e9), "tokens": pytest.approx(1.43e12, rel=0.01)}


@pytest.mark.parametrize(
    "arguments",
    [
        "", "gpt3-175b --tokens 300B --on a100-80gb", "--depth 20 --hours 4 --on 8xh100", "--money 100 --on h100",
        "llama3-405b --tokens 15.6T --on 16384xh100 --length 8192", "llama3-8b --tokens 1B --on h100 --rows 8",
        "llama3-8b --tokens 1B --on 1xh100", "gpt2-xl --tokens 1B --on 1xh100 --rows 24 --keep", "t5-base --on v100",
        "mixtral-8x7b --tokens 1T --hours 100 --on h100", "gpt2 --tokens 100T --on t4", "bert-base --tokens 3B --on l4",
        "gpt2 --on m-series", "gpt2 --on 8xh100 --hours 0.01 --optimizer adamw --eager",
    ],
    ids=str,
)  # fmt: skip
def test_it_fits_a_terminal_of_80_columns(
    arguments: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert run_command(["plan", *arguments.split()]) == 0
    narrow = capsys.readouterr().out
    assert "…" not in narrow
    monkeypatch.setenv("COLUMNS", "200")
    assert run_command(["plan", *arguments.split()]) == 0
    wide = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in narrow.splitlines()) <= 80
    # Nothing was folded but what is said in words at the end.
    tables = [line.rstrip() for line in wide.splitlines() if len(line.rstrip()) <= 80]
    assert set(tables) <= {line.rstrip() for line in narrow.splitlines()}


def test_the_list_of_devices(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert "h100 989 67 80 GB 3.35 TB/s 700 W $3.00 42%" in shown(capsys)
    assert [kind["name"] for kind in as_json(capsys)] == list(KINDS)


def test_a_model_directory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Transformer(TINY)
    save_model(model, tmp_path / "model")
    told = as_json(capsys, str(tmp_path / "model"), "--tokens", "1M", "--on", "t4")
    assert told["parameters"] == model.n_parameters()
    assert told["layout"]["length"] == 32
    assert told["tokens"] == 1e6


def test_what_does_not_fit_says_what_would(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, "gpt2-xl", "--tokens", "1B", "--on", "1xh100", "--rows", "24", "--keep")
    assert any(line.startswith("It does not fit") for line in lines)
    assert any("rows of 1,024 at once (--rows" in line for line in lines)
    assert any(line.startswith("blocks worked out again on the way back (--recompute)") for line in lines)
    never = shown(capsys, "llama3-405b", "--tokens", "1B", "--on", "1xt4")
    assert any("neither shorter steps nor more devices of this kind help" in line for line in never)


def test_ones_own_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    law = tmp_path / "law.json"
    law.write_text(json.dumps({"E": 1.8172, "A": 482.01, "alpha": 0.3478, "B": 2085.43, "beta": 0.3658}))
    own = ("--on", "h100", "--mfu", "0.5", "--price", "2", "--watts", "1000", "--fit", str(law))
    told = as_json(capsys, "gpt2", "--tokens", "10B", *own)
    assert told["cost"] == pytest.approx(2 * told["device_hours"])
    assert told["kilowatt_hours"] == pytest.approx(told["device_hours"])
    assert told["flops"] / told["device_hours"] == pytest.approx(3600 * 0.5 * 989e12)
    assert told["compute_optimal"][str(law)] == told["compute_optimal"]["besiroglu"]
    assert any(line.startswith("law.json ") for line in shown(capsys, "gpt2", "--tokens", "10B", *own))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("gpt3", "did you mean gpt3-175b?"),
        ("digits-784-16-16-10 --tokens 5", "reads pictures, not text"),
        ("--on h100", "there is nothing to plan"),
        ("gpt2 --depth 4", "gpt2 and --depth 4 are two models"),
        ("gpt2 --tokens many", "--tokens many is no number from 0.001 to below 1e+40"),
        ("gpt2 --tokens 0", "--tokens 0 is no number"),
        ("gpt2 --flops 1e200", "--flops 1e200 is no number from 0.001 to below 1e+40"),
        ("gpt2 --tokens 1,5B", "--tokens 1,5B is no number"),
        ("gpt2 --tokens 1e39T", "--tokens 1e39T is no number"),
        ("gpt2 --money $many", "--money many is no number"),
        ("gpt2 --hours 0", "--hours 0 is no number from 1e-06"),
        ("gpt2 --hours 1e-300", "--hours 1e-300 is no number from 1e-06"),
        ("gpt2 --hours nan", "--hours nan is no number from 1e-06"),
        ("gpt2 --on 99999999999999xh100", "more than 1,000,000"),
        ("gpt2 --mfu 40", "--mfu 40 is more than all"),
        ("gpt2 --on h1000", "did you mean h100?"),
        ("gpt2 --optimizer sgd", "--optimizer sgd is unknown"),
        ("gpt2 --fit mine.json", "there is no fit and no file mine.json"),
        ("gpt2 --tokens 1B --money 5 --on h100", "--tokens and --money each say how long"),
        ("gpt2 --on h100 --length 2000", "learned positions for 1,024 tokens"),
    ],
    ids=str,
)
def test_bad_input(
    arguments: str, message: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(["plan", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_amounts() -> None:
    texts = ("300B", "1.4T", "5.76e23", "11,219,763,200", "4k", " 7m ", "2G")
    assert [amount_of(text, "--tokens") for text in texts] == [300e9, 1.4e12, 5.76e23, 11_219_763_200, 4e3, 7e6, 2e9]
    for text in ("", "B", "-5", "1e999", "0", "1..2", "5 apples"):
        with pytest.raises(BadInput, match="--tokens"):
            amount_of(text, "--tokens")
    assert [short(n) for n in (1.716, 20.49, 999.4, 999.7, 174.6e9, 3.186e23)] == [
        "1.72", "20.5", "999", "1.00k", "175B", "3.19e+23",
    ]  # fmt: skip
    assert [time(h) for h in (0.001, 0.5, 3.98, 71, 100, 13_120, 317_000, 1e15)] == [
        "3.60 s", "30.0 min", "3.98 hours", "71.0 hours", "4.17 days", "547 days", "36.2 years", "114B years",
    ]  # fmt: skip
    assert [dollars(n) for n in (0.417, 96, 1503.2, 1.503e6, 2.5e9)] == [
        "$0.42", "$96", "$1,503", "$1.50 million", "$2.50 billion",
    ]  # fmt: skip
    assert [energy(n) for n in (0.42, 22.4, 335_852, 25.77e6)] == ["420 Wh", "22.4 kWh", "336 MWh", "25.8 GWh"]
