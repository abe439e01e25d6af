"""Conversations that teach and test the assistant's skills, one file a skill."""

from __future__ import annotations

from cutaway.align.conversations import (
    arithmetic,
    calculator,
    identity,
    passage,
    refusal,
    smalltalk,
    spelling,
    world_facts,
)
from cutaway.align.conversations.conversation import Conversation, Materials, Skill

SKILLS: dict[str, Skill] = {
    "identity": identity,
    "smalltalk": smalltalk,
    "world_facts": world_facts,
    "refusal": refusal,
    "arithmetic": arithmetic,
    "spelling": spelling,
    "calculator": calculator,
    "passage": passage,
}

__all__ = ["SKILLS", "Conversation", "Materials", "Skill"]
