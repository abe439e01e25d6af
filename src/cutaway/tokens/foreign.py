"""Tokenizers of models made elsewhere: any `tokenizer.json`, with that model's own tokens and chat template."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.tokens.chat_template import marks, reads, render
from cutaway.tokens.guard import GUARD, Guard
from cutaway.tokens.special import CHAT_TEMPLATE, END_OF_TEXT, END_OF_TURN, FORCED_IDS, TOKEN_IDS, TokenIds
from cutaway.tokens.tokenizer import BYTE_OF, Message, Tokenizer

TEMPLATE, TEMPLATES = "chat_template.jinja", "additional_chat_templates"
DEFAULT, WITH_TOOLS = "default", "tool_use"
"""What templates are called where a model has several."""


@dataclass(frozen=True)
class Vocabulary:
    """What a file of a single model says of its tokens.

    Attributes:
        backend: the tokenizer itself.
        bos: the token that begins a text.
        eos: the token that ends it.
        eot: the token that ends a turn, where that is another.
        add_bos: whether texts were met with `bos` before them.
        chat_template: Jinja, where there is one.
    """

    backend: Backend
    bos: int | None
    eos: int | None
    eot: int | None
    add_bos: bool
    chat_template: str | None


class ForeignTokenizer(Tokenizer):
    """A tokenizer with tokens of its own for what ends a turn and begins a text."""

    def __init__(
        self,
        backend: Backend,
        *,
        chat_template: str = "",
        tool_template: str = "",
        begin: int | None = None,
        ends: Collection[int] = (),
        ids: Mapping[str, int | list[int]] | None = None,
        settings: Mapping[str, Any] | None = None,
        joins: bool = True,
        begins_chats: bool = False,
    ) -> None:
        """See the class.

        Args:
            backend: the tokenizer itself.
            chat_template: Jinja; empty where the model is none to talk with.
            tool_template: the same for conversations in which tools can be called; empty where it is the same one.
            begin: the token that a text begins with.
            ends: the tokens after which it is over, that which ends a turn first.
            ids: the tokens that begin, end and pad a sequence, under the keys of a model's configuration.
            settings: what else a tokenizer's configuration says.
            joins: whether the backend adds the tokens around a text that it says it needs.
            begins_chats: whether `begin` stands before conversations too, where the template does not write it.
        """
        self.backend = backend
        self.backend.encode_special_tokens = True
        self.backend.no_truncation()
        self.backend.no_padding()
        self.chat_template = chat_template
        self._tool_template = tool_template
        self.begin = begin
        self.ends = list(ends)
        self.ids = dict(ids or {})
        self.settings = dict(settings or {})
        self.joins = joins
        self.begins_chats = begins_chats
        added = cast("dict[int, Any]", backend.get_added_tokens_decoder())
        self.special = {token.content: id_ for id_, token in added.items() if token.special}

    @classmethod
    def of(cls, vocabulary: Vocabulary) -> ForeignTokenizer:
        """The tokenizer of a file that holds model and vocabulary together."""
        ends = dict.fromkeys(end for end in (vocabulary.eos, vocabulary.eot) if end is not None)
        return cls(
            vocabulary.backend,
            chat_template=vocabulary.chat_template or "",
            begin=vocabulary.bos if vocabulary.add_bos else None,
            ends=list(ends),
            joins=False,
            begins_chats=True,
        )

    @classmethod
    def open(cls, directory: Path, backend: Backend) -> ForeignTokenizer:
        """The tokenizer of a Hugging Face directory, with what the files beside `tokenizer.json` say of it."""
        settings = _json(directory / "special_tokens_map.json") | _json(directory / "tokenizer_config.json")
        ids = read_token_ids(directory)
        templates = _templates(directory, settings.get("chat_template"))

        def id_of(key: str) -> int | None:
            token = settings.get(key)
            name = token.get("content") if isinstance(token, dict) else token
            return backend.token_to_id(name) if isinstance(name, str) else None

        named, begin = id_of("bos_token"), ids.get("bos_token_id")
        eos = ids.get("eos_token_id")
        ends = [id_of("eos_token"), *(eos if isinstance(eos, list) else [eos])]
        return cls(
            backend,
            chat_template=templates.get(DEFAULT, ""),
            tool_template=templates.get(WITH_TOOLS, ""),
            begin=named if named is not None else begin if isinstance(begin, int) else None,
            ends=list(dict.fromkeys(end for end in ends if isinstance(end, int))),
            ids=ids,
            settings={key: value for key, value in settings.items() if key != "chat_template"},
        )

    @classmethod
    def with_own_template(cls, directory: Path, backend: Backend) -> ForeignTokenizer | None:
        """The tokenizer of a directory with the tokens of our chat format and another template; None where it is ours.

        Conversations are what the template makes of them; texts begin and end as they do with our own tokenizers.
        """
        found = cls.open(directory, backend)
        if all(
            template.strip() in ("", CHAT_TEMPLATE.strip()) for template in (found.chat_template, found.tool_template)
        ):
            return None
        marks = [backend.token_to_id(name) for name in (END_OF_TURN, END_OF_TEXT)]
        return cls(
            backend,
            chat_template=found.chat_template or CHAT_TEMPLATE,
            tool_template=found.tool_template if found.tool_template != found.chat_template else "",
            begin=marks[-1],
            ends=found.ends or [mark for mark in marks if mark is not None],
            ids=found.ids,
            settings=found.settings,
            joins=False,
        )

    @property
    def end_of_text(self) -> int:
        """The token before a document, or where there is none the one after."""
        if self.begin is not None:
            return self.begin
        return self.ends[0] if self.ends else 0

    @property
    def end_of_turn(self) -> int:
        """The token that ends a message; -1 where there is none."""
        return self.ends[0] if self.ends else -1

    @property
    def tool_call(self) -> int:
        """-1: these models call tools in words of their own."""
        return -1

    @property
    def tool_template(self) -> str:
        """The chat template for conversations in which tools can be called: one of its own, or that for all."""
        return self._tool_template or self.chat_template

    @property
    def named_templates(self) -> str | list[dict[str, str]]:
        """The chat template, or both with their names, as a tokenizer's configuration has them."""
        if not self._tool_template:
            return self.chat_template
        both = {DEFAULT: self.chat_template, WITH_TOOLS: self._tool_template}
        return [{"name": name, "template": template} for name, template in both.items()]

    @property
    def reads_tools(self) -> bool:
        """Whether the chat template tells the model of the tools that it is given."""
        return reads(self.tool_template, "tools")

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens after which a reply is over."""
        return frozenset(self.ends)

    @property
    def token_ids(self) -> dict[str, int | list[int]]:
        """The tokens that begin and end a sequence, under the keys of a model's configuration."""
        found: dict[str, int | list[int]] = {}
        if self.ids:
            return self.ids
        if self.begin is not None:
            found["bos_token_id"] = self.begin
        if self.ends:
            found["eos_token_id"] = self.ends if len(self.ends) > 1 else self.ends[0]
        return found

    @property
    def token_names(self) -> dict[str, Any]:
        """The tokens that begin, end and pad a text, and whatever else a tokenizer's configuration said."""
        ids = {"bos_token": self.begin, "eos_token": self.ends[0] if self.ends else None}
        names = {key: self.backend.id_to_token(id_) for key, id_ in ids.items() if id_ is not None}
        return {key: name for key, name in names.items() if name is not None} | self.settings

    def document(self, text: str) -> list[int]:
        """Ids of a text with the tokens around it that the model met in training."""
        ids = self.backend.encode(text, add_special_tokens=self.joins).ids
        if not self.joins and self.begin is not None:
            ids = [self.begin, *ids]
        return ids or [self.end_of_text]

    def encode_chat(
        self, messages: Sequence[Message], *, generate: bool = True, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Ids of a conversation by the model's own template. Raises `BadInput` if it has none, or refuses this one.

        With `tools`, those that can be called, by the template for that. What the messages and tools say never becomes
        a special token.
        """
        return self._chat(messages, generate=generate, tools=tools)[0]

    def _chat(
        self, messages: Sequence[Message], *, generate: bool, tools: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[list[int], list[bool]]:
        """Ids of a conversation, and for each whether the template marks some of its characters as the assistant's."""
        template = self.tool_template if tools else self.chat_template
        if not template:
            raise BadInput("this model has no chat template; let it go on with a text (`cutaway generate`)")
        by_id = {id_: name for name, id_ in self.special.items()}
        text, spans = render(
            template,
            [self._guard.put(message) for message in messages],
            generate=generate,
            tools=[self._guard.put(tool) for tool in tools],
            bos_token=by_id.get(self.begin if self.begin is not None else -1, ""),
            eos_token=by_id.get(self.end_of_turn, ""),
        )
        marked = np.zeros(len(text) + 1, bool)
        for start, end in spans:
            marked[start:end] = True
        ids: list[int] = []
        mask: list[bool] = []
        at = 0
        names = "|".join(map(re.escape, sorted(self._guard.names, key=len, reverse=True)))
        # Every other piece is a special token's name.
        for i, piece in enumerate(re.split(f"({names})", text) if names else [text]):
            if i % 2:
                ids.append(self.special[piece])
                mask.append(bool(marked[at : at + len(piece)].any()))
            elif piece:
                some, theirs = self._piece(piece, marked[at : at + len(piece)])
                ids += some
                mask += theirs
            at += len(piece)
        if not ids:
            raise BadInput("this model's chat template makes nothing of these messages")
        # Some templates write the token that begins a text, and some leave it to the tokenizer.
        alone = self.backend.encode("", add_special_tokens=self.joins).ids
        if self.begins_chats and self.begin is not None:
            alone = [self.begin]
        return (ids, mask) if not alone or ids[:1] == alone[:1] else ([alone[0], *ids], [False, *mask])

    def _piece(self, text: str, marked: NDArray[np.bool_]) -> tuple[list[int], list[bool]]:
        """Ids of a guarded text, and for each whether some of its characters are marked (`[character]`)."""
        plain = self._guard.off(text)
        if not marked.any():
            ids = self.encode(plain)
            return ids, [False] * len(ids)
        kept = marked[[character != GUARD for character in text]]
        encoding = self.backend.encode(plain, add_special_tokens=False)
        return encoding.ids, [bool(kept[start:end].any()) for start, end in encoding.offsets]

    @cached_property
    def _guard(self) -> Guard:
        return Guard(self.special)

    def encode_chat_masked(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids of a conversation, and for each whether the assistant writes it.

        Templates that mark that are believed; of others it is found by rendering turn by turn.
        """
        if marks(self.chat_template):
            return self._chat(messages, generate=False)
        ids: list[int] = []
        mask: list[bool] = []
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                before = self.encode_chat(messages[:i], generate=True)
                mask += [False] * (len(before) - len(ids))
                ids = before
            after = self.encode_chat(messages[: i + 1], generate=False)
            if after[: len(ids)] != ids:
                raise BadInput(
                    "this model's chat template changes what it wrote when messages follow; it cannot be learned"
                )
            mask += [message["role"] == "assistant"] * (len(after) - len(ids))
            ids = after
        return ids, mask

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for; none for an id that the model has and the vocabulary does not."""
        return self._bytes[token] if token < len(self._bytes) else b""

    @cached_property
    def _bytes(self) -> list[bytes]:
        size = self.vocab_size
        names = {id_: name for name, id_ in self.backend.get_vocab(with_added_tokens=True).items()}
        added = set(cast("dict[int, Any]", self.backend.get_added_tokens_decoder()))
        kind = json.loads(self.backend.to_str()).get("decoder") or {}
        kinds = {kind.get("type"), *(part.get("type") for part in kind.get("decoders", ()))}
        result: list[bytes] = []
        for id_ in range(max(size, max(names, default=-1) + 1)):
            name = names.get(id_, "")
            if id_ in added:
                result.append(name.encode())
            elif "ByteLevel" in kinds:
                result.append(bytes(BYTE_OF[c] for c in name) if all(c in BYTE_OF for c in name) else name.encode())
            elif byte := re.fullmatch(r"<0x([0-9A-F]{2})>", name):
                result.append(bytes([int(byte[1], 16)]))
            elif "WordPiece" in kinds:
                result.append((name[2:] if name.startswith("##") else " " + name).encode())
            else:
                result.append(name.replace("▁", " ").encode())
        return result


def _templates(directory: Path, said: object) -> dict[str, str]:
    """Chat templates by their names, as a tokenizer's configuration says, or the files beside it."""
    found: dict[str, str] = {DEFAULT: said} if isinstance(said, str) else {}
    try:
        if isinstance(said, list):
            found = {str(entry["name"]): str(entry["template"]) for entry in cast("list[dict[str, str]]", said)}
        files = {DEFAULT: directory / TEMPLATE, WITH_TOOLS: directory / TEMPLATES / f"{WITH_TOOLS}.jinja"}
        return found | {name: file.read_text("utf-8") for name, file in files.items() if file.exists()}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadInput(f"the chat templates in {directory} cannot be read ({error!r})") from None


def read_token_ids(directory: Path) -> dict[str, TokenIds]:
    """Which tokens begin, end and pad a sequence, by `generation_config.json` or else `config.json`."""
    found = _json(directory / "config.json") | _json(directory / "generation_config.json")
    return {key: found[key] for key in (*TOKEN_IDS, *FORCED_IDS) if found.get(key) is not None}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
