"""A model's reference as `cutaway finetune` notes it in a recipe: good from anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutaway.cli.finetune import _absolute


def test_a_reference_is_made_absolute_wherever_it_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("runs/demo", "runs/one:two", "adapter"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "model.gguf").touch()
    for given, noted in {
        "runs/demo": f"{tmp_path}/runs/demo",
        "runs/demo:sft": f"{tmp_path}/runs/demo:sft",
        "runs/one:two": f"{tmp_path}/runs/one:two",
        "runs/one:two:sft": f"{tmp_path}/runs/one:two:sft",
        "model.gguf": f"{tmp_path}/model.gguf",
        "runs/demo:sft+adapter": f"{tmp_path}/runs/demo:sft+{tmp_path}/adapter",
        "smollm2-135m+adapter": f"smollm2-135m+{tmp_path}/adapter",
        "smollm2-135m": "smollm2-135m",
        "hub:owner/name": "hub:owner/name",
    }.items():
        assert _absolute(given) == noted
