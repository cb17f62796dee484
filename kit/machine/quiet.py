"""Imports and loads without what libraries log meanwhile that no reader could act on.

At their import torchao and torch tell of CUDA libraries that this build lacks, and of a call inside
torchao that torch no longer likes. Every other line, and every later one, passes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

MODELS = "transformers.modeling_utils"
_LINES = {
    "torchao": re.compile(r"Failed to load \S+_C\S*\.so: "),
    "torch.utils._pytree": re.compile(r"<enum '\w+'> is an Enum subclass "),
}


def import_quietly(name: str = MODELS) -> None:
    """Imports a module the first time it is needed, without those lines.

    Args:
        name: of the module; what every model of transformers imports, torchao among it, where not
            given.
    """
    if name in sys.modules:
        return
    filters = [(logging.getLogger(logger), _without(line)) for logger, line in _LINES.items()]
    for logger, chosen in filters:
        logger.addFilter(chosen)
    try:
        importlib.import_module(name)
    finally:
        for logger, chosen in filters:
            logger.removeFilter(chosen)


@contextlib.contextmanager
def loading_quietly() -> Iterator[None]:
    """Holds back transformers' warnings of formats and bars of progress; what matters is raised."""
    from transformers.utils import logging as library

    logging: Any = library
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _without(line: re.Pattern[str]) -> logging.Filter:
    class Without(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return line.match(record.getMessage()) is None

    return Without()
