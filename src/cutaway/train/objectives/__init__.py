"""What a model is trained to do: where a step's batch comes from, and what its loss is."""

from cutaway.train.objectives.language import LanguageModelling, language_loss, select
from cutaway.train.objectives.objective import Batch, Feed, Objective

__all__ = ["Batch", "Feed", "LanguageModelling", "Objective", "language_loss", "select"]
