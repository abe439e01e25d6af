"""The tokenizer `.bin` of Karpathy's llama2.c: the longest token's length, then each token's score and text."""

from __future__ import annotations

import struct
from pathlib import Path

from tokenizers import AddedToken

from cutaway.runs.errors import BadInput
from cutaway.tokens.foreign import Vocabulary
from cutaway.tokens.pieces import SPACE, begun_by, piece_backend

TOKEN = struct.Struct("<fi")
UNKNOWN, BOS, EOS, FIRST_PIECE = 0, 1, 2, 259
"""Three tokens with a part to play and 256 bytes come before the pieces."""


def read_llama2c_vocabulary(path: Path, vocab_size: int | None = None) -> Vocabulary:
    """The vocabulary in a file, of `vocab_size` tokens where the model says how many there are. Raises `BadInput`."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, IsADirectoryError):
        raise BadInput(f"there is no file {path}") from None
    tokens: list[str] = []
    scores: list[float] = []
    at = 4
    while at < len(data):
        if at + TOKEN.size > len(data):
            raise BadInput(f"{path} is cut short inside token {len(tokens)}; get it again")
        score, length = TOKEN.unpack_from(data, at)
        at += TOKEN.size
        if length < 0 or at + length > len(data):
            raise BadInput(f"{path} is no tokenizer of llama2.c, or is cut short inside token {len(tokens)}")
        tokens.append(_name(len(tokens), data[at : at + length].decode("utf-8", "replace")))
        scores.append(score)
        at += length
    if len(tokens) < FIRST_PIECE or len(set(tokens)) != len(tokens) or vocab_size not in (None, len(tokens)):
        wanted = f", and not the model's {vocab_size}" if vocab_size else ""
        raise BadInput(f"{path} is no tokenizer of llama2.c for this model: it has {len(set(tokens))} tokens{wanted}")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    pieces = {tokens[i]: scores[i] for i in range(FIRST_PIECE, len(tokens))}
    backend = piece_backend(vocabulary, pieces, unknown=tokens[UNKNOWN], space_prefix=True)
    backend.add_special_tokens([AddedToken(tokens[i], normalized=False) for i in (UNKNOWN, BOS, EOS)])
    backend.post_processor = begun_by(tokens[BOS], BOS)
    return Vocabulary(backend, bos=BOS, eos=EOS, eot=None, add_bos=True, chat_template=None)


def find_llama2c_vocabulary(model: Path, vocab_size: int) -> Vocabulary:
    """The vocabulary that lies beside a model's file, as `tok512.bin` or `tokenizer.bin`. Raises `BadInput`."""
    names = (f"tok{vocab_size}.bin", "tokenizer.bin", f"{model.stem}-tokenizer.bin")
    for name in names:
        if (model.parent / name).is_file():
            return read_llama2c_vocabulary(model.parent / name, vocab_size)
    raise BadInput(f"{model} has no vocabulary beside it; put llama2.c's there as {names[0]} or {names[1]}")


def _name(i: int, text: str) -> str:
    """A token's name as SentencePiece has it, before llama2.c made it what it prints."""
    return text.strip() if i in (BOS, EOS) else text.replace(" ", SPACE)
