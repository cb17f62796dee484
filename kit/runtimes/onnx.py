"""ONNX Runtime, and the export that feeds it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.registry import register_runtime
from kit.values import SpecError, reason

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

EXPORT_VERSION = 1
"""Raised when `export` makes another graph of the same model."""


@register_runtime(version=1)
def onnx(graph: Path, threads: int) -> Callable[[Mapping[str, Tensor]], np.ndarray]:
    """ONNX Runtime on the CPU, all graph optimizations on.

    Raises:
        SpecError: the graph is broken, or reads files from outside its folder.
    """
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    providers = ["CPUExecutionProvider"]
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=providers)
    except Exception as error:  # its exceptions have no class in common
        raise SpecError(f"{graph} is no ONNX graph that can run: {reason(error)}") from error
    names = [node.name for node in session.get_inputs()]

    def forward(inputs: Mapping[str, Tensor]) -> np.ndarray:
        outputs: list[Any] = session.run(None, {name: inputs[name].numpy() for name in names})
        return np.asarray(outputs[0])

    return forward


def export(model: nn.Module, inputs: Mapping[str, Tensor], path: Path) -> None:
    """Writes a module as an ONNX graph of any batch and length (torch's dynamo path).

    Args:
        model: module in fp32; its attention is set to the eager form for the export.
        inputs: example inputs by name, [batch, length] or pixels, with batch and length above 1.
        path: the file to write.
    """
    import copy

    import torch

    from kit.architectures.preprocessing import free_dimensions

    module = copy.deepcopy(model).eval()
    for part in module.modules():
        choose_attention = getattr(part, "set_attn_implementation", None)
        if callable(choose_attention) and getattr(part, "config", None) is not None:
            choose_attention("eager")
    names = [torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)]
    dimensions = {
        name: dict(enumerate(names[: free_dimensions(tensor)])) for name, tensor in inputs.items()
    }
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module,
            kwargs=dict(inputs),
            dynamo=True,
            dynamic_shapes=dimensions,
            verbose=False,
        )
    assert program is not None
    program.save(str(path))
