"""A decoder's step of our own in C++: weights in four precisions, keys and values straight from the engine's pages."""

from cutaway.infer.native.build import library
from cutaway.infer.native.runner import NativeRunner, Precision, native_or_torch, unsupported

__all__ = ["NativeRunner", "Precision", "library", "native_or_torch", "unsupported"]
