"""llama.cpp computes the steps of our engine, from a GGUF file.

Only the forward pass is theirs. What comes in when, which token is chosen and by which settings, grammars, stop strings
and everything told of an answer are ours; a request that is watched goes through our own model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from cutaway.infer.engine import Engine
from cutaway.infer.engines.exported import gguf_of
from cutaway.infer.engines.llama_context import Context, library
from cutaway.infer.engines.sequences import Sequences
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.native import Precision
from cutaway.infer.pages import PAGE, Pages
from cutaway.infer.runner import Row
from cutaway.model import Transformer
from cutaway.runs import BadInput, CutawayError


def llama_cpp_engine(
    lm: LanguageModel, *, weights: Precision | None = None, most_rows: int = 32, waiting: int = 64
) -> Engine:
    """An `Engine` whose steps llama.cpp computes.

    Args:
        lm: a decoder.
        weights: what they are kept as in the file; None for a .gguf file as it is, and for float32 otherwise.
        most_rows: completions that are written at once.
        waiting: completions that may wait in line.

    Raises:
        BadInput: llama.cpp is not installed, does not run this model, or does not write so many at once.
        CutawayError: it cannot open the file, or memory does not suffice.
    """
    most = library().llama_max_parallel_sequences() - 1
    if most_rows > most:
        raise BadInput(f"llama.cpp writes {most} answers at once at most, not {most_rows}; give a smaller --batch")
    if lm.config.kind != "decoder":
        raise BadInput(f"{lm.name} is an {lm.config.kind}, and llama.cpp is given decoders; leave out --engine")
    runner = partial(LlamaCppRunner, file=gguf_of(lm, weights))
    return Engine(lm, runner=runner, most_rows=most_rows, waiting=waiting)


class LlamaCppRunner:
    """Computes steps with llama.cpp (see `cutaway.infer.runner.Runner`).

    It keeps keys and values itself, as many as `pages` would hold, whose own memory is left untouched. What a sequence
    gets may differ in the last digits with what else is in its batch.
    """

    def __init__(self, model: Transformer, pages: Pages, *, file: Path, threads: int | None = None) -> None:
        """Open a file with the weights of `model`.

        Raises:
            BadInput: the file is another model's.
            CutawayError: llama.cpp cannot open it, or memory does not suffice.
        """
        self.context = Context(
            file,
            model.config.vocab_size,
            room=pages.count * PAGE,
            cache_dtype=pages.dtype,
            threads=torch.get_num_threads() if threads is None else threads,
        )
        self.sequences = Sequences(pages, self.context, self.context.most_sequences)

    def run(self, rows: Sequence[Row]) -> list[Float[Tensor, "n vocab"]]:
        """Read each row's tokens, and give its logits; see `Runner`.

        Raises:
            CutawayError: llama.cpp failed.
        """
        placed = self.sequences.place(rows)
        lengths = [len(row.tokens) for row in rows]
        tokens = np.array([token for row in rows for token in row.tokens], np.int32)
        positions = np.concatenate([np.arange(row.start, row.end, dtype=np.int32) for row in rows])
        numbers = np.repeat(np.array([held.number for held in placed], np.int32), lengths)
        wanted = np.repeat(np.array([row.every for row in rows], np.int8), lengths)
        wanted[np.cumsum(lengths) - 1] = 1
        try:
            logits = self.context.decode(tokens, positions, numbers, wanted)
        except CutawayError:
            for held in placed:
                self.sequences.clear(held)
            raise
        return list(logits.split([length if row.every else 1 for row, length in zip(rows, lengths, strict=True)]))
