from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.runs import CutawayError, RunDirectory, atomic


@given(data=st.binary(max_size=1000), again=st.binary(max_size=1000))
def test_what_is_written_is_read(data: bytes, again: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a", "file")
        atomic.write_bytes(path, data)
        assert path.read_bytes() == data
        atomic.write_bytes(path, again)
        assert path.read_bytes() == again
        assert [child.name for child in path.parent.iterdir()] == ["file"]


def test_files_get_ordinary_permissions(tmp_path: Path) -> None:
    umask = os.umask(0o022)
    try:
        atomic.write_text(tmp_path / "f", "é")
    finally:
        os.umask(umask)
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "f").read_text(encoding="utf-8") == "é"


def test_json_refuses_what_json_has_no_word_for(tmp_path: Path) -> None:
    atomic.write_json(tmp_path / "f.json", {"a": 1})
    with pytest.raises(ValueError):
        atomic.write_json(tmp_path / "f.json", {"a": float("nan")})
    assert (tmp_path / "f.json").read_text() == '{\n  "a": 1\n}\n'


def test_directory_replaces_a_full_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    for text in ("one", "two"):
        with atomic.directory(target) as temporary:
            assert list(temporary.iterdir()) == []
            (temporary / text).write_text(text)
            (temporary / "deep" / "er").mkdir(parents=True)
            (temporary / "deep" / "er" / "file").write_text(text)
        assert sorted(p.name for p in target.iterdir()) == sorted(["deep", text])
        assert (target / "deep" / "er" / "file").read_text() == text
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_directory_replaces_where_names_cannot_be_swapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    test_directory_replaces_a_full_one(tmp_path)


def test_directory_stays_when_the_block_fails(tmp_path: Path) -> None:
    with atomic.directory(tmp_path / "model") as temporary:
        (temporary / "file").write_text("good")
    with pytest.raises(KeyboardInterrupt), atomic.directory(tmp_path / "model") as temporary:
        (temporary / "file").write_text("half")
        raise KeyboardInterrupt
    assert (tmp_path / "model" / "file").read_text() == "good"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_told_in_one_line(tmp_path: Path, error: Exception) -> None:
    told = pytest.raises(CutawayError, match=r"no space left on the disk that holds .*model")
    with told as caught, atomic.directory(tmp_path / "model"):
        raise error
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_other_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="odd") as caught, atomic.directory(tmp_path / "x"):
        raise OSError(errno.EIO, "odd")
    assert not isinstance(caught.value, CutawayError)


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small tmpfs needs root on Linux")
def test_a_really_full_disk(tmp_path: Path) -> None:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", tmp_path], check=False, timeout=10)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        atomic.write_bytes(tmp_path / "file", b"small")
        with pytest.raises(CutawayError, match="no space left"):
            atomic.write_bytes(tmp_path / "file", b"x" * 1_000_000)
        assert (tmp_path / "file").read_bytes() == b"small"
        with pytest.raises(CutawayError, match="no space left"), atomic.directory(tmp_path / "model") as temporary:
            (temporary / "weights").write_bytes(b"x" * 1_000_000)
        assert [p.name for p in tmp_path.iterdir()] == ["file"]
    finally:
        subprocess.run(["umount", tmp_path], check=True, timeout=10)


WRITER = """
import sys
from pathlib import Path
from cutaway.runs import atomic
root = Path(sys.argv[1])
print("ready", flush=True)
n = 0
while True:
    n += 1
    body = (str(n % 10) * 300_000)
    atomic.write_text(root / "file", body)
    with atomic.directory(root / "folder") as temporary:
        (temporary / "a").write_text(body)
        (temporary / "b").write_text(body)
"""


def test_kill_in_the_middle_of_writing(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    for delay in (0.01, 0.03, 0.05, 0.08, 0.11, 0.02):
        process = subprocess.Popen([sys.executable, "-c", WRITER, run.path], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay + 0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name in ("file", "folder/a", "folder/b"):
            path = run.path / name
            if path.exists():  # the very first write may not be done
                text = path.read_text()
                assert len(text) == 300_000
                assert len(set(text)) == 1, f"{name} is torn"
        if (run.path / "folder").exists():
            assert (run.path / "folder/a").read_text() == (run.path / "folder/b").read_text()
        with run.lock():
            assert not [p for p in run.path.rglob("*") if p.name.endswith(atomic.TEMPORARY_SUFFIX)]
