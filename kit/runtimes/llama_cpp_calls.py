"""The few calls of llama.cpp that decoding takes: its library, a model, a batch."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kit.spec.checking import SpecError

ERROR = 4
"""The level of llama.cpp's log from which a line says why something failed."""
_said: deque[str] = deque(maxlen=1)
_logs: list[Any] = []
"""What llama.cpp calls with a line of its log, for as long as the process lives."""


@functools.cache
def library() -> Any:
    """Returns llama.cpp's functions, its log turned to `said`."""
    import llama_cpp.llama_cpp as calls

    def log(level: int, text: bytes, _: object) -> None:
        if level == ERROR:
            _said.append(text.decode(errors="replace").strip())

    _logs.append(calls.llama_log_callback(log))
    calls.llama_log_set(_logs[0], None)
    calls.llama_backend_init()
    return calls


def said() -> str:
    """Returns the last error that llama.cpp has told of."""
    return _said[-1] if _said else "it does not say why"


class Loaded:
    """A model of llama.cpp, freed when nothing holds this object any more.

    Args:
        path: of a GGUF file.

    Attributes:
        pointer: llama.cpp's.
        window: tokens at which its positions end.
        vocabulary: how many logits it gives.

    Raises:
        SpecError: llama.cpp does not read the file.
    """

    def __init__(self, path: Path) -> None:
        calls = library()
        settings = calls.llama_model_default_params()
        settings.n_gpu_layers = 0
        self.pointer = calls.llama_model_load_from_file(str(path).encode(), settings)
        if not self.pointer:
            raise SpecError(f"{path} is no GGUF that llama.cpp runs: {said()}")
        weakref.finalize(self, calls.llama_model_free, self.pointer)
        self.window = int(calls.llama_model_n_ctx_train(self.pointer))
        words = calls.llama_model_get_vocab(self.pointer)
        self.vocabulary = int(calls.llama_vocab_n_tokens(words))

    @property
    def recurrent(self) -> bool:
        """Whether some layer keeps what cannot be taken back token by token."""
        calls = library()
        checks = calls.llama_model_is_recurrent, calls.llama_model_is_hybrid
        return any(check(self.pointer) for check in checks)

    def kind(self, name: str) -> int:
        """Returns ggml's number of a type of numbers."""
        from gguf import GGMLQuantizationType

        return int(GGMLQuantizationType[name.upper()])

    def token_bytes(self, name: str) -> int:
        """Returns the bytes of keys and values of a token, in a type, over all layers."""
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        calls = library()
        width = calls.llama_model_n_embd(self.pointer) // calls.llama_model_n_head(self.pointer)
        sizes = (self._size(f"attention.{each}_length", width) for each in ("key", "value"))
        heads = calls.llama_model_n_layer(self.pointer) * calls.llama_model_n_head_kv(self.pointer)
        block, held = GGML_QUANT_SIZES[GGMLQuantizationType[name.upper()]]
        return int(heads) * sum(sizes) * held // block

    def _size(self, key: str, usual: int) -> int:
        """Returns a size that the file tells of its architecture."""
        told = self._told("general.architecture")
        return int(self._told(f"{told}.{key}") or usual)

    def _told(self, key: str) -> str:
        text = ctypes.create_string_buffer(128)
        library().llama_model_meta_val_str(self.pointer, key.encode(), text, len(text))
        return text.value.decode()


class Batch:
    """Tokens of some sequences, in arrays that llama.cpp reads.

    Args:
        size: the most tokens of a call.
    """

    def __init__(self, size: int) -> None:
        names: dict[str, Any] = dict.fromkeys(("token", "pos", "n_seq_id", "row"), np.int32)
        names["logits"] = np.int8
        self._held: dict[str, np.ndarray] = {n: np.ones(size, kind) for n, kind in names.items()}
        start, step = self._held["row"].ctypes.data, self._held["row"].itemsize
        self._held["seq_id"] = np.arange(size, dtype=np.uintp) * step + start
        struct = library().llama_batch
        kinds: dict[str, Any] = dict(struct._fields_)
        given = {n: self._held[n].ctypes.data_as(kinds[n]) for n in kinds if n in self._held}
        self._struct = struct(n_tokens=0, **given)

    def run(self, context: Any, given: Mapping[str, np.ndarray], vocabulary: int) -> np.ndarray:
        """Decodes one call.

        Args:
            context: llama.cpp's pointer.
            given: of each `token` [n] also its `pos` in its sequence, the sequence's `row`, and
                whether its `logits` are wanted.
            vocabulary: v.

        Returns:
            The logits [wanted, v], in memory of llama.cpp that the next call writes over.

        Raises:
            RuntimeError: llama.cpp fails.
        """
        self._struct.n_tokens = len(given["token"])
        for name, values in given.items():
            self._held[name][: len(values)] = values
        if code := library().llama_decode(context, self._struct):
            raise RuntimeError(f"llama.cpp failed to decode (code {code}): {said()}")
        if not (count := int(given["logits"].sum())):
            return np.empty((0, vocabulary), np.float32)
        logits = library().llama_get_logits(context)
        return np.ctypeslib.as_array(logits, (count, vocabulary))
