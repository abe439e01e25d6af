"""The hand-made run, for tests that read one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cutaway.runs import RunDirectory


@pytest.fixture
def make_run(load_module: Callable[[Path], ModuleType]) -> Callable[..., RunDirectory]:
    """Writes a finished run's directory: `make_run(path, seed=, steps=, shift=)`."""
    make: Callable[..., RunDirectory] = load_module(Path(__file__).with_name("sample_run.py")).make_run
    return make
