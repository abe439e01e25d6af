"""Imported by the process that forks workers, before anything else: it is to die with who started it, and they with it.

By itself it would live as long as any of its workers does; and a worker whose work was never sent, because its sender
was killed in between, would wait for it for ever.
"""

from __future__ import annotations

import os

from cutaway.corpus.executors import die_with_parent

STARTER = "CUTAWAY_STARTER"
"""The variable that tells who started it."""
_forker = os.getpid()


def _follow(parent: int) -> None:
    die_with_parent()
    if os.getppid() != parent:  # it died before it could be followed
        os._exit(1)


def _forked() -> None:
    global _forker
    if _forker:
        _follow(_forker)
        _forker = 0  # what a worker starts is its own affair


_follow(int(os.environ[STARTER]))
os.register_at_fork(after_in_child=_forked)
