"""Domains and URLs that are not wanted, as sorted 64-bit hashes in a file that all processes map into memory.

A list of five million entries takes 40 MB of disk, and of memory whatever pages of it are looked at. A name that is not
in a list of n is taken for one that is with a probability of n / 2**64.
"""

from __future__ import annotations

import hashlib
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from cutaway.corpus.sources.bounds import Unreadable
from cutaway.corpus.sources.opened import opened
from cutaway.runs.atomic import write_bytes
from cutaway.runs.errors import BadInput

FORMAT = 1
"""Raised when the same lists are to give other hashes."""

_LONGEST_LINE = 1 << 16
_DOMAIN = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")
_HOSTS_LINE = re.compile(r"(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]*::?[0-9a-f]*)\s+(\S.*)", re.IGNORECASE)
_ANCHOR = re.compile(r"\|\|([^/^*$|]+)\^?\|?(?:\$(.*))?")
_WHOLE_DOMAIN = {"third-party", "3p", "popup", "document", "doc", "all", "important"}
"""Options of a rule that speak of the domain itself, not of some of its files or of some pages that ask for them."""


def compiled(lists: Sequence[Path], directory: Path) -> Path:
    """The file of hashes for these block lists, made in `directory` unless it is there; its name follows from them.

    A list, which may be compressed, has one entry a line: a domain, a URL, a line of a hosts file (`0.0.0.0 DOMAIN`),
    or a rule of an ad blocker as far as that speaks of a whole domain (`||DOMAIN^`). `#` and `!` begin comments.

    Raises:
        BadInput: a list cannot be read, or has no entry at all.
    """
    key = hashlib.sha256(f"block list {FORMAT}".encode())
    try:
        for path in lists:
            with path.open("rb") as file:
                key.update(hashlib.file_digest(file, "sha256").digest())
        target = directory / f"{key.hexdigest()[:32]}.npy"
        if target.exists():
            return target
        hashes = array("Q")
        for path in lists:
            before = len(hashes)
            hashes.extend(_hash(entry) for entry in _entries(path))
            if len(hashes) == before:
                raise BadInput(f"{path} has no domain and no URL: give one a line, or an ad blocker's ||DOMAIN^ rules")
    except (OSError, Unreadable) as error:
        raise BadInput(f"a block list cannot be read ({error}): check its path") from None
    data = io.BytesIO()
    np.save(data, np.unique(np.frombuffer(hashes, np.uint64)), allow_pickle=False)
    write_bytes(target, data.getvalue())
    return target


def blocked_by(url: str, hashes: npt.NDArray[np.uint64]) -> str | None:
    """What of `url` is in the list: its host, a domain that this is part of, or the URL itself; None if nothing is."""
    names = _domains(host_of(url))
    wanted = np.array([*map(_hash, names), _hash("/" + _canonical(url))], np.uint64)
    places = np.searchsorted(hashes, wanted)
    there = hashes[np.minimum(places, len(hashes) - 1)] == wanted
    return next((name for name, found in zip([*names, url], there.tolist(), strict=True) if found), None)


@cache
def mapped(path: Path) -> npt.NDArray[np.uint64]:
    """The hashes of a file that `compiled` made, sorted; [entries], read from disk where they are looked at."""
    return np.load(path, mmap_mode="r", allow_pickle=False)


def host_of(url: str) -> str:
    """The host of a URL in lower case and, where it is not in ASCII, in its IDNA form; "" where it has none."""
    try:
        host = urlsplit(url if "//" in url else "//" + url).hostname or ""
    except ValueError:  # brackets of an IPv6 address that are none
        return ""
    return _ascii(host.rstrip("."))


def _ascii(host: str) -> str:
    host = host.lower()
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii")
    except UnicodeError:  # a label that is empty or too long
        return host


def _domains(host: str) -> list[str]:
    """The host and the domains that it is part of, without the top-level domain: www.bbc.co.uk, bbc.co.uk, co.uk."""
    labels = host.split(".")
    if not host or ":" in host or all(label.isdigit() for label in labels):
        return [host] if host else []
    return [".".join(labels[place:]) for place in range(max(len(labels) - 1, 1))]


def _canonical(url: str) -> str:
    """A URL without its scheme, fragment and last slash, its host in lower case."""
    rest = url.strip().partition("#")[0]
    rest = rest.partition("//")[2] if re.match(r"[a-zA-Z][\w+.-]*://|//", rest) else rest
    place = re.search(r"[/?]", rest)
    end = place.start() if place else len(rest)
    return (_ascii(rest[:end]) + rest[end:]).rstrip("/")


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=8).digest(), "little")


def _entries(path: Path) -> Iterator[str]:
    """What is hashed for each entry of a list: a domain, or "/" and a URL in its canonical form."""
    with opened(path) as stream:
        rules_only = False
        for number, line in enumerate(iter(lambda: stream.readline(_LONGEST_LINE), b"")):
            text = line.decode("utf-8-sig", errors="replace").strip()
            rules_only = rules_only or (number == 0 and text.lower().startswith("[adblock"))
            if text and text[0] not in "#!":
                yield from _rule(text) if rules_only or text.startswith("||") else _plain(text)


def _rule(text: str) -> Iterable[str]:
    match = _ANCHOR.fullmatch(text)
    if match is None:
        return
    options = set((match[2] or "").split(",")) - {""}
    domain = _ascii(match[1])
    if options <= _WHOLE_DOMAIN and _DOMAIN.fullmatch(domain):
        yield domain


def _plain(text: str) -> Iterable[str]:
    text = text.split(" #", 1)[0].strip()
    hosts = _HOSTS_LINE.fullmatch(text)
    for name in hosts[1].split() if hosts else [text]:
        domain = _ascii(name.removeprefix("*.").strip("."))
        if _DOMAIN.fullmatch(domain):
            yield domain
        elif "/" in name and not hosts and _DOMAIN.fullmatch(host_of(name)):
            yield "/" + _canonical(name)
