"""Models that were made elsewhere, opened by reference: encoders, encoder–decoders, decoders with other tokenizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors

import cutaway
from cutaway.infer import GREEDY, stream
from cutaway.runs import BadInput

transformers = pytest.importorskip("transformers")


def directory(path: Path, name: str, *, around: tuple[int, int] | None = None) -> tuple[Path, Any]:
    """A random model of the zoo whose tokens are words w3, w4, …"""
    theirs = zoo.build(name)
    if hasattr(theirs, "generation_config"):
        theirs.generation_config.eos_token_id = None
    theirs.save_pretrained(path)
    words = {"<pad>": 0, "<s>": 1, "</s>": 2} | {f"w{i}": i for i in range(3, zoo.V)}
    backend = Backend(models.WordLevel(words, unk_token="<pad>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    if around:
        backend.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
        )
    backend.save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return path, theirs


TEXTS = ["w10 w11 w12", "w99", "w5 w6 w7 w8 w9 w150 w151"]


def test_an_encoder_makes_vectors_and_writes_nothing(tmp_path: Path) -> None:
    path, theirs = directory(tmp_path, "bert-body", around=(1, 2))
    lm = cutaway.load(str(path))
    ids = [lm.tokenizer.document(text) for text in TEXTS]
    assert ids[1] == [1, 99, 2]
    means = [theirs(input_ids=torch.tensor([row])).last_hidden_state[0].mean(0) for row in ids]
    expected = torch.nn.functional.normalize(torch.stack(means), dim=-1)
    torch.testing.assert_close(lm.embed(TEXTS, batch_size=2), expected.detach(), atol=1e-5, rtol=1e-5)
    long = " ".join(f"w{3 + i % 200}" for i in range(400))
    assert lm.embed([long]).isfinite().all()
    with pytest.raises(BadInput, match="is an encoder"):
        lm.generate("w10")


@pytest.mark.parametrize("name", ["t5", "bart", "marian"])
def test_an_encoder_decoder_answers_what_its_encoder_read(tmp_path: Path, name: str) -> None:
    path, theirs = directory(tmp_path, name)
    lm = cutaway.load(str(path))
    for text in TEXTS:
        source = torch.tensor([lm.tokenizer.document(text)])
        written = theirs.generate(
            source, attention_mask=torch.ones_like(source), max_new_tokens=12, min_new_tokens=12, do_sample=False,
            num_beams=1, use_cache=False,
        )[0, 1:].tolist()  # fmt: skip
        steps = stream(
            lm.model, lm.tokenizer, lm.session(text),
            max_tokens=12, sampling=GREEDY, stop_ids=(), generator=GREEDY.generator(),
        )  # fmt: skip
        assert [step.token for step in steps] == written
    assert lm.generate(TEXTS[0], max_tokens=3)


@pytest.mark.parametrize("name", ["gpt2", "t5"])
def test_a_trace_shows_what_is_asked_for(tmp_path: Path, name: str) -> None:
    path, _ = directory(tmp_path, name)
    lm = cutaway.load(str(path))
    with lm.trace("w10 w11 w12", target="w5 w6") as trace:
        length = 3
        assert trace["blocks.1.attn.hook_pattern"].shape == (1, 6, length, length)
        assert trace.logits.shape == (1, length, zoo.V)
    silenced = lm.trace("w10 w11 w12", target="w5 w6", replace={"blocks.1.hook_attn_out": torch.zeros_like})
    assert not torch.allclose(silenced.logits, trace.logits)
    with pytest.raises(BadInput, match=r"blocks\.1\.attn\.hook_pattern"):
        trace["blocks.1.attn.hook_patern"]


def test_a_decoder_without_a_chat_template_says_so(tmp_path: Path) -> None:
    path, _ = directory(tmp_path, "llama")
    lm = cutaway.load(str(path))
    assert lm.generate("w10 w11", max_tokens=5)
    with pytest.raises(BadInput, match="no chat template"):
        lm.tokenizer.encode_chat([{"role": "user", "content": "w10"}])


def test_a_long_text_grows_its_cache(tmp_path: Path) -> None:
    """More tokens than there is room for at first, one at a time and many at once."""
    from cutaway.model import KVCache, ModelConfig, Transformer

    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=50, n_layers=1, d_model=16, n_heads=2, n_kv_heads=1, d_head=8, d_mlp=16, context=2000
    )
    model = Transformer(config).eval()
    tokens = torch.randint(0, 50, (1, 1400))
    cache = KVCache(config, 1, 2000)
    assert cache.layers[0].k.shape[2] < 1000
    with torch.no_grad():
        pieces = [model(part, cache=cache) for part in tokens.split([500, 11, 1, 1, 600, 287], dim=1)]
        torch.testing.assert_close(torch.cat(pieces, 1), model(tokens), atol=1e-5, rtol=1e-4)
