"""word2vec: our word vectors beside gensim's, from the same text with the same settings, by the same analogies.

    .venv/bin/python bench/words.py                           # both models, 3 seeds, 6 million words; some minutes
    .venv/bin/python bench/words.py --words 0 --epochs 5      # all of the novels

Both read the same passages in the same order, from the same vocabulary, on as many threads. Each one's vectors answer
word2vec's own questions, the question's words left out of the answers, by gensim's own count and by ours, which must
agree. Required: ours within 2 points of gensim's, in the mean over the seeds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from gensim.models import KeyedVectors, Word2Vec

from cutaway.evals.markdown import markdown_table
from cutaway.ladder.word_geometry import Question, analogies
from cutaway.ladder.word_lists import read_questions
from cutaway.ladder.word_vectors import Kind, WordVectors, WordVectorSettings, train_word_vectors
from cutaway.ladder.word_windows import Text, read_text, words_of
from cutaway.pipeline.rungs.words import passages_of
from cutaway.runs import SilentProgress

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
MOST_APART = 2.0
"""Points."""


def first_words(passages: Iterator[str], most: int) -> Iterator[str]:
    """Passages until there are `most` words; 0 for all."""
    seen = 0
    for passage in passages:
        yield passage
        seen += len(words_of(passage))
        if most and seen >= most:
            return


def sentences_of(text: Text) -> list[list[str]]:
    """The same text as gensim takes it."""
    borders = np.flatnonzero(np.diff(text.passages)) + 1
    return [[text.words[i] for i in passage] for passage in np.split(text.ids, borders)]


def gensims(
    sentences: list[list[str]], kind: Kind, settings: WordVectorSettings, seed: int, threads: int
) -> KeyedVectors:
    return Word2Vec(
        sentences,
        sg=int(kind == "skip-gram"),
        vector_size=settings.dimensions,
        window=settings.window,
        negative=settings.noise,
        sample=settings.subsample,
        min_count=settings.min_count,
        epochs=settings.epochs,
        alpha=settings.lr,
        seed=seed,
        workers=threads,
    ).wv


def share_right(vectors: WordVectors, questions: Sequence[Question]) -> float:
    """In per cent."""
    return 100 * float(np.mean(analogies(vectors, questions).among_others == 1))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--text", type=Path, default=DATA / "text" / "novels.tar.xz")
    options.add_argument("--questions", type=Path, default=DATA / "words" / "questions-words.txt")
    options.add_argument("--words", type=int, default=6_000_000, help="how many of the text's words; 0: all")
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--kinds", nargs="+", default=["skip-gram", "cbow"])
    options.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options.add_argument("--batch", type=int, default=WordVectorSettings().batch)
    chosen = options.parse_args()
    settings = WordVectorSettings(epochs=chosen.epochs, batch=chosen.batch)
    text = read_text(first_words(passages_of(chosen.text), chosen.words), settings.min_count)
    sentences, threads = sentences_of(text), torch.get_num_threads()
    known = set(text.words)
    questions = [q for section in read_questions(chosen.questions).values() for q in section if known >= set(q)]
    print(
        f"{len(text.ids):,} words, {len(text.words):,} different ones, {len(sentences):,} passages; "
        f"{len(questions):,} questions; {threads} threads; {settings}\n"
    )
    rows, apart = list[list[str]](), dict[str, float]()
    for kind in chosen.kinds:
        found: dict[str, list[float]] = {name: [] for name in ("ours", "gensim", "ours, s", "gensim, s")}
        for seed in chosen.seeds:
            began = time.monotonic()
            theirs = gensims(sentences, kind, settings, seed, threads)
            between = time.monotonic()
            ours = train_word_vectors(text, kind, settings, seed, SilentProgress()).vectors
            times = (time.monotonic() - between, between - began)
            shares = (
                share_right(ours, questions),
                share_right(WordVectors(theirs.index_to_key, theirs.vectors), questions),
            )
            check(theirs, chosen.questions, shares[1])
            for name, value in zip(found, (*shares, *times), strict=True):
                found[name].append(value)
            rows.append([kind, str(seed), *(f"{values[-1]:.1f}" for values in found.values())])
            print(" ".join(rows[-1]), file=sys.stderr, flush=True)
        means = [statistics.mean(values) for values in found.values()]
        rows.append([kind, "mean", *(f"{mean:.1f}" for mean in means)])
        if len(chosen.seeds) > 1:
            rows.append([kind, "s.d.", *(f"{statistics.stdev(values):.1f}" for values in found.values())])
        apart[kind] = means[0] - means[1]
    print(markdown_table(["model", "seed", "ours, % right", "gensim, % right", "ours, s", "gensim, s"], rows, 2))
    for kind, points in apart.items():
        print(f"{kind}: {points:+.1f} points; required: at least -{MOST_APART:.0f}")
    sys.exit(any(points < -MOST_APART for points in apart.values()))


def check(vectors: KeyedVectors, questions: Path, counted: float) -> None:
    """That gensim counts as many right answers of its vectors as we do."""
    share, _ = vectors.evaluate_word_analogies(str(questions), restrict_vocab=len(vectors), case_insensitive=True)
    assert abs(100 * share - counted) < 0.1, f"gensim counts {100 * share:.2f}% right, we {counted:.2f}%"


if __name__ == "__main__":
    main()
