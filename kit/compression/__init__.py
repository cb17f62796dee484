"""Compression schemes: a module a family. Importing this package registers them."""

from kit.compression import caches, onnx, openvino, precision, rotation, rounding

__all__ = ["caches", "onnx", "openvino", "precision", "rotation", "rounding"]
