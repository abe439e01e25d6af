from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cutaway.cli.plain import plain


def test_no_control_codes_get_through() -> None:
    assert plain("a\x1b[31mb\x07\x9bc\u202ed\n\te") == "a�[31mb��c�d e"
    assert plain("a\n\tb\r", lines=True) == "a\n\tb�"
    assert plain("naïve 日本 🙂") == "naïve 日本 🙂"


@given(st.text())
def test_what_is_left_prints(text: str) -> None:
    for lines in (False, True):
        shown = plain(text, lines=lines)
        shown.encode()
        assert all(c.isprintable() or c in "\n\t" or c.isspace() or ord(c) > 0x7E for c in shown)
