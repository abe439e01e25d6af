"""Personal data is masked: e-mail addresses, public IP addresses, telephone, card and social-security numbers.

FineWeb (Penedo et al. 2024, section 3.7) masks e-mail and public IP addresses, with the patterns that datatrove has.
Here e-mail addresses are the same ones; IPv4 addresses are only those that stand alone, so that neither the middle of
"1.2.3.4.5" nor a version number becomes one; and there are three more kinds, each by a rule that leaves dates, ISBNs
and quantities alone. A mask is a weak protection: names and street addresses stay. Time is linear in the text,
whatever is in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from cutaway.corpus.page import Page, Removal
from cutaway.runs import Settings


class PiiSettings(Settings):
    """What stands in the place of each kind; an empty string leaves the kind alone."""

    email: str = "email@example.com"
    ipv4: str = "192.0.2.1"
    """From the block that RFC 5737 sets aside for documentation."""
    ipv6: str = "2001:db8::1"
    """From the block that RFC 3849 sets aside for documentation."""
    phone: str = "+1 202 555 0100"
    """555-01XX is set aside for fiction."""
    card: str = "0000 0000 0000 0000"
    social_security: str = "000-00-0000"


class PiiMask:
    """Masks what it finds; never removes a page."""

    name = "pii"

    def __init__(self, settings: PiiSettings) -> None:
        self._settings = settings
        # Longer shapes first, so that no part of a card number is taken for a telephone number.
        kinds: list[tuple[str, re.Pattern[str], Callable[[re.Match[str]], bool]]] = [
            (settings.ipv6, _IPV6, _is_public_ipv6),
            (settings.ipv4, _IPV4, _is_public_ipv4),
            (settings.card, _CARD, _is_card),
            (settings.social_security, _SOCIAL_SECURITY, _is_not_named_otherwise),
            (settings.phone, _PHONE, _is_phone),
        ]
        self._kinds = [kind for kind in kinds if kind[0]]

    def __call__(self, page: Page) -> Removal | None:
        """See `Step`."""
        page.text = self.mask(page.text)

    def mask(self, text: str) -> str:
        """The text with placeholders."""
        if self._settings.email and "@" in text:
            text = mask_emails(text, self._settings.email)
        if not _LIKELY.search(text):
            return text
        # None of the patterns goes across lines, and few lines have that many digits.
        return "\n".join(self._mask_line(line) if _LIKELY.search(line) else line for line in text.split("\n"))

    def _mask_line(self, line: str) -> str:
        for placeholder, pattern, holds in self._kinds:
            line = _replaced(line, pattern, holds, placeholder)
        return line


_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]*")
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"(?:{_LABEL}\.)+{_LABEL}|\[\d{{1,3}}(?:\.\d{{1,3}}){{3}}\]")


def mask_emails(text: str, placeholder: str) -> str:
    """Every address replaced. Each @ is looked at once, and the text between two of them at most twice."""
    parts: list[str] = []
    done = begin = 0
    at = text.find("@")
    while at != -1:
        domain = _DOMAIN.match(text, at + 1)
        start = _local_part(text, begin, at) if domain else at
        if domain and start < at:
            parts += [text[done:start], placeholder]
            done = domain.end()
        begin = max(at + 1, done)
        at = text.find("@", begin)
    return "".join([*parts, text[done:]])


def _local_part(text: str, begin: int, at: int) -> int:
    """Where the part before the @ begins, from `begin` on and at a border of a word; `at` if there is none."""
    backwards = _LOCAL.match(text[begin:at][::-1])
    assert backwards is not None
    run = backwards[0][::-1]
    if run.endswith("."):
        return at
    run = run[run.rfind("..") + 2 :] if ".." in run else run.removeprefix(".")
    for start in range(at - len(run), at):
        before = start > 0 and _is_word(text[start - 1])
        if text[start] != "." and before != _is_word(text[start]):
            return start
    return at


def _is_word(character: str) -> bool:
    return character == "_" or character.isalnum()


def _replaced(line: str, pattern: re.Pattern[str], holds: Callable[[re.Match[str]], bool], placeholder: str) -> str:
    """Every stretch replaced that matches and holds; one that does not may still have one that does begin inside it."""
    parts: list[str] = []
    done = 0
    found = pattern.search(line)
    while found:
        following = found.start() + 1
        if holds(found):
            parts += [line[done : found.start()], placeholder]
            done = following = found.end()
        found = pattern.search(line, following)
    return "".join([*parts, line[done:]])


_LIKELY = re.compile(r"\d[\d ().:\-]{5}|[23][0-9A-Fa-f]{3}:", re.ASCII)
"""What a line has if any of the patterns below matches in it."""

# Nothing that the number could be a part of may touch it: letters, digits, or marks with more digits behind.
_BEFORE = r"(?<![\w./\-])(?<!\d[:,+])"
_AFTER = r"(?![\w])(?![.,:/\-]\d)"

_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_IPV4 = re.compile(rf"(?<![\w.\-])(?:{_OCTET}\.){{3}}{_OCTET}(?![\w\-]|\.\d)", re.ASCII)
_IPV6 = re.compile(r"(?<![\w:.])[23][0-9A-Fa-f]{3}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:]|\.\d)", re.ASCII)
_CARD = re.compile(
    rf"{_BEFORE}(?:\d{{13,19}}|\d{{4}}([ \-])\d{{4}}\1\d{{4}}\1\d{{4}}|\d{{4}}([ \-])\d{{6}}\2\d{{4,5}}){_AFTER}",
    re.ASCII,
)
_SOCIAL_SECURITY = re.compile(rf"{_BEFORE}(?!000|666|9)\d{{3}}-(?!00)\d\d-(?!0000)\d{{4}}{_AFTER}", re.ASCII)
_PHONE = re.compile(
    r"(?<![\w./\-+])(?<!\d:)(?:"
    r"(?:\+?1[ .\-]?)?(?:\([2-9]\d\d\) ?|[2-9]\d\d[ .\-])[2-9]\d\d[ .\-]\d{4}"  # North America
    r"|\+[1-9]\d{0,2}[ .\-]?(?:\(0?\d{1,4}\)[ .\-]?)?\d{1,5}(?:[ .\-]?\d{2,5}){1,4}"  # E.164, with its plus
    rf"){_AFTER}",
    re.ASCII,
)

_VERSION = re.compile(
    r"(?:\b(?:version|versions|ver|release|build|firmware|driver|v|rev|section|chapter)\b[.:]?|§)\s*$", re.IGNORECASE
)
_OTHER_NUMBER = re.compile(r"\b(?:isbn|issn|ean|gtin|upc|doi|isbn-1[03])\b[^\n]{0,8}$", re.IGNORECASE)
_LOOK_BACK = 24
"""Characters before a number in which it may be named."""


def _named(pattern: re.Pattern[str], found: re.Match[str]) -> bool:
    return pattern.search(found.string[max(found.start() - _LOOK_BACK, 0) : found.start()]) is not None


def _is_public_ipv4(found: re.Match[str]) -> bool:
    try:
        return IPv4Address(found[0]).is_global and not _named(_VERSION, found)
    except AddressValueError:
        return False


def _is_public_ipv6(found: re.Match[str]) -> bool:
    try:
        return IPv6Address(found[0]).is_global
    except AddressValueError:
        return False


_ISSUERS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}"  # Discover
    r"|35(?:2[89]|[3-8]\d)\d{12}"  # JCB
    r"|3(?:0[0-5]|[68]\d)\d{11}"  # Diners Club
)


def _is_card(found: re.Match[str]) -> bool:
    digits = found[0].replace(" ", "").replace("-", "")
    return bool(_ISSUERS.fullmatch(digits)) and passes_luhn(digits) and not _named(_OTHER_NUMBER, found)


def passes_luhn(digits: str) -> bool:
    """The checksum of ISO/IEC 7812-1: every second digit from the right doubled, digits added, divisible by ten."""
    values = [int(digit) for digit in reversed(digits)]
    return sum(values[::2] + [sum(divmod(2 * value, 10)) for value in values[1::2]]) % 10 == 0


def _is_phone(found: re.Match[str]) -> bool:
    digits = sum(map(str.isdigit, found[0]))
    return 8 <= digits <= 15 and _is_not_named_otherwise(found)


def _is_not_named_otherwise(found: re.Match[str]) -> bool:
    return not _named(_OTHER_NUMBER, found)
