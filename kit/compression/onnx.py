"""Compression of an exported ONNX graph, and what its weights take."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from kit.compression.stored import Stored, size_of
from kit.spec.checking import SpecError, reason
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

MULTIPLIES: Mapping[str, tuple[int, ...]] = {
    "MatMul": (1,),
    "Gemm": (1,),
    "Conv": (1,),
    "Einsum": (0, 1),
    "LSTM": (1, 2),
    "GRU": (1, 2),
    "RNN": (1, 2),
    "MatMulInteger": (1,),
    "ConvInteger": (1,),
    "DynamicQuantizeLSTM": (1, 2),
    "MatMulNBits": (1,),
}
"""Operations that multiply activations by weights, and which of their inputs those are."""

PICKS = frozenset({"Gather", "GatherND"})
KEEPS = PICKS | {"Cast", "DequantizeLinear", "Identity", "Reshape", "Transpose", "Unsqueeze"}
"""Operations that give numbers of their first input as they are, all or some of them."""


@register_scheme(form="onnx", version=1, tolerance=0.5)
def dynamic_int8(path: Path, output: Path, *, per_channel: bool = True) -> None:
    """Int8 weights and dynamic int8 activations, by ONNX Runtime's `quantize_dynamic`.

    Args:
        path: the ONNX file to read.
        output: the ONNX file to write.
        per_channel: one scale an output channel instead of one a tensor.

    Raises:
        SpecError: the graph is broken, reads files from outside its folder, or holds what the
            quantizer cannot handle.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _no_advice():
        try:
            quantize_dynamic(path, output, per_channel=per_channel, weight_type=QuantType.QInt8)
        except Exception as error:  # its exceptions have no class in common
            raise SpecError(
                f"{path.name} is no ONNX graph that quantize_dynamic can compress: {reason(error)}"
            ) from error


@register_scheme(
    form="onnx_decoder",
    version=1,
    tolerance=0.8,
    rounds_rows=True,
    aliases={"nbits_int8": {"bits": 8, "block": 128}, "nbits_int4": {"bits": 4, "block": 32}},
)
def matmul_nbits(
    path: Path,
    output: Path,
    *,
    bits: Literal[4, 8] = 8,
    block: Literal[16, 32, 64, 128, 256] = 32,
    accuracy: Annotated[int, Field(ge=0, le=4)] = 4,
) -> None:
    """Weights in a few bits, rounded to nearest, a scale a block, by ONNX Runtime's `MatMulNBits`.

    What the model builder of ONNX Runtime GenAI does for `-p int8` and `-p int4`; the table of
    embeddings is left as it is.

    Args:
        path: the ONNX file to read.
        output: the ONNX file to write; its weights go to the same name with `.data`.
        bits: of a weight.
        block: weights of a column that share a scale.
        accuracy: what activations are rounded to in the product: 4 is int8, 1 is fp32.

    Raises:
        SpecError: the graph is broken, or holds what the quantizer cannot handle.
    """
    with _no_advice():  # at its import too, which otherwise sets up the root logger
        from onnxruntime.quantization import matmul_nbits_quantizer as library

        library.logger.setLevel(logging.ERROR)  # it tells of each product
        try:
            quantizer = library.MatMulNBitsQuantizer(
                str(path), bits=bits, block_size=block, is_symmetric=True, accuracy_level=accuracy
            )
            quantizer.process()
            quantizer.model.save_model_to_file(str(output), use_external_data_format=True)
        except Exception as error:  # its exceptions have no class in common
            raise SpecError(
                f"{path.name} is no graph that MatMulNBits can compress: {reason(error)}"
            ) from error


@contextlib.contextmanager
def _no_advice() -> Iterator[None]:
    """Holds back what the quantizer writes to the root logger while the block lasts.

    It advises a pre-processing step that rewrites the graph, and the dynamo export needs none.
    What others log meanwhile passes, and so does everything afterwards.
    """
    root = logging.getLogger()

    def passes(record: logging.LogRecord) -> bool:
        return "quantization" not in Path(record.pathname).parts or record.levelno >= logging.ERROR

    silent = logging.NullHandler()  # `logging.warning` gives a root without handlers one for ever
    root.addFilter(passes)
    root.addHandler(silent)
    try:
        yield
    finally:
        root.removeHandler(silent)
        root.removeFilter(passes)


def stored_graph(graph: Path, *, compressed: bool) -> Stored:
    """Returns what the matrices of a graph take, scales and zero points included.

    An initializer is a matrix where an operation multiplies by it; one of two dimensions that is
    also looked up is an embedding, one of three that is looked up holds the experts of a mixture.
    Args:
        graph: the ONNX file.
        compressed: a scheme has made it, so that matrices in 16 bits and more were left.
    """
    import onnx

    loaded = onnx.load(str(graph), load_external_data=False).graph
    held = {tensor.name: tensor for tensor in loaded.initializer}
    made = {name: node for node in loaded.node for name in node.output}
    tables = {_origin(node.output[0], made) for node in loaded.node if node.op_type in PICKS}
    found = {
        _origin(node.input[place], made)
        for node in loaded.node
        for place in MULTIPLIES.get(node.op_type, ())
        if place < len(node.input)
    }
    first = {_origin(node.input[0], made) for node in loaded.node if node.op_type == "MatMul"}
    names = [
        name
        for name, tensor in held.items()
        if (len(tensor.dims) == 2 and name in found - tables)
        or (len(tensor.dims) > 2 and name in found | first & tables)
    ]
    counts = {name: prod(held[name].dims) for name in names}
    counts |= {  # packed: several weights a number, and the last block filled
        node.input[1]: prod(each.i for each in node.attribute if each.name in ("K", "N"))
        for node in loaded.node
        if node.op_type == "MatMulNBits"
    }
    bits = {name: _bits(name, held) / max(counts[name], 1) for name in names}
    total = sum(counts.values())
    mean = sum(bits[name] * counts[name] for name in names) / total if total else 0.0
    size = size_of(graph)
    left = {name: each for name, each in bits.items() if compressed and each >= 16}
    return Stored(size, size, mean, left)


def _origin(name: str, made: Mapping[str, NodeProto]) -> str:
    """Returns the value that a value's numbers come from."""
    while name in made and made[name].op_type in KEEPS:
        name = made[name].input[0]
    return name


def _bits(name: str, held: Mapping[str, TensorProto]) -> float:
    """Returns the bits of an initializer, with the scale and zero point that belong to it."""
    from onnx import TensorProto, helper

    base = re.sub(r"_(quantized|Q[248])$", "", name)
    ends = ("scale", "zero_point", "scales", "zero_points")
    parts = {name, *(f"{base}_{end}" for end in ends)} & held.keys()
    halves = (TensorProto.INT4, TensorProto.UINT4)
    total = 0.0
    for tensor in (held[part] for part in parts):
        kind = tensor.data_type
        width = 4 if kind in halves else 8 * helper.tensor_dtype_to_np_dtype(kind).itemsize
        total += width * prod(tensor.dims)
    return total
