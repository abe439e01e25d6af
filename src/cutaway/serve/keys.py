"""Keys that callers show: argon2 hashes of them in a TOML file, each with what its holder may use.

    [alice]
    hash = "$argon2id$v=19$..."
    requests_per_minute = 60
    tokens_per_minute = 20000

A key is `ck-NAME-SECRET`, so that one hash alone has to be tried. The file is read again when it changes: a key that is
taken out of it opens nothing from then on.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import re
import secrets
import time
import tomllib
from collections import OrderedDict
from pathlib import Path
from typing import Annotated, Any

import tomli_w
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from cutaway.runs import BadInput, atomic
from cutaway.serve.limits import CallerLimits

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-z0-9_]{1,40}")
SECRET_BYTES = 24
KEPT = 1024
"""Keys that were right, remembered so that argon2 need not run at every request."""
LOOK_SECONDS = 1.0
"""How often to look whether the file has changed."""

Most = Annotated[int, Field(ge=1)]


class Key(BaseModel):
    """One key: its hash, and what its holder may use."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    hash: str
    requests_per_minute: Most | None = None
    tokens_per_minute: Most | None = None
    running: Most | None = None
    max_tokens: Most | None = None
    models: list[str] | None = None
    """Models it may ask for; all where none are named."""

    @property
    def limits(self) -> CallerLimits:
        """What its holder may use."""
        return CallerLimits(self.requests_per_minute, self.tokens_per_minute, self.running, self.max_tokens)


class Keys:
    """The keys of one file.

    Raises:
        BadInput: the file is absent, damaged, or holds no key.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._keys = read_keys(path)
        if not self._keys:
            raise BadInput(f"{path} holds no key; make one with `cutaway serve --keys {path} --new-key NAME`")
        self._changed, self._looked = self._time(), time.monotonic()
        self._hasher = PasswordHasher()
        # argon2 takes memory and time on purpose: one at a time, so that wrong keys cannot use the machine up.
        self._turn = asyncio.Semaphore(1)
        self._right: OrderedDict[bytes, str] = OrderedDict()

    def named(self, name: str) -> Key | None:
        """The key of that name, if there (still) is one."""
        self._look()
        return self._keys.get(name)

    async def owner(self, shown: str) -> str | None:
        """The name of the key that was shown; None where it is none of these."""
        prefix, _, rest = shown.partition("-")
        name, _, secret = rest.rpartition("-")
        key = self.named(name)
        if prefix != "ck" or key is None or not secret:
            return None
        # With the hash it was compared with: after a change of the file nothing remembered is taken for right.
        mark = hashlib.sha256(f"{key.hash} {shown}".encode()).digest()
        if mark in self._right:
            self._right.move_to_end(mark)
            return name
        async with self._turn:
            if not await run_in_threadpool(self._verify, key.hash, shown):
                return None
        self._right[mark] = name
        if len(self._right) > KEPT:
            self._right.popitem(last=False)
        return name

    def _verify(self, hashed: str, shown: str) -> bool:
        try:
            return self._hasher.verify(hashed, shown)
        except (VerificationError, InvalidHashError):
            return False

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        changed = self._time()
        if changed != self._changed:
            self._changed = changed
            try:
                self._keys = read_keys(self.path)
            except BadInput as error:
                log.error("the keys stay as they were: %s", error)

    def _time(self) -> int:
        try:
            return self.path.stat().st_mtime_ns
        except OSError:
            return 0


def read_keys(path: Path) -> dict[str, Key]:
    """The keys in a file, by name. Raises `BadInput` if it is absent or damaged."""
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        message = f"there are no keys at {path}; make one with `cutaway serve --keys {path} --new-key NAME`"
        raise BadInput(message) from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read as TOML ({error})") from None
    keys: dict[str, Key] = {}
    for name, table in tables.items():
        if not NAME.fullmatch(name):
            raise BadInput(f"{path}: {name!r} is no name for a key; use small letters, digits and _, 40 at most")
        try:
            keys[name] = Key.model_validate(table)
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            place = ".".join([name, *map(str, first["loc"])])
            raise BadInput(f"{path}: {place}: {first['msg']}") from None
    return keys


def make_key(path: Path, name: str, limits: CallerLimits, models: list[str] | None = None) -> str:
    """Put a new key into a file, which is made where there is none; give the key, which is written nowhere.

    Raises:
        BadInput: the name is taken or no name for a key, or the file is damaged.
    """
    if not NAME.fullmatch(name):
        raise BadInput(f"{name!r} is no name for a key; use small letters, digits and _, 40 at most")
    path.parent.mkdir(parents=True, exist_ok=True)
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two keys made at once must both be there in the end
        keys = read_keys(path) if path.exists() else {}
        if name in keys:
            raise BadInput(f"{path} has a key called {name} already; take it out of the file first, or name another")
        shown = f"ck-{name}-{secrets.token_hex(SECRET_BYTES)}"
        settings: dict[str, Any] = {
            "requests_per_minute": limits.requests_per_minute,
            "tokens_per_minute": limits.tokens_per_minute,
            "running": limits.running,
            "max_tokens": limits.max_tokens,
            "models": models,
        }
        try:
            keys[name] = Key.model_validate({"hash": PasswordHasher().hash(shown), **settings})
        except ValidationError as error:
            first = error.errors(include_input=False)[0]
            raise BadInput(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        tables = {each: key.model_dump(exclude_none=True) for each, key in keys.items()}
        atomic.write_text(path, tomli_w.dumps(tables))
        os.chmod(path, 0o600)
    return shown
