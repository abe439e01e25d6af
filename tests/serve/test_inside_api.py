"""Looking inside over HTTP gives the numbers that the model has in process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cutaway.infer import LanguageModel
from cutaway.lens import one_head
from cutaway.model import ModelConfig, Transformer
from cutaway.serve.inside_api import MAX_READ
from cutaway.tokens import Tokenizer

TEXT = "In the beginning God made the heaven"


@pytest.fixture
def lm(tokenizer: Tokenizer) -> LanguageModel:
    torch.manual_seed(0)
    config = ModelConfig.from_depth(2, tokenizer.vocab_size, context=1024)
    return LanguageModel("demo", Transformer(config), tokenizer)


@pytest.fixture
def real(serve_live: Any) -> Any:
    return serve_live()


def post(real: Any, path: str, status: int = 200, **body: Any) -> Any:
    with real.client() as http:
        answer = http.post(f"/api/inside{path}", json={"model": "demo", **body})
    assert answer.status_code == status, answer.text
    return answer


def test_a_text_is_read_as_the_beginning_of_a_document(real: Any, lm: LanguageModel) -> None:
    read = post(real, "/tokens", text=TEXT).json()
    assert [token["id"] for token in read["tokens"]] == lm.tokenizer.document(TEXT)
    assert read["anatomy"]["parameters"] == lm.model.n_parameters()
    assert (read["anatomy"]["n_layers"], read["most"]) == (2, MAX_READ)


def test_a_tensor_is_the_traces(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    for name, place in (
        ("blocks.1.attn.hook_pattern", []), ("blocks.0.attn.hook_attn_scores", [1]), ("hook_embed", [None, 3]),
        ("blocks.0.mlp.hook_post", [2]),
    ):  # fmt: skip
        answer = post(real, "/tensor", tokens=ids, name=name, place=place)
        expected = lm.trace(TEXT)[name][(0, *(slice(None) if at is None else at for at in place))]
        shape = [int(size) for size in answer.headers["x-shape"].split(",")]
        assert shape == list(expected.shape)
        assert answer.headers["x-tensor"] == name
        found = np.frombuffer(answer.content, "<f4").reshape(shape)
        np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-7)


def test_one_head_comes_in_one_answer(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    answer = post(real, "/head", tokens=ids, block=1, head=1, position=4)
    expected = one_head(lm.trace(TEXT), 1, 1, 4)
    assert answer.headers["x-tensors"] == ",".join(expected.names)
    joined = torch.cat([each.flatten() for each in expected.parts])
    np.testing.assert_allclose(np.frombuffer(answer.content, "<f4"), joined.numpy(), rtol=1e-6, atol=1e-7)
    wrong = post(real, "/head", 400, tokens=ids, block=1, head=99, position=4).json()
    assert "axis 1 goes from 0 to" in wrong["error"]["message"]


def test_what_follows_is_what_the_model_says(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    look = post(real, "", tokens=ids, position=2, temperature=0.5, top_k=3).json()
    logits = lm.trace(TEXT).logits[0, 2]
    shares = logits.softmax(-1)
    order = shares.argsort(descending=True)
    assert look["next"][0]["token"]["id"] == int(order[0])
    for each in look["next"]:
        id_ = each["token"]["id"]
        assert each["probability"] == pytest.approx(float(shares[id_]), rel=1e-4)
        assert each["unchanged"] == each["probability"]
        assert each["logit"] == pytest.approx(float(logits[id_]), abs=1e-4)
    kept = {int(id_): float((logits[order[:3]] / 0.5).softmax(0)[i]) for i, id_ in enumerate(order[:3])}
    drawn = {each["token"]["id"]: each["drawn"] for each in look["next"] if each["drawn"]}
    assert drawn == pytest.approx(kept, rel=1e-4)
    assert len(look["lens"]) == 3
    assert look["lens"][-1][0]["probability"] == pytest.approx(float(shares.max()), rel=1e-4)
    assert "blocks.1.attn.hook_pattern" in look["names"]


def test_an_edit_changes_the_answer_and_tells_the_old_one(real: Any, lm: LanguageModel) -> None:
    ids = lm.tokenizer.document(TEXT)
    edits = [{"name": "blocks.0.hook_attn_out"}]
    look = post(real, "", tokens=ids, edits=edits).json()
    plain = lm.trace(TEXT).logits[0, -1].softmax(-1)
    changed = lm.trace(TEXT, replace={"blocks.0.hook_attn_out": lambda x: x * 0}).logits[0, -1].softmax(-1)
    for each in look["next"]:
        id_ = each["token"]["id"]
        assert each["unchanged"] == pytest.approx(float(plain[id_]), rel=1e-4)
        assert each["probability"] == pytest.approx(float(changed[id_]), rel=1e-4)
    # The other text's whole stream gives the other text's answer.
    other = [*ids[:-1], ids[1]]
    swap = {"kind": "swap", "name": "blocks.1.hook_resid_post", "tokens": other}
    swapped = post(real, "", tokens=ids, edits=[swap]).json()
    assert swapped["next"][0]["token"] == post(real, "", tokens=other).json()["next"][0]["token"]


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("/tensor", {"name": "blocks.9.x"}, "no tensor of this model is called blocks.9.x; the nearest name is"),
        ("/tensor", {"name": "hook_embed", "place": [400]}, "axis 0 goes from 0 to 2, not to 400"),
        ("", {"position": 3}, "positions go from 0 to 2, not to 3"),
        ("", {"edits": [{"name": "hook_embed", "place": [0, 0, 0]}]}, "it has 2 axes, not 3"),
        ("", {"edits": [{"kind": "swap", "name": "hook_embed"}]}, "a swap needs the other text's tokens"),
        ("", {"tokens": [1] * 513}, "at most 512"),
        ("", {"tokens": [99_999]}, "99999 is no token of this model"),
        ("", {"edits": [{"name": "hook_embed", "value": 1e30}]}, "less than or equal to 1000000000"),
    ],
)
def test_what_cannot_be_looked_at(real: Any, path: str, body: dict[str, Any], message: str) -> None:
    assert message in post(real, path, 400, **{"tokens": [1, 2, 3], **body}).json()["error"]["message"]
