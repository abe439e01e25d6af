"""Conversations on the page: kept on the server, in branches, and there again after a reload and a restart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

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
    assert "conversation=" in page.url
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
