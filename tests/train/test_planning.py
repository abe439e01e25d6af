"""Plans against runs that were published, and against each other."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cutaway.model import ModelConfig
from cutaway.model.anatomy import anatomy_of
from cutaway.model.presets import PRESETS
from cutaway.runs import BadInput
from cutaway.train.cost import flops_per_token
from cutaway.train.devices import KINDS, devices_of
from cutaway.train.memory import step_memory
from cutaway.train.planning import USABLE, Plan, Wishes, depth_for, plan
from cutaway.train.scaling_law import FITS, USUAL

FIT = FITS[USUAL]
H100, A100, V100 = KINDS["h100"], KINDS["a100-80gb"], KINDS["v100"]
# nanochat's d20: no gates, ReLU (theirs squared), untied embeddings, no weights in its norms.
NANOCHAT = ModelConfig(
    vocab_size=65_536, n_layers=20, d_model=1280, n_heads=10, n_kv_heads=10, d_head=128, d_mlp=5120, context=2048,
    tied_embeddings=False, qk_norm="none", gated=False, activation="relu",
)  # fmt: skip
# Chinchilla, Hoffmann et al. 2022, table 4; its positions are Transformer-XL's, whose matrices of 5.4 billion weights,
# one a layer, ours has not, and which go over positions and not over tokens.
CHINCHILLA = ModelConfig(
    vocab_size=32_000, n_layers=80, d_model=8192, n_heads=64, n_kv_heads=64, d_head=128, d_mlp=32_768, context=2048,
    qk_norm="none", gated=False, activation="gelu",
)  # fmt: skip


def shape(name: str) -> ModelConfig:
    found = PRESETS[name].shape
    assert isinstance(found, ModelConfig)
    return found


def planned(config: ModelConfig, wishes: Wishes) -> Plan:
    return plan(config, wishes, FIT)


@pytest.mark.parametrize(
    ("config", "tokens", "length", "parameters", "flops", "margin"),
    [
        # Brown et al. 2020, table D.1, which leaves attention out.
        (shape("gpt3-175b"), 300e9, 2048, 174.6e9, 3.14e23, 0.02),
        # Grattafiori et al. 2024, section 3.2.
        (shape("llama3-405b"), 15.6e12, 8192, 405e9, 3.8e25, 0.04),
        # Hoffmann et al. 2022, tables 3 and 4; 6 N D with 70 billion is 5.88e23.
        (CHINCHILLA, 1.4e12, 2048, 64.9e9, 5.76e23, 0.05),
        # nanochat's report of its speedrun, which has every query read all keys, where half are hidden.
        (NANOCHAT, 11_219_763_200, 2048, 560_988_160, 3.917670e19, 0.10),
        # llm.c, discussion 677: 32,000 steps of about a million tokens. 6 N D.
        (shape("gpt2-xl"), 33.6e9, 1024, 1_557_611_200, 3.14e20, 0.06),
    ],
    ids=["GPT-3 175B", "Llama 3 405B", "Chinchilla 70B", "nanochat d20", "GPT-2 1.5B"],
)
def test_parameters_and_operations_of_published_runs(
    config: ModelConfig, tokens: float, length: int, parameters: float, flops: float, margin: float
) -> None:
    found = planned(config, Wishes(A100, tokens=tokens, length=length))
    assert found.parameters == pytest.approx(parameters, rel=0.005)
    assert found.flops == pytest.approx(flops, rel=margin)
    assert found.flops == tokens * flops_per_token(config, length)


RUNS = {
    # 54 days of it are told of, with 90% of the time spent training (Grattafiori et al. 2024, section 3.3.4); the hours
    # are of its model card, the utilisation of table 4.
    "Llama 3 405B": (shape("llama3-405b"), H100, 16_384, 15.6e12, 8192, 0.41, 30.84e6),
    # Touvron et al. 2023, Llama 2, table 2.
    "Llama 2 7B": (shape("llama2-7b"), A100, 1024, 2e12, 4096, None, 184_320),
    # Patterson et al. 2021, table 4: 14.8 days on 10,000, at 24.6 TFLOP/s.
    "GPT-3 175B": (shape("gpt3-175b"), V100, 10_000, 300e9, 2048, 24.6 / 125, 14.8 * 24 * 10_000),
    # Reports of nanochat's speedrun: 170 to 175 minutes of pretraining, with what it counts as 48%.
    "nanochat d20": (NANOCHAT, H100, 8, 11.22e9, 2048, 0.48 * 3.565 / 3.918, 8 * 172.5 / 60),
    # llm.c, discussion 677: a day at about 50%.
    "GPT-2 1.5B": (shape("gpt2-xl"), H100, 8, 33.6e9, 1024, 0.50, 8 * 24),
}


@pytest.mark.parametrize("name", RUNS)
def test_hours_of_published_runs(name: str) -> None:
    config, device, count, tokens, length, mfu, device_hours = RUNS[name]
    told = Wishes(device, count, tokens=tokens, length=length, recompute=False)
    if mfu is not None:
        as_they_were = planned(config, replace(told, device=replace(device, mfu=mfu)))
        # Llama's hours include what failures cost.
        assert as_they_were.device_hours == pytest.approx(device_hours, rel=0.14 if "Llama" in name else 0.05)
    usual = planned(config, told)
    assert usual.device_hours == pytest.approx(device_hours, rel=0.16)
    assert usual.hours == usual.device_hours / count


def test_cost_and_energy_of_published_runs() -> None:
    # «The best ChatGPT that $100 can buy»: 4 hours of 8 H100 at 24 dollars; 3 hours of them are pretraining.
    whole = planned(NANOCHAT, Wishes(H100, 8, hours=4))
    assert whole.cost == pytest.approx(100, rel=0.05)
    assert whole.tokens > 11.22e9
    pretraining = planned(NANOCHAT, Wishes(H100, 8, tokens=11.22e9))
    assert pretraining.cost == pytest.approx(8 * 3 * 172.5 / 60, rel=0.05)
    # llm.c's day: $672 at 3.50 a device.
    day = planned(shape("gpt2-xl"), Wishes(replace(H100, mfu=0.5, price=3.5), 8, tokens=33.6e9))
    assert day.cost == pytest.approx(672, rel=0.05)
    # 1,287 MWh with hosts and cooling (Patterson et al. 2021, table 4).
    gpt3 = planned(shape("gpt3-175b"), Wishes(replace(V100, mfu=24.6 / 125), 10_000, tokens=300e9))
    assert gpt3.kilowatt_hours == pytest.approx(1_287_000, rel=0.2)


def test_memory_of_a_published_run() -> None:
    # 75,422 MiB at 32 rows by nanochat's reports, whose program keeps logits in float32 besides.
    found = planned(NANOCHAT, Wishes(H100, 8, tokens=1e9, rows=32, recompute=False, shard=False))
    assert found.memory.peak == pytest.approx(75_422 * 2**20, rel=0.2)


def test_a_budget_is_spent_to_the_end() -> None:
    config = ModelConfig.from_depth(20, 4096)
    tokens = planned(config, Wishes(H100, 8, hours=4)).tokens
    assert planned(config, Wishes(H100, 8, tokens=tokens)).hours == pytest.approx(4)
    for_money = planned(config, Wishes(H100, 8, money=96))
    assert (for_money.hours, for_money.cost) == (pytest.approx(4), pytest.approx(96))
    assert planned(config, Wishes(H100, 8, flops=for_money.flops)).hours == pytest.approx(4)
    again = planned(config, Wishes(H100, 8, hours=4, recompute=True))
    assert again.hours == pytest.approx(4)
    assert again.tokens == pytest.approx(tokens * 3 / 4, rel=0.02)


def test_hours_beside_something_else_say_how_many_devices() -> None:
    month = planned(shape("gpt3-175b"), Wishes(A100, tokens=300e9, hours=720))
    assert month.hours <= 720
    one_less = planned(shape("gpt3-175b"), Wishes(A100, month.count - 1, tokens=300e9))
    assert one_less.hours > 720
    evening = planned(shape("gpt2"), Wishes(H100, money=100, hours=4))
    assert (evening.count, evening.hours) == (8, pytest.approx(100 / 24))


def test_without_a_length_it_is_the_best_for_the_size() -> None:
    found = planned(shape("gpt2"), Wishes(H100))
    assert found.tokens == pytest.approx(FIT.tokens_for(found.parameters))


def test_a_budget_alone_decides_on_the_size() -> None:
    for money, fit in ((10, FIT), (1000, FIT), (100, FITS["hoffmann-3"])):
        wishes = Wishes(H100, money=money)
        depth = depth_for(4096, wishes, fit)
        best = fit.best(plan(ModelConfig.from_depth(depth, 4096), wishes, fit).flops).parameters
        sizes = [anatomy_of(ModelConfig.from_depth(near, 4096)).parameters for near in (depth - 2, depth, depth + 2)]
        assert sizes[0] < best < sizes[2]
        assert sizes[1] == pytest.approx(best, rel=0.15)


def test_the_fewest_devices_that_a_step_fits_on() -> None:
    found = planned(shape("llama3-8b"), Wishes(H100, tokens=1e9))
    assert found.fits
    assert found.count > 1
    half = planned(shape("llama3-8b"), Wishes(H100, found.count // 2, tokens=1e9))
    assert not half.fits
    assert planned(shape("gpt2"), Wishes(H100, tokens=1e9)).count == 1


def test_as_many_rows_as_fit_and_no_more() -> None:
    found = planned(shape("gpt2-xl"), Wishes(H100, 8, tokens=1e9))
    assert found.fits
    assert not found.layout.recompute
    twice = step_memory(shape("gpt2-xl"), replace(found.layout, rows=2 * found.layout.rows))
    assert twice.peak > USABLE * H100.memory


@pytest.mark.parametrize(
    ("name", "wishes", "changes"),
    [
        ("gpt2-xl", Wishes(H100, 1, tokens=1e9, rows=64, recompute=False), {"fewer rows at once"}),
        (
            "gpt2-xl",
            Wishes(H100, 1, tokens=1e9, rows=24, recompute=False),
            {"fewer rows at once", "blocks worked out again"},
        ),
        ("llama3-8b", Wishes(H100, 1, tokens=1e9), {"weights divided"}),
        ("llama3-8b", Wishes(H100, 8, tokens=1e9, rows=8, shard=False, recompute=False), {"all together"}),
        ("llama3-405b", Wishes(KINDS["t4"], 1, tokens=1e9), set()),
    ],
)
def test_what_would_make_it_fit(name: str, wishes: Wishes, changes: set[str]) -> None:
    found = planned(shape(name), wishes)
    assert not found.fits
    assert changes <= {each.change for each in found.remedies}
    assert bool(changes) == bool(found.remedies)
    for each in found.remedies:
        if each.change == "fewer rows at once":
            one_more = replace(each.layout, rows=each.layout.rows + 1)
            assert step_memory(shape(name), one_more).peak > USABLE * wishes.device.memory
        assert step_memory(shape(name), each.layout).peak <= USABLE * wishes.device.memory
        retried = replace(
            wishes, count=each.count, rows=each.layout.rows, recompute=each.layout.recompute,
            shard=each.layout.shards > 1, optimizer=each.layout.optimizer,
        )  # fmt: skip
        assert planned(shape(name), retried).fits


@pytest.mark.parametrize(
    ("wishes", "message"),
    [
        (Wishes(H100, tokens=1e9, money=5), "--tokens and --money each say how long the run is"),
        (Wishes(H100, 8, tokens=1e9, hours=5), "--tokens, --hours and the number of devices decide each other"),
        (Wishes(KINDS["m-series"], money=5), "m-series has no price"),
        (Wishes(H100, money=5, hours=5), "does not pay for one h100 for 5 hours"),
        (Wishes(H100, tokens=1e9, length=1025), "learned positions for 1,024 tokens; --length 1025"),
    ],
)
def test_wishes_that_contradict_each_other(wishes: Wishes, message: str) -> None:
    with pytest.raises(BadInput) as raised:
        planned(shape("gpt2"), wishes)
    assert message in str(raised.value)


def test_a_size_needs_a_budget() -> None:
    with pytest.raises(BadInput, match="there is nothing to plan"):
        depth_for(4096, Wishes(H100), FIT)
    with pytest.raises(BadInput, match="--tokens wants a model"):
        depth_for(4096, Wishes(H100, tokens=1e9), FIT)


def test_names_of_devices() -> None:
    assert devices_of("h100") == (None, H100)
    assert devices_of("8xh100") == devices_of(" 8 x H100") == (8, H100)
    for text, message in (
        ("a100", "did you mean a100-40gb?"),
        ("h10", "did you mean h100?"),
        ("abacus", "there are h100, .* and this"),
        ("0xh100", "no device at all"),
        ("8h100", "did you mean 8xh100?"),
        ("1000001xh100", "more than 1,000,000 devices"),
        ("8x", "there is no kind of device 8x"),
        ("", "names no devices"),
    ):
        with pytest.raises(BadInput, match=message):
            devices_of(text)


def test_this_machine_is_measured() -> None:
    count, this = devices_of("2xthis")
    assert count == 2
    assert 1e9 < this.flops < 1e16
    assert this.memory > 1e8
    assert this.price is None


def test_the_table_of_devices_hangs_together() -> None:
    for kind in KINDS.values():
        assert kind.flops >= kind.flops32
        assert 0 < kind.mfu < 1
        assert kind.compute == (4 if kind.half == "float32" else 2)
    # https://www.nvidia.com/en-us/data-center/h100: 3.35 TB/s and 989 TFLOP/s: 295 operations a byte.
    assert H100.flops / H100.bandwidth == pytest.approx(295, abs=1)
