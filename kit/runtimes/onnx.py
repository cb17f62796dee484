"""ONNX Runtime, and the export that feeds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.runtimes.failures import cause, quietly
from kit.runtimes.fresh import check_forward
from kit.spec.checking import SpecError, Undefined, reason
from kit.spec.register_models import register_exporter, register_runtime

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from kit.compression.stored import Stored


def stored(path: Path, *, compressed: bool) -> Stored:
    """Returns what a graph's matrices take (`kit.compression.onnx.stored_graph`)."""
    from kit.compression.onnx import stored_graph  # schemes load after the forms they act on

    return stored_graph(path, compressed=compressed)


@register_exporter(source="module", target="onnx", version=1, stored=stored)
def to_onnx(model: nn.Module, inputs: Mapping[str, Tensor], output: Path) -> None:
    """Writes a module as an ONNX graph of any batch and length (torch's dynamo path).

    The fresh graph is run on other batches and lengths than those of the example, and has to answer
    as the module does.

    Args:
        model: module in fp32; its attention and its experts are set to forms that can be exported.
        inputs: example inputs by name, [batch, length] or pixels, with batch and length above 1.
        output: the file to write.

    Raises:
        Undefined: there is no such graph of this module.
    """
    import copy

    import torch

    from kit.architectures.preprocessing import free_dimensions

    module = copy.deepcopy(model).eval()
    for part in module.modules():
        for kind, form in {"attn": "eager", "experts": "batched_mm"}.items():
            choose = getattr(part, f"set_{kind}_implementation", None)
            if callable(choose) and getattr(part, "config", None) is not None:
                choose(form)
    names = [torch.export.Dim("batch", min=1), torch.export.Dim("length", min=1)]
    dimensions = {
        name: dict(enumerate(names[: free_dimensions(tensor)])) for name, tensor in inputs.items()
    }
    try:
        with quietly(), torch.no_grad():
            program = torch.onnx.export(
                module,
                kwargs=dict(inputs),
                dynamo=True,
                dynamic_shapes=dimensions,
                verbose=False,
            )
    except Exception as error:  # whatever a step of the export, or the module itself, raises
        raise Undefined(f"torch.onnx cannot export this model: {cause(error)}") from error
    assert program is not None
    program.save(str(output))
    check_forward(module, inputs, onnx(output, torch.get_num_threads()))


@register_runtime(form="onnx", version=1)
def onnx(path: Path, threads: int) -> Callable[[Mapping[str, Tensor]], np.ndarray]:
    """ONNX Runtime on the CPU, all graph optimizations on.

    Raises:
        SpecError: the graph is broken, or reads files from outside its folder.
    """
    import numpy as np

    session = open_graph(path, threads)
    names = [node.name for node in session.get_inputs()]

    def forward(inputs: Mapping[str, Tensor]) -> np.ndarray:
        outputs: list[Any] = session.run(None, {name: inputs[name].numpy() for name in names})
        return np.asarray(outputs[0])

    return forward


def open_graph(path: Path, threads: int) -> Any:
    """Returns an `onnxruntime.InferenceSession`.

    Its threads spin within a call, as they do where it serves, and rest when the call ends: else
    they would burn 25 ms of CPU after each, in the other side's turn.

    Raises:
        SpecError: the graph is broken, or reads files from outside its folder.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.log_severity_level = 4  # what it says of an error, the exception says too
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions have no class in common
        raise SpecError(f"{path} is no ONNX graph that can run: {reason(error)}") from error
