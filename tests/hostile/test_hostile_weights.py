"""Models from strangers: no code of theirs runs, and what is broken is told in a sentence."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from attacks import attempt, cases
from hypothesis import given
from hypothesis import strategies as st

from kit.architectures.model import make_model, shell
from kit.compression.onnx import dynamic_int8
from kit.runtimes.onnx import onnx
from kit.spec.checking import SpecError
from kit.spec.ref import Ref

WEIGHTS = "model.safetensors"
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(scope="module")
def good(world: Path) -> Path:
    """A classifier's folder that loads."""
    from tokenizers import Tokenizer, models
    from transformers import BertConfig, BertForSequenceClassification

    folder = world / "a/b/project/cache/good"
    config = BertConfig(
        vocab_size=16,  # the tokenizer adds special tokens
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    vocabulary = {"[UNK]": 0, "a": 1, "b": 2, "c": 3}
    Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text("{}")
    return folder


@pytest.fixture
def canary(world: Path) -> Path:
    """A file that code from a model would make; `world` would see it too."""
    return world / "a" / "canary"


@pytest.fixture
def model(good: Path) -> Path:
    """A copy of the good folder to break."""
    folder = good.with_name("model")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    return folder


def load(folder: Path) -> Any:
    """Uses everything of a model: weights, configuration, tokenizer."""
    ref = Ref(f"hf:{folder}")
    made = make_model(ref, None, seed=0)
    assert made.tokenizer is not None
    made.tokenizer.encode(["a b c"])
    assert made.tokenizer.pad_id >= 0
    known = shell(ref, None)
    return made, known


def test_the_good_model_loads(model: Path) -> None:
    assert load(model)[0].labels == ("LABEL_0", "LABEL_1")


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.canary}",)


def evil_zip(file: Path, canary: Path) -> None:
    torch.save({"classifier.weight": Evil(canary)}, file)


def evil_stream(file: Path, canary: Path) -> None:
    file.write_bytes(pickle.dumps(Evil(canary)))


def evil_old(file: Path, canary: Path) -> None:
    torch.save({"a": Evil(canary)}, file, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("write", [evil_zip, evil_stream, evil_old])
def test_a_pickle_that_runs_code_is_refused(
    write: Callable[[Path, Path], None], model: Path, canary: Path
) -> None:
    (model / WEIGHTS).unlink()
    write(model / "pytorch_model.bin", canary)
    with pytest.raises(SpecError, match="a pickle that holds more than weights"):
        load(model)
    assert not canary.exists()


def test_the_canary_sings(canary: Path) -> None:
    """What the tests above look for does happen where a pickle is read without care."""
    pickle.loads(pickle.dumps(Evil(canary)))
    assert canary.exists()
    canary.unlink()


def test_a_pickle_of_weights_alone_loads(model: Path) -> None:
    from safetensors.torch import load_file

    torch.save(load_file(model / WEIGHTS), model / "pytorch_model.bin")
    (model / WEIGHTS).unlink()
    assert load(model)


def test_an_index_that_names_a_pickle(model: Path, canary: Path) -> None:
    (model / WEIGHTS).unlink()
    evil_zip(model / "part.bin", canary)
    index = {"metadata": {}, "weight_map": {"classifier.weight": "part.bin"}}
    (model / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    assert attempt(lambda: load(model)) is None
    assert not canary.exists()


@pytest.mark.parametrize("part", ["../good/model.safetensors", "/etc/passwd", "a/b", "", "..", 3])
def test_an_index_that_leads_out(part: Any, model: Path) -> None:
    (model / WEIGHTS).unlink()
    index = {"metadata": {}, "weight_map": {"classifier.weight": part}}
    (model / f"{WEIGHTS}.index.json").write_text(json.dumps(index))
    with pytest.raises(SpecError, match="is no file of its folder"):
        load(model)


def tensor(begin: int, end: int, shape: list[int]) -> dict[str, Any]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}


HEADERS: dict[str, tuple[int | None, Any, int]] = {
    "100 GB of header": (10**11, {}, 0),
    "no header": (0, {}, 0),
    "beyond the file": (None, {"a": tensor(0, 8_000, [2_000])}, 8),
    "overflowing": (None, {"a": tensor(0, 8, [2**40, 2**40])}, 8),
    "other shape": (None, {"classifier.weight": tensor(0, 8, [2])}, 8),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_lying_header(kind: str, model: Path) -> None:
    size, header, data = HEADERS[kind]
    text = json.dumps(header).encode()
    start = struct.pack("<Q", len(text) if size is None else size)
    (model / WEIGHTS).write_bytes(start + text + b"\0" * data)
    assert attempt(lambda: load(model)) is None


@cases(10, 200)
@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=8), st.booleans())
def test_a_damaged_file(at: int, noise: bytes, cut: bool) -> None:
    good, folder = Path("cache/good"), Path("cache/damaged")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    data = bytearray((good / WEIGHTS).read_bytes())
    at %= len(data)
    data[at : at + len(noise)] = noise
    (folder / WEIGHTS).write_bytes(data[:at] if cut else data)
    attempt(lambda: load(folder))


def test_code_beside_a_known_class_is_not_run(model: Path, canary: Path) -> None:
    for kind in ("bert", "evilnet"):
        change(auto_map={"AutoConfig": "evil.C", "AutoModelForSequenceClassification": "evil.M"})(
            model
        )
        change(model_type=kind, trust_remote_code=True)(model)
        source = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
        (model / "evil.py").write_text(source)
        (model / "modeling_bert.py").write_text(source)
        assert (attempt(lambda: load(model)) is not None) == (kind == "bert")
        assert not canary.exists()


def change(**fields: Any) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | fields))

    return write


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data) and None  # type: ignore[func-returns-value]


def link(name: str, goal: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(goal)

    return write


BROKEN: dict[str, Callable[[Path], None]] = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights out": link(WEIGHTS, "../good/model.safetensors"),
    "tokenizer out": link("tokenizer.json", "/etc/passwd"),
    "configuration in a circle": link("config.json", "config.json"),
    "kernel of the hub": change(attn_implementation="kernels-community/flash-attn"),
    "kernel inside": change(text_config={"_attn_implementation": "evil/kernel:x"}),
    "cut JSON": text("config.json", "{"),
    "bytes": text("config.json", b"\xff\xfe"),
    "nested": text("config.json", "[" * 100_000),
    "text as a size": change(hidden_size="8"),
    "more layers": change(num_hidden_layers=9),
    "another class": change(architectures=["EvilForSomething"]),
    "unknown type": change(model_type="../../x"),
    "labels no numbers": change(id2label={"x": "y"}),
    "labels twice": change(id2label={"0": "a", "1": "a"}),
    "cut tokenizer": text("tokenizer.json", "{"),
    "no tokenizer": lambda folder: (folder / "tokenizer.json").unlink(),
    "settings a list": text("tokenizer_config.json", "[]"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_folder(kind: str, model: Path) -> None:
    BROKEN[kind](model)
    assert attempt(lambda: load(model), FileNotFoundError) is None


def graph(folder: Path, location: str) -> Path:
    """Writes an ONNX graph whose weights lie in another file."""
    from onnx import TensorProto, helper

    outside = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "16")):
        entry = outside.external_data.add()
        entry.key, entry.value = key, value
    ends = [helper.make_tensor_value_info(name, 1, [4]) for name in "xy"]
    nodes = [helper.make_node("Add", ["x", "w"], ["y"])]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], [outside])
    opset = [helper.make_opsetid("", 17)]
    path = folder / "graph.onnx"
    path.write_bytes(helper.make_model(made, opset_imports=opset, ir_version=9).SerializeToString())
    return path


@pytest.mark.parametrize("location", ["../secret", "{}", "/etc/passwd", "link", "none"])
def test_an_onnx_graph_that_reads_elsewhere(location: str, world: Path) -> None:
    folder = world / "a/b/project/cache/onnx"
    folder.mkdir(exist_ok=True)
    secret = folder.with_name("secret")
    secret.write_bytes(b"\0" * 16)
    (folder / "link").unlink(missing_ok=True)
    (folder / "link").symlink_to("../secret")
    path = graph(folder, location.format(secret))
    with pytest.raises(SpecError, match="is no ONNX graph"):
        onnx(path, 1)
    assert attempt(lambda: dynamic_int8(path, folder / "out.onnx") or True) is None
    (folder / "inside").write_bytes(b"\0" * 16)
    result = onnx(graph(folder, "inside"), 1)({"x": torch.ones(4)})
    assert result.tolist() == [1, 1, 1, 1]
