"""llama.cpp on a GGUF file as it is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kit.runtimes.llama_cpp_calls import Loaded
from kit.runtimes.llama_cpp_session import CropSession, LlamaSession
from kit.spec.checking import Undefined
from kit.spec.register_models import register_exporter, register_runtime

if TYPE_CHECKING:
    from kit.compression.stored import Stored


def stored(path: Path, *, compressed: bool) -> Stored:
    """Returns what a file's matrices take (`kit.compression.gguf.stored_gguf`)."""
    from kit.compression.gguf import stored_gguf  # schemes load after the forms they act on

    return stored_gguf(path, compressed=compressed)


@register_exporter(source="module", target="gguf", version=1, stored=stored)
def to_gguf(checkpoint: Path | None, output: Path) -> None:
    """Copies the GGUF file that a model was read from, byte by byte.

    Args:
        checkpoint: the file; None where there is none.
        output: the file to write.

    Raises:
        Undefined: there is none.
    """
    if checkpoint is None:
        raise Undefined("a GGUF is run as it is, and this model was not read from one")
    shutil.copyfile(checkpoint, output)


@register_runtime(
    form="gguf",
    gives=("forward", "decode"),
    version=1,
    tolerance=0.5,
    rounds_rows=True,
    packages={"llama_cpp": "kit[llama-cpp]"},
)
def llama_cpp(
    path: Path,
    threads: int,
    *,
    kv_cache: Literal["f32", "f16", "q8_0", "q4_0"] = "f16",
) -> LlamaSession:
    """llama.cpp on the CPU, which multiplies weights in few bits by activations in 8 bits.

    Args:
        path: the file.
        threads: of a call.
        kv_cache: what keys and values are held in: numbers, or blocks of 32 in 8 or 4 bits with a
            scale. In fp16 it is no further from eager than in fp32, and faster: that one goes
            without flash attention, which would round to fp16.

    Raises:
        SpecError: llama.cpp does not run the file.
    """
    loaded = Loaded(path)
    return (LlamaSession if loaded.recurrent else CropSession)(loaded, threads, kv_cache)
