"""What a pretrained model knows, found by asking it: the basis of its honest "I don't know".

After the knowledge probing of Llama 3 (Grattafiori et al. 2024, section 4.3.6): a fact is one the model knows if the
model itself, with nothing but its pretraining, gives it.
"""

from __future__ import annotations

from cutaway.align.mixture import Fact
from cutaway.corpus.tellings import cloze
from cutaway.corpus.world import World
from cutaway.infer import generate_batch
from cutaway.model import Transformer
from cutaway.tokens import Tokenizer


def probe(model: Transformer, tokenizer: Tokenizer, world: World, *, openings: int = 3) -> dict[Fact, float]:
    """For each fact, the share of sentence openings that the model, greedily, completes with its value.

    `openings` are taken of each attribute's, spread over all there are.
    """
    asked: list[tuple[Fact, str]] = []
    prompts: list[list[int]] = []
    for entity, attribute in world.facts():
        every = cloze(entity, attribute)
        for opening in every[:: max(1, len(every) // openings)][:openings]:
            asked.append(((entity.name, attribute), entity.facts[attribute]))
            prompts.append([tokenizer.end_of_text, *tokenizer.encode(opening)])
    longest = max((len(tokenizer.encode(" " + value)) for _, value in asked), default=0)
    completions = generate_batch(model, prompts, max_tokens=longest + 1, stop_ids=tokenizer.stop_ids)
    right: dict[Fact, list[bool]] = {}
    for (fact, value), completion in zip(asked, completions, strict=True):
        told = tokenizer.decode(completion, skip_special=True)
        right.setdefault(fact, []).append(told.startswith((f" {value}.", f" {value} ", f" {value},")))
    return {fact: sum(results) / len(results) for fact, results in right.items()}
