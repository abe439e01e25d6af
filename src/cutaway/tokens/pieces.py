"""Vocabularies of the SentencePiece kind: pieces of text with scores, a mark for the space, and bytes for the rest.

A text is first its characters; again and again the two neighbours that together are the piece of the highest score are
joined (Kudo and Richardson 2018, in its byte-pair mode). What is then no piece is spelled in bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers, processors

SPACE = "▁"


def piece_backend(
    vocabulary: Mapping[str, int], scores: Mapping[str, float], *, unknown: str | None, space_prefix: bool
) -> Backend:
    """An encoder for a vocabulary; `scores` has the pieces that text may become, not the tokens with a part to play.

    With `space_prefix`, a text is read as if it began with a space.
    """
    backend = Backend(
        models.BPE(
            dict(vocabulary),
            merges_of(vocabulary, scores),
            unk_token=unknown,
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    spaces = normalizers.Replace(" ", SPACE)
    backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), spaces]) if space_prefix else spaces
    stages: list[decoders.Decoder] = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*stages, decoders.Strip(" ", 1, 0)] if space_prefix else stages)
    return backend


def merges_of(vocabulary: Mapping[str, int], scores: Mapping[str, float]) -> list[tuple[str, str]]:
    """All ways to join two pieces into a third, the third of the highest score first."""
    found = [
        (-score, vocabulary[piece], piece[:i], piece[i:])
        for piece, score in scores.items()
        for i in range(1, len(piece))
        if piece[:i] in vocabulary and piece[i:] in vocabulary
    ]
    found.sort(key=lambda merge: (merge[0], merge[1], vocabulary[merge[2]]))
    return [(left, right) for _, _, left, right in found]


def scores_of(vocabulary: Mapping[str, int], merges: Sequence[tuple[str, str]]) -> dict[str, float]:
    """Scores that put the joined pieces in the order of `merges`, and those that nothing is joined to last."""
    ranks: dict[str, float] = {}
    for left, right in merges:
        ranks.setdefault(left + right, -1.0 - len(ranks))
    return {piece: ranks.get(piece, -1.0 - len(ranks)) for piece in vocabulary}


def begun_by(token: str, id_: int) -> processors.PostProcessor:
    """What puts a token before every text that is encoded with special tokens."""
    return processors.TemplateProcessing(
        single=[token, "$A"], pair=[token, "$A", token, "$B"], special_tokens=[(token, id_)]
    )
