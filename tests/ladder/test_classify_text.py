"""One-output networks equal scikit-learn's logistic regression and naive Bayes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB

from cutaway.ladder.bag_of_words import Bags, Vocabulary, shares
from cutaway.ladder.classify_text import AveragedEmbeddings, OneNeuron, counted, descended, learned, log_odds


def two_kinds(n: int = 400, seed: int = 1) -> tuple[list[str], np.ndarray]:
    """Texts of fifty words, of which each kind likes others."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.3).astype(float)
    liked = random.dirichlet(np.full(50, 0.5), 2)
    texts = [" ".join(f"w{i}" for i in random.choice(50, random.integers(1, 12), p=liked[int(one)])) for one in y]
    return texts, y


TEXTS, TARGETS = two_kinds()
ORACLE = CountVectorizer(token_pattern=r"\w+")
TABLE = ORACLE.fit_transform(TEXTS)
VOCABULARY = Vocabulary(TEXTS, 1000, 1)
COUNTS = VOCABULARY.counts(TEXTS)
COLUMNS = [ORACLE.vocabulary_[word] for word in VOCABULARY.words]


@pytest.mark.parametrize("decay", [0.1, 1.0, 10.0])
def test_learned_weights_are_logistic_regressions(decay: float) -> None:
    network = learned(COUNTS, TARGETS, len(VOCABULARY), decay / len(TEXTS), tolerance=1e-8)
    oracle = LogisticRegression(C=1 / decay, tol=1e-10, max_iter=10_000).fit(TABLE, TARGETS)
    np.testing.assert_allclose(network.weights, oracle.coef_[0][COLUMNS], atol=2e-4)
    np.testing.assert_allclose(log_odds(network, COUNTS), oracle.decision_function(TABLE), atol=1e-3)


def test_counted_weights_are_naive_bayes() -> None:
    network = counted(COUNTS, TARGETS, len(VOCABULARY))
    oracle = MultinomialNB().fit(TABLE, TARGETS).predict_log_proba(TABLE)
    np.testing.assert_allclose(log_odds(network, COUNTS), oracle[:, 1] - oracle[:, 0], atol=1e-9)


def test_averaged_embeddings_do_what_they_say() -> None:
    network = AveragedEmbeddings(len(VOCABULARY), 6, 4, seed=3)
    table = TABLE.toarray()[:, COLUMNS]
    average = table / table.sum(1, keepdims=True) @ network.rows.weight.detach().double().numpy()
    by_hand = torch.relu(torch.tensor(average) @ network.hidden.weight.double().T + network.hidden.bias)
    wanted = (by_hand @ network.output.weight.double().T + network.output.bias)[:, 0].detach().numpy()
    np.testing.assert_allclose(log_odds(network, shares(COUNTS)), wanted, atol=1e-5)


def test_without_the_layer_between_they_are_one_neuron() -> None:
    rows, output = torch.randn(len(VOCABULARY), 6).double(), torch.randn(6).double()
    bags = shares(COUNTS)
    network = OneNeuron(len(VOCABULARY))
    with torch.no_grad():
        network.rows.weight[:, 0] = rows @ output
    table = TABLE.toarray()[:, COLUMNS]
    average = torch.tensor(table / table.sum(1, keepdims=True)) @ rows
    np.testing.assert_allclose(log_odds(network, bags), (average @ output).numpy(), atol=1e-12)


def pairs() -> tuple[Bags, np.ndarray, int]:
    """Whether two words agree, which no sum of a weight for each can tell."""
    texts = ["up high", "down low", "up low", "down high"] * 50
    vocabulary = Vocabulary(texts, 10, 1)
    return shares(vocabulary.counts(texts)), np.array([1.0, 1.0, 0.0, 0.0] * 50), len(vocabulary)


def test_words_that_answer_to_one_another_need_the_layer_between() -> None:
    bags, targets, size = pairs()
    alone = log_odds(learned(bags, targets, size, 1e-6), bags)
    assert ((alone > 0) == (targets > 0.5)).mean() <= 0.75
    network = AveragedEmbeddings(size, 8, 16, seed=1)
    descended(network, bags, targets, (bags, targets), epochs=60, seed=1, rate=1e-2)
    assert ((log_odds(network, bags) > 0) == (targets > 0.5)).all()


def test_the_same_seed_gives_the_same_and_the_best_is_kept() -> None:
    learn, choose = COUNTS.take(np.arange(300)), COUNTS.take(np.arange(300, 400))
    found: list[np.ndarray] = []
    for seed in (5, 5, 6):
        network = AveragedEmbeddings(len(VOCABULARY), 8, 8, seed)
        told: list[float] = []
        descended(
            network,
            shares(learn),
            TARGETS[:300],
            (shares(choose), TARGETS[300:]),
            epochs=40,
            seed=seed,
            rate=3e-2,
            watch=lambda epoch, loss, checked, told=told: told.append(checked),
        )
        z = torch.tensor(log_odds(network, shares(choose)))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(TARGETS[300:])).item()
        assert abs(loss - min(told)) < 1e-6
        assert told[-1] > min(told)  # it had begun to learn its texts by heart
        found.append(z.numpy())
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
