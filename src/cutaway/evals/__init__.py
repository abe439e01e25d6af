"""Measuring models: what they are asked, how answers are graded, and the reports drawn from the results.

What needs a model is in `cutaway.evals.run` (`evaluate`) and `cutaway.evals.baselines`; it is not imported here, so
that settings and reports do not wait for PyTorch.
"""

from cutaway.evals.report import write_report
from cutaway.evals.settings import EvalSettings
from cutaway.evals.spread import all_hold, spread, spread_table
from cutaway.evals.tasks import Suite, Task

__all__ = ["EvalSettings", "Suite", "Task", "all_hold", "spread", "spread_table", "write_report"]
