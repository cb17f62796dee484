"""Compression of a model of OpenVINO, and what its weights take."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from kit.compression.stored import Stored, size_of
from kit.spec.checking import SpecError, reason
from kit.spec.register_models import register_scheme

if TYPE_CHECKING:
    from openvino import Model, Node

GRAPH = "model.xml"
"""The file of a model's folder that names the others."""
MULTIPLIES = frozenset({"MatMul", "Convolution", "GroupConvolution", "LSTMSequence", "GRUSequence"})
"""Operations that multiply activations by weights."""
UNPACKS = {"Convert": 1, "Multiply": 2, "Subtract": 2, "Reshape": 1, "Transpose": 1, "Unsqueeze": 1}
"""Operations that make weights of what is held, and how many of their inputs hold it."""


@register_scheme(
    form="openvino",
    version=1,
    tolerance=0.8,
    rounds_rows=True,
    packages={"nncf": "kit[openvino]"},
    aliases={"nncf_int8": {"bits": 8}, "nncf_int4": {"bits": 4}},
)
def nncf_weights(
    path: Path,
    output: Path,
    *,
    bits: Literal[4, 8] = 8,
    group: Annotated[int, Field(ge=8)] = 64,
    symmetric: bool = False,
) -> None:
    """Weights in a few bits, rounded to nearest, by NNCF's `compress_weights`.

    Of 8 bits with a scale a row, of 4 bits with a scale a group; a table of embeddings, and the
    last layer, are held in 8 bits either way.

    Args:
        path: the folder to read.
        output: the folder to write.
        bits: of a weight.
        group: weights of a row that share a scale; means nothing to 8 bits.
        symmetric: without zero points.

    Raises:
        SpecError: the model is broken, or has rows that the groups do not divide.
    """
    import nncf
    import openvino

    logging.getLogger("nncf").setLevel(logging.ERROR)  # it tells of each kind of layer
    kind = nncf.CompressWeightsMode[f"INT{bits}_{'SYM' if symmetric else 'ASYM'}"]
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it draws tables and bars of progress
            model = openvino.Core().read_model(path / GRAPH)
            grouped = {"group_size": group} if bits < 8 else {}
            save(nncf.compress_weights(model, mode=kind, **grouped), output)
    except Exception as error:  # its exceptions have no class in common
        raise SpecError(
            f"{path.name} is no model that NNCF can compress: {reason(error)}"
        ) from error


def save(model: Model, output: Path) -> None:
    """Writes a model as a folder, in the precisions that it has."""
    import openvino

    output.mkdir()
    openvino.save_model(model, output / GRAPH, compress_to_fp16=False)


def stored_model(path: Path, *, compressed: bool) -> Stored:
    """Returns what the matrices of a model take, scales and zero points included.

    A constant is a matrix where an operation multiplies by it and none looks it up.

    Args:
        path: the folder.
        compressed: a scheme has made it, so that matrices in 16 bits and more were left.
    """
    import openvino

    operations = openvino.Core().read_model(path / GRAPH).get_ops()
    looked_up = {
        each.get_friendly_name()
        for node in operations
        if node.get_type_name() == "Gather"
        for each in _constants(node.input_value(0).get_node())
    }
    sizes: dict[str, tuple[int, int]] = {}  # weights of a matrix, and the bits they take
    for node in (each for each in operations if each.get_type_name() in MULTIPLIES):
        for place in range(node.get_input_size()):
            held = [*_constants(node.input_value(place).get_node())]
            largest = max(held, key=_count, default=None)
            if largest is None or len(largest.get_output_shape(0)) < 2:
                continue
            if largest.get_friendly_name() not in looked_up:
                bits = sum(_count(each) * each.get_element_type().bitwidth for each in held)
                sizes[largest.get_friendly_name()] = _count(largest), bits
    total = sum(count for count, _ in sizes.values())
    mean = sum(bits for _, bits in sizes.values()) / total if total else 0.0
    left = {name: bits / count for name, (count, bits) in sizes.items() if bits >= 16 * count}
    size = size_of(path)
    return Stored(size, size, mean, left if compressed else {})


def _constants(node: Node) -> Iterator[Node]:
    """Yields what a value is unpacked from; nothing where an activation is among it."""
    kind: str = node.get_type_name()
    if kind == "Constant":
        yield node
    elif kind in UNPACKS:
        inputs = node.input_values()[: UNPACKS[kind]]
        parts = [[*_constants(each.get_node())] for each in inputs]
        if all(parts):
            yield from (constant for part in parts for constant in part)


def _count(node: Any) -> int:
    from math import prod

    return prod(node.get_output_shape(0))
