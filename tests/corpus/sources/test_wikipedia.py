"""Dumps of MediaWiki: a hand-made one, hostile ones, and the real one."""

from __future__ import annotations

import bz2
import re
from pathlib import Path

import pytest

from cutaway.corpus.page import Page, Skipped
from cutaway.corpus.sources import read_pages
from cutaway.corpus.sources.wikitext import plain_text

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "text/enwiki-articles.xml.bz2"
HEAD = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/" xml:lang="en"><siteinfo>'
    "<base>https://en.wikipedia.org/wiki/Main_Page</base></siteinfo>"
)


def article(title: str, text: str, ns: int = 0, extra: str = "") -> str:
    head = f"<page><title>{title}</title><ns>{ns}</ns><id>1</id>{extra}"
    return f"{head}<revision><id>2</id><text>{text}</text></revision></page>"


def read(tmp_path: Path, dump: str) -> list[Page | Skipped]:
    file = tmp_path / "dump.xml.bz2"
    file.write_bytes(bz2.compress(dump.encode()))
    return list(read_pages(file, "wiki"))


def test_articles_are_read_and_redirects_and_talk_are_not(tmp_path: Path):
    dump = HEAD + article("Käse &amp; Co", "'''Cheese''' is [[milk|made of milk]].")
    dump += article("Talk:Cheese", "no", ns=1) + article("Cheeze", "no", extra='<redirect title="Cheese"/>')
    dump += article("Empty", "{{stub}}") + article("Last", "end") + "</mediawiki>"
    first, empty, last = read(tmp_path, dump)
    assert isinstance(first, Page)
    assert (first.id, first.text) == ("wiki/0", "Käse & Co\n\nCheese is made of milk.")
    assert first.url == "https://en.wikipedia.org/wiki/K%C3%A4se_%26_Co"
    assert empty == Skipped("wiki/1", "it has no text")
    assert isinstance(last, Page)
    assert last.id == "wiki/2"


def test_wikitext_becomes_prose():
    text = """{{Infobox | name = {{nested|x}} }}
<!-- note --> '''Bold''' and ''italic'' word<ref name="a">{{cite|title=gone}}</ref>,
<ref name="a" /> [[Link|shown]] [http://a.b label].
[[File:x.jpg|thumb|A [[caption]]]]
== Head ==
* one
* two &amp; three
{| class="wikitable"
| cell
|}
[[Category:Words]] [[de:Wort]]
Pronounced ({{IPA|x}}) so.<gallery>a.jpg|gone</gallery>

== See also ==
* [[gone]]"""
    assert plain_text(text.encode()) == (
        "Bold and italic word,\nshown label.\n\nHead\n- one\n- two & three\n\nPronounced so."
    )


@pytest.mark.parametrize(
    ("dump", "said"),
    [
        ('<!DOCTYPE x [<!ENTITY a "b">]><mediawiki>&a;</mediawiki>', "attacks"),
        ("<html><p>no</p></html>", "no MediaWiki dump"),
        ("just words", "well-formed"),
        ("<mediawiki>" + "<page>" * 5000, "nested"),
        ("<mediawiki a='" + "x" * 2_000_000, "one of its tags"),
    ],
)
def test_hostile_dumps_are_refused(tmp_path: Path, dump: str, said: str):
    (skipped,) = read(tmp_path, dump)
    assert isinstance(skipped, Skipped)
    assert said in skipped.reason


def test_what_comes_before_a_break_is_read(tmp_path: Path):
    first, skipped = read(tmp_path, HEAD + article("One", "text") + "<page><title>Two</ti")
    assert isinstance(first, Page)
    assert isinstance(skipped, Skipped)


def test_an_article_that_is_too_long_or_takes_too_long_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("cutaway.corpus.sources.wikipedia.SECONDS", 0.5)
    slow = "[[a|" * 400_000 + "&lt;ref>" * 100_000
    dump = HEAD + article("Long", "x" * 5_000_000) + article("Slow", slow) + article("Last", "end") + "</mediawiki>"
    long, slow_one, last = read(tmp_path, dump)
    assert isinstance(long, Skipped)
    assert "longer than 4 Mi" in long.reason
    assert isinstance(slow_one, Skipped)
    assert "more than 0.5 s" in slow_one.reason
    assert isinstance(last, Page)


@pytest.mark.skipif(not REAL.exists(), reason="the shared data are not here")
def test_the_real_dump_has_its_articles_without_markup(tmp_path: Path):
    # Its first articles; the whole takes some seconds.
    part = bz2.decompress(REAL.read_bytes())[:1_000_000].decode(errors="ignore")
    whole = part[: part.rindex("</page>") + 7] + "</mediawiki>"
    pages = re.findall(r"<page>.*?</page>", whole, re.DOTALL)
    expected = [p for p in pages if "<ns>0</ns>" in p and "<redirect" not in p]
    items = read(tmp_path, whole)
    assert len(items) == len(expected) > 5
    for item, source in zip(items, expected, strict=True):
        assert isinstance(item, Page)
        title = re.search("<title>(.*?)</title>", source)
        assert title
        assert item.text.startswith(title[1])
        assert len(item.text) > 300
        marks = sum(item.text.count(mark) for mark in ("{{", "}}", "[[", "]]", "<ref", "{|", "'''"))
        assert marks <= len(item.text) / 10_000, item.text
