"""A step taken apart: its memory beside what a plan foretells, and its time in parts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cutaway.model import ModelConfig, Transformer
from cutaway.train import LoopSettings, Rows
from cutaway.train.profile import profile_step

CONFIG = ModelConfig(vocab_size=512, n_layers=2, d_model=96, n_heads=6, n_kv_heads=3, d_head=16, d_mlp=256, context=64)


@pytest.mark.parametrize("micro_rows", [4, 8])
def test_a_step_takes_the_memory_that_a_plan_foretells(micro_rows: int) -> None:
    settings = LoopSettings(
        tokens=8 * 32, batch_tokens=8 * 32, row_length=32, micro_rows=micro_rows, compile=False, precision="float32"
    )
    torch.manual_seed(0)
    tokens = np.arange(8 * 33, dtype=np.int32).reshape(8, 33) % 512
    seen = profile_step(Transformer(CONFIG), Rows(tokens, np.ones_like(tokens, np.bool_)), settings)
    assert seen.memory == pytest.approx(seen.foretold, rel=0.05)
    assert sum(part.seconds for part in seen.parts) == pytest.approx(seen.seconds)
    assert {part.phase for part in seen.parts} == {"gradient", "update"}
