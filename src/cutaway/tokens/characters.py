"""A vocabulary of single characters: each that a text holds is a token."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, decoders, models
from tokenizers import Tokenizer as Backend

from cutaway.runs.errors import BadInput
from cutaway.tokens.foreign import ForeignTokenizer
from cutaway.tokens.special import END_OF_TEXT
from cutaway.tokens.tokenizer import Tokenizer

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""The token of every character that the text did not hold."""


def character_tokenizer(text: str, directory: Path) -> Tokenizer:
    """The tokenizer of the characters of `text`, in the order of their code points; written into `directory`.

    Before them stand the token that ends a text (0) and the one for unknown characters (1). A text begins with no token
    of its own. Raises `BadInput` if there is no text.
    """
    if not text:
        raise BadInput("there is no text to take characters from; give some with --text PATH")
    vocabulary = {token: id_ for id_, token in enumerate(dict.fromkeys((END_OF_TEXT, UNKNOWN, *sorted(set(text)))))}
    # Byte-pair encoding begins with characters, and without merges ends with them.
    backend = Backend(models.BPE(vocabulary, [], unk_token=UNKNOWN))
    # By itself the library would put spaces between tokens.
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens([AddedToken(END_OF_TEXT, special=True, normalized=False)])
    tokenizer = ForeignTokenizer(
        backend, ends=[vocabulary[END_OF_TEXT]], settings={"pad_token": END_OF_TEXT, "unk_token": UNKNOWN}
    )
    tokenizer.save(directory)
    return tokenizer
