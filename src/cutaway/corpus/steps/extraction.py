"""The text of a page's HTML, without navigation, banners, forms and footers.

Bevendorff et al. 2023, "An Empirical Comparison of Web Content Extraction Algorithms", compares the extractors;
Penedo et al. 2024, "The FineWeb Datasets", section 3.2, chose trafilatura (Barbaresi 2021) over the crawl's own WET
text. Li et al. 2024, "DataComp-LM", section 4.2, found resiliparse as good for the trained models, and eight times
faster.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.sources.bounds import LARGEST_PAGE, Unreadable
from cutaway.corpus.sources.decoding import decoded, missing_extra, printable
from cutaway.corpus.sources.sandbox import sandboxed
from cutaway.runs.recipe import Settings

NO_CONTENT = ("nav", "footer", "header", "aside", "form", "dialog", "menu", "[role=navigation]", "[role=banner]")
"""CSS selectors of what is left out where the main content was not found and the whole page is taken."""

LEAST_SHARE = 0.2
"""Where less of the whole page's text than this counts as main content, it was not found."""

LEAST_WORDS = 50
"""With fewer words a page is not worth more than what resiliparse makes of it."""


class ExtractionSettings(Settings):
    """How HTML becomes text."""

    extractor: Literal["main", "resiliparse", "trafilatura"] = "main"
    """resiliparse's main content, or trafilatura with FineWeb's settings. `main` is the former, with the whole page in
    its place where it finds next to nothing in a page that has text."""
    seconds: float = Field(5.0, gt=0, le=600)
    """Of processor time that one page may take."""
    largest: int = Field(4 * 2**20, ge=1, le=LARGEST_PAGE)
    """Bytes of HTML. A larger page is a table of data, or an attack."""


class Extraction:
    """Turns a page's `html` into `text`; pages that came as text pass unchanged."""

    name = "extraction"

    def __init__(self, settings: ExtractionSettings) -> None:
        self.settings = settings

    def __call__(self, page: Page) -> Removal | None:
        """None keeps the page; its `html` is let go of in any case."""
        html, page.html = page.html, None
        if html is None:
            return None
        if len(html) > self.settings.largest:
            return Removal("page_size", len(html), self.settings.largest)
        try:
            page.text = sandboxed(
                html_text, html, self.settings.seconds, extractor=self.settings.extractor, encoding=page.encoding or ""
            )
        except Unreadable as reason:
            return Removal("unreadable", str(reason), f"{self.settings.seconds:g} s, no crash")
        return None if page.text else Removal("characters", 0, 1)


def html_text(html: bytes, extractor: str, encoding: str = "") -> str:
    """The text of a page, "" where there is none.

    To be called in the sandbox: in pages that are nested 100,000 deep each of these libraries takes minutes.
    """
    source = decoded(html, encoding or None, html=True).replace("\0", "")
    try:
        text = _trafilatura(source) if extractor == "trafilatura" else _resiliparse(source, whole=extractor == "main")
    except ImportError as error:
        raise missing_extra(error) from None
    return printable(text).strip()


def _resiliparse(source: str, whole: bool) -> str:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(source)
    main = extract_plain_text(tree, main_content=True)
    # All text nodes are more than the whole page's text: where even of them the main content is enough, it was found.
    if not whole or tree.body is None or len(main) >= LEAST_SHARE * len(tree.body.text or ""):
        return main
    everything = extract_plain_text(tree, skip_elements=NO_CONTENT)
    found_next_to_nothing = len(main) < LEAST_SHARE * len(everything) and len(everything.split()) >= LEAST_WORDS
    return everything if found_next_to_nothing else main


def _trafilatura(source: str) -> str:
    from trafilatura import extract

    # As datatrove's block calls it, with which FineWeb was made.
    return extract(source, favor_precision=True, include_comments=False, deduplicate=True) or ""
