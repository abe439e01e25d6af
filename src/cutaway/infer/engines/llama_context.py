"""A model opened by llama.cpp, by the C functions of `llama-cpp-python`: tokens of many sequences in, logits out."""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from cutaway.runs import BadInput, CutawayError

TOKENS = 512
"""That go through the model at a time."""
CACHES = {torch.float32: 0, torch.bfloat16: 30, torch.int8: 8}
"""ggml's numbers of F32, BF16 and Q8_0."""
NEVER, BY_ITSELF = 0, -1
"""llama.cpp's numbers for when to use flash attention."""
ERROR = 4
"""The level of what llama.cpp says when it fails."""
FAILURES = {1: "its memory for keys and values is full", 2: "it was interrupted", -1: "the tokens are not the model's"}

log = logging.getLogger(__name__)
_kept: list[object] = []
"""What C calls back, which must not be freed."""
_said: list[str] = []
"""The last that llama.cpp complained of."""


@cache
def library() -> Any:
    """`llama_cpp`, ready for use. Raises `BadInput` if it is not installed, or is too old."""
    try:
        llama = import_module("llama_cpp")
    except ImportError:
        raise BadInput("--engine llama.cpp needs llama-cpp-python: pip install llama-cpp-python") from None
    except (OSError, RuntimeError) as error:
        again = "pip install --force-reinstall llama-cpp-python"
        raise BadInput(f"llama-cpp-python is installed and does not start ({error}); {again}") from None
    if not hasattr(llama, "llama_memory_seq_cp") or not hasattr(llama.llama_context_params, "flash_attn_type"):
        raise BadInput("this llama-cpp-python is too old: pip install --upgrade llama-cpp-python")

    @llama.llama_log_callback
    def hear(level: int, text: bytes, _: object) -> None:
        if level == ERROR:
            _said[:] = [text.decode("utf-8", "replace").strip()]
            log.debug("%s", _said[0])

    _kept.append(hear)
    llama.llama_log_set(hear, ctypes.c_void_p(0))
    llama.llama_backend_init()
    return llama


class Context:
    """A GGUF file, with room for the keys and values of many sequences in one memory."""

    def __init__(self, file: Path, vocab: int, *, room: int, cache_dtype: torch.dtype, threads: int) -> None:
        """Open a file.

        Args:
            file: whose model has `vocab` tokens.
            vocab: how many logits a token has.
            room: positions that can be kept, of all sequences together.
            cache_dtype: what their keys and values are kept as: float32, bfloat16 or int8.
            threads: that compute.

        Raises:
            BadInput: the file's model has another number of tokens.
            CutawayError: llama.cpp cannot open it, or memory does not suffice.
        """
        llama = self.llama = library()
        self.vocab = vocab
        self.most_sequences: int = llama.llama_max_parallel_sequences()
        model = llama.llama_model_load_from_file(os.fsencode(file), llama.llama_model_default_params())
        if not model:
            raise CutawayError(f"llama.cpp cannot open {file}{why()}")
        # Not when Python ends: a step may be under way then, in a thread that nobody waits for.
        weakref.finalize(self, llama.llama_model_free, model).atexit = False
        if (found := llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))) != vocab:
            raise BadInput(f"{file} is of a model with {found} tokens, not {vocab}; delete it, or export it anew")
        options = llama.llama_context_default_params()
        for names, value in (
            (("n_ctx",), room),
            (("n_seq_max",), self.most_sequences),
            (("n_batch", "n_ubatch"), TOKENS),
            (("n_threads", "n_threads_batch"), threads),
            (("type_k", "type_v"), CACHES[cache_dtype]),
            # Flash attention would round keys and values of float32 to halves; those of int8 cannot do without.
            (("flash_attn_type",), NEVER if cache_dtype == torch.float32 else BY_ITSELF),
            # One memory for all, where they can share; and nothing is forgotten that another may yet begin with.
            (("kv_unified", "swa_full", "no_perf"), True),
        ):
            for name in names:
                setattr(options, name, value)
        self.context = llama.llama_init_from_model(model, options)
        if not self.context:
            raise CutawayError(f"llama.cpp cannot make room for the keys and values of {room} tokens{why()}")
        weakref.finalize(self, llama.llama_free, self.context).atexit = False
        self.memory = llama.llama_get_memory(self.context)
        self.batch = Batch(llama, llama.llama_n_batch(self.context))

    def decode(
        self,
        tokens: Int[np.ndarray, " token"],
        positions: Int[np.ndarray, " token"],
        sequences: Int[np.ndarray, " token"],
        wanted: Int[np.ndarray, " token"],
    ) -> Float[Tensor, "wanted vocab"]:
        """Read tokens, each at a position of a sequence, and give the logits after those that are wanted (not 0).

        Raises:
            CutawayError: that failed; what the sequences hold now is not known.
        """
        logits = torch.empty(int((wanted != 0).sum()), self.vocab)
        filled = 0
        for begin in range(0, len(tokens), self.batch.size):
            part = slice(begin, begin + self.batch.size)
            batch = self.batch.filled(tokens[part], positions[part], sequences[part], wanted[part])
            if code := self.llama.llama_decode(self.context, batch):
                raise CutawayError(f"llama.cpp could not compute a step: {FAILURES.get(code, f'code {code}')}{why()}")
            for at in np.flatnonzero(wanted[part]).tolist():
                row = self.llama.llama_get_logits_ith(self.context, at)
                logits[filled] = torch.from_numpy(np.ctypeslib.as_array(row, (self.vocab,)))
                filled += 1
        return logits

    def share(self, source: int, target: int, start: int, end: int) -> None:
        """Have positions of one sequence belong to another as well, without a copy."""
        self.llama.llama_memory_seq_cp(self.memory, source, target, start, end)

    def drop(self, sequence: int, start: int, end: int) -> None:
        """Take positions away from a sequence. Raises `CutawayError` where the model does not remember by position."""
        if not self.llama.llama_memory_seq_rm(self.memory, sequence, start, end):
            raise CutawayError("llama.cpp cannot forget a part of what this model has read; leave out --engine")

    def read(self, sequence: int, start: int, tokens: Sequence[int]) -> None:
        """Compute more of a sequence, which ends at `start`. Raises `CutawayError` if that fails."""
        positions = np.arange(start, start + len(tokens), dtype=np.int32)
        numbers, none = np.full(len(tokens), sequence, np.int32), np.zeros(len(tokens), np.int8)
        self.decode(np.array(tokens, np.int32), positions, numbers, none)


class Batch:
    """A `llama_batch` with room for `size` tokens, each of one sequence."""

    def __init__(self, llama: Any, size: int) -> None:
        self.size = size
        self.tokens, self.positions, self.sequences = (np.zeros(size, np.int32) for _ in range(3))
        self.wanted = np.zeros(size, np.int8)
        self.ones = np.ones(size, np.int32)
        # Each token has a list of sequences: a pointer to the one number in it.
        self.lists = (self.sequences.ctypes.data + 4 * np.arange(size)).astype(np.uintp)
        self.struct = llama.llama_batch()
        kinds = {name: kind for name, kind, *_ in llama.llama_batch._fields_}
        for name, array in (
            ("token", self.tokens),
            ("pos", self.positions),
            ("n_seq_id", self.ones),
            ("seq_id", self.lists),
            ("logits", self.wanted),
        ):
            setattr(self.struct, name, ctypes.cast(array.ctypes.data, kinds[name]))

    def filled(
        self,
        tokens: Int[np.ndarray, " token"],
        positions: Int[np.ndarray, " token"],
        sequences: Int[np.ndarray, " token"],
        wanted: Int[np.ndarray, " token"],
    ) -> Any:
        """The structure with these tokens in it, `size` at most."""
        self.struct.n_tokens = len(tokens)
        many = self.struct.n_tokens
        self.tokens[:many], self.positions[:many] = tokens, positions
        self.sequences[:many], self.wanted[:many] = sequences, wanted
        return self.struct


def why() -> str:
    """What llama.cpp last complained of, in brackets; nothing if it did not."""
    return f" ({_said.pop()})" if _said else ""
