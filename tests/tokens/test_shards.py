"""Shards: wide and narrow, with their checksum, and those of earlier times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cutaway.runs import BadInput
from cutaway.tokens import read_shard, write_shard
from cutaway.tokens.shards import check_shard


def test_large_ids_take_four_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    assert write_shard(path, [[1, 65_536], [199_999]]) == 3
    tokens = read_shard(path)
    assert (tokens.dtype, tokens.tolist()) == (np.dtype("<u4"), [1, 65_536, 199_999])
    assert isinstance(tokens, np.memmap)
    assert write_shard(path, ([i] for i in range(5)), vocab_size=100_000) == 5
    assert read_shard(path).dtype == np.dtype("<u4")
    assert write_shard(path, ([i] for i in range(5)), vocab_size=65_536) == 5
    assert read_shard(path).dtype == np.dtype("<u2")


def test_files_of_two_bytes_an_id_alone_are_read(tmp_path: Path) -> None:
    path = tmp_path / "old.bin"
    np.arange(300, dtype="<u2").tofile(path)
    assert read_shard(path).tolist() == list(range(300))
    assert check_shard(path).checksum is None


def test_ids_that_are_none_are_refused_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for ids in ([-1], [7]):
        with pytest.raises(BadInput, match="go from 0 to 6"):
            write_shard(path, [ids], vocab_size=7)
    assert not list(tmp_path.iterdir())


def test_a_changed_byte_and_a_torn_end_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_shard(path, [list(range(1000))])
    whole = path.read_bytes()
    assert check_shard(path).n_tokens == 1000
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    with pytest.raises(BadInput, match="damaged"):
        check_shard(path)
    path.write_bytes(whole[2:])
    with pytest.raises(BadInput, match="torn"):
        read_shard(path)
