"""Kinds of devices to train on: how fast, how large, how hungry and how dear each is."""

from __future__ import annotations

import difflib
import os
import re
from dataclasses import dataclass
from typing import Literal

from cutaway.runs import BadInput

GB, TERA = 1e9, 1e12


@dataclass(frozen=True)
class DeviceKind:
    """One kind."""

    name: str
    about: str
    flops: float
    """Operations a second of dense matrix products with two bytes a number, at most."""
    half: Literal["bfloat16", "float16", "float32"]
    """In what numbers those are; float32 where smaller ones are no faster."""
    flops32: float
    """The same in float32."""
    memory: float
    """Bytes."""
    bandwidth: float | None
    """Bytes of that memory that are read or written a second, at most."""
    watts: float | None
    """What it is rated to draw."""
    price: float | None
    """Dollars an hour, rented."""
    mfu: float
    """Model FLOPs utilisation: the share of `flops` that a well-run training makes use of."""

    @property
    def compute(self) -> int:
        """Bytes of a number in matrix products."""
        return 4 if self.half == "float32" else 2


# Speeds, memory and power are of NVIDIA's data sheets, dense, not «with sparsity», and with sums in float32. Prices are
# lists of 2025 and 2026, per device, on demand, and change within weeks: 24 dollars an hour for 8 H100 and 14.32 for 8
# A100 80 GB are what nanochat's reports name; others are RunPod's (H200, B200, L4, RTX), Lambda's (A100 40 GB, V100)
# and Google's (T4). Utilisation is of published runs where there are any.
KINDS: dict[str, DeviceKind] = {
    kind.name: kind
    for kind in (
        # Llama 3 405B: 38 to 43% (Grattafiori et al. 2024, table 4). nanochat's d20: 48% by its own count, 44% by ours.
        # GPT-2 1.6B in llm.c: about 50% (its discussion 677).
        DeviceKind("h100", "NVIDIA H100 SXM", 989 * TERA, "bfloat16", 67 * TERA, 80 * GB, 3350 * GB, 700, 3.00, 0.42),
        # The H100's processor with more and faster memory.
        DeviceKind("h200", "NVIDIA H200 SXM", 989 * TERA, "bfloat16", 67 * TERA, 141 * GB, 4800 * GB, 700, 3.59, 0.42),
        # No whole run is published: taken to be used as the H100 is.
        DeviceKind(
            "b200", "NVIDIA B200 SXM", 2250 * TERA, "bfloat16", 75 * TERA, 180 * GB, 7700 * GB, 1000, 5.98, 0.42
        ),
        DeviceKind(
            "a100-40gb", "NVIDIA A100 40 GB", 312 * TERA, "bfloat16", 19.5 * TERA, 40 * GB, 1555 * GB, 400, 1.29, 0.45
        ),
        # Llama 65B: 380 tokens a second and device, 47% (Touvron et al. 2023, section 2.4).
        DeviceKind(
            "a100-80gb", "NVIDIA A100 80 GB", 312 * TERA, "bfloat16", 19.5 * TERA, 80 * GB, 2039 * GB, 400, 1.79, 0.45
        ),
        # GPT-3: 24.6 TFLOP/s, 20% (Patterson et al. 2021, table 4). Megatron-LM: 30% (Shoeybi et al. 2019, section 5).
        DeviceKind(
            "v100", "NVIDIA V100 SXM2 32 GB", 125 * TERA, "float16", 15.7 * TERA, 32 * GB, 900 * GB, 300, 0.55, 0.22
        ),
        # Of these four no whole run is published. One GPT-2 124M at 90 TFLOP/s on an RTX 4090 is (nanoGPT, issue 182):
        # 55%; small cards on a slow bus are taken to do less.
        DeviceKind("l4", "NVIDIA L4", 121 * TERA, "bfloat16", 30.3 * TERA, 24 * GB, 300 * GB, 72, 0.44, 0.35),
        DeviceKind("t4", "NVIDIA T4", 65 * TERA, "float16", 8.1 * TERA, 16 * GB, 320 * GB, 70, 0.35, 0.30),
        DeviceKind(
            "rtx4090", "NVIDIA RTX 4090", 165.2 * TERA, "bfloat16", 82.6 * TERA, 24 * GB, 1008 * GB, 450, 0.34, 0.45
        ),
        DeviceKind(
            "rtx3090", "NVIDIA RTX 3090", 71 * TERA, "bfloat16", 35.6 * TERA, 24 * GB, 936 * GB, 350, 0.22, 0.45
        ),
        # 40 GPU cores of 128 lanes at about 1.8 GHz; Apple names neither, nor a power, which is that of the charger.
        # Its GPU multiplies small numbers no faster than float32.
        DeviceKind(
            "m-series",
            "a laptop's Apple M4 Max",
            18.4 * TERA,
            "float32",
            18.4 * TERA,
            48 * GB,
            546 * GB,
            140,
            None,
            0.35,
        ),
    )
}
MOST_DEVICES = 1_000_000
THIS = "this"
"""The name of the machine at hand, which is measured."""
OWN_SHARE = 0.6
"""Utilisation of it: what `bench/train.py` shows of small models on a processor, of the product measured beside."""


def devices_of(text: str) -> tuple[int | None, DeviceKind]:
    """How many devices of which kind `8xh100` says; None where only a kind is named.

    Raises:
        BadInput: there is no such kind, or the number is not one.
    """
    found = re.fullmatch(r"(?:(\d+)\s*[x×*]\s*)?(\S+)", text.strip().lower())
    if not found:
        raise BadInput(f"{text!r} names no devices; write a kind, or a number and a kind such as 8xh100")
    count, name = found.groups()
    if count is not None and int(count) < 1:
        raise BadInput(f"{text!r} is no device at all; give at least one")
    if count is not None and int(count) > MOST_DEVICES:
        raise BadInput(f"{text!r} are more than {MOST_DEVICES:,} devices; give fewer")
    if name == THIS:
        return None if count is None else int(count), this_machine()
    if name not in KINDS:
        bare = name.lstrip("0123456789")
        if bare in KINDS:
            raise BadInput(f"there is no kind of device {name}; did you mean {name.removesuffix(bare)}x{bare}?")
        near = [kind for kind in KINDS if kind.startswith(name)] or difflib.get_close_matches(name, KINDS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(KINDS)} and {THIS}"
        raise BadInput(f"there is no kind of device {name}; {hint}")
    return None if count is None else int(count), KINDS[name]


def this_machine() -> DeviceKind:
    """The machine at hand: its products measured, in a second."""
    import torch

    from cutaway.train.machine import compute_dtype, device, matmul_flops

    dtype = compute_dtype()
    on_gpu = device().type == "cuda"
    memory = torch.cuda.get_device_properties(device()).total_memory if on_gpu else ram()
    return DeviceKind(
        THIS,
        torch.cuda.get_device_name(device()) if on_gpu else "this machine's processor",
        matmul_flops(dtype),
        "bfloat16" if dtype == torch.bfloat16 else "float32",
        matmul_flops(torch.float32),
        float(memory),
        None,
        None,
        None,
        OWN_SHARE,
    )


def ram() -> int:
    """Bytes of this machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
