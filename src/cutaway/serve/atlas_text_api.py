"""What the atlas draws of a text's way in: merges, the table of embeddings, and what each attention head does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Literal

from fastapi import APIRouter
from fastapi import Request as HTTPRequest
from pydantic import BaseModel, Field, StringConstraints
from starlette.concurrency import run_in_threadpool

from cutaway.infer import LanguageModel
from cutaway.lens import Trace, surprise
from cutaway.lens.heads import Repeated, looks, repeated, surprise_without
from cutaway.lens.table import embeddings, nearest, projection
from cutaway.runs import BadInput
from cutaway.serve.errors import ApiError
from cutaway.serve.looking import Ids, looked_into
from cutaway.serve.page_api import TokenShape, token_shape
from cutaway.serve.requests import ModelName, Request, TokenId, examples
from cutaway.serve.service import Service
from cutaway.tokens import Tokenizer
from cutaway.tokens.inspection import Merges, Replay

MAX_REPLAYED = 1000
"""Characters whose merges are replayed at once; in some vocabularies they are all one word."""
MAX_WORDS = 200
MAX_TERMS = 16
"""Tokens of one sum."""
MAX_NEAREST = 50
MAX_PERIOD = 100
"""Random tokens that are read twice."""
MAX_LOOKED = 1000
"""Axes of a model, its blocks or heads."""


class MergesRequest(Request):
    """POST /api/atlas/merges: how a text becomes tokens."""

    model_config = examples({"model": "demo", "text": "In the beginning"})

    model: ModelName
    text: Annotated[str, StringConstraints(max_length=MAX_REPLAYED)]


class JoinShape(BaseModel):
    """One merge: the symbol at `at` and the next become one."""

    at: int
    rank: int
    """Its place among all merges, from 0: the lower, the earlier it was learned, and the sooner it is made."""
    token: TokenShape


class PairShape(BaseModel):
    """Two symbols that may be joined."""

    left: int
    """The token that the symbol is."""
    right: int
    rank: int


class WordShape(BaseModel):
    """A part of the text that no merge may cross."""

    start: list[TokenShape]
    """Its bytes, or characters."""
    joins: list[JoinShape]
    pairs: list[PairShape]
    """All that were neighbours on the way and have a merge: the one of the lowest rank is made next."""
    whole: bool
    """Whether it was taken whole, as a token that it is, whatever the merges say."""
    tokens: list[TokenShape]


class MergesShape(BaseModel):
    """Answer to POST /api/atlas/merges."""

    tokens: list[TokenShape]
    bytes: int
    """Of the text, in UTF-8."""
    words: list[WordShape]
    merges: int
    """How many the vocabulary has."""
    why: str | None
    """Why there are no words to replay, where there are none."""


class WordsRequest(Request):
    """POST /api/atlas/words: which words are single tokens."""

    model_config = examples({"model": "demo", "words": ["king", "queen"]})

    model: ModelName
    words: list[Annotated[str, StringConstraints(min_length=1, max_length=100)]] = Field(
        min_length=1, max_length=MAX_WORDS
    )


class TokensOfWord(BaseModel):
    """A word's tokens, as in the middle of a sentence."""

    word: str
    tokens: list[TokenShape]


class WordsShape(BaseModel):
    """Answer to POST /api/atlas/words."""

    words: list[TokensOfWord]


class NearestRequest(Request):
    """POST /api/atlas/nearest: what lies nearest to a sum of embeddings."""

    model_config = examples({"model": "demo", "plus": [30, 31], "minus": [32], "n": 3, "answer": 33})

    model: ModelName
    plus: list[TokenId] = Field(min_length=1, max_length=MAX_TERMS)
    minus: list[TokenId] = Field(default=[], max_length=MAX_TERMS)
    n: Annotated[int, Field(ge=1, le=MAX_NEAREST)] = 10
    answer: TokenId | None = None
    """The token that is hoped for, whose rank is told."""


class NearShape(BaseModel):
    """A token near the sum."""

    token: TokenShape
    cosine: float
    asked: bool
    """Whether it is one of those that were added or taken away."""


class AnswerShape(BaseModel):
    """Where the token that was hoped for came; 1 is first."""

    cosine: float
    among_all: int
    among_others: int
    """Without those that were added or taken away."""
    by_neighbour: int
    """Without them, by nearness to the last that was added alone."""


class NearestShape(BaseModel):
    """Answer to POST /api/atlas/nearest."""

    name: str
    tokens: int
    """Rows of the table."""
    nearest: list[NearShape]
    mean: float
    """Of all tokens' cosines with the sum."""
    deviation: float
    answer: AnswerShape | None


class ProjectionRequest(Request):
    """POST /api/atlas/projection: tokens' embeddings on two principal components."""

    model_config = examples({"model": "demo", "tokens": [30, 31, 32], "among": "table"})

    model: ModelName
    tokens: Annotated[list[TokenId], Field(min_length=1, max_length=MAX_WORDS)]
    among: Literal["these", "table"] = "these"
    """Whose components: of these rows, or of the whole table."""


Pair = Annotated[list[float], Field(min_length=2, max_length=2)]


class ProjectionShape(BaseModel):
    """Answer to POST /api/atlas/projection."""

    name: str
    points: list[Pair]
    explained: Pair
    """The share of the variance that lies along each component."""


class HeadsRequest(Request):
    """POST /api/atlas/heads: random tokens, read twice, and where all heads look."""

    model_config = examples({"model": "demo", "seed": 1, "period": 3})

    model: ModelName
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    period: Annotated[int, Field(ge=3, le=MAX_PERIOD)] = 20


class HeadsShape(BaseModel):
    """Answer to POST /api/atlas/heads. Shares are of a head's attention in the second reading, by block and head."""

    tokens: list[TokenShape]
    start: int
    """Where the random tokens begin."""
    period: int
    previous: list[list[float]]
    first: list[list[float]]
    itself: list[list[float]]
    duplicate: list[list[float]]
    """On the same token in the first reading."""
    induction: list[list[float]]
    """On the token after that."""
    surprise: list[float]
    """Bits of each token after the first."""


class AblationsRequest(Request):
    """POST /api/atlas/ablations: the surprise without a head, for each of some heads of a block."""

    model_config = examples({"model": "demo", "tokens": [10, 20, 30], "layer": 0, "heads": [0]})

    model: ModelName
    tokens: Ids
    layer: Annotated[int, Field(ge=0, lt=MAX_LOOKED)]
    heads: list[Annotated[int, Field(ge=0, lt=MAX_LOOKED)]] = Field(min_length=1, max_length=64)


class AblationsShape(BaseModel):
    """Answer to POST /api/atlas/ablations."""

    surprise: list[list[float]]
    """By head, bits of each token after the first."""


def atlas_text_routes(service: Service) -> APIRouter:
    """The atlas's pages from *tokenization* to *multi-head attention*."""
    router = APIRouter(prefix="/api/atlas", tags=["page"])

    @router.post("/merges")
    async def merges(request: HTTPRequest, asked: MergesRequest) -> MergesShape:
        """A text's tokens, and the merges that lead to them, word by word."""
        served = await service.served(asked.model, request)
        return await run_in_threadpool(merged, served.lm, asked.text)

    @router.post("/words")
    async def words(request: HTTPRequest, asked: WordsRequest) -> WordsShape:
        """Each word's tokens."""
        lm = (await service.served(asked.model, request)).lm
        found = await run_in_threadpool(lambda: [_tokens_of(lm, word) for word in asked.words])
        return WordsShape(words=found)

    @router.post("/nearest")
    async def near(request: HTTPRequest, asked: NearestRequest) -> NearestShape:
        """Tokens by their cosine with a sum of tokens, in the table of embeddings."""
        given = [*asked.plus, *asked.minus, *([] if asked.answer is None else [asked.answer])]
        async with looked_into(service, request, asked.model, given) as served:
            return await run_in_threadpool(_nearest, served.lm, asked)

    @router.post("/projection")
    async def plane(request: HTTPRequest, asked: ProjectionRequest) -> ProjectionShape:
        """Where tokens lie on the two directions along which they, or all tokens, differ most."""
        async with looked_into(service, request, asked.model, asked.tokens) as served:
            return await run_in_threadpool(_projected, served.lm, asked)

    @router.post("/heads")
    async def heads(request: HTTPRequest, asked: HeadsRequest) -> HeadsShape:
        """Where each head looks when random tokens come a second time, and how surprised the model is by them."""
        lm = (await service.served(asked.model, request)).lm
        text = _repeated(lm, asked)
        async with looked_into(service, request, asked.model, text.tokens):
            return await run_in_threadpool(_heads, lm, text)

    @router.post("/ablations")
    async def ablations(request: HTTPRequest, asked: AblationsRequest) -> AblationsShape:
        """The surprise at each token with nothing written by a head, one head after the other."""
        read = len(asked.tokens) * len(asked.heads)
        async with looked_into(service, request, asked.model, asked.tokens, charge=read) as served:
            return await run_in_threadpool(_ablated, served.lm, asked)

    return router


def _shapes(lm: LanguageModel, ids: Iterable[int]) -> list[TokenShape]:
    return [token_shape(lm, id_) for id_ in ids]


@lru_cache(maxsize=4)
def _merges_of(tokenizer: Tokenizer) -> Merges:
    return Merges(tokenizer)


def merged(lm: LanguageModel, text: str) -> MergesShape:
    """A text's tokens, and for each of its words the merges that lead to them."""
    ids, why = lm.tokenizer.encode(text), None
    words: list[WordShape] = []
    known = 0
    try:
        merges = _merges_of(lm.tokenizer)
        known = len(merges.ranks)
        replays = merges.replay(text) if text else []
        if [id_ for each in replays for id_ in each.ids] == ids:
            words = [_word(lm, merges, each) for each in replays]
        else:
            why = "this text is not made of merges alone"
    except BadInput as error:
        why = str(error)
    return MergesShape(tokens=_shapes(lm, ids), bytes=len(text.encode()), words=words, merges=known, why=why)


def _word(lm: LanguageModel, merges: Merges, replay: Replay) -> WordShape:
    """A replay as places at which symbols are joined, which is all that a page needs to make the symbols itself."""
    states = [replay.start, *(step.symbols for step in replay.steps)]
    joins = [
        # Up to where two are joined, the symbols are those of before.
        JoinShape(at=(at := _first_difference(before, after)), rank=step.rank, token=_symbol(lm, merges, after[at]))
        for step, (before, after) in zip(replay.steps, pairwise(states), strict=True)
    ]
    return WordShape(
        start=[_symbol(lm, merges, symbol) for symbol in replay.start],
        joins=joins,
        pairs=[
            PairShape(left=merges.ids[left], right=merges.ids[right], rank=merges.ranks[left, right])
            for left, right in dict.fromkeys(pair for state in states for pair in pairwise(state))
            if (left, right) in merges.ranks
        ],
        whole=replay.whole,
        tokens=_shapes(lm, replay.ids),
    )


def _first_difference(before: tuple[str, ...], after: tuple[str, ...]) -> int:
    return next(i for i, (old, new) in enumerate(zip(before, after, strict=False)) if old != new)


def _symbol(lm: LanguageModel, merges: Merges, symbol: str) -> TokenShape:
    return token_shape(lm, merges.ids[symbol])


def _tokens_of(lm: LanguageModel, word: str) -> TokensOfWord:
    """A word's tokens with a space before it, if that makes fewer than without: not all vocabularies hold it there."""
    ways = [lm.tokenizer.encode(f" {word}"), lm.tokenizer.encode(word)]
    return TokensOfWord(word=word, tokens=_shapes(lm, min(ways, key=len)))


def _nearest(lm: LanguageModel, asked: NearestRequest) -> NearestShape:
    # Tables may have more rows than there are tokens, so that their size is round.
    rows = embeddings(lm.model)[: lm.tokenizer.vocab_size]
    try:
        found = nearest(rows, asked.plus, asked.minus, asked.n, asked.answer)
    except BadInput as error:
        raise ApiError(400, str(error), param="plus") from error
    given = {*asked.plus, *asked.minus}
    ranks = found.answer
    return NearestShape(
        name="embed.weight",
        tokens=len(rows),
        nearest=[
            NearShape(token=token_shape(lm, id_), cosine=cosine, asked=id_ in given)
            for id_, cosine in zip(found.tokens.tolist(), found.cosines.tolist(), strict=True)
        ],
        mean=found.mean,
        deviation=found.deviation,
        answer=ranks
        and AnswerShape(
            cosine=ranks.cosine,
            among_all=ranks.among_all,
            among_others=ranks.among_others,
            by_neighbour=ranks.by_neighbour,
        ),
    )


def _projected(lm: LanguageModel, asked: ProjectionRequest) -> ProjectionShape:
    table = embeddings(lm.model)
    rows = table[asked.tokens]
    try:
        found = projection(rows, table if asked.among == "table" else rows)
    except BadInput as error:
        raise ApiError(400, str(error), param="tokens") from error
    return ProjectionShape(name="embed.weight", points=found.points.tolist(), explained=list(found.explained))


def _repeated(lm: LanguageModel, asked: HeadsRequest) -> Repeated:
    special = set(lm.tokenizer.special.values())
    candidates = [id_ for id_ in range(min(lm.config.vocab_size, lm.tokenizer.vocab_size)) if id_ not in special]
    try:
        return repeated(candidates, asked.period, asked.seed, lm.tokenizer.document(""))
    except BadInput as error:
        raise ApiError(400, str(error), param="period") from error


def _heads(lm: LanguageModel, text: Repeated) -> HeadsShape:
    found = looks(Trace(lm.model, text.tokens), text)
    return HeadsShape(
        tokens=_shapes(lm, text.tokens),
        start=text.start,
        period=text.period,
        previous=found.previous.tolist(),
        first=found.first.tolist(),
        itself=found.itself.tolist(),
        duplicate=found.duplicate.tolist(),
        induction=found.induction.tolist(),
        surprise=surprise(lm.model, text.tokens).tolist(),
    )


def _ablated(lm: LanguageModel, asked: AblationsRequest) -> AblationsShape:
    try:
        bits = surprise_without(lm.model, asked.tokens, asked.layer, asked.heads)
    except BadInput as error:
        raise ApiError(400, str(error), param="heads") from error
    return AblationsShape(surprise=bits.tolist())
