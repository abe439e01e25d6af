"""Tokenizers: learning a vocabulary and encoding, ours beside tokenizers, rustbpe, tiktoken and others.

    .venv/bin/python bench/tokens.py                       # both parts; some minutes, most of them the peers'
    .venv/bin/python bench/tokens.py --megabytes 10        # less text
    .venv/bin/python bench/tokens.py --part encode --vocabulary cl100k
    .venv/bin/python bench/tokens.py --part equal --megabytes 100   # our ids beside tiktoken's, nothing timed

Learning: 32,768 tokens from novels, on one core and on two. Encoding: the published vocabularies on text of many kinds,
each library in a process of its own that has not met the text before. Ids are compared with tiktoken's, all of them,
or with `equal` those alone, text for text, so that memory does not grow with the text.
Times are by the clock and of the processor, which other work on the machine changes less; ratios are of the latter.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from cutaway.evals.markdown import markdown_table
from cutaway.tokens.fast import as_scanned
from cutaway.tokens.formats import open_any
from cutaway.tokens.splits import Split
from cutaway.tokens.train import learn
from cutaway.tokens.vocabularies import ByteLevel, bytes_of

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
FILES = {"gpt2": "gpt2-vocab.bpe", "cl100k": "cl100k_base.tiktoken.gz", "o200k": "o200k_base.tiktoken.gz"}
LEARNERS = ("ours", "rustbpe", "tokenizers")
ENCODERS = ("tiktoken", "ours", "tokenizers", "fastokens", "tokie", "gigatoken")
VOCAB_SIZE = 32_768
LEAST_TIMES_TIKTOKEN = 8.0
PIECE = 20_000
TOGETHER = 200
"""Pieces that are compared at a time."""


def novels(most: int) -> list[str]:
    """Pieces of novels, about `most` bytes."""
    pieces: list[str] = []
    size = 0
    with tarfile.open(DATA / "text" / "novels.tar.xz") as archive:
        for member in sorted((m for m in archive if m.isfile()), key=lambda m: m.name):
            file = archive.extractfile(member)
            assert file is not None
            raw = file.read()
            text = raw.decode("utf-8", "replace")
            pieces += [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
            size += len(raw)
            if size >= most:
                break
    return pieces


def mixed(most: int) -> list[str]:
    """Novels, then code, mark-up, JSON, talk and three languages; about `most` bytes, at most 115 MB."""
    pieces = novels(most * 6 // 10)
    size = sum(len(piece.encode()) for piece in pieces)
    for path in sorted(DATA.rglob("*")):
        if not path.is_file() or path.suffix not in (".txt", ".json", ".jsonl", ".gz", ".md"):
            continue
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8", "replace")
        pieces += [text[i : i + PIECE] for i in range(0, len(text), PIECE)]
        size += len(text.encode())
        if size >= most:
            break
    return pieces


def learn_with(name: str, texts: list[str]) -> str:
    """A digest of the tokens that were learned, in their order, that two libraries can be compared by."""
    split = Split.of("cutaway")
    if name == "rustbpe":
        trainer = importlib.import_module("rustbpe").Tokenizer()
        trainer.train_from_iterator(iter(texts), VOCAB_SIZE, pattern=split.pattern)
        tokens = [bytes(token) for token, rank in trainer.get_mergeable_ranks() if rank >= 256]
    else:
        backend = learn(split, [], VOCAB_SIZE, texts, large=1 if name == "ours" else 1 << 60)
        merges = json.loads(backend.to_str())["model"]["merges"]
        tokens = [bytes_of(left) + bytes_of(right) for left, right in merges]
    return hashlib.sha256(b"\n".join(tokens)).hexdigest()


def encoder_of(name: str, vocabulary: str, threads: int) -> Callable[[list[str]], Iterable[Any]]:
    ours = open_any(DATA / "tokenizers" / FILES[vocabulary])
    pattern = Split.of(vocabulary).pattern  # type: ignore[arg-type]
    if name == "ours":
        assert ours._fast, "fastokens is not installed: ours is tokenizers then"
        return ours.encode_stream
    if name == "tiktoken":
        ranks = dict(ByteLevel.of(ours).ids)
        encoding = importlib.import_module("tiktoken").Encoding(
            vocabulary, pat_str=pattern, mergeable_ranks=ranks, special_tokens={}
        )
        return lambda texts: encoding.encode_ordinary_batch(texts, num_threads=threads)
    if name == "tokenizers":
        ours.backend.encode_special_tokens = True
        return lambda texts: [each.ids for each in ours.backend.encode_batch_fast(texts, add_special_tokens=False)]
    described = json.loads(ours.text) | {"added_tokens": [], "post_processor": None}
    plain = {token: id_ for token, id_ in described["model"]["vocab"].items() if token not in ours.special}
    described["model"]["vocab"] = plain
    described["pre_tokenizer"] = json.loads(as_scanned(Split.of(vocabulary)))  # type: ignore[arg-type]
    text = json.dumps(described)
    if name == "fastokens":
        fast = importlib.import_module("fastokens").Tokenizer.from_json_str(text)

        def flat(texts: list[str]) -> Iterable[Any]:
            ids, borders = fast.encode_batch_flat(texts)
            return np.split(np.frombuffer(ids, "<u4"), np.frombuffer(borders, "<u8")[1:-1].astype(int))

        return flat
    if name == "gigatoken":
        giga = importlib.import_module("gigatoken").Tokenizer.from_json(text)
        return lambda texts: giga.encode_batch(texts, parallel=threads > 1)
    file = Path(f"/tmp/bench-tokens-{os.getpid()}.json")
    file.write_text(text)
    try:
        tokie = importlib.import_module("tokie").Tokenizer.from_json(str(file))
    finally:
        file.unlink()
    return lambda texts: [each.ids for each in tokie.encode_batch(texts, add_special_tokens=False)]


def digest_of(ids: Iterable[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for each in ids:
        digest.update(np.asarray(each, "<u4").tobytes() + b"|")
    return digest.hexdigest()


def measure(task: str, name: str, vocabulary: str, megabytes: int, threads: int) -> dict[str, Any]:
    """What one library does, in this process, which has not met the text before."""
    if task == "learn":
        texts = novels(megabytes * 10**6)
        clock, processor = time.perf_counter(), time.process_time()
        found: Any = learn_with(name, texts)
    else:
        texts = mixed(megabytes * 10**6)
        encode = encoder_of(name, vocabulary, threads)
        list(encode(["Threads are begun now."]))
        clock, processor = time.perf_counter(), time.process_time()
        found = list(encode(texts))
    spent = {"clock": time.perf_counter() - clock, "processor": time.process_time() - processor}
    result = found if task == "learn" else digest_of(found)
    return {"bytes": sum(len(text.encode()) for text in texts), "result": result, **spent}


def apart(task: str, name: str, vocabulary: str, megabytes: int, threads: int) -> dict[str, Any] | str:
    """The same in a process of its own; what went wrong, in words, if it does."""
    limits = ("RAYON_NUM_THREADS", "FASTOKENS_BPE_THREADS", "OMP_NUM_THREADS")
    command = [sys.executable, __file__, "--measure", task, name, vocabulary, str(megabytes), str(threads)]
    if hasattr(os, "sched_setaffinity"):
        # Whatever a library thinks of threads, it gets so many cores.
        cores = sorted(os.sched_getaffinity(0))[:threads]
        command = ["taskset", "-c", ",".join(map(str, cores)), *command]
    environment = os.environ | dict.fromkeys(limits, str(threads))
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["failed"])[-1][:60]
    return json.loads(done.stdout.splitlines()[-1])


def installed(names: Iterable[str]) -> list[str]:
    return [name for name in names if name == "ours" or importlib.util.find_spec(name)]


def compare(task: str, names: list[str], reference: str, vocabulary: str, megabytes: int) -> bool:
    rows: list[list[str]] = []
    good = True
    for threads in (1, 2):
        found = {name: apart(task, name, vocabulary, megabytes, threads) for name in names}
        base = found[reference]
        assert isinstance(base, dict), base
        for name, each in found.items():
            if isinstance(each, str):
                rows.append([name, str(threads), each, "", "", "", ""])
                continue
            same = "yes" if each["result"] == base["result"] else "NO"
            speed = [each["bytes"] / each[key] / 1e6 for key in ("clock", "processor")]
            ratio = base["processor"] / each["processor"]
            rows.append(
                [name, str(threads), f"{each['clock']:.2f}", f"{each['processor']:.2f}", f"{speed[0]:.1f}",
                 f"{ratio:.2f}", same]
            )  # fmt: skip
            if name == "ours":
                good &= same == "yes" and (task == "learn" or ratio >= LEAST_TIMES_TIKTOKEN)
        if task == "learn":
            peers = [each for name, each in found.items() if isinstance(each, dict) and name != "ours"]
            best = min(each["processor"] for each in peers)
            ours = found["ours"]
            good &= isinstance(ours, dict) and ours["processor"] <= best
    said = f"times {reference}"
    print(
        markdown_table(["", "cores", "seconds", "CPU seconds", "MB/s", said, f"as {reference}"], rows, text_columns=1)
    )
    return good


def equal(vocabulary: str, megabytes: int) -> bool:
    """Whether all our ids are tiktoken's; says how many were compared, and where the first differ."""
    texts = mixed(megabytes * 10**6)
    ours, theirs = (encoder_of(name, vocabulary, 2) for name in ("ours", "tiktoken"))
    tokens = different = 0
    for start in range(0, len(texts), TOGETHER):
        some = texts[start : start + TOGETHER]
        for text, mine, other in zip(some, ours(some), theirs(some), strict=True):
            tokens += len(other)
            if list(mine) != list(other):
                different += 1
                if different == 1:
                    print(f"the first text with other ids: {text[:200]!r}")
    size = sum(len(text.encode()) for text in texts)
    print(
        f"{vocabulary}: {size / 1e6:.1f} MB in {len(texts):,} texts, {tokens:,} tokens of tiktoken's; "
        f"{different:,} texts with other ids",
        flush=True,
    )
    return not different


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("learn", "encode", "equal", "both"), default="both")
    parser.add_argument("--megabytes", type=int, default=40)
    parser.add_argument("--vocabulary", choices=tuple(FILES), action="append")
    parser.add_argument("--measure", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        task, name, vocabulary, megabytes, threads = options.measure
        print(json.dumps(measure(task, name, vocabulary, int(megabytes), int(threads))))
        return 0
    if options.part == "equal":
        same = [equal(name, options.megabytes) for name in options.vocabulary or FILES]  # all, though one be other
        return 0 if all(same) else 1
    good = True
    if options.part != "encode":
        print(f"## Learning {VOCAB_SIZE:,} tokens from {options.megabytes} MB of novels\n")
        good &= compare("learn", installed(LEARNERS), "tokenizers", "gpt2", options.megabytes)
    if options.part != "learn":
        names = installed(ENCODERS)
        for vocabulary in options.vocabulary or FILES:
            print(f"\n## Encoding {options.megabytes} MB of mixed text with {vocabulary}\n")
            good &= compare("encode", names, "tiktoken", vocabulary, options.megabytes)
    print("\n" + ("ours is as required" if good else "OURS IS NOT AS REQUIRED"))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
