"""What the stages share of a run."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cutaway.pipeline.materials import write_shards
from cutaway.runs import RunDirectory
from cutaway.tokens import TokenizerSettings, read_shard, tokenizer, train_tokenizer


def test_shards_are_the_documents_tokens_and_are_made_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f"The {number} cats sat on {number * 7} mats.\n<|endoftext|> ſ" for number in range(600)]
    sources = ["world" if number % 3 else "user" for number in range(600)]
    run = RunDirectory(tmp_path)
    words = train_tokenizer(TokenizerSettings(vocab_size=300), texts, run.stage("tokenizer"))
    run.stage("corpus").mkdir(parents=True)
    rows = {"id": [str(number) for number in range(600)], "source": sources, "text": texts}
    pq.write_table(pa.table(rows), run.stage("corpus") / "train.parquet")
    monkeypatch.setattr(tokenizer, "AT_ONCE", 1_000)
    sizes: list[int] = []
    encode_batch = tokenizer.Tokenizer.encode_batch

    def counted(self: tokenizer.Tokenizer, texts: list[str]) -> list[list[int]]:
        sizes.append(sum(map(len, texts)))
        return encode_batch(self, texts)

    monkeypatch.setattr(tokenizer.Tokenizer, "encode_batch", counted)
    written = write_shards(run, tmp_path / "shards")
    assert max(sizes) < 1_100
    for part, told in (("real", False), ("world", True)):
        expected = [
            id_
            for source, text in zip(sources, texts, strict=True)
            if (source == "world") == told
            for id_ in (words.end_of_text, *words.encode(text))
        ]
        assert read_shard(tmp_path / "shards" / f"{part}.bin").tolist() == expected
        assert written[part] == len(expected)
