"""Compression of an exported ONNX graph."""

from __future__ import annotations

import logging
from pathlib import Path

from kit.registry import register_scheme
from kit.values import SpecError, reason


@register_scheme(stage="exported", version=1, tolerance=0.5)
def dynamic_int8(graph: Path, output: Path, *, per_channel: bool = True) -> None:
    """Int8 weights and dynamic int8 activations, by ONNX Runtime's `quantize_dynamic`.

    Args:
        graph: the ONNX file to read.
        output: the ONNX file to write.
        per_channel: one scale an output channel instead of one a tensor.

    Raises:
        SpecError: the graph is broken, or reads files from outside its folder.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It advises a pre-processing step that rewrites the graph; the dynamo export needs none.
    logging.getLogger().setLevel(logging.ERROR)
    try:
        quantize_dynamic(graph, output, per_channel=per_channel, weight_type=QuantType.QInt8)
    except Exception as error:  # its exceptions have no class in common
        raise SpecError(f"{graph} is no ONNX graph to compress: {reason(error)}") from error
