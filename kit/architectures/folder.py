"""The folder of a pretrained model: where it is, what it holds, and whether it may be read.

A model is identified by what transformers reads of its folder, never by the folder's path: two
folders with the same files are one model, a changed file makes another.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kit.assets import assets, gguf_to_safetensors
from kit.spec.checking import SpecError, read_object, reason, shown
from kit.spec.ref import Located, content_hash
from kit.store import built
from kit.store.digests import digest

READ = ("*.json", "*.safetensors", "*.txt", "*.model", "*.tiktoken", "*_model*.bin")
"""Files of a model: weights, configuration, tokenizer, adapter."""
NOT_READ = ("trainer_state.json", "*_results.json", "README.txt")
"""Of these what a training run leaves beside a model."""
TOKENIZER_FILES = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "tokenizer.model",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "tekken.json",
)
"""Any of which a saved tokenizer has."""
ADAPTER = "adapter_config.json"
GGUF = ".gguf"


class ModelFolder(Located):
    """A saved model's folder, a GGUF file, `organization/name[@revision]`, or a bundled model."""

    __slots__ = ()

    @property
    def short_name(self) -> str:
        """The folder's own name, or the model's id: no path."""
        folder = local(self)
        if folder is None:
            return self.rsplit("@", 1)[0]
        return folder.resolve().stem if folder.is_file() else folder.resolve().name

    def content(self) -> str:
        """Returns the hash of what transformers reads of the folder and of an adapter's base."""
        file = local(self)
        if file is not None and file.is_file():
            return content_hash({"gguf": digest(file)})
        try:
            folder = locate(self)
        except FileNotFoundError:
            return ""
        held = {file.name: digest(file) for file in files(folder)}
        if (folder / ADAPTER).is_file() and (base := adapter_base(folder)) != folder:
            held["base"] = ModelFolder(base).content()
        return content_hash(held)


def local(source: str) -> Path | None:
    """Returns the folder or GGUF file that a source names, None where it is neither here."""
    try:
        path = Path(source).expanduser()
        there = path.is_dir() or (path.suffix == GGUF and path.is_file())
        return path if source and there else None
    except (OSError, RuntimeError, ValueError):  # too long, an unknown user, a zero byte
        return None


def locate(source: str) -> Path:
    """Returns the folder of a pretrained model, fetched where it is an id of the hub or an asset.

    Raises:
        FileNotFoundError: no such folder, it holds no `config.json`, or the hub is not reached.
    """
    folder = local(source)
    if folder is not None and folder.is_file():
        return _unpacked(folder)
    if folder is not None:
        if not any((folder / name).is_file() for name in ("config.json", ADAPTER)):
            raise FileNotFoundError(
                f"{source} holds no config.json; expected a folder that save_pretrained wrote"
            )
        return folder
    if source in assets.language_models():
        return assets.path(source)
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise FileNotFoundError(
            f"{shown(source)} is no folder, nor an id of the form organization/name, nor one of "
            f"the kit's own ({', '.join(assets.language_models())}); expected a folder that "
            "save_pretrained wrote"
        )
    return _fetched(source)


def _unpacked(file: Path) -> Path:
    """Returns the folder that a GGUF file was turned into, once: it takes up to a minute.

    Raises:
        SpecError: it cannot be read, or is of an architecture that transformers does not read.
    """

    def make(folder: Path) -> None:
        print(f"reading {file.name}, once: up to a minute", flush=True)
        try:
            gguf_to_safetensors(file, folder)
        except Exception as error:  # whatever a library meets in a broken file
            raise SpecError(f"{file} could not be read as GGUF: {reason(error)}") from error

    return built.once({"gguf": digest(file), "format": 1}, make)


@functools.cache
def _fetched(source: str) -> Path:
    """Returns the hub's snapshot of an id, the same one for as long as this process lives."""
    from huggingface_hub import snapshot_download

    name, _, revision = source.partition("@")
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=[*READ]))
    except Exception as error:
        raise FileNotFoundError(
            f"{shown(source)} could not be had from the model hub ({type(error).__name__}). Save "
            "the model into a folder where the hub is reached, and give that: hf:./folder"
        ) from error


def files(folder: Path) -> list[Path]:
    """Returns what transformers may read of a folder; a pickle not where safetensors lie."""
    found = [
        file
        for file in sorted(folder.iterdir())
        if file.is_file()
        and any(file.match(pattern) for pattern in READ)
        and not any(file.match(pattern) for pattern in NOT_READ)
    ]
    weights = weight_files(folder)
    return [f for f in found if f.suffix not in (".safetensors", ".bin") or f in weights]


def weight_files(folder: Path) -> list[Path]:
    """Returns the files that transformers reads a folder's weights from, an adapter's too.

    Safetensors before pickles, one file before its shards: a folder may hold several formats.
    """
    found: list[Path] = []
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if (folder / name).is_file():
            found = [folder / name]
        elif index.is_file():
            shards = read_object(index).get("weight_map")
            names = sorted(set(shards.values())) if isinstance(shards, dict) else []
            found = [folder / shard for shard in names]
        if found:
            break
    adapters = (folder / f"adapter_model.{end}" for end in ("safetensors", "bin"))
    return found + [file for file in adapters if file.is_file()][:1]


def adapter_base(folder: Path) -> Path:
    """Returns the folder of the model that an adapter was trained for.

    It is this folder where the base lies beside the adapter, else what the adapter names: a path
    from here or from the adapter's folder, or an id of the hub.

    Raises:
        FileNotFoundError: it is not there.
        SpecError: the adapter's configuration is broken.
    """
    if (folder / "config.json").is_file():
        return folder
    name = read_object(folder / ADAPTER).get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise SpecError(f"{folder / ADAPTER}: base_model_name_or_path is {shown(name)}")
    return local(str(folder / name)) or locate(name)


def config_folder(folder: Path) -> Path:
    """Returns the folder that holds a model's `config.json`: of an adapter alone its base's.

    Raises:
        FileNotFoundError: an adapter's base is not there.
    """
    return folder if (folder / "config.json").is_file() else adapter_base(folder)


def tokenizer_folder(folder: Path) -> Path:
    """Returns the folder that holds a model's tokenizer: of an adapter without one its base's."""
    own = any((folder / name).is_file() for name in TOKENIZER_FILES)
    return folder if own else config_folder(folder)


def read_config(folder: Path) -> dict[str, Any]:
    """Returns a model's `config.json`.

    Raises:
        SpecError: it is no JSON object.
        FileNotFoundError: an adapter's base is not there.
    """
    return read_object(config_folder(folder) / "config.json")


def check_folder(folder: Path) -> None:
    """Refuses a model that asks for code, or for files outside its folder.

    Links out of the folder are refused too, other than those of the hub's cache to its own blobs.

    Raises:
        SpecError: names the file and what it asks for.
    """
    inside = folder.resolve()
    blobs = inside.parent.parent / "blobs"
    for file in sorted(folder.iterdir()):
        goal = file.resolve()
        if not goal.is_relative_to(inside) and goal.parent != blobs:
            raise SpecError(
                f"{file} is a link out of its folder; copy the file there, or name the folder that "
                "holds it"
            )
        if file.name.endswith(".index.json"):
            parts = read_object(file).get("weight_map")
            for part in parts.values() if isinstance(parts, dict) else [parts]:
                if not isinstance(part, str) or part in ("", "..") or Path(part).name != part:
                    raise SpecError(
                        f"{file}: {shown(part)} is no file of its folder; expected file names"
                    )
    for key, value in _entries(read_config(folder)):
        if "implementation" in key and isinstance(value, str) and "/" in value:
            raise SpecError(
                f"{folder / 'config.json'}: {key} is {shown(value)}, which is code on the model "
                "hub, and code that comes with a model is never run; take the entry out"
            )


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields the entries of a configuration and of those inside it."""
    for key, value in config.items():
        yield key, value
        if isinstance(value, dict):
            yield from _entries(value)
