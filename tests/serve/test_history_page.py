"""Conversations on the page: kept on the server, in branches, and there again after a reload and a restart."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from playwright.sync_api import Page, Route, expect

from cutaway.assistant.conversations import Conversations

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Conversations]:
    store = Conversations(tmp_path / "conversations.db")
    yield store
    store.close()


@pytest.fixture
def live(serve_live: Any, store: Conversations) -> Any:
    return serve_live(conversations=store)


def ask(page: Page, question: str, answers: int) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(answers)


def kept(page: Page) -> Any:
    return page.get_by_role("region", name="Conversations")


def test_a_conversation_is_there_after_a_reload(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    ask(page, "And of boats", 2)
    expect(kept(page).locator(".name")).to_have_text(["Tell of ships"])
    expect(page).to_have_url(re.compile("conversation="))
    page.reload()
    expect(page.locator("article.question p:not(.acts)")).to_have_text(["Tell of ships", "And of boats"])
    expect(page.locator("article.answer")).to_have_count(2)
    # The tokens came back with what else could have stood there.
    token = page.locator("article.answer .token:not(.mark)").first
    token.hover()
    expect(page.get_by_role("complementary", name="Token")).to_contain_text("Chosen at")
    ask(page, "And of rafts", 3)
    (one,) = live.app.state.service.conversations.listed("")
    assert one.turns == 6


def test_a_stopped_answer_is_the_same_after_a_reload(page: Page, live: Any) -> None:
    live.lm.seconds_a_token = 0.005
    live.lm.script = lambda _: "light " * 200
    page.get_by_label("Question", exact=True).fill("go on")
    page.keyboard.press("Enter")
    tokens = page.locator("article.answer .token")
    expect(tokens.nth(3)).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    shown = tokens.count()
    page.reload()
    expect(page.locator("article.answer .figures")).to_contain_text("stopped")
    # The server had written on until it learnt of the stop; that much was shown as well.
    assert tokens.count() == shown


def test_after_a_reload_the_left_answer_is_still_the_left_one(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    page.get_by_label("Beside it").select_option("demo:pretrain")
    # What is beside is written last.
    page.get_by_role("button", name="Ask it as well").click()
    two = page.locator(".answers.two article.answer")
    expect(two.locator(".figures")).to_have_count(2)
    expect(two.locator("h3")).to_have_text(["demo", "demo:pretrain"])
    page.reload()
    expect(two.locator(".figures")).to_have_count(2)
    expect(two.locator("h3")).to_have_text(["demo", "demo:pretrain"])


def test_branches(page: Page, live: Any) -> None:
    replies = iter(["First.", "Second.", "Of whales."])
    live.lm.script = lambda _: next(replies)
    ask(page, "Tell of fish", 1)
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator("article.answer")).to_contain_text("Second.")
    expect(page.locator("article.answer")).to_contain_text("2 / 2")
    page.get_by_role("button", name="The answer before").click()
    expect(page.locator("article.answer")).to_contain_text("First.")
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("The question in other words").fill("Tell of whales")
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.locator("article.answer")).to_contain_text("Of whales.")
    page.reload()
    expect(page.locator("article.question")).to_contain_text("2 / 2")
    expect(page.locator("article.answer")).to_contain_text("Of whales.")
    page.get_by_role("button", name="The wording before").click()
    expect(page.locator("article.answer")).to_contain_text("Second.")


def test_found_renamed_exported_and_deleted(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    page.get_by_role("button", name="New").click()
    ask(page, "Tell of birds", 1)
    names = kept(page).locator(".name")
    expect(names).to_have_text(["Tell of birds", "Tell of ships"])
    page.get_by_label("Search conversations").fill("SHIPS")
    expect(names).to_have_text(["Tell of ships"])
    names.first.click()
    expect(page.locator("article.question p:not(.acts)")).to_have_text(["Tell of ships"])
    kept(page).get_by_role("button", name="Rename").click()
    page.get_by_label("Another title").fill("On ships")
    page.get_by_role("button", name="Keep").click()
    expect(names).to_have_text(["On ships"])
    with page.expect_download() as download:
        kept(page).get_by_role("link", name="Export").click()
    assert Path(download.value.path()).read_text().startswith("# On ships\n")
    kept(page).get_by_role("button", name="Delete").click()
    kept(page).get_by_role("button", name="Delete for good").click()
    page.get_by_label("Search conversations").fill("")
    expect(names).to_have_text(["Tell of birds"])
    expect(page.get_by_text("Ask your model something")).to_be_visible()


def test_deleted_while_an_answer_is_written(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    live.lm.seconds_a_token = 0.02
    live.lm.script = lambda _: "light " * 200
    page.get_by_label("Question", exact=True).fill("go on")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer").nth(1).locator(".token").nth(3)).to_be_visible()
    kept(page).get_by_role("button", name="Delete").click()
    kept(page).get_by_role("button", name="Delete for good").click()
    expect(page.get_by_text("Ask your model something")).to_be_visible()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(kept(page)).to_contain_text("None yet.")
    page.reload()
    expect(kept(page)).to_contain_text("None yet.")
    assert live.lm.running == 0


def test_back_and_forward_go_through_conversations(page: Page, live: Any) -> None:
    questions = page.locator("article.question p:not(.acts)")
    ask(page, "Tell of ships", 1)
    page.get_by_role("button", name="New conversation").click()
    expect(questions).to_have_count(0)
    ask(page, "Tell of birds", 1)
    kept(page).get_by_role("button", name="Tell of ships").click()
    expect(questions).to_have_text(["Tell of ships"])
    page.go_back()
    expect(questions).to_have_text(["Tell of birds"])
    page.go_back()
    expect(questions).to_have_text(["Tell of ships"])
    page.go_forward()
    expect(questions).to_have_text(["Tell of birds"])


def test_forward_to_a_conversation_that_had_not_begun(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    page.get_by_role("button", name="New conversation").click()
    expect(page.locator("article.question")).to_have_count(0)
    page.go_back()
    expect(page.locator("article.question")).to_have_count(1)
    page.go_forward()
    expect(page.locator("article.question")).to_have_count(0)
    expect(page.get_by_text("Ask your model something")).to_be_visible()
    expect(page).not_to_have_url(re.compile("conversation="))


def test_what_was_asked_before_the_list_came_is_named_in_the_address(page: Page, live: Any) -> None:
    held: list[Route] = []
    page.route(re.compile(r"/api/conversations(\?|$)"), lambda route: held.append(route))
    page.reload()
    ask(page, "Tell of ships", 1)
    expect(page).not_to_have_url(re.compile("conversation="))
    for route in held:
        route.continue_()
    page.unroute_all()
    expect(page).to_have_url(re.compile("conversation="))
    page.reload()
    expect(page.locator("article.question")).to_contain_text("Tell of ships")


def test_a_text_that_is_too_long_to_paste_is_told(page: Page, live: Any) -> None:
    field = page.get_by_label("Question", exact=True)
    full = page.get_by_text("This field is full")
    field.fill("word " * 19_999)
    expect(full).to_have_count(0)
    field.evaluate("e => { e.focus(); document.execCommand('insertText', false, 'and '.repeat(50)); }")
    expect(full).to_contain_text("100,000 characters")
    expect(field).to_have_js_property("textLength", 100_000)


def test_an_answer_that_failed_leaves_no_gap(page: Page, live: Any, trouble: list[str]) -> None:
    ask(page, "Tell of ships", 1)
    page.get_by_label("Question", exact=True).fill("fail")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    ask(page, "And of boats", 3)
    (one,) = live.app.state.service.conversations.listed("")
    found = live.app.state.service.conversations.get("", one.id)
    texts = {turn.id: turn.text for turn in found.turns}
    boats = next(turn for turn in found.turns if turn.text == "And of boats")
    assert texts[boats.parent] == "You said: Tell of ships"
    trouble.clear()


def test_hostile_titles_are_text(page: Page, live: Any) -> None:
    text = "<img src=x onerror=alert(1)> [a](javascript:alert(1))"
    ask(page, text, 1)
    expect(kept(page).locator(".name")).to_have_text([text])
    assert page.locator("img").count() == 0


@pytest.fixture
def long(page: Page, live: Any, store: Conversations) -> Page:
    """A conversation of 2,000 messages, opened by its address."""
    ask(page, "Tell of ships", 1)
    (one,) = store.listed("")
    first = store.get("", one.id)
    assert first is not None
    answer, conversation, parent = first.turns[-1], uuid4().hex, None
    for i in range(1000):
        question, reply = uuid4().hex, uuid4().hex
        store.keep("", conversation, turn=question, parent=parent, role="user", text=f"Question {i} of them")
        store.keep("", conversation, turn=reply, parent=question, role="assistant", text=answer.text, model="demo",
                   detail=answer.detail)  # fmt: skip
        parent = reply
    page.goto(f"{page.url.split('?')[0]}?conversation={conversation}")
    expect(page.locator("article.answer")).to_have_count(1000)
    return page


def asked(page: Page, number: int) -> Any:
    return page.get_by_role("log").get_by_text(f"Question {number} of them", exact=True)


def test_a_long_conversation_is_sent_whole_and_cut_by_what_the_model_reads(long: Page, live: Any) -> None:
    live.lm.config.context = 300
    with long.expect_response(lambda found: "/api/context" in found.url and "And now?" in str(found.request.post_data)):
        long.get_by_label("Question", exact=True).fill("And now?")
    bar = long.locator(".context")
    expect(bar).to_contain_text("are left out")
    left_out = int(re.findall(r"the oldest ([\d,]+) messages", bar.inner_text())[0].replace(",", ""))
    long.keyboard.press("Enter")
    expect(long.locator("article.answer")).to_have_count(1001)
    expect(long.locator("article.answer .figures").last).to_be_visible()
    assert left_out + live.lm.roles(live.lm.calls[-1]).count("user") * 2 - 1 == 2001
    expect(long.locator("p.cut ~ article.question, :has(> p.cut) ~ * article.question").first).to_be_attached()


def test_a_long_conversation_opens_at_its_end_and_is_drawn_near_the_view(long: Page) -> None:
    expect(asked(long, 999)).to_be_in_viewport()
    expect(long.get_by_role("button", name="Regenerate")).to_be_in_viewport()
    expect(long.locator("article.answer").last.locator(".token").first).to_be_visible()
    assert long.locator(".token").count() < 1000
    answers, tokens = long.locator("article.answer"), long.locator("article.answer .token")
    assert answers.first.locator(".token").count() == 0
    long.evaluate("scrollTo(0, 0)")
    expect(asked(long, 0)).to_be_in_viewport()
    answers.first.locator(".token").first.hover()
    expect(long.get_by_role("complementary", name="Token")).to_contain_text("Chosen at")
    # What is far away is plain again.
    long.evaluate("scrollTo(0, document.body.scrollHeight / 2)")
    expect(answers.first.locator(".token")).to_have_count(0)
    assert tokens.count() < 1000
    # What is read stays in view while what is around it is drawn.
    moved = long.evaluate(
        """async () => {
          scrollTo(0, document.body.scrollHeight / 3);
          await new Promise((done) => setTimeout(done, 50));
          const top = (element) => element.getBoundingClientRect().top;
          const seen = [...document.querySelectorAll('article.question')].find((element) => top(element) > 0);
          const before = top(seen);
          await new Promise((done) => setTimeout(done, 600));
          return [Math.abs(top(seen) - before), seen.closest('.stretch').querySelectorAll('.token').length];
        }"""
    )
    assert moved[0] < 200
    assert moved[1] > 0


def test_a_long_conversation_can_be_searched_and_gone_through_by_keys(long: Page) -> None:
    middle = asked(long, 500)
    assert long.evaluate("find('Question 500 of them')") is True
    expect(middle).to_be_in_viewport()
    # Each question's buttons are there to be tabbed to, and its answer's tokens as soon as one of them is.
    long.get_by_role("button", name="Edit").nth(250).focus()
    expect(asked(long, 250)).to_be_in_viewport()
    answer = long.locator("article.answer").nth(250)
    expect(answer.locator(".token").first).to_be_visible()
    long.keyboard.press("Tab")
    long.keyboard.press("ArrowRight")
    expect(answer.locator(".token.here")).to_have_count(1)
    # An edit that was begun is there when one comes back.
    long.get_by_role("button", name="Edit").nth(250).click()
    long.get_by_label("The question in other words").fill("And of rafts")
    long.get_by_label("Question", exact=True).focus()
    long.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(asked(long, 999)).to_be_in_viewport()
    expect(answer.locator(".token")).to_have_count(0)
    expect(long.get_by_label("The question in other words")).to_have_value("And of rafts")
