"""The index over a corpus's tokens: how fast it is made and asked, whether it is right, what its ∞-gram is worth.

    .venv/bin/python bench/index.py                    # 100 MB, some minutes
    .venv/bin/python bench/index.py --megabytes 20     # less text

Counts are compared with those of a scan of all 8-grams of 10 MB, made without the index. Bits per byte are of held-out
text that neither model saw, ten of the novels' pieces after those of training, Kneser-Ney counted on the same training
text.
"""

from __future__ import annotations

import argparse
import resource
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np

from cutaway.corpus import Document
from cutaway.corpus.documents import pieces
from cutaway.corpus.suffix_array import Index, write_index
from cutaway.evals.bits_per_byte import ngram_bits_per_byte
from cutaway.evals.markdown import markdown_table
from cutaway.ladder.infinigram import InfiniGram
from cutaway.ladder.ngram import KneserNey
from cutaway.tokens.formats import open_any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
N, QUERIES, CHECKED = 8, 1000, 200
LEAST_QUERIES_A_SECOND = 1000


def texts(most: int) -> list[str]:
    """Pieces of novels, read again from the first where they are less than `most` bytes."""
    found: list[str] = []
    with tarfile.open(DATA / "text" / "novels.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member)
            if file and member.name.endswith(".txt"):
                found += pieces([file.read().decode("utf-8", "replace")])
    sizes = np.cumsum([len(text.encode()) for text in found])
    times = -(-most // int(sizes[-1]))
    kept = int(np.searchsorted(np.concatenate([sizes + i * sizes[-1] for i in range(times)]), most)) + 1
    return (found * times)[:kept]


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--train", type=float, default=10, help="megabytes for the models and for the check of counts")
    args = parser.parse_args()
    tokenizer = open_any(DATA / "tokenizers" / "gpt2-vocab.bpe")
    words = texts(int(args.megabytes * 1e6))
    size = sum(len(text.encode()) for text in words)
    ids = [each.astype(np.int64) for each in tokenizer.encode_stream(words)]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as where:
        path = Path(where) / "large"
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        write_index(path, ((str(i), each) for i, each in enumerate(ids)), tokenizer.vocab_size)
        seconds = time.perf_counter() - began
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        index = Index(path)
        grams = drawn(ids, rng)
        began = time.perf_counter()
        index.counts(grams)
        together = time.perf_counter() - began
        began = time.perf_counter()
        for gram in grams:
            index.counts(gram[None])
        single = time.perf_counter() - began
        rows = [
            ("built from tokens", f"{size / 1e6 / seconds:.1f} MB/s of text ({seconds:.1f} s, {size / 1e6:.0f} MB)"),
            ("memory while built", f"{grown / 2**10:,.0f} MiB more, {grown * 1024 / index.n_tokens:.0f} bytes a token"),
            ("8-grams, together", f"{QUERIES / together:,.0f} a second"),
            ("8-grams, one by one", f"{QUERIES / single:,.0f} a second"),
        ]
        print(markdown_table(["index", f"{index.n_tokens:,} tokens"], rows), flush=True)

        few = words[: int(len(words) * min(1, args.train / args.megabytes))]
        cut = len(few) * 19 // 20
        train = ids[:cut]
        write_index(Path(where) / "small", ((str(i), each) for i, each in enumerate(train)), tokenizer.vocab_size)
        small = Index(Path(where) / "small")
        right = check(small, train, rng)
        documents = [Document(str(i), text, "novels") for i, text in enumerate(few[cut:])][:10]
        counted = KneserNey.fit([[tokenizer.end_of_text, *each] for each in train], 5, vocab_size=tokenizer.vocab_size)
        figures: list[tuple[str, str]] = []
        infinite = InfiniGram(small, tokenizer.end_of_text)
        for name, model in (("Kneser-Ney, 5-gram", counted), ("∞-gram, interpolated", infinite)):
            bits = ngram_bits_per_byte(model.log_probs, tokenizer, documents)["total"]
            figures.append((name, f"{bits.value:.3f} on {bits.bytes:,} bytes"))
        print(markdown_table(["model", "bits per byte"], figures))
    print(f"counts of {right} 8-grams equal those of a scan, all of them")
    if QUERIES / together < LEAST_QUERIES_A_SECOND:
        raise SystemExit(f"fewer than {LEAST_QUERIES_A_SECOND:,} queries a second")


def drawn(ids: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """Random 8-grams, half of them of the corpus and half with a token changed: `[query, 8]`."""
    long = [each for each in ids if len(each) >= N]
    grams = []
    for query in range(QUERIES):
        text = long[rng.integers(len(long))]
        at = rng.integers(len(text) - N + 1)
        grams.append(text[at : at + N].copy())
        if query % 2:
            grams[-1][rng.integers(N)] = rng.integers(50_000)
    return np.stack(grams)


def check(index: Index, ids: list[np.ndarray], rng: np.random.Generator) -> int:
    """Compare counts with those of a scan over all 8-grams."""
    windows = np.concatenate([np.lib.stride_tricks.sliding_window_view(each, N) for each in ids if len(each) >= N])
    grams = drawn(ids, rng)[:CHECKED]
    # Column after column, rows that differ are dropped: plain comparison, nothing of the index's.
    by_hand = np.zeros(len(grams), np.int64)
    first = windows[:, 0]
    for query, gram in enumerate(grams):
        left = np.flatnonzero(first == gram[0])
        by_hand[query] = (windows[left] == gram).all(1).sum()
    if not np.array_equal(by_hand, index.counts(grams)):
        raise SystemExit("counts differ from those of a scan")
    return len(by_hand)


if __name__ == "__main__":
    main()
