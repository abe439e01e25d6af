"""The ground floor: run directories, recipes, the manifest, atomic writes. It knows nothing of the floors above."""

from cutaway.runs import atomic
from cutaway.runs.directory import RunDirectory
from cutaway.runs.errors import BadInput, CutawayError, Terminated
from cutaway.runs.manifest import Manifest, StageRecord
from cutaway.runs.metrics import MetricsLog
from cutaway.runs.progress import Progress, SilentProgress, Task
from cutaway.runs.recipe import Settings, load_recipe, to_toml
from cutaway.runs.results import Result, read_results, write_results

__all__ = [
    "BadInput",
    "CutawayError",
    "Manifest",
    "MetricsLog",
    "Progress",
    "Result",
    "RunDirectory",
    "Settings",
    "SilentProgress",
    "StageRecord",
    "Task",
    "Terminated",
    "atomic",
    "load_recipe",
    "read_results",
    "to_toml",
    "write_results",
]
