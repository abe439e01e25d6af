"""HTML to text: what is kept and left out, in which encoding, and what hostile pages cost."""

from __future__ import annotations

from pathlib import Path

import pytest

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.sources import read_pages
from cutaway.corpus.steps.extraction import Extraction, ExtractionSettings, html_text

WARC = Path(__file__).resolve().parents[4] / "shared" / "data" / "web/sample-0001.warc.gz"
SENTENCES = [
    f"Paragraph number {n} tells at some length what the village baker did on day {n}, and why nobody minded it at all."
    for n in range(8)
]
ARTICLE = (
    "<html><head><title>T</title><style>p{color:red}</style><script>var x = 'hidden script';</script></head><body>"
    "<nav><ul><li><a href=/>Home page</a></li><li><a href=/a>About us</a></li></ul></nav>"
    "<main><article><h1>The baker</h1>" + "".join(f"<p>{line}</p>" for line in SENTENCES) + "</article></main>"
    "<footer><p>Copyright nobody</p><a href=/p>Privacy policy</a></footer></body></html>"
)


def extracted(html: bytes, encoding: str | None = None, **settings: object) -> Page | Removal:
    page = Page("p", "s", html=html, encoding=encoding)
    removal = Extraction(ExtractionSettings.model_validate(settings))(page)
    assert page.html is None
    return removal or page


def text_of(html: str | bytes, encoding: str | None = None, **settings: object) -> str:
    page = extracted(html if isinstance(html, bytes) else html.encode(), encoding, **settings)
    assert isinstance(page, Page), page
    return page.text


@pytest.mark.parametrize("extractor", ["main", "resiliparse", "trafilatura"])
def test_the_article_is_kept_and_what_is_around_it_is_not(extractor: str):
    text = text_of(ARTICLE, extractor=extractor)
    lines = [line for line in text.split("\n") if line]
    assert [line for line in lines if line.startswith("Paragraph")] == SENTENCES
    for gone in ("Home page", "Privacy", "hidden", "color:red"):
        assert gone not in text


def test_trafilatura_is_called_as_datatrove_calls_it():
    block = pytest.importorskip("datatrove.pipeline.extractors.trafilatura").Trafilatura()
    assert text_of(ARTICLE, extractor="trafilatura") == block.extract(ARTICLE)


def test_a_page_whose_main_content_is_not_found_is_taken_whole():
    items = "".join(f"<li><a href='/{n}'>{line}</a></li>" for n, line in enumerate(SENTENCES))
    html = f"<body><nav>Home</nav><div><h1>Facts</h1><p>Some facts:</p><ul class='nav menu'>{items}</ul></div></body>"
    assert SENTENCES[3] not in text_of(html, extractor="resiliparse")
    text = text_of(html, extractor="main")
    assert all(line in text for line in SENTENCES)
    assert "Home" not in text


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        ("<p>Grüße, ça va, 10 €".encode(), None),
        ("<p>Grüße, ça va, 10 €".encode(), "iso-8859-1"),  # UTF-8 whatever is said
        ("<p>Grüße, ça va, 10 €".encode("cp1252"), "ISO-8859-1"),  # as browsers have it
        ("<p>Grüße, ça va, 10 €".encode("cp1252"), "utf-8"),
        ("<p>Grüße, ça va, 10 €".encode("utf-16"), None),
        ("<meta charset=windows-1252><p>Grüße, ça va, 10 €".encode("cp1252"), None),
        ("<meta charset=windows-1252><p>Grüße, ça va, 10 €".encode("cp1252"), "no such thing"),
        ("<p>Grüße, ça va, 10 €".encode("iso8859-15"), "iso-8859-15"),
        ("<p>Grüße, ça va, 10 €".encode("cp1252"), "hex"),
    ],
)
def test_encodings_declared_rightly_wrongly_and_not_at_all(data: bytes, declared: str | None):
    assert text_of(data, declared, extractor="main") == "Grüße, ça va, 10 €"


def test_japanese_and_russian_by_their_declaration():
    assert text_of("<p>こんにちは世界、元気ですか".encode("shift_jis"), "Shift_JIS") == "こんにちは世界、元気ですか"
    russian = "<meta http-equiv=content-type content='text/html; charset=koi8-r'><p>Привет, мир и люди"
    assert text_of(russian.encode("koi8-r")) == "Привет, мир и люди"


def test_broken_bytes_and_nulls_cost_only_themselves():
    assert text_of(b"<p>Gr\xc3\xbc\xc3\x9fe " + b"word " * 50 + b"a\xff b\0c</p>", "utf-8").endswith("a\ufffd bc")


def test_pages_that_came_as_text_pass():
    page = Page("p", "s", text="as <b>it</b> was")
    assert Extraction(ExtractionSettings())(page) is None
    assert page.text == "as <b>it</b> was"


def test_pages_without_text_and_pages_that_are_too_large_are_removed():
    assert extracted(b"<html><script>x</script>") == Removal("characters", 0, 1)
    assert extracted(b"x" * 1001, largest=1000) == Removal("page_size", 1001, 1000)


HOSTILE = {
    "div": b"<div>" * 100_000 + b"deep",
    "list": b"<ul><li>" * 50_000 + b"deep",
    "table": b"<table><tr><td>" * 30_000 + b"deep",
    "attributes": b"<a " + b" ".join(b"a%d=1" % n for n in range(100_000)) + b">many",
    "formatting": b"<b><i><u>" * 50_000 + b"<p>x" * 100,
    "bytes": bytes(range(256)) * 2000,
    "less": b"<" * 200_000,
    "entities": b"&#x" * 200_000,
    "comments": b"<!--" * 200_000,
}


@pytest.mark.parametrize(
    ("extractor", "html"),
    [("main", html) for html in HOSTILE] + [("trafilatura", html) for html in ("div", "formatting", "bytes")],
)
def test_hostile_pages_end_in_a_text_or_a_reason(extractor: str, html: str):
    result = extracted(HOSTILE[html], extractor=extractor, seconds=0.5)
    assert isinstance(result, Page) or result.rule in ("unreadable", "characters")
    assert text_of(ARTICLE).startswith("The baker")  # and the page after it is read


@pytest.mark.skipif(not WARC.exists(), reason="the shared data are not here")
def test_a_real_crawl_gives_clean_text():
    step = Extraction(ExtractionSettings())
    texts: list[str] = []
    for page in read_pages(WARC, "w"):
        if isinstance(page, Page):
            assert step(page) is None
            texts.append(page.text)
    assert len(texts) == 15
    assert all(len(text) > 300 and "<div" not in text and "{" not in text[:200] for text in texts)


def test_the_function_alone_gives_the_same():
    assert html_text(ARTICLE.encode(), "main") == text_of(ARTICLE)
