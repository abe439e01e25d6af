"""Where a merge may not cross when a vocabulary is learned: GPT-2's, GPT-4's and GPT-4o's patterns, and our own.

The patterns cut a text into words with the space or mark before them, numbers, runs of marks and white space. How many
digits a token may have can be chosen: with one, arithmetic is done on digits and not on accidents of the vocabulary
(Singh and Strouse 2024 measure what groups of three cost).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

from tokenizers import Regex, pre_tokenizers

SplitName = Literal["cutaway", "gpt2", "cl100k", "o200k"]

WHITE = r"\s+(?!\S)|\s+"
LINES = r"\s*[\r\n]+|" + WHITE
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
CASED = (
    rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+{SHORT}?|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*{SHORT}?"
    r"|{digits}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
)
PATTERNS: dict[SplitName, str] = {
    "cutaway": r"'(?i:s|t|re|ve|m|ll|d)|[^\r\n\p{L}\p{N}]?\p{L}+|{digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + LINES,
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?{digits}| ?[^\s\p{L}\p{N}]+|" + WHITE,
    "cl100k": SHORT + r"|[^\r\n\p{L}\p{N}]?\p{L}+|{digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + LINES,
    "o200k": CASED + LINES,
}
"""With `{digits}` where a number stands."""
OWN_DIGITS: dict[SplitName, int] = {"cutaway": 1, "gpt2": 0, "cl100k": 3, "o200k": 3}
"""Digits of a token in each pattern as it was published; 0 for any number."""
MOST_DIGITS = 9


@dataclass(frozen=True)
class Split:
    """A way to cut text: a pattern by its name, and how many digits of a number stay together (0: all)."""

    name: SplitName
    digits: int

    @classmethod
    def of(cls, name: SplitName, digits: int | None = None) -> Split:
        """A pattern, with its own grouping of digits unless another is asked for."""
        return cls(name, OWN_DIGITS[name] if digits is None else digits)

    @property
    def pattern(self) -> str:
        """The regular expression, as `tokenizer.json` has it."""
        digits = {0: r"\p{N}+", 1: r"\p{N}"}.get(self.digits, rf"\p{{N}}{{1,{self.digits}}}")
        return PATTERNS[self.name].replace("{digits}", digits)

    @property
    def pre_tokenizer(self) -> pre_tokenizers.PreTokenizer:
        """What cuts a text so and makes its bytes characters."""
        return byte_level([self.pattern])

    @property
    def whole_words(self) -> bool:
        """Whether a word that is a token becomes it, whatever the merges say: so it is written for GPT-4's pattern."""
        return self.name == "cl100k"


def byte_level(patterns: list[str]) -> pre_tokenizers.PreTokenizer:
    """What cuts a text by each pattern in turn, keeping what lies between the matches, and makes bytes characters."""
    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in patterns]
    return pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def known_split(pattern: str) -> Split | None:
    """The split that a pattern is, however it is written; None for one that is none of ours."""
    return _KNOWN.get(pattern)


def pattern_of(described: dict[str, Any]) -> str | None:
    """The one pattern by which a `tokenizer.json` cuts text before its bytes become characters; else None."""
    parts = described["pre_tokenizer"] or {}
    parts = parts.get("pretokenizers", [parts])
    level = parts[-1] if parts else {}
    if level.get("type") != "ByteLevel" or level.get("add_prefix_space"):
        return None
    if len(parts) == 1:
        return Split.of("gpt2").pattern if level.get("use_regex") else None
    cut = parts[0]
    if len(parts) > 2 or level.get("use_regex") or cut.get("type") != "Split":
        return None
    if cut.get("behavior") != "Isolated" or cut.get("invert"):
        return None
    return cast("str | None", cut["pattern"].get("Regex"))


_SPLITS = [
    Split(name, digits)
    for name in ("gpt2", "o200k", "cl100k", "cutaway")
    for digits in range(MOST_DIGITS + 1)
]  # fmt: skip
# The same with a class around one property, with possessive repetition, or its alternatives told otherwise: what
# tiktoken, llama.cpp and model repositories write. Each was seen to cut alike.
_WRITTEN_OTHERWISE: dict[str, Split] = {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+": Split.of("gpt2"),
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": Split.of("gpt2"),
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|"
    r"\s+(?!\S)|\s": Split.of("cl100k"),
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|"
    r"\s+": Split.of("cl100k"),
}
_KNOWN = {split.pattern: split for split in _SPLITS} | _WRITTEN_OTHERWISE
