"""Beginnings are found by their tokens; what nobody uses is given up, the longest unused first."""

from __future__ import annotations

import random

from cutaway.infer.pages import NOTHING, PAGE, Pages
from cutaway.infer.prefixes import Name, Prefixes, extend_names
from cutaway.model import ModelConfig

CONFIG = ModelConfig(vocab_size=50, n_layers=1, d_model=8, n_heads=1, n_kv_heads=1, d_head=8, d_mlp=8, context=64)


def names_of(tokens: list[int], among: str = "") -> list[Name]:
    names: list[Name] = []
    extend_names(names, tokens, among)
    return names


def written(prefixes: Prefixes, tokens: list[int]) -> list[int]:
    """The pages of a sequence that has read these tokens, remembered."""
    pages = [prefixes.take() for _ in names_of(tokens)]
    assert None not in pages
    for name, page in zip(names_of(tokens), pages, strict=True):
        prefixes.keep(name, page or 0)
    return [page or 0 for page in pages]


def test_a_name_says_all_tokens_up_to_its_page_s_end() -> None:
    tokens = list(range(3 * PAGE + 5))
    names = names_of(tokens)
    assert len(names) == len(set(names)) == 3
    assert names_of(tokens[: 2 * PAGE]) == names[:2]
    assert names_of([99, *tokens[1:]])[2] != names[2]
    assert names_of(tokens, "somebody")[0] != names[0]
    grown: list[Name] = []
    for length in range(len(tokens) + 1):
        extend_names(grown, tokens[:length])
    assert grown == names


def test_known_beginnings_are_found_and_shared() -> None:
    prefixes = Prefixes(Pages(CONFIG, 8))
    tokens = list(range(3 * PAGE))
    pages = written(prefixes, tokens)
    other = [*tokens[: 2 * PAGE], *range(100, 100 + PAGE)]
    assert prefixes.find(names_of(other)) == pages[:2]
    assert [prefixes.pages.references[page] for page in pages] == [2, 2, 1]
    assert prefixes.find(names_of(list(range(100, 200)))) == []
    prefixes.release(pages[:2])
    assert prefixes.room == 5
    prefixes.release(pages)
    # They are nobody's, and still found.
    assert prefixes.room == 8
    assert prefixes.find(names_of(tokens)) == pages
    assert prefixes.room == 5


def test_what_was_not_used_for_longest_is_given_up_from_its_end() -> None:
    prefixes = Prefixes(Pages(CONFIG, 5))
    old, new = [1] * (2 * PAGE), [2] * (2 * PAGE)
    for tokens in (old, new):
        prefixes.release(written(prefixes, tokens))
    prefixes.release(prefixes.find(names_of(old)))
    taken = [prefixes.take() for _ in range(3)]
    assert None not in taken
    # One was free; then `new` went, though it came later, for `old` was used since.
    assert prefixes.find(names_of(new)) == []
    found = prefixes.find(names_of(old))
    assert len(found) == 2
    prefixes.release(found)
    prefixes.take()
    assert prefixes.find(names_of(old)) == found[:1]
    assert prefixes.take() is None


def test_no_page_is_lost_or_used_twice_whatever_happens() -> None:
    for seed in range(20):
        draw = random.Random(seed)
        prefixes = Prefixes(Pages(CONFIG, 12))
        users: list[list[int]] = []
        for _ in range(300):
            if draw.random() < 0.6:
                tokens = [draw.randrange(2)] * PAGE + [draw.randrange(2)] * PAGE + [draw.randrange(3)] * PAGE
                names = names_of(tokens)
                pages = prefixes.find(names)
                while len(pages) < 3 and (page := prefixes.take()) is not None:
                    pages.append(page)
                for name, page in zip(names, pages, strict=False):
                    prefixes.keep(name, page)
                users.append(pages)
            elif users:
                pages = users.pop(draw.randrange(len(users)))
                if draw.random() < 0.3 and pages:
                    prefixes.release(pages[:1])
                    pages[0] = NOTHING
                prefixes.release(pages)
            used = [page for pages in users for page in pages]
            assert [prefixes.pages.references[page] for page in range(1, 13)] == [used.count(p) for p in range(1, 13)]
            assert prefixes.room == 12 - len(set(used))
            assert not set(used) & {*prefixes.idle, *prefixes.pages.free}
