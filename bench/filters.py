"""The filters, MinHash signatures and masks of the web pipeline beside datatrove's, on the same pages in one process.

    .venv/bin/python bench/filters.py                      # the real pages; half a minute
    .venv/bin/python bench/filters.py --longest 20         # only the 20 longest texts
    .venv/bin/python bench/filters.py --rounds 5

Each row is the median over pages of the best of the rounds, in milliseconds, with the ratio of the two totals over all
pages. Words are split once a page by ours, and datatrove keeps those of the last five texts: both stand in a row of
their own, and are there before the clock of a filter starts. At the beginning of each round our table of chunks is
empty, so that the words of these few pages cost more than they do later in a crawl. Decisions must agree.
datatrove's signatures are made with xxhash, its default, of bytes, as from release 4 on that takes no strings.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline import filters as peers
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.pipeline.formatters.pii import PIIFormatter
from datatrove.utils import text as peer_text
from datatrove.utils.hashing import HashConfig
from fastwarc.warc import ArchiveIterator, WarcRecordType
from resiliparse.extract.html2text import extract_plain_text
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from xxhash import xxh64_intdigest

from cutaway.corpus.page import Page
from cutaway.corpus.steps import words as words_module
from cutaway.corpus.steps.c4 import C4Filter, C4Settings
from cutaway.corpus.steps.fineweb import FineWebFilter, FineWebSettings
from cutaway.corpus.steps.gopher_quality import GopherQualityFilter, GopherQualitySettings
from cutaway.corpus.steps.gopher_repetition import GopherRepetitionFilter, GopherRepetitionSettings
from cutaway.corpus.steps.minhash import MinHashSettings, Signatures
from cutaway.corpus.steps.pii import PiiMask, PiiSettings
from cutaway.corpus.steps.words import WordSettings, shared_words
from cutaway.evals.markdown import markdown_table

WEB = Path(__file__).resolve().parents[2] / "shared" / "data" / "web"


def read_texts() -> list[str]:
    texts: list[str] = []
    for path in sorted(WEB.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [json.loads(line)["text"] for line in file]
    for path in sorted(WEB.glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in ArchiveIterator(file, record_types=WarcRecordType.response):
                body = record.reader.read()
                texts.append(extract_plain_text(bytes_to_str(body, detect_encoding(body)), main_content=True))
    return [text for text in texts if text.split()]


def rows() -> dict[str, tuple[Callable[[str], None], Callable[[str], Any], Callable[[str], Any]]]:
    """Of each step: what is done before the clock starts, ours and datatrove's. Our table of chunks is a new one."""
    words_module._shared_words.cache_clear()
    words = shared_words(WordSettings())

    def clear_words(text: str) -> None:
        peer_text.split_into_parts.cache_clear()
        words("")

    def keep_words(text: str) -> None:
        clear_words(text)
        peer_text.split_into_words(text)
        words(text)

    signatures = Signatures(MinHashSettings())
    peer_signatures = MinhashDedupSignature("/nowhere", config=MinhashConfig(hash_config=HashConfig(hash_fc="sha1")))
    peer_signatures._hash_func = lambda run: xxh64_intdigest(run.encode())

    def decide(step: Any) -> Callable[[str], str]:
        def decision(text: str) -> str:
            removal = step(Page("id", "source", text=text))
            return removal.rule if removal else "kept"

        return decision

    def peer_decides(step: Any) -> Callable[[str], str]:
        def decision(text: str) -> str:
            verdict = step.filter(Document(text=text, id="id"))
            return "kept" if verdict is True else verdict[1]

        return decision

    def sign(text: str) -> None:
        peer_signatures.get_signature(peer_signatures.get_shingles(text))

    return {
        "words": (clear_words, lambda text: words(text).words, peer_text.split_into_words),
        "gopher_repetition": (
            keep_words,
            decide(GopherRepetitionFilter(GopherRepetitionSettings())),
            peer_decides(peers.GopherRepetitionFilter()),
        ),
        "gopher_quality": (
            keep_words,
            decide(GopherQualityFilter(GopherQualitySettings())),
            peer_decides(peers.GopherQualityFilter()),
        ),
        "c4": (
            clear_words,
            decide(C4Filter(C4Settings())),
            peer_decides(peers.C4QualityFilter(filter_no_terminal_punct=False)),
        ),
        "fineweb": (keep_words, decide(FineWebFilter(FineWebSettings())), peer_decides(peers.FineWebQualityFilter())),
        "minhash": (clear_words, signatures.add, sign),
        "pii": (clear_words, PiiMask(PiiSettings()).mask, PIIFormatter().format),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--longest", type=int, default=0, help="only so many texts, the longest; 0: all")
    options.add_argument("--rounds", type=int, default=3)
    chosen = options.parse_args()
    texts = read_texts()
    texts = sorted(texts, key=len, reverse=True)[: chosen.longest] if chosen.longest else texts
    shorter = 5  # words: datatrove cannot sign fewer
    texts = [text for text in texts if len(peer_text.split_into_words(peer_text.simplify_text(text))) >= shorter]
    sizes = [len(text) for text in texts]
    print(f"{len(texts)} texts, median {statistics.median(sizes):.0f} characters, longest {max(sizes)}\n")
    best: dict[str, list[list[float]]] = {}
    disagreements: set[str] = set()
    for _ in range(chosen.rounds):
        for name, (prepare, *both) in rows().items():
            times = best.setdefault(name, [[float("inf")] * len(texts) for _ in both])
            for place, text in enumerate(texts):
                results: list[Any] = []
                for step, fastest in zip(both, times, strict=True):
                    prepare(text)
                    began = time.perf_counter()
                    results.append(step(text))
                    fastest[place] = min(fastest[place], 1e3 * (time.perf_counter() - began))
                if name != "pii" and results[0] != results[1]:
                    disagreements.add(f"{name}: {str(results[0])[:60]} and {str(results[1])[:60]}: {text[:60]!r}")
    table: list[list[str]] = []
    totals = [0.0, 0.0]
    for name, times in best.items():
        sums = [sum(each) for each in times]
        totals = [total + each for total, each in zip(totals, sums, strict=True)]
        table.append([name, *(f"{statistics.median(each):.2f}" for each in times), f"{sums[1] / sums[0]:.1f}"])
    table.append(["all, mean", *(f"{total / len(texts):.2f}" for total in totals), f"{totals[1] / totals[0]:.1f}"])
    print(markdown_table(["step", "ours, ms a page", "datatrove, ms a page", "times as fast"], table, 1))
    for line in sorted(disagreements):
        print(line)
    sys.exit(bool(disagreements))


if __name__ == "__main__":
    main()
