"""What Talk shows of an answer: its markup, its formulas, its tokens; and that nothing in an answer does anything."""

from __future__ import annotations

import re
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


def test_a_token_is_forced_and_the_answer_goes_on_as_a_branch(page: Page, live: Any) -> None:
    live.lm.script = lambda _: "The sky is blue because air scatters blue light."
    page.get_by_label("Question", exact=True).fill("Why?")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    token = page.locator("article.answer .token").nth(4)
    index = int(token.get_attribute("data-index") or "")
    token.hover()
    panel = page.get_by_role("complementary", name="Token")
    other = panel.locator("tbody tr:not(.chosen-row) button").first
    put = other.text_content()
    other.click()
    expect(page.locator("article.answer .branches")).to_contain_text("2 / 2")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    prompt = live.lm.calls[-1].prompt
    begun = [int(i) for i in prompt[-index - 1 :]]
    expect(page.locator("article.answer .token.forced")).to_have_count(1)
    assert page.locator("article.answer .token.forced").get_attribute("data-index") == str(index)
    expect(panel.locator(".chosen b")).to_have_text(put or "")
    expect(panel).to_contain_text("Put here by you")
    # All of it up to there is what was said before, and is told with what the model thinks of it.
    answer = live.lm.tokenizer.encode(live.lm.script(""))
    assert begun[:-1] == answer[:index]
    assert live.lm.calls[-1].prompt_steps
    page.get_by_role("button", name="The answer before").click()
    expect(page.locator("article.answer .token.forced")).to_have_count(0)


def test_the_star_of_a_product_is_no_markup(page: Page, live: Any) -> None:
    said = "34*6: 4*6=24. 3*6=18. 2**3 is 8 and 3**2 is 9, 2*π*r"
    ask(page, live, said)
    reply = page.locator("article.answer .reply")
    expect(reply).to_have_text(said)
    expect(reply.locator(".asis")).to_have_count(1)
    ask(page, live, "*4*6* is **4*6**, (*so*) and 他*说*了: 5 * 6 * 7")
    reply = page.locator("article.answer .reply").last
    expect(reply).to_have_text("4*6 is 4*6, (so) and 他说了: 5 * 6 * 7")
    expect(reply.locator("em")).to_have_text(["4*6", "so", "说"])
    expect(reply.locator("strong")).to_have_text("4*6")


def test_a_question_that_does_not_fit_is_not_sent(page: Page, live: Any) -> None:
    question = page.get_by_label("Question", exact=True)
    send = page.get_by_role("button", name="Send")
    question.fill("word " * 19_000)
    expect(page.get_by_text("too long to be sent")).to_be_visible()
    expect(send).to_be_disabled()
    question.press("Enter")
    expect(page.locator("article.answer")).to_have_count(0)
    question.fill("word")
    expect(send).to_be_enabled()
    expect(page.get_by_text("too long to be sent")).to_have_count(0)


def test_two_models_side_by_side(page: Page, live: Any) -> None:
    page.get_by_label("Beside it").select_option("demo:pretrain")
    page.get_by_label("Question", exact=True).fill("Hello")
    page.keyboard.press("Enter")
    answers = page.locator(".answers.two article.answer")
    expect(answers).to_have_count(2)
    expect(answers.locator(".figures")).to_have_count(2)
    expect(answers.locator("h3")).to_have_text(["demo", "demo:pretrain"])
    left, right = (answers.nth(i).bounding_box() for i in (0, 1))
    assert left is not None
    assert right is not None
    assert left["x"] + left["width"] <= right["x"]
    # Both were asked the same; the conversation goes on from the left one.
    assert live.lm.calls[-1].prompt == live.lm.calls[-2].prompt
    expect(page).to_have_url(re.compile("beside=demo%3Apretrain"))
    page.get_by_label("Question", exact=True).fill("And now?")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(4)
    assert live.lm.roles(live.lm.calls[-1]) == ["user", "assistant", "user"]
    page.get_by_label("Beside it").select_option("demo:sft")
    page.get_by_role("button", name="Ask it as well").last.click()
    expect(page.locator("article.answer .figures")).to_have_count(3)


def test_the_context_and_what_is_left_out(page: Page, live: Any) -> None:
    live.lm.config.context = 100
    live.lm.script = lambda _: "The sky is blue because air scatters blue light."
    page.get_by_label("Most tokens").fill("20")
    page.get_by_label("Question", exact=True).fill("Why is the sky blue?")
    bar = page.locator(".context")
    expect(bar).to_contain_text("of 100 tokens")
    for at in range(4):
        page.get_by_label("Question", exact=True).fill("Why is the sky blue?")
        page.keyboard.press("Enter")
        expect(page.locator("article.answer .figures")).to_have_count(at + 1)
    page.get_by_label("Question", exact=True).fill("And now?")
    expect(bar).to_contain_text("are left out")
    cut, read = (
        float(bar.locator(part).evaluate("e => e.getBoundingClientRect().width")) for part in (".cut", ".read")
    )
    assert cut > 0
    assert read > 0
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(5)
    assert len(live.lm.calls[-1].prompt) <= 100 - 20
    expect(page.get_by_text("The model no longer reads what stands above")).to_be_visible()
    shown = page.locator("p.cut + article.question ~ article.question").count() + 1
    assert shown == live.lm.roles(live.lm.calls[-1]).count("user")


def test_reasoning_is_folded(page: Page, live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from cutaway.serve import page_api

    live.lm.script = lambda _: "The sky is blue because air scatters blue light."
    ids = live.lm.tokenizer.encode(live.lm.script(""))
    monkeypatch.setattr(page_api, "THINK", live.lm.tokenizer.decode([ids[1]]))
    monkeypatch.setattr(page_api, "THOUGHT", live.lm.tokenizer.decode([ids[4]]))
    page.get_by_label("Question", exact=True).fill("Why?")
    page.keyboard.press("Enter")
    folded = page.locator("article.answer details")
    expect(folded.locator("summary")).to_have_text("Reasoning 4 tokens", use_inner_text=True)
    expect(folded.locator(".prose")).to_be_hidden()
    folded.locator("summary").click()
    expect(folded.locator(".prose")).to_have_text(live.lm.tokenizer.decode(ids[1:5]).strip())


def test_code_is_copied(page: Page, live: Any) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    ask(page, live, "```\nx = 1\n```\n")
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == "x = 1\n"


def test_it_grows_without_blocks_being_made_anew(page: Page, live: Any) -> None:
    """What stands is left alone while the rest is written: it does not flicker, and the time does not grow with it."""
    live.lm.seconds_a_token = 0.003
    live.lm.script = lambda _: MARKUP * 4
    page.get_by_label("Most tokens").fill("")
    page.get_by_label("Question", exact=True).fill("go on")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer h4").nth(1)).to_be_visible()
    page.evaluate(
        "document.querySelector('article.answer h4').mine = document.querySelector('article.answer td').mine = 1"
    )
    expect(page.locator("article.answer .figures")).to_have_count(1, timeout=60_000)
    assert page.evaluate("document.querySelector('article.answer h4').mine === 1") is True
    assert page.evaluate("document.querySelector('article.answer td').mine === 1") is True
    expect(page.locator("article.answer h4")).to_have_count(4)
