"""What is used of vLLM: its names, and our settings and its probabilities in terms of each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from cutaway.infer.constrained import Grammar
from cutaway.infer.decoding import MOST_ALTERNATIVES
from cutaway.infer.generate import Alternatives
from cutaway.infer.language_model import LanguageModel
from cutaway.infer.native import Precision
from cutaway.infer.request import Constraint, Request
from cutaway.model.taps import UNTOUCHED
from cutaway.runs import BadInput

HOTTEST = 2.0
"""The highest temperature that vLLM takes."""


@cache
def library() -> SimpleNamespace:
    """The parts of vLLM that are used. Raises `BadInput` if it is not installed, or is of a version that lacks them."""
    try:
        import_module("vllm")
    except ImportError as error:
        why = "" if error.name == "vllm" else f" ({error})"
        raise BadInput(f"--engine vllm needs vLLM: pip install vllm{why}") from None
    try:
        sampling = import_module("vllm.sampling_params")
        parts = SimpleNamespace(
            AsyncEngineArgs=import_module("vllm.engine.arg_utils").AsyncEngineArgs,
            AsyncLLM=import_module("vllm.v1.engine.async_llm").AsyncLLM,
            StructuredOutputsConfig=import_module("vllm.config").StructuredOutputsConfig,
            SamplingParams=sampling.SamplingParams,
            StructuredOutputsParams=sampling.StructuredOutputsParams,
            DELTA=sampling.RequestOutputKind.DELTA,
        )
    except (ImportError, AttributeError) as error:
        raise BadInput(f"this vLLM is too old, or too new ({error}); pip install --upgrade vllm") from None
    # A request at fault is a ValueError in some versions, and one of its own kind in others.
    try:
        parts.Refused = (ValueError, import_module("vllm.exceptions").VLLMClientError)
    except (ImportError, AttributeError):
        parts.Refused = (ValueError,)
    return parts


def dtype_of(weights: Precision | None) -> str:
    """What vLLM calls a precision of weights. Raises `BadInput` for one that it is not given them in."""
    if weights in ("int8", "int4"):
        raise BadInput(f"vLLM is given weights in float32 or bfloat16, not {weights}; leave out --weights")
    return weights or "auto"


def engine_arguments(lm: LanguageModel, model: str, weights: Precision | None, most_rows: int) -> Any:
    """How vLLM is to be started for a model in the directory `model`."""
    vllm = library()
    return vllm.AsyncEngineArgs(
        model=model,
        dtype=dtype_of(weights),
        max_model_len=lm.config.context,
        max_num_seqs=most_rows,
        max_logprobs=MOST_ALTERNATIVES,
        # What the model thought, before any setting changed it.
        logprobs_mode="raw_logprobs",
        # Every setting comes with the request.
        generation_config="vllm",
        scheduling_policy="priority",
        enable_prefix_caching=True,
        # Follows grammars with the library that ours are written for.
        structured_outputs_config=vllm.StructuredOutputsConfig(backend="guidance"),
        disable_log_stats=True,
    )


def must_be_possible(request: Request, context: int) -> None:
    """Raise `BadInput` for what vLLM cannot do."""
    sampling = request.sampling
    if request.tap is not UNTOUCHED:
        raise BadInput("vLLM does not show what happens inside a model; serve it without --engine vllm to watch it")
    if sampling.typical_p < 1:
        raise BadInput("vLLM has no typical_p; leave it out, or serve without --engine vllm")
    if sampling.temperature > HOTTEST:
        raise BadInput(f"vLLM takes temperatures up to {HOTTEST}, not {sampling.temperature}; choose a lower one")
    if request.prompt_steps and len(request.prompt) == context:
        raise BadInput(
            f"vLLM tells of a prompt only where a token has room after it; this one fills the context of {context}"
        )


def grammar_in(constraint: Constraint) -> Grammar:
    """The grammar that a constraint follows. Raises `BadInput` where it is none that vLLM could follow."""
    grammar = getattr(constraint, "grammar", None)
    if not isinstance(grammar, Grammar):
        raise BadInput("vLLM cannot keep an answer to this form; serve without --engine vllm")
    return grammar


def sampling_params(
    request: Request, index: int, left: int, *, of_prompt: bool, grammar: Grammar | None, seed: int | None
) -> Any:
    """A request's settings in vLLM's terms.

    Args:
        request: what is asked for; its completions are asked for one by one.
        index: the number of this one.
        left: tokens that it may still write.
        of_prompt: whether the prompt's own tokens are to be told.
        grammar: what the answer must look like.
        seed: where the randomness begins.
    """
    vllm, sampling = library(), request.sampling
    # The fewest of the likeliest that reach nothing: the likeliest alone, which vLLM says otherwise.
    greedy = sampling.temperature == 0 or sampling.top_p == 0
    return vllm.SamplingParams(
        temperature=0.0 if greedy else sampling.temperature,
        top_p=1.0 if greedy else sampling.top_p,
        top_k=0 if greedy else int(sampling.top_k),
        min_p=0.0 if greedy else sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        presence_penalty=sampling.presence_penalty,
        frequency_penalty=sampling.frequency_penalty,
        logit_bias=dict(sampling.logit_bias) or None,
        seed=None if seed is None else (seed + index) % 2**63,
        # It must write one at least, which is then passed over.
        max_tokens=max(1, left),
        stop_token_ids=sorted(request.stop_ids),
        # Those of the request are all that end it.
        ignore_eos=True,
        logprobs=request.alternatives,
        prompt_logprobs=request.alternatives if of_prompt else None,
        structured_outputs=vllm.StructuredOutputsParams(grammar=grammar.source) if grammar else None,
        # Text is made of tokens here, and stop strings are looked for in it.
        detokenize=False,
        output_kind=vllm.DELTA,
    )


def thought(place: Mapping[int, Any], token: int, most: int) -> tuple[float, Alternatives]:
    """What the model thought of a token in its place: log-probability, and the `most` likeliest tokens there.

    `place` has vLLM's log-probabilities of those and of the token itself, by token.
    """
    likeliest = sorted(place.items(), key=lambda entry: -entry[1].logprob)[:most]
    return place[token].logprob, [(other, math.exp(entry.logprob)) for other, entry in likeliest]
