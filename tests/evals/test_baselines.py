"""Baselines know the training text, and are results like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cutaway.corpus.documents import Document
from cutaway.evals.baselines import baselines
from cutaway.runs import SilentProgress, read_results


class Letters:
    end_of_text = 256
    vocab_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


def test_both_are_measured_on_the_same_bytes(tmp_path: Path) -> None:
    verse = "and the evening and the morning were the {} day. "
    training = [Document(f"a/{n}", verse.format(n) * 8, "a") for n in ("first", "second", "third", "fourth", "fifth")]
    heldout = [Document("a/6", verse.format("sixth") * 3 + "and on the seventh day God ended his work.", "a")]
    found = baselines(Letters(), training, heldout, SilentProgress(), seed=2, directory=tmp_path)
    assert [(r.stage, r.metric, r.unit, r.seed, r.higher_is_better) for r in found] == [
        ("baseline", "xz", "bits/byte", 2, False),
        ("baseline", "kneser_ney", "bits/byte", 2, False),
    ]
    assert all(r.n == len(heldout[0].text) for r in found)
    assert all(0 < r.value < 4 for r in found)
    assert read_results(tmp_path / "evals.json") == found
    assert baselines(Letters(), training, [], SilentProgress(), seed=2) == []
