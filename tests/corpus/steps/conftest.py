from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

WEB = Path(__file__).resolve().parents[4] / "shared" / "data" / "web"


@pytest.fixture(scope="session")
def web_texts() -> list[str]:
    """All documents and pages of the real data: CCNet's, and WARC pages as two extractors see them."""
    if not WEB.is_dir():
        pytest.skip("the real pages are not on this machine")
    resiliparse = pytest.importorskip("resiliparse.extract.html2text")
    encoding = pytest.importorskip("resiliparse.parse.encoding")
    fastwarc = pytest.importorskip("fastwarc.warc")
    trafilatura = pytest.importorskip("trafilatura")
    texts: list[str] = []
    for path in sorted(WEB.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [json.loads(line)["text"] for line in file]
    for path in sorted(WEB.glob("*.warc.gz")):
        with path.open("rb") as file:
            for record in fastwarc.ArchiveIterator(file, record_types=fastwarc.WarcRecordType.response):
                body = record.reader.read()
                html = encoding.bytes_to_str(body, encoding.detect_encoding(body))
                texts.append(resiliparse.extract_plain_text(html, main_content=True))
                texts.append(trafilatura.extract(html, favor_precision=True) or "")
    return texts
