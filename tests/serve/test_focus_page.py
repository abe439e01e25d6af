"""Talk by the keyboard: the focus goes on where a button goes away by being pressed; fields hold what they show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

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


def press(page: Page, button: Locator) -> None:
    # A key before, so that the browser takes the focus for one of the keyboard.
    page.keyboard.press("Shift")
    button.focus()
    page.keyboard.press("Enter")


def ask(page: Page, question: str, answers: int) -> None:
    page.get_by_label("Question", exact=True).fill(question)
    page.keyboard.press("Enter")
    expect(page.locator("article.answer .figures")).to_have_count(answers)


def named(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def test_the_focus_goes_on(page: Page, live: Any) -> None:
    live.lm.script = lambda _: "The sky is blue."
    question = page.get_by_label("Question", exact=True)
    question.fill("Why?")
    press(page, named(page, "Send"))
    expect(question).to_be_focused()
    expect(named(page, "Regenerate")).to_be_visible()
    press(page, named(page, "Regenerate"))
    expect(question).to_be_focused()
    expect(named(page, "The answer before")).to_be_enabled()
    # The way back cannot be gone any further: the other way has the focus.
    press(page, named(page, "The answer before"))
    expect(named(page, "The answer after")).to_be_focused()
    press(page, named(page, "Edit"))
    expect(page.get_by_label("The question in other words")).to_be_focused()
    page.keyboard.press("Escape")
    expect(named(page, "Edit")).to_be_focused()
    press(page, named(page, "Edit"))
    page.keyboard.type(" And when?")
    press(page, named(page, "Ask"))
    expect(question).to_be_focused()


def test_the_focus_goes_on_when_a_token_is_forced(page: Page, live: Any) -> None:
    live.lm.script = lambda _: "The sky is blue."
    ask(page, "Why?", 1)
    page.keyboard.press("Shift")
    page.locator(".reply").focus()
    page.keyboard.press("ArrowRight")
    press(page, page.locator("#inspector table button").first)
    expect(page.get_by_role("complementary", name="Token")).to_be_focused()


def test_the_focus_goes_on_in_the_history(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    press(page, named(page, "Rename"))
    expect(page.get_by_label("Another title")).to_be_focused()
    page.keyboard.press("Escape")
    expect(named(page, "Rename")).to_be_focused()
    press(page, named(page, "Delete"))
    expect(named(page, "No")).to_be_focused()
    page.keyboard.press("Enter")
    expect(named(page, "Delete")).to_be_focused()
    page.keyboard.press("Enter")
    press(page, named(page, "Delete for good"))
    expect(page.get_by_label("Search conversations")).to_be_focused()
    expect(page.locator("article.answer")).to_have_count(0)


def test_what_cannot_be_deleted_stays_and_says_so(page: Page, live: Any, trouble: list[str]) -> None:
    ask(page, "Tell of ships", 1)
    page.route("**/api/conversations/*", lambda route: route.fulfill(status=500, json={}))
    named(page, "Delete").click()
    named(page, "Delete for good").click()
    expect(page.get_by_role("region", name="Conversations").get_by_role("alert")).to_be_visible()
    expect(page.locator("article.answer")).to_have_count(1)
    assert all("500" in each for each in trouble)
    trouble.clear()


def test_a_question_asked_while_a_conversation_is_on_its_way_stays(page: Page, live: Any) -> None:
    ask(page, "Tell of ships", 1)
    held: list[Route] = []
    page.route("**/api/conversations/*", lambda route: held.append(route))
    page.reload()
    ask(page, "And of whales", 1)
    assert held
    with page.expect_response("**/api/conversations/*"):
        held[0].continue_()
    page.wait_for_timeout(300)
    expect(page.locator("article.question p:not(.acts)")).to_have_text(["And of whales"])


@pytest.mark.parametrize(
    ("field", "given", "holds"),
    [
        ("Most tokens", ("-5", "-7", "0"), "1"),
        ("Most tokens", ("1e9", "1e30"), "1000000"),
        ("Seed", ("-5", "-7"), "0"),
        ("Seed", ("1e30", "1e40"), "9007199254740991"),
    ],
)
def test_a_number_that_is_none_is_not_shown(
    page: Page, live: Any, field: str, given: tuple[str, ...], holds: str
) -> None:
    for number in given:
        page.get_by_label(field, exact=True).fill(number)
        page.keyboard.press("Tab")
        expect(page.get_by_label(field, exact=True)).to_have_value(holds)
    ask(page, "Tell of ships", 1)
    expect(page.locator("article.answer [role=alert]")).to_have_count(0)
