"""`cutaway plan`."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from cutaway.cli.amounts import amount_of
from cutaway.cli.help import with_example
from cutaway.cli.options import Json
from cutaway.cli.plan_tables import kinds_of_devices, tables_of
from cutaway.cli.shape import shape_of
from cutaway.runs import BadInput

if TYPE_CHECKING:
    from cutaway.model import ModelConfig
    from cutaway.train.planning import Plan, Wishes
    from cutaway.train.scaling_law import Fit

HELP = with_example(
    "cutaway plan gpt2-xl --tokens 33.6B --on 8xh100",
    """Foretell what a training run takes: operations, memory of each device, hours, cost and energy, and how the same
operations would best be shared between parameters and tokens. The model is a preset, a model, `--depth`, or what suits
a budget best: `--hours`, `--money` or `--flops`. Without anything, list the kinds of devices.""",
)


def add_to(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command("plan", help=HELP, short_help="Foretell what a training run takes.")(plan)


def plan(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL|PRESET", help="A run, a model directory, a .gguf file, or the name of a well-known model."
        ),
    ] = None,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, max=512, help="Plan the shape that this depth gives.")
    ] = None,
    vocab: Annotated[
        int | None, typer.Option("--vocab", metavar="N", min=2, help="Its vocabulary.", show_default="the tokenizer's")
    ] = None,
    tokens: Annotated[str | None, typer.Option("--tokens", metavar="N", help="Tokens to train on: 300B.")] = None,
    hours: Annotated[float | None, typer.Option("--hours", metavar="N", help="A budget in hours.")] = None,
    money: Annotated[str | None, typer.Option("--money", metavar="N", help="A budget in dollars.")] = None,
    flops: Annotated[str | None, typer.Option("--flops", metavar="N", help="A budget in operations: 5.76e23.")] = None,
    on: Annotated[
        str, typer.Option("--on", metavar="[NUMBERx]KIND", help="Devices: h100, 8xh100, this (measured now).")
    ] = "this",
    mfu: Annotated[
        float | None, typer.Option("--mfu", metavar="SHARE", help="Share of the devices' speed that is put to use.")
    ] = None,
    price: Annotated[float | None, typer.Option("--price", metavar="N", help="Dollars a device and hour.")] = None,
    watts: Annotated[float | None, typer.Option("--watts", metavar="N", help="Power of a device.")] = None,
    length: Annotated[
        int | None,
        typer.Option("--length", metavar="N", min=1, max=100_000_000, help="Tokens a row.", show_default="up to 2048"),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option("--rows", metavar="N", min=1, max=1_000_000, help="Rows at once on a device.", show_default="fit"),
    ] = None,
    recompute: Annotated[
        bool | None, typer.Option("--recompute/--keep", help="Work blocks out again on the way back, or keep them.")
    ] = None,
    shard: Annotated[
        bool | None, typer.Option("--shard/--replicate", help="Divide the weights among devices, or not.")
    ] = None,
    optimizer: Annotated[str, typer.Option("--optimizer", metavar="NAME", help="muon or adamw.")] = "muon",
    eager: Annotated[bool, typer.Option("--eager", help="Without torch.compile.")] = False,
    fit: Annotated[
        str | None,
        typer.Option("--fit", metavar="NAME|FILE", help="Scaling law: hoffmann-1, -2 or -3, besiroglu, or your .json."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print what a training run takes."""
    from cutaway.train.devices import THIS, devices_of
    from cutaway.train.planning import Wishes
    from cutaway.train.planning import plan as work_out
    from cutaway.train.scaling_law import FITS, USUAL, fit_of

    if on == THIS and not (model or depth or tokens or flops or hours or money):
        _list_kinds(as_json)
        return
    if model and depth:
        raise BadInput(f"{model} and --depth {depth} are two models; give one")
    if optimizer not in ("muon", "adamw"):
        raise BadInput(f"--optimizer {optimizer} is unknown; it is muon or adamw")
    for name, value in (("--hours", hours), ("--mfu", mfu), ("--price", price), ("--watts", watts)):
        if value is not None and not 1e-6 <= value < 1e18:
            raise BadInput(f"{name} {value:g} is no number from 1e-06 to below 1e+18")
    if mfu is not None and mfu > 1:
        raise BadInput(f"--mfu {mfu:g} is more than all; give a share such as 0.4")
    named = _named(model) if model else None
    law = fit_of(fit or USUAL)
    count, device = devices_of(on)
    told = {"mfu": mfu, "price": price, "watts": watts}
    device = dataclasses.replace(device, **{key: value for key, value in told.items() if value is not None})
    wishes = Wishes(
        device,
        count,
        tokens=amount_of(tokens, "--tokens") if tokens else None,
        flops=amount_of(flops, "--flops") if flops else None,
        hours=hours,
        money=amount_of(money.removeprefix("$"), "--money") if money else None,
        length=length,
        rows=rows,
        recompute=recompute,
        shard=shard,
        optimizer=optimizer,
        compiled=not eager,
    )
    title, about, config = named or _of_depth(depth, vocab, wishes, law)
    worked_out = work_out(config, wishes, law)
    laws = FITS if fit is None or fit in FITS else {**FITS, fit: law}
    if as_json:
        print(json.dumps({"name": title, "about": about} | _as_json(worked_out, laws), indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    console.print(Text.assemble((title, "bold"), f"  {about}" if about else ""), soft_wrap=True)
    for part in tables_of(worked_out, wishes, law, laws):
        console.print(part)


def _named(model: str) -> tuple[str, str, ModelConfig]:
    """A model's name, what it is, and its shape."""
    from cutaway.model import ModelConfig

    about, shape = shape_of(model)
    if not isinstance(shape, ModelConfig):
        raise BadInput(f"{model} reads pictures, not text; plans are for transformers")
    return model, about, shape


def _of_depth(depth: int | None, vocab: int | None, wishes: Wishes, law: Fit) -> tuple[str, str, ModelConfig]:
    """The same of the model that a depth gives, or the budget where no depth is given."""
    from cutaway.model import ModelConfig
    from cutaway.tokens import TokenizerSettings
    from cutaway.train.planning import depth_for

    size: int = vocab or TokenizerSettings().vocab_size
    chosen = depth or depth_for(size, wishes, law)
    # The context is free to choose: positions are turned, not learned.
    shape = ModelConfig.from_depth(chosen, size, context=max(512, wishes.length or 0))
    return f"depth {chosen}", "" if depth else f"the size that suits this budget best: {law.about}", shape


def _list_kinds(as_json: bool) -> None:
    from cutaway.train.devices import KINDS

    if as_json:
        print(json.dumps([dataclasses.asdict(kind) for kind in KINDS.values()], indent=2))
        return
    console = Console(highlight=False)
    for part in kinds_of_devices(KINDS.values()):
        console.print(part)


def _as_json(worked_out: Plan, laws: dict[str, Fit]) -> dict[str, Any]:
    from cutaway.train.scaling_law import LossLaw

    best: dict[str, Any] = {}
    for name, law in laws.items():
        split = law.best(worked_out.flops)
        best[name] = dataclasses.asdict(split)
        if isinstance(law, LossLaw):
            best[name]["loss"] = law.loss(split.parameters, split.tokens)
            best[name]["loss_of_plan"] = law.loss(worked_out.active, worked_out.tokens)
    memory = worked_out.memory
    return {
        "shape": dataclasses.asdict(worked_out.config),
        "parameters": worked_out.parameters,
        "active": worked_out.active,
        "tokens": worked_out.tokens,
        "flops": worked_out.flops,
        "device": dataclasses.asdict(worked_out.device),
        "devices": worked_out.count,
        "hours": worked_out.hours,
        "device_hours": worked_out.device_hours,
        "cost": worked_out.cost,
        "kilowatt_hours": worked_out.kilowatt_hours,
        "layout": dataclasses.asdict(worked_out.layout),
        "memory": dataclasses.asdict(memory) | {"peak": memory.peak, "at": memory.at},
        "fits": worked_out.fits,
        "remedies": [
            {"change": each.change, "devices": each.count, "peak": each.memory.peak} | dataclasses.asdict(each.layout)
            for each in worked_out.remedies
        ],
        "compute_optimal": best,
    }
