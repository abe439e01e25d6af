"""The hand-made run, for tests that read one."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from cutaway.runs import RunDirectory


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_run() -> Callable[..., RunDirectory]:
    """Writes a finished run's directory: `make_run(path, seed=, steps=, shift=)`."""
    make: Callable[..., RunDirectory] = _load("sample_run").make_run
    return make
