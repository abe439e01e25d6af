"""The child process: what it answers, and what becomes of calls that would never end, eat memory or crash."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import time
from pathlib import Path

import pytest

from cutaway.corpus.sources import sandbox
from cutaway.corpus.sources.bounds import Unreadable
from cutaway.corpus.sources.sandbox import sandboxed
from cutaway.runs.errors import BadInput


@pytest.fixture(autouse=True, scope="module")
def _stopped():
    # The child imports this file by its name, which pytest's own way of importing does not give it.
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.path.dirname(__file__) + os.pathsep + before
    sandbox.stop()
    yield
    sandbox.stop()
    os.environ["PYTHONPATH"] = before


def shout(data: bytes, mark: str) -> str:
    return data.decode().upper() + mark + str(os.getpid())


def spin(data: bytes) -> str:
    while True:
        pass


def swallow(data: bytes) -> str:
    return str(len(b"x" * 2**40))


def crash(data: bytes) -> str:
    return ctypes.string_at(0).decode()


def refuse(data: bytes) -> str:
    raise Unreadable("it is green")


def lack(data: bytes) -> str:
    raise BadInput("install it")


def stumble(data: bytes) -> str:
    print("to be seen by nobody")
    raise KeyError("/Root")


for function in (shout, spin, swallow, crash, refuse, lack, stumble):
    function.__module__ = "test_sandbox"


def test_one_child_answers_one_call_after_another():
    big = sandboxed(shout, b"a" * 3_000_000, 5, mark="é")
    assert big.startswith("A" * 3_000_000 + "é")
    again = sandboxed(shout, b"b", 5, mark="-")
    assert big.removeprefix("A" * 3_000_000 + "é") == again.removeprefix("B-")
    assert again != f"B-{os.getpid()}"


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (spin, "takes more than 0.2 s"),
        (swallow, "too much memory"),
        (crash, "ends in a crash"),
        (refuse, "it is green"),
        (stumble, "KeyError: '/Root'"),
    ],
)
def test_what_goes_wrong_is_told_and_the_next_call_works(function: object, reason: str):
    with pytest.raises(Unreadable, match=reason):
        sandboxed(function, b"", 0.2)  # pyright: ignore[reportArgumentType]
    assert sandboxed(shout, b"b", 5, mark="-").startswith("B-")


def test_a_missing_library_is_not_a_fault_of_the_page():
    with pytest.raises(BadInput, match="install it"):
        sandboxed(lack, b"", 1)


def _from_a_worker(mark: str) -> str:
    return sandboxed(shout, b"w", 5, mark=mark)


def test_forked_workers_have_children_of_their_own():
    own = sandboxed(shout, b"w", 5, mark="-")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map(_from_a_worker, ["-"] * 8, chunksize=1)
    assert own not in answers
    assert sandboxed(shout, b"w", 5, mark="-") == own


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of processes in /proc")
def test_the_child_goes_when_its_worker_is_killed():
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def work() -> None:
        theirs.send(int(sandboxed(shout, b"", 5, mark="")))
        time.sleep(60)

    worker = context.Process(target=work)
    worker.start()
    child = ours.recv()
    worker.kill()
    worker.join()
    for _ in range(100):
        try:
            state = Path(f"/proc/{child}/stat").read_text().split()[2]
        except OSError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the child is still there")
