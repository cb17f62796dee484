"""A saved model as transformers itself runs it: what kit's answers are held against."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.architectures.folder import config_folder, read_config, tokenizer_folder
from kit.machine.quiet import import_quietly, loading_quietly

if TYPE_CHECKING:
    import numpy as np


class Deployment:
    """A model as transformers runs it: its tokenizer, its model, one text at a time, not padded.

    It shares no code with kit's own reading and answering.

    Args:
        folder: of the model or adapter.
        kind: `causal` or `classifier`.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        import_quietly()
        import torch
        from transformers import (
            AutoModelForCausalLM,
            AutoModelForSequenceClassification,
            AutoTokenizer,
        )

        causal = kind == "causal"
        loader: Any = AutoModelForCausalLM if causal else AutoModelForSequenceClassification
        dtype = "auto" if "quantization_config" in read_config(folder) else torch.float32
        safe = {"trust_remote_code": False, "local_files_only": True}
        place = folder if importlib.util.find_spec("peft") else config_folder(folder)
        with loading_quietly():
            self._model = loader.from_pretrained(place, dtype=dtype, **safe).eval()
            self._tokenizer: Any = AutoTokenizer.from_pretrained(tokenizer_folder(folder), **safe)
        self._takes = inspect.signature(type(self._model).forward).parameters
        self._special = not causal

    def ids(self, example: Any, length: int | None) -> list[int]:
        """Returns the tokens of a text or pair, cut at a length; None: where the tokenizer says."""
        ids: list[int] = self._inputs(example, length)["input_ids"][0].tolist()
        return ids

    def outputs(self, example: Any, length: int | None) -> np.ndarray:
        """Returns what the model gives: float32 [labels], or [t, v] of a language model."""
        import torch

        inputs = self._inputs(example, length)
        with torch.inference_mode():
            output = self._model(**{n: inputs[n] for n in inputs if n in self._takes})
        found: np.ndarray = output.logits[0].float().numpy()
        return found

    def broken(self) -> str:
        """Returns what is wrong with the weights themselves; '' where each is a number."""
        for name, weights in self._model.named_parameters():
            if wrong := weights.numel() - int(weights.isfinite().sum()):
                return f"{wrong:,} of the {weights.numel():,} weights of {name} are no numbers"
        return ""

    def _inputs(self, example: Any, length: int | None) -> Any:
        texts = example if isinstance(example, tuple) else (example,)
        return self._tokenizer(
            *(text.encode("utf-8", errors="replace").decode() for text in texts),
            truncation=True,
            max_length=length,
            add_special_tokens=self._special,
            return_tensors="pt",
        )
