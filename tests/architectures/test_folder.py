from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from kit.architectures import folder as folders
from kit.architectures.folder import ModelFolder, locate
from kit.spec.checking import SpecError
from kit.spec.ref import Ref, content_hash, to_json
from kit.spec.spec import Run, Variant, from_json
from kit.store import digests


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "my model"
    folder.mkdir()
    (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    (folder / "model.safetensors").write_bytes(b"weights" * 1000)
    (folder / "tokenizer.json").write_text("{}")
    return folder


def test_a_model_is_what_its_files_hold_wherever_they_lie(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(model, copy)
    ours, theirs = (Variant(f"hf:{each}") for each in (model, copy))
    assert content_hash(ours) == content_hash(theirs)
    assert ours != theirs, "in one study they are two variants"
    assert str(copy) not in content_hash(theirs)
    for change in ("model.safetensors", "config.json", "tokenizer.json"):
        before = content_hash(ours)
        with (model / change).open("ab") as stream:
            stream.write(b" ")
        assert content_hash(ours) != before, change


def test_what_transformers_does_not_read_changes_nothing(model: Path) -> None:
    before = ModelFolder(model).content()
    (model / "trainer_state.json").write_text("{}")
    (model / "training_args.bin").write_bytes(b"args")
    (model / "optimizer.pt").write_bytes(b"state")
    (model / "pytorch_model.bin").write_bytes(b"an older copy of the weights")
    (model / "all_results.json").write_text("{}")
    assert ModelFolder(model).content() == before
    (model / "generation_config.json").write_text("{}")
    assert ModelFolder(model).content() != before


def test_a_file_is_hashed_again_only_where_it_changed(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []
    real = digests._hashed
    monkeypatch.setattr(digests, "_hashed", lambda file: (hashed.append(file.name), real(file))[1])
    ModelFolder(model).content()
    ModelFolder(model).content()
    assert sorted(hashed) == ["config.json", "model.safetensors", "tokenizer.json"]
    digests._kept_digest.cache_clear()  # as in another process
    ModelFolder(model).content()
    assert len(hashed) == 3
    about = (model / "config.json").stat()
    (model / "config.json").write_text('{"architectures": ["BertForSequenceClassificatioN"]}')
    os.utime(model / "config.json", ns=(about.st_atime_ns, about.st_mtime_ns + 1))
    ModelFolder(model).content()
    assert hashed[3:] == ["config.json"]


@pytest.mark.parametrize("blocks", [0, 1, 2, 3])
def test_the_hash_of_a_file_sees_every_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: int
) -> None:
    monkeypatch.setattr(digests, "BLOCK", 8)
    file = tmp_path / "weights"
    content = bytearray(range(8 * blocks + 3))
    file.write_bytes(content)
    seen = {digests._hashed(file)}
    for place in range(len(content)):
        content[place] ^= 1
        file.write_bytes(content)
        seen.add(digests._hashed(file))
        content[place] ^= 1
    assert len(seen) == len(content) + 1


def test_names_are_made_of_the_folder_and_never_of_a_path(model: Path) -> None:
    variant = Variant(f"hf:{model}", labels={"A": 0, "B": 1})
    assert variant.name == "my model"
    assert variant.replace(runtime="onnx").name == "my model onnx"
    named = Variant(f"hf:{model}", labels={"A": 0, "B": 1}, name="base")
    assert named.replace(runtime="onnx", schemes=["dynamic_int8"]).name == "base dynamic_int8 onnx"
    assert named.replace(runtime="onnx").replace(runtime="eager").name == "base"
    assert Variant("hf:org/name@v1").name == "org/name"
    assert Variant("hf:org/name", length=64).name == "org/name(length=64)"


def test_the_record_of_a_run_holds_place_and_content(model: Path) -> None:
    run = Run(Variant(f"hf:{model}"), Ref("cost"))
    source = to_json(run)["variant"]["architecture"]["args"]["source"]
    assert source == {"located": str(model), "content": ModelFolder(model).content()}
    again = from_json(json.loads(json.dumps(to_json(run))))
    assert (again, again.id) == (run, run.id)
    assert isinstance(again.variant.architecture.args["source"], ModelFolder)


def test_a_folder_that_is_not_there_can_be_named_and_is_told_when_it_is_read() -> None:
    assert Variant("hf:./nowhere").replace(runtime="onnx").name == "./nowhere onnx"
    assert ModelFolder("./nowhere").content() == ""
    with pytest.raises(FileNotFoundError, match="is no folder"):
        locate("./nowhere")


def test_a_window_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="length is 0"):
        Variant("hf:org/name", length=0)


def test_a_gguf_file_is_turned_into_a_folder_once(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def turned(gguf: Path, folder: Path) -> None:
        if gguf.read_bytes() == b"junk":
            raise ValueError("no magic")
        made.append(gguf)
        shutil.copytree(model, folder, dirs_exist_ok=True)

    monkeypatch.setattr(folders, "gguf_to_safetensors", turned)
    file, copy = tmp_path / "small.Q4_1.gguf", tmp_path / "same.gguf"
    file.write_bytes(b"weights")
    shutil.copy(file, copy)
    variant = Variant(f"hf:{file}")
    assert variant.name == "small.Q4_1"
    assert content_hash(variant) == content_hash(Variant(f"hf:{copy}"))
    assert not made, "naming it reads it and no more"
    assert locate(str(file)) == locate(str(copy)) and made == [file]
    assert (locate(str(file)) / "config.json").read_bytes() == (model / "config.json").read_bytes()
    copy.write_bytes(b"junk")
    assert content_hash(variant) != content_hash(Variant(f"hf:{copy}"))
    with pytest.raises(SpecError, match="same.gguf could not be read as GGUF: no magic"):
        locate(str(copy))
