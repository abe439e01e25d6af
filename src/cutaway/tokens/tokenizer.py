"""Text to token ids and back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as Backend
from tokenizers.pre_tokenizers import ByteLevel

from cutaway.runs.errors import BadInput
from cutaway.tokens.fast import AT_ONCE, LARGE, FastEncoder, fast_encoder
from cutaway.tokens.special import CHAT_TEMPLATE, END_OF_TEXT, END_OF_TURN, ROLES, SPECIAL_TOKENS, TOOL_CALL

Message = Mapping[str, Any]
"""A message as OpenAI's API has it: `role`, `content` and, from the assistant, perhaps `tool_calls`."""


class Tokenizer:
    """A byte-level BPE tokenizer with the tokens of the chat format.

    Text is data: a special token's name inside a text is encoded letter by letter and never becomes that token.
    """

    def __init__(self, backend: Backend, chat_template: str = CHAT_TEMPLATE) -> None:
        self.backend = backend
        self.backend.encode_special_tokens = True
        self.chat_template = chat_template
        added = cast("dict[int, Any]", backend.get_added_tokens_decoder())
        names = dict.fromkeys((*SPECIAL_TOKENS, *(token.content for token in added.values() if token.special)))
        ids = {name: backend.token_to_id(name) for name in names}
        self.special = {name: token for name, token in ids.items() if token is not None}

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Open a `tokenizer.json`, or the one in a directory. Raises `BadInput` if it is absent or damaged.

        One that lacks the chat tokens is another model's, and is opened with what the files beside it say. So is one
        that has them where the files bring another chat template: the template wins, and the calculator, whose calls
        are of this format, is not run.
        """
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            backend = Backend.from_str(file.read_text("utf-8"))
        except FileNotFoundError:
            raise BadInput(f"there is no tokenizer at {file}; train one with `cutaway tokenizer train`") from None
        except Exception as error:  # the library raises plain Exception for whatever it cannot parse
            raise BadInput(f"{file} is not a tokenizer ({error})") from None
        from cutaway.tokens.foreign import ForeignTokenizer

        if any(backend.token_to_id(name) is None for name in SPECIAL_TOKENS):
            return ForeignTokenizer.open(file.parent, backend)
        return ForeignTokenizer.with_own_template(file.parent, backend) or cls(backend)

    def save(self, directory: Path, *, context: int | None = None) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, as `transformers.AutoTokenizer` reads them."""
        from cutaway.runs.atomic import write_json, write_text

        write_text(directory / "tokenizer.json", self.text)
        config: dict[str, Any] = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "clean_up_tokenization_spaces": False,
            **self.token_names,
        }
        if self.chat_template:
            config["chat_template"] = self.named_templates
        if context:
            config.setdefault("model_max_length", context)
        write_json(directory / "tokenizer_config.json", config)

    @property
    def text(self) -> str:
        """What `tokenizer.json` says."""
        self.backend.encode_special_tokens = False  # a property of ours; the file keeps the library's default
        try:
            return self.backend.to_str()
        finally:
            self.backend.encode_special_tokens = True

    @property
    def vocab_size(self) -> int:
        """Number of tokens, special ones included."""
        return self.backend.get_vocab_size(with_added_tokens=True)

    @property
    def end_of_text(self) -> int:
        """The token before and between documents."""
        return self.special[END_OF_TEXT]

    @property
    def end_of_turn(self) -> int:
        """The token that ends a message."""
        return self.special[END_OF_TURN]

    @property
    def tool_call(self) -> int:
        """The token that opens a call of the calculator."""
        return self.special[TOOL_CALL]

    @property
    def stop_ids(self) -> frozenset[int]:
        """Tokens after which a reply is over."""
        return frozenset((self.end_of_turn, self.end_of_text))

    @property
    def token_names(self) -> dict[str, Any]:
        """The tokens that begin, end and pad a text, under the keys of a tokenizer's configuration."""
        return {"bos_token": END_OF_TEXT, "eos_token": END_OF_TURN, "pad_token": END_OF_TEXT}

    @property
    def token_ids(self) -> dict[str, int | list[int]]:
        """The tokens that begin, end and pad a sequence, under the keys of a model's configuration."""
        return {
            "bos_token_id": self.end_of_text,
            "eos_token_id": sorted(self.stop_ids),
            "pad_token_id": self.end_of_text,
        }

    def document(self, text: str) -> list[int]:
        """Ids of a text as the beginning of a document: that is how the model met texts in training."""
        return [self.end_of_text, *self.encode(text)]

    def encode(self, text: str) -> list[int]:
        """Ids of a text, with nothing added."""
        if len(text) >= LARGE:
            return self.encode_batch([text])[0]
        return self.backend.encode(text, add_special_tokens=False).ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of many texts, on all cores."""
        if sum(map(len, texts)) >= LARGE and self._fast:
            return [ids.tolist() for ids in self._fast.encode(texts)]
        return [encoding.ids for encoding in self.backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_stream(self, texts: Iterable[str]) -> Iterator[NDArray[np.uint32]]:
        """Ids of one text after another, `[token]`, for a corpus: memory holds a few million characters of it."""
        batch: list[str] = []
        size = 0
        for text in texts:
            batch.append(text)
            size += len(text)
            if size >= AT_ONCE:
                yield from self._arrays(batch)
                batch, size = [], 0
        yield from self._arrays(batch)

    def _arrays(self, texts: Sequence[str]) -> Iterator[NDArray[np.uint32]]:
        if sum(map(len, texts)) >= LARGE and self._fast:
            return self._fast.encode(texts)
        return (np.array(ids, np.uint32) for ids in self.encode_batch(texts))

    @cached_property
    def _fast(self) -> FastEncoder | None:
        return fast_encoder(self.backend)

    def decode(self, ids: Iterable[int], *, skip_special: bool = False) -> str:
        """The text of some ids; bytes that are not UTF-8 become U+FFFD."""
        return self.backend.decode(list(ids), skip_special_tokens=skip_special)

    def token_bytes(self, token: int) -> bytes:
        """The bytes that a token stands for; a special token's are its name's."""
        return self._bytes[token]

    @cached_property
    def _bytes(self) -> list[bytes]:
        special = set(self.special.values())
        names = [self.backend.id_to_token(i) or "" for i in range(self.vocab_size)]
        return [name.encode() if i in special else bytes(BYTE_OF[c] for c in name) for i, name in enumerate(names)]

    @property
    def tool_template(self) -> str:
        """The chat template for conversations in which tools can be called."""
        return self.chat_template

    @property
    def named_templates(self) -> str | list[dict[str, str]]:
        """The chat template, or several with their names, as a tokenizer's configuration has them."""
        return self.chat_template

    @property
    def reads_tools(self) -> bool:
        """Whether the chat format has a place for tools that can be called; else the messages must tell of them."""
        return False

    def encode_chat(
        self, messages: Sequence[Message], *, generate: bool = True, tools: Sequence[Mapping[str, Any]] = ()
    ) -> list[int]:
        """Ids of a conversation; with `generate`, the assistant's token after it, ready to answer.

        `tools` are those that can be called, as OpenAI's API has them; this format has no place for any, and refuses
        them with `BadInput`.
        """
        if tools:
            raise BadInput("this chat format has no place for tools; tell of them in a message")
        ids, _ = self.encode_chat_masked(messages)
        return [*ids, self.special[ROLES["assistant"]]] if generate else ids

    def encode_chat_masked(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids of a conversation, and for each whether the assistant writes it (its text, its calls, its end tokens).

        Raises `BadInput` on a role that the format does not have.
        """
        ids = [self.end_of_text]
        mask = [False]
        for message in messages:
            role = message["role"]
            if role not in ROLES:
                raise BadInput(f"a message has the role {role!r}; the roles are {', '.join(ROLES)}")
            calls = message.get("tool_calls")
            text = self.encode(call_expression(calls[0]) if calls else message.get("content") or "")
            body = [*([self.tool_call] if calls else []), *text, self.end_of_turn]
            ids += [self.special[ROLES[role]], *body]
            mask += [False, *[role == "assistant"] * len(body)]
        return ids, mask


def call_expression(call: Mapping[str, Any]) -> str:
    """The expression that a call hands the calculator."""
    arguments = call["function"]["arguments"]
    return str((json.loads(arguments) if isinstance(arguments, str) else arguments)["expression"])


def byte_of_character() -> dict[str, int]:
    """The byte behind each character of a byte-level vocabulary (GPT-2's table)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    table = {chr(byte): byte for byte in printable} | {chr(256 + i): byte for i, byte in enumerate(others)}
    assert table.keys() == set(ByteLevel.alphabet())
    return table


BYTE_OF = byte_of_character()
