"""Bits per byte agrees with what can be worked out by hand, and with scoring one token at a time."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from math import log2

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from cutaway.corpus.documents import Document
from cutaway.evals.bits_per_byte import bits_per_byte, ngram_bits_per_byte, windows
from cutaway.evals.compressor import xz_bits_per_byte
from cutaway.model import ModelConfig, Transformer


class Letters:
    """One token a byte; 256 ends a text."""

    end_of_text = 256
    vocab_size = 257

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.encode(text) for text in texts]


def document(text: str, source: str = "a") -> Document:
    return Document(f"{source}/{len(text)}", text, source)


def tiny_model() -> Transformer:
    torch.manual_seed(0)
    config = ModelConfig(
        vocab_size=257, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=64, context=64
    )
    model = Transformer(config)
    for weight in model.parameters():
        weight.data.mul_(3)  # predictions far from uniform, so that a wrong context shows
    return model.requires_grad_(False).eval()


@given(st.integers(0, 300), st.integers(1, 40), st.data())
def test_windows_count_every_prediction_once_with_enough_before_it(
    length: int, context: int, data: st.DataObject
) -> None:
    stride = data.draw(st.integers(1, context))
    counted: list[int] = []
    for start, scored, end in windows(length, context, stride):
        assert 0 <= start <= scored < end <= length
        assert end - start <= context
        assert start == 0 or scored - start >= context - stride
        counted += range(scored, end)
    assert counted == list(range(length))


def test_a_model_that_knows_nothing_needs_the_logarithm_of_its_vocabulary() -> None:
    def uniform(tokens: Tensor) -> Tensor:
        return torch.zeros(*tokens.shape, 257)

    found = bits_per_byte(uniform, Letters(), [document("abc" * 50), document("né", "b")], 16, 8)
    assert list(found) == ["a", "b", "total"]
    assert found["a"].value == pytest.approx(log2(257))
    assert found["b"].bytes == 3
    assert found["total"].tokens == found["total"].bytes == 153
    assert found["total"].bits == pytest.approx(153 * log2(257))


def test_agrees_with_one_token_at_a_time() -> None:
    model, letters = tiny_model(), Letters()
    texts = ["In the beginning", "x", "a longer text that needs several windows of context to be read whole", ""]
    context, stride = 24, 10
    found = bits_per_byte(model, letters, [document(text) for text in texts], context, stride)["total"]

    bits = 0.0
    for text in texts:
        ids = [letters.end_of_text, *letters.encode(text)]
        for start, scored, end in windows(len(ids) - 1, context, stride):
            for i in range(scored, end):
                probabilities = model(torch.tensor([ids[start : i + 1]]))[0, -1].softmax(-1)
                bits -= log2(float(probabilities[ids[i + 1]]))
    assert found.bits == pytest.approx(bits, rel=1e-4)
    assert found.bytes == sum(len(text) for text in texts)


def test_reports_progress_and_refuses_a_stride_beyond_the_context() -> None:
    seen: list[tuple[int, int]] = []
    bits_per_byte(tiny_model(), Letters(), [document("abc" * 40)], 32, 16, lambda *at: seen.append(at))
    assert seen[-1][0] == seen[-1][1]
    with pytest.raises(ValueError, match="stride 9"):
        bits_per_byte(tiny_model(), Letters(), [document("abc")], 8, 9)


def test_ngram_leaves_out_the_token_before_the_document() -> None:
    def log_probs(ids: Sequence[int]) -> list[float]:
        assert ids[0] == Letters.end_of_text
        return [-100.0] + [-1.0] * (len(ids) - 1)

    found = ngram_bits_per_byte(log_probs, Letters(), [document("abcd"), document("")])["total"]
    assert found.tokens == 4
    assert found.bits == pytest.approx(4 * 1.4426950408889634)


def test_xz_gains_from_training_text_that_is_alike() -> None:
    texts = ["and God saw that it was good. " * 20, "the evening and the morning were the first day. " * 20]
    new = "the evening and the morning. and God saw the first day. it was good. " + bytes(range(97, 123)).decode()
    alike, unlike = xz_bits_per_byte(texts, [new]), xz_bits_per_byte(["\u2603\u2604" * 300], [new])
    assert 0 < alike < unlike
    preset = 9 | lzma.PRESET_EXTREME
    train, both = "\n\n".join(texts), "\n\n".join([*texts, new])
    sizes = [len(lzma.compress(text.encode(), preset=preset)) for text in (train, both)]
    assert alike == (sizes[1] - sizes[0]) * 8 / len(new)
    with pytest.raises(ValueError, match="no held-out text"):
        xz_bits_per_byte(texts, [])
