"""What Talk shows of an answer: its markup, its formulas, its tokens; and that nothing in an answer does anything."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.timeout(300)

MARKUP = """# Ships

A *small* boat, **not** a ship: `boat = 1` and [a page](https://example.org/boats).

| kind | crew |
|:-----|-----:|
| boat | 2 |
| ship | 40 |

1. first
2. second with $e^{i\\pi} + 1 = 0$ in it

```python
def sail(boat):
    return boat * 2
```

$$
\\int_0^1 x^2 \\, dx = \\frac{1}{3}
$$

Then a line of plain words
and one more.
"""


@pytest.fixture
def live(serve_live: Any) -> Any:
    live = serve_live()
    live.lm.config.context = 20_000
    return live


def ask(page: Page, live: Any, answer: str, question: str = "go on") -> None:
    live.lm.script = lambda _: answer
    done = page.locator("article.answer .figures")
    before = done.count()
    page.get_by_label("Most tokens").fill("")
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(done).to_have_count(before + 1)


def test_markup(page: Page, live: Any) -> None:
    ask(page, live, MARKUP)
    said = page.locator("article.answer .reply")
    expect(said.locator("h4")).to_have_text("Ships")
    expect(said.locator("em")).to_have_text("small")
    expect(said.locator("strong")).to_have_text("not")
    expect(said.locator("table tbody tr").nth(1).locator("td")).to_have_text(["ship", "40"])
    expect(said.locator("ol li")).to_have_count(2)
    expect(said.locator("li math")).to_have_count(1)
    expect(said.locator(".tex.block math[display=block] mfrac")).to_have_count(1)
    expect(said.locator("pre code")).to_have_text("def sail(boat):\n    return boat * 2\n")
    expect(said.locator(".code .head")).to_contain_text("python")
    link = said.get_by_role("link")
    expect(link).to_have_text("a page example.org")
    assert link.get_attribute("rel") == "noopener noreferrer"
    assert link.get_attribute("target") == "_blank"
    # What has no markup is still there token by token.
    words = said.locator("p.asis")
    expect(words).to_have_text("Then a line of plain words\nand one more.", use_inner_text=True)
    words.locator(".token").nth(2).hover()
    expect(page.get_by_role("complementary", name="Token")).to_contain_text("Chosen at")
