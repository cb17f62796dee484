"""Models that were trained elsewhere: a local folder, or an id of the model hub.

The kind is read from `config.json`. Code that comes with a model is never run, and weights are
read from safetensors or with `weights_only=True`.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, Field

from kit.architectures.folder import (
    ADAPTER,
    ModelFolder,
    adapter_base,
    check_folder,
    locate,
    read_config,
)
from kit.assets import assets
from kit.machine.quiet import import_quietly, loading_quietly
from kit.spec.checking import SpecError, read_object, reason, shown
from kit.spec.register_models import register_architecture

if TYPE_CHECKING:
    from torch import nn

ENDINGS = {
    "ForCausalLM": "causal",
    "LMHeadModel": "causal",
    "ForSequenceClassification": "classifier",
}
"""What a model class does, by the end of its name in `config.json`."""
REFUSED = {
    "ForTokenClassification": "labels each token of a text (token classification)",
    "ForQuestionAnswering": "marks the span of a text that answers a question",
    "ForMultipleChoice": "chooses among several texts",
    "ForMaskedLM": "fills masked words in",
}
"""What else there is, so that a refusal can say it."""
UNLIMITED = 10**9
"""A tokenizer that was never told a longest text says 10**30."""
ADAPTED = {"SEQ_CLS": "classifier", "CAUSAL_LM": "causal"}
"""What an adapter's model does, by its `task_type`."""


@register_architecture(
    kind="pretrained",
    version=2,
    aliases={name: {"source": name} for name in assets.language_models()},
)
def pretrained(
    *,
    source: Annotated[str, AfterValidator(ModelFolder)],
    labels: Mapping[str, int | str | None] | None = None,
    length: Annotated[int, Field(ge=1)] | None = None,
) -> nn.Module:
    """A saved causal language model or sequence classifier; `hf:SOURCE` is short for it.

    It answers as transformers' own model and tokenizer do of each text alone; before a number
    counts, the two are compared (`kit.build.verify`).

    Args:
        source: a folder that `save_pretrained` wrote, or `organization/name` on the model hub,
            with `@` and a branch, tag or commit where it is not the main branch, a bundled
            model (`smollm2`, `gemma3`), or a GGUF file, whose weights are computed with in fp32 as
            they were rounded. An adapter (PEFT) is merged into its base.
        labels: the classifier's label names and the task's label, by name or number, that each
            stands for; None for an answer that is to be impossible. Several may stand for one:
            their probabilities are added. Names that are equal but for case need no map. A label
            that is not mapped is an answer like any other, and wrong.
        length: tokens at which texts are cut; the model's own window where not given.

    Raises:
        FileNotFoundError: no such folder, or the hub is not reached.
        SpecError: neither a causal language model nor a sequence classifier, weights missing or
            broken, an adapter that cannot be merged, or a folder that asks for code or files from
            outside it.
    """
    del labels, length  # of the head and of the tokenizer, which `make_model` puts on
    folder = locate(source)
    check_folder(folder)
    module = _merged(folder) if (folder / ADAPTER).is_file() else _loaded(folder, kind_of(source))
    if kind_of(source) == "causal":
        module.config.use_cache = False
    model: nn.Module = module
    return model


def _loaded(folder: Path, kind: str) -> Any:
    """Returns transformers' model of a folder, in fp32 unless its weights are quantized."""
    import pickle

    import_quietly()
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    loader: Any = AutoModelForCausalLM if kind == "causal" else AutoModelForSequenceClassification
    quantized = "quantization_config" in read_config(folder)
    try:
        with loading_quietly():
            module, loaded = loader.from_pretrained(
                folder,
                dtype="auto" if quantized else torch.float32,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # told below, with both sizes
            )
    except pickle.UnpicklingError as error:
        raise SpecError(
            f"{folder}: its weights are a pickle that holds more than weights, and reading it "
            "could run code; save the model anew with save_pretrained, as safetensors"
        ) from error
    except Exception as error:  # whatever a library meets in a broken folder
        raise SpecError(
            f"{folder} could not be loaded: {reason(error)}; "
            "expected a folder that save_pretrained wrote"
        ) from error
    if loaded["mismatched_keys"]:
        name, held, asked = sorted(loaded["mismatched_keys"])[0]
        raise SpecError(
            f"{folder}: its config.json asks for {name} of shape {tuple(asked)}, its weights hold "
            f"{tuple(held)}; expected the config.json that was saved with these weights"
        )
    if loaded["missing_keys"]:
        missing = sorted(loaded["missing_keys"])
        raise SpecError(
            f"{folder} lacks {len(missing)} weights that its config.json asks for, such as "
            f"{missing[0]}; expected the folder of a finished model"
        )
    return module


def _merged(folder: Path) -> Any:
    """Returns the base of an adapter with the adapter merged into its weights."""
    try:
        from peft import PeftModel
    except ImportError:
        raise SpecError(
            f"{folder} is an adapter (PEFT), which the package peft merges into its base: "
            "pip install 'kit[peft]', or merge it before with merge_and_unload() and save that"
        ) from None
    with _without_adapter(adapter_base(folder)) as base:
        module = _loaded(base, adapter_kind(folder) or _kind(read_config(folder), folder))
    try:
        with loading_quietly():
            return PeftModel.from_pretrained(module, str(folder)).merge_and_unload()
    except Exception as error:  # whatever a library meets in a broken folder
        raise SpecError(f"the adapter {folder} could not be merged: {reason(error)}") from error


@contextlib.contextmanager
def _without_adapter(folder: Path) -> Iterator[Path]:
    """Gives a folder with the same files but an adapter's, which transformers would load too."""
    if not (folder / ADAPTER).is_file():
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        for file in folder.iterdir():
            if not file.name.startswith("adapter_"):
                (Path(temporary) / file.name).symlink_to(file.resolve())
        yield Path(temporary)


def adapter_kind(folder: Path) -> str | None:
    """Returns what an adapter's model does, None where its configuration does not say."""
    task = read_object(folder / ADAPTER).get("task_type")
    return ADAPTED.get(task) if isinstance(task, str) else None


def kind_of(source: str) -> str:
    """Returns `causal` or `classifier`, by the model's configuration alone.

    Raises:
        FileNotFoundError: as `locate`.
        SpecError: it is something else.
    """
    folder = locate(source)
    if (folder / ADAPTER).is_file() and (kind := adapter_kind(folder)):
        return kind
    return _kind(read_config(folder), source)


def _kind(config: Mapping[str, Any], source: str | Path) -> str:
    names = config.get("architectures") or []
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SpecError(f"{source}: architectures in config.json is {shown(names)}; expected names")
    for name in names:
        for ending, kind in ENDINGS.items():
            if name.endswith(ending):
                return kind
    does = [what for ending, what in REFUSED.items() if any(n.endswith(ending) for n in names)]
    raise SpecError(
        f"{source} is {', '.join(names) or 'of no named architecture'}"
        + "".join(f", which {what}: kit does not evaluate that" for what in does)
        + f"; expected a class ending in {' or '.join(ENDINGS)}"
    )
