"""The parts of the page that show what was measured: targets, results by stage, examples."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cutaway.evals.examples import Asked, first_of_each
from cutaway.evals.findings import Findings
from cutaway.evals.intervals import wilson
from cutaway.evals.markup import NOTHING, row, said, section, table, with_note
from cutaway.evals.measures import STAGES, WITHOUT_REFUSALS, measure_of, written
from cutaway.evals.rows import ResultRow, grouped_rows
from cutaway.evals.strips import Mark, key, scale, strip
from cutaway.evals.targets import Check, Table, checks
from cutaway.runs.results import Result

_INKS = {"pretrain": "a", "sft": "b", "rl": "c"}
_SHORT = {"pretrain": "Pretrained", "sft": "Fine-tuned", "rl": "After RL"}
_OF_REFUSALS = (
    "facts",
    "false_refusals",
    "refused_fresh",
    "refused_recombined",
    "made_up_fresh",
    "made_up_recombined",
)


def targets(findings: Findings) -> str:
    """What must hold, and whether it does."""
    found = checks(findings.results)
    rows = [
        row([with_note(c.name, c.note), escape(written(c.value, c.unit)), escape(c.required), _verdict(c)])
        for c in found
    ]
    required = [check for check in found if check.kind != "goal"]
    notes = [
        f"{sum(check.passed for check in required)} of {len(required)} hold in this run.",
        "One run is one draw: the figures over several seeds say more.",
    ]
    return section("Targets", notes, table(["Requirement", "Measured", "Required", ""], rows))


def _verdict(check: Check) -> str:
    if check.kind == "goal":
        kind, word = ("held", "reached") if check.passed else ("wished", "not reached")
    else:
        kind, word = ("held", "holds") if check.passed else ("missed", "missed")
    return f'<span class="verdict {kind}">{word}</span>'


def stages(results: Table) -> str:
    """Every measure before and after each stage."""
    names = results.line
    rows: list[str] = []
    for group, members in grouped_rows(results):
        rows.append(row([f'<td colspan="{len(names) + 3}">{escape(group)}</td>'], "group"))
        rows += [_measure(member, names) for member in members]
    head = ["Asked", scale(), *(key(_SHORT.get(name, name), _INKS.get(name, "c")) for name in names), "Target"]
    notes = [
        "Questions, names, number pairs and texts that no stage of training has seen.",
        "Whiskers and small figures: 95% interval of the share, from the number of questions.",
        "An upright stroke is the target.",
        "Part of what pretraining reads is conversations, so it can answer some questions already.",
    ]
    return section("Before and after each stage", notes, table(head, rows))


def _measure(shown: ResultRow, names: Sequence[str]) -> str:
    marks = [
        Mark(_SHORT.get(name, name), result.value, result.n, _INKS.get(name, "c"))
        for name in names
        if (result := shown.by_stage.get(name)) and result.unit == "share"
    ]
    what = with_note(shown.measure.title, shown.note)
    # What is no share has no place between 0 and 100%: its words take the room.
    first = [f'<td colspan="2">{what}</td>']
    if marks:
        drawn = strip(marks, shown.measure.target)
        first = [f'<td class="asked-of">{what}</td>', f'<td class="strip-cell">{drawn}</td>']
    return row([*first, *(_value(shown.by_stage.get(name)) for name in names), escape(shown.target)])


def _value(result: Result | None) -> str:
    if result is None:
        return NOTHING
    text = written(result.value, result.unit)
    if result.unit != "share":
        return escape(text)
    low, high = wilson(result.value, result.n)
    return with_note(text, f"{low * 100:.0f}–{high * 100:.0f}")


def refusals(results: Table) -> str:
    """Fine-tuning with and without refusals side by side, where both were measured."""
    if WITHOUT_REFUSALS not in results.stages:
        return ""
    names = [name for name in (WITHOUT_REFUSALS, "sft", "rl") if name in results.stages]
    rows = [
        row(
            [
                with_note(measure_of(metric).title, measure_of(metric).note),
                *(_value(results.get(name, metric)) for name in names),
            ]
        )
        for metric in _OF_REFUSALS
        if any(results.get(name, metric) for name in names)
    ]
    heads = {WITHOUT_REFUSALS: "Not taught", "sft": "Taught", "rl": "After RL"}
    note = "The same fine-tuning with every refusal left out; pretraining has shown it a few, of strangers."
    return section("What refusals change", [note], table(["Asked", *(heads[name] for name in names)], rows))


def examples(findings: Findings) -> str:
    """The same questions to the model at each of its stages."""
    names = [name for name in STAGES if name in findings.outcomes and name != WITHOUT_REFUSALS]
    blocks = [_asked(one, names) for one in first_of_each(findings.outcomes, names)]
    notes = [
        "The first question of each kind, as it came: nothing was picked.",
        "All of them are in outcomes.jsonl, in each stage's folder.",
    ]
    return section("Asked and answered", notes, "".join(blocks))


def _asked(one: Asked, names: Sequence[str]) -> str:
    rows: list[str] = []
    for name in names:
        right = one.right(name)
        verdict = f'<span class="{"right" if right else "wrong"}">{"✓" if right else "✗"}</span>'
        reply = said(_cut(one.by_stage[name].reply, 320))
        rows.append(f"<dt>{escape(_SHORT.get(name, name))}</dt><dd>{reply} {verdict}</dd>")
    return f'<div class="asked"><p class="question">{said(_cut(one.question, 600))}</p><dl>{"".join(rows)}</dl></div>'


def _cut(text: str, most: int) -> str:
    text = text.strip() or "(nothing)"
    return text if len(text) <= most else text[:most].rstrip() + " …"
