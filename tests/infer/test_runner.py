"""Steps over pages give the logits that the model gives without any cache."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import zoo
from torch import Tensor

from cutaway.infer.pages import NOTHING, PAGE, Pages, pages_for
from cutaway.infer.runner import Row, TorchRunner, first_page, window
from cutaway.model import ModelConfig, Transformer, load_model
from cutaway.model.config import Sparsity
from cutaway.model.taps import Taps

BLOCKS = ModelConfig(
    vocab_size=zoo.V, n_layers=2, d_model=32, n_heads=2, n_kv_heads=1, d_head=16, d_mlp=32, context=128,
    sparsity=Sparsity("blocks", 8, 2), local_layers=(0,),
)  # fmt: skip


@pytest.fixture(
    scope="module", params=["gpt2", "bloom", "llama", "mistral", "phi3-long", "gemma2", "gemma3", "mixtral"]
)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    path = tmp_path_factory.mktemp("zoo") / request.param
    zoo.build(request.param).save_pretrained(path)
    return load_model(path)


def random_model(config: ModelConfig) -> Transformer:
    torch.manual_seed(0)
    model = Transformer(config).requires_grad_(False).eval()
    for weight in model.parameters():
        if weight.dim() == 2:
            weight.normal_(std=weight.shape[1] ** -0.5)
    return model


def sequences(draw: random.Random, n: int, longest: int) -> list[list[int]]:
    return [[draw.randrange(3, zoo.V) for _ in range(draw.randint(1, longest))] for _ in range(n)]


def read_in_pieces(
    runner: TorchRunner, tokens: list[list[int]], draw: random.Random, *, give_back: int | None = None
) -> list[Tensor]:
    """Logits at every position, read by steps of random rows and pieces from pages in random order."""
    free = list(range(1, runner.pages.count + 1))
    draw.shuffle(free)
    pages = [[free.pop() for _ in range(pages_for(len(ids)))] for ids in tokens]
    read, found = [0] * len(tokens), [list[Tensor]() for _ in tokens]
    while left := [i for i, ids in enumerate(tokens) if read[i] < len(ids)]:
        rows: dict[int, Row] = {}
        for i in draw.sample(left, draw.randint(1, len(left))):
            n = min(len(tokens[i]) - read[i], draw.choice([1, 1, 1, 2, 7, 30]))
            if give_back is not None:
                passed = first_page(read[i], give_back)
                pages[i][:passed] = [NOTHING] * passed
            rows[i] = Row(tokens[i][read[i] : read[i] + n], read[i], pages[i], every=draw.random() < 0.5 or n == 1)
        for (i, row), logits in zip(rows.items(), runner.run(list(rows.values())), strict=True):
            assert logits.dtype == torch.float32
            assert len(logits) == (len(row.tokens) if row.every else 1)
            unknown = torch.full((len(row.tokens) - len(logits), logits.shape[-1]), torch.nan)
            found[i].append(torch.cat([unknown, logits]))
            read[i] += len(row.tokens)
    return [torch.cat(pieces) for pieces in found]


def assert_same(found: list[Tensor], tokens: list[list[int]], model: Transformer, tolerance: float = 2e-4) -> None:
    for logits, ids in zip(found, tokens, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([ids]))[0]
        known = ~logits[:, 0].isnan()
        assert known[-1]
        torch.testing.assert_close(logits[known], expected[known], atol=tolerance, rtol=tolerance)


def test_steps_over_pages_equal_the_whole_without_a_cache(model: Transformer) -> None:
    for seed in range(3):
        draw = random.Random(seed)
        # In phi3-long all positions are turned for the model's whole context, as they are where it writes.
        longest = 30 if model.config.rope_scaling and model.config.rope_scaling.kind == "longrope" else 100
        tokens = sequences(draw, 5, longest)
        runner = TorchRunner(model, Pages(model.config, 40))
        found = read_in_pieces(runner, tokens, draw)
        if longest == 30:
            tokens_at_length = [ids + [0] * (model.config.context - len(ids)) for ids in tokens]
            for logits, ids, padded in zip(found, tokens, tokens_at_length, strict=True):
                with torch.no_grad():
                    expected = model(torch.tensor([padded]))[0, : len(ids)]
                known = ~logits[:, 0].isnan()
                torch.testing.assert_close(logits[known], expected[known], atol=2e-4, rtol=2e-4)
        else:
            assert_same(found, tokens, model)


def test_blocks_and_global_tokens_are_not_shifted_by_padding() -> None:
    draw = random.Random(0)
    for sparsity in (BLOCKS.sparsity, Sparsity("window", 6, 2)):
        model = random_model(replace(BLOCKS, sparsity=sparsity))
        tokens = sequences(draw, 6, 60)
        assert_same(read_in_pieces(TorchRunner(model, Pages(BLOCKS, 40)), tokens, draw), tokens, model)


def test_pages_behind_the_window_of_all_layers_are_not_needed() -> None:
    config = replace(BLOCKS, sparsity=Sparsity("window", 7), local_layers=(0, 1))
    assert window(config) == 7
    assert window(replace(config, local_layers=(1,))) is None
    # The query at position 22 reads 16 to 22: page 0 is behind it, and was still read by that at 21.
    assert [first_page(start, 7) for start in (0, 21, 22, 38)] == [0, 0, 1, 2]
    model, draw = random_model(config), random.Random(1)
    tokens = sequences(draw, 5, 120)
    runner = TorchRunner(model, Pages(config, 40))
    # Whoever read page NOTHING would see these.
    for k, v in zip(runner.pages.k, runner.pages.v, strict=True):
        k[NOTHING], v[NOTHING] = 50.0, 50.0
    assert_same(read_in_pieces(runner, tokens, draw, give_back=7), tokens, model)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.int8, 0.1)])
def test_narrow_caches_are_close(dtype: torch.dtype, tolerance: float) -> None:
    model, draw = random_model(replace(BLOCKS, sparsity=None)), random.Random(2)
    tokens = sequences(draw, 4, 100)
    found = read_in_pieces(TorchRunner(model, Pages(BLOCKS, 40, dtype=dtype)), tokens, draw)
    worst = 0.0
    for logits, ids in zip(found, tokens, strict=True):
        with torch.no_grad():
            expected = model(torch.tensor([ids]))[0].log_softmax(-1)
        known = ~logits[:, 0].isnan()
        worst = max(worst, float((logits.log_softmax(-1) - expected)[known].abs().max()))
    assert 0 < worst < tolerance


def test_a_watched_row_shows_its_tensors_beside_others() -> None:
    model = random_model(replace(BLOCKS, sparsity=None))
    runner = TorchRunner(model, Pages(BLOCKS, 8))
    seen: list[Tensor] = []
    tap = Taps({"blocks.1.attn.hook_pattern": [seen.append], "blocks.0.hook_mlp_out": [torch.zeros_like]})
    rows = [Row([5, 6, 7], 0, [1]), Row([8, 9], 0, [2], tap=tap), Row([5, 6, 7], 0, [3]), Row([4], 0, [4])]
    found = runner.run(rows)
    assert [tuple(pattern.shape) for pattern in seen] == [(1, 2, 2, 2)]
    with torch.no_grad():
        torch.testing.assert_close(found[0][0], model(torch.tensor([[5, 6, 7]]))[0, -1], atol=1e-5, rtol=1e-4)
        changed = model(torch.tensor([[8, 9]]), tap=tap)[0, -1]
        torch.testing.assert_close(found[1][0], changed, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(found[1][0], model(torch.tensor([[8, 9]]))[0, -1], atol=1e-3)
    torch.testing.assert_close(found[2], found[0])


def test_rows_share_passes_where_padding_is_cheap() -> None:
    runner = TorchRunner(random_model(replace(BLOCKS, sparsity=None)), Pages(BLOCKS, 1))
    pages = list(range(1000))
    writing = [Row([1], start, pages) for start in (5, 9, 30)]
    reading = [Row([1] * 60, 0, pages), Row([1] * 62, 0, pages)]
    far = [Row([1], 12_000, pages)]
    groups = [sorted(group) for group in runner.together([*writing, *reading, *far])]
    assert sorted(i for group in groups for i in group) == list(range(6))
    assert [0, 1, 2] in groups
    assert [3, 4] in groups
    assert PAGE == 16


def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors each call of `Pages.read` reads."""
    counts: list[int] = []
    plain = Pages.read

    def read(pages: Pages, layer: int, slots: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        counts.append(slots.numel())
        return plain(pages, layer, slots, dtype)

    monkeypatch.setattr(Pages, "read", read)
    return counts


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
@pytest.mark.parametrize("sparsity", [None, Sparsity("window", 20)], ids=["full", "window"])
def test_rows_that_go_on_are_gathered_once(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, sparsity: Sparsity | None
) -> None:
    config = replace(BLOCKS, sparsity=sparsity, local_layers=(0, 1) if sparsity else (), context=256)
    model, draw, counts = random_model(config), random.Random(3), counted(monkeypatch)
    a, b = ([draw.randrange(3, zoo.V) for _ in range(130)] for _ in range(2))
    pages, lengths = ([*range(1, 10)], [*range(10, 19)]), (30, 17)

    def logits(gathered: int) -> tuple[list[Tensor], list[int]]:
        """Of both sequences step by step, and the vectors that were read in each step."""
        monkeypatch.setattr("cutaway.infer.runner.MOST_GATHERED", gathered)
        runner = TorchRunner(model, Pages(config, 20, dtype=dtype))
        runner.run([Row(ids[:n], 0, own) for ids, own, n in zip((a, b), pages, lengths, strict=True)])
        found, read = list[Tensor](), list[int]()
        for step in range(90):
            counts.clear()
            rows = [Row([ids[n + step]], n + step, own) for ids, own, n in zip((a, b), pages, lengths, strict=True)]
            found.append(torch.stack(runner.run(rows)))
            read.append(sum(counts))
        return found, read

    (found, read), (expected, anew) = logits(1 << 30), logits(0)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    # Two rows, one head, two layers: what is new, most of the time. A window's first page passes every 16 steps.
    assert sum(each == 4 for each in read) > (50 if sparsity else 80)
    if sparsity is None:
        assert all(each == 4 * (31 + step) for step, each in enumerate(anew))
        with torch.no_grad():
            whole = model(torch.tensor([a[:120]]))[0, 30:]
        if dtype == torch.float32:
            torch.testing.assert_close(torch.cat([each[0] for each in found]), whole, atol=2e-4, rtol=2e-4)


def test_what_stays_gathered_is_not_taken_for_another_sequences() -> None:
    """A sequence ends, and the next has its pages and its length."""
    model = random_model(replace(BLOCKS, sparsity=None))
    runner, draw = TorchRunner(model, Pages(BLOCKS, 8)), random.Random(4)
    first, second = ([draw.randrange(3, zoo.V) for _ in range(40)] for _ in range(2))
    pages = [1, 2, 3]
    runner.run([Row(first[:20], 0, pages)])
    for at in range(20, 25):
        runner.run([Row([first[at]], at, pages)])
    runner.run([Row(second[:25], 0, pages)])
    for at in range(25, 30):
        (found,) = runner.run([Row([second[at]], at, pages)])
        with torch.no_grad():
            torch.testing.assert_close(found[0], model(torch.tensor([second[: at + 1]]))[0, -1], atol=2e-4, rtol=2e-4)
