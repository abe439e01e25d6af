"""POST /tokenize and /detokenize: what a model takes texts for, as other servers of OpenAI's API tell it."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from cutaway.infer import LanguageModel
from cutaway.serve.service import Service, chat_prompt, token_ids
from cutaway.serve.text_requests import DetokenizeRequest, TokenizeTextRequest
from cutaway.serve.text_shapes import Detokenized, TokenCount, token_name


def token_routes(service: Service) -> APIRouter:
    """The two routes."""
    router = APIRouter(tags=["tokens"])

    @router.post("/tokenize")
    async def tokenize(request: Request, asked: TokenizeTextRequest) -> TokenCount:
        lm = (await service.served(asked.model, request)).lm
        return await run_in_threadpool(_tokenized, lm, asked)

    @router.post("/detokenize")
    async def detokenize(request: Request, asked: DetokenizeRequest) -> Detokenized:
        lm = (await service.served(asked.model, request)).lm
        return Detokenized(prompt=await run_in_threadpool(lm.tokenizer.decode, token_ids(lm, asked.tokens)))

    return router


def _tokenized(lm: LanguageModel, asked: TokenizeTextRequest) -> TokenCount:
    if asked.messages is not None:
        ids = chat_prompt(
            lm, [message.plain() for message in asked.messages], generate=asked.add_generation_prompt is not False
        )
    elif asked.add_special_tokens is False:
        ids = lm.tokenizer.encode(asked.prompt or "")
    else:
        ids = token_ids(lm, asked.prompt or "")
    names = [token_name(lm, id_) for id_ in ids] if asked.return_token_strs else None
    return TokenCount(count=len(ids), max_model_len=lm.config.context, tokens=ids, token_strs=names)
