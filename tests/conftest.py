from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

# Before anything imports torch: tests of tiny models are slower, and take each other's cores, with more threads.
for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Nothing in the tests may reach for a model hub.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hypothesis import settings  # noqa: E402

# Times vary on a shared machine; pytest-timeout catches what hangs.
# A landing must not hang on the luck of a draw: new examples are looked for everywhere but in CI.
settings.register_profile("cutaway", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.load_profile("cutaway")


@pytest.fixture(scope="session")
def load_module() -> Callable[[Path], ModuleType]:
    """Gives the module in a file that no import path leads to."""

    def load(file: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def pytest_configure() -> None:
    """Let Ctrl-C reach the tests that send it: a shell's background jobs, and all that they start, ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
