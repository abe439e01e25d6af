"""Signatures, pairs and clusters beside datatrove's blocks, on planted near duplicates."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from cutaway.corpus.steps.minhash import MinHashSettings, Signatures, signature
from cutaway.corpus.steps.near_duplicates import (
    WholeSignatures,
    find_clusters,
    find_pairs,
    largest_clusters,
    removed_documents,
)
from cutaway.corpus.steps.simplified import simplified_words
from cutaway.corpus.steps.words import WordSettings, shared_words

pytest.importorskip("spacy")
minhash = pytest.importorskip("datatrove.pipeline.dedup.minhash")
HashConfig = pytest.importorskip("datatrove.utils.hashing").HashConfig
Document = pytest.importorskip("datatrove.data").Document

SETTINGS = MinHashSettings()
LETTERS = [a + b + c for a in "bcdfglmprst" for b in "aeiou" for c in ("", "n", "r", "ck", "st", "lla")]
PER_KIND = 40
DUPLICATES = ("exact", "case", "one word", "one sentence", "reordered")


def prose(rng: random.Random, sentences: int) -> list[str]:
    return [" ".join(rng.choices(LETTERS, k=rng.randint(10, 20))).capitalize() + "." for _ in range(sentences)]


def planted(seed: int) -> tuple[list[str], dict[tuple[int, int], str]]:
    """Texts, and which pairs of them are what. Each pair stands alone, so that every found pair is right or wrong."""
    rng = random.Random(seed)
    texts: list[str] = []
    kinds: dict[tuple[int, int], str] = {}
    for kind in (*DUPLICATES, "half"):
        for _ in range(PER_KIND):
            first = prose(rng, 30)
            second = list(first)
            match kind:
                case "case":
                    second = [sentence.upper() for sentence in second]
                case "one word":
                    second[7] = second[7].replace(" ", " another ", 1)
                case "one sentence":
                    second[rng.randrange(30)] = prose(rng, 1)[0]
                case "reordered":
                    second = second[20:] + second[10:20] + second[:10]
                case "half":
                    second = first[:15] + prose(rng, 15)
                case _:
                    pass
            kinds[len(texts), len(texts) + 1] = kind
            texts += [" ".join(first), " ".join(second)]
    return texts, kinds


def write_segments(folder: Path, texts: list[str], size: int) -> None:
    for number, start in enumerate(range(0, len(texts), size)):
        signatures = Signatures(SETTINGS)
        for text in texts[start : start + size]:
            signatures.add(text)
        signatures.write(folder, 1000 * number)


def run(folder: Path, settings: MinHashSettings = SETTINGS) -> None:
    for bucket in range(settings.buckets):
        find_pairs(folder, bucket, settings)
    find_clusters(folder)


def removed(folder: Path, count: int, size: int) -> set[int]:
    """Numbers of the texts that are removed."""
    return {
        number * size + int(document)
        for number in range(-(-count // size))
        for document in removed_documents(folder, 1000 * number)
    }


def found_by_datatrove(folder: Path, signatures: Path, size: int) -> set[int]:
    """Texts that are in a pair of datatrove's buckets and are not kept by its clusters."""
    config = minhash.MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    buckets = minhash.MinhashDedupBuckets(str(signatures), str(folder / "buckets"), config=config)
    for rank in range(config.num_buckets):
        buckets.run(None, rank, config.num_buckets)
    minhash.MinhashDedupCluster(str(folder / "buckets"), str(folder / "clusters"), config=config).run(None, 0, 1)
    return {
        int(path.stem) // 1000 * size + int(document)
        for path in (folder / "clusters").glob("*.remove")
        for document in np.fromfile(path, dtype="<u4")
    }


def precision_and_recall(gone: set[int], kinds: dict[tuple[int, int], str]) -> tuple[float, float]:
    hits = {pair for pair in kinds if gone & set(pair)}
    right = {pair for pair in hits if kinds[pair] in DUPLICATES}
    return len(right) / len(hits), len(right) / sum(kind in DUPLICATES for kind in kinds.values())


def datatroves_signatures(folder: Path, texts: list[str]) -> None:
    config = minhash.MinhashConfig(hash_config=HashConfig(hash_fc="sha1"))
    step = minhash.MinhashDedupSignature(str(folder), config=config)
    step.run([Document(text=text, id=str(number)) for number, text in enumerate(texts)], 0, 1)


def test_precision_and_recall_on_planted_pairs_reach_datatroves(tmp_path: Path):
    texts, kinds = planted(seed=1)
    datatroves_signatures(tmp_path / "theirs", texts)
    theirs = precision_and_recall(found_by_datatrove(tmp_path, tmp_path / "theirs", len(texts)), kinds)
    write_segments(tmp_path / "ours", texts, size=100)
    run(tmp_path / "ours")
    ours = precision_and_recall(removed(tmp_path / "ours", len(texts), 100), kinds)
    print(f"precision and recall: ours {ours}, datatrove's {theirs}")
    assert ours[0] >= theirs[0]
    assert ours[1] >= theirs[1]
    assert min(ours) > 0.99


def test_datatroves_buckets_and_clusters_run_on_our_files(tmp_path: Path):
    """Without verification the removed pages are as many as datatrove's own steps remove on our signatures."""
    texts, _ = planted(seed=2)
    texts += texts[::7]  # clusters of three
    write_segments(tmp_path / "ours", texts, size=90)
    trusting = MinHashSettings(similarity=0)
    run(tmp_path / "ours", trusting)
    mine = removed(tmp_path / "ours", len(texts), 90)
    theirs = found_by_datatrove(tmp_path, tmp_path / "ours", 90)
    assert len(mine) == len(theirs) > 200
    clusters = largest_clusters(tmp_path / "ours", 10_000, 10)
    assert sum(cluster.size - 1 for cluster in clusters) == len(mine)
    # datatrove keeps any one page of a cluster, ours the first.
    for cluster in clusters:
        places = [member.number // 1000 * 90 + member.document for member in cluster.members]
        assert places == sorted(places)
        assert [place in mine for place in places] == [False] + [True] * (cluster.size - 1)
        assert sum(place in theirs for place in places) == cluster.size - 1
        assert cluster.members[0].similarity == 1


def test_the_result_does_not_depend_on_how_the_corpus_is_cut(tmp_path: Path):
    texts, _ = planted(seed=3)
    for size in (70, len(texts)):
        write_segments(tmp_path / str(size), texts, size)
        run(tmp_path / str(size))
    assert removed(tmp_path / "70", len(texts), 70) == removed(tmp_path / str(len(texts)), len(texts), len(texts))


def test_small_shares_of_the_records_give_the_same_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    texts, _ = planted(seed=4)
    write_segments(tmp_path, texts, size=100)
    run(tmp_path)
    whole = [path.read_bytes() for path in sorted((tmp_path / "pairs").iterdir())]
    monkeypatch.setattr("cutaway.corpus.steps.near_duplicates.SHARE", 2_000)
    run(tmp_path)
    pieces = [path.read_bytes() for path in sorted((tmp_path / "pairs").iterdir())]

    def pairs(files: list[bytes]) -> list[set[tuple[int, ...]]]:
        return [{tuple(row) for row in np.frombuffer(file, dtype="<u4").reshape(-1, 4).tolist()} for file in files]

    assert pairs(whole) == pairs(pieces)
    assert sum(map(len, pairs(whole))) > 100


def test_agreeing_values_estimate_jaccard_similarity(tmp_path: Path):
    rng = random.Random(5)
    base = prose(rng, 60)
    texts = [" ".join(base[:keep] + prose(rng, 60 - keep)) for keep in range(60, 0, -6)]
    write_segments(tmp_path, texts, size=100)
    estimates = WholeSignatures(tmp_path).similarities(
        np.zeros(len(texts), dtype=np.uint64), np.arange(len(texts), dtype=np.uint64)
    )
    words = shared_words(WordSettings())
    runs = [
        {tuple(found[i : i + 5]) for i in range(len(found) - 4)}
        for found in (simplified_words(text, words).words for text in texts)
    ]
    exact = [len(runs[0] & each) / len(runs[0] | each) for each in runs]
    assert np.abs(estimates - exact).max() < 0.15  # three standard deviations
    assert np.abs(estimates - exact).mean() < 0.05


def test_short_and_empty_pages_are_nobodys_duplicates(tmp_path: Path):
    few = ["", "four words are few"]
    write_segments(tmp_path, [*few, *few, "!" * 50, "a b c d e", "A, b c. d e"], 10)
    run(tmp_path)
    assert removed(tmp_path, 7, 10) == {6}


def test_signatures_are_the_same_in_every_process():
    """A corpus signed by one version, or on one machine, can be compared with another's."""
    values = signature(np.arange(1, 8, dtype=np.uint64), SETTINGS)
    assert values is not None
    assert values[:3].tolist() == [3476807277, 3489403500, 3650530025]


def test_an_empty_corpus_has_no_clusters(tmp_path: Path):
    Signatures(SETTINGS).write(tmp_path, 0)
    run(tmp_path)
    assert largest_clusters(tmp_path, 5, 5) == []
    assert removed_documents(tmp_path, 0).tolist() == []


def test_a_very_common_page_costs_no_square(tmp_path: Path):
    """Ten thousand copies in one bucket: each is compared with the first only."""
    signatures = Signatures(MinHashSettings(splitter="simple"))
    for _ in range(10_000):
        signatures._rows.append(np.arange(112, dtype=np.uint32))
    signatures.write(tmp_path, 0)
    run(tmp_path)
    assert len(removed_documents(tmp_path, 0)) == 9_999
