from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cutaway.corpus.page import Page
from cutaway.corpus.steps.pii import PiiMask, PiiSettings, mask_emails, passes_luhn

formatter = pytest.importorskip("datatrove.pipeline.formatters.pii").PIIFormatter
theirs = formatter(remove_ips=False, email_replacement=("<E>",))
their_ips = formatter(remove_emails=False, ip_replacement=("<4>",))
mask = PiiMask(PiiSettings(email="<E>", ipv4="<4>", ipv6="<6>", phone="<P>", card="<C>", social_security="<S>")).mask


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet="aZ09.@-_+!%[]() \nÄé'", max_size=40))
@example("a@b.c@d.e f..g@h.i .j@k.l x@[1.2.3.4] ü@a.de a@b a@b.c.")
def test_emails_are_those_that_datatrove_masks(text: str):
    # In brackets datatrove also takes addresses that end in a colon, and none above 255.
    if "[" not in text:
        assert mask_emails(text, "<E>") == theirs.format(text)


def test_real_pages_lose_the_same_emails_and_fewer_addresses(web_texts: list[str]):
    found = 0
    for text in web_texts:
        assert mask_emails(text, "<E>") == theirs.format(text)
        found += theirs.format(text).count("<E>")
        mine = PiiMask(PiiSettings(email="", ipv6="", phone="", card="", social_security="", ipv4="<4>")).mask(text)
        assert mine.count("<4>") <= their_ips.format(text).count("<4>")
    assert found > 0


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe+x@mail.example.co.uk, or", "write to <E>, or"),
        ("ping 8.8.8.8.", "ping <4>."),
        ("from 93.184.216.34:8080 (93.184.216.34)", "from <4>:8080 (<4>)"),
        ("at 2606:2800:220:1:248:1893:25c8:1946, and 2001:4860:4860::8888.", "at <6>, and <6>."),
        ("call (415) 555-2671 or 415-555-2671 or 415.555.2671", "call <P> or <P> or <P>"),
        ("+1 415 555 2671, +44 20 7946 0958, +49 (0)30 123456", "<P>, <P>, <P>"),
        ("1-800-555-2671", "<P>"),
        ("Tel:+33 1 42 68 53 00", "Tel:<P>"),
        ("Visa 4111 1111 1111 1111 or 4111-1111-1111-1111", "Visa <C> or <C>"),
        ("in 2023 4111 1111 1111 1111 123 or 12 3782-822463-10005", "in 2023 <C> 123 or 12 <C>"),
        ("378282246310005 is American Express", "<C> is American Express"),
        ("SSN 219-09-9999, SSN:219-09-9999.", "SSN <S>, SSN:<S>."),
    ],
)
def test_what_is_masked(text: str, masked: str):
    assert mask(text) == masked
    assert mask(masked) == masked


@pytest.mark.parametrize(
    "text",
    [
        "version 8.8.4.4 of 1.2.3.4.5, v2.3.4.5, driver: 31.0.15.4601",
        "192.168.1.1, 10.0.0.1, 127.0.0.1, 172.16.0.9, 300.1.1.1, 0.0.0.0, ::1, fe80::1, 2001:db8::1",
        "std::vector, dead::beef, 12:30:45, 20:15, 3:16",
        "on 2023-05-01, 01.02.2003, 12/31/1999, 2021-03-04T05:06:07",
        "ISBN 978-0-306-40615-7, ISBN: 0-306-40615-2, ISBN 415-555-2671",
        "4111 1111 1111 1112 fails the checksum, 1234 5678 9012 3452 has no issuer",
        "000-12-3456, 666-12-3456, 912-34-5678, 123-00-4567, 123-45-0000",
        "1,234,567.89 and 3.14159265358979 and 100-200-3000",
        "order 12345678901234567890123, item 219-09-99991",
        "a @ b, @name, name@, @@, a@b",
    ],
)
def test_what_stays(text: str):
    assert mask(text) == text


def test_a_kind_without_a_placeholder_stays():
    text = "a@b.org 8.8.8.8 415-555-2671"
    assert PiiMask(PiiSettings(email="", ipv4="", phone="")).mask(text) == text


def test_the_placeholders_are_reserved_ones_and_stay_as_they_are():
    page = Page("id", "source", text="a@b.org 8.8.8.8 2606:2800:220:1:248:1893:25c8:1946 4111111111111111 219-09-9999")
    step = PiiMask(PiiSettings())
    assert step(page) is None
    once = page.text
    step(page)
    assert page.text == once == "email@example.com 192.0.2.1 2001:db8::1 0000 0000 0000 0000 000-00-0000"


def test_luhn_finds_each_wrong_digit():
    rng = random.Random(1)
    for number in ("4111111111111111", "378282246310005", "5555555555554444", "30569309025904"):
        assert passes_luhn(number)
        for _ in range(20):
            place = rng.randrange(len(number))
            wrong = str((int(number[place]) + rng.randint(1, 9)) % 10)
            assert not passes_luhn(number[:place] + wrong + number[place + 1 :])


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["a", "a-", "a.", "@", "a@", "a@a", "a@a.", ".", "-", "(", "1@1.", "@1-"])
@pytest.mark.parametrize("end", ["", "@b.co", "1 "])
def test_hostile_texts_take_linear_time(piece: str, end: str):
    """A quadratic rule would need hours for a million characters."""
    text = piece * (300_000 // len(piece)) + end
    assert mask_emails(text, "").count("@") <= text.count("@")
    assert len(mask(text)) <= len(text) + 2 * text.count("@")


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "piece", ["1", "1.", "1 ", "1-", "2001:", ":", "+1 ", "(415) ", "+1(", "415-", "4111 ", "1:", "2.2.2."]
)
def test_hostile_numbers_take_linear_time(piece: str):
    text = piece * (300_000 // len(piece))
    assert len(mask(text)) <= len(text) + 10
