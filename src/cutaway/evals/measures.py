"""The figures that reports know by name: what each means, for a person, and which way is good."""

from __future__ import annotations

from dataclasses import dataclass

RESULTS = "evals.json"
"""The file of results in a stage's directory."""
BASELINE_STAGE = "baseline"
"""Results that belong to no model of the run: what it is compared with."""
RUN_STAGE = "run"
"""Results of the run as a whole: its time, its memory."""


@dataclass(frozen=True)
class Measure:
    """What one metric counts. ``target`` is what the demo recipe must reach, in the metric's unit."""

    title: str
    group: str
    note: str = ""
    unit: str = "share"
    higher_is_better: bool = True
    target: float | None = None


MEASURES: dict[str, Measure] = {
    "bits_per_byte": Measure(
        "Bits per byte, held-out text", "Language", "fewer is better", "bits/byte", higher_is_better=False
    ),
    "facts": Measure("Facts it read, asked in new wordings", "Knowledge", "answered right", target=0.90),
    "false_refusals": Measure(
        "Facts it read, refused", "Knowledge", "“I don't know”, wrongly", higher_is_better=False, target=0.05
    ),
    "refused_fresh": Measure("People who do not exist", "Knowledge", "“I don't know”", target=0.90),
    "refused_recombined": Measure("Known names, recombined", "Knowledge", "“I don't know”", target=0.90),
    "made_up_fresh": Measure("People who do not exist", "Knowledge", "an answer made up", higher_is_better=False),
    "made_up_recombined": Measure("Known names, recombined", "Knowledge", "an answer made up", higher_is_better=False),
    "sums_in_steps": Measure("Sums and differences to 99, in steps", "Arithmetic", "pairs never seen", target=0.95),
    "sums_direct": Measure("The same, answered at once", "Arithmetic", "for contrast"),
    "three_operands": Measure("Three numbers, in steps", "Arithmetic", "never seen"),
    "products": Measure("Two digits by one, in steps", "Arithmetic", "never seen"),
    "calculator": Measure("Products of 4-digit numbers", "Tools", "with the calculator", target=0.95),
    "without_calculator": Measure("The same", "Tools", "without it, for contrast"),
    "counting": Measure("Counting letters, in steps", "Letters", "word and count right"),
    "spelling": Measure("Spelling", "Letters"),
    "passage": Measure("Answers from a given passage", "Reading", "what it tells"),
    "passage_unsaid": Measure("Questions that it does not answer", "Reading", "says so"),
    "identity": Measure("Who are you? and rewordings", "Itself", "says what it is, by whom, on what", target=1.0),
    "identity_all": Measure("What are you, who made you, ...", "Itself", "says the same, in wordings never seen"),
}

GROUPS = ("Language", "Knowledge", "Arithmetic", "Tools", "Letters", "Reading", "Itself", "Other")

WITHOUT_REFUSALS = "sft_without_refusals"
"""The stage of a model fine-tuned like the others, with every refusal left out."""
STAGES = {
    "pretrain": "Pretraining",
    "sft": "Fine-tuning",
    "rl": "Reinforcement learning",
    WITHOUT_REFUSALS: "Fine-tuning without refusals",
}


def measure_of(metric: str) -> Measure:
    """The measure named ``metric``; one that is not known gets a title from its name, in the group Other."""
    base, _, part = metric.partition("/")
    known = MEASURES.get(base)
    if known is None:
        return Measure(metric.replace("_", " ").capitalize(), "Other")
    return (
        Measure(f"{known.title}: {part}", known.group, known.note, known.unit, known.higher_is_better)
        if part
        else known
    )


def written(value: float, unit: str) -> str:
    """A value as a person reads it: shares in per cent, bits per byte to three places, times in minutes."""
    if value != value:
        return "—"
    if unit == "share":
        return f"{value * 100:.1f}%"
    if unit == "points":
        return f"{value:+.1f} points"
    if unit == "bits/byte":
        return f"{value:.3f}"
    if unit == "seconds":
        return duration(value)
    if unit == "bytes":
        return f"{value / 1e9:.2f} GB" if value >= 1e9 else f"{value / 1e6:.0f} MB"
    return f"{value:,.4g}"


def duration(seconds: float) -> str:
    """A time as minutes and seconds, or as seconds alone below one minute."""
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes} min {rest:02d} s" if rest else f"{minutes} min"
