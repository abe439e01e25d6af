from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cutaway.corpus.deduplicate import words
from cutaway.corpus.documents import Document
from cutaway.corpus.split import GRAM, check_no_leaks, hold_out, remove_leaks
from cutaway.runs.errors import BadInput, CutawayError

SENTENCE = "one two three four five six seven eight nine ten eleven twelve thirteen"


def corpus(per_source: int = 100, seed: int = 0) -> list[Document]:
    rng = random.Random(seed)
    return [
        Document(f"{origin}{number}", "x" * rng.randint(500, 3000), origin.partition("/")[0])
        for number in range(per_source)
        for origin in ("bbe/book/", "kjv/book/", "pydoc/topic")
    ]


def grams(text: str) -> set[tuple[str, ...]]:
    found = words(text)
    return {tuple(found[i : i + GRAM]) for i in range(len(found) - GRAM + 1)}


def test_a_share_of_each_source_and_versions_together() -> None:
    documents = corpus()
    training, heldout = hold_out(documents, 0.1, seed=3)
    assert sorted(training + heldout, key=repr) == sorted(documents, key=repr)
    for source in ("bbe", "kjv", "pydoc"):
        share = sum(len(d.text) for d in heldout if d.source == source) / sum(
            len(d.text) for d in documents if d.source == source
        )
        assert 0.07 < share < 0.13
    works = [{d.id.partition("/")[2] for d in heldout if d.source == source} for source in ("bbe", "kjv")]
    assert works[0] == works[1]


def test_the_split_depends_on_the_seed_and_not_on_the_order_or_on_other_text() -> None:
    documents = corpus()
    first = {d.id for d in hold_out(documents, 0.05, seed=1)[1]}
    assert {d.id for d in hold_out(documents[::-1], 0.05, seed=1)[1]} == first
    assert {d.id for d in hold_out(documents, 0.05, seed=2)[1]} != first
    more = [*documents, *(Document(f"user/a.txt/{n}", "x" * 900, "user") for n in range(50))]
    assert {d.id for d in hold_out(more, 0.05, seed=1)[1] if d.source != "user"} == first


def test_neither_side_is_ever_empty() -> None:
    two = [Document("user/a/0", "long " * 100, "user"), Document("user/a/1", "short", "user")]
    for fraction in (0.001, 0.5, 0.999):
        training, heldout = hold_out(two, fraction, seed=0)
        assert (len(training), len(heldout)) == (1, 1)
    with pytest.raises(BadInput, match="too small to hold out"):
        hold_out(two[:1], 0.1, seed=0)
    with pytest.raises(BadInput, match="too small to hold out"):
        hold_out([Document("bbe/a/1", "text", "bbe"), Document("kjv/a/1", "text", "kjv")], 0.1, seed=0)


def test_only_the_paragraphs_that_overlap_go() -> None:
    heldout = [Document("user/h", f"Before. {SENTENCE}! After.", "user")]
    training = [
        Document("user/0", f"Kept.\n\nIt said: {SENTENCE.upper()}, and more.\n\nKept too.", "user"),
        Document("user/1", SENTENCE.rpartition(" ")[0], "user"),
        Document("user/2", SENTENCE, "user"),
    ]
    with pytest.raises(CutawayError, match="user/0 shares 13 words"):
        check_no_leaks(training, heldout)
    kept, removed = remove_leaks(training, heldout)
    assert kept == [Document("user/0", "Kept.\n\nKept too.", "user"), training[1]]
    assert removed.paragraphs == 2
    assert removed.samples[0]["document"] == "user/0"
    check_no_leaks(kept, heldout)


def test_a_run_across_paragraphs_takes_each_it_touches() -> None:
    heldout = [Document("user/h", SENTENCE, "user")]
    split = SENTENCE.replace(" seven ", "\n\nseven ")
    kept, removed = remove_leaks([Document("user/0", f"Kept before.\n\n{split}\n\nKept after.", "user")], heldout)
    assert kept[0].text == "Kept before.\n\nKept after."
    assert removed.paragraphs == 2


def test_a_run_that_removal_itself_makes_is_found() -> None:
    first, last = SENTENCE.split(" seven ")
    inner = " ".join(f"w{n}" for n in range(20))
    heldout = [Document("user/h", f"{SENTENCE}\n\n{inner}", "user")]
    document = Document("user/0", f"{first}\n\n{inner}\n\nseven {last}\n\nrest of it", "user")
    kept, removed = remove_leaks([document], heldout)
    assert [d.text for d in kept] == ["rest of it"]
    assert removed.paragraphs == 3


@given(
    st.lists(st.lists(st.lists(st.sampled_from("ab"), max_size=25), max_size=4), min_size=1, max_size=5),
    st.integers(0, 9),
)
def test_no_overlap_is_left_whatever_the_text(raw: list[list[list[str]]], seed: int) -> None:
    texts = ["\n\n".join(" ".join(block) for block in blocks) for blocks in raw]
    documents = [Document(f"user/{n}", text.strip(), "user") for n, text in enumerate(texts) if text.strip()]
    if len(documents) < 2:
        return
    training, heldout = hold_out(documents, 0.3, seed)
    try:
        kept, _ = remove_leaks(training, heldout)
    except BadInput as error:
        assert "no training text is left" in str(error)  # noqa: PT017
        return
    check_no_leaks(kept, heldout)
    known = set[tuple[str, ...]]().union(*(grams(document.text) for document in heldout))
    assert not any(grams(document.text) & known for document in kept)


def test_a_text_that_repeats_itself_is_refused() -> None:
    with pytest.raises(BadInput, match="repeats itself"):
        remove_leaks([Document("user/0", SENTENCE, "user")], [Document("user/1", SENTENCE, "user")])
