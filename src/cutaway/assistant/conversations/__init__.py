"""Conversations on disk: trees of turns, each kept as soon as it is finished."""

from cutaway.assistant.conversations.store import Conversation, Conversations, Summary, Turn, new_id

__all__ = ["Conversation", "Conversations", "Summary", "Turn", "new_id"]
