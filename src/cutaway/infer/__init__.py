"""Running a model: one answer as a stream, many at once, or an engine for whoever asks."""

from cutaway.infer.beam import Beams
from cutaway.infer.completion import Completion
from cutaway.infer.contrastive import Contrast
from cutaway.infer.decoding import Decoding
from cutaway.infer.engine import Engine
from cutaway.infer.generate import Session, Step, generate_batch, stream
from cutaway.infer.handle import Handle
from cutaway.infer.language_model import LanguageModel, load, run_and_stage, stages_with_models
from cutaway.infer.reply import Tools, ToolStep, answer_batch, reply
from cutaway.infer.request import Busy, Closed, Ended, Interjection, Noted, PromptRead, Request, Written
from cutaway.infer.sampling import GREEDY, Sampling
from cutaway.infer.searching import Search, Searcher

__all__ = [
    "GREEDY",
    "Beams",
    "Busy",
    "Closed",
    "Completion",
    "Contrast",
    "Decoding",
    "Ended",
    "Engine",
    "Handle",
    "Interjection",
    "LanguageModel",
    "Noted",
    "PromptRead",
    "Request",
    "Sampling",
    "Search",
    "Searcher",
    "Session",
    "Step",
    "ToolStep",
    "Tools",
    "Written",
    "answer_batch",
    "generate_batch",
    "load",
    "reply",
    "run_and_stage",
    "stages_with_models",
    "stream",
]
