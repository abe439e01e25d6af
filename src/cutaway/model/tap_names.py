"""The names that a model's tensors go by, found without running it on data, and the other names they have.

Ours are those of TransformerLens's HookedTransformer, and where it has none those of its bridge. The bridge's own
names of the same tensors are aliases.
"""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from cutaway.model.config import ModelConfig
from cutaway.model.taps import Change, Tap, Taps, Under
from cutaway.model.unfilled import unfilled
from cutaway.runs.errors import BadInput

BATCH, LENGTH = 2, 7
"""Of the input that shapes are told for."""

ATTENTION = {
    "hook_q": ("q.hook_out",),
    "hook_k": ("k.hook_out",),
    "hook_v": ("v.hook_out",),
    "hook_z": ("o.hook_in",),
    "hook_out": ("o.hook_out", "hook_hidden_states"),
    "q_norm.hook_out": ("hook_q_normed",),
    "k_norm.hook_out": ("hook_k_normed",),
}
ALIASES: dict[str, tuple[str, ...]] = {
    "hook_embed": ("embed.hook_out",),
    "hook_pos_embed": ("pos_embed.hook_out",),
    "hook_token_type_embed": ("token_type_embed.hook_out",),
    "unembed.hook_out": ("hook_unembed",),
    "hook_resid_pre": ("hook_in",),
    "hook_resid_post": ("hook_out",),
    "hook_attn_in": ("attn.hook_attn_in",),
    "hook_q_input": ("attn.hook_q_input",),
    "hook_k_input": ("attn.hook_k_input",),
    "hook_v_input": ("attn.hook_v_input",),
    **{f"attn.{ours}": tuple(f"attn.{name}" for name in theirs) for ours, theirs in ATTENTION.items()},
    **{f"cross_attn.{ours}": tuple(f"cross_attn.{name}" for name in theirs) for ours, theirs in ATTENTION.items()},
    # Where there is a gate it is what the activation reads, and `in` the other matrix.
    "mlp.hook_pre": ("mlp.gate.hook_out", "mlp.in.hook_out"),
    "mlp.hook_pre_linear": ("mlp.in.hook_out",),
    "mlp.hook_post": ("mlp.out.hook_in",),
    "mlp.hook_out": ("mlp.out.hook_out", "mlp.hook_post"),
    # A mixture of experts has no one tensor before and after an activation; there the bridge means its ends.
    "mlp.hook_in": ("mlp.hook_pre",),
    "mlp.hook_expert_weights": ("mlp.gate.hook_expert_weights",),
    "mlp.hook_expert_indices": ("mlp.gate.hook_expert_indices",),
}
"""Other names of the same tensor, by ours, both without the block they are in."""

ELSEWHERE = (
    (r"^ln_embed\.", "embed_ln."),
    (r"^ln_head\.", "ln_final."),
    (r"^encoder\.blocks\.(\d+)\.", r"encoder_blocks.\1."),
    (r"^encoder\.ln_final\.", "encoder_ln_final."),
)
DECODERS = (
    (r"^blocks\.(\d+)\.attn\.", r"decoder_blocks.\1.self_attn."),
    (r"^blocks\.(\d+)\.ln_cross\.", r"decoder_blocks.\1.ln2."),
    (r"^blocks\.(\d+)\.ln2\.", r"decoder_blocks.\1.ln3."),
    (r"^blocks\.(\d+)\.", r"decoder_blocks.\1."),
    (r"^ln_final\.", "decoder_ln_final."),
)
"""What the bridge calls whole parts of a model otherwise; the second are an encoder–decoder's."""


@dataclass(frozen=True)
class TapNames:
    """The names of one model's tensors, in the order in which a forward pass comes to them."""

    shapes: Mapping[str, tuple[int, ...]]
    """By our name, of 2 sequences of 7 tokens."""
    aliases: Mapping[str, str]
    """Our name by another."""

    def one(self, name: str) -> str:
        """Our name for it. Raises `BadInput` with the nearest name if no tensor of the model is called that."""
        if name in self.shapes:
            return name
        if name in self.aliases:
            return self.aliases[name]
        (near, *_) = difflib.get_close_matches(name, [*self.shapes, *self.aliases], n=1, cutoff=0)
        raise BadInput(f"no tensor of this model is called {name}; the nearest name is {near}")

    def all(self, wanted: str | Iterable[str]) -> list[str]:
        """Our names for a name or several; a `*` stands for any part of one. Raises `BadInput` if one fits nothing."""
        found: dict[str, None] = {}
        for name in [wanted] if isinstance(wanted, str) else wanted:
            if "*" in name:
                fits = re.compile(fnmatch.translate(name)).match
                # An alias that fits says nothing new where a name of ours does.
                some = [ours for ours in self.shapes if fits(ours)]
                some = some or [ours for alias, ours in self.aliases.items() if fits(alias)]
                if not some:
                    raise BadInput(f"no tensor of this model fits {name}; its first is {next(iter(self.shapes))}")
                found |= dict.fromkeys(some)
            else:
                found[self.one(name)] = None
        return list(found)


@lru_cache(maxsize=8)
def tap_names(config: ModelConfig) -> TapNames:
    """The names of a model of this shape, met on the meta device, where there are shapes and no numbers."""
    listener = Listener()
    model = unfilled(config, torch.float32)
    with torch.device("meta"):
        tokens = torch.zeros(BATCH, LENGTH, dtype=torch.long)
        model(tokens, tokens if config.kind == "encoder-decoder" else None, tap=listener)
    aliases: dict[str, str] = {}
    for ours in listener.shapes:
        place = re.match(r"(encoder\.)?(blocks\.\d+\.)?", ours)
        block = place[0] if place else ""
        others = [block + other for other in ALIASES.get(ours.removeprefix(block), ())]
        for alias in (ours, *(other for other in others if other not in listener.shapes)):
            aliases[alias] = ours
            for pattern, other in (*ELSEWHERE, *(DECODERS if model.encoder else ())):
                if re.match(pattern, alias):
                    aliases[re.sub(pattern, other, alias)] = ours
                    break
    return TapNames(listener.shapes, {alias: ours for alias, ours in aliases.items() if alias not in listener.shapes})


def attach(
    config: ModelConfig,
    forward: Mapping[str, Change | Iterable[Change]] | None = None,
    backward: Mapping[str, Change | Iterable[Change]] | None = None,
) -> Taps:
    """Taps for a model of this shape, by any of its tensors' names, or by patterns such as `blocks.*.attn.hook_z`.

    Raises `BadInput` for a name that no tensor of the model has.
    """
    names = tap_names(config)

    def by_name(changes: Mapping[str, Change | Iterable[Change]] | None) -> dict[str, list[Change]]:
        found: dict[str, list[Change]] = {}
        for wanted, some in (changes or {}).items():
            for name in names.all(wanted):
                found.setdefault(name, []).extend([some] if callable(some) else some)
        return found

    return Taps(by_name(forward), by_name(backward))


@dataclass(frozen=True)
class Listener(Tap):
    """Asks for every tensor, and writes down the names and shapes."""

    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])

    def __call__(self, name: str, tensor: Tensor) -> Tensor:
        """The tensor as it is."""
        self.shapes[name] = tuple(tensor.shape)
        return tensor

    def wants(self, name: str) -> bool:
        """Always."""
        return True

    def under(self, prefix: str) -> Tap:
        """This, for the names below `prefix`."""
        return Under(self, prefix)
