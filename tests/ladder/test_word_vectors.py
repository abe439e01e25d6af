from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gensim.models import KeyedVectors
from gensim.models import Word2Vec as Gensims

from cutaway.ladder.word_vectors import (
    MOST_AT_ONCE,
    Kind,
    Word2Vec,
    WordVectors,
    WordVectorSettings,
    add,
    train_word_vectors,
)
from cutaway.ladder.word_windows import Text, Windows, read_text
from cutaway.runs import BadInput, SilentProgress

KINDS: tuple[Kind, ...] = ("skip-gram", "cbow")


def a_batch() -> Windows:
    """Three places; the second stands at a border, the third alone; noise repeats itself and meets a real word."""
    return Windows(
        torch.tensor([0, 3, 5]),
        torch.tensor([[1, 2, 1, 4], [2, 6, 0, 0], [0, 0, 0, 0]]),
        torch.tensor([[1.0, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]]),
        torch.tensor([[6, 6, 1], [3, 2, 1], [4, 4, 4]]),
        0.0,
    )


def started(kind: Kind) -> Word2Vec:
    model = Word2Vec(7, 4, kind, seed=2)
    model.u = torch.randn(7, 4, generator=torch.Generator().manual_seed(3))
    model.v = torch.randn(7, 4, generator=torch.Generator().manual_seed(4))
    return model


def loss_by_definition(v: torch.Tensor, u: torch.Tensor, kind: Kind, batch: Windows) -> tuple[torch.Tensor, int]:
    """Equation 4 of Mikolov et al. (2013b), place by place, and how many h it was summed over."""
    total, n = torch.zeros(()), 0
    for middle, near, present, noise in zip(batch.middle, batch.near, batch.present, batch.noise, strict=True):
        neighbours = [v[word] for word, there in zip(near, present, strict=True) if there]
        if kind == "cbow" and neighbours:
            neighbours = [torch.stack(neighbours).mean(0)]
        for h in neighbours:
            total = total - torch.sigmoid(u[middle] @ h).log()
            for word in noise:
                if word != middle:
                    total = total - torch.sigmoid(-(u[word] @ h)).log()
            n += 1
    return total, n


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_goes_down_the_gradient_of_the_papers_loss(kind: Kind) -> None:
    model, batch, rate = started(kind), a_batch(), 0.1
    v, u = (matrix.clone().requires_grad_() for matrix in (model.v, model.u))
    total, n = loss_by_definition(v, u, kind, batch)
    total.backward()
    assert model.loss(batch) == pytest.approx(float(total.detach()) / n, rel=1e-5)
    before = model.v.clone(), model.u.clone()
    model.step(batch, rate)
    assert u.grad is not None
    assert v.grad is not None
    torch.testing.assert_close(model.u - before[1], -rate * u.grad, atol=1e-6, rtol=1e-5)
    moved = model.v - before[0]
    if kind == "skip-gram":
        torch.testing.assert_close(moved, -rate * v.grad, atol=1e-6, rtol=1e-5)
        return
    # Of the mean's gradient each neighbour takes all, as in the published program: 4 times its share at the first
    # place, 2 times at the second. Words 1 and 4 are near the first alone, 6 and 2 the second (2 both).
    torch.testing.assert_close(moved[[1, 4]], -rate * 4 * v.grad[[1, 4]], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(moved[6], -rate * 2 * v.grad[6], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(moved[[0, 3, 5]], torch.zeros(3, 4))


def test_an_untrained_model_knows_nothing() -> None:
    batch = Windows(torch.tensor([0]), torch.tensor([[1, 2]]), torch.ones(1, 2), torch.tensor([[3, 4, 4]]), 0.0)
    for kind in KINDS:
        assert Word2Vec(5, 8, kind, seed=1).loss(batch) == pytest.approx(4 * np.log(2))


def test_steps_of_one_word_add_up_until_they_are_too_many() -> None:
    few = torch.zeros(3, 2)
    add(few, torch.tensor([[0, 1, 1]]), torch.tensor([[[1.0, 2], [3, 4], [5, 6]]]))
    torch.testing.assert_close(few, torch.tensor([[1.0, 2], [8, 10], [0, 0]]))
    many = torch.zeros(2, 1)
    add(many, torch.zeros(1, 10 * MOST_AT_ONCE, dtype=torch.long), torch.ones(1, 10 * MOST_AT_ONCE, 1))
    assert many.flatten().tolist() == pytest.approx([MOST_AT_ONCE, 0.0], rel=1e-4)


def two_topics(n: int) -> Text:
    """A text in which a word's neighbours give away which of two topics it belongs to."""
    rng = np.random.default_rng(0)
    topics = [[f"{name}{chr(97 + i)}" for i in range(8)] for name in ("sea", "hill")]
    return read_text((" ".join(rng.choice(topics[i % 2], 12)) for i in range(n)), min_count=1)


SMALL = WordVectorSettings(dimensions=16, window=3, epochs=4, subsample=1.0, lr=0.05, batch=64)


@pytest.mark.parametrize("kind", KINDS)
def test_words_with_like_neighbours_come_to_lie_together(kind: Kind) -> None:
    lesson = train_word_vectors(two_topics(1500), kind, SMALL, 1, SilentProgress())
    vectors = lesson.vectors
    sea = np.array([word.startswith("sea") for word in vectors.words])
    cosines = vectors.unit @ vectors.unit.T
    assert cosines[np.ix_(sea, sea)].min() > cosines[np.ix_(sea, ~sea)].max() + 0.5
    assert lesson.losses[-1][1] < lesson.losses[0][1] * 0.9


def test_the_same_seed_gives_the_same_vectors_and_another_others() -> None:
    text = two_topics(100)
    one, same, other = (train_word_vectors(text, "skip-gram", SMALL, seed, SilentProgress()) for seed in (1, 1, 2))
    assert np.array_equal(one.vectors.vectors, same.vectors.vectors)
    assert not np.array_equal(one.vectors.vectors, other.vectors.vectors)


@pytest.mark.parametrize("kind", KINDS)
def test_a_frequent_word_in_large_batches_does_not_diverge(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    text = read_text((" ".join(rng.choice(["the", "a", "b"], 20, p=[0.8, 0.1, 0.1])) for _ in range(300)), 1)
    settings = SMALL.model_copy(update={"batch": 2048, "epochs": 10})
    first, *_, last = (loss for _, loss in train_word_vectors(text, kind, settings, 1, SilentProgress()).losses)
    assert last < 0.8 * first
    # All steps in full are what diverges.
    monkeypatch.setattr("cutaway.ladder.word_vectors.MOST_AT_ONCE", 1e9)
    lost = train_word_vectors(text, kind, settings, 1, SilentProgress())
    assert not lost.losses[-1][1] < first


def test_gensim_reads_what_is_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    vectors = WordVectors(["the", "don't", "ärger"], rng.standard_normal((3, 5)).astype(np.float32))
    vectors.save(tmp_path / "vectors.txt")
    theirs = KeyedVectors.load_word2vec_format(str(tmp_path / "vectors.txt"))
    assert theirs.index_to_key == vectors.words
    assert theirs.vectors == pytest.approx(vectors.vectors, rel=1e-5)
    again = WordVectors.read(tmp_path / "vectors.txt")
    assert again.words == vectors.words
    assert again.vectors == pytest.approx(theirs.vectors)


def test_vectors_without_a_first_line_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "glove.txt").write_text("one 1 2\ntwo -0.5 1e-3\n")
    read = WordVectors.read(tmp_path / "glove.txt")
    assert read.words == ["one", "two"]
    assert read.vectors == pytest.approx(np.array([[1, 2], [-0.5, 0.001]]))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("2 3\none 1 2 3\ntwo 1 2\n", "line 3 .*2 numbers, where the first has 3"),
        ("one 1 2\ntwo 1 x\n", "line 2 "),
        ("one 1\ntwo\n", "line 2 .*no number follows the word"),
        ("one\n", "line 1 "),
        ("2 3\n", "holds no word vectors"),
    ],
)
def test_what_is_no_vectors_is_bad_input(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=said):
        WordVectors.read(path)
    with pytest.raises(BadInput, match="No such file"):
        WordVectors.read(tmp_path / "none.txt")


@pytest.mark.parametrize("kind", KINDS)
def test_words_lie_to_each_other_as_in_gensim(kind: Kind) -> None:
    """The cosines of all pairs of words agree with gensim's as well as gensim's with those of another seed."""
    rng = np.random.default_rng(0)
    follows = rng.dirichlet(np.full(40, 0.05), 40)
    passages: list[str] = []
    for _ in range(800):
        words = [int(rng.integers(40))]
        for _ in range(14):
            words.append(int(rng.choice(40, p=follows[words[-1]])))
        passages.append(" ".join("w" + chr(97 + word // 10) + chr(97 + word % 10) for word in words))
    text = read_text(passages, 1)

    def cosines(vectors: WordVectors) -> Any:
        rows = vectors.unit[[vectors.number[word] for word in text.words]]
        return (rows @ rows.T)[np.triu_indices(len(rows), 1)]

    settings = SMALL.model_copy(update={"epochs": 8, "lr": 0.025, "window": 2})
    ours = cosines(train_word_vectors(text, kind, settings, 1, SilentProgress()).vectors)
    theirs: list[Any] = []
    for seed in (1, 2):
        model: Any = Gensims(
            [passage.split() for passage in passages], sg=int(kind == "skip-gram"), vector_size=16, window=2,
            negative=5, sample=0, min_count=1, epochs=8, alpha=0.025, seed=seed, workers=1,
        )  # fmt: skip
        theirs.append(cosines(WordVectors(model.wv.index_to_key, model.wv.vectors)))
    among_themselves = np.corrcoef(*theirs)[0, 1]
    assert among_themselves > 0.5
    assert np.corrcoef(ours, theirs[0])[0, 1] > among_themselves - 0.1
