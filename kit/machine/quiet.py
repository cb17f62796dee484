"""Imports torchao and transformers' models without what torchao and torch log at their import.

They tell of CUDA libraries that this build lacks and of a call inside torchao that torch no longer
likes: nothing that a reader could act on. Every other line, and every later one, passes.
"""

from __future__ import annotations

import importlib
import logging
import re
import sys

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


def _without(line: re.Pattern[str]) -> logging.Filter:
    class Without(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            return line.match(record.getMessage()) is None

    return Without()
