"""The tables of `cutaway plan`, at most 80 columns wide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cutaway.cli.amounts import dollars, energy, short, time
from cutaway.cli.plain import plain
from cutaway.cli.sizes import size

if TYPE_CHECKING:
    from cutaway.train.devices import DeviceKind
    from cutaway.train.memory import Layout
    from cutaway.train.planning import Plan, Remedy, Wishes
    from cutaway.train.scaling_law import Fit

TERA = 1e12
MONTH = 30 * 24
"""Hours."""


def tables_of(plan: Plan, wishes: Wishes, law: Fit, laws: Mapping[str, Fit]) -> Iterator[RenderableType]:
    """What is printed of a plan, of the wishes that it came from and of the fits that it is compared with."""
    yield from ("", _run(plan, wishes))
    yield from ("", _memory(plan))
    yield from _remedies(plan)
    if plan.config.kind == "decoder":
        yield from ("", _best(plan, law, laws))
    yield ""
    for line in _assumed(plan):
        yield Text(line, "dim")


def kinds_of_devices(kinds: Iterable[DeviceKind]) -> Iterator[RenderableType]:
    """The kinds of devices that can be named."""
    table = _table("kind", "16 bit", "float32", "memory", "bandwidth", "power", "an hour", "used")
    for kind in kinds:
        table.add_row(
            Text(kind.name, "bold"),
            f"{kind.flops / TERA:,.0f}",
            f"{kind.flops32 / TERA:,.0f}",
            size(kind.memory),
            "" if kind.bandwidth is None else f"{kind.bandwidth / TERA:.2f} TB/s",
            "" if kind.watts is None else f"{kind.watts:,.0f} W",
            "" if kind.price is None else f"${kind.price:.2f}",
            f"{kind.mfu:.0%}",
        )
    yield table
    yield Text(
        "\nSpeeds are TFLOP/s of dense matrix products; `used` is the share of them that a\n"
        "training is taken to put to use (--mfu). Prices are of 2025 and 2026 (--price).\n"
        "The machine at hand is `this`. A plan: cutaway plan gpt2 --on 8xh100",
        "dim",
    )


def _table(*headings: str) -> Table:
    """A table whose columns but the first are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    return table


def _run(plan: Plan, wishes: Wishes) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for justify in ("left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    device, a_token = plan.device, plan.flops / plan.tokens
    counted = f"{plan.parameters:,}"
    if plan.active != plan.parameters:
        counted += f"; {short(plan.active)} a token"
    rows: list[tuple[str, str, str]] = [
        ("parameters", short(plan.parameters), counted),
        ("tokens", short(plan.tokens), f"{short(plan.tokens / plan.active)} a parameter"),
        ("operations", short(plan.flops), f"{short(a_token)} a token, in rows of {plan.layout.length:,}"),
        ("devices", f"{plan.count:,}", f"{device.about}{_why(plan, wishes)}"),
        ("time", time(plan.hours), _device_hours(plan)),
    ]
    if plan.cost is not None:
        rows.append(("cost", dollars(plan.cost), f"${device.price:,.2f} a device and hour"))
    if plan.kilowatt_hours is not None:
        rows.append(("energy", energy(plan.kilowatt_hours), f"{device.watts:,.0f} W a device"))
    for name, amount, note in rows:
        table.add_row(Text(name), Text(amount, "bold"), Text(note, "dim"))
    return table


def _device_hours(plan: Plan) -> str:
    told = f"{short(plan.device_hours)} device hours" if plan.count > 1 else ""
    if plan.hours <= MONTH:
        return told
    enough = f"{math.ceil(plan.device_hours / MONTH):,} devices take a month"
    return f"{told}; {enough}" if told else enough


def _why(plan: Plan, wishes: Wishes) -> str:
    """Where the number of devices comes from."""
    if wishes.count is not None:
        return ""
    if wishes.hours is not None and (wishes.tokens or wishes.flops or wishes.money):
        return f": to be done in {time(wishes.hours)}" if wishes.money is None else ": what the money pays for"
    return ": the fewest that a step fits on" if plan.count > 1 else ""


def _memory(plan: Plan) -> Table:
    memory, layout = plan.memory, plan.layout
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("memory of a device", no_wrap=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    divided = f", divided by {layout.shards:,}" if layout.shards > 1 else ""
    moments = "Muon and AdamW, float32" if layout.optimizer == "muon" else "AdamW, float32"
    kept = f"{_rows(layout)}{'; inputs of blocks' if layout.recompute else ''}"
    rows = [
        ("weights", memory.weights, f"float32{divided}"),
        ("gradients", memory.gradients, f"float32{divided}"),
        ("the optimiser's moments", memory.optimizer, f"{moments}{divided}"),
        ("copies of weights", memory.copies, "gathered from the others" if layout.shards > 1 else "bfloat16"),
        ("kept for the way back", memory.kept, kept),
        ("logits and the loss", memory.logits, ""),
        ("the optimiser's work", memory.working, "while it updates the weights"),
    ]
    for name, count, note in rows:
        if count:
            table.add_row(name, size(count), Text(note, "dim"))
    table.add_row(
        Text("most at once", "bold"),
        Text(size(memory.peak), "bold" if plan.fits else "bold red"),
        Text(f"of {size(plan.device.memory)}, {memory.at}", "dim" if plan.fits else "red"),
    )
    return table


def _rows(layout: Layout) -> str:
    return f"{layout.rows:,} row{'s' * (layout.rows != 1)} of {layout.length:,} at once"


def _remedies(plan: Plan) -> Iterator[RenderableType]:
    if plan.fits:
        return
    yield ""
    if not plan.remedies:
        yield Text("It does not fit, and neither shorter steps nor more devices of this kind help:", "red")
        yield Text("so large a model has each matrix divided too. Hours are as if it fitted.")
        return
    yield Text("It does not fit (a tenth of the memory is left free). It would with", "red")
    for each in plan.remedies:
        yield Text(f"  {_change(each, plan)}: {size(each.memory.peak)}")
    yield Text("Hours, cost and energy are as if it fitted.", "dim")


def _change(remedy: Remedy, plan: Plan) -> str:
    layout = remedy.layout
    match remedy.change:
        case "fewer rows at once":
            return f"{_rows(layout)} (--rows {layout.rows})"
        case "blocks worked out again":
            return "blocks worked out again on the way back (--recompute)"
        case "weights divided":
            return (
                f"its weights divided among {layout.shards:,} devices (--on {remedy.count}x{plan.device.name} --shard)"
            )
        case "AdamW":
            return "AdamW, which needs no room to work (--optimizer adamw)"
        case _:
            ways = [_rows(layout)]
            ways += [f"weights divided among {layout.shards:,} devices"] if layout.shards > 1 else []
            ways += ["blocks worked out again"] if layout.recompute else []
            return ", ".join(ways)


def _best(plan: Plan, law: Fit, laws: Mapping[str, Fit]) -> Table:
    table = _table(f"{short(plan.flops)} operations at their best", "parameters", "tokens", "a parameter", "loss")
    for each in laws.values():
        split = each.best(plan.flops)
        table.add_row(
            plain(each.about),
            short(split.parameters),
            short(split.tokens),
            short(split.tokens / split.parameters),
            _loss(each, split.parameters, split.tokens),
        )
    table.add_row(
        f"this plan{' by ' + plain(law.about).split(':')[0].split(',')[0] if _loss(law, 1, 1) else ''}",
        short(plan.active),
        short(plan.tokens),
        short(plan.tokens / plan.active),
        _loss(law, plan.active, plan.tokens),
        style="bold",
    )
    return table


def _loss(law: Fit, parameters: float, tokens: float) -> str:
    from cutaway.train.scaling_law import LossLaw

    return f"{law.loss(parameters, tokens):.2f}" if isinstance(law, LossLaw) else ""


def _assumed(plan: Plan) -> Iterator[str]:
    device = plan.device
    yield (
        f"Assumed: {device.mfu:.0%} of {device.flops / TERA:,.4g} TFLOP/s in {device.half} are put to use (--mfu), "
        f"on any number of devices."
    )
    if device.half == "float16":
        yield f"Cutaway itself multiplies in bfloat16 or float32; here float32 does {device.flops32 / TERA:g} TFLOP/s."
    if plan.layout.recompute:
        yield "Working blocks out again takes time on top, which is counted."
    if plan.kilowatt_hours is not None:
        yield "Energy is that of the devices at their rated power, without host and cooling."
    if plan.cost is None or plan.kilowatt_hours is None:
        missing = [name for name, value in (("--price", device.price), ("--watts", device.watts)) if value is None]
        yield (
            f"With {' and '.join(missing)}: cost and energy." if len(missing) == 2 else f"With {missing[0]}: that too."
        )
    if plan.config.kind == "decoder":
        yield "Losses are in nats a token, on the papers' texts and tokens and not on yours."
    if plan.config.kind == "encoder-decoder":
        yield "A token stands for one of the source and one of the target."
