"""Running a model: one answer as a stream, or many at once."""

from cutaway.infer.generate import Session, Step, generate_batch, stream
from cutaway.infer.language_model import LanguageModel, load, run_and_stage, stages_with_models
from cutaway.infer.reply import Tools, ToolStep, answer_batch, reply
from cutaway.infer.sampling import GREEDY, Sampling

__all__ = [
    "GREEDY",
    "LanguageModel",
    "Sampling",
    "Session",
    "Step",
    "ToolStep",
    "Tools",
    "answer_batch",
    "generate_batch",
    "load",
    "reply",
    "run_and_stage",
    "stages_with_models",
    "stream",
]
