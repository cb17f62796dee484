"""Compression schemes: a module a family. Importing this package registers them."""

from kit.compression import onnx, precision, rounding

__all__ = ["onnx", "precision", "rounding"]
