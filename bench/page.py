"""How fast the page is, in headless Chromium against a live server, beside the times it is held to.

    .venv/bin/python bench/page.py runs/demo            # a minute or two
    .venv/bin/python bench/page.py runs/demo --times 9

Times end when the browser has painted the last change. It exits with 1 where a median misses its line; on a machine
that does other work too they say little, hence the load beside them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

from load import Server
from playwright.sync_api import Browser, Page, sync_playwright

from cutaway.assistant.conversations import Conversations
from cutaway.corpus.built_in import built_in_documents
from cutaway.evals.markdown import markdown_table
from cutaway.serve.page import PAGE

CHROMIUM = Path("/usr/bin/chromium")
MESSAGES = 2_000
READ = 512
"""Tokens of the long prompt."""
SLOWER = 4

FIRST_VIEW = """
window.firstView = new Promise((done) => {
  const look = () => {
    const seen = document.querySelector('#main textarea')?.getBoundingClientRect().height;
    if (seen) setTimeout(() => done(performance.now()));
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
});
"""

CHANGES = """
() => {
  window.changes = [];
  window.asked = 0;
  const counted = (owner, name) => {
    const plain = owner[name];
    owner[name] = function (...given) {
      window.asked += 1;
      return plain.apply(this, given).finally(() => (window.asked -= 1));
    };
  };
  counted(window, 'fetch');
  for (const body of ['arrayBuffer', 'json']) counted(Response.prototype, body);
  const noted = () => requestAnimationFrame(() => setTimeout(() => window.changes.push(performance.now())));
  const all = { subtree: true, childList: true, attributes: true, characterData: true };
  new MutationObserver(noted).observe(document.querySelector('#main'), all);
}
"""
"""Notes when each change of the page has been painted; a canvas's is that its size is set, as before each painting."""

UNTIL_QUIET = """
async () => {
  window.changes.length = 0;
  const began = performance.now();
  %s
  let waited = 0;
  while ((window.asked || performance.now() - Math.max(began, window.changes.at(-1) ?? 0) < 600) && waited++ < 600)
    await new Promise((done) => setTimeout(done, 25));
  return (window.changes.at(-1) ?? Infinity) - began;
}
"""

TYPE = """
const box = document.querySelector('#prompt');
box.value = %s;
box.dispatchEvent(new Event('input', { bubbles: true }));
"""

CLICK = "window.parts[%d].dispatchEvent(new MouseEvent('click', { bubbles: true }));"

SCROLL = """
() => new Promise((done) => {
  const page = document.scrollingElement;
  const [began, bottom] = [performance.now(), page.scrollHeight - page.clientHeight];
  let frames = 0;
  const step = (now) => {
    frames += 1;
    page.scrollTop = bottom * Math.max(0, 1 - (now - began) / 4000);
    if (now - began < 4000) requestAnimationFrame(step);
    else done({ rate: (1000 * (frames - 1)) / (now - began), bottom });
  };
  requestAnimationFrame(step);
})
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a run or another reference, for example runs/demo")
    parser.add_argument("--times", type=int, default=5, help="measurements of each kind; their median counts")
    parser.add_argument("--port", type=int, default=0, help="of the server that is started for it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        history = Path(folder) / "conversations.db"
        server = Server([given.model], given.port, Path(folder), history)
        path = {"executable_path": str(CHROMIUM)} if CHROMIUM.exists() else {}
        browser = playwright.chromium.launch(args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"], **path)
        try:
            held = measured(Bench(browser, f"http://127.0.0.1:{server.port}", server.name, given.times), history)
        finally:
            browser.close()
            server.stop()
    sys.exit(0 if held else 1)


class Bench:
    """One browser and one server."""

    def __init__(self, browser: Browser, url: str, model: str, times: int) -> None:
        self.browser, self.url, self.model, self.times = browser, url, model, times

    def opened(self, query: dict[str, Any] | None = None, ready: str = "#main textarea") -> Page:
        """A page in a context of its own, hence with an empty cache."""
        page = self.browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(120_000)
        page.goto(f"{self.url}/?{urlencode(query or {})}")
        page.wait_for_selector(ready)
        return page

    def first_view(self) -> list[float]:
        """Milliseconds until the question box is painted, nothing cached, on a slower processor."""
        found: list[float] = []
        for _ in range(self.times):
            context = self.browser.new_context(viewport={"width": 1280, "height": 800})
            page = context.new_page()
            page.set_default_timeout(120_000)
            context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": SLOWER})
            page.add_init_script(FIRST_VIEW)
            page.goto(self.url)
            found.append(page.evaluate("window.firstView"))
            context.close()
        return found

    def changes(self, page: Page, change: Callable[[int], str]) -> list[float]:
        """Milliseconds from each change until what comes of it is painted; the first warms up."""
        page.wait_for_timeout(1500)
        page.evaluate(CHANGES)
        found = [page.evaluate(UNTIL_QUIET % change(i)) for i in range(self.times + 1)]
        page.context.close()
        return found[1:]

    def prompt(self, part: str) -> list[float]:
        """Another text under Inside, with one part of the network open."""
        texts = ("In the beginning God made the heaven and the", "The sky is blue because air scatters light and the")
        page = self.opened({"view": "inside", "part": part, "prompt": texts[1]}, "section[aria-label*='part'] table")
        return self.changes(page, lambda i: TYPE % json.dumps(texts[i % 2]))

    def long_attention(self) -> list[float]:
        """From the embedding to a block's attention and on to the next block's, over a long text."""
        text = next(document.text for document in built_in_documents() if len(document.text) >= 4000)
        page = self.opened({"view": "inside", "part": "embed", "prompt": text[:4000]}, "#main canvas")
        read = page.locator("ol[aria-label=Tokens] li").count()
        assert read == READ, f"{read} tokens are read instead of {READ}"
        name = page.get_by_role("button", name="attention")
        handles = [name.nth(i).element_handle() for i in range(2)]
        page.evaluate("parts => void (window.parts = parts)", handles)
        return self.changes(page, lambda i: CLICK % (i % 2))

    def scrolling(self, history: Path) -> list[float]:
        """Frames a second while a long conversation is scrolled from its end to its beginning."""
        page = self.opened({"conversation": self.converse(history)}, "article.answer")
        page.wait_for_timeout(3000)
        found = [page.evaluate(SCROLL) for _ in range(self.times)]
        page.context.close()
        assert all(each["bottom"] > MESSAGES * 10 for each in found), "the conversation is not all there"
        return [each["rate"] for each in found]

    def converse(self, history: Path) -> str:
        """A conversation of many messages, in which the model's answer to one question stands again and again."""
        first, ids = uuid4().hex, [uuid4().hex for _ in range(MESSAGES)]
        message = {"role": "user", "content": "Tell me about the sky, and about the sea."}
        keep = {"conversation": first, "parent": None, "question": uuid4().hex, "answer": uuid4().hex}
        body = {"model": self.model, "messages": [message], "max_tokens": 60, "seed": 1, "keep": keep}
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/api/chat", data, headers)) as response:
            response.read()
        store = Conversations(history)
        row = store.get("", first)
        assert row is not None
        answer, conversation = row.turns[-1], uuid4().hex
        for i, id_ in enumerate(ids):
            parent = ids[i - 1] if i else None
            if i % 2:
                store.keep("", conversation, turn=id_, parent=parent, role="assistant", text=answer.text,
                           model=self.model, detail=answer.detail)  # fmt: skip
            else:
                store.keep("", conversation, turn=id_, parent=parent, role="user", text=f"{i}: {message['content']}")
        store.close()
        return conversation


def compressed() -> float:
    """Kilobytes of the built page as gzip leaves them; fonts are compressed already."""
    files = [
        path for path in PAGE.rglob("*") if path.is_file() and path.suffix in (".html", ".js", ".css", ".svg", ".woff2")
    ]
    return sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) / 1000


def measured(bench: Bench, history: Path) -> bool:
    lines: list[tuple[str, list[float], str, float, str]] = [
        (f"first view, cold, processor {SLOWER}× slower", bench.first_view(), "<", 1500, "ms"),
        ("another prompt: next token", bench.prompt("unembed"), "<", 300, "ms"),
        ("another prompt: attention", bench.prompt("blocks.0.attn"), "<", 300, "ms"),
        (f"attention over {READ} tokens", bench.long_attention(), "<", 500, "ms"),
        (f"scrolling {MESSAGES:,} messages", bench.scrolling(history), "≥", 50, "frames/s"),
        ("the built page, compressed", [compressed()], "<", 1000, "kB"),
    ]
    rows: list[list[str]] = []
    every = True
    for what, found, sign, line, unit in lines:
        median = statistics.median(found)
        held = median < line if sign == "<" else median >= line
        every = every and held
        spread = f"{min(found):.0f}–{max(found):.0f}"
        rows.append([what, f"{median:.0f} {unit}", spread, f"{sign} {line:g} {unit}", "yes" if held else "NO"])
    print(markdown_table(["", "median", f"of {bench.times}", "line", "held"], rows))
    print(f"\nload of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    return every


if __name__ == "__main__":
    main()
