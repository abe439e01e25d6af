from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from cutaway.runs import BadInput, Manifest, RunDirectory, StageRecord
from cutaway.runs.manifest import hash_file, hash_files, hash_object, hash_path


def test_round_trip(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert Manifest.read(run) is None
    manifest = Manifest.of_this_machine(seed=7)
    manifest.stages["sft"] = StageRecord(state="running", settings_hash="ab", started="2030-01-01T00:00:00Z")
    manifest.write(run)
    assert Manifest.read(run) == manifest
    assert manifest.versions["pydantic"]
    assert manifest.machine.cpus == os.cpu_count()
    assert manifest.seed == 7


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format":1,"seed":"x"}'])
def test_a_damaged_manifest(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(BadInput, match=r"manifest\.json is damaged") as caught:
        Manifest.read(RunDirectory(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_manifest_of_another_version_is_not_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 2}')
    with pytest.raises(BadInput, match="another version of Cutaway"):
        Manifest.read(RunDirectory(tmp_path))


def test_hashes(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "w").write_bytes(b"abc")
    (tmp_path / "metrics.jsonl").write_bytes(b"{}")
    abc = hashlib.sha256(b"abc").hexdigest()
    assert hash_file(tmp_path / "model" / "w") == abc
    assert hash_files(tmp_path, ["model"]) == {"model/w": abc}
    assert hash_files(tmp_path, ["model/*", "none*"]) == {"model/w": abc}
    assert sorted(hash_files(tmp_path)) == ["metrics.jsonl", "model/w"]
    assert hash_path(tmp_path / "model" / "w") == abc
    before = hash_path(tmp_path)
    (tmp_path / "model" / "w").rename(tmp_path / "model" / "v")
    assert hash_path(tmp_path) != before
    assert hash_object({"a": 1, "b": [2]}) == hash_object({"b": [2], "a": 1})
