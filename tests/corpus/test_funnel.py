"""Funnels of parts merge into that of the whole, whatever the parts; and inputs fall into parts by size alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from cutaway.corpus.domains import merge_domains, write_domains
from cutaway.corpus.funnel import SAMPLES, Funnel, domain_of, rank
from cutaway.corpus.page import Page, Removal, Skipped
from cutaway.corpus.parts import PARTS, Input, cut, parts_of, write_plan
from cutaway.runs import BadInput


class Longest:
    """Removes long pages by one rule, and those of an even length by another."""

    name = "longest"

    def __call__(self, page: Page) -> Removal | None:
        if len(page.text) > 150:
            return Removal("too_long", len(page.text), 150)
        return Removal("even", len(page.text) % 2, 1) if len(page.text) % 2 == 0 else None


def pages() -> list[Page]:
    rng = random.Random(5)
    urls = [f"https://www.site{n}.org/a" for n in range(30)]
    return [Page(f"p/{n}", "p", "é" * rng.randrange(1, 200), url=rng.choice(urls)) for n in range(500)]


def funnel_of(some: list[Page]) -> Funnel:
    funnel = Funnel()
    funnel.expect(["read", "longest"])
    for page in some:
        funnel.read(page)
        if int(page.id[2:]) % 50 == 0:
            funnel.skip(Skipped(page.id, "broken"))
        if funnel.apply([Longest()], page):
            funnel.keep(page)
    return funnel


@pytest.mark.parametrize("seed", range(4))
def test_parts_merge_into_the_whole(seed: int, tmp_path: Path) -> None:
    every, rng = pages(), random.Random(seed)
    whole = funnel_of(every)
    parts: list[list[Page]] = [[] for _ in range(rng.randrange(2, 9))]
    for page in every:
        rng.choice(parts).append(page)
    merged = Funnel()
    paths = [tmp_path / f"{number}.tsv" for number in range(len(parts))]
    for part, path in zip(parts, paths, strict=True):
        funnel = funnel_of(part)
        write_domains(path, funnel.domains)
        merged.merge(Funnel.from_json(json.loads(json.dumps(funnel.to_json()))))
    assert json.dumps(merged.to_json()) == json.dumps(whole.to_json())
    count, top = merge_domains(paths, tmp_path)
    assert count == 30
    assert {row[0]: list(row[1:]) for row in top} == whole.domains


def test_counts_and_samples_are_those_of_the_pages() -> None:
    every = pages()
    funnel = funnel_of(every)
    gone = [page for page in every if len(page.text) > 150]
    removed = funnel.removed["longest"]["too_long"]
    assert (removed.documents, removed.bytes) == (len(gone), sum(len(page.text.encode()) for page in gone))
    lowest = sorted(gone, key=lambda page: rank(page.id))[:SAMPLES]
    assert [shown["id"] for _, shown in removed.sample] == [page.id for page in lowest]
    kept = [page for page in every if len(page.text) <= 150 and len(page.text) % 2]
    assert sum(funnel.lengths.values()) == len(kept)
    assert funnel.lengths[6] == sum(64 <= len(page.text) < 128 for page in kept)


def test_many_files_of_domains_are_merged_without_opening_all(tmp_path: Path) -> None:
    paths = [tmp_path / f"part-{number}.tsv" for number in range(450)]
    for number, path in enumerate(paths):
        write_domains(path, {"a.org": [1, 1, 10], f"only{number}.org": [2, 0, 0], "": [1, 1, 1]})
    count, top = merge_domains(paths, tmp_path)
    assert count == 451
    assert top[0] == ("a.org", 450, 450, 4500)


@pytest.mark.parametrize(
    ("url", "domain"),
    [
        ("https://www.example.org/a", "example.org"),
        ("http://[broken", ""),
        ("", ""),
        ("https://b\u00fccher.de/", "b\\xfccher.de"),
        (None, ""),
    ],
)
def test_domains_of_any_url(url: str | None, domain: str) -> None:
    assert domain_of(url) == domain


def test_every_input_is_in_one_part(tmp_path: Path) -> None:
    rng = random.Random(3)
    inputs = [Input(f"f{n}\t\n{n}", f"/x/{n}", rng.choice([0, 10, 10**6, 10**9]), n) for n in range(3000)]
    numbers = [part for part, _ in cut(inputs)]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(numbers[-1] + 1))
    assert numbers[-1] < 4 * PARTS
    plan = tmp_path / "plan.tsv"
    parts = write_plan(plan, inputs)
    for tasks in (1, 7):
        found = {part: held for rank in range(tasks) for part, held in parts_of(plan, rank, tasks)}
        assert sorted(found) == list(range(parts))
        assert [one for part in sorted(found) for one in found[part]] == inputs
    with pytest.raises(BadInput, match="2 of the inputs changed"):
        write_plan(plan, [*inputs[2:]])
