"""Every family against `transformers` on the same random weights: logits, padding, cache, greedy text, round trip."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import zoo
from safetensors.torch import load_file

from cutaway.model import KVCache, Transformer, load_model, save_model
from cutaway.model.families import FAMILIES
from cutaway.runs import BadInput
from cutaway.tokens.foreign import read_token_ids

transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module", params=list(zoo.ALL))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    """A family's name, a model of theirs and its directory."""
    theirs = zoo.build(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    theirs.save_pretrained(directory)
    return request.param, theirs, directory


@cache
def opened(directory: Path) -> Transformer:
    return load_model(directory)


def tokens(batch: int, length: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(3, zoo.V, (batch, length), generator=torch.Generator().manual_seed(seed))


def outputs(name: str, model: Any, *args: torch.Tensor, **kwargs: Any) -> torch.Tensor:
    with torch.no_grad():
        if name in zoo.SEQ2SEQS:
            return model(input_ids=args[0], decoder_input_ids=args[1], **kwargs).logits
        output = model(input_ids=args[0], **kwargs)
        return output.logits if "logits" in output else output.last_hidden_state


def close(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float = 1e-4) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


def test_logits_are_theirs(pair: tuple[str, Any, Path]) -> None:
    name, theirs, directory = pair
    model = opened(directory)
    for batch, length in ((1, 1), (3, 13), (2, 47), (1, 90)):
        read = [tokens(batch, length)]
        if name in zoo.SEQ2SEQS:
            read.append(tokens(batch, 1 + length // 2, seed=1))
        close(model(*read), outputs(name, theirs, *read))


def test_padding_is_read_by_nobody(pair: tuple[str, Any, Path]) -> None:
    name, theirs, directory = pair
    model = opened(directory)
    read, present = tokens(3, 21), torch.ones(3, 21, dtype=torch.bool)
    present[1, 13:] = False
    present[2, 2:] = False
    # RoBERTa and T5 take the padding token's id itself for padding in some places.
    read[~present] = theirs.config.pad_token_id if theirs.config.pad_token_id is not None else 0
    if name in zoo.SEQ2SEQS:
        target = tokens(3, 9, seed=1)
        close(model(read, target, present=present), outputs(name, theirs, read, target, attention_mask=present.long()))
    else:
        ours = model(read, present=present)
        close(ours[present], outputs(name, theirs, read, attention_mask=present.long())[present])
        for row in range(3):
            alone = model(read[row : row + 1, present[row]])
            close(ours[row : row + 1, present[row]], alone)


@pytest.mark.parametrize("name", list(zoo.DECODERS))
def test_reading_in_pieces_and_padded_on_the_left_is_reading_at_once(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp(name)
    zoo.build(name).save_pretrained(directory)
    model = load_model(directory)
    read = tokens(2, 24)
    cached = KVCache(model.config, 2, 24)
    pieces = [model(part, cache=cached) for part in read.split([9, 1, 1, 13], dim=1)]
    close(torch.cat(pieces, 1), model(read))
    # The second sequence is five tokens shorter, and begins five columns further right.
    cached = KVCache(model.config, 2, 24, torch.tensor([0, 5]))
    pieces = [model(part, cache=cached) for part in read.split([11, 1, 12], dim=1)]
    close(torch.cat(pieces, 1)[1:, 5:], model(read[1:, 5:]))


def greedy(model: Transformer, start: torch.Tensor, n: int, source: torch.Tensor | None) -> list[int]:
    cached = KVCache(model.config, 1, start.shape[1] + n)
    memory = None if source is None else model.encode(source)
    ids: list[int] = []
    for _ in range(n):
        hidden = model.hidden(start, memory=memory, cache=cached)
        start = model.logits(hidden[:, -1:]).argmax(-1)
        ids.append(int(start))
    return ids


def test_greedy_continuations_are_theirs(pair: tuple[str, Any, Path]) -> None:
    name, theirs, directory = pair
    if name in zoo.ENCODERS:
        pytest.skip("an encoder does not go on with a text")
    # With more positions than it was made for, this one turns them otherwise: not within one text, for us.
    read = tokens(1, 40 if name == "phi3-long" else 11)
    # Nothing ends it early: 64 tokens are compared.
    theirs.generation_config.eos_token_id = None
    # Its own cache of T5 assumes as many layers in the decoder as in the encoder.
    theirs.generation_config.use_cache = not name.startswith("t5")
    settings = {"max_new_tokens": 64, "min_new_tokens": 64, "do_sample": False, "num_beams": 1}
    expected = theirs.generate(read, attention_mask=torch.ones_like(read), **settings)[0].tolist()
    if name in zoo.SEQ2SEQS:
        start, source = torch.tensor([[theirs.config.decoder_start_token_id]]), read
    else:
        start, source, expected = read, None, expected[read.shape[1] - 1 :]
    assert greedy(opened(directory), start, 64, source) == expected[1:]


@pytest.mark.parametrize("shards", [10**9, 20_000])
def test_what_is_written_is_what_was_read(pair: tuple[str, Any, Path], tmp_path: Path, shards: int) -> None:
    name, theirs, directory = pair
    save_model(opened(directory), tmp_path, token_ids=read_token_ids(directory), largest_shard=shards)
    before, after = load_file(directory / "model.safetensors"), {}
    for file in tmp_path.glob("*.safetensors"):
        after |= load_file(file)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shards == 20_000
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    again = type(theirs).from_pretrained(tmp_path).eval()
    state = again.state_dict()
    assert all(torch.equal(weight, state[key]) for key, weight in theirs.state_dict().items())
    read = [tokens(2, 19), tokens(2, 7)][: 2 if name in zoo.SEQ2SEQS else 1]
    close(outputs(name, again, *read), outputs(name, theirs, *read), 1e-5)
    # And by us, from one file or several.
    assert load_model(tmp_path).config == opened(directory).config


def test_every_family_is_tested() -> None:
    tested = {name.split("-")[0] for name in zoo.ALL}
    also = {"llama3": "llama", "gemma3": "gemma3_text"}
    assert {also.get(name, name) for name in tested} == set(FAMILIES)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}),
        ("llama", {"hidden_act": "mish"}),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}, "rope_parameters": None}),
        ("bart", {"decoder_ffn_dim": 96}),
    ],
)
def test_what_is_not_built_is_refused_by_name(name: str, change: dict[str, Any], tmp_path: Path) -> None:
    zoo.build(name).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(Exception, match="cannot be opened") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"vocab_size": 211.5},
        {"vocab_size": True},
        {"num_hidden_layers": 10**9},
        {"num_hidden_layers": -1},
        {"num_attention_heads": 0},
        {"rms_norm_eps": float("inf")},
        {"rms_norm_eps": float("nan")},
        {"rope_theta": 0, "rope_parameters": None},
        {"hidden_size": "48"},
    ],
)
def test_nonsense_in_a_configuration_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    zoo.build("llama").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(BadInput, match=r"is not a model's configuration|are not opened") as caught:
        load_model(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "null", "[" * 100_000, '{"architectures": 3}'])
def test_a_configuration_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(BadInput, match="is not a model's configuration"):
        load_model(tmp_path)
