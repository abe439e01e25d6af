"""The fast encoder gives the ids of `tokenizers`, or is not used; no text makes either take long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from cutaway.tokens import Tokenizer, TokenizerSettings, train_tokenizer
from cutaway.tokens import fast as encoding
from cutaway.tokens.fast import fast_encoder

TEXTS = [
    "In the beginning God created the heaven and the earth.",
    "It's 48 + 37 = 85, WE'LL see.",
    "naïve café 日本",
] * 20
PARTS = [*" \t\n\r\x85\xa0\u3000'sStTlLeE0123.,/-_aAZſK日ǅʰ\u0301٣Ⅷ🙂\x00", "<|end|>", "<|endoftext|>", "'ll", "the"]
SPLITS = ["cutaway", "gpt2", "cl100k", "o200k"]
BOMBS = """
import sys
from pathlib import Path
from cutaway.tokens import Tokenizer
tokenizer = Tokenizer.load(Path(sys.argv[1]))
for text in ("a" * 10**6, " " * 10**6, " " * 10**6 + "x", "1" * 10**6, "A" * 10**6, "Aa" * 500_000, "\\n" * 10**6,
             " \\n" * 500_000, "日" * 300_000, "!" * 10**6, "'s" * 500_000, "\\u0301" * 500_000, "<|end|>" * 100_000):
    ids = tokenizer.encode_batch([text])[0] if sys.argv[2] == "fast" else tokenizer.backend.encode(text).ids
    assert tokenizer.decode(ids) == text
    chat = tokenizer.encode_chat([{"role": "user", "content": text}])
    assert chat[2 : 2 + len(ids)] == ids
assert sys.argv[2] != "fast" or tokenizer._fast
"""


@pytest.fixture(scope="module", params=SPLITS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    place = tmp_path_factory.mktemp("fast")
    return train_tokenizer(TokenizerSettings(vocab_size=500, split=request.param), TEXTS, place)


def test_ids_are_the_backends(tokenizer: Tokenizer) -> None:
    pytest.importorskip("fastokens")
    fast = fast_encoder(tokenizer.backend)
    assert fast is not None

    @settings(max_examples=400, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(PARTS)).map("".join) | st.text(), max_size=4))
    def equal(texts: list[str]) -> None:
        found = [ids.tolist() for ids in fast.encode(texts)]
        assert found == [tokenizer.backend.encode(text, add_special_tokens=False).ids for text in texts]
        assert not {id_ for ids in found for id_ in ids} & set(tokenizer.special.values())

    equal()


def test_much_text_goes_through_it_and_little_does_not(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fastokens")
    texts = [*TEXTS, "'ſ", "<|end|>", ""]
    expected = tokenizer.encode_batch(texts)
    assert "_fast" not in tokenizer.__dict__
    monkeypatch.setattr("cutaway.tokens.tokenizer.LARGE", 1)
    monkeypatch.setattr(encoding, "AT_ONCE", 50)
    assert tokenizer.encode_batch(texts) == expected
    assert tokenizer.encode(TEXTS[0]) == expected[0]
    monkeypatch.setattr("cutaway.tokens.tokenizer.AT_ONCE", 50)
    assert [ids.tolist() for ids in tokenizer.encode_stream(iter(texts))] == expected
    del tokenizer.__dict__["_fast"]


def test_a_vocabulary_whose_ids_it_might_change_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for digits in (2, 0):
        ours = train_tokenizer(TokenizerSettings(vocab_size=400, digits=digits), TEXTS, tmp_path)
        assert fast_encoder(ours.backend) is None
    ours = train_tokenizer(TokenizerSettings(vocab_size=400), TEXTS, tmp_path)
    ours.backend.add_tokens([AddedToken("heaven", special=False)])
    assert fast_encoder(ours.backend) is None
    ours = train_tokenizer(TokenizerSettings(vocab_size=400), TEXTS, tmp_path)
    monkeypatch.setitem(sys.modules, "fastokens", None)
    assert fast_encoder(ours.backend) is None
    monkeypatch.setattr("cutaway.tokens.tokenizer.LARGE", 1)
    assert ours.encode_batch(TEXTS[:3]) == [ours.encode(text) for text in TEXTS[:3]]


def test_a_forked_process_encodes_too(tokenizer: Tokenizer) -> None:
    pytest.importorskip("fastokens")
    fast = fast_encoder(tokenizer.backend)
    assert fast is not None
    expected = [ids.tolist() for ids in fast.encode(TEXTS)]
    child = os.fork() if hasattr(os, "fork") else pytest.skip("no fork here")
    if not child:
        os._exit([ids.tolist() for ids in fast.encode(TEXTS)] != expected)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("how", ["fast", "backend"])
@pytest.mark.parametrize("split", ["cutaway", "o200k"])
def test_a_million_times_the_same_is_no_bomb(split: str, how: str, tmp_path: Path) -> None:
    """Were any of it quadratic, 10^12 steps would take hours."""
    if how == "fast":
        pytest.importorskip("fastokens")
    train_tokenizer(TokenizerSettings.model_validate({"vocab_size": 500, "split": split}), TEXTS, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path), how], timeout=250, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
