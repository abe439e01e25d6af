"""Tokenizers in the formats that others read: `tokenizer.json`, tiktoken's ranks, GPT-2's merges, GGUF; both ways.

Neither ranks nor merges say how text is cut, nor which tokens are special. A file beside them, `split.json` or
`NAME.tiktoken.json`, says it; of GPT-2, cl100k and o200k it is known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from cutaway.runs import atomic
from cutaway.runs.errors import BadInput
from cutaway.tokens.foreign import ForeignTokenizer
from cutaway.tokens.gguf_header import header_bytes
from cutaway.tokens.gguf_vocabulary import read_gguf_vocabulary, vocabulary_metadata
from cutaway.tokens.ranks import read_maybe_packed, read_ranks, write_ranks
from cutaway.tokens.splits import Split, SplitName
from cutaway.tokens.tokenizer import BYTE_OF, Tokenizer
from cutaway.tokens.vocabularies import ByteLevel, bytes_of, name_of, published

Format = Literal["json", "tiktoken", "gpt2", "gguf"]
SUFFIXES: dict[str, Format] = {".json": "json", ".tiktoken": "tiktoken", ".gguf": "gguf"}
VOCABULARIES = ("vocab.json", "encoder.json")
MERGES = ("merges.txt", "vocab.bpe")
BESIDE = "split.json"


def open_any(path: Path, split: SplitName | None = None) -> Tokenizer:
    """The tokenizer in a file or directory of any of these formats, or in a run.

    `split` says how text is cut for a file that does not. Raises `BadInput` if there is none, or it cannot be read.
    """
    name = path.name.removesuffix(".gz")
    if path.suffix == ".gguf":
        return ForeignTokenizer.of(read_gguf_vocabulary(path))
    if name.endswith(".tiktoken"):
        ranks = read_ranks(path)
        pattern, special = _beside(path.with_name(name + ".json"), split) or published(len(ranks), path)
        return ByteLevel.of_ranks(ranks, pattern, special).tokenizer()
    merges = _merges_file(path)
    if merges is not None:
        return _from_merges(merges, split)
    of_run = path / "tokenizer" / "tokenizer.json"
    return Tokenizer.load(of_run if of_run.exists() else path)


def write_as(tokenizer: Tokenizer, out: Path, to: Format | None = None) -> list[Path]:
    """Write a tokenizer in a format, that of the name's suffix if none is given; give the files that were written.

    `json` and `gpt2` go into a directory, `json` also into a file of that suffix. Raises `BadInput` where the format
    cannot say what the tokenizer does: nothing is written then.
    """
    to = to or SUFFIXES.get(out.suffix, "json")
    if to == "gguf":
        atomic.write_bytes(out, header_bytes(_gguf(tokenizer, out.stem), {}))
        return [out]
    if to == "json":
        if out.suffix == ".json":
            atomic.write_text(out, tokenizer.text)
            return [out]
        out.mkdir(parents=True, exist_ok=True)
        tokenizer.save(out)
        return [out / "tokenizer.json", out / "tokenizer_config.json"]
    vocabulary = ByteLevel.of(tokenizer)
    beside = {"pattern": vocabulary.pattern, "special_tokens": dict(vocabulary.special)}
    if to == "tiktoken":
        atomic.write_bytes(out, write_ranks(vocabulary.ranks))
        atomic.write_json(said := out.with_name(out.name + ".json"), beside)
        return [out, said]
    ids = {name_of(token): id_ for token, id_ in vocabulary.ids.items()} | dict(vocabulary.special)
    lines = [f"{name_of(left)} {name_of(right)}" for left, right in vocabulary.merges]
    atomic.write_json(out / VOCABULARIES[0], dict(sorted(ids.items(), key=lambda item: item[1])))
    atomic.write_text(out / MERGES[0], "\n".join(["#version: 0.2", *lines]) + "\n")
    atomic.write_json(out / BESIDE, beside)
    return [out / VOCABULARIES[0], out / MERGES[0], out / BESIDE]


def _gguf(tokenizer: Tokenizer, name: str) -> dict[str, Any]:
    ids = tokenizer.token_ids
    bos, ends = ids.get("bos_token_id"), ids.get("eos_token_id", [])
    ends = ends if isinstance(ends, list) else [ends]
    turn = tokenizer.end_of_turn
    about = vocabulary_metadata(
        tokenizer.backend,
        vocab_size=max(tokenizer.backend.get_vocab(with_added_tokens=True).values()) + 1,
        bos=bos if isinstance(bos, int) else None,
        eos=turn if turn in ends else next(iter(ends), None),
        eot=next((end for end in ends if end != turn), None),
        chat_template=tokenizer.chat_template or None,
    )
    return {"general.architecture": "llama", "general.name": name, **about}


def _beside(path: Path, split: SplitName | None) -> tuple[str, dict[str, int]] | None:
    """The pattern and special tokens that a file says, or that `split` names; None where neither does."""
    if not path.exists():
        return (Split.of(split).pattern, {}) if split else None
    try:
        said = json.loads(path.read_text("utf-8"))
        pattern = Split.of(split).pattern if split else str(said["pattern"])
        return pattern, {str(name): int(id_) for name, id_ in said["special_tokens"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} should say `pattern` and `special_tokens`, and does not ({error!r})") from None


def _merges_file(path: Path) -> Path | None:
    """The file of merges that a path is or holds; None where it is something else."""
    if path.is_dir():
        if (path / "tokenizer.json").exists() or (path / "tokenizer").exists():
            return None
        return next((path / name for name in MERGES if (path / name).exists()), None)
    return path if path.name.endswith(MERGES) else None


def _from_merges(path: Path, split: SplitName | None) -> Tokenizer:
    kind = next(name for name in MERGES if path.name.endswith(name))
    stem = path.name.removesuffix(kind)
    beside = [path.with_name(stem + name + packed) for name in VOCABULARIES for packed in ("", ".gz")]
    vocabulary = next((file for file in beside if file.exists()), None)
    if vocabulary is None:
        names = " or ".join(stem + name for name in VOCABULARIES)
        raise BadInput(f"{path} has no vocabulary beside it, which says each token's number; put it there as {names}")
    try:
        ids = json.loads(read_maybe_packed(vocabulary))
        if not isinstance(ids, dict) or not all(type(id_) is int for id_ in cast("dict[str, Any]", ids).values()):
            raise ValueError("it is no object of ids")
        lines = read_maybe_packed(path).decode("utf-8").split("\n")
        merges = [_merge(line) for line in lines if line and not line.startswith("#version")]
    except (ValueError, KeyError) as error:
        raise BadInput(f"{vocabulary} and {path} are no vocabulary and merges ({error!r})") from None
    return _said(cast("dict[str, int]", ids), merges, path, split).tokenizer()


def _said(ids: Mapping[str, int], merges: list[tuple[bytes, bytes]], path: Path, split: SplitName | None) -> ByteLevel:
    """Tokens made of bytes are the vocabulary's; with what the file beside says, or GPT-2's as it was published."""
    said = _beside(path.with_name(BESIDE), split)
    made = {left + right for left, right in merges}
    spelt = {name: bytes_of(name) for name in ids if all(character in BYTE_OF for character in name)}
    tokens = {token: ids[name] for name, token in spelt.items() if len(token) == 1 or token in made}
    if said is None:
        said = Split.of("gpt2").pattern, {}
    pattern, special = said
    # What no merge makes is none that a text can spell.
    others = {name: id_ for name, id_ in ids.items() if name not in spelt or spelt[name] not in tokens}
    if len({token for token in tokens if len(token) == 1}) < len(BYTE_OF):
        raise BadInput(f"the vocabulary beside {path} lacks some of the 256 bytes; get it again")
    known = [(left, right) for left, right in merges if left in tokens and right in tokens]
    return ByteLevel(tokens, known, pattern, others | {k: v for k, v in special.items() if k in ids})


def _merge(line: str) -> tuple[bytes, bytes]:
    left, right = line.rstrip("\r").split(" ")
    return bytes_of(left), bytes_of(right)
