"""The page in a browser: a person asks, reads, points at tokens.

CUTAWAY_SCREENSHOTS=runs/demo writes the documentation's pictures into docs/images/, of that run and its own numbers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from cutaway.corpus import World
from cutaway.serve import Access
from cutaway.serve.offers import offers

IMAGES = Path(__file__).parents[2] / "docs" / "images"


# Starting a browser on a busy machine can take a minute by itself.
pytestmark = pytest.mark.timeout(300)

ANSWER = "I am a small language model that was trained on this machine.\n\nIn the beginning I knew nothing."


@pytest.fixture
def live(serve_live: Any) -> Any:
    live = serve_live()
    live.view = "/?answers=tokens"
    live.lm.script = lambda question: ANSWER if "who" in question.lower() else f"You said: {question}"
    (live.run / "corpus").mkdir()
    (live.run / "corpus" / "world.json").write_text(World.generate(seed=1, people=5, places=3).to_json())
    (live.run / "report.html").write_text("<h1>The report</h1>")
    return live


def ask(page: Page, question: str) -> None:
    answers = page.locator("article.answer .figures")
    before = answers.count()
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(answers).to_have_count(before + 1)


def said(page: Page, answer: int = -1) -> str:
    tokens = page.locator("article.answer").nth(answer).locator(".token:not(.mark)")
    return "".join(tokens.all_text_contents())


def test_talk_and_point(page: Page, live: Any) -> None:
    page.get_by_role("button", name="Who are you?").click()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    assert said(page) == ANSWER
    # Every number in the panel is the server's.
    token = page.locator("article.answer .token").nth(5)
    token.hover()
    panel = page.get_by_role("complementary", name="Token")
    expect(panel).to_contain_text("Chosen at")
    rows = panel.locator("tbody tr")
    assert rows.count() in (10, 11)
    expect(panel.locator(".chosen-row")).to_have_count(1)
    percentages = [float(text.strip("<>%")) for text in panel.locator(".number").all_text_contents()]
    assert sum(percentages) == pytest.approx(100, abs=2)
    expect(page.locator("svg path[d*='M']").last).to_be_attached()
    page.keyboard.press("Escape")
    expect(panel).not_to_contain_text("Chosen at")


def test_an_answer_comes_token_by_token_and_can_be_stopped(page: Page, live: Any) -> None:
    live.lm.seconds_a_token = 0.05
    live.lm.script = lambda _: "light " * 60
    page.get_by_label("Question", exact=True).fill("go on")
    page.get_by_role("button", name="Send").click()
    expect(page.locator("article.answer .token").nth(3)).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article.answer .figures")).to_contain_text("stopped")
    shown = page.locator("article.answer .token").count()
    assert 3 < shown < 50
    page.wait_for_timeout(300)
    assert live.taken == 0
    live.lm.seconds_a_token = 0
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator("article.answer .figures")).not_to_contain_text("stopped")
    assert said(page) == "light " * 60
    page.get_by_role("button", name="New conversation").click()
    expect(page.get_by_text("Ask your model something")).to_be_visible()


def test_keyboard_alone(page: Page) -> None:
    page.get_by_label("Question", exact=True).focus()
    page.keyboard.type("hello")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("there")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    assert said(page) == "You said: hello\nthere"
    for _ in range(4):
        page.keyboard.press("Shift+Tab")
        if page.locator(".reply:focus").count():
            break
    expect(page.locator(".reply")).to_be_focused()
    panel = page.get_by_role("complementary", name="Token")
    expect(panel.locator(".chosen b")).to_be_visible()
    page.keyboard.press("ArrowRight")
    assert page.locator(".token.here").get_attribute("data-index") == "1"
    page.keyboard.press("End")
    expect(panel.locator(".chosen b")).to_have_text("<|end|>")
    page.keyboard.press("Home")
    assert page.locator(".token.here").get_attribute("data-index") == "0"


def test_a_tool_is_folded_and_what_it_put_there_is_marked(page: Page, live: Any) -> None:
    ask(page, "calculate 1234*5678")
    summary = page.locator("summary")
    expect(summary).to_have_text("calculator 1234*5678 = 7006652", use_inner_text=True)
    forced = page.locator(".token.forced")
    expect(forced.first).to_be_hidden()
    summary.click()
    expect(forced.first).to_be_visible()
    assert "".join(page.locator(".token.forced:not(.mark)").all_text_contents()) == "7006652"
    forced.nth(1).hover()
    expect(page.get_by_role("complementary", name="Token")).to_contain_text("Put here by the calculator")
    ask(page, "thanks")
    assert live.lm.roles(live.lm.calls[-1]) == ["user", "assistant", "tool", "assistant", "user"]


def test_settings_are_sent_and_kept_in_the_address(page: Page, live: Any) -> None:
    page.get_by_label("sft").check()
    page.get_by_label("pretrain").check()
    page.get_by_label("System prompt").fill("Be brief.")
    page.get_by_label("Temperature").fill("0.8")
    page.get_by_label("Top-p").fill("0.9")
    page.get_by_label("Most tokens").fill("7")
    page.get_by_label("Seed").fill("11")
    page.get_by_label("Tokens, coloured by probability").check()
    ask(page, "hello")
    call = live.lm.calls[-1]
    assert call.max_tokens == 7
    assert (call.sampling.temperature, call.sampling.top_p, call.sampling.seed) == (0.8, 0.9, 11)
    system = [{"role": "system", "content": "Be brief."}]
    opening = live.lm.tokenizer.encode_chat(system, generate=False)
    assert call.prompt[: len(opening)] == opening
    expect(page.locator("article.answer h3")).to_have_text("demo:pretrain")
    expect(page.locator(".token.shaded").first).to_be_visible()
    assert "cut: most tokens reached" in (page.locator(".figures").text_content() or "")
    page.reload()
    expect(page.get_by_label("Temperature")).to_have_value("0.8")
    expect(page.get_by_label("pretrain")).to_be_checked()
    expect(page.get_by_label("System prompt")).to_have_value("Be brief.")
    expect(page.get_by_label("Seed")).to_have_value("11")


def test_what_is_changed_fast_is_there_after_a_reload(page: Page, live: Any) -> None:
    """A slider that is dragged changes more often than a browser lets a page change its address."""
    slider = page.get_by_label("Temperature")
    slider.evaluate(
        """e => {
          for (let i = 1; i <= 120; i++) setTimeout(() => {
            e.value = i / 100;
            e.dispatchEvent(new Event('input', { bubbles: true }));
            if (i === 120) location.reload();
          }, 10 * i);
        }"""
    )
    page.wait_for_url(re.compile("temperature=1.2(&|$)"))
    expect(slider).to_have_value("1.2")


def test_tokens_of_a_text_and_of_the_conversation(page: Page, live: Any) -> None:
    ask(page, "Hi there")
    page.get_by_role("button", name="Tokens", exact=True).click()
    boxes = page.get_by_label("Tokens", exact=True).locator("li:not(.break)")
    expect(boxes.first).to_contain_text("endoftext")
    messages = [{"role": "user", "content": "Hi there"}, {"role": "assistant", "content": "You said: Hi there"}]
    expected = live.lm.tokenizer.encode_chat(messages)
    assert [int(text) for text in boxes.locator(".id").all_text_contents()] == expected
    page.get_by_label("a text").check()
    page.get_by_label("Text", exact=True).fill("two  words\n日")
    expect(boxes.last).to_contain_text("‹A5›")
    texts = boxes.locator(".text").all_text_contents()
    assert "".join(texts) == "two··words⏎‹E6›‹97›‹A5›"
    ids = [int(text) for text in boxes.locator(".id").all_text_contents()]
    assert ids == live.lm.tokenizer.encode("two  words\n日")
    page.go_back()
    expect(page.get_by_role("log", name="Conversation")).to_be_visible()


def test_report(page: Page, live: Any) -> None:
    with page.expect_popup() as popup:
        page.get_by_role("link", name="Report").click()
    expect(popup.value.get_by_role("heading", name="The report")).to_be_visible()


HOSTILE = (
    "<img src=x onerror=alert(1)><script>alert(1)</script><svg onload=alert(1)> [x](javascript:alert(1)) "
    "<style>*{display:none}</style> ![](http://evil.example/beacon) \u202eesrever\u202c &lt;b&gt; {@html 1} \x07"
)


def test_hostile_output_is_inert(page: Page, live: Any) -> None:
    live.lm.config.context = 2000
    live.lm.script = lambda _: HOSTILE
    ask(page, f"say {HOSTILE[:40]}")
    assert said(page) == HOSTILE.replace("\u202e", "‹U+202E›").replace("\u202c", "‹U+202C›").replace("\x07", "‹U+0007›")
    assert page.locator("article img, article script, article style, article svg").count() == 0
    assert page.locator("article a").count() == 0
    page.locator(".token").nth(3).hover()
    page.get_by_role("button", name="Tokens", exact=True).click()
    expect(page.get_by_label("Tokens", exact=True).locator("li").first).to_be_visible()
    assert page.locator("main img, main script, main style").count() == 0


def test_errors_are_told(page: Page, live: Any, trouble: list[str]) -> None:
    page.get_by_label("Question", exact=True).fill("long " * 200)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("the model's context is 256")
    ask(page, "fail")
    expect(page.get_by_role("alert").last).to_contain_text("the server failed while answering")
    ask(page, "hello")
    assert said(page) == "You said: hello"
    assert live.lm.roles(live.lm.calls[-1]) == ["user"]
    assert all("400" in line for line in trouble)  # the browser itself logs it
    trouble.clear()


PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "color_scheme": "dark"}


def test_what_an_address_names_in_vain_is_told(page: Page, live: Any) -> None:
    expect(page.get_by_role("heading", name="Ask your model something")).to_be_visible()
    expect(page.get_by_text("This server has no model")).to_have_count(0)
    # Opened with nothing to follow, it stands at its beginning.
    assert page.evaluate("scrollY") == 0
    page.goto(f"{live.url}/?model=other&beside=demo/none")
    expect(page.get_by_text("This server has no model other and no demo/none. demo answers instead.")).to_be_visible()
    page.goto(f"{live.url}/?beside=none")
    expect(page.get_by_text(re.compile(r"no model none\.$"))).to_be_visible()
    page.goto(f"{live.url}/?view=atlas&page=nowhere")
    expect(page.get_by_text("The atlas has no page nowhere.")).to_be_visible()
    expect(page.get_by_role("heading", name="Atlas")).to_be_visible()


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_phone(page: Page, fits: Callable[[str], None]) -> None:
    ask(page, "Who are you?")
    page.locator(".token").nth(5).tap()
    panel = page.get_by_role("complementary", name="Token")
    expect(panel).to_contain_text("Chosen at")
    box, token = panel.bounding_box(), page.locator(".token.here").bounding_box()
    assert box is not None
    assert token is not None
    assert token["y"] + token["height"] <= box["y"]  # the panel does not cover what it tells of
    page.get_by_role("button", name="Close").click()
    expect(panel).to_be_hidden()
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("Temperature").fill("0")
    expect(page.locator("summary", has_text="temperature 0")).to_be_visible()
    for view in ("Tokens", "Talk"):
        page.get_by_role("button", name=view, exact=True).click()
        fits(view)


def test_token_needed(browser: Browser, serve_live: Any) -> None:
    live = serve_live(access=Access(token="0123456789abcdef"))
    context = browser.new_context()
    page = context.new_page()
    page.goto(live.url)
    page.get_by_label("Token").fill("wrong")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("alert")).to_contain_text("not the one")
    page.get_by_label("Token").fill("0123456789abcdef")
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_text("Ask your model something")).to_be_visible()
    context.clear_cookies()
    page.goto(f"{live.url}/health")
    page.goto(f"{live.url}/#token=0123456789abcdef")
    expect(page.get_by_text("Ask your model something")).to_be_visible()
    assert "token" not in page.url
    context.close()


@pytest.mark.skipif("CUTAWAY_SCREENSHOTS" not in os.environ, reason="CUTAWAY_SCREENSHOTS names no run to show")
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        ("", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}),
        ("-dark", {"viewport": {"width": 1280, "height": 800}, "color_scheme": "dark"}),
        ("-phone", {"viewport": {"width": 390, "height": 844}, "color_scheme": "light"}),
    ],
)
def test_pictures(
    browser: Browser, serve_live: Any, monkeypatch: pytest.MonkeyPatch, suffix: str, options: dict[str, Any]
) -> None:
    monkeypatch.undo()  # this time the models speak for themselves
    live = serve_live(offers(os.environ["CUTAWAY_SCREENSHOTS"].split()))
    IMAGES.mkdir(parents=True, exist_ok=True)
    context = browser.new_context(**options)
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"{live.url}/?temperature=0&answers=tokens")
    for question in ("Who are you?", "What is 4821 * 7093?", "What is 47 + 36?"):
        ask(page, question)
    # The token that the model was least sure of has the most to show.
    tokens = page.locator("article.answer").last.locator(".token:not(.mark)")
    doubts: list[float] = []
    for i in range(tokens.count()):
        tokens.nth(i).hover()
        chance = page.locator("#inspector .said strong").text_content() or ""
        doubts.append(float(chance.strip("<>%")))
    tokens.nth(doubts.index(min(doubts))).hover()
    page.wait_for_timeout(300)
    page.screenshot(path=IMAGES / f"talk{suffix}.png")
    page.get_by_role("button", name="Tokens", exact=True).click()
    expect(page.get_by_label("Tokens", exact=True).locator("li").first).to_be_visible()
    page.screenshot(path=IMAGES / f"tokens{suffix}.png")
    page.goto(f"{live.url}/?view=inside&part=blocks.1.attn&head=2")
    expect(page.get_by_role("heading", name="Head 2")).to_be_visible()
    page.wait_for_timeout(500)
    page.screenshot(path=IMAGES / f"inside{suffix}.png", full_page=not suffix.endswith("phone"))
    context.close()
