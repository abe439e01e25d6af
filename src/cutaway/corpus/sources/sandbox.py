"""Functions that read hostile data, called in a child process with limits on its processor time and memory.

A page nested a million deep, a PDF whose objects refer to each other in a circle, or a crash inside a library then
costs the child and not the worker. Each process that calls has one child, started at first use and again after each
death; `subprocess` rather than `multiprocessing`, for the workers of a pool may not have children of the latter kind.
The limit is on processor time, so that whether a page passes does not depend on what else runs on the machine.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import IO

from cutaway.corpus.sources.bounds import Unreadable
from cutaway.runs.errors import BadInput

MEMORY = 3 * 2**30
"""Bytes of address space of the child, where the system can limit it."""

LARGEST_ANSWER = 256 * 2**20
"""Bytes of text that a child may give back."""

# The child of this process, and the process that started it: after a fork it is the parent's, not ours.
_child: subprocess.Popen[bytes] | None = None
_owner = 0


def sandboxed(function: Callable[..., str], data: bytes, seconds: float, **options: bool | str) -> str:
    """`function(data, **options)`, worked out in the child.

    Args:
        function: a function of a module, found there again by its name.
        data: what it reads.
        seconds: of processor time that it may take.
        options: whatever else it takes; JSON carries it.

    Raises:
        Unreadable: it raised that or anything else, ran out of time or memory, or crashed.
        BadInput: it raised that: a library is missing.
    """
    call = {
        "function": f"{function.__module__}:{function.__qualname__}",
        "size": len(data),
        "seconds": seconds,
        "options": options,
    }
    child = _running()
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(call).encode() + b"\n")
        child.stdin.write(data)
        child.stdin.flush()
        answer, text = _answer(child.stdout)
    except (BrokenPipeError, EOFError):
        stop()
        raise Unreadable(_why_it_died(child.returncode, seconds)) from None
    except BaseException:
        stop()  # interrupted between question and answer, it would answer the next question with this one's
        raise
    if answer == "text":
        return text
    if answer == "memory":
        stop()  # its memory is in pieces
        raise Unreadable("reading it needs too much memory")
    raise BadInput(text) if answer == "bad input" else Unreadable(text)


def stop() -> None:
    """End this process's child, if it has one."""
    global _child
    child, _child = _child, None
    if child is None or _owner != os.getpid():
        return
    child.kill()
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # what was left to write to it
            pipe.close()
    child.wait()


def _running() -> subprocess.Popen[bytes]:
    global _child, _owner
    if _child is None or _owner != os.getpid():
        _child = subprocess.Popen(
            [sys.executable, "-P", "-m", "cutaway.corpus.sources.sandbox_child", str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for us; the child ends when its input does
        )
        if _owner == 0:
            atexit.register(stop)
        _owner = os.getpid()
    return _child


def _answer(pipe: IO[bytes]) -> tuple[str, str]:
    header = pipe.readline(1000)
    if not header.endswith(b"\n"):
        raise EOFError
    kind, size = json.loads(header)
    if size > LARGEST_ANSWER:
        raise EOFError
    text = pipe.read(size)
    if len(text) < size:
        raise EOFError
    return kind, text.decode("utf-8", errors="replace")


def _why_it_died(code: int | None, seconds: float) -> str:
    if code == -signal.SIGPROF:
        return f"reading it takes more than {seconds:g} s"
    return "reading it ends in a crash or in too large a text"
