"""Extractors side by side on labelled pages: precision, recall and F1 of what must and must not be in the text.

    python bench/extraction.py PAGES.jsonl [CRAWL ...]

A line of PAGES has lists of strings, `must_contain` and `must_not_contain`, and its page: as `html`, as the `path` of a
file beside PAGES, or as a `url` that is to be found in one of the CRAWLs (.warc.gz and all else that the corpus reads).
bench/extraction_pages.jsonl labels pages of allenai/dolma's test crawl.

A string that must be there and is counts as a true positive, one that must not and is as a false positive. White space
is all the same.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from cutaway.corpus.page import Page
from cutaway.corpus.sources import find_inputs, read_pages
from cutaway.corpus.steps.extraction import Extraction, ExtractionSettings

EXTRACTORS = ("main", "resiliparse", "trafilatura")


def main(labels: str, *crawls: str) -> None:
    rows = [json.loads(line) for line in Path(labels).read_text("utf-8").splitlines() if line.strip()]
    found = {
        item.url: item.html
        for file in (find_inputs(crawls) if crawls else [])
        for item in read_pages(file, file.name)
        if isinstance(item, Page) and item.html
    }
    pages: list[tuple[bytes, list[str], list[str]]] = []
    for row in rows:
        html = row["html"].encode() if "html" in row else found.get(row.get("url"))
        if "path" in row:
            html = (Path(labels).parent / row["path"]).read_bytes()
        if html is None:
            print(f"not among the pages: {row.get('url')}", file=sys.stderr)
            continue
        pages.append((html, row.get("must_contain", []), row.get("must_not_contain", [])))
    size = sum(len(html) for html, _, _ in pages)
    strings = sum(len(wanted) + len(unwanted) for _, wanted, unwanted in pages)
    print(f"{len(pages)} pages, {size / max(len(pages), 1) / 1000:.0f} kB each, {strings} strings")
    print(f"{'':12} precision  recall     F1   ms a page   pages/s")
    for extractor in EXTRACTORS:
        step = Extraction(ExtractionSettings(extractor=extractor, seconds=60))
        step(Page("warm", "up", html=b"<p>Starts the child and loads the library."))
        hits = false = missed = 0
        begin = time.perf_counter()
        texts = [extracted(step, html) for html, _, _ in pages]
        seconds = (time.perf_counter() - begin) / max(len(pages), 1)
        for text, (_, wanted, unwanted) in zip(texts, pages, strict=True):
            there = [squeezed(string) in text for string in wanted]
            hits += sum(there)
            missed += len(there) - sum(there)
            false += sum(squeezed(string) in text for string in unwanted)
        precision, recall = hits / max(hits + false, 1), hits / max(hits + missed, 1)
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        print(f"{extractor:12} {precision:9.3f} {recall:7.3f} {f1:6.3f} {seconds * 1000:11.2f} {1 / seconds:9.0f}")


def extracted(step: Extraction, html: bytes) -> str:
    page = Page("page", "bench", html=html)
    step(page)
    return squeezed(page.text)


def squeezed(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
