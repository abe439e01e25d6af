from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import numpy as np
import pytest

from cutaway.corpus.page import Page
from cutaway.corpus.steps.decontamination import Decontamination, DecontaminationSettings, benchmark_texts, cut_out
from cutaway.runs import BadInput

pytest.importorskip("spacy")
n_grams = pytest.importorskip("datatrove.pipeline.decont.n_grams")
HashConfig = pytest.importorskip("datatrove.utils.hashing").HashConfig
Document = pytest.importorskip("datatrove.data").Document

WORDS = [a + b + c for a in "bcdfglmprst" for b in "aeiou" for c in ("", "n", "r", "ck", "st", "lla")]


def prose(rng: random.Random, count: int) -> str:
    return " ".join(rng.choices(WORDS, k=count)) + "."


def step(path: Path, texts: list[str], **settings) -> Decontamination:
    file = path / "benchmark.jsonl"
    file.write_text("".join(json.dumps({"question": text}) + "\n" for text in texts))
    return Decontamination(DecontaminationSettings(benchmarks=(str(file),), **settings))


def verdict(decontamination: Decontamination, text: str) -> str:
    page = Page("id", "source", text=text)
    removal = decontamination(page)
    return removal.rule if removal else page.text


def test_decisions_are_those_of_datatroves_filter(tmp_path: Path):
    """The same pages go, by the same 13 words, as with datatrove's filter and an index of the same texts."""
    rng = random.Random(1)
    benchmark = [prose(rng, rng.randint(5, 60)) for _ in range(30)]
    config = n_grams.NGramsDecontConfig(n_grams=13, hash_config=HashConfig(hash_fc="sha1"))
    # Its indexer's own computation; the class itself cannot be made without a package for other benchmarks.
    indexer = object.__new__(n_grams.NGramsDecontIndexer)
    filtering = n_grams.NGramsDecontFilter(str(tmp_path / "index"), config=config)
    indexer.config, indexer.tokenizer, indexer.hash_func = config, filtering.tokenizer, filtering.hash_func
    hashes = [one for text in benchmark for one in indexer.compute_hashes(text)]
    (tmp_path / "index").mkdir()
    np.array(hashes, dtype="<u8").tofile(tmp_path / "index" / "all.index.hashes")
    mine = step(tmp_path, benchmark)
    outcomes = []
    for _ in range(300):
        planted = rng.choice(benchmark).split()
        planted = planted[: rng.randint(8, 20)]
        if rng.random() < 0.3:
            planted[rng.randrange(len(planted))] = "other"
        run = " ".join(planted).upper() if rng.random() < 0.5 else ", ".join(planted)
        text = f"{prose(rng, 30)} {run} {prose(rng, 30)}"
        theirs = filtering.filter(Document(text=text, id="id"))
        assert (verdict(mine, text) == "contaminated") == (theirs is not True)
        outcomes.append(theirs is True)
    assert 50 < sum(outcomes) < 250


def test_real_benchmarks_do_not_remove_real_pages_but_find_themselves(web_texts: list[str]):
    path = Path(__file__).resolve().parents[4] / "shared" / "data" / "evals"
    if not path.is_dir():
        pytest.skip("the real benchmarks are not on this machine")
    file = path / "arc_easy.jsonl.gz" if (path / "arc_easy.jsonl.gz").exists() else sorted(path.glob("*.jsonl.gz"))[0]
    mine = Decontamination(DecontaminationSettings(benchmarks=(str(file),)))
    assert sum(verdict(mine, text) == "contaminated" for text in web_texts) <= 2
    long = next(text for text in benchmark_texts(file, ()) if len(text.split()) > 20)
    assert verdict(mine, f"{web_texts[0]}\n{long}") == "contaminated"


def test_excision_takes_the_runs_and_their_surroundings(tmp_path: Path):
    rng = random.Random(2)
    question = prose(rng, 20)
    before, after = prose(rng, 100), prose(rng, 100)
    mine = step(tmp_path, [question], found="excise", around=0, shortest=20)
    text = f"{before}\n{question.upper()}\n{after}"
    assert verdict(mine, text) == f"{before}\n\n{after}"
    wide = step(tmp_path, [question], found="excise", around=50, shortest=20)
    left = verdict(wide, text).split("\n\n")
    assert before.startswith(left[0])
    assert after.endswith(left[1])
    assert 50 <= len(before) - len(left[0]) <= 60
    assert verdict(mine, prose(rng, 50)).endswith(".")


def test_excision_removes_pages_of_which_too_little_is_left_or_that_need_too_many_cuts(tmp_path: Path):
    rng = random.Random(3)
    question = prose(rng, 20)
    mine = step(tmp_path, [question], found="excise", around=0, shortest=20, most_cuts=3)
    assert verdict(mine, question + " end.") == "contaminated"
    repeated = " ".join(f"{question} {prose(rng, 50)}" for _ in range(4))
    assert verdict(mine, repeated) == "contaminated"


def test_a_removed_page_keeps_its_text_for_the_report(tmp_path: Path):
    question = prose(random.Random(4), 20)
    for found in ("remove", "excise"):
        page = Page("id", "source", text=question)
        removal = step(tmp_path, [question], found=found)(page)
        assert removal is not None
        assert (removal.value, page.text) == (20 - 13 + 1, question)


def test_benchmarks_are_read_in_every_form(tmp_path: Path):
    texts = [prose(random.Random(seed), 20) for seed in range(4)]
    rows = [{"question": texts[0], "choices": {"text": [texts[1], 3]}}, {"answer": texts[2]}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    with gzip.open(tmp_path / "b.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    (tmp_path / "c.txt").write_text(texts[3] + "\n")
    (tmp_path / "notes.md").write_text("not a benchmark")
    mine = Decontamination(DecontaminationSettings(benchmarks=(str(tmp_path),)))
    assert [verdict(mine, text) for text in texts] == ["contaminated"] * 4
    chosen = Decontamination(DecontaminationSettings(benchmarks=(str(tmp_path / "b.jsonl.gz"),), fields=("choices",)))
    assert [verdict(chosen, text) == "contaminated" for text in texts] == [False, True, False, False]
    assert verdict(Decontamination(DecontaminationSettings()), texts[0]) == texts[0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"{", "line 1 of the benchmark .* is not JSON"),
        ("a.jsonl", b"[" * 200_000, "line 1 of the benchmark .* is not JSON"),
        ("a.jsonl", b'{"a": "few words"}', "has no text of 13 words"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.txt", b"\xff\xfe", "cannot be read"),
        ("a.pdf", b"", "should end in"),
    ],
)
def test_bad_benchmarks_are_told_in_a_line(tmp_path: Path, name: str, content: bytes, message: str):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        Decontamination(DecontaminationSettings(benchmarks=(str(tmp_path / name),)))


def test_a_missing_benchmark_is_told(tmp_path: Path):
    with pytest.raises(BadInput, match="there is no benchmark at"):
        Decontamination(DecontaminationSettings(benchmarks=(str(tmp_path / "none.jsonl"),)))


def test_pieces_are_cut_out():
    assert cut_out("one two three four", [(4, 8)], 0) == "one\n\nthree four"
    assert cut_out("one two three four", [(4, 8)], 4) == "three four"
    assert cut_out("one", [(0, 3)], 0) == ""
