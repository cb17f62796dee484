"""ONNX Runtime on a decoder's graph, and the model builder of ONNX Runtime GenAI that makes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.runtimes.failures import cause, quietly
from kit.runtimes.fresh import check_decoding
from kit.runtimes.onnx import open_graph, stored
from kit.runtimes.onnx_session import INPUTS, KEPT, PAST, WINDOW, DecoderSession
from kit.spec.checking import Undefined, reason
from kit.spec.register_models import register_exporter, register_runtime

if TYPE_CHECKING:
    from onnx import NodeProto
    from torch import Tensor, nn

BUILDER = "onnxruntime_genai.models.builder"


@register_exporter(
    source="module",
    target="onnx_decoder",
    version=1,
    stored=stored,
    packages={"onnxruntime_genai": "onnxruntime-genai"},
)
def to_onnx_decoder(model: nn.Module, inputs: Mapping[str, Tensor], output: Path) -> None:
    """Writes a language model of transformers as a graph that reads and writes its own cache.

    The graph is what `onnxruntime_genai.models.builder` makes in fp32 for the CPU, with an input
    `logits_to_keep`, so that reading a prompt computes the logits of its last token alone. Weights
    lie beside it in one file. The fresh graph has to answer, and to decode, as the module does.

    Args:
        model: module in fp32, of a class that the builder knows.
        inputs: example inputs, of which the ids are tried.
        output: the file to write; its weights go to the same name with `.data`.

    Raises:
        Undefined: the builder does not take this module, or its graph answers otherwise.
    """
    import torch

    if not (hasattr(model, "generate") and hasattr(model, "save_pretrained")):
        raise Undefined(
            "the model builder of ONNX Runtime GenAI takes language models of transformers, and "
            f"this is a {type(model).__name__}"
        )
    with tempfile.TemporaryDirectory(dir=output.parent) as place:
        folder, built = Path(place) / "model", Path(place) / "built"
        save_for_builder(model, folder)
        _build(folder, built, output.name, type(model).__name__)
        for file in (output.name, f"{output.name}.data"):
            (built / file).rename(output.parent / file)
        told = json.loads((built / "genai_config.json").read_text(encoding="utf-8"))["model"]
    _keep_last(output, told["context_length"], told["decoder"]["head_size"])
    session = onnx_decoder(output, torch.get_num_threads())
    check_decoding(model.eval(), inputs["input_ids"], session)


@register_runtime(form="onnx_decoder", gives=("forward", "decode"), version=1)
def onnx_decoder(path: Path, threads: int) -> DecoderSession:
    """ONNX Runtime on the CPU, decoding by a cache of keys and values that it writes in place.

    Its operations are those of ONNX Runtime GenAI: grouped-query attention with rotary positions,
    and products of activations with weights in a few bits.

    Raises:
        SpecError: the graph is broken, or reads files from outside its folder.
    """
    return DecoderSession(open_graph(path, threads))


def save_for_builder(model: Any, folder: Path) -> None:
    """Writes a module, and beside it a tokenizer of one word: the builder insists on one."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast

    try:
        with quietly():
            model.save_pretrained(folder)
            words = Tokenizer(WordLevel({"word": 0}, unk_token="word"))
            fast: Any = PreTrainedTokenizerFast
            fast(tokenizer_object=words).save_pretrained(folder)
    except Exception as error:  # whatever a module with layers of other libraries raises
        raise Undefined(
            f"this {type(model).__name__} cannot be saved for the model builder: {cause(error)}"
        ) from error
    file = folder / "config.json"
    config = json.loads(file.read_text(encoding="utf-8"))
    config |= {f"{n}_token_id": config.get(f"{n}_token_id") or 0 for n in ("bos", "eos", "pad")}
    file.write_text(json.dumps(config), encoding="utf-8")


def _build(folder: Path, output: Path, name: str, what: str) -> None:
    """Runs the builder in a process of its own: it puts its folder before others in `sys.path`."""
    options = [f"filename={name}", "windowed_kv_cache=false"]
    places = ["-i", str(folder), "-o", str(output), "-c", str(folder.parent / "cache")]
    command = [sys.executable, "-m", BUILDER, *places, "-p", "fp32", "-e", "cpu"]
    command += ["--extra_options", *options]
    offline = os.environ | {"HF_HUB_OFFLINE": "1"}
    run = subprocess.run(command, env=offline, capture_output=True, text=True, check=False)
    if run.returncode or not (output / name).is_file():
        said = run.stderr.strip().rpartition("\n")[2] or f"it ended with code {run.returncode}"
        raise Undefined(
            f"the model builder of ONNX Runtime GenAI does not take a {what}: "
            f"{reason(RuntimeError(said))}"
        )


def _keep_last(path: Path, window: int, size: int) -> None:
    """Gives a graph the input `logits_to_keep`, before its last matrix, and notes its sizes."""
    import onnx
    from onnx import TensorProto, helper

    loaded = onnx.load(str(path), load_external_data=False)
    graph = loaded.graph
    last = _last_product(graph.node)
    whole, made = last.input[0], "last/hidden"
    numbers = {"end": [2**62], "axis": [1], "minus": [-1]}
    for name, value in numbers.items():
        tensor = helper.make_tensor(f"last/{name}", TensorProto.INT64, [1], value)
        graph.initializer.append(tensor)
    graph.input.append(helper.make_tensor_value_info(KEPT, TensorProto.INT64, [1]))
    given = [whole, "last/start", "last/end", "last/axis"]
    fresh = [
        helper.make_node("Mul", [KEPT, "last/minus"], ["last/start"], "last/Mul"),
        helper.make_node("Slice", given, [made], "last/Slice"),
    ]
    last.input[0] = made
    place = [*graph.node].index(last)
    for node in reversed(fresh):
        graph.node.insert(place, node)
    described = [each for each in graph.value_info if each.name in {*last.output}]
    for each in [*described, *(out for out in graph.output if out.name == "logits")]:
        each.type.tensor_type.shape.dim[1].Clear()
        each.type.tensor_type.shape.dim[1].dim_param = KEPT
    for each in graph.input:
        if each.name.startswith(PAST):
            each.type.tensor_type.shape.dim[3].dim_value = size
        elif each.name not in INPUTS:
            raise Undefined(f"its layers keep more than keys and values: {each.name}")
    loaded.metadata_props.add(key=WINDOW, value=str(window))
    onnx.save(loaded, str(path))


def _last_product(nodes: Any) -> NodeProto:
    """Returns the product with the output matrix."""
    made: dict[str, NodeProto] = {name: node for node in nodes for name in node.output}
    name = "logits"
    while name in made and made[name].op_type != "MatMul":
        name = made[name].input[0]
    if name not in made:
        raise Undefined("the builder's graph does not end in a product with the output matrix")
    return made[name]
