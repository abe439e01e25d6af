from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from cutaway.corpus.page import Page
from cutaway.corpus.steps.quality import QualityFilter, QualitySettings
from cutaway.runs import BadInput


@pytest.fixture(autouse=True)
def scorers(monkeypatch: pytest.MonkeyPatch):
    module = ModuleType("my_scorers")
    module.length = lambda text: len(text) / 10
    module.nothing = lambda text: float("nan")
    module.number = 3
    monkeypatch.setitem(sys.modules, "my_scorers", module)


def test_a_function_scores_pages():
    step = QualityFilter(QualitySettings(scorer="my_scorers:length", threshold=0.5))
    assert step(Page("id", "source", text="five!")) is None
    removal = step(Page("id", "source", text="four"))
    assert removal is not None
    assert (removal.rule, removal.value, removal.threshold) == ("quality", 0.4, 0.5)


def test_no_number_is_no_good_score():
    assert QualityFilter(QualitySettings(scorer="my_scorers:nothing"))(Page("id", "source", text="a")) is not None


def test_without_a_classifier_every_page_stays():
    assert QualityFilter(QualitySettings(threshold=9))(Page("id", "source")) is None


def test_a_fasttext_model_scores_pages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    asked: list[str] = []

    class Model:
        def predict(self, text: str, k: int):
            asked.append(text)
            return ("__label__cc", "__label__hq"), (0.7, 0.3)

    fake = ModuleType("fasttext")
    fake.load_model = lambda path: Model()
    monkeypatch.setitem(sys.modules, "fasttext", fake)
    path = tmp_path / "quality.bin"
    path.write_bytes(b"")
    removal = QualityFilter(QualitySettings(model=str(path)))(Page("id", "source", text="two\nlines\n"))
    assert removal is not None
    assert removal.value == 0.3
    assert asked == ["two lines"]
    assert QualityFilter(QualitySettings(model=str(path), label="__label__cc"))(Page("id", "source")) is None
    assert QualityFilter(QualitySettings(model=str(path), label="none"))(Page("id", "source")) is not None


def test_a_file_that_is_no_model_is_told(tmp_path: Path):
    pytest.importorskip("fasttext")
    (tmp_path / "a.bin").write_bytes(b"no model")
    with pytest.raises(BadInput, match="is no fastText model"):
        QualityFilter(QualitySettings(model=str(tmp_path / "a.bin")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scorer": "my_scorers"}, 'should be "module:function"'),
        ({"scorer": "my_scorers:none"}, "cannot be loaded"),
        ({"scorer": "no_such_module_here:score"}, "cannot be loaded"),
        ({"scorer": "my_scorers:number"}, "is no function"),
        ({"model": "nowhere.bin"}, "there is no fastText model at"),
    ],
)
def test_what_cannot_be_loaded_is_told(settings: dict[str, str], message: str):
    with pytest.raises(BadInput, match=message):
        QualityFilter(QualitySettings(**settings))


def test_one_classifier_at_a_time():
    with pytest.raises(ValidationError, match="not both"):
        QualitySettings(scorer="a:b", model="c")
