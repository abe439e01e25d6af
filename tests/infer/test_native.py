"""The native runner gives what PyTorch gives: every family, any mix of rows, every precision and kind of cache."""

from __future__ import annotations

import os
import platform
import random
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import zoo
from torch import Tensor, nn

from cutaway.infer import generate_batch, load
from cutaway.infer.native import NativeRunner, Precision, native_or_torch, unsupported
from cutaway.infer.native import build as building
from cutaway.infer.pages import PAGE, Pages, pages_for
from cutaway.infer.runner import Row, TorchRunner
from cutaway.model import KVCache, ModelConfig, Transformer, load_model
from cutaway.model.config import Activation, Experts, Sparsity
from cutaway.model.positions import sinusoidal
from cutaway.runs import BadInput, CutawayError, compiled

DATA = Path(__file__).parents[3] / "shared/data"
pytestmark = pytest.mark.skipif(
    not any(shutil.which(name) for name in compiled.COMPILERS), reason="there is no C++ compiler"
)
DECODERS = [name for name in zoo.DECODERS if "mixtral" not in name and "moe" not in name]
SMALL: dict[str, Any] = {
    "vocab_size": 97, "n_layers": 2, "d_model": 48, "n_heads": 6, "n_kv_heads": 2, "d_head": 8, "d_mlp": 72,
    "context": 160,
}  # fmt: skip
ODD = {
    # No width is a multiple of a vector, a tile or a group; heads straddle tiles.
    "odd": ModelConfig(**(SMALL | {"d_model": 37, "d_head": 24, "d_mlp": 51, "n_heads": 3, "n_kv_heads": 1})),
    "wide heads": ModelConfig(**(SMALL | {"d_head": 80, "n_heads": 2, "n_kv_heads": 1, "rotary_share": 0.4})),
    "sinusoidal": ModelConfig(**SMALL, positions="sinusoidal", embedding_scale=3.0, qk_norm="none"),
    "no positions": ModelConfig(**SMALL, positions="none", logit_scale=0.3, unembed_bias=True, tied_embeddings=False),
    "norm after sum": ModelConfig(**SMALL, norm="layer", norm_bias=True, norm_place="after_sum", embedding_norm=True),
    "no last norm": ModelConfig(**SMALL, final_norm=False, first_norm=False, positions="learned", position_offset=2),
    "caps": ModelConfig(**SMALL, attention_softcap=2.0, final_softcap=1.5, positions="alibi", qk_norm="none"),
    "window": ModelConfig(**SMALL, sparsity=Sparsity("window", 21), local_layers=(0, 1), local_rope_theta=100.0),
    "biased": ModelConfig(**SMALL, qkv_bias=True, output_bias=True, mlp_bias=True, gated=False, parallel=True),
} | {f"{name}": ModelConfig(**SMALL, activation=name, gated=i % 2 == 0) for i, name in enumerate(get_args(Activation))}


def random_model(config: ModelConfig, seed: int = 0) -> Transformer:
    """Weights large enough that no part of the model is without effect."""
    torch.manual_seed(seed)
    model = Transformer(config).requires_grad_(False).eval()
    for weight in model.parameters():
        weight.copy_(
            torch.randn_like(weight) * weight.shape[1] ** -0.5
            if weight.dim() > 1
            else weight + 0.2 * torch.randn_like(weight)
        )
    return model


@pytest.fixture(scope="module", params=[*DECODERS, *ODD])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Transformer:
    if request.param in ODD:
        return random_model(ODD[request.param])
    path = tmp_path_factory.mktemp(request.param)
    zoo.build(request.param).save_pretrained(path)
    return load_model(path)


def ids(n: int, seed: int = 0, vocab: int = 97) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(3, vocab) for _ in range(n)]


def pages_of(model: Transformer, count: int = 200, dtype: torch.dtype = torch.float32) -> Pages:
    """Pages full of what was there before: nothing of it may be read."""
    pages = Pages(model.config, count, dtype=dtype)
    for each in (*pages.k, *pages.v):
        each.fill_(float("nan") if dtype.is_floating_point else 77)
    for each in (*(pages.k_scale or ()), *(pages.v_scale or ())):
        each.fill_(float("nan"))
    return pages


def read(
    runner: NativeRunner | TorchRunner, tokens: list[list[int]], pieces: random.Random | None, *, first: int = 1
) -> list[Tensor]:
    """Logits at every position; at once, or in steps of random rows and pieces. Pages come in no order."""
    free = list(range(first, first + sum(pages_for(len(row)) for row in tokens)))
    random.Random(3).shuffle(free)
    pages = [[free.pop() for _ in range(pages_for(len(row)))] for row in tokens]
    done, found = [0] * len(tokens), [list[Tensor]() for _ in tokens]
    while left := [i for i, row in enumerate(tokens) if done[i] < len(row)]:
        rows: list[Row] = []
        if pieces:
            left = pieces.sample(left, pieces.randint(1, len(left)))
        for i in left:
            n = pieces.choice([1, 1, 1, 2, 5, 17, 40]) if pieces else len(tokens[i])
            rows.append(Row(tokens[i][done[i] : done[i] + n], done[i], pages[i], every=True))
            done[i] += len(rows[-1].tokens)
        for i, logits in zip(left, runner.run(rows), strict=True):
            found[i].append(logits)
    return [torch.cat(each) for each in found]


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


LENGTHS = (1, 2, 16, 17, 33, 64, 90)


@torch.no_grad()
def exact(model: Transformer, tokens: list[int]) -> Tensor:
    """The model's own logits, `[position, vocab]`. With the room of its context: by that some positions' codes go."""
    return model(torch.tensor([tokens]), cache=KVCache(model.config, 1, model.config.context))[0]


def test_every_family_gives_the_models_logits(model: Transformer) -> None:
    tokens = [ids(n, seed=n) for n in LENGTHS]
    runner = NativeRunner(model, pages_of(model), threads=2)
    at_once, in_pieces = read(runner, tokens, None), read(runner, tokens, random.Random(1))
    for row, whole, pieces in zip(tokens, at_once, in_pieces, strict=True):
        close(whole, exact(model, row))
        # To the bit: what shares a step, and how a text is cut into steps, changes nothing.
        assert torch.equal(whole, pieces)


def greedy(runner: NativeRunner | TorchRunner, prompts: list[list[int]], n: int) -> list[list[int]]:
    tokens, need = [list(prompt) for prompt in prompts], pages_for(max(map(len, prompts)) + n)
    pages = [list(range(1 + i * need, 1 + (i + 1) * need)) for i in range(len(prompts))]
    done = [0] * len(prompts)
    for _ in range(n):
        rows = [Row(row[at:], at, own) for row, at, own in zip(tokens, done, pages, strict=True)]
        done = [len(row) for row in tokens]
        for row, logits in zip(tokens, runner.run(rows), strict=True):
            row.append(int(logits[-1].argmax()))
    return [row[len(prompt) :] for row, prompt in zip(tokens, prompts, strict=True)]


def test_greedy_text_is_the_models(model: Transformer) -> None:
    prompts = [ids(n, seed=n) for n in (1, 5, 23, 40)]
    runner = NativeRunner(model, pages_of(model), threads=2)
    assert greedy(runner, prompts, 64) == generate_batch(model, prompts, max_tokens=64, stop_ids=())


LLAMA = ModelConfig(**(SMALL | {"d_model": 96, "d_mlp": 160, "d_head": 16, "context": 512}))


@pytest.mark.parametrize("weights", get_args(Precision))
def test_a_batch_is_what_each_row_is_alone_for_any_threads(weights: Precision) -> None:
    """As many rows as there are kernels and more, so that each of them is used, and all in one batch."""
    model = random_model(LLAMA)
    prompts = [ids(3 + i % 40, seed=i) for i in range(29)]
    alone = NativeRunner(model, pages_of(model, 400), weights=weights, threads=1)
    expected = [greedy(alone, [prompt], 12)[0] for prompt in prompts]
    logits = [read(alone, [prompt], None)[0] for prompt in prompts]
    for threads in (1, 2, 5):
        runner = NativeRunner(model, pages_of(model, 400), weights=weights, threads=threads)
        for n in (1, 2, 3, 4, 5, 7, 8, 11, 12, 13, 29):
            assert greedy(runner, prompts[:n], 12) == expected[:n]
        for whole, one in zip(read(runner, prompts, random.Random(2)), logits, strict=True):
            assert torch.equal(whole, one)


def test_many_threads_on_few_cores_lose_nothing() -> None:
    model = random_model(ModelConfig(**(SMALL | {"n_layers": 1})))
    tokens = [ids(9, seed=i) for i in range(3)]
    expected = read(NativeRunner(model, pages_of(model), threads=1), tokens, None)
    runners = [NativeRunner(model, pages_of(model), threads=n) for n in (2, 3, 4, 4)]

    def often(runner: NativeRunner) -> bool:
        return all(all(map(torch.equal, read(runner, tokens, random.Random(i)), expected)) for i in range(60))

    with ThreadPoolExecutor(len(runners)) as pool:
        assert all(pool.map(often, runners))


def test_sequences_share_the_pages_that_they_begin_with() -> None:
    model = random_model(LLAMA)
    runner = NativeRunner(model, pages_of(model), threads=2)
    begin, ends = ids(2 * PAGE), [ids(n, seed=n) for n in (1, 20, 33)]
    runner.run([Row(begin, 0, [9, 4])])
    rows = [Row(end, len(begin), [9, 4, 10 + 3 * i, 12 + 3 * i, 11 + 3 * i]) for i, end in enumerate(ends)]
    with torch.no_grad():
        for end, logits in zip(ends, runner.run(rows), strict=True):
            close(logits, model(torch.tensor([begin + end]))[0, -1:])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("config", ["odd", "wide heads", "window"])
def test_keys_and_values_in_fewer_bits(config: str, dtype: torch.dtype) -> None:
    """The same as PyTorch over such a cache, but for the few numbers that rounding takes the other way."""
    model = random_model(ODD[config])
    tokens = [ids(n, seed=n) for n in LENGTHS]
    for pieces in (None, 1):
        draws = [random.Random(pieces) if pieces else None for _ in range(2)]
        ours = read(NativeRunner(model, pages_of(model, dtype=dtype), threads=2), tokens, draws[0])
        pages = Pages(model.config, 200, dtype=dtype)
        for mine, other in zip(ours, read(TorchRunner(model, pages), tokens, draws[1]), strict=True):
            close(mine, other, 4e-3)
            assert (mine - other).abs().mean() <= 1e-4 * other.abs().max()


def grouped(weight: Tensor) -> Tensor:
    """Rows in groups of 32, zeros at the end."""
    return nn.functional.pad(weight, (0, -weight.shape[-1] % 32)).unflatten(-1, (-1, 32))


def rounded(weight: Tensor, precision: Precision) -> Tensor:
    """Weights as each precision keeps them, or no better."""
    if precision == "bfloat16":
        return weight.bfloat16().float()
    groups = grouped(weight)
    if precision == "int8":
        scale = groups.abs().amax(-1, keepdim=True) / 127
        return ((groups / scale.clamp(min=1e-30)).round() * scale).flatten(-2)[..., : weight.shape[-1]]
    least = groups.amin(-1, keepdim=True)
    scale = (groups.amax(-1, keepdim=True) - least) / 15
    return (((groups - least) / scale.clamp(min=1e-30)).round() * scale + least).flatten(-2)[..., : weight.shape[-1]]


@pytest.mark.parametrize(("weights", "bound"), [("bfloat16", 1.01), ("int8", 1.6), ("int4", 1.0)])
def test_rounded_weights_err_no_more_than_rounding_does(weights: Precision, bound: float) -> None:
    """A matrix's output beside that of the same matrix rounded plainly, in PyTorch, its inputs in full."""
    # One layer whose branches write nothing: the logits are the unembedding's product with the normalised embedding.
    exact = random_model(ModelConfig(**(SMALL | {"d_model": 320, "n_layers": 1, "d_mlp": 512}), tied_embeddings=False))
    rough = random_model(exact.config)
    for name, matrix in rough.named_parameters():
        if matrix.dim() == 2 and name != "embed.weight":
            matrix.copy_(rounded(matrix, "int8" if weights == "int4" and name == "unembed.weight" else weights))
    tokens = [ids(60)]
    ours = read(NativeRunner(exact, pages_of(exact), weights=weights, threads=2), tokens, None)[0]
    with torch.no_grad():
        truth, plain = exact(torch.tensor(tokens))[0], rough(torch.tensor(tokens))[0]
    assert 0 < (ours - truth).pow(2).mean().sqrt() <= bound * (plain - truth).pow(2).mean().sqrt()


def test_weights_of_bfloat16_are_kept_as_they_are() -> None:
    model = random_model(LLAMA)
    for weight in model.parameters():
        weight.copy_(weight.bfloat16())
    tokens = [ids(50)]
    whole, half = (
        read(NativeRunner(model, pages_of(model), weights=weights, threads=1), tokens, None)[0]
        for weights in ("float32", "bfloat16")
    )
    assert torch.equal(whole, half)
    model.bfloat16()
    assert torch.equal(half, read(NativeRunner(model, pages_of(model), weights="bfloat16"), tokens, None)[0])


def perplexity(runner: NativeRunner | TorchRunner, tokens: list[int], window: int) -> float:
    """Over non-overlapping windows, read from an empty cache each."""
    losses: list[Tensor] = []
    pages = list(range(1, 1 + pages_for(window)))
    for at in range(0, len(tokens) - window, window):
        logits = runner.run([Row(tokens[at : at + window], 0, pages, every=True)])[0]
        losses.append(nn.functional.cross_entropy(logits, torch.tensor(tokens[at + 1 : at + window + 1])))
    return float(torch.stack(losses).mean().exp())


LOSSES: dict[Precision, float] = {"bfloat16": 1.005, "int8": 1.005, "int4": 1.03}


@pytest.mark.slow
def test_fewer_bits_predict_a_real_text_about_as_well() -> None:
    """SmolLM2-135M on the beginning of a Shakespeare play."""
    from cutaway.model.catalogue import CATALOGUE

    text = DATA / "text/tinyshakespeare.txt"
    if not text.exists() or not CATALOGUE["smollm2-135m"].home.exists():
        pytest.skip("needs smollm2-135m in the model cache, and ../shared/data/text")
    lm = load("smollm2-135m")
    tokens = lm.tokenizer.document(text.read_text()[:24_000])
    pages = Pages(lm.config, 40)
    exact = perplexity(NativeRunner(lm.model, pages), tokens, 512)
    for weights, most in LOSSES.items():
        assert 1 / most <= perplexity(NativeRunner(lm.model, pages, weights=weights), tokens, 512) / exact <= most


def test_fewer_bits_predict_a_childrens_story_about_as_well() -> None:
    """A real model of 260,000 parameters, two groups of weights to a row: four bits hurt it more than larger ones."""
    if not (DATA / "tiny-model").exists():
        pytest.skip("needs ../shared/data/tiny-model")
    from cutaway.model.llama2c import load_llama2c

    model = load_llama2c(next((DATA / "tiny-model").glob("*.bin")))
    pages = Pages(model.config, 40)
    # Its own words: what it writes itself at random is the text that it knows best how to predict.
    draw, tokens = torch.Generator().manual_seed(0), [1]
    runner = NativeRunner(model, pages)
    window = min(model.config.context, 256) - 1
    at, own = 0, list(range(1, 1 + pages_for(window + 1)))
    for _ in range(2000):
        if len(tokens) - at > window:
            at = len(tokens) - 1
        step = Row(tokens[-1:], len(tokens) - 1 - at, own)
        tokens.append(int(torch.multinomial(runner.run([step])[0][0].softmax(-1), 1, generator=draw)))
    exact = perplexity(runner, tokens, window)
    for weights, most in LOSSES.items():
        found = perplexity(NativeRunner(model, pages, weights=weights), tokens, window)
        assert 0.995 <= found / exact <= (1.1 if weights == "int4" else most)


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are names of x86-64 processors")
@pytest.mark.parametrize("architecture", ["x86-64", "x86-64-v3", "x86-64-v4"])
def test_older_processors_give_the_same(architecture: str) -> None:
    with open("/proc/cpuinfo") as file:
        has = file.read()
    if (architecture == "x86-64-v3" and "avx2" not in has) or (architecture == "x86-64-v4" and "avx512vl" not in has):
        pytest.skip("this processor is older")
    tokens = [ids(n, seed=n) for n in LENGTHS]
    for config in (LLAMA, ODD["odd"], ODD["caps"]):
        model = random_model(config)
        for weights in get_args(Precision):
            for dtype in (torch.float32, torch.int8):
                both = [
                    NativeRunner(model, pages_of(model, dtype=dtype), weights=weights, threads=2, architecture=name)
                    for name in ("native", architecture)
                ]
                # A sum in another order may round an activation, or a key, the other way.
                exact = dtype == torch.float32 and not weights.startswith("int")
                expected, found = (read(runner, tokens, random.Random(1)) for runner in both)
                for mine, other in zip(found, expected, strict=True):
                    close(mine, other, 1e-5 if exact else 2e-2)


def test_the_order_of_positions_codes_is_the_models_own() -> None:
    """Sinusoidal positions are added as the model's own function gives them."""
    model = random_model(ODD["sinusoidal"])
    runner = NativeRunner(model, pages_of(model))
    assert any(torch.equal(kept, sinusoidal(torch.arange(160), 48)) for kept in runner.kept)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"kind": "encoder"}, "encoder"),
        ({"head": "masked"}, "head"),
        ({"experts": Experts(4, 2, 16), "expert_layers": (1,)}, "mixture of experts"),
        ({"positions": "relative"}, "relative"),
        ({"n_token_types": 2}, "types"),
        ({"sparsity": Sparsity("blocks", 8, 2), "local_layers": (0,)}, "window"),
        ({"sparsity": Sparsity("window", 8, 2), "local_layers": (0,)}, "window"),
        ({"parallel": True, "norm_place": "around"}, "parallel"),
    ],
)
def test_what_it_does_not_do_it_names(changes: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture) -> None:
    config = ModelConfig(**SMALL, **changes)
    assert reason in (unsupported(config) or "")
    if config.kind == "decoder" and config.head == "linear":
        model = random_model(config)
        with pytest.raises(BadInput, match=reason):
            NativeRunner(model, Pages(config, 4))
        assert isinstance(native_or_torch(weights="int8")(model, Pages(config, 4)), TorchRunner)
        assert len(caplog.records) == 1
        assert reason in caplog.text


def test_bad_arguments_are_refused_and_touch_nothing() -> None:
    model = random_model(LLAMA)
    pages = Pages(model.config, 40)
    runner = NativeRunner(model, pages)
    before = [each.clone() for each in (*pages.k, *pages.v)]
    for row, message in (
        (Row([97], 0, [1]), "token outside of 0 to 96"),
        (Row([-1], 0, [1]), "token outside"),
        (Row([5], 0, [41]), "page outside of 0 to 40"),
        (Row([5], 0, [-1]), "page outside"),
        (Row([5], 16, [1]), "positions 16 to 17 do not lie in 1 pages"),
        (Row([5], -1, [1]), "positions -1"),
        (Row([], 0, [1]), "positions 0 to 0"),
        (Row([5], 512, list(range(1, 40))), "513 tokens do not fit into the model's context of 512"),
    ):
        with pytest.raises(BadInput, match=message):
            runner.run([Row([6], 0, [2]), row])
    assert all(map(torch.equal, before, (*pages.k, *pages.v)))
    assert runner.run([]) == []
    with pytest.raises(BadInput, match="int5"):
        NativeRunner(model, pages, weights="int5")  # type: ignore[arg-type]
    for threads in (0, 257):
        with pytest.raises(BadInput, match=f"threads is {threads}"):
            NativeRunner(model, pages, threads=threads)


@pytest.fixture
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and no library opened yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    building.library.cache_clear()
    yield tmp_path / "cache/cutaway/native"
    building.library.cache_clear()


def compiler(path: Path, script: str) -> str:
    """A compiler of our own making, in shell."""
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_without_a_compiler_pytorch_does_it(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    model = random_model(LLAMA)
    runner = native_or_torch()(model, Pages(model.config, 8))
    assert isinstance(runner, TorchRunner)
    assert [record.message for record in caplog.records] == [
        "there is no C++ compiler to build the native library with; install g++; PyTorch has to do"
    ]


def test_a_failing_compiler_is_quoted(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'case "$*" in *-dM*) exit 0;; esac; echo "In file x:" >&2; echo "x.h:3: error: no such thing" >&2; exit 1'
    monkeypatch.setenv("CXX", compiler(tmp_path / "bad", script))
    with pytest.raises(CutawayError, match=r"bad could not build .*\(x\.h:3: error: no such thing\); PyTorch"):
        building.library()
    assert not list(fresh.glob("*"))


def test_the_library_is_built_once_by_whoever_comes_first(
    fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compiled.find_compiler()
    library = tmp_path / "one.so"
    names = ("open", "close", "set_layer", "pack", "set_pages", "step")
    (tmp_path / "one.cpp").write_text("".join(f'extern "C" void cutaway_{name}() {{}}\n' for name in names))
    compiled.run(real, "-fPIC", "-shared", "-o", str(library), str(tmp_path / "one.cpp"))
    script = (
        f'case "$*" in *-dM*) exec {real} "$@";; esac\n'
        f"echo built >> {tmp_path}/log; sleep 0.2\n"
        'while [ "$1" != -o ]; do shift; done\n'
        f'cp {library} "$2"'
    )
    monkeypatch.setenv("CXX", compiler(tmp_path / "slow", script))
    with ThreadPoolExecutor(4) as pool:
        for made in pool.map(lambda _: building.library.__wrapped__(), range(4)):
            assert made.cutaway_open
    assert len(list(fresh.iterdir())) == 1
    built = (tmp_path / "log").read_text().count("built")
    building.library.__wrapped__()
    assert (tmp_path / "log").read_text().count("built") == built
    # Another processor, other flags or other sources make another library.
    monkeypatch.setattr(building, "FLAGS", (*building.FLAGS, "-DCHANGED"))
    building.library.__wrapped__()
    assert len(list(fresh.iterdir())) == 2


def test_a_library_that_cannot_be_opened_is_named(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = 'case "$*" in *-dM*) exit 0;; esac\nwhile [ "$1" != -o ]; do shift; done\necho nonsense > "$2"'
    monkeypatch.setenv("CXX", compiler(tmp_path / "liar", script))
    with pytest.raises(CutawayError, match=r"native/\w+\.so cannot be opened.*PyTorch has to do"):
        building.library()


def test_threads_end_with_the_runner() -> None:
    model = random_model(LLAMA)
    before = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").exists() else 0
    for _ in range(5):
        runner = NativeRunner(model, pages_of(model), threads=4)
        read(runner, [ids(5)], None)
        del runner
    after = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").exists() else 0
    assert after <= before + 1
