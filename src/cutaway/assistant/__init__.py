"""What an assistant is made of besides the model: so far, the calculator it may call."""

from cutaway.assistant.calculator import calculate

__all__ = ["calculate"]
