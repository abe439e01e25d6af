"""The transformer: its shape, its weights, its files."""

from cutaway.model.block import Memory
from cutaway.model.cache import KVCache
from cutaway.model.config import ModelConfig
from cutaway.model.huggingface import load_model, read_config, save_model
from cutaway.model.tap_names import TapNames, attach, tap_names
from cutaway.model.taps import Tap, Taps
from cutaway.model.transformer import Transformer

__all__ = [
    "KVCache",
    "Memory",
    "ModelConfig",
    "Tap",
    "TapNames",
    "Taps",
    "Transformer",
    "attach",
    "load_model",
    "read_config",
    "save_model",
    "tap_names",
]
