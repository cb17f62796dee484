"""Runtimes: what executes a model. Importing this package registers them."""

from kit.runtimes import compiled, eager, llama_cpp, onnx, onnx_decoder, openvino

__all__ = ["compiled", "eager", "llama_cpp", "onnx", "onnx_decoder", "openvino"]
