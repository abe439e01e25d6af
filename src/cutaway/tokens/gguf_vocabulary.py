"""The vocabulary inside a GGUF file, in and out: byte-level BPE ("gpt2" there) and pieces with scores ("llama")."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.tokens.foreign import Vocabulary
from cutaway.tokens.gguf_header import Metadata, Value, read_header
from cutaway.tokens.pieces import SPACE, begun_by, merges_of, piece_backend, scores_of
from cutaway.tokens.pretokenizers import BEGINS, KINDS, PATTERNS, WHOLE_WORDS, pre_tokenizer

KEY = "tokenizer.ggml."
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
END_NAMES = ("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<EOT>")
"""Names by which llama.cpp knows a token that ends a turn, where a file does not say which it is."""
PROBE = (
    "It's 1999, WE'LL pay $3,141.59 (or 100%)!?  Two  spaces,\ttabs\t\t, don't…\n\n \n  def f(x_1: int) -> str:\r\n"
    "        return x**2 != {'a': [1, 2]}  # naïve café\u00a0élan, Straße ÇA ǅ ʰ; привет МИР, Γειά, 你好世界12 "
    "こんにちは、안녕 하세요 हिन्दी ไทย مرحبا ١٢٣ Ⅷ ½ x² 🙂👩‍👩‍👧 ∑ → «quoted» ‘s 'S 'Re a.b,c;d 0x1F 1e-9 "
    "___ --- ...   end   "
)
"""Text on which two ways to cut or encode that differ anywhere differ here."""


def read_gguf_vocabulary(path: Path) -> Vocabulary:
    """The vocabulary of a GGUF file. Raises `BadInput` if it has none, or one of a kind that is not built."""
    try:
        return vocabulary_of(read_header(path).metadata)
    except BadInput as error:
        raise error if str(path) in str(error) else BadInput(f"{path}: {error}") from None
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise BadInput(f"{path} has a vocabulary that cannot be read ({error!r}); get the model again") from None
    except Exception as error:  # the tokenizers library raises plain Exception for what it does not take
        raise BadInput(f"{path} has a vocabulary that cannot be read ({error})") from None


def vocabulary_of(metadata: Metadata) -> Vocabulary:
    """The vocabulary that metadata describes. Raises `BadInput`, `KeyError`, `TypeError` or `ValueError`."""
    said = {key.removeprefix(KEY): value for key, value in metadata.items() if key.startswith(KEY)}
    kind = said.get("model", "none")
    tokens = _texts(said.get("tokens", []))
    types = cast("list[int]", said.get("token_type") or [NORMAL] * len(tokens))
    if kind in ("none", "no_vocab") or not tokens:
        raise BadInput("there is no vocabulary in it, so it can only be run on token ids")
    if len(types) < len(tokens) or len(set(tokens)) != len(tokens):
        raise BadInput("its vocabulary has a token twice, or fewer types than tokens; get the model again")
    if kind == "gpt2":
        pre = str(said.get("pre", "default"))
        backend, adds = _byte_level(tokens, _texts(said["merges"]), pre), pre in BEGINS
        bos = eos = None
    elif kind == "llama":
        backend, adds = _pieces(tokens, types, said), True
        bos, eos = 1, 2
    else:
        raise BadInput(f"its vocabulary is of the kind {kind!r}; gpt2 and llama can be opened")
    for token, what in zip(tokens, types, strict=False):
        if what in (CONTROL, UNKNOWN):
            backend.add_special_tokens([AddedToken(token, special=True, normalized=False)])
        elif what == USER_DEFINED:
            backend.add_tokens([AddedToken(token, special=False, normalized=False)])

    def id_of(key: str, default: int | None) -> int | None:
        found = said.get(f"{key}_token_id", default)
        return found if type(found) is int and 0 <= found < len(tokens) else None

    bos, eos = id_of("bos", bos), id_of("eos", eos)
    add_bos = bool(said.get("add_bos_token", adds)) and bos is not None
    if add_bos and bos is not None:
        # For directories; who encodes by this vocabulary itself adds the token.
        backend.post_processor = begun_by(tokens[bos], bos)
    named = (i for name in END_NAMES if (i := backend.token_to_id(name)) is not None and i != eos)
    template = metadata.get("tokenizer.chat_template")
    return Vocabulary(
        backend,
        bos=bos,
        eos=eos,
        eot=id_of("eot", next(named, None)),
        add_bos=add_bos,
        chat_template=template if isinstance(template, str) else None,
    )


def _texts(values: Value) -> list[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("a list of texts is none")
    return cast("list[str]", values)


def _byte_level(tokens: Sequence[str], merges: Sequence[str], pre: str) -> Backend:
    if pre not in KINDS:
        raise BadInput(f"its vocabulary cuts text in the way {pre!r}; known are {', '.join(KINDS)}")
    vocabulary = {token: i for i, token in enumerate(tokens)}
    # A merge's second half may hold spaces of its own, its first does not, but for being one.
    pairs = [(merge[: merge.index(" ", 1)], merge[merge.index(" ", 1) + 1 :]) for merge in merges]
    known = [(a, b) for a, b in pairs if a in vocabulary and b in vocabulary and a + b in vocabulary]
    backend = Backend(models.BPE(vocabulary, known, ignore_merges=pre in WHOLE_WORDS))
    backend.pre_tokenizer = pre_tokenizer(pre)
    backend.decoder = decoders.ByteLevel()
    return backend


def _pieces(tokens: Sequence[str], types: Sequence[int], said: Mapping[str, Value]) -> Backend:
    vocabulary = {token: i for i, token in enumerate(tokens)}
    scores = cast("list[float]", said.get("scores") or [0.0] * len(tokens))
    if len(scores) < len(tokens):
        raise BadInput("its vocabulary has fewer scores than tokens; get the model again")
    # A token with a part to play is never spelled, so that a text cannot contain one.
    pieces = {token: scores[i] for token, i in vocabulary.items() if types[i] in (NORMAL, UNUSED)}
    unknown = next((token for token, what in zip(tokens, types, strict=False) if what == UNKNOWN), None)
    return piece_backend(vocabulary, pieces, unknown=unknown, space_prefix=bool(said.get("add_space_prefix", True)))


def vocabulary_metadata(
    backend: Backend,
    *,
    vocab_size: int,
    bos: int | None = None,
    eos: int | None = None,
    eot: int | None = None,
    pad: int | None = None,
    add_bos: bool = False,
    chat_template: str | None = None,
) -> dict[str, Value]:
    """A vocabulary as GGUF metadata, for a model with `vocab_size` rows of embeddings.

    What a normaliser does to text before it is cut is not written: llama.cpp has none for these vocabularies. It is
    seen to that ordinary text is encoded as before.

    Raises:
        BadInput: llama.cpp has no name for how this vocabulary cuts a text, or for its kind.
    """
    described = json.loads(backend.to_str())
    model = described["model"]
    added = {entry["id"]: entry for entry in described["added_tokens"]}
    names = {i: token for token, i in backend.get_vocab(with_added_tokens=True).items()}
    if max(names) >= vocab_size:
        raise BadInput(f"the vocabulary has a token {max(names)}, but the model only {vocab_size} rows for them")
    tokens = [names.get(i, f"[PAD{i}]") for i in range(vocab_size)]
    merges = [_pair(merge) for merge in model.get("merges", ())]
    byte_level = "ByteLevel" in json.dumps(described.get("decoder"))
    if model["type"] != "BPE" or not (byte_level or model.get("byte_fallback")):
        raise BadInput(f"a vocabulary of the kind {model['type']} cannot be written as GGUF; write --to hf")

    def what(i: int) -> int:
        if i not in names:
            return UNUSED
        if i in added:
            return CONTROL if added[i]["special"] else USER_DEFINED
        if not byte_level and len(tokens[i]) == 6 and tokens[i].startswith("<0x"):
            return BYTE
        return UNKNOWN if tokens[i] == model.get("unk_token") else NORMAL

    values: dict[str, Value] = {
        "model": "gpt2" if byte_level else "llama",
        "tokens": tokens,
        "token_type": [what(i) for i in range(vocab_size)],
        "add_bos_token": add_bos,
    }
    if byte_level:
        values |= {"pre": _cut_of(backend), "merges": [f"{a} {b}" for a, b in merges]}
    else:
        plain = {token: i for i, token in enumerate(tokens) if what(i) == NORMAL}
        scores = dict.fromkeys(tokens, 0.0) | scores_of(plain, merges)
        if not set(merges_of(plain, scores)) <= set(merges):
            raise BadInput("llama.cpp would join pieces that this vocabulary does not; write the model with --to hf")
        prefix = backend.encode("a", add_special_tokens=False).tokens[0].startswith(SPACE)
        values |= {"pre": "default", "scores": [scores[t] for t in tokens], "add_space_prefix": prefix}
    ids = {"bos": bos, "eos": eos, "eot": eot, "padding": pad}
    values |= {f"{key}_token_id": i for key, i in ids.items() if i is not None}
    metadata: dict[str, Value] = {KEY + key: value for key, value in values.items()}
    if chat_template:
        metadata["tokenizer.chat_template"] = chat_template
    again = vocabulary_of(metadata).backend
    if again.encode(PROBE, add_special_tokens=False).ids != backend.encode(PROBE, add_special_tokens=False).ids:
        raise BadInput("a GGUF file cannot say how this vocabulary encodes text; write the model with --to hf")
    return metadata


def _pair(merge: str | Sequence[str]) -> tuple[str, str]:
    """The two halves of a merge, which older tokenizers have in one text."""
    left, right = merge.split(" ", 1) if isinstance(merge, str) else merge
    return left, right


def _cut_of(backend: Backend) -> str:
    """The name of the pattern that cuts text as this vocabulary does. Raises `BadInput`."""
    own = backend.pre_tokenizer
    whole = bool(json.loads(backend.to_str())["model"].get("ignore_merges"))
    wanted = [part for part, _ in own.pre_tokenize_str(PROBE)] if own else None
    for name in PATTERNS:
        if [part for part, _ in pre_tokenizer(name).pre_tokenize_str(PROBE)] == wanted and whole == (
            name in WHOLE_WORDS
        ):
            return name
    raise BadInput("llama.cpp has no name for how this vocabulary cuts text; write the model with --to hf")
