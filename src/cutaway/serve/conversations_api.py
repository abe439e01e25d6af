"""The page's conversations: those that are kept, and the keeping of an answer whatever becomes of its reader."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi import Request as HTTPRequest
from fastapi.responses import Response
from pydantic import BaseModel, StringConstraints
from starlette.concurrency import run_in_threadpool

from cutaway.assistant.conversations import Conversation, Conversations
from cutaway.runs import BadInput
from cutaway.serve.chat_events import Described, KeptDetail
from cutaway.serve.errors import ApiError
from cutaway.serve.requests import Request, examples
from cutaway.serve.service import Service

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


class KeptIn(BaseModel):
    """Where a question and its answer are to be kept. Ids are made by whoever asks: 32 hexadecimal digits each."""

    conversation: Id
    parent: Id | None = None
    """The turn that the question follows; null for the first."""
    question: Id
    """If it is kept already, the answer is another one to it."""
    answer: Id


class SummaryShape(BaseModel):
    """A conversation without its turns."""

    id: str
    title: str
    created: datetime
    updated: datetime
    turns: int


class ConversationsShape(BaseModel):
    """Answer to GET /api/conversations."""

    kept: bool
    """Whether this server keeps conversations."""
    conversations: list[SummaryShape]


class TurnShape(BaseModel):
    """One turn; those with one parent are branches."""

    id: str
    parent: str | None
    role: str
    text: str
    model: str | None
    state: str
    detail: Annotated[Mapping[str, Any], Described(KeptDetail)]
    """As it was kept, by this server: not looked through again."""
    created: datetime


class ConversationShape(BaseModel):
    """Answer to GET /api/conversations/{id}: all branches, turns in the order in which they were kept."""

    id: str
    title: str
    created: datetime
    updated: datetime
    turns: list[TurnShape]


class RenameRequest(Request):
    """PATCH /api/conversations/{id}."""

    model_config = examples({"title": "The sky"})

    title: Annotated[str, StringConstraints(min_length=1, max_length=500)]


def conversation_routes(service: Service) -> APIRouter:
    """Everything under /api/conversations."""
    router = APIRouter(prefix="/api/conversations", tags=["page"])

    def store() -> Conversations:
        if service.conversations is None:
            raise ApiError(404, "this server keeps no conversations; start it without --no-history", code="not_kept")
        return service.conversations

    def found(whether: object, conversation: str) -> None:
        if not whether:
            raise ApiError(404, f"there is no conversation {conversation}", code="conversation_not_found")

    @router.get("")
    async def listed(request: HTTPRequest, search: Annotated[str, Query(max_length=200)] = "") -> ConversationsShape:
        if service.conversations is None:
            return ConversationsShape(kept=False, conversations=[])
        rows = await run_in_threadpool(store().listed, owner_of(request), search)
        return ConversationsShape(
            kept=True, conversations=[SummaryShape.model_validate(row, from_attributes=True) for row in rows]
        )

    @router.get("/{conversation}", response_model=ConversationShape)
    async def get(request: HTTPRequest, conversation: Id) -> Response:
        row = await run_in_threadpool(store().get, owner_of(request), conversation)
        found(row, conversation)
        assert row is not None
        # It can be long, and what was kept by this server need not be looked at again.
        return Response(await run_in_threadpool(_whole, row), media_type="application/json")

    @router.patch("/{conversation}", status_code=204)
    async def rename(request: HTTPRequest, conversation: Id, asked: RenameRequest) -> None:
        found(await run_in_threadpool(store().rename, owner_of(request), conversation, asked.title), conversation)

    @router.delete("/{conversation}", status_code=204)
    async def delete(request: HTTPRequest, conversation: Id) -> None:
        found(await run_in_threadpool(store().delete, owner_of(request), conversation), conversation)

    @router.get("/{conversation}/export", response_class=Response)
    async def export(
        request: HTTPRequest, conversation: Id, kind: Annotated[Literal["json", "markdown"], Query()] = "markdown"
    ) -> Response:
        """The whole conversation as a file."""
        row = await run_in_threadpool(store().get, owner_of(request), conversation)
        found(row, conversation)
        assert row is not None
        text, media, suffix = (
            (as_json(row), "application/json", "json")
            if kind == "json"
            else (as_markdown(row), "text/markdown; charset=utf-8", "md")
        )
        headers = {"Content-Disposition": f'attachment; filename="conversation-{conversation[:8]}.{suffix}"'}
        return Response(text, media_type=media, headers=headers)

    return router


def _whole(conversation: Conversation) -> bytes:
    return json.dumps(asdict(conversation), default=datetime.isoformat, ensure_ascii=False).encode()


def owner_of(request: HTTPRequest) -> str:
    """Whose conversations a request may see: its key's, or those of whoever uses this server without one."""
    return request.scope["state"].get("owner") or ""


def as_json(conversation: Conversation) -> str:
    """All branches, in OpenAI's words where it has some."""
    turns = [
        {
            "id": turn.id,
            "parent": turn.parent,
            "role": turn.role,
            "content": turn.text,
            "model": turn.model,
            "created": turn.created.isoformat(),
        }
        for turn in conversation.turns
    ]
    return json.dumps({"title": conversation.title, "messages": turns}, ensure_ascii=False, indent=2)


def as_markdown(conversation: Conversation) -> str:
    """The branch that was used last, to be read."""
    last = conversation.turns[-1] if conversation.turns else None
    by_id = {turn.id: turn for turn in conversation.turns}
    branch: list[str] = []
    while last is not None:
        name = "You" if last.role == "user" else last.model or "Assistant"
        branch.append(f"**{name}**\n\n{last.text}\n")
        last = by_id.get(last.parent or "")
    return f"# {conversation.title}\n\n" + "\n".join(reversed(branch))


class Keeper:
    """Keeps a question at once, and its answer when it has ended, however that came about."""

    def __init__(self, store: Conversations, owner: str, place: KeptIn, model: str) -> None:
        self.store, self.owner, self.place, self.model = store, owner, place, model
        self.tokens: list[Mapping[str, Any]] = []
        self.tools: list[Mapping[str, Any]] = []
        self.figures: dict[str, Any] = {}
        self.state: Literal["done", "stopped", "failed"] = "stopped"
        """Until something else is known: the reader went away."""

    def ask(self, question: str) -> None:
        """Keep the question. Raises `BadInput` where it cannot be."""
        place = self.place
        if self.store.has(self.owner, place.conversation, place.question):
            return
        try:
            self.store.keep(
                self.owner, place.conversation, turn=place.question, parent=place.parent, role="user", text=question
            )
        except BadInput:
            # Two models are asked at once, and the other one's request was quicker.
            if not self.store.has(self.owner, place.conversation, place.question):
                raise

    def end(self) -> None:
        """Keep the answer as far as it came; one without a token is none."""
        if not self.tokens:
            return
        text = "".join(token["adds"] for token in self.tokens if token["part"] == "answer")
        self.store.keep(
            self.owner,
            self.place.conversation,
            turn=self.place.answer,
            parent=self.place.question,
            role="assistant",
            text=text,
            model=self.model,
            state=self.state,
            detail={"tokens": self.tokens, "tools": self.tools, **self.figures},
        )
