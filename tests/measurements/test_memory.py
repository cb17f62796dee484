"""Bytes on disk, after loading and at the peak."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from helpers import KINDS, measure, restored, toy_variant

from kit.architectures.folder import weight_files
from kit.build.runner import GraphRunner, Runner
from kit.machine.workers import Worker
from kit.measurements import Memory
from kit.measurements import memory as module
from kit.measurements.interface import Bench, Raw
from kit.spec.checking import Undefined
from kit.spec.ref import Ref
from kit.spec.register_models import register_architecture
from kit.spec.spec import Run, Variant

PARAMETERS = 256 * 16 + (16 * 16 + 16) + (16 * 2 + 2)
LINEAR = 16 * 16 + 16 * 2


def quantities(raw: Raw) -> dict[str, float]:
    return dict(zip(raw.columns["quantity"], raw.columns["value"], strict=True))


def here(toys: Ref, **changes: Any) -> dict[str, float]:
    return quantities(measure(Runner(toy_variant(toys, **changes), 1), Memory(toys)))


def test_a_fresh_process_has_a_peak_above_what_stays(toys: Ref) -> None:
    with Worker(Bench, threads=1, timeout=60) as worker:
        raw = worker.call("measure", Run(toy_variant(toys), Memory(toys)))
    found = quantities(raw)
    assert raw.kind == "quantities"
    assert 0 < found["resident_bytes"] <= found["peak_bytes"]
    assert found["disk_bytes"] == found["weight_bytes"] == 4 * PARAMETERS
    assert found["bits_per_weight"] == 32
    assert raw.info["seconds"] > 0


def test_simulated_bits_count_in_the_weights_and_not_on_disk(toys: Ref) -> None:
    found = here(toys, schemes=["w4"])
    bits = 4 + 16 / 16  # a scale of 16 bits for a row of 16 weights
    assert found["bits_per_weight"] == bits
    assert found["disk_bytes"] == 4 * PARAMETERS
    assert found["weight_bytes"] == 4 * (PARAMETERS - LINEAR) + LINEAR * bits / 8


def test_a_graph_is_its_files(toys: Ref) -> None:
    runner = Runner(toy_variant(toys, runtime="onnx"), 1)
    found = quantities(measure(runner, Memory(toys)))
    assert isinstance(runner, GraphRunner)
    files = sum(path.stat().st_size for path in runner.graph.parent.glob("model.onnx*"))
    assert found["disk_bytes"] == found["weight_bytes"] == files > 4 * PARAMETERS
    assert found["bits_per_weight"] == 32


def test_a_graph_in_int8_counts_scales_and_zero_points(toys: Ref) -> None:
    found = here(toys, runtime="onnx", schemes=["dynamic_int8"])
    outputs = 16 + 2
    assert found["bits_per_weight"] == pytest.approx(8 + outputs * (32 + 8) / LINEAR)


def test_a_graph_of_simulated_weights_has_the_bits_of_the_scheme(toys: Ref) -> None:
    found = here(toys, runtime="onnx", schemes=["w4"])
    module = here(toys, schemes=["w4"])
    assert found["bits_per_weight"] == module["bits_per_weight"]
    assert found["weight_bytes"] == module["weight_bytes"] < found["disk_bytes"]


class Left(torch.nn.Module):
    """A linear layer and a matrix that no scheme knows the layout of."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = torch.nn.Embedding(256, width)
        self.layer = torch.nn.Linear(width, width)
        self.mixing = torch.nn.Parameter(torch.eye(width))

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.layer(self.embedding(input_ids) @ self.mixing)
        return hidden


def test_what_a_scheme_left_is_said(toys: Ref) -> None:
    with restored():
        register_architecture(kind="encoder")(left_encoder)
        variant = toy_variant(toys).replace(architecture=Ref("left_encoder"))
        raw = measure(Runner(variant, 1), Memory(toys))
        assert raw.info["notes"] == [module.EXCLUDED]
        variant = toy_variant(toys, schemes=["w4"]).replace(architecture=Ref("left_encoder"))
        raw = measure(Runner(variant, 1), Memory(toys))
    assert raw.info["notes"][1:] == ["not compressed, at 32 bits: encoder.mixing"]
    size, layers = 16 * 16, 16 * 16 + 16 * 2
    assert quantities(raw)["bits_per_weight"] == (layers * (4 + 1) + size * 32) / (layers + size)


def left_encoder(vocab_size: int) -> torch.nn.Module:
    return Left(16)


def save_classifier(folder: Path, dtype: torch.dtype, **options: Any) -> int:
    """Writes a BERT with a tokenizer; returns the size of its weight files."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    specials = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    vocabulary = {word: place for place, word in enumerate([*specials.values(), "[SEP]", *KINDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        intermediate_size=64,
        id2label={0: "0", 1: "1"},
        label2id={"0": 0, "1": 1},
        **size,
    )
    model = transformers.BertForSequenceClassification(config).to(dtype)
    folder.mkdir()
    model.save_pretrained(folder, **options)
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32, **specials}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return sum(file.stat().st_size for file in folder.glob("model*.safetensors"))


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (torch.float32, {}),
        (torch.float16, {}),
        (torch.bfloat16, {}),
        (torch.float16, {"max_shard_size": "20kB"}),
    ],
)
def test_a_checkpoint_takes_on_disk_what_its_files_take(
    toys: Ref, tmp_path: Path, dtype: torch.dtype, options: dict[str, Any]
) -> None:
    files = save_classifier(tmp_path / "saved", dtype, **options)
    (tmp_path / "saved" / "pytorch_model.bin").write_bytes(b"an older format")
    base = Variant(f"hf:{tmp_path / 'saved'}", name="base")
    found = quantities(measure(Runner(base, 1, toys), Memory(toys)))
    assert found["disk_bytes"] == files
    assert found["bits_per_weight"] == 32  # it is computed in fp32
    shards = (tmp_path / "saved").glob("model*.safetensors")
    assert weight_files(tmp_path / "saved") == sorted(shards)
    half = quantities(measure(Runner(base.replace(schemes=["fp16"]), 1, toys), Memory(toys)))
    assert half["disk_bytes"] == half["weight_bytes"] == found["weight_bytes"] / 2


def test_weights_in_older_formats_are_found(tmp_path: Path) -> None:
    assert weight_files(tmp_path) == []
    names = ["pytorch_model-1.bin", "pytorch_model-2.bin"]
    shards = {"weight_map": {"a": names[0], "b": names[1], "c": names[0]}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(shards))
    assert weight_files(tmp_path) == [tmp_path / name for name in names]
    (tmp_path / "pytorch_model.bin").touch()
    assert weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.fp16.safetensors").touch()  # a variant that nothing asks for
    assert weight_files(tmp_path) == [tmp_path / "pytorch_model.bin"]
    (tmp_path / "model.safetensors").touch()
    assert weight_files(tmp_path) == [tmp_path / "model.safetensors"]


def test_a_predictor_has_no_weights(toys: Ref) -> None:
    found = quantities(measure(Runner(Variant(Ref("toy_rule")), 1, toys), Memory(toys)))
    assert found["disk_bytes"] == found["weight_bytes"] == 0


def test_a_system_without_proc_has_no_number(
    toys: Ref, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "STATUS", tmp_path / "none")
    with pytest.raises(Undefined, match="memory is read from /proc, which this system does not"):
        here(toys)
