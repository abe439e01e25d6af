"""What the report of a scaling run draws on, read out of its directory."""

from __future__ import annotations

from dataclasses import dataclass

from cutaway.evals.findings import Findings, gather
from cutaway.evals.numbers import short
from cutaway.runs.directory import RunDirectory
from cutaway.runs.results import Result
from cutaway.train.scaling_fit import Fitted, Run, fit
from cutaway.train.scaling_ladder import FinishedRun, read_runs
from cutaway.train.scaling_prediction import Outcome, Prediction

UNIT = "nats/token"


@dataclass(frozen=True)
class ScalingFindings:
    """A finished scaling run as its report sees it."""

    run: Findings
    """What it has in common with other runs: text, times, machine."""
    ladder: tuple[FinishedRun, ...]
    fitted: Fitted
    foretold: Prediction
    outcome: Outcome

    @property
    def sizes(self) -> dict[str, list[FinishedRun]]:
        """The ladder's runs by size, smallest first, each size's by tokens."""
        found: dict[str, list[FinishedRun]] = {}
        for run in sorted(self.ladder, key=lambda run: (run.parameters, run.tokens)):
            found.setdefault(run.name, []).append(run)
        return found

    @property
    def before(self) -> bool:
        """Whether the prediction was on record before the run began."""
        return self.foretold.made <= self.outcome.began

    @property
    def error(self) -> float:
        """How far the outcome lies from what was foretold, as a share of it."""
        return self.outcome.run.loss / self.foretold.loss - 1


def spread_without_embeddings(findings: ScalingFindings) -> float:
    """`Fitted.spread` where N counts as Kaplan et al. (2020) do, without embeddings."""
    runs = [Run(each.parameters - each.embeddings, each.tokens, each.loss) for each in findings.ladder]
    return fit(runs, samples=1).spread


def gather_scaling(run: RunDirectory) -> ScalingFindings:
    """Read a finished scaling run. The law is fitted again: the same runs and seed give the same one."""
    findings = gather(run)
    ladder = tuple(read_runs(run.stage("ladder")))
    fitted = fit([each.point for each in ladder], seed=findings.seed)
    return ScalingFindings(findings, ladder, fitted, Prediction.read(run.path), Outcome.read(run.stage("heldout")))


def results_of(findings: ScalingFindings) -> list[Result]:
    """The report's figures."""
    seed, foretold, run = findings.run.seed, findings.foretold, findings.outcome.run
    rows = [("ladder", f"loss/{each.name}/{short(each.tokens)}", each.loss, UNIT, each.n) for each in findings.ladder]
    rows += [
        ("fit", "foretold_loss", foretold.loss, UNIT, foretold.runs),
        ("fit", "foretold_loss_low", foretold.interval[0], UNIT, foretold.runs),
        ("fit", "foretold_loss_high", foretold.interval[1], UNIT, foretold.runs),
        ("heldout", "loss", run.loss, UNIT, run.n),
        ("heldout", "bits_per_byte", run.bits_per_byte, "bits/byte", run.n),
        ("heldout", "error_of_prediction", abs(findings.error), "share", 1),
    ]
    measured = [Result(*row, seed=seed, higher_is_better=False) for row in rows]
    holds = float(foretold.holds(run.loss) and findings.before)
    return [
        *measured,
        Result("heldout", "interval_holds", holds, "share", 1, seed, higher_is_better=True),
        *findings.run.results,
    ]


def law_in_words(findings: ScalingFindings) -> str:
    """The law as a formula."""
    law = findings.fitted.law
    return f"L(N, D) = {law.E:.3g} + {law.A:.3g} / N^{law.alpha:.3f} + {law.B:.3g} / D^{law.beta:.3f}"


def summary_of(findings: ScalingFindings) -> str:
    """What was foretold and what came of it, in three sentences."""
    foretold, run = findings.foretold, findings.outcome.run
    low, high = foretold.interval
    inside = "inside" if foretold.holds(run.loss) else "outside"
    side = "above" if findings.error > 0 else "below"
    when = "before it began" if findings.before else "after it had begun, so that it proves nothing"
    return (
        f"{len(findings.ladder)} runs of {len(findings.sizes)} sizes foretold {foretold.loss:.3f} nats a token, "
        f"between {low:.3f} and {high:.3f}, for {short(run.parameters)} parameters on {short(run.tokens)} tokens: "
        f"{foretold.times_largest:.1f} times the operations of the largest of them. This was written down {when}. "
        f"It came to {run.loss:.3f}, {abs(findings.error):.1%} {side}, {inside} the interval."
    )


def notes_on_fit(findings: ScalingFindings) -> list[str]:
    """What to keep in mind about the law."""
    fitted = findings.fitted
    other = spread_without_embeddings(findings)
    notes = [f"A run lies about {fitted.spread:.2%} from the law; {other:.2%} if N left out embeddings."]
    if fitted.loose:
        names = ", ".join(fitted.loose)
        notes.append(
            f"Hardly determined by these runs: {names}. Other values run through the same points; the losses that they "
            "foretell nearby agree far better than they do."
        )
    notes.append("An interval holds if the law goes on holding beyond the runs that it was fitted to.")
    return notes
