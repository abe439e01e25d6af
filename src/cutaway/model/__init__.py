"""The transformer: its shape, its weights, its files."""

from cutaway.model.cache import KVCache
from cutaway.model.config import ModelConfig
from cutaway.model.huggingface import load_model, read_config, save_model
from cutaway.model.transformer import Transformer

__all__ = ["KVCache", "ModelConfig", "Transformer", "load_model", "read_config", "save_model"]
