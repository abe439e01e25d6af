"""What a training run takes before it is begun: operations, memory, devices, hours, money and energy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from cutaway.model.anatomy import anatomy_of
from cutaway.model.config import ModelConfig
from cutaway.model.flops import flops_of
from cutaway.runs import BadInput
from cutaway.train.devices import DeviceKind
from cutaway.train.memory import Layout, StepMemory, step_memory
from cutaway.train.scaling_law import Fit

USABLE = 0.9
"""The share of a device's memory that is counted on: libraries take some, and free memory lies in pieces."""
USUAL_LENGTH = 2048
"""Tokens a row where none is named, or the model's context if that is shorter."""
ENOUGH_TOKENS = 1 << 15
"""Tokens at once from which on more rows make a device no faster."""
MOST_DEVICES = 1 << 16
DEEPEST = 512


@dataclass(frozen=True)
class Wishes:
    """What is asked of a plan; None leaves it to the plan."""

    device: DeviceKind
    count: int | None = None
    """Devices."""
    tokens: float | None = None
    flops: float | None = None
    hours: float | None = None
    money: float | None = None
    length: int | None = None
    rows: int | None = None
    """Rows at once on each device."""
    recompute: bool | None = None
    shard: bool | None = None
    """Whether weights are divided among the devices."""
    optimizer: Literal["muon", "adamw"] = "muon"
    compiled: bool = True


@dataclass(frozen=True)
class Remedy:
    """A change that would make a step fit, and what it takes then."""

    change: str
    layout: Layout
    count: int
    memory: StepMemory


@dataclass(frozen=True)
class Plan:
    """A run, and what it takes."""

    config: ModelConfig
    parameters: int
    active: int
    """Parameters that a token goes through."""
    tokens: float
    flops: float
    """Operations in all: forward, and twice that backward."""
    device: DeviceKind
    count: int
    layout: Layout
    memory: StepMemory
    remedies: tuple[Remedy, ...]
    """What would make it fit where it does not."""

    @property
    def fits(self) -> bool:
        """Whether a step fits into a device's memory."""
        return fits(self.memory, self.device)

    @property
    def device_hours(self) -> float:
        """Hours of one device."""
        return self.flops * repeated(self.config, self.layout) / useful(self.device)

    @property
    def hours(self) -> float:
        """Hours from beginning to end."""
        return self.device_hours / self.count

    @property
    def cost(self) -> float | None:
        """Dollars, where the device has a price."""
        return None if self.device.price is None else self.device_hours * self.device.price

    @property
    def kilowatt_hours(self) -> float | None:
        """Energy of the devices at their rated power, where that is known."""
        return None if self.device.watts is None else self.device_hours * self.device.watts / 1000


def plan(config: ModelConfig, wishes: Wishes, fit: Fit) -> Plan:
    """Work out a run of a model of this shape.

    Its length is given in tokens, operations, hours or money; without any of these, it is as long as `fit` finds best
    for the size. Hours beside one of the others say how many devices it takes.

    Raises:
        BadInput: too much is given, or rows are longer than the model can read.
    """
    check(wishes)
    length = row_length(config, wishes)
    anatomy = anatomy_of(config)
    a_token = flops_a_token(config, length)
    flops = wishes.flops
    if wishes.tokens is not None:
        flops = wishes.tokens * a_token
    if flops is None and wishes.hours is None and wishes.money is None:
        flops = fit.tokens_for(anatomy.active) * a_token
    count, layout = arrange(config, length, wishes, flops)
    if flops is None:
        flops = budget(wishes, count) / repeated(config, layout)
    memory = step_memory(config, layout)
    return Plan(
        config,
        anatomy.parameters,
        anatomy.active,
        flops / a_token,
        flops,
        wishes.device,
        count,
        layout,
        memory,
        () if fits(memory, wishes.device) else tuple(remedies(config, layout, wishes, count)),
    )


def depth_for(vocab_size: int, wishes: Wishes, fit: Fit) -> int:
    """The depth whose model comes nearest to the size that `fit` finds best for a budget.

    Raises:
        BadInput: there is no budget, or too much is given.
    """
    check(wishes)
    if wishes.tokens is not None:
        raise BadInput("--tokens wants a model or --depth; a budget alone decides on both")
    flops = wishes.flops
    if flops is None:
        if wishes.hours is None and wishes.money is None:
            raise BadInput(
                "there is nothing to plan: name a model or --depth, or a budget: --hours, --money or --flops"
            )
        flops = budget(wishes, wishes.count or 1)
    best = fit.best(flops).parameters

    def off(depth: int) -> float:
        return abs(math.log(anatomy_of(ModelConfig.from_depth(depth, vocab_size)).parameters / best))

    return min(range(1, DEEPEST), key=off)


def check(wishes: Wishes) -> None:
    """Raise `BadInput` if wishes contradict each other."""
    lengths = {"--tokens": wishes.tokens, "--flops": wishes.flops, "--money": wishes.money}
    named = [name for name, value in lengths.items() if value is not None]
    if len(named) > 1:
        raise BadInput(f"{' and '.join(named)} each say how long the run is; give one of them")
    if named and wishes.hours is not None and wishes.count is not None:
        raise BadInput(
            f"{named[0]}, --hours and the number of devices decide each other; leave one out "
            f"(--on {wishes.device.name} without a number)"
        )
    if wishes.money is not None and wishes.device.price is None:
        raise BadInput(f"{wishes.device.name} has no price to spend --money on; give one an hour with --price")


def row_length(config: ModelConfig, wishes: Wishes) -> int:
    """Tokens a row. Raises `BadInput` if the model has no positions for so many."""
    length = wishes.length or min(config.context, USUAL_LENGTH)
    if config.positions == "learned" and length > config.context:
        raise BadInput(
            f"the model has learned positions for {config.context:,} tokens; --length {length} is beyond them"
        )
    return length


def flops_a_token(config: ModelConfig, length: int) -> float:
    """Operations of training on one token of a row: forward, and twice that backward.

    Of an encoder–decoder, for a token of the source and one of the target together.
    """
    return 3 * sum(each.forward for each in flops_of(anatomy_of(config), length))


def repeated(config: ModelConfig, layout: Layout) -> float:
    """How much more is worked out than would be if no block were worked out again, as a factor."""
    if not layout.recompute:
        return 1.0
    counted = flops_of(anatomy_of(config), layout.length)
    forward = sum(each.forward for each in counted)
    return 1 + sum(each.layers + each.attention for each in counted) / (3 * forward)


def useful(device: DeviceKind) -> float:
    """Operations of a training that a device does in an hour."""
    return 3600 * device.flops * device.mfu


def budget(wishes: Wishes, count: int) -> float:
    """Operations that the hours or the money are enough for."""
    if wishes.money is not None and wishes.device.price:
        return wishes.money / wishes.device.price * useful(wishes.device)
    return (wishes.hours or 0.0) * count * useful(wishes.device)


def fits(memory: StepMemory, device: DeviceKind) -> bool:
    """Whether a step fits, with something to spare."""
    return memory.peak <= USABLE * device.memory


def arrange(config: ModelConfig, length: int, wishes: Wishes, flops: float | None) -> tuple[int, Layout]:
    """How many devices, and how a step goes through each.

    Where no number is asked for, they are the fewest that the step fits on (1, 2, 4, 8 …), and as many more as it
    takes to be done within the hours.
    """
    if wishes.count is not None:
        return wishes.count, layout_on(config, length, wishes, wishes.count)
    if wishes.hours is not None and wishes.money is not None and wishes.device.price:
        count = math.floor(wishes.money / wishes.device.price / wishes.hours * (1 + 1e-9))
        if count < 1:
            raise BadInput(
                f"--money {wishes.money:g} does not pay for one {wishes.device.name} for {wishes.hours:g} hours"
            )
        return count, layout_on(config, length, wishes, count)
    count = fewest(config, length, wishes)
    layout = layout_on(config, length, wishes, count)
    if flops is not None and wishes.hours is not None:
        count = max(count, math.ceil(flops * repeated(config, layout) / useful(wishes.device) / wishes.hours))
        layout = layout_on(config, length, wishes, count)
    return count, layout


def fewest(config: ModelConfig, length: int, wishes: Wishes) -> int:
    """The fewest devices, a power of two, that a step fits on; 1 if it fits on no number."""
    count = 1
    while count <= MOST_DEVICES:
        if fits(step_memory(config, layout_on(config, length, wishes, count)), wishes.device):
            return count
        count *= 2
    return 1


def layout_on(config: ModelConfig, length: int, wishes: Wishes, count: int) -> Layout:
    """The first way through that fits, of those that are asked for, and with it the most rows at once.

    Keeping everything comes first; then dividing the weights; then working blocks out again, which takes longer. Where
    nothing fits, it is the smallest of those in which nothing is worked out again, unless that was asked for.
    """
    unfit: list[tuple[bool, float, Layout]] = []
    for layout in ways(length, wishes, count):
        memory = step_memory(config, layout)
        if fits(memory, wishes.device):
            return layout
        unfit.append((layout.recompute, memory.peak, layout))
    return min(unfit, key=lambda each: each[:2])[2]


def ways(length: int, wishes: Wishes, count: int) -> Iterator[Layout]:
    """The layouts that are asked for, the fastest first."""
    recomputing = (False, True) if wishes.recompute is None else (wishes.recompute,)
    dividing = (False, True) if wishes.shard is None else (wishes.shard,)
    for recompute in recomputing:
        for divided in dividing if count > 1 else (False,):
            for rows in row_numbers(length) if wishes.rows is None else (wishes.rows,):
                yield Layout(
                    rows,
                    length,
                    compute=wishes.device.compute,
                    compiled=wishes.compiled,
                    recompute=recompute,
                    shards=count if divided else 1,
                    accumulated=True,
                    optimizer=wishes.optimizer,
                )


def row_numbers(length: int) -> list[int]:
    """Numbers of rows at once, each half the one before, down to one."""
    most = max(1, ENOUGH_TOKENS // length).bit_length() - 1
    return [2**power for power in range(most, -1, -1)]


def remedies(config: ModelConfig, layout: Layout, wishes: Wishes, count: int) -> Iterator[Remedy]:
    """What would make a step fit, each change by itself; where none does, all that can be changed together."""
    single: list[tuple[str, Iterator[Layout]]] = [
        ("fewer rows at once", most_rows(config, layout, wishes.device)),
        ("blocks worked out again", iter([replace(layout, recompute=True)])),
        ("weights divided", (replace(layout, shards=n) for n in more(max(count, layout.shards)))),
        ("AdamW", iter([replace(layout, optimizer="adamw")])),
    ]
    found = False
    for change, layouts in single:
        for changed in layouts:
            memory = step_memory(config, changed)
            if fits(memory, wishes.device):
                yield Remedy(change, changed, max(count, changed.shards), memory)
                found = True
                break
    free = replace(wishes, rows=None, recompute=None, shard=None)
    for n in () if found else more(count):
        changed = layout_on(config, layout.length, free, n)
        memory = step_memory(config, changed)
        if fits(memory, wishes.device):
            yield Remedy("all together", changed, n, memory)
            return


def most_rows(config: ModelConfig, layout: Layout, device: DeviceKind) -> Iterator[Layout]:
    """The layout with as many rows at once as fit, fewer than it has; nothing if not even one does."""
    fitting, unfit = 0, layout.rows
    while unfit - fitting > 1:
        between = (fitting + unfit) // 2
        if fits(step_memory(config, replace(layout, rows=between)), device):
            fitting = between
        else:
            unfit = between
    if fitting:
        yield replace(layout, rows=fitting)


def more(count: int) -> Iterator[int]:
    """The devices there are, then twice as many and so on."""
    n = max(1, count)
    while n <= MOST_DEVICES:
        yield n
        n *= 2
