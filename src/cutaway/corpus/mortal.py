"""Imported by the process that forks workers, before anything else: it is to die with who started it, and they with it.

By itself it would live as long as any of its workers does; and a worker whose work was never sent, because its sender
was killed in between, would wait for it for ever.
"""

from __future__ import annotations

import os

from cutaway.corpus.executors import die_with_parent

forker = os.getpid()
"""Whose children are workers; 0 in a worker."""


def _forked() -> None:
    global forker
    if not forker:
        return
    die_with_parent()
    if os.getppid() != forker:  # it died before it could be followed
        os._exit(1)
    forker = 0


die_with_parent()
os.register_at_fork(after_in_child=_forked)
