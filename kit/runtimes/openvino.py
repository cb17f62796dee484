"""OpenVINO on the CPU, and the conversion that feeds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kit.runtimes.decoding import TreeSession, session_of
from kit.runtimes.failures import cause, quietly
from kit.runtimes.fresh import check_decoding, check_forward
from kit.runtimes.openvino_session import DecoderSession
from kit.spec.checking import SpecError, Undefined, reason
from kit.spec.register_models import register_exporter, register_runtime

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from kit.compression.stored import Stored

PACKAGES = {"openvino": "kit[openvino]"}


def stored(path: Path, *, compressed: bool) -> Stored:
    """Returns what a model's matrices take (`kit.compression.openvino.stored_model`)."""
    from kit.compression.openvino import stored_model  # schemes load after the forms they act on

    return stored_model(path, compressed=compressed)


@register_exporter(source="module", target="openvino", version=1, stored=stored, packages=PACKAGES)
def to_openvino(model: nn.Module, inputs: Mapping[str, Tensor], output: Path) -> None:
    """Writes a module as a model of OpenVINO, of any batch and length.

    A language model of transformers all of whose layers are attention keeps its keys and values as
    the model's own state, and decodes. The fresh model is run on other batches and lengths than
    those of the example, and has to answer as the module does.

    Args:
        model: module in fp32.
        inputs: example inputs by name, [batch, length] or pixels, with batch and length above 1.
        output: the folder to write.

    Raises:
        Undefined: OpenVINO is not installed, or makes no such model of this module.
    """
    import copy

    import torch

    from kit.compression.openvino import save
    from kit.runtimes.openvino_decoder import convert

    module = copy.deepcopy(model).eval()
    decodes = isinstance(session_of(module), TreeSession)
    try:
        with quietly(), torch.no_grad():
            converted = (convert if decodes else _convert)(module, inputs)
    except Exception as error:  # whatever a step of the conversion, or the module itself, raises
        raise Undefined(f"OpenVINO cannot convert this model: {cause(error)}") from error
    save(converted, output)
    session: Any = openvino(output, torch.get_num_threads())
    if decodes:
        check_decoding(module, inputs["input_ids"], session)
    else:
        check_forward(module, inputs, session)


@register_runtime(form="openvino", version=2, packages=PACKAGES, exact={"kv_cache": "f32"})
def openvino(
    path: Path,
    threads: int,
    *,
    precision: Literal["f32", "bf16"] = "f32",
    kv_cache: Literal["f32", "f16", "u8"] = "f32",
) -> DecoderSession | Callable[[Mapping[str, Tensor]], np.ndarray]:
    """OpenVINO on the CPU, decoding by a cache of keys and values of its own.

    Args:
        path: the folder of its model.
        threads: of a call.
        precision: that it computes in; its own choice would be bf16 where the processor has that.
        kv_cache: what keys and values are held in: of 8 bits with a scale a token and head. There
            are 4 bits too, but a process ends when such a state is set, as forking does.

    Raises:
        SpecError: the model is broken.
    """
    import numpy as np
    import openvino as library

    from kit.compression.openvino import GRAPH

    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": precision,
        "KV_CACHE_PRECISION": kv_cache,
    }
    try:
        model = library.Core().read_model(path / GRAPH)
        compiled = library.compile_model(model, "CPU", settings)
    except Exception as error:  # its exceptions have no class in common
        raise SpecError(f"{path} is no model that OpenVINO runs: {reason(error)}") from error
    if model.get_variables():
        return DecoderSession(model, compiled, kv_cache)
    request = compiled.create_infer_request()
    names = [port.any_name for port in model.inputs]

    def forward(inputs: Mapping[str, Tensor]) -> np.ndarray:
        found = request.infer({name: inputs[name].numpy() for name in names})
        return np.array(found[0])  # a copy: the next call writes over it

    return forward


def _convert(module: nn.Module, inputs: Mapping[str, Tensor]) -> Any:
    """Returns a module as a model that goes forward, its inputs named."""
    import openvino as library

    from kit.architectures.preprocessing import free_dimensions

    converted = library.convert_model(module, example_input=dict(inputs))
    shapes = {}
    for port, (name, tensor) in zip(converted.inputs, inputs.items(), strict=True):
        port.get_tensor().set_names({name})
        free = free_dimensions(tensor)
        shapes[port] = [-1] * free + [*tensor.shape[free:]]
    converted.reshape(shapes)
    return converted
