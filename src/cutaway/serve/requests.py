"""What requests have in common, checked: the parameters that OpenAI's clients send, and the bounds on them."""

from __future__ import annotations

import difflib
import secrets
from collections.abc import Mapping
from dataclasses import fields
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from cutaway.infer import GREEDY, Beams, Contrast, Sampling, Search
from cutaway.serve.limits import (
    MAX_BEAMS,
    MAX_BIASES,
    MAX_CANDIDATES,
    MAX_CHOICES,
    MAX_STOP_LENGTH,
    MAX_STOPS,
    MAX_TOKENS,
)
from cutaway.serve.messages import Shape

Stop = Annotated[str, StringConstraints(min_length=1, max_length=MAX_STOP_LENGTH)]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Count = Annotated[int, Field(ge=1, le=MAX_CHOICES)]
TokenId = Annotated[int, Field(ge=0, lt=2**31)]
Penalty = Annotated[float, Field(ge=-2, le=2)]
Bias = dict[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}$")], Annotated[float, Field(ge=-100, le=100)]]

BEAMS = {"use_beam_search": True, "beam_width": 2, "length_penalty": 1.0, "early_stopping": True}
CONTRAST = {"penalty_alpha": 0.6, "top_k": 4}
"""The two searches in examples."""

NOTHING = (None, [], {}, "")
"""Values that ask for nothing."""


class StreamOptions(Shape):
    """What a stream carries besides the text."""

    include_usage: bool = False


class Request(BaseModel):
    """What every request for text has in common.

    A parameter of OpenAI's that this server does not carry out is refused unless its value asks for nothing, rather
    than passed over in silence; one that nobody knows is refused with the nearest name.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())

    harmless: ClassVar[Mapping[str, tuple[object, ...]]] = {}
    """Parameters that are not carried out, with the values that ask for nothing."""
    ignored: ClassVar[frozenset[str]] = frozenset()
    """Parameters that say nothing about the text."""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        kept: dict[str, Any] = {}
        for name, value in data.items():
            if name in cls.model_fields:
                kept[name] = value
            elif name in cls.harmless:
                # `0 == False` and `1 == True`, which is harmless here too.
                if value is not None and value not in cls.harmless[name]:
                    raise PydanticCustomError("unsupported", _literal(_unsupported(name)), {"param": name})
            elif name not in cls.ignored:
                raise PydanticCustomError("unknown", _literal(cls._unknown(str(name))), {"param": str(name)[:80]})
        return kept

    @classmethod
    def _unknown(cls, name: str) -> str:
        near = difflib.get_close_matches(name[:80], cls.model_fields, n=1)
        return f"there is no parameter {name[:80]!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def examples(*bodies: dict[str, Any]) -> ConfigDict:
    """Requests for the OpenAPI document, which together hold every field and are carried out by any small decoder."""
    return ConfigDict(json_schema_extra={"examples": list(bodies)})


class SamplingRequest(Request):
    """How the next token is chosen, and when to stop."""

    model: ModelName
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    seed: Seed | None = None

    def sampling(self) -> Sampling:
        """The same as inference takes it. OpenAI's default temperature is 1."""
        return Sampling(**self._given(), seed=self._seed())

    def _given(self) -> dict[str, Any]:
        """The settings that the request gives; what it leaves out is as `Sampling` has it."""
        names = {field.name for field in fields(Sampling)} - {"seed", "logit_bias"}
        given = {name: getattr(self, name) for name in names & set(type(self).model_fields)}
        return {name: value for name, value in given.items() if value is not None}

    def _seed(self) -> int:
        # Without a seed every answer draws anew, whatever the state of a generator shared between requests.
        return secrets.randbits(62) if self.seed is None else self.seed


class OpenAIRequest(SamplingRequest):
    """What OpenAI's two ways of asking for text have in common, and what other servers of its API add."""

    ignored: ClassVar[frozenset[str]] = frozenset({"user"})

    n: Count | None = None
    stop: Stop | Annotated[list[Stop], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: Annotated[Bias, Field(max_length=MAX_BIASES)] | None = None
    top_k: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Field(gt=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=100)] | None = None
    # As vLLM calls them, and for contrastive search `transformers`, which takes `top_k` with it.
    use_beam_search: bool | None = None
    beam_width: Annotated[int, Field(ge=1, le=MAX_BEAMS)] | None = None
    length_penalty: Annotated[float, Field(ge=-10, le=10)] | None = None
    early_stopping: bool | Literal["never"] | None = None
    penalty_alpha: Annotated[float, Field(ge=0, le=1)] | None = None

    def _given(self) -> dict[str, Any]:
        biases = {int(token): bias for token, bias in (self.logit_bias or {}).items()}
        return {**super()._given(), "logit_bias": biases}

    @model_validator(mode="after")
    def _options_of_a_stream(self) -> Self:
        if self.stream_options is not None and not self.stream:
            raise PydanticCustomError("value", "stream_options needs stream: true", {"param": "stream_options"})
        return self

    @model_validator(mode="after")
    def _searches_alone(self) -> Self:
        """A search finds a text by the model's own probabilities, and knows it at its end."""
        for name, usual in (("beam_width", None), ("length_penalty", 1), ("early_stopping", False)):
            if not self.use_beam_search and getattr(self, name) not in (None, usual):
                raise PydanticCustomError("value", _literal(f"{name} needs use_beam_search: true"), {"param": name})
        if not self.use_beam_search and self.penalty_alpha is None:
            return self
        search = "beam search" if self.use_beam_search else "contrastive search"
        most = self.beam_width or MAX_CHOICES if self.use_beam_search else 1
        own = {"top_k"} if self.penalty_alpha is not None else set[str]()
        faults = {
            "penalty_alpha": self.use_beam_search and self.penalty_alpha is not None and "it is another way to write",
            "stream": self.stream and "what it finds is known at its end",
            "stop": self.use_beam_search and self.stops and "it ends at tokens, not at texts",
            "n": (self.n or 1) > most and f"it finds no more than {most}",
            "top_k": own and (self.top_k or 0) > MAX_CANDIDATES and f"it chooses among at most {MAX_CANDIDATES}",
            **dict.fromkeys(sorted(self._narrowed() - own), "it goes by the model's own probabilities"),
        }
        for name, why in faults.items():
            if why:
                message = f"{name} does not go with {search}: {why}"
                raise PydanticCustomError("value", _literal(message), {"param": name})
        return self

    def _narrowed(self) -> set[str]:
        """The settings that change what is drawn."""
        settings, usual = self.sampling(), (Sampling(), GREEDY)
        names = {field.name for field in fields(Sampling)} - {"seed"}
        return {name for name in names if getattr(settings, name) not in [getattr(each, name) for each in usual]}

    @property
    def search(self) -> Search | None:
        """The search that is asked for, instead of drawing token by token."""
        if self.use_beam_search:
            penalty = 1.0 if self.length_penalty is None else self.length_penalty
            return Beams(self.beam_width or self.n or 1, penalty, self.early_stopping or False)
        if self.penalty_alpha is None:
            return None
        return Contrast(self.penalty_alpha, self.top_k or Contrast.candidates)

    @property
    def stops(self) -> list[str]:
        """The stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop or ())

    @property
    def include_usage(self) -> bool:
        """Whether a stream ends with the count of tokens."""
        return self.stream_options is not None and self.stream_options.include_usage


def _unsupported(name: str) -> str:
    reasons = {"functions": "functions are given as tools here", "function_call": "give tool_choice instead"}
    return reasons.get(name, f"{name} is not supported by this server; leave it out")


def _literal(text: str) -> Any:
    """A message for PydanticCustomError, which would fill in anything between braces."""
    return text.replace("{", "(").replace("}", ")")
