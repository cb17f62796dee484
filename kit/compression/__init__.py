"""Compression schemes: a module a family. Importing this package registers them."""

from kit.compression import caches, onnx, precision, rotation, rounding

__all__ = ["caches", "onnx", "precision", "rotation", "rounding"]
