"""Compression schemes: a module a family. Importing this package registers them."""

from kit.compression import onnx, precision, rotation, rounding, state

__all__ = ["onnx", "precision", "rotation", "rounding", "state"]
