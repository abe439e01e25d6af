"""Sentence vectors of all-MiniLM-L6-v2 beside those of sentence-transformers, from the same directory."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch

from cutaway.model import catalogue, load_model

sentence_transformers = pytest.importorskip("sentence_transformers")
from tokenizers import Tokenizer  # noqa: E402

WORDS = """the a my their old small red quick quiet river mountain sister engineer violin library train window bread
storm river garden theory market teacher engine runs opens sings falls explains buys forgets repairs above beneath
without near since because Zürich naïve 42 3.14 e-mail don't (perhaps) emoji 🙂 München ？ 東京 ...""".split()


@pytest.fixture(scope="module")
def directory() -> Path:
    """The model, if it is here."""
    found = catalogue.find("minilm-l6")
    if found is None:
        pytest.skip("minilm-l6 is not here; get it with `cutaway models get minilm-l6`")
    return found


def test_vectors_are_theirs(directory: Path) -> None:
    draw = random.Random(0)
    sentences = [" ".join(draw.choices(WORDS, k=draw.randint(1, 60))).capitalize() + "." for _ in range(200)]
    theirs = sentence_transformers.SentenceTransformer(str(directory), device="cpu")
    expected = theirs.encode(sentences, convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)

    model = load_model(directory)
    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(theirs.max_seq_length)
    tokenizer.enable_padding()
    vectors: list[torch.Tensor] = []
    for start in range(0, len(sentences), 32):
        encoded = tokenizer.encode_batch(sentences[start : start + 32])
        present = torch.tensor([text.attention_mask for text in encoded], dtype=torch.bool)
        vectors.append(model.pooled(model(torch.tensor([text.ids for text in encoded]), present=present), present))
    cosines = torch.nn.functional.cosine_similarity(torch.cat(vectors), expected.cpu())
    print(
        f"\nleast cosine of {len(cosines)}: {cosines.min():.7f}, furthest {(torch.cat(vectors) - expected).abs().max()}"
    )
    assert cosines.min() >= 0.99999
