"""Where no merge may cross: the ways in which byte-level vocabularies cut a text, by llama.cpp's names.

Each is a list of patterns. The first cuts the text into what it matches and what lies between, the next cuts each part
again, and so on; then the bytes of a part become characters.
"""

from __future__ import annotations

from tokenizers import Regex, pre_tokenizers

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""GPT-2's."""
SHORT_FORMS = r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]"
REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = r"[^\r\n\p{L}\p{N}]?{upper}*{lower}+{end}|[^\r\n\p{L}\p{N}]?{upper}+{lower}*{end}"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(end: str) -> str:
    """Words that a capital begins."""
    return CASED.replace("{upper}", UPPER).replace("{lower}", LOWER).replace("{end}", end)


def _modern(digits: str) -> str:
    """What GPT-4 made of GPT-2's pattern, with numbers cut into so many digits."""
    return rf"(?:{SHORT_FORMS})|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}|{REST}"


MARKED = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""DeepSeek's."""
SENTENCES = r" ?[^(\s|.,!?…。，、।۔،)]+"
"""BLOOM's."""
PATTERNS: dict[str, tuple[str, ...]] = {
    "gpt-2": (WORDS,),
    "smollm": (r"\p{N}", WORDS),
    "qwen2": (_modern(r"\p{N}"),),
    "llama-bpe": (_modern(r"\p{N}{1,3}"),),
    "bloom": (SENTENCES,),
    "viking": (SENTENCES, r"\p{N}"),
    "falcon": (r"[\p{P}\$\+<=>\^~\|`]+", WORDS, r"[0-9][0-9][0-9]"),
    "tekken": (_cased("") + r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",),
    "gpt-4o": (_cased(rf"(?:{SHORT_FORMS})?") + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+",),
    "deepseek-v3": (r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+", MARKED),
    "default": (r"[\p{P}\$\+<=>\^~\|]+", WORDS, r"\p{N}+", r"[0-9][0-9][0-9]"),
}
"""Patterns by the name under which they are written."""
SAME = {
    "gpt-2": ("phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "modern-bert", "roberta-bpe", "mellum"),
    "smollm": ("starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"),
    "qwen2": ("deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "grok-2", "kormo"),
    "llama-bpe": ("llama3", "llama-v3", "falcon3", "pixtral", "dbrx", "smaug-bpe", "chatglm-bpe", "glm4", "lfm2"),
    "bloom": ("poro-chat", "gpt3-finnish"),
    "gpt-4o": ("llama4",),
    "deepseek-v3": ("hunyuan-dense",),
}
WHOLE_WORDS = ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2", "glm4", "tekken")
"""Names under which a part that is a token as it stands becomes it, whatever the merges say."""
BEGINS = ("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2", "tekken")
"""Names under which a text begins with `bos` where a file does not say."""
KINDS = {name: name for name in PATTERNS} | {other: name for name, others in SAME.items() for other in others}
"""The name in `PATTERNS` of every name that can be read."""


def pre_tokenizer(kind: str) -> pre_tokenizers.PreTokenizer:
    """What cuts a text as vocabularies of this kind do. Raises `KeyError`."""
    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in PATTERNS[KINDS[kind]]]
    return pre_tokenizers.Sequence([*cuts, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
