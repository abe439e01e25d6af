"""Imported by the process that forks workers, before anything else: it is to die with who started it, and they with it.

By itself it would live as long as any of its workers does.
"""

from __future__ import annotations

from cutaway.corpus.executors import die_with_parent

die_with_parent()
