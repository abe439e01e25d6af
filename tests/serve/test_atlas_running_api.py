"""What the atlas draws of a running model and of how it was made is what the model and its run have."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch

from cutaway.infer import LanguageModel, Sampling
from cutaway.lens import Trace, logit_lens, surprise, surprise_within, without_blocks
from cutaway.model import ModelConfig, Transformer
from cutaway.runs import RunDirectory
from cutaway.runs.manifest import Manifest
from cutaway.serve.atlas_corpus_api import MAX_SHOWN
from cutaway.tokens import Tokenizer
from cutaway.train.planning import flops_a_token

TEXT = "In the beginning God made the heaven"


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=256)
    return LanguageModel("demo", Transformer(config).eval(), tokenizer)


@pytest.fixture
def real(serve_live: Any) -> Any:
    return serve_live()


def post(real: Any, path: str, status: int = 200, **body: Any) -> Any:
    with real.client() as http:
        answer = http.post(f"/api/atlas/{path}", json={"model": "demo", **body})
    assert answer.status_code == status, answer.text
    return answer.json()


def get(real: Any, path: str, status: int = 200, **query: Any) -> Any:
    with real.client() as http:
        answer = http.get(f"/api/atlas/{path}", params=query)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_of_one_token_alone_there_is_no_surprise(real: Any, lm: LanguageModel) -> None:
    assert post(real, "surprise", tokens=[5]) == {"tokens": []}
    assert surprise(lm.model, [5]).tolist() == []


def test_depth_is_the_logit_lens_everywhere(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    plain = lm.trace(TEXT)
    answers = plain.logits[0].argmax(-1).tolist()
    for without in ([], [1]):
        found = post(real, "depth", tokens=ids, without=without)
        trace = Trace(lm.model, ids, replace=without_blocks(2, without))
        assert [answer["id"] for answer in found["answers"]] == answers
        assert [stage["name"] for stage in found["stages"]][1:] == [f"blocks.{i}.hook_resid_post" for i in range(2)]
        for position in range(len(ids)):
            for stage, shares in zip(found["stages"], logit_lens(trace, position), strict=True):
                cell = stage["cells"][position]
                assert cell["token"]["id"] == int(shares.argmax())
                assert cell["probability"] == pytest.approx(float(shares.max()), rel=1e-4)
                assert cell["answer"] == pytest.approx(float(shares[answers[position]]), rel=1e-4)
                assert cell["norm"] == pytest.approx(float(trace[stage["name"]][0, position].norm()), rel=1e-4)


def test_surprise_is_the_models(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    found = post(real, "surprise", tokens=ids)["tokens"]
    bits = [-each["logprob"] / math.log(2) for each in found]
    assert bits == pytest.approx(surprise(lm.model, ids).tolist(), rel=1e-4)
    shares = lm.trace(TEXT).logits[0].softmax(-1)
    for position, each in enumerate(found):
        likeliest = [(alternative["token"]["id"], alternative["probability"]) for alternative in each["likeliest"]]
        assert likeliest[0][0] == int(shares[position].argmax())
        assert all(share == pytest.approx(float(shares[position, id_]), rel=1e-4) for id_, share in likeliest)


def test_a_window_hides_what_lies_outside(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    bits = post(real, "window", tokens=ids, window=2, last=3)["bits"]
    expected = [float(surprise(lm.model, ids[end - 2 : end + 1])[-1]) for end in range(len(ids) - 3, len(ids))]
    assert bits == pytest.approx(expected, rel=1e-3)
    # Also where they are read in several pieces.
    ids = (ids * 40)[:200]
    bits = post(real, "window", tokens=ids, window=150, last=7)["bits"]
    assert bits == pytest.approx(surprise_within(lm.model, ids, 150, 7).tolist(), rel=1e-3)


def test_steps_are_greedy_both_ways(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    found = post(real, "steps", tokens=ids, most=4)
    written = [step["token"]["id"] for step in found["steps"]]
    assert lm.tokenizer.decode(written) == lm.generate(TEXT, max_tokens=4) or lm.tokenizer.stop_ids & set(written)
    config = lm.config
    for i, step in enumerate(found["steps"]):
        assert step["read"] == len(ids) + i
        assert step["cache_bytes"] == 2 * config.n_layers * config.n_kv_heads * config.d_head * 4 * step["read"]
        assert step["same"]
        assert step["cached"] > 0
        assert step["recomputed"] > 0
    assert not found["full"]


def test_choosing_is_samplings(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    asked: dict[str, Any] = {"temperature": 0.5, "top_k": 3, "top_p": 0.4, "min_p": 0.5, "typical_p": 0.3}
    found = post(real, "choosing", tokens=ids, **asked)
    logits = lm.trace(TEXT).logits[:, -1].float()
    shares = logits.softmax(-1)[0]
    assert found["entropy"] == pytest.approx(float(torch.special.entr(shares).sum()) / math.log(2), rel=1e-4)
    for name, value in asked.items():
        settings: dict[str, Any] = {name: value}
        drawn = Sampling(**settings).distribution(logits)[0]
        assert found["kept"][name]["tokens"] == int((drawn > 0).sum())
        assert found["kept"][name]["share"] == pytest.approx(float(shares[drawn > 0].sum()), rel=1e-4)
        for each in found["next"]:
            assert each["drawn"][name] == pytest.approx(float(drawn[each["token"]["id"]]), rel=1e-4)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("depth", {"without": [2]}, "there is no block 2 to leave out; blocks go from 0 to 1"),
        ("depth", {"tokens": [1] * 65}, "at most 64"),
        ("surprise", {"tokens": [1] * 257}, "256 can be looked into"),
        ("surprise", {"tokens": [99_999]}, "99999 is no token of this model"),
        ("window", {"window": 2, "last": 2}, "of 3 tokens, the last 2 cannot each be read with 2 before them"),
        ("window", {"tokens": [1] * 512, "window": 256, "last": 256}, "32,768 are read at once"),
        ("steps", {"most": 1000}, "less than or equal to 16"),
        ("choosing", {"top_p": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_drawn(real: Any, path: str, body: dict[str, Any], message: str) -> None:
    assert message in post(real, path, 400, **{"tokens": [1, 2, 3], **body})["error"]["message"]


def test_a_runs_data(real: Any, small_run: Any) -> None:
    assert get(real, "corpus") == {"runs": [], "corpus": None}
    ids = small_run(real.run)
    found = get(real, "corpus")
    assert found["runs"] == ["demo"]
    corpus = found["corpus"]
    assert [(each["name"], each["bytes"], each["aside"]) for each in corpus["flow"]] == [
        ("read", 400, False), ("held out", 60, True), ("texts of the invented world added", 350, False)
    ]  # fmt: skip
    assert corpus["taken_out"][0]["samples"][0]["like"] == "And thus."
    assert corpus["sources"][0] == {
        "name": "kjv", "documents": 2, "bytes": 300, "heldout_documents": 1, "heldout_bytes": 60
    }  # fmt: skip
    assert [(shard["name"], shard["tokens"]) for shard in corpus["shards"]] == [("real", 1000)]
    assert corpus["mixture"] == [{"name": "real", "share": 0.75}, {"name": "world", "share": 0.25}]
    piece = get(real, "shard", run="demo", shard="real", at=100)
    assert [token["id"] for token in piece["tokens"]] == ids[100 : 100 + MAX_SHOWN]
    assert get(real, "shard", run="demo", shard="real", at=10**9)["at"] == 1000 - MAX_SHOWN
    for shard in ("../corpus/stats", "none"):
        assert "has no shard" in get(real, "shard", 404, run="demo", shard=shard)["error"]["message"]
    assert "there is no run 'other' with a corpus here" in get(real, "corpus", 404, run="other")["error"]["message"]


def test_a_crawls_funnel_is_its_flow(real: Any) -> None:
    Manifest.of_this_machine(seed=1).write(RunDirectory(real.run))
    flow = {"documents_in": 5, "bytes_in": 90, "documents_out": 4, "bytes_out": 80, "changed": 0}
    shown = {"id": "a", "url": "http://a.example", "value": 1, "threshold": 2, "text": "too short"}
    stats = {
        "steps": {"read": flow},
        "removed": {"gopher": {"words": {"documents": 1, "bytes": 10, "sample": [["00", shown]]}}},
        "languages": {"en": [5, 4, 80], "xx": [1, 0, 0]},
    }
    (real.run / "corpus").mkdir()
    (real.run / "corpus" / "stats.json").write_text(json.dumps(stats))
    corpus = get(real, "corpus", run="demo")["corpus"]
    assert corpus["flow"] == [{"name": "read", "documents": 4, "bytes": 80, "aside": False}]
    assert corpus["taken_out"][0]["rule"] == "gopher: words"
    assert corpus["taken_out"][0]["samples"][0]["where"] == "http://a.example"
    assert [source["name"] for source in corpus["sources"]] == ["en"]
    (real.run / "corpus" / "stats.json").write_text("{}")
    assert "build the corpus again" in get(real, "corpus", 500, run="demo")["error"]["message"]


def test_held_out_text(real: Any) -> None:
    assert get(real, "heldout", model="demo") == {"document": None, "text": None}
    import pyarrow as pa
    import pyarrow.parquet as pq

    (real.run / "corpus").mkdir()
    rows = {"id": ["a", "b"], "source": ["x", "x"], "text": ["short", "long " * 400]}
    pq.write_table(pa.table(rows), real.run / "corpus" / "heldout.parquet")
    assert get(real, "heldout", model="demo") == {"document": "b", "text": "long " * 400}


def test_operations_of_training(real: Any, lm: LanguageModel, small_run: Any) -> None:
    found = get(real, "scale", model="demo")
    assert found["parameters"] == lm.model.n_parameters()
    assert found["training"] is None
    assert found["sizes"][0]["hours"] is None
    small_run(real.run)
    found = get(real, "scale", model="demo")
    training = found["training"]
    assert (training["tokens"], training["seconds"], found["length"]) == (3000, 6.0, 64)
    assert training["rule"] == 6 * lm.model.n_parameters() * 3000
    assert training["flops"] == pytest.approx(3000 * flops_a_token(lm.config, 64))
    assert training["flops"] / 3000 / 3 == pytest.approx(sum(found["forward"].values()))
    size = found["sizes"][0]
    assert size["hours"] == pytest.approx(size["flops"] / training["speed"] / 3600)
    assert found["ladder"] is None


def test_a_scaling_run_beside_it(real: Any) -> None:
    beside = real.run.parent / "scaling"
    (beside / "ladder").mkdir(parents=True)
    Manifest.of_this_machine(seed=1).write(RunDirectory(beside))
    run = {
        "name": "4x48", "depth": 4, "width": 48, "parameters": 1000, "embeddings": 500, "tokens": 2000, "flops": 1.2e7,
        "seconds": 1.0, "loss": 5.5, "bits_per_byte": 2.5, "n": 100,
    }  # fmt: skip
    (beside / "ladder" / "runs.json").write_text(json.dumps([run]))
    (beside / "law.json").write_text(json.dumps({"E": 1.0, "A": 10.0, "alpha": 0.3, "B": 20.0, "beta": 0.4}))
    ladder = get(real, "scale", model="demo")["ladder"]
    assert ladder["run"] == "scaling"
    assert ladder["runs"] == [{"name": "4x48", "parameters": 1000, "tokens": 2000, "flops": 1.2e7, "loss": 5.5}]
    assert ladder["law"] == {"E": 1.0, "A": 10.0, "alpha": 0.3, "B": 20.0, "beta": 0.4}
    assert ladder["foretold"] is None
