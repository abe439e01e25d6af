"""Labelled texts in every form they come in, and what is said of files that are none."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cutaway.ladder import rule_filter
from cutaway.pipeline.rungs import labelled_texts
from cutaway.pipeline.rungs.labelled_texts import LabelledTexts, read_labelled
from cutaway.pipeline.rungs.two_bibles import Piece, pieces
from cutaway.runs import BadInput

WORDS = Path(__file__).parents[4] / "shared/data/words"
ROWS = [(f"message {i}", "ham") for i in range(70)] + [(f"prize {i}", "spam") for i in range(40)]


def read(path: Path | None, **options: Any) -> LabelledTexts:
    given: dict[str, Any] = {"wanted": None, "most": 20_000, "share": 0.2, "rules": (), "seed": 1}
    return read_labelled(path, **{**given, **options})


def as_pairs(found: LabelledTexts) -> set[tuple[str, float]]:
    return set(zip(found.texts, found.targets.tolist(), strict=True))


WANTED = {(text, float(label == "spam")) for text, label in ROWS}


def sms(tmp_path: Path) -> Path:
    path = tmp_path / "SMSSpamCollection"
    path.write_text("".join(f"{label}\t{text}\n" for text, label in ROWS))
    return path


def sms_zip(tmp_path: Path) -> Path:
    path = tmp_path / "sms.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme", "about")
        archive.write(sms(tmp_path), "SMSSpamCollection")
    return path


def headless_tsv(tmp_path: Path) -> Path:
    return sms(tmp_path).rename(tmp_path / "sms.tsv")


def tsv(tmp_path: Path) -> Path:
    path = tmp_path / "named.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in ROWS))
    return path


def csv(tmp_path: Path) -> Path:
    path = tmp_path / "named.csv"
    path.write_text("label,extra,text\n" + "".join(f'{label},7,"{text}"\n' for text, label in ROWS))
    return path


def jsonl(tmp_path: Path) -> Path:
    path = tmp_path / "named.jsonl"
    path.write_text("".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS))
    return path


@pytest.mark.parametrize("make", [sms, sms_zip, headless_tsv, tsv, csv, jsonl], ids=lambda make: make.__name__)
def test_every_form_gives_the_same(make: Any, tmp_path: Path) -> None:
    found = read(make(tmp_path))
    assert as_pairs(found) == WANTED
    assert (found.wanted, found.others, found.rules) == ("spam", "ham", rule_filter.SPAM)
    assert len(set(found.groups)) == len(ROWS)


def test_an_old_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "SMSSpamCollection"
    path.write_bytes("ham\tcosts £ 1\n".encode("latin-1"))
    with pytest.raises(BadInput, match=r"SMSSpamCollection is not UTF-8 \(byte offset 10\)"):
        read(path)
    packed = tmp_path / "old.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.write(path, "SMSSpamCollection")
    with pytest.raises(BadInput, match=r"old.zip: SMSSpamCollection is not UTF-8"):
        read(packed)


@pytest.mark.parametrize("heading", ["label\ttext", "Category\tMessage", "v1\tv2\t\r"])
def test_a_heading_is_no_text(tmp_path: Path, heading: str) -> None:
    path = tmp_path / "sms.txt"
    path.write_text(heading + "\n" + sms(tmp_path).read_text())
    found = read(path)
    assert as_pairs(found) == WANTED
    assert found.others == "ham"


def test_what_unicode_calls_a_line_break_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "sms.txt"
    path.write_text("".join(f"{label}\tone\u2028two\x85 {text}\n" for text, label in ROWS))
    assert len(read(path).texts) == len(ROWS)


def test_repeated_texts_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "SMSSpamCollection"
    path.write_text("".join(f"{label}\t{text.upper()} \n{label}\t{text}\n" for text, label in ROWS))
    found = read(path)
    assert (len(found.texts), found.repeated) == (len(ROWS), len(ROWS))


def test_a_label_of_several_against_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "three.csv"
    path.write_text("text,label\n" + "".join(f"text {i},{'abc'[i % 3]}\n" for i in range(120)))
    found = read(path, wanted="b", rules=("[02468]$",))
    assert (found.wanted, found.others, int(found.targets.sum())) == ("b", "not b", 40)
    assert [rule.name for rule in found.rules] == ["[02468]$"]
    with pytest.raises(BadInput, match="a, b, c; say which"):
        read(path)
    with pytest.raises(BadInput, match="no text labelled 'd'; the labels are a, b, c"):
        read(path, wanted="d")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "is not there"),
        ("pairs.txt", b"only words\n", "line 1 is no label, a tab and a text"),
        ("empty.txt", b"", "empty.txt holds no labelled text"),
        ("heading.csv", b"text,label\n", "heading.csv holds no examples to learn from"),
        ("one.csv", b"text,label\n" + b"a,x\n" * 50, "single label x"),
        (
            "few.csv",
            b"text,label\n" + b"".join(b"t%d,%s\n" % (i, b"spam" if i < 5 else b"ham") for i in range(99)),
            "5 texts",
        ),
        ("prose.jsonl", b'{"text": "no label"}\n', "rows with text and label"),
        ("wrong.csv", b"v1,v2\nham,hello\n", "keys v1, v2"),
    ],
)
def test_what_is_no_labelled_text(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=message):
        read(path)


def test_archives_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "b")
    with pytest.raises(BadInput, match="holds none of"):
        read(path)
    whole = sms_zip(tmp_path).read_bytes()
    path.write_bytes(whole.replace(b"message 1", b"massage 1"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("neg/x.txt", "y" * 5000)
    broken = bytearray(path.read_bytes())
    at = broken.find(b"y" * 100)
    broken[at] = ord("z")
    path.write_bytes(bytes(broken))
    with pytest.raises(BadInput, match="cannot be unpacked"):
        read(path)


def test_a_rule_that_is_no_pattern() -> None:
    with pytest.raises(BadInput, match="no pattern"):
        read(None, rules=("(",))


@pytest.fixture(scope="module")
def clauses() -> list[Piece]:
    return list(pieces("clause"))


def test_the_built_in_texts_are_drawn_as_asked(clauses: list[Piece], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled_texts, "pieces", lambda kind: iter(clauses))
    found = read(None, most=2000, share=0.3)
    assert (len(found.texts), found.targets.mean()) == (2000, 0.3)
    assert (found.wanted, found.others) == ("King James", "Basic English")
    assert read(None, most=2000, share=0.3).texts == found.texts
    assert read(None, most=2000, share=0.3, seed=2).texts != found.texts
    assert 1 < np.mean([len(text.split()) for text in found.texts]) < 30


def test_the_pieces_are_of_the_same_chapters(clauses: list[Piece]) -> None:
    chapters: dict[str, set[str]] = {}
    for piece in clauses:
        chapters.setdefault(piece.label, set()).add(piece.chapter)
        assert piece.text == piece.text.strip() != ""
    kjv, bbe = chapters["King James"], chapters["Basic English"]
    assert len(kjv & bbe) >= 1180


@pytest.mark.skipif(not WORDS.exists(), reason="needs ../shared/data/words")
@pytest.mark.parametrize(
    ("name", "wanted", "texts", "share"),
    [
        ("sentence_polarity", "pos", 10_662, 0.5),
        ("subjectivity", "subjective", 10_000, 0.5),
        ("movie_reviews", "pos", 2_000, 0.5),
    ],
)
def test_nltks_archives(name: str, wanted: str, texts: int, share: float) -> None:
    found = read(WORDS / f"{name}.zip")
    assert found.wanted == wanted
    assert len(found.texts) + found.repeated == texts
    assert found.repeated < 20
    assert abs(found.targets.mean() - share) < 0.01
    assert found.rules
