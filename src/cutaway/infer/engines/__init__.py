"""Other people's engines behind the interface of our own: llama.cpp and vLLM.

llama.cpp computes our steps (`Engine` with a `LlamaCppRunner`), so that all of ours but the forward pass is as it was.
vLLM has a scheduler and a sampler of its own, and is asked request by request (`VllmEngine`).
"""

from cutaway.infer.engines.choice import EngineName, engine_of
from cutaway.infer.engines.completions import completions_by

__all__ = ["EngineName", "completions_by", "engine_of"]
