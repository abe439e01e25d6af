"""An index over the tokens of a corpus: how often a sequence of any length occurs, where, and what follows it.

A suffix array (Manber and Myers, 1993) lists all positions of a text in the order of what stands there, so that those
where a sequence stands lie side by side and a binary search finds both ends: infini-gram (Liu et al., 2024,
arXiv 2401.17377) made a language model of it. libdivsufsort sorts bytes; tokens are given to it as big-endian bytes,
whose order is that of the tokens, and of its suffixes only those are kept that begin with a token.

On disk an index is a directory of parts, each at most `part_tokens` long and searched one after another; documents
stand end to end with a 0 after each, token t as t + 1, so that no match runs across a border. A part is made whole or
not at all; one that is there with the same tokens and sound checksums is not made again.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cutaway.runs import BadInput, Progress, SilentProgress, atomic

Ints = npt.NDArray[np.int64]

KIND, VERSION = "cutaway-suffix-array", 1
PART_TOKENS = 1 << 25
"""Tokens in a part at most. Sorting one takes about 23 bytes of memory a token (45 with four-byte tokens)."""
MOST_PART_TOKENS = (1 << 31) // 4 - 1
"""libdivsufsort numbers bytes with 31 bits, and a token has up to four."""
FILES = ("tokens.bin", "suffixes.bin", "starts.bin", "names.bin", "name_ends.bin")
_CHUNK = 1 << 24


def write_index(
    path: Path,
    documents: Iterable[tuple[str, npt.ArrayLike]],
    vocab_size: int,
    *,
    part_tokens: int = PART_TOKENS,
    progress: Progress | None = None,
) -> None:
    """Index `documents`, pairs of a name and token ids `[tokens]`, in the directory `path`.

    The same documents and settings give the same bytes. After a kill, parts that were finished are kept.

    Raises:
        BadInput: a token outside the vocabulary, a document longer than a part, a missing library, or a `path` that
            holds something else.
    """
    if not 1 < part_tokens <= MOST_PART_TOKENS:
        raise BadInput(f"a part of {part_tokens:,} tokens: choose 2 to {MOST_PART_TOKENS:,}")
    if path.exists() and (not path.is_dir() or any(not _ours(each) for each in path.iterdir())):
        raise BadInput(f"{path} holds something other than an index: choose another place with --out")
    path.mkdir(parents=True, exist_ok=True)
    atomic.sweep(path)
    # A half-renewed index must not open: its list of parts goes first, and comes back last.
    (path / "index.json").unlink(missing_ok=True)
    parts: list[str] = []
    done = 0
    with (progress or SilentProgress()).task("index", None, "tokens") as task:
        for number, (names, sequences) in enumerate(_in_parts(documents, vocab_size, part_tokens)):
            parts.append(f"part-{number:05d}")
            done += _write_part(path / parts[-1], names, sequences, vocab_size)
            task.update(done)
    for old in path.glob("part-*"):
        if old.name not in parts:
            # Left of a longer corpus; a directory of it has only known files.
            for file in old.iterdir():
                file.unlink()
            old.rmdir()
    about = {"kind": KIND, "version": VERSION, "vocab_size": vocab_size, "parts": parts}
    atomic.write_json(path / "index.json", about)


def _ours(path: Path) -> bool:
    known = path.name in ("index.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json")
    return known or path.name.startswith("part-") or path.name.endswith(atomic.TEMPORARY_SUFFIX)


def _in_parts(
    documents: Iterable[tuple[str, npt.ArrayLike]], vocab_size: int, part_tokens: int
) -> Iterator[tuple[list[str], list[npt.NDArray[Any]]]]:
    """Whole documents, as many at once as fit a part with the border after each."""
    dtype = np.dtype("<u2") if vocab_size < 1 << 16 else np.dtype("<u4")
    names: list[str] = []
    sequences: list[npt.NDArray[Any]] = []
    size = 0
    for name, given in documents:
        tokens = np.asarray(given, np.int64)
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < vocab_size:
            raise BadInput(f"document {name} has a token outside the vocabulary of {vocab_size}: check the tokenizer")
        if len(tokens) >= part_tokens:
            raise BadInput(f"document {name} has {len(tokens):,} tokens, a part holds {part_tokens:,}: cut it")
        if names and size + len(tokens) + 1 > part_tokens:
            yield names, sequences
            names, sequences, size = [], [], 0
        names.append(name)
        sequences.append((tokens + 1).astype(dtype))
        size += len(tokens) + 1
    if names:
        yield names, sequences


def _write_part(path: Path, names: Sequence[str], sequences: list[npt.NDArray[Any]], vocab_size: int) -> int:
    """Sort a part and write it, unless it is there; gives its length in tokens, borders included."""
    lengths = np.array([len(each) + 1 for each in sequences], np.int64)
    starts = (np.cumsum(lengths) - lengths).astype("<i8")
    tokens = np.zeros(int(lengths.sum()), sequences[0].dtype)
    for start, sequence in zip(starts, sequences, strict=True):
        tokens[start : start + len(sequence)] = sequence
    sequences.clear()
    raw = [name.encode("utf-8", "replace") for name in names]
    known: dict[str, Any] = {
        "tokens.bin": tokens,
        "starts.bin": starts,
        "names.bin": np.frombuffer(b"".join(raw), np.uint8),
        "name_ends.bin": np.cumsum([len(each) for each in raw]).astype("<i8"),
    }
    digests = {name: _digest(array) for name, array in known.items()}
    if _is_made(path, digests):
        return len(tokens)
    known["suffixes.bin"] = sort_suffixes(tokens)
    digests["suffixes.bin"] = _digest(known["suffixes.bin"])
    about = {"vocab_size": vocab_size, "width": tokens.itemsize, "tokens": len(tokens), "documents": len(names)}
    with atomic.directory(path) as making:
        for name, array in known.items():
            (making / name).write_bytes(array.data)  # `tofile` does not say that a disk is full
        atomic.write_json(making / "part.json", about | {"blake2b": digests})
    return len(tokens)


def sort_suffixes(tokens: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Positions of `tokens` (`[tokens]`, unsigned) in the order of what stands there: `[tokens]`.

    Raises:
        BadInput: the library that sorts is missing.
    """
    try:
        from pydivsufsort import divsufsort  # here: only who makes an index should wait for it
    except ImportError:
        raise BadInput("an index needs pydivsufsort: pip install 'cutaway[corpus]'") from None
    wide = tokens.astype(tokens.dtype.newbyteorder(">")).view(np.uint8)
    order = divsufsort(wide)
    kept = order[order % tokens.itemsize == 0].astype("<u4")
    kept //= tokens.itemsize
    return kept


def _digest(array: npt.NDArray[Any]) -> str:
    digest = hashlib.blake2b(digest_size=32)
    for start in range(0, len(array), _CHUNK):
        digest.update(np.ascontiguousarray(array[start : start + _CHUNK]).data)
    return digest.hexdigest()


def _is_made(path: Path, digests: dict[str, str]) -> bool:
    """Whether a sound part of the same documents is there."""
    try:
        known = json.loads((path / "part.json").read_text(encoding="utf-8"))["blake2b"]
        return all(known[name] == digest for name, digest in digests.items()) and all(
            _digest(np.fromfile(path / name, np.uint8)) == known[name] for name in FILES
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


@dataclass(frozen=True)
class Place:
    """Where a sequence stands: a document's name, and the first token's number in it."""

    document: str
    start: int


class Part:
    """One sorted piece of a corpus, memory-mapped."""

    def __init__(self, path: Path) -> None:
        """Raises `BadInput` if a file is absent or torn."""
        try:
            about = json.loads((path / "part.json").read_text(encoding="utf-8"))
            n, documents = int(about["tokens"]), int(about["documents"])
            self.tokens = _mapped(path / "tokens.bin", {2: "<u2", 4: "<u4"}[about["width"]], n)
            self.suffixes = _mapped(path / "suffixes.bin", "<u4", n)
            self.starts = _mapped(path / "starts.bin", "<i8", documents)
            self.name_ends = _mapped(path / "name_ends.bin", "<i8", documents)
            self.names = _mapped(path / "names.bin", "u1", int(self.name_ends[-1]))
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            raise BadInput(f"the index part {path} is torn or damaged ({error}): make the index again") from None

    def narrow(self, low: Ints, high: Ints, depth: Ints | int, token: Ints) -> tuple[Ints, Ints]:
        """Of suffixes `low` to `high` that agree in `depth` tokens, those with `token` (as stored) next; all `[query]`.

        None are left where the two come back equal.
        """
        low = self._first(low, high, depth, token)
        return low, self._first(low, high, depth, token + 1)

    def _first(self, low: Ints, high: Ints, depth: Ints | int, token: Ints) -> Ints:
        last = len(self.tokens) - 1
        while (low < high).any():
            middle = (low + high) >> 1
            # A part ends with a border, lower than any token: what lies beyond it is never decisive.
            at = self.suffixes[np.minimum(middle, last)].astype(np.int64) + depth
            before = (self.tokens[np.minimum(at, last)] < token) & (low < high)
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
        return low

    def range_of(self, span: Ints) -> tuple[int, int]:
        """Suffixes that begin with one `span`: from, to."""
        stored, n = (span + 1).tolist(), len(span)

        def begins(suffix: int) -> list[int]:
            at = int(self.suffixes[suffix])
            return self.tokens[at : at + n].tolist()

        everywhere = range(len(self.tokens))
        low = bisect_left(everywhere, stored, key=begins)
        return low, bisect_right(everywhere, stored, lo=low, key=begins)

    def ranges(self, sequence: Ints, starts: Ints, lengths: Ints) -> tuple[Ints, Ints]:
        """Suffixes that begin with `sequence[start : start + length]`, for each of `[query]`: from, to."""
        if len(starts) == 1:
            # Alone, arrays of one number would cost more than what is done with them.
            one = self.range_of(sequence[starts[0] : starts[0] + lengths[0]])
            return np.array(one[:1]), np.array(one[1:])
        low, high = np.zeros(len(starts), np.int64), np.full(len(starts), len(self.tokens))
        for depth in range(int(lengths.max(initial=0))):
            alive = np.flatnonzero((lengths > depth) & (low < high))
            if not len(alive):
                break
            low[alive], high[alive] = self.narrow(low[alive], high[alive], depth, sequence[starts[alive] + depth] + 1)
        return low, high

    def place(self, position: int) -> Place:
        """The document in which a token of the part stands."""
        document = int(np.searchsorted(self.starts, position, side="right")) - 1
        begins = int(self.name_ends[document - 1]) if document else 0
        name = bytes(self.names[begins : int(self.name_ends[document])]).decode("utf-8", "replace")
        return Place(name, position - int(self.starts[document]))

    def around(self, position: int, length: int, margin: int) -> tuple[Ints, Ints]:
        """Up to `margin` tokens before a stretch and after it, of its own document."""
        document = int(np.searchsorted(self.starts, position, side="right")) - 1
        begin = int(self.starts[document])
        end = (int(self.starts[document + 1]) if document + 1 < len(self.starts) else len(self.tokens)) - 1
        before = self.tokens[max(begin, position - margin) : position]
        after = self.tokens[position + length : min(end, position + length + margin)]
        return before.astype(np.int64) - 1, after.astype(np.int64) - 1


def _mapped(path: Path, dtype: str, length: int) -> npt.NDArray[Any]:
    size = path.stat().st_size
    if size != length * np.dtype(dtype).itemsize:
        raise ValueError(f"{path.name} has {size} bytes")
    # As a plain array: every slice of a memmap would be one too, which takes several times as long.
    return np.asarray(np.memmap(path, dtype, "r", shape=(length,))) if length else np.empty(0, dtype)


class Index:
    """What a corpus holds of a sequence. Token ids are the tokenizer's own throughout."""

    def __init__(self, path: Path) -> None:
        """Open the index in the directory `path`. Raises `BadInput` if it is absent, foreign, torn or damaged."""
        try:
            about = json.loads((path / "index.json").read_text(encoding="utf-8"))
            if about["kind"] != KIND or about["version"] != VERSION:
                raise ValueError("of another kind or version")
            self.vocab_size = int(about["vocab_size"])
            names = [Path(str(name)).name for name in about["parts"]]
        except OSError:
            raise BadInput(f"{path} is no finished index; make one: cutaway corpus index RUN --out {path}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{path}/index.json is no index ({error}): make it again") from None
        self.parts = [Part(path / name) for name in names]

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents, the border after each included."""
        return sum(len(part.tokens) for part in self.parts)

    @property
    def n_documents(self) -> int:
        """Number of documents."""
        return sum(len(part.starts) for part in self.parts)

    def counts(self, grams: npt.ArrayLike) -> Ints:
        """How often each of `grams` `[query, n]` occurs: `[query]`."""
        rows = np.asarray(grams, np.int64)
        sequence = self._checked(rows.reshape(-1))
        starts = np.arange(len(rows)) * rows.shape[1]
        return self.counts_of(sequence, starts, np.full(len(rows), rows.shape[1]))

    def counts_of(self, sequence: npt.ArrayLike, starts: Ints, lengths: Ints) -> Ints:
        """How often `sequence[start : start + length]` occurs, for each of `[query]`; a stretch of none, everywhere."""
        tokens = self._checked(sequence)
        total = np.zeros(len(starts), np.int64)
        for part in self.parts:
            low, high = part.ranges(tokens, starts, lengths)
            total += high - low
        return total

    def prefix_counts(self, sequence: npt.ArrayLike, longest: int) -> Ints:
        """How often the `n` tokens from each position on occur, `[position, n]` for `n` from 0 to `longest`.

        0 where they would run beyond the sequence's end.
        """
        tokens = self._checked(sequence)
        counts = np.zeros((len(tokens), longest + 1), np.int64)
        for part in self.parts:
            low, high = np.zeros(len(tokens), np.int64), np.full(len(tokens), len(part.tokens))
            alive = np.arange(len(tokens))
            counts[:, 0] += len(part.tokens)
            for depth in range(longest):
                alive = alive[(low[alive] < high[alive]) & (alive + depth < len(tokens))]
                if not len(alive):
                    break
                low[alive], high[alive] = part.narrow(low[alive], high[alive], depth, tokens[alive + depth] + 1)
                counts[alive, depth + 1] += high[alive] - low[alive]
        return counts

    def longest_matches(self, sequence: npt.ArrayLike) -> Ints:
        """Tokens of the longest stretch from each position on that occurs in the corpus: `[position]`."""
        tokens = self._checked(sequence)
        longest = np.zeros(len(tokens), np.int64)
        for part in self.parts:
            low, high = np.zeros(len(tokens), np.int64), np.full(len(tokens), len(part.tokens))
            alive, depth = np.arange(len(tokens)), 0
            while len(alive):
                low[alive], high[alive] = part.narrow(low[alive], high[alive], depth, tokens[alive + depth] + 1)
                depth += 1
                alive = alive[low[alive] < high[alive]]
                longest[alive] = np.maximum(longest[alive], depth)
                alive = alive[alive + depth < len(tokens)]
        return longest

    def longest_suffix(self, context: npt.ArrayLike) -> int:
        """Tokens of the longest end of `context` that occurs: what the ∞-gram looks at."""
        matches = self.longest_matches(context)
        reach = np.flatnonzero(np.arange(len(matches)) + matches == len(matches))
        return len(matches) - int(reach[0]) if len(reach) else 0

    def following(self, context: npt.ArrayLike) -> tuple[Ints, int]:
        """How often each token comes after `context` `[vocab_size]`, and how often a document ends there.

        Together they are how often it occurs (Liu et al., 2024, equation 1, times its denominator).
        """
        tokens = self._checked(context)
        counts = np.zeros(self.vocab_size + 1, np.int64)
        for part in self.parts:
            low, high = part.ranges(tokens, np.zeros(1, np.int64), np.array([len(tokens)]))
            if high[0] - low[0] <= self.vocab_size:
                at = part.suffixes[low[0] : high[0]].astype(np.int64) + len(tokens)
                np.add.at(counts, part.tokens[at], 1)
            else:
                stored = np.arange(self.vocab_size + 1)
                first, last = part.narrow(low.repeat(len(stored)), high.repeat(len(stored)), len(tokens), stored)
                counts += last - first
        return counts[1:], int(counts[0])

    def occurrences(self, span: npt.ArrayLike, most: int) -> list[tuple[Part, int]]:
        """The first `most` places of `span` in the corpus's order of suffixes: its part, and its position in it."""
        tokens = self._checked(span)
        found: list[tuple[Part, int]] = []
        for part in self.parts:
            low, high = part.range_of(tokens)
            end = min(high, low + most - len(found))
            found += [(part, int(position)) for position in part.suffixes[low:end]]
        return found

    def _checked(self, sequence: npt.ArrayLike) -> Ints:
        tokens = np.asarray(sequence, np.int64)
        if tokens.size and not 0 <= int(tokens.min()) <= int(tokens.max()) < self.vocab_size:
            raise BadInput(f"a token is outside the index's vocabulary of {self.vocab_size}: use its own tokenizer")
        return tokens
