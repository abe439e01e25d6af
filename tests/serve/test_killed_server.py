"""A server that is killed in the middle of ten answers: what was finished is there, and the page finds its way back."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from playwright.sync_api import Browser, expect

from cutaway.assistant.conversations import new_id
from cutaway.model import ModelConfig, Transformer, save_model
from cutaway.tokens import Tokenizer

pytestmark = pytest.mark.timeout(300)


class Killable:
    """`cutaway serve` as a process of its own."""

    def __init__(self, model: Path, history: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.command = [sys.executable, "-m", "cutaway", "serve", str(model), "--port", str(self.port)]
        self.command += ["--history", str(history)]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(self.command, stderr=subprocess.DEVNULL, env=environment)
        until = time.monotonic() + 90
        while time.monotonic() < until:
            try:
                if httpx.get(f"{self.url}/health", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.2)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def killable(tmp_path: Path, tokenizer: Tokenizer) -> Iterator[Killable]:
    torch.manual_seed(0)
    model = tmp_path / "tiny"
    # Untrained: its likeliest tokens go round in a circle, and never come to an end.
    save_model(
        Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=16384)), model,
        token_ids=tokenizer.token_ids,
    )  # fmt: skip
    tokenizer.save(model)
    server = Killable(model, tmp_path / "conversations.db")
    server.start()
    yield server
    server.kill()


def chat(url: str, conversation: str, most: int, parent: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events of an answer; at the first its ids."""
    keep = {"conversation": conversation, "parent": parent, "question": new_id(), "answer": new_id()}
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Go on"}], "max_tokens": most, "keep": keep}
    yield "keep", keep
    with httpx.stream("POST", f"{url}/api/chat", json=body, timeout=60) as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])


def test_no_finished_message_is_lost(killable: Killable, tmp_path: Path) -> None:
    finished: list[tuple[str, str, str]] = []
    tokens = [0] * 10

    def talk(at: int) -> None:
        conversation, parent = new_id(), None
        try:
            while True:
                text, answer = "", ""
                for name, data in chat(killable.url, conversation, 20 + 30 * at, parent):
                    if name == "keep":
                        answer = data["answer"]
                    elif name == "token":
                        tokens[at] += 1
                        text += data["adds"] if data["part"] == "answer" else ""
                    elif name == "done":
                        finished.append((conversation, answer, text))
                        parent = answer
        except httpx.HTTPError:
            return

    threads = [threading.Thread(target=talk, args=(at,)) for at in range(10)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    while (min(tokens) < 20 or len(finished) < 12) and time.monotonic() < until:
        time.sleep(0.02)
    assert min(tokens) >= 20, "all ten are being written"
    killable.kill()
    for thread in threads:
        thread.join()
    with sqlite3.connect(tmp_path / "conversations.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
    killable.start()
    assert len(finished) >= 12
    for conversation, answer, text in finished:
        turns = {
            turn["id"]: turn for turn in httpx.get(f"{killable.url}/api/conversations/{conversation}").json()["turns"]
        }
        assert (turns[answer]["state"], turns[answer]["text"]) == ("done", text)


def test_the_page_finds_the_server_again_and_the_answer_goes_on(browser: Browser, killable: Killable) -> None:
    page = browser.new_page()
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(f"{killable.url}/?max_tokens=1500&temperature=0&answers=tokens")
    page.get_by_label("Question", exact=True).fill("Go on")
    page.keyboard.press("Enter")
    tokens = page.locator("article.answer .token")
    expect(tokens.nth(30)).to_be_attached()
    killable.kill()
    expect(page.get_by_text("The server went away in the middle of this answer.")).to_be_visible()
    expect(page.get_by_text("Looking for it until it is back")).to_be_visible()
    said = "".join(tokens.all_text_contents())
    killable.start()
    # By itself, without anybody having done anything to the page.
    expect(page.get_by_text("The server is back.")).to_be_visible()
    page.get_by_role("button", name="Go on", exact=True).click()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    assert "".join(tokens.all_text_contents()).startswith(said)
    # After a reload the answer is there too; then one is lost with the server, and is made anew.
    page.reload()
    expect(tokens.first).to_be_attached()
    assert "".join(tokens.all_text_contents()).startswith(said)
    page.get_by_label("Question", exact=True).fill("And then?")
    page.keyboard.press("Enter")
    expect(page.locator("article.answer")).to_have_count(2)
    expect(page.locator("article.answer").last.locator(".token").nth(5)).to_be_attached()
    killable.kill()
    killable.start()
    page.reload()
    expect(page.locator("article.question")).to_have_count(2)
    expect(page.get_by_text("nothing of it was kept")).to_be_visible()
    page.get_by_role("button", name="Regenerate").click()
    expect(page.locator("article.answer").last.locator(".token").nth(5)).to_be_attached()
    assert errors == []
    page.context.close()
