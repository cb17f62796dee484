"""What a library says when it cannot take a model, as one sentence."""

from __future__ import annotations

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator

from kit.spec.checking import reason

# colours, ONNX Runtime's code of the error and place in its source, and a last sentence that
# announces what is left out
_NOISE = re.compile(
    r"\x1b\[[0-9;]*m|^\[ONNXRuntimeError\] : \d+ : \w+ : |(?<=\.) [^.]*:$"
    r"|/onnxruntime_src/\S+ [^()]*\([^()]*\) "
)


def cause(error: BaseException) -> str:
    """Returns the first line of what an error comes from: wrappers say how to report it instead."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        deeper = getattr(error, "inner_exception", None) or error.__cause__  # dynamo's, Python's
        error = deeper if deeper is not None and str(deeper) else error
    said = _NOISE.sub("", str(error).strip().partition("\n")[0].strip())
    return reason(RuntimeError(said)) if said else type(error).__name__


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Keeps what libraries print, log and warn of off the screen; a failure is an error.

    The root logger is afterwards as it was: OpenVINO's conversion sets its level.
    """
    root, off = logging.getLogger(), logging.root.manager.disable
    level, filters, handlers = root.level, [*root.filters], [*root.handlers]
    logging.disable(logging.CRITICAL)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(off)
        root.setLevel(level)
        root.filters[:], root.handlers[:] = filters, handlers
