"""A synthetic crawl: HTML pages as a crawler meets them, in WARC files, the same ones every time.

Of a hundred pages about 46 are articles, 12 near and 4 exact copies of articles, 14 in other languages, 8 spam, 6 lists
of links or goods, 4 programs, filler or error pages, 3 a line or two, and 3 articles with personal data in them. The
English is that of packages which are installed anyway (two Bibles and Python's documentation). Each page stands in a
site's frame of scripts, styles, menus, notices and related links, 10 to 120 kB.
"""

from __future__ import annotations

import gzip
import random
import uuid
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

from cutaway.corpus.built_in import built_in_documents

PAGES_A_FILE = 500

KINDS = (
    ("article", 46), ("near", 12), ("exact", 4), ("foreign", 14), ("spam", 8), ("list", 6), ("junk", 4), ("short", 3),
    ("personal", 3),
)  # fmt: skip

FOREIGN = {
    "de": "Die Sitzung des Gemeinderates begann am Abend mit einer langen Aussprache über den Haushalt. Viele Bürger "
    "waren gekommen, weil die geplante Straße durch das alte Viertel führen soll. Der Bürgermeister erklärte, dass "
    "noch nichts entschieden sei. Am Ende stimmte eine knappe Mehrheit dafür, die Pläne noch einmal zu prüfen. Im "
    "nächsten Frühjahr soll das Ergebnis vorgestellt werden. Die Zeitung berichtete ausführlich über den Streit.",
    "fr": "Le marché du samedi attire depuis toujours les habitants des villages voisins. On y trouve des légumes, du "
    "fromage et parfois des livres anciens. Le maire a annoncé que la place serait refaite avant la fin de l'année. "
    "Les commerçants craignent de perdre leurs clients pendant les travaux. Une réunion publique aura lieu la semaine "
    "prochaine à la salle des fêtes. Personne ne sait encore combien tout cela va coûter.",
    "es": "La biblioteca del barrio abrió sus puertas hace más de cincuenta años. Desde entonces han pasado por ella "
    "miles de lectores de todas las edades. Este verano se van a renovar las salas y a comprar nuevos ordenadores. El "
    "director explicó que los libros seguirán siendo lo más importante. Los vecinos celebraron la noticia con una "
    "pequeña fiesta. Muchos recordaron las tardes que pasaron allí cuando eran niños.",
    "ru": "В субботу утром жители посёлка собрались у старой школы. Директор рассказал, что здание будет "
    "отремонтировано до осени. Многие родители предложили свою помощь. Работы начнутся в следующем месяце и продлятся "
    "всё лето. Дети надеются, что новый спортивный зал откроют вовремя. Об этом написала местная газета.",
    "zh": "星期六上午，村里的人们聚集在老学校门口。校长说，教学楼将在秋天之前修好。许多家长表示愿意帮忙。"
    "工程下个月开始，整个夏天都会继续。孩子们希望新的体育馆能按时开放。当地的报纸报道了这件事。",
    "it": "La piccola stazione sulla costa è rimasta chiusa per quasi dieci anni. Ora un gruppo di volontari vuole "
    "riaprirla come museo della ferrovia. Servono soldi, tempo e molta pazienza. Il comune ha promesso di pagare una "
    "parte dei lavori. Nel frattempo i volontari puliscono le sale e raccolgono vecchie fotografie.",
}  # fmt: skip

SPAM = ("cheap", "casino", "bonus", "free", "online", "best", "price", "buy", "now", "pills", "loan", "credit", "win")
MENU = ("Home", "News", "Sport", "Culture", "About us", "Contact", "Shop", "Archive", "Jobs", "Privacy", "Imprint")
NOTICES = (
    "We use cookies to improve your experience. By continuing you accept our cookie policy and terms of use.",
    "Sign up for our newsletter and never miss a story again. You can unsubscribe at any time.",
    "Share this article with your friends on Facebook, Twitter and WhatsApp.",
    "All rights reserved. No part of this site may be reproduced without written permission of the publisher.",
)
SITES = 400


@cache
def sentences() -> list[str]:
    """English sentences, a few tens of thousands."""
    found: list[str] = []
    for document in built_in_documents(("bbe", "pydoc")):
        for paragraph in document.text.split("\n\n"):
            text = " ".join(paragraph.split())
            if text[:1].isupper() and text[-1:] in ".?!" and 40 < len(text) < 900:
                found.append(text)
    return found


def kind_of(number: int, seed: int) -> str:
    draw = random.Random(f"{seed} kind {number}").randrange(100)
    for kind, share in KINDS:
        if draw < share:
            return kind if number or kind not in ("near", "exact") else "article"
        draw -= share
    raise AssertionError("the shares add up to a hundred")


def earlier(number: int, seed: int) -> int:
    """The article that a copy is one of: one of those before it, if there is any."""
    rng = random.Random(f"{seed} of {number}")
    for _ in range(100):
        found = rng.randrange(number)
        if kind_of(found, seed) == "article":
            return found
    return 0


def paragraphs(number: int, seed: int, kind: str) -> list[str]:
    rng = random.Random(f"{seed} text {number}")
    if kind in ("article", "personal"):
        found = [" ".join(rng.sample(sentences(), rng.randint(1, 3))) for _ in range(rng.randint(3, 14))]
        if kind == "personal":
            found[0] += f" Write to {rng.choice(['anna', 'jo.smith', 'info'])}{number}@mail{number % 90}.com or call"
            found[0] += f" (555) 010-{rng.randrange(1000, 9999)}; the server is 81.2.{rng.randrange(255)}.17."
        return found
    if kind in ("near", "exact"):
        of = earlier(number, seed)
        found = paragraphs(of, seed, "article")
        if kind == "near":
            place = rng.randrange(len(found))
            words = found[place].split()
            words[rng.randrange(len(words))] = rng.choice(SPAM)
            found[place] = " ".join(words)
        return found
    if kind == "foreign":
        text = FOREIGN[rng.choice(sorted(FOREIGN))]
        pieces = text.split("。") if "。" in text else text.split(". ")
        joint = "。" if "。" in text else ". "
        return [joint.join(rng.sample(pieces, len(pieces))) + joint.strip() for _ in range(rng.randint(2, 8))]
    if kind == "spam":
        phrase = " ".join(rng.choices(SPAM, k=rng.randint(4, 9)))
        return [" ".join([phrase] * rng.randint(2, 12)) for _ in range(rng.randint(3, 12))]
    if kind == "short":
        return [" ".join(rng.choice(sentences()).split()[: rng.randint(3, 12)])]
    if rng.random() < 0.3:
        return [
            "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut labore."
        ] * 6
    if rng.random() < 0.5:
        return ["404 Not Found", "The page that you asked for is not here. Please enable javascript to go on."]
    return [f"for (var i = 0; i < {n}; i++) {{ total += values[i] * {rng.random():.3f}; }}" for n in range(2, 30)]


def frame(number: int, seed: int) -> tuple[str, str]:
    """What stands before and after a page's own text."""
    rng = random.Random(f"{seed} frame {number}")
    site = number % SITES
    script = "".join(
        f"var v{n}={rng.randrange(10**9)};function f{n}(a,b){{return a*v{n}+b}};" for n in range(rng.randint(60, 600))
    )
    style = "".join(f".c{n}{{margin:{n % 17}px;color:#{n * 7919 % 0xFFFFFF:06x}}}" for n in range(rng.randint(80, 500)))
    menu = "".join(f'<li><a href="/{site}/{name.lower()}">{name}</a></li>' for name in rng.sample(MENU, 8))
    related = "".join(
        f'<li class="teaser"><a href="/{site}/{rng.randrange(10**6)}">{escape(rng.choice(sentences())[:60])}</a></li>'
        for _ in range(rng.randint(5, 40))
    )
    notices = [f"<div class='notice'><p>{text}</p></div>" for text in rng.sample(NOTICES, rng.randint(1, 3))]
    head = (
        f"<!doctype html><html><head><meta charset='utf-8'><title>Site {site}: page {number}</title>"
        f"<script>{script}</script><style>{style}</style></head><body><header><nav><ul>{menu}</ul></nav></header>"
    )
    footer = f"<footer>© Site {site}. {MENU[site % 11]}</footer></body></html>"
    tail = f"<aside><h3>Related</h3><ul>{related}</ul></aside>{''.join(notices)}{footer}"
    return head, tail


def page(number: int, seed: int) -> tuple[str, str]:
    """A page's URL and HTML."""
    kind = kind_of(number, seed)
    head, tail = frame(number, seed)
    rng = random.Random(f"{seed} shape {number}")
    if kind == "list":
        items = [
            f"<li>{escape(' '.join(rng.choice(sentences()).split()[:4]))} {rng.randrange(500)}.99</li>"
            for _ in range(rng.randint(20, 90))
        ]
        body = f"<main><h1>Goods</h1><ul>{''.join(items)}</ul></main>"
    else:
        text = paragraphs(number, seed, kind)
        body = (
            f"<main><article><h1>{escape(text[0][:60])}</h1>"
            + "".join(f"<p>{escape(one)}</p>" for one in text)
            + "</article></main>"
        )
    host = (
        f"casino-porn{number % SITES}.example.com"
        if kind == "spam" and number % 5 == 0
        else f"site{number % SITES}.example.org"
    )
    return f"https://www.{host}/{kind}/{number}", head + body + tail


def records(start: int, end: int, seed: int) -> Iterator[bytes]:
    """WARC 1.0 records of type response."""
    for number in range(start, end):
        url, html = page(number, seed)
        body = html.encode()
        http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\n\r\n" % len(body)
        identity = uuid.UUID(bytes=random.Random(f"{seed} id {number}").randbytes(16), version=4)
        head = (
            f"WARC/1.0\r\nWARC-Type: response\r\nWARC-Record-ID: <urn:uuid:{identity}>\r\n"
            f"WARC-Date: 2024-05-01T00:00:00Z\r\nWARC-Target-URI: {url}\r\nWARC-Identified-Payload-Type: text/html\r\n"
            f"Content-Type: application/http; msgtype=response\r\nContent-Length: {len(http) + len(body)}\r\n\r\n"
        )
        yield head.encode() + http + body + b"\r\n\r\n"


def write_crawl(folder: Path, pages: int, seed: int = 1, a_file: int = PAGES_A_FILE) -> None:
    """Write the crawl as .warc.gz files, a gzip member a record, unless it is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, pages, a_file):
        path = folder / f"crawl-{start // a_file:04d}.warc.gz"
        if path.exists():
            continue
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            for record in records(start, min(pages, start + a_file), seed):
                file.write(gzip.compress(record, 6, mtime=0))
        part.replace(path)
