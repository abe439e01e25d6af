"""What a pretrained model knows, found by asking it: the basis of its honest "I don't know".

After the knowledge probing of Llama 3 (Grattafiori et al. 2024, section 4.3.6): a fact is one the model knows if the
model itself, with nothing but its pretraining, gives it.
"""

from __future__ import annotations

import random
import re

from cutaway.align.mixture import Fact
from cutaway.corpus import questions
from cutaway.corpus.tellings import cloze
from cutaway.corpus.world import World
from cutaway.infer import generate_batch
from cutaway.model import Transformer
from cutaway.tokens import Tokenizer


def probe(model: Transformer, tokenizer: Tokenizer, world: World, *, times: int = 3) -> dict[Fact, float]:
    """For each fact, the share of attempts in which the model, greedily, gives its value and no other.

    It is asked `times` in a conversation, and given as many sentences to complete: what a model has read does not show
    alike in both, and one that never met a conversation can only complete.
    """
    asked: list[tuple[Fact, str]] = []
    prompts: list[list[int]] = []
    for entity, attribute in world.facts():
        rng = random.Random(f"probe:{entity.name}:{attribute}")
        put = [questions.question(attribute, entity.name, rng, "train") for _ in range(times)]
        every = cloze(entity, attribute)
        openings = every[:: max(1, len(every) // times)][:times]
        asked += [((entity.name, attribute), entity.facts[attribute])] * (len(put) + len(openings))
        prompts += [tokenizer.encode_chat([{"role": "user", "content": question}]) for question in put]
        prompts += [[tokenizer.end_of_text, *tokenizer.encode(opening)] for opening in openings]
    completions = generate_batch(model, prompts, max_tokens=24, stop_ids=tokenizer.stop_ids)
    right: dict[Fact, list[bool]] = {}
    for (fact, value), completion in zip(asked, completions, strict=True):
        # Of a completion only the sentence that was begun counts, not what it goes on to tell.
        sentence = tokenizer.decode(completion, skip_special=True).partition(".")[0]
        named = set(re.findall(r"\w+", sentence)) & set(world.values(fact[1]))
        right.setdefault(fact, []).append(named == {value})
    return {fact: sum(results) / len(results) for fact, results in right.items()}
