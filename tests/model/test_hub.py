from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from cutaway.model.hub import UNWANTED, WANTED, hub
from cutaway.runs import BadInput, CutawayError, SilentProgress

REPOSITORY = [
    "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer.model",
    "vocab.txt", "chat_template.jinja", "1_Pooling/config.json",
    "pytorch_model.bin", "tokenizer.pkl", "training_args.bin", "original/consolidated.safetensors", "x.gguf", "run.py",
]  # fmt: skip


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of a made-up repository; what is asked of it is put beside them."""
    from huggingface_hub.utils import filter_repo_objects

    files = list(REPOSITORY)

    def snapshot(repo_id: str, **options: Any) -> str:
        assert (repo_id, options["revision"]) == ("some-one/a.model", "v1.0")
        taken = filter_repo_objects(
            files, allow_patterns=options["allow_patterns"], ignore_patterns=options["ignore_patterns"]
        )
        for name in taken:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    return files


def test_data_is_taken_and_code_is_not(offered: list[str], tmp_path: Path) -> None:
    assert hub("hub:some-one/a.model@v1.0", SilentProgress()) == tmp_path
    taken = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert taken == set(REPOSITORY[:8])
    assert "*.bin" in UNWANTED
    assert not set(WANTED) & set(UNWANTED)


@pytest.mark.parametrize(
    ("absent", "message"), [("config.json", "no configuration"), ("model.safetensors", "no weights in safetensors")]
)
def test_what_cannot_be_opened(offered: list[str], absent: str, message: str) -> None:
    offered.remove(absent)
    with pytest.raises(BadInput, match=message):
        hub("hub:some-one/a.model@v1.0")


@pytest.mark.parametrize("reference", ["hub:", "hub:x", "hub:a/b/c", "hub:../x/y", "hub:a b/c", "hub:a/b@"])
def test_what_is_no_reference(reference: str) -> None:
    with pytest.raises(BadInput, match="write hub:OWNER/NAME"):
        hub(reference)


def test_a_name_that_the_hub_does_not_allow() -> None:
    with pytest.raises(BadInput, match="the hub has no model"):
        hub("hub:a--b/..c")


def test_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(CutawayError, match=r"needs huggingface_hub, .* pip install 'cutaway\[hub\]' adds it"):
        hub("hub:a/b")


def test_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CutawayError, match="hub:a/b is not here, and the hub cannot be reached"):
        hub("hub:a/b")
    # What was downloaded before is found all the same.
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "refs").mkdir()
    (tmp_path / "models--a--b" / "refs" / "main").write_text("0" * 40)
    for name in ("config.json", "model.safetensors"):
        (snapshot / name).touch()
    assert hub("hub:a/b") == snapshot


def test_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    class BrokenOffError(Exception):
        pass

    BrokenOffError.__module__ = "httpx._exceptions"

    def snapshot(repo_id: str, **options: Any) -> str:
        raise BrokenOffError

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    with pytest.raises(CutawayError, match="cannot be reached \\(BrokenOffError\\)"):
        hub("hub:a/b")
