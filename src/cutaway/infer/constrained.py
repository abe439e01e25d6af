"""Writing only what a grammar allows: JSON of a schema, a regular expression, or a context-free grammar.

`llguidance` follows the grammar; here are the bounds on what it is given, and the bridge from our tokenizers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from math import prod
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import numpy as np
import torch
from jaxtyping import Bool
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from torch import Tensor

from cutaway.runs import BadInput
from cutaway.tokens import Tokenizer

MOST_CHARACTERS = 100_000
"""In a schema, an expression or a grammar."""
MOST_NESTING = 60
"""Brackets within brackets. Grammars are read by recursion, and what overflows a stack ends the whole process."""
MOST_RULES = 500
"""In a grammar, where each may lead to the next: recursion again."""
MOST_REFERENCES = 200
"""In a schema, for the same reason."""
MOST_OPTIONAL = 400
"""Properties of one object that may be left out: each adds some four places to where the text may stand, and
`llguidance` follows 2,000."""
MOST_REMAINDERS = 10_000
"""What `multipleOf` may come to: an automaton for it has as many states."""
MOST_IN_MESSAGE = 200
"""Characters of somebody else's error that are passed on."""
LIMITS = LLParserLimits(
    initial_lexer_fuel=1_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=200_000,
    precompute_large_lexemes=False,
    verbose_errors=False,
)
"""What compiling a grammar, and each step along it, may cost: tens of milliseconds, and some ten megabytes."""
# A space after commas and colons, as most text has it, but none else: where any white space may come, a model that has
# lost its way writes nothing but that.
SPACING = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
# Where only one text can follow, the model still chooses how to cut it into tokens. `llguidance` would otherwise work
# that text out to its end, which may be a thousand million characters away.
UNFORCED = '\n%llguidance { "no_forcing": true }\n'


@dataclass(frozen=True)
class Grammar:
    """What a text must look like from its first character to its last.

    Attributes:
        name: what it is called in messages.
        source: it, in `llguidance`'s variant of Lark's notation.
    """

    name: str
    source: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool | str) -> Grammar:
        """JSON that a schema describes (an object, or its text), with at most a space after each comma and colon.

        Raises `BadInput` where it is no schema, or one beyond the bounds.
        """
        name = "the JSON schema"
        try:
            if isinstance(schema, str):
                _bounded(schema, name)
                schema = cast("Mapping[str, Any] | bool", json.loads(schema))
            source = json.dumps(schema, allow_nan=False)
        except (ValueError, TypeError) as error:
            raise BadInput(f"{name} is no JSON ({error})") from None
        except RecursionError:
            raise BadInput(f"{name} is nested too deeply; at most {MOST_NESTING} levels are read") from None
        _bounded(source, name)
        if schema is True:
            schema = {}
        if not isinstance(schema, dict):
            raise BadInput(f"{name} must be an object such as {{'type': 'object'}}, not {source[:40]}")
        _cheap(source, name)
        if (optional := _most_optional(schema)) > MOST_OPTIONAL:
            raise BadInput(
                f"{name} has an object with {optional:,} properties that are not required; at most {MOST_OPTIONAL} are "
                "followed"
            )
        # Its own settings are replaced: they could ask for what is no JSON.
        return cls(name, f"start: %json {json.dumps(schema | {'x-guidance': SPACING})}{UNFORCED}")

    @classmethod
    def json_object(cls) -> Grammar:
        """Any JSON object."""
        return cls.json_schema({"type": "object"})

    @classmethod
    def regex(cls, pattern: str) -> Grammar:
        """Text that a regular expression matches as a whole (Rust's syntax, without look-around)."""
        _bounded(pattern, "the regular expression")
        (quoted,) = json.loads(LLMatcher.grammar_from_regex(pattern))["grammars"]
        return cls("the regular expression", quoted["lark_grammar"] + UNFORCED)

    @classmethod
    def lark(cls, text: str) -> Grammar:
        """Text that a grammar in `llguidance`'s variant of Lark's notation derives from its rule `start`."""
        _bounded(text, "the grammar")
        # Colons, but for those after the keys of a schema within.
        if (rules := len(re.findall(r'[^"\s]\s*:', text))) > MOST_RULES:
            raise BadInput(f"the grammar has {rules:,} rules; at most {MOST_RULES} are read")
        # A keyword of such a schema could hide that way from what looks for it.
        if "%json" in text and re.search(r"\\u00[2-7]", text):
            raise BadInput("the grammar's %json has letters written by number (\\u0041); write them as they are")
        _cheap(text, "the grammar")
        return cls("the grammar", text + UNFORCED)


class Constraint:
    """Where one text stands in a grammar: what may come next.

    A stop token may come only where the grammar is complete. A text that is cut before, because its tokens have run
    out, is the beginning of one that the grammar allows, and `complete` is False.
    """

    def __init__(self, grammar: Grammar, tokenizer: Tokenizer, vocab: int) -> None:
        """At the beginning of a text, for a model with logits over `vocab` tokens.

        Raises `BadInput` if the grammar cannot be compiled within the bounds, or allows nothing.
        """
        self.name = grammar.name
        self.vocab = vocab
        self.stops = sorted(stop for stop in tokenizer.stop_ids if stop < vocab)
        self.bridge = bridge(tokenizer, vocab)
        self.matcher = LLMatcher(self.bridge, grammar.source, log_level=0, limits=LIMITS)
        if self.matcher.is_error():
            self._fail("cannot be followed")

    def copy(self) -> Constraint:
        """Another text that has come as far as this one."""
        other = object.__new__(Constraint)
        other.__dict__.update(self.__dict__)
        other.matcher = self.matcher.deep_copy()
        return other

    def mask(self) -> Bool[Tensor, " vocab"]:
        """Which tokens may come next. Raises `BadInput` where working that out goes beyond the bounds."""
        bits = np.frombuffer(self.matcher.compute_bitmask(), np.uint8)
        if self.matcher.is_error():
            raise BadInput(f"{self.name} is too complex: too much may come next at one place; simplify it")
        allowed = torch.from_numpy(np.unpackbits(bits, count=self.vocab, bitorder="little").view(np.bool_))
        # llguidance knows one token that ends a text.
        allowed[self.stops] = self.matcher.is_accepting()
        return allowed

    def accept(self, token: int) -> None:
        """Go on past `token`, which must be one that `mask` allows. Raises `BadInput` if it is not."""
        if not self.matcher.consume_token(self.bridge.eos_token if token in self.stops else token):
            self._fail(f"cannot be followed past token {token}")

    @property
    def complete(self) -> bool:
        """Whether the text as it is satisfies the grammar."""
        return self.matcher.is_accepting()

    @property
    def finished(self) -> bool:
        """Whether nothing may follow any more, except a stop token."""
        return self.matcher.is_stopped()

    def _fail(self, how: str) -> NoReturn:
        why = " ".join(self.matcher.get_error().split())
        # What runs into the bounds is told of in words about the engine's insides.
        if re.search(r"NoExtensionBias|\d+ items|too (large|big|complex|many)|limit|fuel", why, re.IGNORECASE):
            raise BadInput(f"{self.name} is too large or too deeply recursive to be followed; simplify it")
        if len(why) > MOST_IN_MESSAGE:
            why = why[:MOST_IN_MESSAGE] + "…"
        raise BadInput(f"{self.name} {how}: {why}; change or simplify it")


def _bounded(text: str, name: str) -> None:
    """Raise `BadInput` unless `text` is short and shallow enough to be given to a parser."""
    if len(text) > MOST_CHARACTERS:
        raise BadInput(f"{name} has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read")
    depth = 0
    for mark in re.finditer(r"\\.|[\[({]|[])}]", text, re.DOTALL):
        depth += (mark[0] in "[({") - (mark[0] in "])}")
        if depth > MOST_NESTING:
            raise BadInput(f"{name} is nested too deeply; at most {MOST_NESTING} levels are read")


def _cheap(schema: str, name: str) -> None:
    """Raise `BadInput` for what a schema may hold that takes minutes or a stack to compile."""
    if (references := schema.count('"$ref"')) > MOST_REFERENCES:
        raise BadInput(f"{name} has {references:,} references; at most {MOST_REFERENCES} are read")
    numbers = re.findall(r'"multipleOf"\s*:\s*(\d+(?:\.\d+)?(?:[eE][+-]?\d{1,3})?)', schema)
    sizes = [Fraction(number).numerator for number in numbers]
    # Where parts of a schema hold together, what is a multiple of both is one of their product.
    together = '"allOf"' in schema or '"$ref"' in schema
    if (prod(sizes) if together else max(sizes, default=1)) > MOST_REMAINDERS:
        raise BadInput(f"{name} asks for multiples of too large a number; at most {MOST_REMAINDERS:,} is followed")


def _most_optional(schema: object) -> int:
    """The most properties of one object anywhere in a schema that may be left out."""
    if isinstance(schema, list):
        return max(map(_most_optional, cast("list[object]", schema)), default=0)
    if not isinstance(schema, dict):
        return 0
    found = cast("dict[str, object]", schema)
    properties, required = found.get("properties"), found.get("required")
    own = len(cast("dict[str, object]", properties)) if isinstance(properties, dict) else 0
    own -= len(cast("list[object]", required)) if isinstance(required, list) else 0
    return max([own, *map(_most_optional, found.values())])


@lru_cache(maxsize=8)
def bridge(tokenizer: Tokenizer, vocab: int) -> LLTokenizer:
    """What `llguidance` knows of a tokenizer, made once: it takes a second for 50,000 tokens."""
    known = min(tokenizer.vocab_size, vocab)
    stops = {stop for stop in tokenizer.stop_ids if stop < vocab}
    pieces = SimpleNamespace(
        is_tokenizer_wrapper=True,
        # A model may have more logits than there are tokens; an empty token is never allowed.
        tokens=[tokenizer.token_bytes(i) for i in range(known)] + [b""] * (vocab - known),
        # These are part of no text, whatever the characters of their names.
        special_token_ids=sorted(stops | {token for token in tokenizer.special.values() if token < vocab}),
        bos_token_id=None,
        # None adds a token after all others, which no model can choose.
        eos_token_id=min(stops, default=None),
    )
    return LLTokenizer(cast("Any", pieces))
