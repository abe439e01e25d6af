"""Learning merges in C++: the same ones as the `tokenizers` library, several times as fast."""

from cutaway.tokens.native.learning import NativeTrainer

__all__ = ["NativeTrainer"]
