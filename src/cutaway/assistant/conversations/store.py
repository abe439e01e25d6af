"""Keeping conversations: SQLite by default, PostgreSQL by its URL."""

from __future__ import annotations

import json
import uuid
import zlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Engine, create_engine, delete, event, func, make_url, or_, select
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from cutaway.assistant.conversations.tables import ConversationRow, TurnRow
from cutaway.runs import BadInput, CutawayError

Role = Literal["user", "assistant"]
State = Literal["done", "stopped", "failed"]

TITLE = 60
"""Characters of the question that names a conversation until somebody renames it."""
MIGRATIONS = Path(__file__).parent / "migrations"


@dataclass(frozen=True)
class Turn:
    """One turn of a conversation."""

    id: str
    parent: str | None
    """The turn that it follows; two turns with one parent are branches."""
    role: str
    text: str
    model: str | None
    state: str
    detail: Mapping[str, Any]
    created: datetime


@dataclass(frozen=True)
class Summary:
    """A conversation without its turns."""

    id: str
    title: str
    created: datetime
    updated: datetime
    turns: int


@dataclass(frozen=True)
class Conversation:
    """A conversation with all of its branches, turns in the order in which they were kept."""

    id: str
    title: str
    created: datetime
    updated: datetime
    turns: tuple[Turn, ...]


class Conversations:
    """All conversations of a server, each its owner's alone: another owner's are as if they were not there.

    Every method is one transaction, and what it has kept is on disk when it returns. Safe to call from several threads,
    and from several processes.
    """

    def __init__(self, place: str | Path) -> None:
        """Open, or make, a database: a file's path, or a URL such as postgresql://host/name.

        Raises:
            BadInput: it cannot be opened, is no database, or was made by a later version.
        """
        self._engine = _opened(place)

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()

    def listed(self, owner: str, search: str = "", most: int = 200) -> list[Summary]:
        """Conversations, the last used first; with `search`, those with it in their title or in a turn's text."""
        turns = select(func.count()).where(TurnRow.conversation == ConversationRow.id).scalar_subquery()
        found = select(ConversationRow, turns).where(ConversationRow.owner == owner)
        if search.strip():
            said = select(TurnRow.conversation).where(TurnRow.text.icontains(search.strip(), autoescape=True))
            titled = ConversationRow.title.icontains(search.strip(), autoescape=True)
            found = found.where(or_(titled, ConversationRow.id.in_(said)))
        with self._session() as session:
            rows = session.execute(found.order_by(ConversationRow.updated.desc(), ConversationRow.id).limit(most))
            return [Summary(row.id, row.title, row.created, row.updated, count) for row, count in rows]

    def get(self, owner: str, conversation: str) -> Conversation | None:
        """A conversation, or None."""
        with self._session() as session:
            row = _owned(session, owner, conversation)
            if row is None:
                return None
            turns = session.scalars(
                select(TurnRow).where(TurnRow.conversation == row.id).order_by(TurnRow.created, TurnRow.id)
            )
            return Conversation(row.id, row.title, row.created, row.updated, tuple(_turn(turn) for turn in turns))

    def has(self, owner: str, conversation: str, turn: str) -> bool:
        """Whether a conversation has a turn."""
        with self._session() as session:
            row = session.get(TurnRow, turn)
            return (
                row is not None
                and row.conversation == conversation
                and _owned(session, owner, conversation) is not None
            )

    def rename(self, owner: str, conversation: str, title: str) -> bool:
        """Give a conversation another title; whether there is one."""
        with self._session() as session:
            row = _owned(session, owner, conversation)
            if row is not None:
                row.title = _title(title)
            return row is not None

    def delete(self, owner: str, conversation: str) -> bool:
        """Delete a conversation with all its turns; whether there was one."""
        with self._session() as session:
            gone = session.execute(
                delete(ConversationRow).where(ConversationRow.id == conversation, ConversationRow.owner == owner)
            )
            return bool(gone.rowcount)  # type: ignore[attr-defined]

    def keep(
        self,
        owner: str,
        conversation: str,
        *,
        turn: str,
        parent: str | None,
        role: Role,
        text: str,
        state: State = "done",
        model: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a turn; the first one makes the conversation.

        Raises:
            BadInput: the conversation is another owner's, there is no such parent in it, or the turn is kept already.
        """
        now = datetime.now(UTC)
        with self._session() as session:
            row = session.get(ConversationRow, conversation)
            if row is None:
                row = ConversationRow(id=conversation, owner=owner, title=_title(text), created=now, updated=now)
                session.add(row)
                session.flush()
            if row.owner != owner:
                raise BadInput(f"there is no conversation {conversation} of yours")
            if parent is not None:
                before = session.get(TurnRow, parent)
                if before is None or before.conversation != conversation:
                    raise BadInput("what this goes on from is no longer kept; was it deleted? begin a new conversation")
            if session.get(TurnRow, turn) is not None:
                raise BadInput(f"the turn {turn} is kept already; a new one needs an id of its own")
            row.updated = now
            packed = zlib.compress(json.dumps(detail, ensure_ascii=False).encode()) if detail else None
            session.add(
                TurnRow(
                    id=turn, conversation=conversation, parent=parent, role=role, text=text, model=model, state=state,
                    detail=packed, created=now,
                )
            )  # fmt: skip

    @contextmanager
    def _session(self) -> Generator[Session]:
        try:
            with Session(self._engine) as session, session.begin():
                yield session
        except IntegrityError as error:
            raise BadInput(f"the turn could not be kept beside another one: {error.orig}") from error
        except SQLAlchemyError as error:
            raise CutawayError(f"the conversations cannot be reached: {_first_line(error)}") from error


def new_id() -> str:
    """An id that nothing else has."""
    return uuid.uuid4().hex


def _opened(place: str | Path) -> Engine:
    url = _url(place)
    try:
        if url.get_backend_name() == "sqlite" and url.database:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        engine = create_engine(url)
    except (NoSuchModuleError, ImportError) as error:
        raise BadInput(f"conversations cannot be kept in {url.drivername}: {error}") from None
    except OSError as error:
        raise BadInput(f"conversations cannot be kept in {url.database}: {error.strerror}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare)
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except CommandError as error:
        engine.dispose()
        raise BadInput(f"{place} was made by a later version of Cutaway ({error}); update, or name another") from None
    except SQLAlchemyError as error:
        engine.dispose()
        raise BadInput(f"conversations cannot be kept in {place}: {_first_line(error)}") from None
    return engine


def _url(place: str | Path) -> URL:
    if isinstance(place, str) and "://" in place:
        try:
            return make_url(place)
        except ArgumentError:
            raise BadInput(f"{place} is no URL of a database, such as postgresql://host/name") from None
    return URL.create("sqlite", database=str(place))


def _prepare(connection: Any, _: object) -> None:
    """Readers and a writer at once, references kept, and nothing told as kept that a power cut could take."""
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=10000", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _owned(session: Session, owner: str, conversation: str) -> ConversationRow | None:
    row = session.get(ConversationRow, conversation)
    return row if row is not None and row.owner == owner else None


def _turn(row: TurnRow) -> Turn:
    detail = json.loads(zlib.decompress(row.detail)) if row.detail else {}
    return Turn(row.id, row.parent, row.role, row.text, row.model, row.state, detail, row.created)


def _title(text: str) -> str:
    line = " ".join(text.split()) or "Untitled"
    return line if len(line) <= TITLE else line[: TITLE - 1] + "…"


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]
