"""The tables of `cutaway anatomy`, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cutaway.cli.sizes import size

if TYPE_CHECKING:
    from cutaway.model import ModelConfig
    from cutaway.model.anatomy import Anatomy, Matrices
    from cutaway.model.flops import Flops
    from cutaway.model.footprint import Cache

BAR = 30
"""Characters of the bar of a part that is the whole."""


def tables_of(counted: Anatomy, context: int, *, plain: bool = False) -> Iterator[RenderableType]:
    """What is printed of a model, for a text of `context` tokens; `plain` keeps to ASCII."""
    from cutaway.model.anatomy import LayeredNetwork
    from cutaway.model.flops import flops_of
    from cutaway.model.footprint import cache_of

    shape = counted.shape
    if not isinstance(shape, LayeredNetwork):
        yield Text(_in_words(shape), "dim")
    yield from ("", _matrices(counted, " x " if plain else " × "))
    yield from _notes(counted)
    yield from ("", _parts(counted, "#" if plain else "█"))
    yield from ("", _memory(counted))
    if cache := cache_of(shape, context):
        yield from ("", _cache(cache))
        yield from _cache_notes(counted, cache)
    for each in flops_of(counted, context):
        yield from ("", _operations(each, counted, context))
    yield Text("An operation is one multiplication or one addition.", "dim")
    if not isinstance(shape, LayeredNetwork) and shape.kind != "encoder-decoder":
        yield Text("Attention is averaged over the text; N is the parameters a token goes through.", "dim")


def _in_words(shape: ModelConfig) -> str:
    encoder = f"{shape.n_encoder_layers} + " if shape.n_encoder_layers else ""
    words = [
        shape.kind,
        f"{encoder}{shape.n_layers} layers",
        f"width {shape.d_model:,}",
        f"{shape.n_heads} heads of {shape.d_head}",
    ]
    if shape.n_kv_heads != shape.n_heads:
        words.append(f"{shape.n_kv_heads} for keys and values")
    if shape.sparsity and shape.local_layers:
        near = "a window" if shape.sparsity.kind == "window" else "blocks"
        words.append(f"{len(shape.local_layers)} layers with {near} of {shape.sparsity.width:,}")
    if shape.experts:
        words.append(f"{shape.experts.per_token} of {shape.experts.n} experts a token")
    return ", ".join([*words, f"vocabulary {shape.vocab_size:,}", f"context {shape.context:,}"])


def _table(*headings: str) -> Table:
    """A table whose columns but the first are numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    return table


def _matrices(counted: Anatomy, times: str) -> Table:
    table = _table("", "matrices", "each", "weights", "share")
    for row in counted.matrices:
        share = f"{row.weights / counted.listed:.1%}"
        table.add_row(row.label, f"{row.n:,}", _dimensions(row, times), f"{row.weights:,}", share)
    table.add_row("in the matrices", f"{counted.n_matrices:,}", "", f"{counted.listed:,}", "100.0%", style="bold")
    if counted.tied:
        table.add_row("tied unembedding", "-1", "", f"-{counted.tied:,}", "")
    for row in counted.tables:
        table.add_row(row.label, f"{row.n:,}", _dimensions(row, times), f"{row.weights:,}", "")
    for name, count in (("biases", counted.biases), ("norms", counted.norms)):
        if count:
            table.add_row(name, "", "", f"{count:,}", "")
    table.add_row("parameters", "", "", f"{counted.parameters:,}", "", style="bold")
    if counted.active != counted.parameters:
        table.add_row("active a token", "", "", f"{counted.active:,}", "", style="bold")
    return table


def _dimensions(row: Matrices, times: str) -> str:
    return times.join(f"{side:,}" for side in row.shape)


def _notes(counted: Anatomy) -> Iterator[Text]:
    if counted.tied:
        yield Text("The unembedding is the embedding: used twice, stored once.", "dim")
    if counted.active != counted.parameters:
        yield Text("A token goes through few of the experts; all of them are stored.", "dim")


def _parts(counted: Anatomy, block: str) -> Table:
    table = _table("of the parameters", "", "share")
    table.add_column("")
    for part, n in sorted(counted.by_part.items(), key=lambda item: -item[1]):
        share = n / counted.parameters
        table.add_row(part, f"{n:,}", f"{share:.1%}", Text(block * round(BAR * share), "cyan"))
    return table


HOW = {
    "float32": "4 bytes a weight",
    "bfloat16": "2 bytes; float16 is the same",
    "int8": "34 bytes for 32 (GGUF Q8_0)",
    "int4": "18 bytes for 32 (GGUF Q4_0)",
    "AdamW": "weights, gradients and two moments, float32",
    "Muon": "one moment less for the matrices in the blocks",
}


def _memory(counted: Anatomy) -> Table:
    from cutaway.model.footprint import PRECISIONS, training_bytes, weight_bytes

    table = _table("memory", "")
    table.add_column("")
    for name in PRECISIONS:
        table.add_row(f"weights, {name}", size(weight_bytes(counted, name)), Text(HOW[name], "dim"))
    for name, count in training_bytes(counted).items():
        table.add_row(f"training, {name}", size(count), Text(HOW[name], "dim"))
    return table


def _cache(cache: Cache) -> Table:
    from cutaway.model.footprint import CACHE_PRECISIONS

    table = _table("key-value cache", *CACHE_PRECISIONS)
    rows = [("a token", cache.per_token), (_tokens(cache.context), cache.held)]
    if cache.per_source_token:
        rows = [("a source token", cache.per_source_token), ("a target token", cache.per_token)]
        rows.append((f"{_tokens(cache.context)} of each", cache.held))
    for name, numbers in rows:
        table.add_row(name, *(size(numbers * each) for each in CACHE_PRECISIONS.values()))
    return table


def _cache_notes(counted: Anatomy, cache: Cache) -> Iterator[Text]:
    if cache.held < (cache.per_token + cache.per_source_token) * cache.context:
        yield Text("Layers with local attention keep only what may still be read.", "dim")


def _operations(flops: Flops, counted: Anatomy, context: int) -> Table:
    table = _table(f"operations, one {flops.of}", "forward", "backward", "together")
    rows: list[tuple[str, float, str]] = [("matrices of the layers", flops.layers, "")]
    if flops.attention:
        rows.append((f"attention, {_tokens(context)}", flops.attention, ""))
    if flops.unembedding:
        rows.append(("unembedding", flops.unembedding, ""))
    if len(rows) > 1:
        rows.append(("in all", flops.forward, "bold"))
    if flops.of == "token":
        rows.append(("about: 2N, 4N, 6N", 2 * counted.active, "dim"))
    for name, forward, style in rows:
        table.add_row(name, *(_amount(forward * times) for times in (1, 2, 3)), style=style)
    return table


def _tokens(n: int) -> str:
    return f"{n:,} token{'s' * (n != 1)}"


def _amount(n: float) -> str:
    """A number, a large one to three digits and in words: 25,920, 349 billion."""
    for unit, each in (("trillion", 1e12), ("billion", 1e9), ("million", 1e6)):
        if n >= 0.9995 * each:
            amount = n / each
            places = 2 if amount < 9.995 else 1 if amount < 99.95 else 0
            return f"{amount:,.{places}f} {unit}"
    return f"{n:,.0f}"
