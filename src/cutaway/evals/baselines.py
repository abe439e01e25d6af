"""What a language model has to beat on held-out text: a file compressor, and counting n-grams over the same tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from cutaway.corpus.documents import Document
from cutaway.evals.bits_per_byte import ngram_bits_per_byte
from cutaway.evals.compressor import xz_bits_per_byte
from cutaway.evals.measures import BASELINE_STAGE, RESULTS
from cutaway.ladder.ngram import KneserNey
from cutaway.runs.progress import Progress
from cutaway.runs.results import Result, write_results

ORDER = 5


class Encoder(Protocol):
    """The part of a tokenizer that is needed here."""

    @property
    def end_of_text(self) -> int:
        """Id of the token that stands before every document."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of tokens."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ...

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of many texts."""
        ...


def baselines(
    tokenizer: Encoder,
    training: Sequence[Document],
    heldout: Sequence[Document],
    progress: Progress,
    *,
    seed: int,
    directory: Path | None = None,
) -> list[Result]:
    """Bits per byte of the held-out documents to ``xz -9e`` and to a Kneser-Ney 5-gram, both knowing the training text.

    The results' stage is "baseline"; with a ``directory`` they are written to its ``evals.json``. Empty, where nothing
    is held out.
    """
    size = sum(len(document.text.encode()) for document in heldout)
    if not size:
        return []
    with progress.task("baselines", 2, "baselines") as work:
        ids = tokenizer.encode_batch([document.text for document in training])
        sequences = [[tokenizer.end_of_text, *sequence] for sequence in ids]
        counted = KneserNey.fit(sequences, ORDER, vocab_size=tokenizer.vocab_size)
        ngram = ngram_bits_per_byte(lambda ids: counted.log_probs(ids).tolist(), tokenizer, heldout)["total"].value
        work.update(1, kneser_ney=ngram)
        compressed = xz_bits_per_byte((d.text for d in training), (d.text for d in heldout))
        work.update(2, xz=compressed)
    found = {"xz": compressed, "kneser_ney": ngram}
    results = [
        Result(BASELINE_STAGE, name, value, "bits/byte", size, seed, higher_is_better=False)
        for name, value in found.items()
    ]
    if directory is not None:
        write_results(directory / RESULTS, results)
    return results
