"""The child of `sandbox`: reads calls from its standard input, works them out, and writes texts to standard output."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import IO

from cutaway.corpus.sources.bounds import Unreadable
from cutaway.runs.errors import BadInput


def main() -> None:
    """Answer until the input ends."""
    with contextlib.suppress(ValueError, OSError):  # not every system can
        most = int(sys.argv[1])
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
    # Without a handler in Python, for that would wait until the library at work comes back.
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    # What libraries print is nothing of ours, and standard output belongs to the answers.
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    while line := sys.stdin.buffer.readline():
        call = json.loads(line)
        data = sys.stdin.buffer.read(call["size"])
        signal.setitimer(signal.ITIMER_PROF, call["seconds"])
        kind, text = _worked_out(call, data)
        signal.setitimer(signal.ITIMER_PROF, 0)
        _write(answers, kind, text)


def _worked_out(call: dict[str, object], data: bytes) -> tuple[str, str]:
    try:
        module, _, name = str(call["function"]).partition(":")
        function: Callable[..., str] = getattr(importlib.import_module(module), name)
        options = call["options"]
        assert isinstance(options, dict)
        return "text", function(data, **options)
    except Unreadable as reason:
        return "unreadable", str(reason)
    except BadInput as reason:
        return "bad input", str(reason)
    except (MemoryError, RecursionError):
        return "memory", ""
    except Exception as error:  # libraries for hostile formats raise anything
        return "unreadable", f"reading it fails ({type(error).__name__}: {error})"[:200]


def _write(answers: IO[bytes], kind: str, text: str) -> None:
    data = text.encode("utf-8", errors="replace")
    answers.write(json.dumps([kind, len(data)]).encode() + b"\n")
    answers.write(data)
    answers.flush()


if __name__ == "__main__":
    main()
