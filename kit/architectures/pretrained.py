"""Models that were trained elsewhere: a local folder, or an id of the model hub.

The kind is read from `config.json`. Code that comes with a model is never run, and weights are
read from safetensors or with `weights_only=True`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.registry import register_architecture
from kit.spec import SpecError
from kit.values import read_object, reason, shown

if TYPE_CHECKING:
    from torch import nn

ENDINGS = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForSequenceClassification": "classifier",
}
"""What a model class does, by the end of its name in `config.json`."""


@register_architecture(kind="pretrained", version=1)
def pretrained(
    *, source: str, revision: str | None = None, labels: Mapping[str, int] | None = None
) -> nn.Module:
    """A saved causal language model or sequence classifier; `hf:SOURCE` is short for it.

    Args:
        source: a folder that `save_pretrained` wrote, or `organization/name` on the model hub.
        revision: branch, tag or commit on the hub.
        labels: the classifier's label names and the task's label each stands for.

    Raises:
        FileNotFoundError: no such folder, or the hub is not reached.
        SpecError: neither a causal language model nor a sequence classifier, weights missing or
            broken, or a folder that asks for code or files from outside it.
    """
    import pickle

    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    del labels  # they belong to the task's head, which `make_model` puts on
    folder = locate(source, revision)
    kind = kind_of(source, revision)
    loader: Any = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    check_folder(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats; what matters is raised
            module, loaded = loader.from_pretrained(
                folder,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except pickle.UnpicklingError as error:
        raise SpecError(
            f"{source}: its weights are a pickle that holds more than weights, and reading it "
            "could run code; save the model anew with save_pretrained, as safetensors"
        ) from error
    except Exception as error:  # whatever a library meets in a broken folder
        raise SpecError(
            f"{source} could not be loaded: {reason(error)}; "
            "expected a folder that save_pretrained wrote"
        ) from error
    if loaded["missing_keys"]:
        missing = sorted(loaded["missing_keys"])
        raise SpecError(
            f"{source} lacks {len(missing)} weights that its config.json asks for, such as "
            f"{missing[0]}; expected the folder of a finished model"
        )
    if kind == "causal":
        from kit.architectures.causal import with_state_bytes

        module.config.use_cache = False
        module = with_state_bytes(module)
    model: nn.Module = module
    return model


def locate(source: str, revision: str | None = None) -> Path:
    """Returns the folder of a pretrained model, fetched from the hub where it is an id.

    Raises:
        FileNotFoundError: no such folder, it holds no `config.json`, or the hub is not reached.
    """
    try:
        folder = Path(source).expanduser()
        there = bool(source) and folder.is_dir()
    except (OSError, RuntimeError, ValueError):  # too long, an unknown user, a zero byte
        there = False
    if there:
        if not (folder / "config.json").is_file():
            raise FileNotFoundError(
                f"{source} holds no config.json; expected a folder that save_pretrained wrote"
            )
        return folder
    if source.startswith((".", "/", "~")) or source.count("/") != 1:
        raise FileNotFoundError(
            f"{shown(source)} is no folder, nor an id of the form organization/name; expected a "
            "folder that save_pretrained wrote"
        )
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.txt", "*.model", "pytorch_model*.bin"]
    try:
        return Path(snapshot_download(source, revision=revision, allow_patterns=wanted))
    except Exception as error:
        raise FileNotFoundError(
            f"{shown(source)} could not be had from the model hub ({type(error).__name__}). Save "
            "the model into a folder where the hub is reached, and give that: hf:./folder"
        ) from error


def kind_of(source: str, revision: str | None = None) -> str:
    """Returns `causal` or `classifier`, by the model's configuration alone.

    Raises:
        FileNotFoundError: as `locate`.
        SpecError: it is something else.
    """
    names = read_config(locate(source, revision)).get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{source}: architectures in config.json is {shown(names)}; expected names")
    for name in names:
        for ending, kind in ENDINGS.items():
            if name.endswith(ending):
                return kind
    raise SpecError(
        f"{source} is {', '.join(names) or 'of no named architecture'}; expected a class ending in "
        f"{' or '.join(ENDINGS)}"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """Returns a model folder's `config.json`.

    Raises:
        SpecError: it is no JSON object.
    """
    return read_object(folder / "config.json")


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


def label_names(config: Mapping[str, Any]) -> list[str]:
    """Returns a classifier's label names in the order of its logits.

    Raises:
        SpecError: they are not numbered from 0, or two are the same.
    """
    names = config.get("id2label") or {str(i): f"LABEL_{i}" for i in range(2)}
    numbers = [str(key) for key in names] if isinstance(names, Mapping) else []
    if not numbers or sorted(numbers) != sorted(map(str, range(len(numbers)))):
        raise SpecError(
            f"id2label in config.json is {shown(names)}; expected the name of each output from 0"
        )
    found = [str(names[key]) for key in sorted(names, key=int)]
    if len(set(found)) < len(found):
        raise SpecError(f"id2label in config.json is {shown(names)}; expected different names")
    return found


def columns_of(
    names: Sequence[str], task_labels: Sequence[str], labels: Mapping[str, int] | None, source: str
) -> list[int]:
    """Returns for each label of the task the model's column that scores it.

    Names that are equal but for case need no map. Columns of the model that stand for no label of
    the task are left out.

    Args:
        names: the model's label names in the order of its logits.
        task_labels: the task's label names in the order of their numbers.
        labels: model's name -> task's number, where the names differ.
        source: for messages.

    Raises:
        SpecError: a name the model does not have, or a label of the task that no name, or more
            than one, stands for.
    """
    by_name = {label.casefold(): number for number, label in enumerate(task_labels)}
    guessed = {name: by_name[name.casefold()] for name in names if name.casefold() in by_name}
    mapping = guessed if labels is None else dict(labels)
    found: dict[int, list[int]] = {}
    for name, number in mapping.items():
        if name in names:
            found.setdefault(number, []).append(list(names).index(name))
    expected = list(range(len(task_labels)))
    unknown = [name for name in mapping if name not in names]
    if unknown or sorted(found) != expected or any(len(columns) > 1 for columns in found.values()):
        wanted = {number: label for number, label in enumerate(task_labels)}
        example = dict(zip(names, expected, strict=False))
        raise SpecError(
            f"{source} has the labels {', '.join(names)}; labels={dict(mapping)} does not map them "
            f"one to one to the task's {wanted}. Expected, for instance, labels={example}"
        )
    return [found[number][0] for number in expected]
