"""Takes the page's pictures for the README and the docs, in headless Chromium, of runs that were trained.

    .venv/bin/python bench/pictures.py runs/demo                 # all of them into docs/images
    .venv/bin/python bench/pictures.py runs/demo runs/other --only watch --out /tmp/pictures

What stands in them is what the models answer and what the runs recorded; a console error or a failed request ends it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

from load import Server
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
ASKED = ("Who are you?", "What is 4821 * 7093?", "What is 47 + 36?")


def talk(page: Page, url: str) -> None:
    """Three questions, and what else could have stood at one token of the last answer."""
    page.goto(f"{url}/?{urlencode({'temperature': 0, 'max_tokens': 96})}")
    for i, question in enumerate(ASKED):
        page.get_by_label("Question").fill(question)
        page.keyboard.press("Enter")
        expect(page.get_by_text("mean probability")).to_have_count(i + 1, timeout=60_000)
    page.locator("article.answer").last.locator("[data-index]", has_text=re.compile("^8$")).first.hover()


def inside(page: Page, url: str) -> None:
    """One head of the attention of one block."""
    page.goto(f"{url}/?{urlencode({'view': 'inside', 'part': 'blocks.2.attn'})}")
    expect(page.locator("figure canvas").first).to_be_visible()


def watch(page: Page, url: str) -> None:
    """The curves of the first trained stage."""
    page.goto(f"{url}/?view=watch")
    for box in page.get_by_role("group", name="Runs").get_by_role("checkbox").all()[:2]:
        box.check()
    expect(page.locator("figure").first).to_be_visible()


def atlas(page: Page, url: str) -> None:
    """The atlas's page of embeddings."""
    page.goto(f"{url}/?view=atlas&page=embeddings")
    expect(page.locator("figure").first).to_be_visible()


PICTURES: dict[str, Callable[[Page, str], None]] = {"talk": talk, "inside": inside, "watch": watch, "atlas": atlas}
WHOLE = ("inside", "watch")
"""Those of which the whole page is taken, however long."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", help="runs to show, the first one's model in all pictures")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(given.runs, 0, Path(folder), Path(folder) / "conversations.db")
        path = {"executable_path": str(CHROMIUM)} if CHROMIUM.exists() else {}
        browser = playwright.chromium.launch(args=["--no-sandbox"], **path)
        try:
            for name in given.only:
                page = browser.new_page(viewport={"width": 1280, "height": 800}, reduced_motion="reduce")
                page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
                # A stream that has been read to its end is let go of.
                page.on("requestfailed", lambda each: wrong.append(each.url) if "chat" not in each.url else None)
                PICTURES[name](page, f"http://127.0.0.1:{server.port}")
                page.wait_for_load_state("networkidle")
                page.wait_for_timeout(1000)
                page.screenshot(path=given.out / f"{name}.png", full_page=name in WHOLE)
                page.close()
        finally:
            browser.close()
            server.stop()
    sys.exit("\n".join(wrong) or 0)


if __name__ == "__main__":
    main()
