"""How a model is fine-tuned on a person's own examples."""

from __future__ import annotations

from typing import Any, cast

from pydantic import Field, model_validator

from cutaway.train.lora import LoraSettings
from cutaway.train.settings import LoopSettings, Schedule


class FinetuneSettings(LoopSettings):
    """How long to fine-tune, and what of the model."""

    tokens: int = Field(default=0, ge=0, le=0, description="follows from `epochs`")
    epochs: float = Field(default=3.0, gt=0, description="times to go through the examples")
    schedule: Schedule = "linear"
    warmup: float = Field(default=0.05, ge=0, le=1)
    lora: LoraSettings | None = Field(default=None, description="adapters to train instead of the weights")
    held_out: float = Field(default=0.05, ge=0, lt=1, description="share of the examples that is only measured on")
    looks: int = Field(default=6, ge=1, description="times to measure on them")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="of pairs")
    alpha: float = Field(default=0.5, ge=0, le=1, description="weight of a teacher's probabilities against the text's")
    temperature: float = Field(default=2.0, gt=0, description="of a teacher's probabilities")

    @model_validator(mode="before")
    @classmethod
    def usual_rates(cls, data: Any) -> Any:
        """AdamW, because pretrained weights are moved a little and Muon moves all by as much; adapters by ten times."""
        if isinstance(data, dict) and isinstance(optimizer := data.setdefault("optimizer", {}), dict):
            optimizer.setdefault("kind", "adamw")
            optimizer.setdefault("adamw_lr", 1e-3 if data.get("lora") is not None else 1e-4)
        return cast("object", data)
