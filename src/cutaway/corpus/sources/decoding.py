"""Bytes of unknown encoding made text, and text freed of what no reader sees."""

from __future__ import annotations

import codecs
import re

from cutaway.runs.errors import BadInput

SAMPLE = 1 << 17
"""Bytes that are looked at to find out an encoding."""

MOST_BROKEN = 0.02
"""Share of characters that may be unreadable; a text with more is in no encoding, or not text."""

# C0 and C1 controls, DEL, byte order marks and halves of surrogate pairs. A form feed ends a page of print.
_UNSEEN: dict[int, str | None] = {
    **dict.fromkeys([*range(9), 11, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000), 0xFEFF]),
    12: "\n",
}
_UNSEEN_ONE = re.compile("[" + re.escape("".join(map(chr, _UNSEEN))) + "]")
_CONTROLS = re.compile(rb"[\x80-\x9f]")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def missing_extra(error: ImportError) -> BadInput:
    """What is to be said where a library of the web pipeline is not installed."""
    return BadInput(
        f"reading the web needs the package {error.name or 'of the extra'}: `pip install 'cutaway[corpus]'`"
    )


def printable(text: str) -> str:
    """The text without control characters, each line break a single newline."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    # Most texts have none of them, and to find that out is faster than to translate.
    return text.translate(_UNSEEN) if _UNSEEN_ONE.search(text) else text


def encoding_of(data: bytes, declared: str | None = None, html: bool = False) -> str:
    """The name of the encoding in which `data`, or its beginning, is to be read; Python knows a codec by this name.

    In this order: a byte order mark; UTF-8 where the bytes are that, for other encodings hardly ever are by chance and
    declarations are often wrong; what was declared; for HTML what its <meta> says; what the bytes look like.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding
    sample = data[:SAMPLE]
    if _is_utf8(sample):
        return "utf-8"
    try:
        from resiliparse.parse.encoding import detect_encoding
    except ImportError as error:
        raise missing_extra(error) from None
    # UTF-8 that was declared and is not: a few broken bytes in it, or another encoding. The bytes decide below.
    meta = detect_encoding(sample, from_html_meta=True) if html else None
    guessed = detect_encoding(sample)
    for name in (declared, meta):
        if name and (known := _codec(name)) and (known != "utf-8" or _share_broken(sample) <= MOST_BROKEN):
            break
    else:
        known = _codec(guessed or "") or "cp1252"
    # In the alphabets of ISO 8859 these bytes are control characters, which pages do not have.
    return "cp1252" if known.startswith("iso8859") and _CONTROLS.search(sample) else known


def decoded(data: bytes, declared: str | None = None, html: bool = False) -> str:
    """`data` as text, whatever its encoding: what cannot be read becomes U+FFFD. Control characters stay."""
    return data.decode(encoding_of(data, declared, html), errors="replace").removeprefix("\ufeff")


def broken_share(text: str) -> float:
    """The share of characters that could not be read or that no text holds (U+FFFD and zeros), 0 to 1."""
    return (text.count("\ufffd") + text.count("\0")) / max(len(text), 1)


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # not final: a sample may end inside a character
    except UnicodeDecodeError:
        return False
    return True


def _share_broken(sample: bytes) -> float:
    return broken_share(sample.decode("utf-8", errors="replace"))


def _codec(name: str) -> str | None:
    """Python's name for an encoding of text; as the web's standard has it, Latin-1 and ASCII mean Windows-1252."""
    try:
        found = codecs.lookup(name.strip())
        b"a".decode(found.name, "replace")  # refuses codecs such as hex and zip, which are no encodings of text
    except (LookupError, ValueError):
        return None
    return "cp1252" if found.name in ("iso8859-1", "ascii") else found.name
