"""What the atlas asks of a text's way in gives the numbers that the model has in process."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cutaway.infer import LanguageModel
from cutaway.lens import Trace
from cutaway.model import ModelConfig, Transformer
from cutaway.serve.atlas_text_api import merged
from cutaway.tokens import Tokenizer
from cutaway.tokens.inspection import Merges

TEXT = "In the beginning God made the naïve 日本"


@pytest.fixture(scope="module")
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel("demo", Transformer(ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)), tokenizer)


@pytest.fixture
def real(serve_live: Any) -> Any:
    return serve_live()


def post(real: Any, path: str, status: int = 200, **body: Any) -> Any:
    with real.client() as http:
        answer = http.post(f"/api/atlas/{path}", json={"model": "demo", **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def test_merges_are_replayed_over_http(real: Any, lm: LanguageModel) -> None:
    found = post(real, "merges", text=TEXT)
    assert [token["id"] for token in found["tokens"]] == lm.tokenizer.encode(TEXT)
    assert found["bytes"] == len(TEXT.encode())
    assert found["why"] is None
    assert found["merges"] == len(Merges(lm.tokenizer).ranks)
    assert any(word["joins"] for word in found["words"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(text=st.text(max_size=40) | st.lists(st.sampled_from([" the", "begin", "12", "é", " In"])).map("".join))
def test_joins_lead_from_bytes_to_tokens(lm: LanguageModel, text: str) -> None:
    found = merged(lm, text)
    assert [token.id for word in found.words for token in word.tokens] == lm.tokenizer.encode(text)
    for word in found.words:
        symbols = [token.bytes for token in word.start]
        ids = [token.id for token in word.start]
        ranks = {(pair.left, pair.right): pair.rank for pair in word.pairs}
        for join in word.joins:
            lowest = min((ranks.get(pair, 10**9), i) for i, pair in enumerate(pairwise(ids)))
            assert lowest == (join.rank, join.at)
            ids[join.at : join.at + 2] = [join.token.id]
            assert join.token.bytes == symbols[join.at] + symbols[join.at + 1]
            symbols[join.at : join.at + 2] = [join.token.bytes]
        assert not any(pair in ranks for pair in pairwise(ids))
        assert symbols == [token.bytes for token in word.tokens]


def test_words_are_read_as_in_a_sentence(real: Any, lm: LanguageModel) -> None:
    the, both = post(real, "words", words=["the", "the beginning"])["words"]
    assert [token["id"] for token in the["tokens"]] == lm.tokenizer.encode(" the")
    assert len(both["tokens"]) > 1


def test_the_nearest_to_a_sum_and_the_ranks_of_an_answer(real: Any, lm: LanguageModel) -> None:
    rows = lm.model.embed.weight.detach()
    unit = rows / rows.norm(dim=-1, keepdim=True)
    a, b, c, d = 300, 310, 320, 330
    found = post(real, "nearest", plus=[b, c], minus=[a], n=5, answer=d)
    cosines = torch.cosine_similarity(unit, (unit[b] + unit[c] - unit[a])[None])
    order = cosines.argsort(descending=True).tolist()
    assert [each["token"]["id"] for each in found["nearest"]] == order[:5]
    assert [each["cosine"] for each in found["nearest"]] == pytest.approx(cosines[order[:5]].tolist(), abs=1e-5)
    assert {each["token"]["id"] for each in found["nearest"] if each["asked"]} == {b, c}
    assert (found["mean"], found["deviation"]) == pytest.approx((float(cosines.mean()), float(cosines.std())), abs=1e-5)
    others = [id_ for id_ in order if id_ not in (a, b, c)]
    near_c = [id_ for id_ in (unit @ unit[c]).argsort(descending=True).tolist() if id_ not in (a, b, c)]
    ranks = (1 + order.index(d), 1 + others.index(d), 1 + near_c.index(d))
    answer = found["answer"]
    assert (answer["among_all"], answer["among_others"], answer["by_neighbour"]) == ranks
    assert answer["cosine"] == pytest.approx(float(cosines[d]), abs=1e-5)


@pytest.mark.parametrize("among", ["these", "table"])
def test_the_plane_is_that_of_the_singular_vectors(real: Any, lm: LanguageModel, among: str) -> None:
    tokens = [300, 310, 320, 330, 340]
    found = post(real, "projection", tokens=tokens, among=among)
    table = lm.model.embed.weight.detach().double()
    seen = table if among == "table" else table[tokens]
    _, sizes, axes = torch.linalg.svd(seen - seen.mean(0), full_matrices=False)
    assert found["explained"] == pytest.approx((sizes[:2] ** 2 / (sizes**2).sum()).tolist(), rel=1e-4)
    points = (table[tokens] - seen.mean(0)) @ axes[:2].T
    # A component may point either way.
    assert torch.allclose(torch.tensor(found["points"]).abs().double(), points.abs(), atol=1e-4)


def test_where_heads_look_in_what_comes_again(real: Any, lm: LanguageModel) -> None:
    found = post(real, "heads", seed=7, period=12)
    ids = [token["id"] for token in found["tokens"]]
    begin = lm.tokenizer.document("")
    assert ids[: len(begin)] == begin
    assert found["start"] == len(begin)
    drawn = ids[found["start"] :]
    assert drawn[:12] == drawn[12:]
    assert len(set(drawn)) == 12
    assert not {*drawn} & {*lm.tokenizer.special.values()}
    assert post(real, "heads", seed=8, period=12)["tokens"] != found["tokens"]
    start = found["start"]
    pattern = torch.stack([Trace(lm.model, ids)[f"blocks.{i}.attn.hook_pattern"][0] for i in range(2)])
    for layer in range(2):
        for head in range(lm.config.n_heads):
            own = pattern[layer, head]
            queries = range(start + 13, start + 24)
            for name, key in (
                ("previous", lambda q: q - 1),
                ("first", lambda q: 0),
                ("itself", lambda q: q),
                ("duplicate", lambda q: q - 12),
                ("induction", lambda q: q - 11),
            ):
                expected = sum(float(own[q, key(q)]) for q in queries) / 11
                assert found[name][layer][head] == pytest.approx(expected, abs=1e-5)
    logits = Trace(lm.model, ids).logits[0, :-1].log_softmax(-1)
    bits = [-float(logits[i, id_]) / 0.6931471805599453 for i, id_ in enumerate(ids[1:])]
    assert found["surprise"] == pytest.approx(bits, abs=1e-3)


def test_what_is_lost_without_a_head(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document("In the beginning God made the heaven")
    found = post(real, "ablations", tokens=ids, layer=1, heads=[1, 0])["surprise"]
    for bits, head in zip(found, (1, 0), strict=True):

        def off(z: torch.Tensor, head: int = head) -> torch.Tensor:
            z = z.clone()
            z[:, :, head] = 0
            return z

        logits = Trace(lm.model, ids, replace={"blocks.1.attn.hook_z": off}).logits[0, :-1].log_softmax(-1)
        expected = [-float(logits[i, id_]) / 0.6931471805599453 for i, id_ in enumerate(ids[1:])]
        assert bits == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("merges", {"text": "x" * 1001}, "at most 1000"),
        ("nearest", {"plus": [5], "minus": [5]}, "nothing is left of the sum"),
        ("nearest", {"plus": [99_999]}, "99999 is no token of this model"),
        ("nearest", {"plus": []}, "at least 1"),
        ("projection", {"tokens": [5, 6]}, "at least three tokens"),
        ("projection", {"tokens": [5, 5, 5]}, "on one line, or on one point"),
        ("heads", {"period": 2}, "greater than or equal to 3"),
        ("ablations", {"tokens": [1, 2], "layer": 2, "heads": [0]}, "blocks go from 0 to 1"),
        ("ablations", {"tokens": [1, 2], "layer": 0, "heads": [99]}, "there is no head 99"),
        ("words", {"words": [""]}, "at least 1"),
    ],
)
def test_what_cannot_be_asked(real: Any, path: str, body: dict[str, Any], message: str) -> None:
    assert message in post(real, path, 400, **body)["error"]["message"]
