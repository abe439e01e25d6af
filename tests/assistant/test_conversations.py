"""Conversations are kept, found, and come back whole, whatever happens to the process."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from cutaway.assistant.conversations import Conversations, new_id
from cutaway.assistant.conversations.tables import Base
from cutaway.runs import BadInput


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "data" / "conversations.db"


@pytest.fixture
def store(place: Path) -> Iterator[Conversations]:
    store = Conversations(place)
    yield store
    store.close()


def say(
    store: Conversations, conversation: str, *texts: str, owner: str = "ada", parent: str | None = None
) -> list[str]:
    """Keep turns one after another; give their ids."""
    ids: list[str] = []
    for i, text in enumerate(texts):
        ids.append(new_id())
        role = "assistant" if i % 2 else "user"
        store.keep(owner, conversation, turn=ids[-1], parent=parent, role=role, text=text, model="m" if i % 2 else None)
        parent = ids[-1]
    return ids


def test_a_conversation_comes_back_whole(store: Conversations, place: Path) -> None:
    detail = {"tokens": [{"id": 5, "text": "naïve 日本 \x00", "alternatives": [0.25] * 10}], "tools": []}
    ids = say(store, "c", "What is\n this?")
    store.keep(
        "ada",
        "c",
        turn="b" * 32,
        parent=ids[0],
        role="assistant",
        text="That.",
        model="m",
        state="stopped",
        detail=detail,
    )
    other = Conversations(place)  # as after a restart
    found = other.get("ada", "c")
    other.close()
    assert found is not None
    assert found.title == "What is this?"
    question, answer = found.turns
    assert (question.id, question.parent, question.role, question.text, question.detail) == (
        ids[0], None, "user", "What is\n this?", {},
    )  # fmt: skip
    assert (answer.parent, answer.text, answer.model, answer.state, answer.detail) == (
        ids[0], "That.", "m", "stopped", detail,
    )  # fmt: skip
    assert answer.created.tzinfo is not None
    assert found.updated >= answer.created >= question.created


def test_branches(store: Conversations) -> None:
    first, second = say(store, "c", "one", "two")
    (again,) = say(store, "c", "another two", parent=first)
    found = store.get("ada", "c")
    assert found is not None
    assert [(turn.id, turn.parent) for turn in found.turns] == [(first, None), (second, first), (again, first)]


def test_the_last_used_comes_first_and_can_be_searched_renamed_and_deleted(store: Conversations) -> None:
    say(store, "a", "About ships", "They float. 100% of them")
    say(store, "b", "About birds", "They fly.")
    say(store, "a", "More?", parent=None)
    assert [(each.id, each.title, each.turns) for each in store.listed("ada")] == [
        ("a", "About ships", 3), ("b", "About birds", 2),
    ]  # fmt: skip
    assert [each.id for each in store.listed("ada", "FLY")] == ["b"]
    assert [each.id for each in store.listed("ada", "about")] == ["a", "b"]
    assert [each.id for each in store.listed("ada", "0%")] == ["a"]
    assert store.listed("ada", "%") == store.listed("ada", "100%")  # a per cent sign is a character, no pattern
    assert store.rename("ada", "b", " Of  birds ")
    assert [each.title for each in store.listed("ada", "birds")] == ["Of birds"]
    assert store.delete("ada", "b")
    assert not store.delete("ada", "b")
    assert store.get("ada", "b") is None
    assert [each.id for each in store.listed("ada")] == ["a"]
    assert [each.id for each in store.listed("ada", most=0)] == []


def test_what_is_anothers_is_not_there(store: Conversations) -> None:
    (mine,) = say(store, "c", "mine")
    assert store.listed("bob") == []
    assert store.get("bob", "c") is None
    assert not store.rename("bob", "c", "x")
    assert not store.delete("bob", "c")
    with pytest.raises(BadInput, match="no conversation c of yours"):
        say(store, "c", "his", owner="bob")
    with pytest.raises(BadInput, match="no longer kept; was it deleted"):
        say(store, "d", "from another conversation", parent=mine)
    with pytest.raises(BadInput, match="kept already"):
        store.keep("ada", "c", turn=mine, parent=None, role="user", text="again")
    found = store.get("ada", "c")
    assert found is not None
    assert len(found.turns) == 1
    assert [each.id for each in store.listed("ada")] == ["c"]  # what was refused has made nothing


def test_many_at_once(store: Conversations) -> None:
    def one(number: int) -> None:
        for i in range(10):
            say(store, f"c{number}", f"turn {i}")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(8)))
    assert {each.turns for each in store.listed("ada")} == {10}


KEEPING = """
import sys
from cutaway.assistant.conversations import Conversations, new_id
store = Conversations(sys.argv[1])
parent = None
for number in range(100_000):
    id = new_id()
    store.keep("ada", "c", turn=id, parent=parent, role="user", text=f"turn {number}", detail={"n": [number] * 200})
    parent = id
    print(number, flush=True)
"""


def test_a_kill_loses_nothing_that_was_kept(place: Path) -> None:
    for told in (1, 7, 30):
        place = place.with_name(f"{told}.db")
        with subprocess.Popen([sys.executable, "-c", KEEPING, str(place)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            last = -1
            while last < told:
                last = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read().split()
        # A line may be cut in the middle by the kill; the one before it was told whole.
        kept = max([last, *map(int, rest[:-1])])
        with sqlite3.connect(place) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            texts = {text for (text,) in connection.execute("SELECT text FROM turns")}
        assert {f"turn {number}" for number in range(kept + 1)} <= texts


def test_the_migrations_make_the_tables(place: Path, store: Conversations) -> None:
    with create_engine(f"sqlite:///{place}").connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []


def test_places_that_will_not_do(tmp_path: Path, place: Path, store: Conversations) -> None:
    (tmp_path / "text.db").write_text("This is no database, though it is a file.\n" * 40)
    with pytest.raises(BadInput, match=r"text\.db: file is not a database"):
        Conversations(tmp_path / "text.db")
    with pytest.raises(BadInput, match=r"text\.db"):
        Conversations(tmp_path / "text.db" / "below.db")
    with pytest.raises(BadInput, match="cannot be kept in nosuchthing"):
        Conversations("nosuchthing://somewhere/x")
    with pytest.raises(BadInput, match="no URL of a database"):
        Conversations("://x")
    with sqlite3.connect(place) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadInput, match="made by a later version"):
        Conversations(place)
