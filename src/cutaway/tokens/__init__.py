"""Text and token ids."""

from cutaway.tokens.characters import character_tokenizer
from cutaway.tokens.foreign import ForeignTokenizer, Vocabulary
from cutaway.tokens.shards import read_shard, write_shard
from cutaway.tokens.tokenizer import Message, Tokenizer
from cutaway.tokens.train import TokenizerSettings, train_tokenizer

__all__ = [
    "ForeignTokenizer",
    "Message",
    "Tokenizer",
    "TokenizerSettings",
    "Vocabulary",
    "character_tokenizer",
    "read_shard",
    "train_tokenizer",
    "write_shard",
]
