from __future__ import annotations

import os

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
