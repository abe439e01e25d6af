"""Learning vocabularies: natively and by `tokenizers` to the same file, as `rustbpe`'s counts would have it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers

from cutaway.runs import BadInput, CutawayError
from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens import train as training
from cutaway.tokens.native import learning
from cutaway.tokens.native.learning import NativeTrainer, character_classes
from cutaway.tokens.special import SPECIAL_TOKENS
from cutaway.tokens.splits import Split, known_split
from cutaway.tokens.train import learn

SPLITS = [Split.of("cutaway"), Split.of("gpt2"), Split.of("cl100k"), Split.of("o200k"), Split.of("gpt2", 3)]
PARTS = [
    *" \t\n\r\x0b\x85\xa0\u2028\u3000'sStTreRElLdm/0123.,-_aAbZſK日本ǅʰ\u0301٣Ⅷ½🙂\u200d\x00",
    "\r\n",
    "'ll",
    "the",
    " of",
]


def hostile_texts(n: int) -> list[str]:
    rng = random.Random(5)
    points = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
    return [
        "".join(rng.choice(PARTS) if rng.random() < 0.9 else rng.choice(points) for _ in range(rng.randrange(1, 60)))
        for _ in range(n)
    ]


@pytest.fixture(scope="module")
def native() -> None:
    try:
        learning.library()
    except CutawayError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("split", SPLITS, ids=str)
@pytest.mark.usefixtures("native")
def test_both_trainers_learn_the_same_file(split: Split) -> None:
    texts = [*hostile_texts(1500), "the cat sat on the mat, and the other cat's 1234 hats " * 50]
    # Names that words may spell, too.
    special = [*SPECIAL_TOKENS, "the", "é", "日本"]
    ours, theirs = (learn(split, special, 900, iter(texts), large=large) for large in (1, 10**9))
    assert ours.to_str() == theirs.to_str()
    assert ours.get_vocab_size() == 900


@pytest.mark.usefixtures("native")
def test_the_number_of_threads_and_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = hostile_texts(400)
    whole = learn(SPLITS[0], [], 400, texts, large=1).to_str()
    monkeypatch.setattr(learning, "BATCH", 100)
    monkeypatch.setattr(learning.os, "sched_getaffinity", lambda _: range(5), raising=False)
    assert learn(SPLITS[0], [], 400, texts, large=1).to_str() == whole


@pytest.mark.usefixtures("native")
def test_the_rarest_words_are_forgotten_when_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "BATCH", 1000)
    monkeypatch.setattr(learning, "MOST_WORDS", 100)
    once = (f"w{i:x} often often " for i in range(5000))
    trainer = NativeTrainer(Split.of("gpt2"))
    words = trainer._count(once)
    assert trainer.library.cutaway_words_size(words) <= 200
    trainer.library.cutaway_words_free(words)
    # What is frequent is kept.
    backend = learn(Split.of("gpt2"), [], 262, (f"w{i:x} often often " for i in range(5000)), large=1)
    assert "Ġoften" in backend.get_vocab()


def test_without_a_compiler_the_library_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: Split) -> NativeTrainer:
        raise CutawayError("no compiler")

    monkeypatch.setattr("cutaway.tokens.native.NativeTrainer", none)
    texts = ["the cat sat on the mat"] * 20
    assert learn(SPLITS[0], [], 270, texts, large=1).to_str() == learn(SPLITS[0], [], 270, texts).to_str()


@given(st.lists(st.sampled_from(PARTS), max_size=30).map("".join) | st.text(max_size=30))
def test_the_scanner_cuts_as_the_patterns_do(text: str) -> None:
    try:
        learning.library()
    except CutawayError as error:
        pytest.skip(str(error))
    for split in SPLITS:
        trainer = NativeTrainer(split)
        words = trainer._count_batch([text])
        expected = {part for part, _ in pre_tokenizers.Split(Regex(split.pattern), "isolated").pre_tokenize_str(text)}
        found = trainer.library.cutaway_words_size(words)
        trainer.library.cutaway_words_free(words)
        assert found == len(expected)


def test_classes_of_characters_are_unicodes() -> None:
    classes = character_classes()
    for character, expected in (
        ("a", 17),
        ("A", 9),
        ("ʰ", 25),
        ("1", 2),
        ("½", 2),
        ("\u3000", 4),
        ("\u0301", 24),
        ("!", 0),
    ):
        assert classes[ord(character)] == expected


def test_patterns_are_known_however_they_are_written() -> None:
    openai = pytest.importorskip("tiktoken_ext.openai_public")
    assert known_split(openai.r50k_pat_str) == Split.of("gpt2")
    for split in SPLITS:
        assert known_split(split.pattern).pattern == split.pattern  # type: ignore[union-attr]
    assert known_split(r"\w+") is None


def test_digits_and_special_tokens_are_as_asked_for(tmp_path: Path) -> None:
    settings = TokenizerSettings(vocab_size=300, split="cl100k", digits=2, special=("<|fim|>",))
    trained = train_tokenizer(settings, ["12345678 12345678 " * 30], tmp_path)
    assert max(len(trained.decode([id_])) for id_ in trained.encode("12345678")) == 2
    assert "<|fim|>" in trained.special
    assert trained.special["<|fim|>"] not in trained.encode("a <|fim|> b")
    assert Tokenizer.load(tmp_path).special == trained.special


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (TokenizerSettings(vocab_size=256), "need 263"),
        (TokenizerSettings(special=("<a>", "<a>")), "named twice"),
        (TokenizerSettings(special=("",)), "without a name"),
    ],
)
def test_what_cannot_be_learned_is_refused(settings: TokenizerSettings, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=message):
        train_tokenizer(settings, ["text"], tmp_path)


def test_texts_are_read_once_and_not_held(monkeypatch: pytest.MonkeyPatch, native: None) -> None:
    monkeypatch.setattr(training, "LARGE", 10)
    monkeypatch.setattr(learning, "BATCH", 100)
    alive = 0
    most = 0

    class Counted(str):
        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    def stream():
        nonlocal alive, most
        for i in range(3000):
            alive += 1
            most = max(most, alive)
            yield Counted(f"text number {i % 7} ")

    learn(SPLITS[0], [], 280, stream(), large=10)
    assert most < 600
