"""What is asked for when a model is to write on from a prompt: which strategy, and what goes with it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from cutaway.infer.beam import Beams
from cutaway.infer.contrastive import Contrast
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.infer.constrained import Grammar
    from cutaway.infer.language_model import LanguageModel

MOST_COMPLETIONS = 128
MOST_ALTERNATIVES = 1000
MOST_DRAFTED = 64


@dataclass(frozen=True)
class Decoding:
    """How to write on from a prompt. Raises `BadInput` for what is out of bounds or does not go together.

    Attributes:
        sampling: how each token is chosen; greedy unless told otherwise.
        max_tokens: where to end at the latest.
        n: how many completions to give.
        stops: texts that end a completion and are no part of it.
        stop_ids: tokens that end it, beside those of the tokenizer.
        top: how many alternatives are told of each token.
        grammar: what the completion must look like.
        beams: search for the likeliest sequences instead of choosing token by token.
        contrast: choose tokens that are likely and do not say again what was said.
        draft: a smaller model of the same vocabulary, which guesses ahead; the text stays the larger one's.
        lookup: guess ahead that what was said before is said again.
        draft_tokens: how many tokens are guessed at a time.
    """

    sampling: Sampling = GREEDY
    max_tokens: int = 128
    n: int = 1
    stops: Sequence[str] = ()
    stop_ids: Collection[int] = ()
    top: int = 0
    grammar: Grammar | None = None
    beams: Beams | None = None
    contrast: Contrast | None = None
    draft: LanguageModel | None = None
    lookup: bool = False
    draft_tokens: int = 4

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("max_tokens", self.max_tokens, 1, 2**31),
            ("n", self.n, 1, MOST_COMPLETIONS),
            ("top", self.top, 0, MOST_ALTERNATIVES),
            ("draft_tokens", self.draft_tokens, 1, MOST_DRAFTED),
        ):
            if not low <= value <= high:
                raise BadInput(f"{name} is {value}; it must lie between {low} and {high}")
        if "" in self.stops:
            raise BadInput("a stop string is empty, which every text contains; leave it out")
        given = {
            "beam search": self.beams,
            "contrastive search": self.contrast,
            "a draft model": self.draft,
            "look-up": self.lookup or None,
        }
        strategies = [name for name, value in given.items() if value]
        if len(strategies) > 1:
            raise BadInput(f"{strategies[0]} and {strategies[1]} are two ways to write; choose one")
        if self.beams or self.contrast:
            self._draws_nothing(strategies[0])
        self._draws_something()

    def _draws_nothing(self, strategy: str) -> None:
        """A search looks for the best text by the model's own probabilities."""
        touched = [
            field.name
            for field in fields(Sampling)
            if field.name != "seed" and getattr(self.sampling, field.name) != getattr(GREEDY, field.name)
        ]
        if touched:
            raise BadInput(f"{strategy} goes by the model's own probabilities; leave out {', '.join(touched)}")
        if self.grammar:
            raise BadInput(f"{strategy} does not go with a grammar; choose one of them")
        if self.beams and self.stops:
            raise BadInput("beam search ends at tokens, not at stop strings; leave these out or name stop_ids")
        if self.n > (self.beams.width if self.beams else 1):
            raise BadInput(
                f"n is {self.n}, but {strategy} finds {self.beams.width if self.beams else 'only one'}; "
                + ("search with more beams" if self.beams else "leave n out")
            )

    def _draws_something(self) -> None:
        """Where the likeliest token is taken, nothing is drawn that these could narrow down."""
        if self.sampling.temperature > 0 or self.beams:
            return
        if self.n > 1:
            raise BadInput(f"n is {self.n}, but without a temperature every completion is the same; set one above 0")
        for name in ("top_p", "top_k", "min_p", "typical_p"):
            if getattr(self.sampling, name) != getattr(GREEDY, name):
                raise BadInput(
                    f"{name} narrows down what is drawn, and nothing is without a temperature; set one above 0"
                )


def contrast_of(penalty: float | None, candidates: int) -> Contrast | None:
    """Contrastive search as options name it: its penalty, None for none, and among how many tokens, 0 for as usual."""
    if penalty is None:
        return None
    return Contrast(penalty, candidates) if candidates else Contrast(penalty)


def grammar_of(json_schema: Mapping[str, Any] | str | None, regex: str | None, lark: str | None) -> Grammar | None:
    """The one grammar that is given. Raises `BadInput` if there are two, or it is none."""
    given = [source for source in (json_schema, regex, lark) if source is not None]
    if not given:
        return None
    if len(given) > 1:
        raise BadInput("a schema, an expression and a grammar each say what the whole text must look like; give one")
    # Not before it is needed: it brings a parser.
    from cutaway.infer.constrained import Grammar

    if json_schema is not None:
        return Grammar.json_schema(json_schema)
    return Grammar.lark(lark) if lark is not None else Grammar.regex(regex or "")
