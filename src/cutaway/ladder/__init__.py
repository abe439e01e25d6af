"""The road to the transformer, one model a file."""

from cutaway.ladder.ngram import KneserNey

__all__ = ["KneserNey"]
